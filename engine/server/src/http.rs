//! The HTTP API: policies, caches, entries, events, metrics and probes.
//!
//! The router is built from one table of routes (`routes`), which also yields the OpenAPI document,
//! the roles and the names in the metrics. Thin over [`Service`]: nothing in here decides.

mod access;
mod caches;
mod conditions;
mod content_types;
mod dashboard;
mod decisions;
mod entries;
mod events;
mod experiments;
mod extract;
mod fetching;
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
use axum::middleware::from_fn_with_state;
use axum::response::Response;

use self::content_types::ContentTypes;
use self::metrics::requests::Requests;
use self::problem::Problem;
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
            requests: Requests::new(routes.len()),
            routes,
            streams: Arc::new(tokio::sync::Semaphore::new(STREAMS_MAX)),
            streams_stop: tokio::sync::watch::channel(false).0,
            changes: Arc::new(tokio::sync::Semaphore::new(CHANGES_MAX)),
            stopping: AtomicBool::new(false),
            service,
        }
    }

    /// The right to work with entries. Not to be held across an `await`, and waited for only on a
    /// thread that may block.
    fn lane(&self) -> Shared<'_> {
        self.service.lanes.of_api()
    }
}

/// Runs `work` with the right to work with entries. Where that is not to be had at once, a thread of
/// its own waits for it: those that serve everybody do not.
async fn with_lane<T: Send + 'static>(
    api: &Arc<Api>,
    work: impl FnOnce(&Api) -> T + Send + 'static,
) -> Result<T, Problem> {
    let work = match at_once(api, work) {
        Ok(done) => return Ok(done),
        Err(work) => work,
    };
    let api = Arc::clone(api);
    caches::blocking(move || {
        let _lane = api.lane();
        work(&api)
    })
    .await
}

/// Runs `work` where the lane is free, else gives it back.
fn at_once<T, W: FnOnce(&Api) -> T>(api: &Api, work: W) -> Result<T, W> {
    match api.service.lanes.try_of_api() {
        Some(_lane) => Ok(work(api)),
        None => Err(work),
    }
}

/// True where a response answers a caller who showed that it is no stranger.
pub(crate) fn is_known(response: &Response) -> bool {
    response.extensions().get::<access::Known>().is_some()
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
        .layer(from_fn_with_state(Arc::clone(&api), access::refuse_foreign_origin))
        .layer(from_fn_with_state(Arc::clone(&api), trail::trail))
        .with_state(Arc::clone(&api));
    (router, Stop(api))
}

/// Tells an API that its server stops.
#[derive(Clone)]
pub struct Stop(Arc<Api>);

impl Stop {
    /// Does what is due: gives memory back that belonged to entries which have gone. To be called about
    /// every second.
    pub(crate) async fn tidy(&self) {
        let api = Arc::clone(&self.0);
        // What went wrong is in the log.
        let _ = caches::blocking(move || {
            for (types, keyspace) in api.content_types.iter().zip(&api.service.caches) {
                types.settle(keyspace);
            }
            api.service.experiments.settle();
            if !api.stopping.load(std::sync::atomic::Ordering::Acquire) {
                api.service.lessons.follow(&api.service);
            }
        })
        .await;
    }

    /// From now on `/readyz` says no. Everything else goes on.
    pub fn announce(&self) {
        self.0.stopping.store(true, std::sync::atomic::Ordering::Release);
    }

    /// From now on `/readyz` says no, and streams of events end. Requests are still answered.
    pub fn begin(&self) {
        self.announce();
        self.0.streams_stop.send_replace(true);
    }
}
