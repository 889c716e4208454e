//! The HTTP API: policies, caches, entries, events, metrics and probes.
//!
//! The router is built from one table of routes (`routes`), which also yields the OpenAPI document,
//! the roles and the names in the metrics. Thin over [`Service`]: nothing in here decides.

mod access;
mod caches;
mod conditions;
mod content_types;
mod dashboard;
mod entries;
mod events;
mod extract;
mod invalidate;
mod metrics;
mod openapi;
mod policies;
mod probes;
mod problem;
mod routes;
mod schemas;
#[cfg(test)]
mod tests;
mod trail;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::Router;
use axum::handler::Handler;
use axum::middleware::{from_fn, from_fn_with_state};

use self::content_types::ContentTypes;
use self::metrics::ledger::Ledger;
use self::metrics::requests::Requests;
use self::routes::Route;
use crate::lanes::Shared;
use crate::service::Service;

/// Streams of events at a time.
const STREAMS_MAX: usize = 64;

/// Changes of policies that may be under way or wait.
const CHANGES_MAX: usize = 16;

/// What all handlers share.
pub(crate) struct Api {
    service: Arc<Service>,
    /// Content types of entries, a table for each cache.
    content_types: Vec<ContentTypes>,
    /// Requests of each cache by the policy that was in charge, one for each cache.
    ledgers: Vec<Ledger>,
    requests: Requests,
    routes: Vec<Route>,
    streams: Arc<tokio::sync::Semaphore>,
    streams_stop: tokio::sync::watch::Sender<bool>,
    changes: Arc<tokio::sync::Semaphore>,
    stopping: AtomicBool,
}

impl Api {
    fn new(service: Arc<Service>) -> Self {
        let routes = routes::table();
        Self {
            content_types: service.caches.iter().map(|_| ContentTypes::default()).collect(),
            ledgers: service.caches.iter().map(|cache| Ledger::open(cache)).collect(),
            requests: Requests::new(routes.len()),
            routes,
            streams: Arc::new(tokio::sync::Semaphore::new(STREAMS_MAX)),
            streams_stop: tokio::sync::watch::channel(false).0,
            changes: Arc::new(tokio::sync::Semaphore::new(CHANGES_MAX)),
            stopping: AtomicBool::new(false),
            service,
        }
    }

    /// The right to work with entries. Not to be held across an `await`.
    fn lane(&self) -> Shared<'_> {
        self.service.lanes.of_api()
    }
}

/// The API of `service`.
pub fn router(service: Arc<Service>) -> Router {
    stoppable(service).0
}

/// The API of `service`, and the means to tell it that the server stops.
pub fn stoppable(service: Arc<Service>) -> (Router, Stop) {
    let api = Arc::new(Api::new(service));
    let mut router = Router::new();
    for (index, route) in api.routes.iter().enumerate() {
        let guard = access::Guard { api: Arc::clone(&api), route: index };
        let methods = (route.serve)(route.filter());
        let methods = methods.route_layer(from_fn_with_state(guard, access::guard));
        router = router.route(route.path, methods);
    }
    let stranger = from_fn_with_state(Arc::clone(&api), access::guard_stranger);
    let router = router
        .method_not_allowed_fallback(access::wrong_method.layer(stranger.clone()))
        .fallback(access::unknown_path.layer(stranger))
        .layer(from_fn(access::refuse_foreign_origin))
        .layer(from_fn_with_state(Arc::clone(&api), trail::trail))
        .with_state(Arc::clone(&api));
    (router, Stop(api))
}

/// Tells an API that its server stops.
#[derive(Clone)]
pub struct Stop(Arc<Api>);

impl Stop {
    /// From now on `/readyz` says no, and streams of events end. Requests are still answered.
    pub fn begin(&self) {
        self.0.stopping.store(true, std::sync::atomic::Ordering::Release);
        self.0.streams_stop.send_replace(true);
    }
}
