//! Nobody does what his token does not allow.

use axum::http::Method;
use serde_json::{Value, json};

use super::{Server, guarded, module, server, settings};
use crate::auth::Role;
use crate::http::access::name;
use crate::http::routes::{Route, table};
use crate::keyspace::{End, Key, Value as Bytes};

const ROLES: [Role; 3] = [Role::Read, Role::Policy, Role::Admin];

const EXPERIMENT: &[u8] =
    br#"{"arms":[{"policy":"lru","share":0.5},{"policy":"fifo","share":0.5}]}"#;

/// A request for a route that would succeed, or at least change something.
fn request(route: &Route) -> (String, Vec<u8>, &'static str) {
    let path = route.path.replace("{cache}", "a").replace("{key}", "k").replace("{name}", "mine");
    let path = path.replace("{id}", "1");
    let (body, content_type) = match route.about.id {
        "uploadPolicy" => (module("fifo"), "application/wasm"),
        "activatePrefetch" => (br#"{"policy":"prefetch-assoc"}"#.to_vec(), "application/json"),
        "activateWarming" => (br#"{"policy":"off"}"#.to_vec(), "application/json"),
        "activatePolicy" => (br#"{"policy":"sieve"}"#.to_vec(), "application/json"),
        "startExperiment" => (EXPERIMENT.to_vec(), "application/json"),
        "promoteArm" => (br#"{"arm":1}"#.to_vec(), "application/json"),
        "invalidateEntries" => (br#"{"all":true}"#.to_vec(), "application/json"),
        "putEntry" => (b"changed".to_vec(), "text/plain"),
        _ => (Vec::new(), "text/plain"),
    };
    (path, body, content_type)
}

async fn send(server: &Server, route: &Route, authorization: Option<&str>) -> super::Answer {
    let (path, body, content_type) = request(route);
    let ask = server.ask(route.method.clone(), &path).with("content-type", content_type);
    let ask = match authorization {
        Some(authorization) => ask.with("authorization", authorization),
        None => ask,
    };
    // A stream of events does not end by itself; that it begins is enough.
    if route.about.id == "getEvents" {
        server.stop.begin();
    }
    ask.send(body).await
}

/// All that a caller could change.
fn state(server: &Server) -> Value {
    let caches = server.service.caches.iter().map(|cache| {
        let (stats, seat) = (cache.cache().stats(), cache.cache().seat_status());
        let entry = cache.entry(Key::new(0, b"k").as_bytes()).map(|entry| entry.value.to_vec());
        json!([stats.inserted, stats.removed, stats.entries, seat.desired, seat.previous, entry])
    });
    json!([caches.collect::<Vec<_>>(), server.service.policies.list()])
}

fn with_an_entry() -> Server {
    let server = guarded();
    let stored = server.service.caches[0].set(Key::new(0, b"k"), Bytes::new(b"v"), End::Never, 0);
    assert!(stored.is_ok());
    server
}

#[tokio::test]
async fn without_a_token_nothing_changes_and_nothing_is_told() {
    let server = with_an_entry();
    let before = state(&server);
    let tokens = [
        None,
        Some("Bearer wrong"),
        Some("Bearer"),
        Some("Bearer "),
        Some("admin"),
        Some("Basic !!!"),
        Some("Basic YWRtaW4="),
    ];
    for route in table() {
        for token in tokens {
            let answer = send(&server, &route, token).await;
            if route.role.is_none() {
                continue;
            }
            assert_eq!(answer.status, 401, "{} {} {token:?}", route.method, route.path);
            assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer"));
        }
    }
    assert_eq!(state(&server), before);
    let open: Vec<_> = table().into_iter().filter(|route| route.role.is_none()).collect();
    let open: Vec<_> = open.iter().map(|route| (route.method.as_str(), route.path)).collect();
    assert_eq!(open, [("GET", "/healthz"), ("GET", "/readyz")]);
}

#[tokio::test]
async fn other_methods_and_paths_are_closed_as_well() {
    let server = with_an_entry();
    let before = state(&server);
    let methods = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"];
    for method in methods.map(|method| Method::from_bytes(method.as_bytes()).unwrap()) {
        for route in table() {
            let is_open = route.role.is_none() && matches!(method.as_str(), "GET" | "HEAD");
            let (path, body, content_type) = request(&route);
            let ask = server.ask(method.clone(), &path).with("content-type", content_type);
            let answer = ask.send(body).await;
            assert_eq!(answer.status, if is_open { 200 } else { 401 }, "{method} {path}");
        }
        for path in ["/nothing", "/v1", "/v1/caches/", "//v1/caches", "/v1/caches/a/entries/k/"] {
            let answer = server.ask(method.clone(), path).send("").await;
            assert_eq!(answer.status, 401, "{method} {path}");
        }
    }
    assert_eq!(state(&server), before);
}

#[tokio::test]
async fn every_route_takes_its_role_and_those_above_it() {
    for route in table() {
        for role in ROLES {
            let server = with_an_entry();
            let before = state(&server);
            let token = format!("bearer {}", name(role));
            let answer = send(&server, &route, Some(&token)).await;
            let enough = route.role.is_none_or(|needed| role >= needed);
            let place = format!("{} {} {role:?}: {}", route.method, route.path, answer.status);
            if enough {
                assert!(![401, 403].contains(&answer.status), "{place}");
            } else {
                assert_eq!((answer.status, &*answer.problem()), (403, "role-too-small"), "{place}");
                assert_eq!(state(&server), before, "{place}");
            }
            if role == Role::Read {
                assert_eq!(state(&server), before, "{place}: reading changes nothing");
            }
        }
    }
}

#[tokio::test]
async fn a_browser_may_read_with_a_password_and_not_write() {
    let server = with_an_entry();
    // "anybody:admin"
    let basic = "Basic YW55Ym9keTphZG1pbg==";
    let read = server.ask(Method::GET, "/").with("authorization", basic).send("").await;
    assert_eq!((read.status, read.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let path = "/v1/caches/a/entries/k";
    let write = server.ask(Method::DELETE, path).with("authorization", basic).send("").await;
    assert_eq!(write.status, 401);
}

#[tokio::test]
async fn pages_of_other_origins_change_nothing() {
    let server = server(settings());
    let table = [
        (None, 204),
        (Some("http://localhost:7379"), 204),
        (Some("http://evil.example"), 403),
        (Some("null"), 403),
        (Some("http://localhost"), 403),
    ];
    for (origin, status) in table {
        assert!(server.put("/v1/caches/a/entries/k", "v").await.status < 300);
        let ask = server.ask(Method::DELETE, "/v1/caches/a/entries/k");
        let ask = ask.with("host", "localhost:7379");
        let ask = match origin {
            Some(origin) => ask.with("origin", origin),
            None => ask,
        };
        assert_eq!(ask.send("").await.status, status, "{origin:?}");
    }
}

#[tokio::test]
async fn where_no_token_is_needed_no_page_can_come_under_its_own_name() {
    let (open, guarded) = (server(settings()), guarded());
    let table = [
        ("localhost", true),
        ("LocalHost:7379", true),
        ("127.0.0.1", true),
        ("127.0.0.1:7379", true),
        ("10.1.2.3:80", true),
        ("[::1]", true),
        ("[::1]:7379", true),
        ("cache.local:7379", false),
        ("evil.example", false),
        ("localhost.evil.example:7379", false),
        ("127.0.0.1.evil.example", false),
        ("localhost:port", false),
        ("1.2.3", false),
        ("[::1", false),
        ("", false),
    ];
    for (host, is_heard) in table {
        for (method, path) in
            [(Method::GET, "/v1/caches"), (Method::GET, "/healthz"), (Method::POST, "/nothing")]
        {
            let answer = open.ask(method.clone(), path).with("host", host).send("").await;
            assert_eq!(answer.status != 403, is_heard, "{method} {path} {host:?}");
            if !is_heard {
                assert_eq!(answer.problem(), "foreign-origin");
            }
        }
        let ask = guarded.ask(Method::GET, "/v1/caches").with("host", host);
        assert_eq!(ask.with("authorization", "Bearer read").send("").await.status, 200, "{host:?}");
    }
    // One good name does not make up for another, wherever they stand.
    let ask = open.ask(Method::GET, "/v1/caches").with("host", "localhost");
    assert_eq!(ask.with("host", "evil.example").send("").await.status, 403);
    let ask = open.ask(Method::GET, "http://evil.example/v1/caches").with("host", "localhost");
    assert_eq!(ask.send("").await.status, 403);
}
