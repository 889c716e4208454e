//! Errors as callers see them: problem documents (RFC 9457).
//!
//! Owns the list of all kinds of problems. It must not know what led to one.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

/// The media type of problem documents.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

/// What kind of problem: it settles the status, the title and the `type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Something in the path, the query, a header or the body cannot be understood.
    BadRequest,
    /// No token, or one that nobody knows.
    Unauthorized,
    /// The token allows too little.
    RoleTooSmall,
    /// A page of another origin made the browser send this.
    ForeignOrigin,
    /// No such path.
    UnknownPath,
    /// No such cache.
    UnknownCache,
    /// No such policy, or version of it.
    UnknownPolicy,
    /// No such entry.
    UnknownEntry,
    /// No such experiment.
    UnknownExperiment,
    /// The path has other methods.
    MethodNotAllowed,
    /// The policy is in charge somewhere, or next in line.
    PolicyInUse,
    /// The policy is built in.
    PolicyBuiltIn,
    /// The policy faulted too often.
    PolicyQuarantined,
    /// The policy is for another seat.
    PolicyElsewhere,
    /// The cache has no origin.
    NoOrigin,
    /// Another change is under way.
    Busy,
    /// An experiment runs in the cache.
    ExperimentRuns,
    /// The experiment has ended.
    ExperimentOver,
    /// There is nothing to go back to.
    NoPrevious,
    /// `If-Match` or `If-None-Match` does not hold.
    PreconditionFailed,
    /// The body or the entry is too large.
    TooLarge,
    /// The key is too long.
    KeyTooLong,
    /// The body's media type is not the one that is taken.
    WrongMediaType,
    /// The module failed a step of its admission.
    ModuleRefused,
    /// The parameters do not fit the policy's manifest.
    ParametersRefused,
    /// The policy faulted before it could take the seat.
    PolicyFaulted,
    /// The arms cannot be compared like this.
    ExperimentImpossible,
    /// Too much waits already.
    Overloaded,
    /// The server is stopping.
    Stopping,
    /// The server's storage does not take it.
    Storage,
    /// The server's own mistake.
    Internal,
}

impl Kind {
    /// Status, last part of the `type`, title.
    pub(crate) const fn row(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::BadRequest => (400, "bad-request", "The request cannot be understood"),
            Self::Unauthorized => (401, "unauthorized", "A valid token is needed"),
            Self::RoleTooSmall => (403, "role-too-small", "The token does not allow this"),
            Self::ForeignOrigin => {
                (403, "foreign-origin", "Pages of other origins may not do this")
            }
            Self::UnknownPath => (404, "unknown-path", "There is nothing at this path"),
            Self::UnknownCache => (404, "unknown-cache", "There is no such cache"),
            Self::UnknownPolicy => (404, "unknown-policy", "There is no such policy"),
            Self::UnknownEntry => (404, "unknown-entry", "There is no such entry"),
            Self::UnknownExperiment => (404, "unknown-experiment", "There is no such experiment"),
            Self::MethodNotAllowed => (405, "method-not-allowed", "The path has other methods"),
            Self::PolicyInUse => (409, "policy-in-use", "The policy is in use"),
            Self::PolicyBuiltIn => (409, "policy-built-in", "The policy is built in"),
            Self::PolicyQuarantined => (409, "policy-quarantined", "The policy is quarantined"),
            Self::PolicyElsewhere => (409, "wrong-kind", "The policy is of another kind"),
            Self::NoOrigin => (409, "no-origin", "The cache has no origin"),
            Self::Busy => (409, "busy", "Another change is under way"),
            Self::ExperimentRuns => (409, "experiment-runs", "An experiment runs in the cache"),
            Self::ExperimentOver => (409, "experiment-over", "The experiment has ended"),
            Self::NoPrevious => (409, "no-previous-policy", "There is no earlier policy"),
            Self::PreconditionFailed => (412, "precondition-failed", "A condition does not hold"),
            Self::TooLarge => (413, "too-large", "The body is too large"),
            Self::KeyTooLong => (414, "key-too-long", "The key is too long"),
            Self::WrongMediaType => (415, "wrong-media-type", "The media type is not supported"),
            Self::ModuleRefused => (422, "module-refused", "The module was refused"),
            Self::ParametersRefused => (422, "parameters-refused", "The parameters do not fit"),
            Self::PolicyFaulted => (422, "policy-faulted", "The policy broke its contract"),
            Self::ExperimentImpossible => {
                (422, "experiment-impossible", "The experiment is not possible like this")
            }
            Self::Internal => (500, "internal", "The server made a mistake"),
            Self::Overloaded => (503, "overloaded", "Too much is waiting already"),
            Self::Stopping => (503, "stopping", "The server is stopping"),
            Self::Storage => (507, "storage", "The module could not be stored"),
        }
    }

    /// The status.
    pub(crate) fn status(self) -> StatusCode {
        StatusCode::from_u16(self.row().0).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// What the document's `type` says.
    pub(crate) fn type_uri(self) -> String {
        format!("urn:ostler:problem:{}", self.row().1)
    }
}

/// One problem, ready to be sent. Boxed, so that results stay small.
#[derive(Debug)]
pub(crate) struct Problem(Box<Parts>);

#[derive(Debug)]
struct Parts {
    kind: Kind,
    detail: String,
    members: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem of this kind; `detail` says in a line what is wrong here and what would be right.
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let (members, headers) = (Map::new(), Vec::new());
        Self(Box::new(Parts { kind, detail: detail.into(), members, headers }))
    }

    /// With one more member.
    pub(crate) fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.0.members.insert(member.to_owned(), value.into());
        self
    }

    /// With one more header.
    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// With the time after which another try makes sense.
    pub(crate) fn retry_after_s(self, seconds: u32) -> Self {
        self.header(header::RETRY_AFTER, HeaderValue::from(seconds))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Parts { kind, detail, members, headers } = *self.0;
        let (status, _, title) = kind.row();
        let mut document = json!({
            "type": kind.type_uri(), "title": title, "status": status, "detail": detail,
        });
        if let Value::Object(map) = &mut document {
            map.extend(members);
        }
        let mut response = Response::new(Body::from(document.to_string()));
        *response.status_mut() = kind.status();
        let media_type = HeaderValue::from_static(MEDIA_TYPE);
        response.headers_mut().insert(header::CONTENT_TYPE, media_type);
        for (name, value) in headers {
            response.headers_mut().append(name, value);
        }
        response
    }
}
