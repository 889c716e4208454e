//! The OpenAPI document and the dashboard.

use std::collections::HashSet;

use serde_json::Value;

use super::{server, settings};
use crate::http::routes::table;

/// All values of `$ref`.
fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                match (name.as_str(), value) {
                    ("$ref", Value::String(target)) => found.push(target.clone()),
                    _ => references(value, found),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn the_document_has_every_route() {
    let document = server(settings()).get("/openapi.json").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    let mut ids = HashSet::new();
    for route in table() {
        let method = route.method.as_str().to_ascii_lowercase();
        let operation = &document["paths"][route.path][&method];
        let id = operation["operationId"].as_str().unwrap();
        assert!(ids.insert(id.to_owned()), "{id} stands there twice");
        assert!(!route.about.summary.is_empty() && !route.about.answers.is_empty(), "{id}");
        let names = route.path.split('/').filter(|part| part.starts_with('{')).count();
        let params = operation["parameters"].as_array().unwrap();
        assert_eq!(params.iter().filter(|param| param["in"] == "path").count(), names, "{id}");
        assert_eq!(operation["responses"]["401"].is_object(), route.role.is_some(), "{id}");
    }
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 20);
    for target in found {
        let pointer = target.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{target}");
    }
}

#[tokio::test]
async fn the_dashboard_loads_nothing_from_elsewhere() {
    let page = server(settings()).get("/").await;
    assert_eq!(page.status, 200);
    let rules = page.header("content-security-policy").unwrap();
    assert!(rules.contains("default-src 'none'") && rules.contains("connect-src 'self'"));
    let text = page.text().replace("http://www.w3.org/2000/svg", "");
    for outside in ["http:", "https:", "src=", "@import", "url(", "innerHTML"] {
        assert!(!text.contains(outside), "{outside}");
    }
}
