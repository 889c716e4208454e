//! The API through its router, without a socket.

mod access;
mod caches;
mod decisions;
mod documents;
mod entries;
mod experiments;
mod models;
mod policies;
mod problems;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use serde_json::Value;
use tower::ServiceExt;

use crate::auth::{Grant, Role};
use crate::service::Service;
use crate::settings::{CacheSettings, Settings};

/// A server without sockets.
pub(super) struct Server {
    pub(super) service: Arc<Service>,
    pub(super) router: Router,
    pub(super) stop: super::Stop,
}

/// An answer, read to its end.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// A request on its way.
pub(super) struct Ask<'a> {
    server: &'a Server,
    request: axum::http::request::Builder,
}

/// Two small caches: `a` with the databases 0 and 1, `b` with 2.
pub(super) fn settings() -> Settings {
    let cache = |name: &str, databases: &[u8]| CacheSettings {
        name: name.to_owned(),
        capacity_bytes: 1 << 20,
        policy: "lru".to_owned(),
        shards: Some(2),
        databases: databases.to_vec(),
        ..CacheSettings::default()
    };
    Settings { caches: vec![cache("a", &[0, 1]), cache("b", &[2])], ..Settings::default() }
}

pub(super) fn server(settings: Settings) -> Server {
    let service = Service::try_new(settings, 1).unwrap();
    let (router, stop) = super::stoppable(Arc::clone(&service));
    Server { service, router, stop }
}

/// One with a token for each role: `read`, `policy` and `admin`.
pub(super) fn guarded() -> Server {
    let grant = |token: &str, role| Grant { token: token.to_owned(), role };
    let tokens =
        vec![grant("read", Role::Read), grant("policy", Role::Policy), grant("admin", Role::Admin)];
    server(Settings { tokens, ..settings() })
}

/// The module of a built-in policy.
pub(super) fn module(name: &str) -> Vec<u8> {
    ostler::builtin(name).unwrap().module.to_vec()
}

impl Server {
    pub(super) fn ask(&self, method: Method, path: &str) -> Ask<'_> {
        Ask { server: self, request: Request::builder().method(method).uri(path) }
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path).send("").await
    }

    pub(super) async fn post(&self, path: &str, json: &str) -> Answer {
        let ask = self.ask(Method::POST, path).with("content-type", "application/json");
        ask.send(json.to_owned()).await
    }

    pub(super) async fn put(&self, path: &str, body: impl Into<Body>) -> Answer {
        self.ask(Method::PUT, path).send(body).await
    }

    pub(super) async fn delete(&self, path: &str) -> Answer {
        self.ask(Method::DELETE, path).send("").await
    }
}

impl Ask<'_> {
    pub(super) fn with(mut self, header: &str, value: &str) -> Self {
        self.request = self.request.header(header, value);
        self
    }

    pub(super) async fn send(self, body: impl Into<Body>) -> Answer {
        let request = self.request.body(body.into()).unwrap();
        let response = self.server.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec();
        assert!(headers.contains_key("x-request-id"), "{status}");
        if status >= 400 && !body.is_empty() {
            assert_eq!(headers["content-type"], "application/problem+json");
            let problem: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(problem["status"], status, "{problem}");
            let title = StatusCode::from_u16(status).map(|_| problem["title"].as_str());
            assert!(title.unwrap().is_some_and(|title| !title.is_empty()), "{problem}");
        }
        Answer { status, headers, body }
    }
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The last part of the problem's type.
    pub(super) fn problem(&self) -> String {
        let kind = self.json()["type"].as_str().unwrap().to_owned();
        kind.rsplit(':').next().unwrap().to_owned()
    }
}
