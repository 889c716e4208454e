//! Policies over HTTP: uploaded, listed, deleted. What they are is the business of
//! [`Policies`](crate::policies::Policies).

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ostler_wasm::{ModuleId, Verdict};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Api;
use super::caches::blocking;
use super::extract::{Name, Query, read_body};
use super::problem::{Kind, Problem};
use super::schemas::{ModuleIdText, VerdictBody};
use crate::policies::{DeleteError, PolicyInfo, UploadError, UploadOutcome};

/// Seconds after which an upload that found the queue full may try again.
const RETRY_AFTER_S: u32 = 5;

/// A module that was taken.
#[derive(Serialize, JsonSchema)]
pub(crate) struct UploadBody {
    /// The policy's name.
    name: String,
    /// `sha256:` and the SHA-256 of the module: the version.
    #[schemars(with = "ModuleIdText")]
    id: ModuleId,
    /// Whether the policy had this version before: `new` or `known`.
    #[schemars(with = "String")]
    outcome: UploadOutcome,
    /// Every step of the admission.
    #[schemars(with = "VerdictBody")]
    verdict: Verdict,
}

/// All policies.
#[derive(Serialize, JsonSchema)]
pub(crate) struct PolicyList {
    /// The uploaded ones by name, then those built in.
    #[schemars(with = "Vec<super::schemas::PolicyBody>")]
    policies: Vec<PolicyInfo>,
}

/// The query of a deletion.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Deletion {
    version: Option<String>,
}

/// `PUT /v1/policies/{name}`.
pub(crate) async fn upload(
    State(api): State<Arc<Api>>,
    Name(name): Name,
    request: Request,
) -> Result<Response, Problem> {
    let given = request.headers().get(header::CONTENT_TYPE);
    if given.is_some_and(|given| given.as_bytes().starts_with(b"multipart/")) {
        let detail = "send the module's bytes as they are, for one with curl -T FILE.wasm";
        return Err(Problem::new(Kind::WrongMediaType, detail));
    }
    let module = read_body(request, api.service.settings.limits.module_bytes_max).await?;
    let uploaded = api.service.policies.upload(&name, module).await.map_err(upload_problem)?;
    let status = match uploaded.outcome {
        UploadOutcome::New => StatusCode::CREATED,
        UploadOutcome::Known => StatusCode::OK,
    };
    let location = HeaderValue::from_str(&format!("/v1/policies/{name}"));
    let (id, outcome, verdict) = (uploaded.id, uploaded.outcome, uploaded.verdict);
    let body = UploadBody { name, id, outcome, verdict };
    let mut response = (status, axum::Json(body)).into_response();
    if let Ok(location) = location {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// `GET /v1/policies`.
pub(crate) async fn list(State(api): State<Arc<Api>>) -> axum::Json<PolicyList> {
    axum::Json(PolicyList { policies: api.service.policies.list() })
}

/// `GET /v1/policies/{name}`.
pub(crate) async fn get(
    State(api): State<Arc<Api>>,
    Name(name): Name,
) -> Result<axum::Json<PolicyInfo>, Problem> {
    api.service.policies.get(&name).map(axum::Json).ok_or_else(|| {
        Problem::new(Kind::UnknownPolicy, format!("policy `{name}`: nobody has uploaded it"))
    })
}

/// `DELETE /v1/policies/{name}`.
pub(crate) async fn delete(
    State(api): State<Arc<Api>>,
    Name(name): Name,
    Query(deletion): Query<Deletion>,
) -> Result<StatusCode, Problem> {
    let version = deletion.version.map(|version| version.parse::<ModuleId>()).transpose();
    let version = version.map_err(|error| Problem::new(Kind::BadRequest, error.to_string()))?;
    let deleted = blocking(move || api.service.policies.delete(&name, version)).await?;
    deleted.map(|()| StatusCode::NO_CONTENT).map_err(deletion_problem)
}

fn upload_problem(error: UploadError) -> Problem {
    let detail = error.to_string();
    match error {
        UploadError::Name { .. } => Problem::new(Kind::BadRequest, detail),
        UploadError::BuiltIn { .. } => Problem::new(Kind::PolicyBuiltIn, detail),
        UploadError::TooLarge { limit, .. } => {
            Problem::new(Kind::TooLarge, detail).with("bytes_max", limit)
        }
        UploadError::QueueFull { .. } => {
            Problem::new(Kind::Overloaded, detail).retry_after_s(RETRY_AFTER_S)
        }
        UploadError::Refused { verdict } => refused(detail, &verdict),
        UploadError::Full { .. } | UploadError::Store(_) => Problem::new(Kind::Storage, detail),
        UploadError::Compiler => Problem::new(Kind::Internal, detail),
    }
}

/// What the author of a refused module is told: the step, why, and the whole verdict.
fn refused(detail: String, verdict: &Verdict) -> Problem {
    let problem = Problem::new(Kind::ModuleRefused, detail);
    let problem = match verdict.failure() {
        Some(step) => problem.with("step", &*step.name).with("reason", &*step.detail),
        None => problem,
    };
    let verdict = serde_json::to_value(verdict).unwrap_or_default();
    problem.with("verdict", verdict)
}

fn deletion_problem(error: DeleteError) -> Problem {
    let detail = error.to_string();
    match error {
        DeleteError::InUse { caches, .. } => {
            Problem::new(Kind::PolicyInUse, detail).with("caches", caches)
        }
        DeleteError::Unknown { .. } => Problem::new(Kind::UnknownPolicy, detail),
        DeleteError::BuiltIn { .. } => Problem::new(Kind::PolicyBuiltIn, detail),
        DeleteError::Store(_) => Problem::new(Kind::Storage, detail),
    }
}
