//! Entries over HTTP: read, stored and removed one at a time, with entity tags, ends and types.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ostler_core::{Snapshot, Version};
use serde::Deserialize;

use super::conditions::{Conditions, Held, Tagger};
use super::content_types;
use super::extract::{CacheAt, KeyName, Query, read_body};
use super::problem::{Kind, Problem};
use super::{Api, with_lane};
use crate::keyspace::{DATABASES, End, KEY_LEN_MAX, Key, Keyspace, Value, WriteError, weight_of};
use crate::notifications::Event;
use crate::room;

/// The header with seconds to live, in both directions.
pub(crate) const TTL: HeaderName = HeaderName::from_static("ostler-ttl");
/// Longest time to live, milliseconds: a hundred years.
const TTL_MS_MAX: u64 = 100 * 365 * 24 * 3_600 * 1_000;
/// Longest content type, bytes.
const CONTENT_TYPE_LEN_MAX: usize = 256;

/// The query of all methods.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    database: Option<u8>,
}

/// The query of a write.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Writing {
    database: Option<u8>,
    ttl_ms: Option<u64>,
}

/// What a caller wants to store.
struct Write {
    value: Value,
    conditions: Conditions,
    ttl_ms: Option<u64>,
    content_type: String,
}

/// The entry that a request is about.
struct Place<'a> {
    api: &'a Api,
    keyspace: &'a Keyspace,
    key: Key,
}

impl<'a> Place<'a> {
    fn new(
        api: &'a Api,
        cache: CacheAt,
        name: &KeyName,
        database: Option<u8>,
    ) -> Result<Self, Problem> {
        if name.0.len() > KEY_LEN_MAX {
            let detail = format!("a key may have {KEY_LEN_MAX} bytes");
            return Err(Problem::new(Kind::KeyTooLong, detail));
        }
        let database = database_of(api, cache, database)?;
        let key = Key::new(api.service.databases.home(database), &name.0);
        Ok(Self { api, keyspace: cache.of(api), key })
    }

    fn tagger(&self) -> Tagger {
        Tagger::of(&self.api.service)
    }

    fn tag(&self, entry: Option<&Snapshot<Value>>) -> Option<String> {
        entry.map(|entry| self.tagger().tag(entry.version))
    }

    /// Stores what a caller wrote, if its conditions hold. Whether an entry was there, and the version
    /// of the new one.
    fn store(&self, cache: CacheAt, write: Write) -> Result<(bool, Option<Version>), Problem> {
        let Write { value, conditions, ttl_ms, content_type } = write;
        let types = &self.api.content_types[cache.0];
        if self.api.service.room.is_watched() {
            room::relieve(&self.api.service);
            if room::is_full(&self.api.service) {
                return Err(full());
            }
        }
        self.keyspace.with_entry(&self.key, 0, |entry| {
            let before = entry.peek();
            if conditions.hold(self.tag(before.as_ref()).as_deref()) != Held::Yes {
                return Err(precondition_failed());
            }
            let end =
                ttl_ms.map_or(End::Never, |ttl| End::At(entry.now_unix_ms().saturating_add(ttl)));
            entry.set(value, end).map_err(too_heavy)?;
            let version = entry.peek().map(|entry| entry.version);
            if let Some(version) = version {
                types.note(&self.key, version, &content_type);
            }
            Ok((before.is_some(), version))
        })
    }
}

/// The database that is meant in a cache: the one that is named, else its first.
pub(crate) fn database_of(api: &Api, cache: CacheAt, named: Option<u8>) -> Result<u8, Problem> {
    let databases = api.service.databases_of(cache.0);
    let lives_here = |database: &u8| databases.contains(database);
    match named {
        None => Ok(databases.first().copied().unwrap_or_default()),
        Some(database) if database < DATABASES && lives_here(&database) => Ok(database),
        Some(database) => {
            let detail = format!("database {database} is not in this cache; it has {databases:?}");
            Err(Problem::new(Kind::BadRequest, detail))
        }
    }
}

