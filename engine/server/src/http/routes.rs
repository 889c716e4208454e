//! The table of routes: method, path, who may, who answers, and what the OpenAPI document says.
//!
//! The router, the document, the labels of the metrics and the test of every route's role come from
//! this one table, so that none of them can forget a route.

mod fetching;

use std::sync::Arc;

use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter, on};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::problem::Kind;
use super::schemas::{ActivationBody, PolicyBody};
use super::{
    Api, caches, dashboard, decisions, entries, events, experiments, invalidate, metrics, openapi,
    policies, probes,
};
use crate::auth::Role;

/// One route.
pub(crate) struct Route {
    /// Its method; `GET` also answers `HEAD`.
    pub(crate) method: Method,
    /// Its path, with names in braces.
    pub(crate) path: &'static str,
    /// What the caller needs, none for nothing.
    pub(crate) role: Option<Role>,
    /// Makes the method's router.
    pub(crate) serve: fn(MethodFilter) -> MethodRouter<Arc<Api>>,
    /// What is written about it.
    pub(crate) about: About,
}

impl Route {
    /// The method for the router.
    pub(crate) fn filter(&self) -> MethodFilter {
        MethodFilter::try_from(self.method.clone()).unwrap_or(MethodFilter::GET)
    }
}

/// What the OpenAPI document says of a route.
#[derive(Clone, Copy)]
pub(crate) struct About {
    /// The operation's name.
    pub(crate) id: &'static str,
    /// What it does, in a line.
    pub(crate) summary: &'static str,
    /// What else there is to know, may be empty.
    pub(crate) text: &'static str,
    /// Parameters in the query and headers.
    pub(crate) params: &'static [Param],
    /// The body.
    pub(crate) body: Option<Content>,
    /// Answers that are no problems: status, what it means, content.
    pub(crate) answers: &'static [(u16, &'static str, Option<Content>)],
    /// Kinds of problems, beside those that every route of its kind has.
    pub(crate) problems: &'static [Kind],
}

/// A parameter of a route.
pub(crate) struct Param {
    /// Where it stands.
    pub(crate) place: Place,
    /// Its name.
    pub(crate) name: &'static str,
    /// What it means.
    pub(crate) text: &'static str,
    /// What it may be.
    pub(crate) schema: fn(&mut SchemaGenerator) -> Schema,
}

/// Where a parameter stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the query.
    Query,
    /// In a header.
    Header,
}

