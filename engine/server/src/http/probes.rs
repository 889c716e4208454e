//! Is the server alive, and does it want work?

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

use super::Api;
use super::problem::{Kind, Problem};

/// A probe's answer.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Probe {
    /// `ok`.
    status: String,
    /// The server's version.
    version: String,
}

impl Probe {
    fn ok() -> axum::Json<Self> {
        let (status, version) = ("ok".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
        axum::Json(Self { status, version })
    }
}

/// `GET /healthz`: whoever gets an answer knows that it lives.
pub(crate) async fn health() -> axum::Json<Probe> {
    Probe::ok()
}

/// `GET /readyz`.
pub(crate) async fn readiness(State(api): State<Arc<Api>>) -> Result<axum::Json<Probe>, Problem> {
    if api.stopping.load(Ordering::Acquire) {
        let detail = "no new work: the server stops as soon as the work at hand is done";
        return Err(Problem::new(Kind::Stopping, detail));
    }
    Ok(Probe::ok())
}
