//! What every request leaves behind: an id, a line in the log, a count and a time.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument;

use super::Api;
use super::access::Taken;

/// The header with a request's id.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id that is taken over from a caller, bytes.
const REQUEST_ID_LEN_MAX: usize = 128;

/// Runs the request under its id and notes what came of it.
pub(crate) async fn trail(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let id = match request.headers().get(REQUEST_ID) {
        Some(id) if is_good(id) => id.clone(),
        _ => made(),
    };
    let text = id.to_str().unwrap_or_default();
    let method = request.method();
    // The route and not the path, which names keys: logs travel further than entries do. Whoever
    // stands before the route fills it in; where there is no such route, it stays away.
    let span =
        tracing::info_span!("http", request_id = text, %method, route = tracing::field::Empty);
    let started = Instant::now();
    let mut response = next.run(request).instrument(span.clone()).await;
    let (elapsed, status) = (started.elapsed(), response.status().as_u16());
    let route = response.extensions().get::<Taken>().map(|taken| taken.0);
    api.requests.note(route, status, elapsed);
    let elapsed_us = elapsed.as_micros() as u64;
    span.in_scope(|| match status {
        500.. => tracing::warn!(status, elapsed_us, "answered"),
        _ => tracing::debug!(status, elapsed_us, "answered"),
    });
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// Taken over only where it can do no harm in a log.
fn is_good(id: &HeaderValue) -> bool {
    let good = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte);
    (1..=REQUEST_ID_LEN_MAX).contains(&id.len()) && id.as_bytes().iter().all(good)
}

/// An id that no other request of this process has, and hardly one of another.
fn made() -> HeaderValue {
    static SEED: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let id = format!("{:016x}{number:08x}", SEED.hash_one(number));
    HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("none"))
}
