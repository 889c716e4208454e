//! What handlers take out of requests: names in the path, the query, JSON and raw bodies. Whatever
//! does not fit becomes a problem document.

use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri, header};
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Api;
use super::problem::{Kind, Problem};
use crate::keyspace::Keyspace;

/// Bytes of a JSON body.
const JSON_BYTES_MAX: usize = 1 << 20;
/// Where a path such as `/v1/caches/{cache}/entries/{key}` has the name of the cache or policy.
const NAME_AT: usize = 3;
/// Where it has the key.
const KEY_AT: usize = 5;

/// The bytes that the path has at a place, percent-decoded.
///
/// # Errors
///
/// A percent sign without two hexadecimal digits after it.
fn segment(uri: &Uri, place: usize) -> Result<Vec<u8>, Problem> {
    let text = uri.path().split('/').nth(place).unwrap_or_default();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let mut digit = || rest.next().is_some_and(|byte| byte.is_ascii_hexdigit());
        if byte == b'%' && !(digit() && digit()) {
            let detail =
                format!("in the path `{text}` a % is not followed by two hexadecimal digits");
            return Err(Problem::new(Kind::BadRequest, detail));
        }
    }
    Ok(percent_decode_str(text).collect())
}

/// The name in the path, of a policy for one.
pub(crate) struct Name(pub(crate) String);

impl<S: Sync> FromRequestParts<S> for Name {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let name = String::from_utf8(segment(&parts.uri, NAME_AT)?);
        name.map(Self)
            .map_err(|_| Problem::new(Kind::BadRequest, "a name in the path is not UTF-8"))
    }
}

/// The cache in the path: its number in the service's order.
#[derive(Clone, Copy)]
pub(crate) struct CacheAt(pub(crate) usize);

impl CacheAt {
    /// The cache.
    pub(crate) fn of(self, api: &Api) -> &Arc<Keyspace> {
        &api.service.caches[self.0]
    }
}

impl FromRequestParts<Arc<Api>> for CacheAt {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let Name(name) = Name::from_request_parts(parts, api).await?;
        let caches = &api.service.caches;
        caches.iter().position(|cache| cache.name() == name).map(Self).ok_or_else(|| {
            let known: Vec<_> = caches.iter().map(|cache| cache.name()).collect();
            let detail = format!("cache `{name}`: there is none; there are {}", known.join(", "));
            Problem::new(Kind::UnknownCache, detail)
        })
    }
}

/// The key in the path.
pub(crate) struct KeyName(pub(crate) Vec<u8>);

impl<S: Sync> FromRequestParts<S> for KeyName {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        segment(&parts.uri, KEY_AT).map(Self)
    }
}

/// The query.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match axum::extract::Query::<T>::try_from_uri(&parts.uri) {
            Ok(axum::extract::Query(query)) => Ok(Self(query)),
            Err(refusal) => Err(Problem::new(Kind::BadRequest, refusal.body_text())),
        }
    }
}

/// A JSON body. A number without a fraction is an integer however it is written, as JSON Schema has it:
/// `1000.0` and `1e3` do where `1000` does.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        // Asked for strictly: a browser sends no JSON for a page of another origin unless it is allowed.
        expect_type(request.headers(), "application/json")?;
        let body = read_body(request, JSON_BYTES_MAX).await?;
        parse_json(&body).map(Self).map_err(|error| {
            Problem::new(Kind::BadRequest, format!("the JSON body does not fit: {error}"))
        })
    }
}

/// Parses as it stands; only where that fails, with its whole numbers as integers.
fn parse_json<T: DeserializeOwned>(body: &[u8]) -> serde_json::Result<T> {
    serde_json::from_slice(body).or_else(|error| {
        let Ok(mut value) = serde_json::from_slice::<Value>(body) else { return Err(error) };
        // The first error names line and column.
        if write_integers(&mut value) { serde_json::from_value(value) } else { Err(error) }
    })
}

/// Writes numbers without a fraction as integers, as far as a float tells integers apart; says whether
/// there was one.
fn write_integers(value: &mut Value) -> bool {
    const EXACT_MAX: f64 = (1_u64 << f64::MANTISSA_DIGITS) as f64;
    let mut any = false;
    match value {
        Value::Number(number) if number.is_f64() => {
            let float = number.as_f64().unwrap_or(f64::NAN);
            if float.fract() == 0.0 && float.abs() <= EXACT_MAX {
                *number = (float as i64).into();
                any = true;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| any |= write_integers(item)),
        Value::Object(fields) => {
            fields.values_mut().for_each(|field| any |= write_integers(field));
        }
        _ => {}
    }
    any
}

/// Refuses bodies of another media type; parameters of the type do not matter.
pub(crate) fn expect_type(headers: &HeaderMap, wanted: &str) -> Result<(), Problem> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = given.and_then(|given| given.split(';').next()).unwrap_or_default();
    if media_type.trim().eq_ignore_ascii_case(wanted) {
        return Ok(());
    }
    let detail = format!("send the body as Content-Type: {wanted}");
    Err(Problem::new(Kind::WrongMediaType, detail))
}

/// The whole body, of at most `bytes_max` bytes.
pub(crate) async fn read_body(request: Request, bytes_max: usize) -> Result<Bytes, Problem> {
    let too_large = || {
        let detail = format!("the body may have {bytes_max} bytes");
        Problem::new(Kind::TooLarge, detail).with("bytes_max", bytes_max)
    };
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > bytes_max as u64) {
        return Err(too_large());
    }
    to_bytes(Body::new(request.into_body()), bytes_max).await.map_err(|error| {
        if is_length_limit(&error) {
            return too_large();
        }
        Problem::new(Kind::BadRequest, format!("the body did not arrive whole: {error}"))
    })
}

fn is_length_limit(error: &axum::Error) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if error.is::<http_body_util::LengthLimitError>() {
            return true;
        }
        cause = error.source();
    }
    false
}