/// `GET` and `HEAD`.
pub(crate) async fn get(
    State(api): State<Arc<Api>>,
    cache: CacheAt,
    name: KeyName,
    Query(which): Query<Which>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let conditions = Conditions::read(&headers)?;
    let read = move |api: &Api| {
        let types = &api.content_types[cache.0];
        let place = Place::new(api, cache, &name, which.database)?;
        Ok::<_, Problem>(place.keyspace.with_entry(&place.key, 0, |entry| {
            // The request that counts; the snapshot does not.
            entry.get()?;
            let found = entry.peek()?;
            let content_type = types.get(&place.key, found.version);
            Some((found, content_type))
        }))
    };
    let found = with_lane(&api, read).await??;
    let tagger = Tagger::of(&api.service);
    let tag = found.as_ref().map(|(entry, _)| tagger.tag(entry.version));
    match (conditions.hold(tag.as_deref()), found) {
        (Held::MatchFailed, _) => Err(precondition_failed()),
        (_, None) => Err(unknown()),
        (Held::NoneMatchFailed, Some((entry, _))) => {
            let mut response = StatusCode::NOT_MODIFIED.into_response();
            describe(&mut response, tagger, &entry);
            Ok(response)
        }
        (Held::Yes, Some((entry, content_type))) => {
            let body = Bytes::from_owner(Owned(entry.value.clone()));
            let mut response = Response::new(Body::from(body));
            describe(&mut response, tagger, &entry);
            let content_type = content_type.as_deref().unwrap_or(content_types::DEFAULT);
            let content_type = HeaderValue::from_str(content_type)
                .unwrap_or(HeaderValue::from_static(content_types::DEFAULT));
            response.headers_mut().insert(header::CONTENT_TYPE, content_type);
            Ok(response)
        }
    }
}

/// `PUT`.
pub(crate) async fn put(
    State(api): State<Arc<Api>>,
    cache: CacheAt,
    name: KeyName,
    Query(writing): Query<Writing>,
    request: Request,
) -> Result<Response, Problem> {
    let place = Place::new(&api, cache, &name, writing.database)?;
    let conditions = Conditions::read(request.headers())?;
    let ttl_ms = ttl_ms(writing.ttl_ms, request.headers())?;
    let content_type = content_type(request.headers())?;
    let bytes_max = body_bytes_max(place.keyspace, name.0.len());
    let bytes_max = bytes_max.min(api.service.settings.limits.bulk_bytes_max);
    let body = read_body(request, bytes_max).await?;
    let value = Value::new(&body);
    let ends = ttl_ms.is_some();
    let write = Write { value, conditions, ttl_ms, content_type };
    let database = writing.database;
    let store = move |api: &Api| {
        // Databases may have moved meanwhile.
        let place = Place::new(api, cache, &name, database)?;
        let stored = place.store(cache, write)?;
        Ok::<_, Problem>((stored, place.key))
    };
    let ((was_there, version), key) = with_lane(&api, store).await??;
    let notifications = &api.service.notifications;
    notifications.tell_key(Event::SET, key.as_bytes());
    if ends {
        notifications.tell_key(Event::WILL_END, key.as_bytes());
    }
    api.content_types[cache.0].tidy(cache.of(&api));

    let status = if was_there { StatusCode::NO_CONTENT } else { StatusCode::CREATED };
    let mut response = status.into_response();
    if let Some(version) = version {
        response.headers_mut().insert(header::ETAG, Tagger::of(&api.service).header(version));
    }
    Ok(response)
}

/// `DELETE`.
pub(crate) async fn delete(
    State(api): State<Arc<Api>>,
    cache: CacheAt,
    name: KeyName,
    Query(which): Query<Which>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let conditions = Conditions::read(&headers)?;
    let remove = move |api: &Api| {
        let place = Place::new(api, cache, &name, which.database)?;
        let removed = place.keyspace.with_entry(&place.key, 0, |entry| {
            let found = entry.peek();
            match conditions.hold(place.tag(found.as_ref()).as_deref()) {
                Held::Yes if entry.remove() => Ok(StatusCode::NO_CONTENT),
                Held::Yes => Err(unknown()),
                _ => Err(precondition_failed()),
            }
        });
        if removed.is_ok() {
            api.service.notifications.tell_key(Event::REMOVED, place.key.as_bytes());
        }
        removed
    };
    with_lane(&api, remove).await?
}

