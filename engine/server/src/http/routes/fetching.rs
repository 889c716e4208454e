//! The routes of what is fetched before anybody asks.

use axum::http::Method;
use axum::routing::on;

use super::{About, Content, PLAIN, POLICY, READ, Route, route, schema};
use crate::http::fetching;
use crate::http::problem::Kind;
use crate::http::schemas::ActivationBody;

const SEATED: &[(u16, &str, Option<Content>)] =
    &[(200, "Who decides now", Some(Content::Json(schema::<fetching::SeatedBody>, "")))];
const WARMING: &[(u16, &str, Option<Content>)] =
    &[(200, "How it stands", Some(Content::Json(schema::<fetching::WarmingBody>, "")))];
const CHANGE_PROBLEMS: &[Kind] = &[
    Kind::UnknownPolicy,
    Kind::PolicyElsewhere,
    Kind::NoOrigin,
    Kind::PolicyQuarantined,
    Kind::ParametersRefused,
    Kind::Internal,
    Kind::Overloaded,
    Kind::Storage,
];
const ROLLBACK_PROBLEMS: &[Kind] = &[
    Kind::UnknownPolicy,
    Kind::NoPrevious,
    Kind::NoOrigin,
    Kind::PolicyQuarantined,
    Kind::ParametersRefused,
    Kind::Internal,
    Kind::Overloaded,
    Kind::Storage,
];

pub(super) fn routes() -> Vec<Route> {
    [prefetch_routes(), warming_routes()].into_iter().flatten().collect()
}

fn prefetch_routes() -> Vec<Route> {
    let show = About {
        id: "getPrefetch",
        summary: "What is fetched of what may be asked for soon, and whether that is worth while",
        answers: &[(
            200,
            "How it stands",
            Some(Content::Json(schema::<fetching::PrefetchBody>, "")),
        )],
        ..PLAIN
    };
    let activate = About {
        id: "activatePrefetch",
        summary: "Put a prefetch policy to work for a cache, or `off` for nobody",
        text: "It starts with nothing: what an earlier one had learned is forgotten.",
        body: Some(Content::Json(schema::<ActivationBody>, r#"{"policy":"prefetch-stride"}"#)),
        answers: SEATED,
        problems: CHANGE_PROBLEMS,
        ..PLAIN
    };
    let rollback = About {
        id: "rollbackPrefetch",
        summary: "Put the prefetch policy before this one to work again",
        answers: SEATED,
        problems: ROLLBACK_PROBLEMS,
        ..PLAIN
    };
    let model = About {
        id: "getModel",
        summary: "What the policies of a cache said to the models that were published",
        answers: &[(200, "It", Some(Content::Json(schema::<fetching::ModelBody>, "")))],
        ..PLAIN
    };
    vec![
        route(
            Method::GET,
            "/v1/caches/{cache}/prefetch",
            READ,
            |method| on(method, fetching::prefetch),
            show,
        ),
        route(
            Method::POST,
            "/v1/caches/{cache}/prefetch",
            POLICY,
            |method| on(method, fetching::activate_prefetch),
            activate,
        ),
        route(
            Method::POST,
            "/v1/caches/{cache}/prefetch/rollback",
            POLICY,
            |method| on(method, fetching::rollback_prefetch),
            rollback,
        ),
        route(
            Method::GET,
            "/v1/caches/{cache}/model",
            READ,
            |method| on(method, fetching::model),
            model,
        ),
    ]
}

fn warming_routes() -> Vec<Route> {
    let show = About {
        id: "getWarming",
        summary: "What is remembered of a cache over a restart, and how far its warming is",
        answers: WARMING,
        ..PLAIN
    };
    let activate = About {
        id: "activateWarming",
        summary: "Put a warming policy to work for a cache, or `off` for nobody",
        text: "It ranks at the next start, or when somebody warms the cache.",
        body: Some(Content::Json(schema::<ActivationBody>, r#"{"policy":"warm-decayed"}"#)),
        answers: SEATED,
        problems: CHANGE_PROBLEMS,
        ..PLAIN
    };
    let rollback = About {
        id: "rollbackWarming",
        summary: "Put the warming policy before this one to work again",
        answers: SEATED,
        problems: ROLLBACK_PROBLEMS,
        ..PLAIN
    };
    let warm = About {
        id: "warmCache",
        summary: "Warm a cache now, with what is remembered of it",
        text: "What is resident is not fetched. Where it is being warmed already that begins anew.",
        answers: WARMING,
        problems: &[Kind::NoOrigin],
        ..PLAIN
    };
    vec![
        route(
            Method::GET,
            "/v1/caches/{cache}/warming",
            READ,
            |method| on(method, fetching::warming),
            show,
        ),
        route(
            Method::POST,
            "/v1/caches/{cache}/warming",
            POLICY,
            |method| on(method, fetching::activate_warming),
            activate,
        ),
        route(
            Method::POST,
            "/v1/caches/{cache}/warming/rollback",
            POLICY,
            |method| on(method, fetching::rollback_warming),
            rollback,
        ),
        route(
            Method::POST,
            "/v1/caches/{cache}/warm",
            POLICY,
            |method| on(method, fetching::warm),
            warm,
        ),
    ]
}
