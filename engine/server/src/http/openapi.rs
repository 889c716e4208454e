//! The OpenAPI document, made from the table of routes and the types of bodies.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{Method, header};
use axum::response::{IntoResponse, Response};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::Api;
use super::access;
use super::problem::{self, Kind};
use super::routes::{Content, Place, Route};
use super::schemas::ProblemBody;

/// `GET /openapi.json`.
pub(crate) async fn document(State(api): State<Arc<Api>>) -> Response {
    let text = describe(&api.routes).to_string();
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// The document of these routes.
pub(crate) fn describe(routes: &[Route]) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let mut paths = Map::new();
    for route in routes {
        let operation = operation(route, &mut generator);
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.as_str().to_ascii_lowercase()] = operation;
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Ostler",
            "version": "1",
            "summary": "A cache whose eviction policies are WebAssembly modules",
            "description": "Errors are problem documents (RFC 9457). Every answer has an x-request-id.",
            "license": {"name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT"},
        },
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of the server's settings. Without any set, none is needed.",
                },
            },
        },
    })
}

fn operation(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let about = &route.about;
    let mut operation = json!({
        "operationId": about.id,
        "summary": about.summary,
        "parameters": parameters(route, generator),
        "responses": responses(route, generator),
    });
    let mut text = about.text.to_owned();
    if let Some(role) = route.role {
        let space = if text.is_empty() { "" } else { " " };
        text = format!("{text}{space}Needs the role `{}`.", access::name(role));
        // The empty one: a server without tokens asks for none.
        operation["security"] = json!([{"bearer": []}, {}]);
    } else {
        operation["security"] = json!([]);
    }
    if !text.is_empty() {
        operation["description"] = Value::String(text);
    }
    if let Some(body) = about.body {
        let content = content(body, generator);
        // No bytes are bytes, too: an empty value.
        let is_required = !matches!(body, Content::Bytes);
        operation["requestBody"] = json!({"required": is_required, "content": content});
    }
    operation
}

fn parameters(route: &Route, generator: &mut SchemaGenerator) -> Vec<Value> {
    let names = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let in_path = names.map(|name| {
        let (text, example) = match name {
            "cache" => ("The cache's name", "default"),
            "key" => ("The key, percent-encoded", "user:7"),
            "id" => ("The experiment's id", "1"),
            _ => ("The policy's name", "mine"),
        };
        let schema = match name {
            "name" => json!({"type": "string", "pattern": "^[a-z0-9][a-z0-9._-]{0,63}$"}),
            "id" => json!({"type": "string", "pattern": "^[0-9]{1,20}$"}),
            _ => json!({"type": "string", "minLength": 1}),
        };
        json!({
            "name": name, "in": "path", "required": true, "description": text,
            "schema": schema, "example": example,
        })
    });
    let in_path: Vec<_> = in_path.collect();
    let others = route.about.params.iter().map(|param| {
        let place = match param.place {
            Place::Query => "query",
            Place::Header => "header",
        };
        let schema = (param.schema)(generator);
        json!({
            "name": param.name, "in": place, "required": false,
            "description": param.text, "schema": schema,
        })
    });
    in_path.into_iter().chain(others).collect()
}

fn responses(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let mut responses = BTreeMap::new();
    for (status, text, body) in route.about.answers {
        let mut response = json!({"description": text});
        if let Some(body) = *body {
            response["content"] = content(body, generator);
        }
        responses.insert(*status, response);
    }
    let mut titles: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
    for kind in problems(route) {
        let (status, _, title) = kind.row();
        let titles = titles.entry(status).or_default();
        if !titles.contains(&title) {
            titles.push(title);
        }
    }
    let schema = generator.subschema_for::<ProblemBody>();
    for (status, titles) in titles {
        let response = json!({
            "description": titles.join("; "),
            "content": {problem::MEDIA_TYPE: {"schema": schema}},
        });
        responses.insert(status, response);
    }
    let named = responses.into_iter().map(|(status, response)| (status.to_string(), response));
    Value::Object(named.collect())
}

/// All kinds of problems of a route: its own, and those that come with its form.
fn problems(route: &Route) -> Vec<Kind> {
    let mut problems = route.about.problems.to_vec();
    if route.role.is_some() {
        problems.extend([Kind::Unauthorized, Kind::RoleTooSmall]);
    }
    if route.method != Method::GET {
        problems.push(Kind::ForeignOrigin);
    }
    if route.path.contains("{cache}") {
        problems.extend([Kind::UnknownCache, Kind::BadRequest]);
    }
    if route.path.contains("{name}") || !route.about.params.is_empty() {
        problems.push(Kind::BadRequest);
    }
    if matches!(route.about.body, Some(Content::Json(..))) {
        problems.extend([Kind::BadRequest, Kind::TooLarge, Kind::WrongMediaType]);
    }
    if route.path.ends_with("/policy") || route.path.ends_with("/rollback") {
        let more = [Kind::PolicyFaulted, Kind::ModuleRefused, Kind::Busy, Kind::ExperimentRuns];
        problems.extend(more);
    }
    if route.path.contains("/experiments") && route.method == Method::POST {
        let more = [Kind::PolicyFaulted, Kind::ModuleRefused, Kind::Busy, Kind::PolicyQuarantined];
        problems.extend(more);
        problems.extend([Kind::ExperimentImpossible, Kind::Overloaded, Kind::Internal]);
        problems.extend([Kind::Storage, Kind::Stopping]);
    }
    if route.path.contains("{id}") {
        problems.push(Kind::UnknownExperiment);
    }
    problems
}

fn content(content: Content, generator: &mut SchemaGenerator) -> Value {
    match content {
        Content::Json(schema, example) => {
            let schema = schema(generator);
            match serde_json::from_str::<Value>(example) {
                Ok(example) => json!({"application/json": {"schema": schema, "example": example}}),
                Err(_) => json!({"application/json": {"schema": schema}}),
            }
        }
        // OpenAPI 3.1 has no word for the form of each event; it is among the schemas.
        Content::Events(schema) => {
            let schema = schema(generator);
            json!({"text/event-stream": {"schema": {"type": "string"}, "x-event": schema}})
        }
        Content::Bytes => json!({"*/*": {"schema": {}}}),
        Content::Wasm => json!({"application/wasm": {"schema": {}}}),
        Content::Text(media_type) => json!({media_type: {"schema": {"type": "string"}}}),
    }
}