/// A value as the body of an answer, without copying it.
struct Owned(Value);

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Tag, age and end of an entry.
fn describe(response: &mut Response, tagger: Tagger, entry: &Snapshot<Value>) {
    let headers = response.headers_mut();
    headers.insert(header::ETAG, tagger.header(entry.version));
    let age_s = entry.age.as_secs();
    headers.insert(header::AGE, HeaderValue::from(age_s));
    let cached = match entry.remaining {
        Some(left) => {
            let left_s = ceil_s(left);
            headers.insert(TTL, HeaderValue::from(left_s));
            // Fresh for as long as is left: caches subtract the age from this.
            format!("max-age={}", age_s.saturating_add(left_s))
        }
        None => "no-cache".to_owned(),
    };
    if let Ok(cached) = HeaderValue::from_str(&cached) {
        headers.insert(header::CACHE_CONTROL, cached);
    }
    // What callers have stored must not run as a page of this server.
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let sandbox = HeaderValue::from_static("default-src 'none'; sandbox");
    headers.insert(header::CONTENT_SECURITY_POLICY, sandbox);
}

fn ceil_s(left: Duration) -> u64 {
    left.as_secs() + u64::from(left.subsec_nanos() > 0)
}

fn unknown() -> Problem {
    Problem::new(Kind::UnknownEntry, "the cache has no such entry, or not any more")
}

fn precondition_failed() -> Problem {
    let detail = "the entry is not as If-Match or If-None-Match wants it";
    Problem::new(Kind::PreconditionFailed, detail)
}

fn too_heavy(error: WriteError) -> Problem {
    let WriteError::TooHeavy { weight, weight_max } = error;
    Problem::new(Kind::TooLarge, error.to_string())
        .with("weight", weight)
        .with("weight_max", weight_max)
}

fn full() -> Problem {
    let detail =
        "the cache is full, and what may be evicted is not enough: maxmemory-policy says so";
    Problem::new(Kind::TooLarge, detail)
}

/// Bytes of the longest value that fits under a key of this length.
fn body_bytes_max(keyspace: &Keyspace, key_len: usize) -> usize {
    let weight_max = keyspace.weight_max();
    // Weights grow with lengths, in steps: halve the range in which the longest one lies.
    let (mut fits, mut over) = (0, usize::try_from(weight_max).unwrap_or(usize::MAX));
    while over - fits > 1 {
        let middle = fits + (over - fits) / 2;
        if u64::from(weight_of(key_len, middle)) <= weight_max {
            fits = middle;
        } else {
            over = middle;
        }
    }
    fits
}

/// The time to live that a write names, milliseconds: in the query, in `Ostler-TTL`, or as the
/// `max-age` of `Cache-Control`; the first of them counts. None for ever.
fn ttl_ms(query: Option<u64>, headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let wrong = |what: &str| {
        let detail = format!("{what} is a whole number from 1 to a hundred years");
        Problem::new(Kind::BadRequest, detail)
    };
    let bounded = |ttl_ms: u64, what: &str| {
        let fits = (1..=TTL_MS_MAX).contains(&ttl_ms);
        fits.then_some(ttl_ms).ok_or_else(|| wrong(what))
    };
    let seconds = |text: &str, what: &str| {
        let seconds = text.trim().parse::<u64>().map_err(|_| wrong(what))?;
        bounded(seconds.saturating_mul(1_000), what)
    };
    // Both are Ostler's own: a wrong one is a mistake also where another counts before it.
    let in_query = query.map(|ttl_ms| bounded(ttl_ms, "ttl_ms")).transpose()?;
    let own = headers.get(TTL).map(|given| given.to_str().unwrap_or_default());
    let own = own.map(|given| seconds(given, "the header Ostler-TTL")).transpose()?;
    if let Some(ttl_ms) = in_query.or(own) {
        return Ok(Some(ttl_ms));
    }
    let lines = headers.get_all(header::CACHE_CONTROL).into_iter();
    let lines = lines.filter_map(|line| line.to_str().ok());
    let max_age = lines.flat_map(|line| line.split(',')).find_map(|directive| {
        let (name, value) = directive.split_once('=')?;
        name.trim().eq_ignore_ascii_case("max-age").then(|| value.trim().trim_matches('"'))
    });
    max_age.map(|max_age| seconds(max_age, "max-age in Cache-Control")).transpose()
}

/// The content type of a write.
fn content_type(headers: &HeaderMap) -> Result<String, Problem> {
    let Some(given) = headers.get(header::CONTENT_TYPE) else {
        return Ok(content_types::DEFAULT.to_owned());
    };
    match given.to_str() {
        Ok(given) if (1..=CONTENT_TYPE_LEN_MAX).contains(&given.len()) => Ok(given.to_owned()),
        _ => {
            let detail = format!("a Content-Type has 1 to {CONTENT_TYPE_LEN_MAX} ASCII characters");
            Err(Problem::new(Kind::BadRequest, detail))
        }
    }
}
