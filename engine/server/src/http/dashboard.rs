//! The page at `/`: caches, who is in charge, hit ratios as they change, and the policies. One file,
//! nothing loaded from elsewhere.

use axum::http::header;
use axum::response::IntoResponse;

const PAGE: &str = include_str!("dashboard.html");
/// Only this page's own style and script, and only this server to ask.
const RULES: &str = concat!(
    "default-src 'none'; connect-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; ",
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
);

/// `GET /`.
pub(crate) async fn page() -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, RULES),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, PAGE)
}
