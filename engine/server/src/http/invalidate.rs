//! Many entries removed at once: by their keys, by a prefix, or all.

use std::collections::HashSet;
use std::sync::Arc;

use axum::extract::State;
use schemars::JsonSchema;
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};

use super::Api;
use super::entries::database_of;
use super::extract::{CacheAt, Json};
use super::problem::{Kind, Problem};
use crate::keyspace::{Key, Keyspace};
use crate::notifications::Event;

/// Slots looked through while the lane is held.
const SLICE_SLOTS: u32 = 1_024;

/// Which entries to remove: exactly one of `keys`, `prefix` and `all`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [
    {"required": ["keys"]},
    {"required": ["prefix"]},
    {"required": ["all"]},
]))]
pub(crate) struct Invalidation {
    /// Entries with these keys.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Vec<String>")]
    keys: Option<Vec<String>>,
    /// Entries whose keys begin so.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "String")]
    prefix: Option<String>,
    /// `true`: all entries, of all databases of the cache unless one is named.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "bool", extend("const" = true))]
    all: Option<bool>,
    /// The database, the cache's first where none is named.
    #[serde(default, deserialize_with = "whole")]
    #[schemars(range(min = 0, max = 15))]
    database: Option<u8>,
}

/// A member that is there has a value: `null` would leave open what is meant.
fn given<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// A number of a database, also as `1.0`: to JSON Schema that is an integer, too.
fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u8>, D::Error> {
    let Some(number) = Option::<f64>::deserialize(deserializer)? else { return Ok(None) };
    let found = (0..=u8::MAX).find(|&database| f64::from(database) == number);
    found.map(Some).ok_or_else(|| D::Error::custom(format!("{number} is no database")))
}

/// What an invalidation did.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Invalidated {
    /// Entries that are gone.
    removed: u64,
}

/// `POST`.
pub(crate) async fn invalidate(
    State(api): State<Arc<Api>>,
    cache: CacheAt,
    Json(wanted): Json<Invalidation>,
) -> Result<axum::Json<Invalidated>, Problem> {
    let database = database_of(&api, cache, wanted.database)?;
    let database_or_all = wanted.database;
    let work = move || match (wanted.keys, wanted.prefix, wanted.all) {
        (Some(keys), None, None) => Ok(remove_keys(&api, cache.of(&api), database, &keys)),
        (None, Some(prefix), None) => Ok(sweep(&api, cache.of(&api), |key| {
            tenant_of(&api, key) == database && key.name().starts_with(prefix.as_bytes())
        })),
        (None, None, Some(true)) => Ok(sweep(&api, cache.of(&api), |key| {
            database_or_all.is_none_or(|database| tenant_of(&api, key) == database)
        })),
        _ => {
            let detail = "name exactly one of keys, prefix and \"all\": true";
            Err(Problem::new(Kind::BadRequest, detail))
        }
    };
    let removed = super::caches::blocking(work).await??;
    Ok(axum::Json(Invalidated { removed }))
}

fn remove_keys(api: &Api, keyspace: &Keyspace, database: u8, keys: &[String]) -> u64 {
    let distinct: HashSet<_> = keys.iter().collect();
    let mut removed = 0;
    for name in distinct {
        let _lane = api.lane();
        let home = api.service.databases.home(database);
        removed += u64::from(remove(api, keyspace, &Key::new(home, name.as_bytes())));
    }
    removed
}

/// The database that `key` belongs to now.
fn tenant_of(api: &Api, key: &Key) -> u8 {
    api.service.databases.tenant(key.home())
}

/// Removes the entry of `key`, and tells of it. True where it was there.
fn remove(api: &Api, keyspace: &Keyspace, key: &Key) -> bool {
    let removed = keyspace.remove(key, 0);
    if removed {
        api.service.notifications.tell_key(Event::REMOVED, key.as_bytes());
    }
    removed
}

/// Removes all entries that `is_meant`, a slice at a time, so that others get their turn.
fn sweep(api: &Api, keyspace: &Keyspace, is_meant: impl Fn(&Key) -> bool) -> u64 {
    let (mut removed, mut cursor) = (0, 0);
    loop {
        let lane = api.lane();
        let (entries, next) = keyspace.scan(cursor, SLICE_SLOTS);
        for (key, _) in entries.iter().filter(|(key, _)| is_meant(key)) {
            removed += u64::from(remove(api, keyspace, key));
        }
        drop(lane);
        cursor = next;
        if cursor == 0 {
            return removed;
        }
    }
}