/// A body or an answer.
#[derive(Clone, Copy)]
pub(crate) enum Content {
    /// JSON of this form, and an example where one helps.
    Json(fn(&mut SchemaGenerator) -> Schema, &'static str),
    /// Server-sent events whose lines of data have this form.
    Events(fn(&mut SchemaGenerator) -> Schema),
    /// Bytes of any type.
    Bytes,
    /// A module.
    Wasm,
    /// Text of this media type.
    Text(&'static str),
}

fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

fn database(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({"type": "integer", "minimum": 0, "maximum": 15})
}

fn ttl_ms(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({"type": "integer", "minimum": 1, "maximum": 3_153_600_000_000_u64})
}

fn ttl(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({"type": "integer", "minimum": 1, "maximum": 3_153_600_000_u64})
}

fn tags(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({"anyOf": [
        {"type": "string", "const": "*"},
        {"type": "string", "pattern": "^(W/)?\"[!#-~]*\"$"},
    ]})
}

const DATABASE: Param = Param {
    place: Place::Query,
    name: "database",
    text: "The database, the cache's first where none is named",
    schema: database,
};
const TTL_MS: Param = Param {
    place: Place::Query,
    name: "ttl_ms",
    text: "Milliseconds to live; counts before the headers",
    schema: ttl_ms,
};
const OSTLER_TTL: Param = Param {
    place: Place::Header,
    name: "Ostler-TTL",
    text: "Seconds to live; counts before the max-age of Cache-Control, which is the third way",
    schema: ttl,
};
const IF_MATCH: Param = Param {
    place: Place::Header,
    name: "If-Match",
    text: "Only if the entry has this tag, or any with *",
    schema: tags,
};
const IF_NONE_MATCH: Param = Param {
    place: Place::Header,
    name: "If-None-Match",
    text: "Only if the entry has another tag, or with * if there is none",
    schema: tags,
};
const VERSION: Param = Param {
    place: Place::Query,
    name: "version",
    text: "Only this version: sha256:…",
    schema: schema::<super::schemas::ModuleIdText>,
};

const PLAIN: About =
    About { id: "", summary: "", text: "", params: &[], body: None, answers: &[], problems: &[] };

const READ: Option<Role> = Some(Role::Read);
const POLICY: Option<Role> = Some(Role::Policy);
const ADMIN: Option<Role> = Some(Role::Admin);

/// All routes.
pub(crate) fn table() -> Vec<Route> {
    let parts = [
        policy_routes(),
        cache_routes(),
        change_routes(),
        experiment_routes(),
        fetching::routes(),
        entry_routes(),
        own_routes(),
    ];
    parts.into_iter().flatten().collect()
}

fn policy_routes() -> Vec<Route> {
    let upload = About {
        id: "uploadPolicy",
        summary: "Upload a policy",
        text: "The module is judged step by step, compiled, and kept as the newest version of the name.",
        body: Some(Content::Wasm),
        answers: &[
            (201, "A new version", Some(Content::Json(schema::<policies::UploadBody>, ""))),
            (200, "Known before", Some(Content::Json(schema::<policies::UploadBody>, ""))),
        ],
        problems: &[
            Kind::BadRequest,
            Kind::PolicyBuiltIn,
            Kind::TooLarge,
            Kind::WrongMediaType,
            Kind::ModuleRefused,
            Kind::Internal,
            Kind::Overloaded,
            Kind::Storage,
        ],
        ..PLAIN
    };
    let list = About {
        id: "listPolicies",
        summary: "All policies, uploaded and built in",
        answers: &[(200, "They", Some(Content::Json(schema::<policies::PolicyList>, "")))],
        ..PLAIN
    };
    let get = About {
        id: "getPolicy",
        summary: "One policy: its versions, verdicts, and where it is in use",
        answers: &[(200, "It", Some(Content::Json(schema::<PolicyBody>, "")))],
        problems: &[Kind::UnknownPolicy],
        ..PLAIN
    };
    let delete = About {
        id: "deletePolicy",
        summary: "Delete an uploaded policy, or one version of it",
        params: &[VERSION],
        answers: &[(204, "It is gone", None)],
        problems: &[Kind::UnknownPolicy, Kind::PolicyInUse, Kind::PolicyBuiltIn, Kind::Storage],
        ..PLAIN
    };
    let one = "/v1/policies/{name}";
    vec![
        route(Method::PUT, one, POLICY, |method| on(method, policies::upload), upload),
        route(Method::GET, "/v1/policies", READ, |method| on(method, policies::list), list),
        route(Method::GET, one, READ, |method| on(method, policies::get), get),
        route(Method::DELETE, one, POLICY, |method| on(method, policies::delete), delete),
    ]
}

fn cache_routes() -> Vec<Route> {
    let list = About {
        id: "listCaches",
        summary: "All caches",
        answers: &[(200, "They", Some(Content::Json(schema::<caches::CacheList>, "")))],
        ..PLAIN
    };
    let stats = About {
        id: "getStats",
        summary: "Everything that a cache counts, and who is in charge of it",
        answers: &[(200, "Figures", Some(Content::Json(schema::<caches::StatsBody>, "")))],
        ..PLAIN
    };
    let events = About {
        id: "getEvents",
        summary: "What happens to a cache's policy, as it happens",
        text: "The first event says who is in charge. A listener that is too slow is told how many events it lost.",
        answers: &[(200, "Events without end", Some(Content::Events(schema::<events::EventBody>)))],
        problems: &[Kind::Overloaded],
        ..PLAIN
    };
    let decisions = About {
        id: "getDecisions",
        summary: "What the selector did to a cache's policy, and on what evidence",
        text: "Newest first. Nothing where the cache's policy does not change by itself.",
        answers: &[(200, "They", Some(Content::Json(schema::<decisions::DecisionList>, "")))],
        ..PLAIN
    };
    vec![
        route(Method::GET, "/v1/caches", READ, |method| on(method, caches::list), list),
        route(
            Method::GET,
            "/v1/caches/{cache}/decisions",
            READ,
            |method| on(method, decisions::decisions),
            decisions,
        ),
        route(
            Method::GET,
            "/v1/caches/{cache}/stats",
            READ,
            |method| on(method, caches::stats),
            stats,
        ),
        route(
            Method::GET,
            "/v1/caches/{cache}/events",
            READ,
            |method| on(method, events::events),
            events,
        ),
    ]
}

fn change_routes() -> Vec<Route> {
    const CHANGED: &[(u16, &str, Option<Content>)] =
        &[(200, "What it did", Some(Content::Json(schema::<caches::ActivatedBody>, "")))];
    let activate = About {
        id: "activatePolicy",
        summary: "Put a policy in charge of a cache",
        text: "All entries are handed over; no request fails meanwhile.",
        body: Some(Content::Json(schema::<ActivationBody>, r#"{"policy":"sieve"}"#)),
        answers: CHANGED,
        problems: &[
            Kind::UnknownPolicy,
            Kind::PolicyElsewhere,
            Kind::PolicyQuarantined,
            Kind::ParametersRefused,
            Kind::Internal,
            Kind::Overloaded,
            Kind::Storage,
        ],
        ..PLAIN
    };
    let rollback = About {
        id: "rollbackPolicy",
        summary: "Put the policy before this one in charge again",
        answers: CHANGED,
        problems: &[
            Kind::UnknownPolicy,
            Kind::NoPrevious,
            Kind::ParametersRefused,
            Kind::Internal,
            Kind::Overloaded,
            Kind::Storage,
        ],
        ..PLAIN
    };
    vec![
        route(
            Method::POST,
            "/v1/caches/{cache}/policy",
            POLICY,
            |method| on(method, caches::activate),
            activate,
        ),
        route(
            Method::POST,
            "/v1/caches/{cache}/rollback",
            POLICY,
            |method| on(method, caches::rollback),
            rollback,
        ),
    ]
}

fn experiment_routes() -> Vec<Route> {
    const ONE: &[(u16, &str, Option<Content>)] =
        &[(200, "It", Some(Content::Json(schema::<experiments::ExperimentBody>, "")))];
    const EXAMPLE: &str =
        r#"{"arms":[{"policy":"lru","share":0.5},{"policy":"sieve","share":0.5}]}"#;
    let start = About {
        id: "startExperiment",
        summary: "Compare policies on the shards of a cache",
        text: "The shards are dealt at random to the arms, the first of which is the control. It ends by \
               its rule, by a call, or with the server; until then the policy changes by nothing else.",
        body: Some(Content::Json(schema::<experiments::ExperimentPlanBody>, EXAMPLE)),
        answers: &[(
            201,
            "It runs; Location says where it is",
            Some(Content::Json(schema::<experiments::ExperimentBody>, "")),
        )],
        problems: &[Kind::ExperimentRuns, Kind::ParametersRefused],
        ..PLAIN
    };
    let list = About {
        id: "listExperiments",
        summary: "The experiment that runs, and the last ones that ended",
        answers: &[(200, "They", Some(Content::Json(schema::<experiments::ExperimentList>, "")))],
        ..PLAIN
    };
    let get = About {
        id: "getExperiment",
        summary: "One experiment: its arms, and how they compare",
        text: "Intervals hold whenever one looks.",
        answers: ONE,
        ..PLAIN
    };
    let promote = About {
        id: "promoteArm",
        summary: "Put an arm's policy in charge of the whole cache, and end the experiment",
        body: Some(Content::Json(schema::<experiments::Promotion>, r#"{"arm":1}"#)),
        answers: ONE,
        problems: &[Kind::ExperimentOver],
        ..PLAIN
    };
    let stop = About {
        id: "stopExperiment",
        summary: "Put the control in charge of the whole cache, and end the experiment",
        answers: ONE,
        problems: &[Kind::ExperimentOver],
        ..PLAIN
    };
    let all = "/v1/caches/{cache}/experiments";
    let one = "/v1/caches/{cache}/experiments/{id}";
    vec![
        route(Method::POST, all, POLICY, |method| on(method, experiments::start), start),
        route(Method::GET, all, READ, |method| on(method, experiments::list), list),
        route(Method::GET, one, READ, |method| on(method, experiments::get), get),
        route(
            Method::POST,
            "/v1/caches/{cache}/experiments/{id}/promote",
            POLICY,
            |method| on(method, experiments::promote),
            promote,
        ),
        route(
            Method::POST,
            "/v1/caches/{cache}/experiments/{id}/stop",
            POLICY,
            |method| on(method, experiments::stop),
            stop,
        ),
    ]
}

fn entry_routes() -> Vec<Route> {
    let get = About {
        id: "getEntry",
        summary: "Read an entry",
        text: "The key is percent-encoded; it may be any bytes. Ostler-TTL says how many seconds are left.",
        params: &[DATABASE, IF_MATCH, IF_NONE_MATCH],
        answers: &[
            (200, "Its value, with the type it was stored with", Some(Content::Bytes)),
            (304, "As the caller knows it", None),
        ],
        problems: &[Kind::UnknownEntry, Kind::PreconditionFailed, Kind::KeyTooLong],
        ..PLAIN
    };
    let put = About {
        id: "putEntry",
        summary: "Store an entry",
        params: &[DATABASE, TTL_MS, OSTLER_TTL, IF_MATCH, IF_NONE_MATCH],
        body: Some(Content::Bytes),
        answers: &[(201, "It is new", None), (204, "It is overwritten", None)],
        problems: &[Kind::PreconditionFailed, Kind::TooLarge, Kind::KeyTooLong],
        ..PLAIN
    };
    let delete = About {
        id: "deleteEntry",
        summary: "Remove an entry",
        params: &[DATABASE, IF_MATCH, IF_NONE_MATCH],
        answers: &[(204, "It is gone", None)],
        problems: &[Kind::UnknownEntry, Kind::PreconditionFailed, Kind::KeyTooLong],
        ..PLAIN
    };
    let invalidate = About {
        id: "invalidateEntries",
        summary: "Remove many entries: by keys, by prefix, or all",
        body: Some(Content::Json(schema::<invalidate::Invalidation>, r#"{"prefix":"user:7:"}"#)),
        answers: &[(200, "Done", Some(Content::Json(schema::<invalidate::Invalidated>, "")))],
        ..PLAIN
    };
    let entry = "/v1/caches/{cache}/entries/{key}";
    vec![
        route(Method::GET, entry, READ, |method| on(method, entries::get), get),
        route(Method::PUT, entry, ADMIN, |method| on(method, entries::put), put),
        route(Method::DELETE, entry, ADMIN, |method| on(method, entries::delete), delete),
        route(
            Method::POST,
            "/v1/caches/{cache}/invalidate",
            ADMIN,
            |method| on(method, invalidate::invalidate),
            invalidate,
        ),
    ]
}

fn own_routes() -> Vec<Route> {
    const PROBE: &[(u16, &str, Option<Content>)] =
        &[(200, "Yes", Some(Content::Json(schema::<probes::Probe>, "")))];
    let health = About { id: "health", summary: "Is it alive", answers: PROBE, ..PLAIN };
    let ready = About {
        id: "readiness",
        summary: "Does it want work",
        answers: PROBE,
        problems: &[Kind::Stopping],
        ..PLAIN
    };
    let metrics = About {
        id: "metrics",
        summary: "Everything that is counted, for Prometheus",
        answers: &[(200, "Metrics", Some(Content::Text(metrics::MEDIA_TYPE)))],
        ..PLAIN
    };
    let document = About {
        id: "openapi",
        summary: "This document",
        answers: &[(200, "It", Some(Content::Json(|_| Schema::from(true), "")))],
        ..PLAIN
    };
    let page = About {
        id: "dashboard",
        summary: "A page that shows caches and policies",
        answers: &[(200, "It", Some(Content::Text("text/html; charset=utf-8")))],
        ..PLAIN
    };
    vec![
        route(Method::GET, "/metrics", READ, |method| on(method, metrics::metrics), metrics),
        route(Method::GET, "/healthz", None, |method| on(method, probes::health), health),
        route(Method::GET, "/readyz", None, |method| on(method, probes::readiness), ready),
        route(Method::GET, "/openapi.json", READ, |method| on(method, openapi::document), document),
        route(Method::GET, "/", READ, |method| on(method, dashboard::page), page),
    ]
}

fn route(
    method: Method,
    path: &'static str,
    role: Option<Role>,
    serve: fn(MethodFilter) -> MethodRouter<Arc<Api>>,
    about: About,
) -> Route {
    Route { method, path, role, serve, about }
}
