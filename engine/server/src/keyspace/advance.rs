//! Entries that come in before anybody asks for them.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use ostler_core::{Ahead, InsertOptions, Ttl};

use super::{Key, Keyspace, Value};
use crate::fetching::demand::{Advancing, Demand};
use crate::lanes::Lanes;
use crate::notifications::Event;

/// Why an entry is brought in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// It may be asked for soon.
    Prefetch,
    /// It was there before.
    Warming,
}

impl Keyspace {
    /// Who hears of requests, none where nothing is fetched ahead of them.
    pub(crate) fn demand(&self) -> Option<&Arc<Demand>> {
        self.demand.as_ref()
    }

    /// True where `key` is resident; no request.
    pub(crate) fn is_resident(&self, key: &[u8]) -> bool {
        self.cache.contains(key)
    }

    /// Brings `key` in with the value that `fetch` yields, to live for `ttl`. Where the key is there,
    /// or a caller writes or removes it during the fetch, nothing is stored: what callers did counts.
    /// The lane of the API is held while the entry comes in, not while it is fetched.
    ///
    /// # Errors
    ///
    /// What `fetch` returned.
    pub(crate) async fn bring_in<E: Send + Sync + 'static>(
        &self,
        key: &Key,
        (purpose, ttl): (Purpose, Option<Duration>),
        lanes: &Lanes,
        fetch: impl Future<Output = Result<Value, E>>,
    ) -> Result<Ahead, Arc<E>> {
        let ttl = ttl.map_or(Ttl::Never, Ttl::After);
        let options = InsertOptions::new().end(ttl);
        let options = match purpose {
            Purpose::Prefetch => options.prefetched(),
            Purpose::Warming => options.warmed(),
        };
        // From the end of the fetch to the end of the store, between which nobody waits.
        let (held, hash) = (RefCell::new(None), self.hash(key.as_bytes()));
        let load = async {
            let value = fetch.await?;
            *held.borrow_mut() = Some((lanes.of_api(), Advancing::begin(hash)));
            // Before it comes in: it may have to leave at once.
            self.sizes.add(key.home(), 1);
            Ok(value)
        };
        let brought = self.cache.load_ahead(key, options, load).await;
        let was_fetched = held.take().is_some();
        match brought {
            Ok(Ahead::Stored) => {
                self.tracking.touched(key, 0);
                self.notifications.tell_key(Event::NEW, key.as_bytes());
            }
            _ if was_fetched => self.sizes.add(key.home(), -1),
            _ => {}
        }
        brought
    }

    /// Whether an entry of this size can be stored.
    pub(crate) fn would_fit(&self, key: &Key, value_len: usize) -> bool {
        self.weigh(key.name().len(), value_len).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::keyspace::End;
    use crate::service::Service;
    use crate::settings::{CacheSettings, OriginSettings, Settings};

    fn service() -> Arc<Service> {
        let origin =
            OriginSettings { url: "http://127.0.0.1:9/{key}".to_owned(), ..Default::default() };
        let policy = "native:lru".to_owned();
        let cache = CacheSettings { policy, origin: Some(origin), ..CacheSettings::default() };
        Service::try_new(Settings { caches: vec![cache], ..Settings::default() }, 1).unwrap()
    }

    /// What a client does while a fetch is under way.
    type Meanwhile = fn(&Keyspace, &Key);

    #[tokio::test]
    async fn what_clients_do_during_a_fetch_counts() {
        let set = |keyspace: &Keyspace, key: &Key| {
            let stored = keyspace.set(key.clone(), Value::new(b"newer"), End::Never, 1);
            assert!(stored.is_ok());
        };
        let nothing: Meanwhile = |_, _| {};
        let cases: [(&str, Meanwhile, Ahead, Option<&[u8]>); 6] = [
            ("nothing", nothing, Ahead::Stored, Some(b"fetched")),
            (
                "a read",
                |it, key| assert!(it.entry(key.as_bytes()).is_none()),
                Ahead::Stored,
                Some(b"fetched"),
            ),
            ("a write", set, Ahead::Unneeded, Some(b"newer")),
            (
                "a write and a removal",
                |keyspace, key| {
                    let stored = keyspace.set(key.clone(), Value::new(b"newer"), End::Never, 1);
                    assert!(stored.is_ok() && keyspace.remove(key, 1));
                },
                Ahead::Unneeded,
                None,
            ),
            ("a removal", |it, key| assert!(!it.remove(key, 1)), Ahead::Unneeded, None),
            ("a flush", |it, _| it.clear_all(), Ahead::Unneeded, None),
        ];
        let service = service();
        let keyspace = &service.caches[0];
        for (number, (what, meanwhile, ahead, value)) in cases.into_iter().enumerate() {
            keyspace.clear_all();
            let key = Key::new(0, format!("key:{number}").as_bytes());
            let ttl = Some(Duration::from_secs(60));
            let fetch = async {
                meanwhile(keyspace, &key);
                tokio::task::yield_now().await;
                Ok::<_, String>(Value::new(b"fetched"))
            };
            let brought = keyspace.bring_in(&key, (Purpose::Prefetch, ttl), &service.lanes, fetch);
            assert_eq!(brought.await, Ok(ahead), "{what}");
            let found = keyspace.entry(key.as_bytes());
            assert_eq!(found.as_ref().map(|found| &*found.value), value, "{what}");
            assert_eq!(keyspace.size(0), u64::from(value.is_some()), "{what}");
            let lives = found.is_some_and(|found| found.remaining.is_some());
            assert_eq!(lives, ahead == Ahead::Stored, "{what}");
        }
        keyspace.clear_all();
        let key = Key::new(0, b"failed");
        let fetch = async { Err::<Value, _>("no".to_owned()) };
        let failed = keyspace.bring_in(&key, (Purpose::Warming, None), &service.lanes, fetch).await;
        assert_eq!((failed, keyspace.size(0)), (Err(Arc::new("no".to_owned())), 0));
        service.fetching.stop();
    }
}
