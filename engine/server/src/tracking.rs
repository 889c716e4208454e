//! Which clients are told when a key changes: the server's side of client-side caching.
//!
//! By default the server remembers which keys a client read, and tells it once when one of them
//! changes. With `BCAST` it remembers nothing and tells of every key with one of the client's prefixes.
//! Where nobody tracks, a write costs one relaxed load. It must not know commands.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Weak};

use dashmap::DashMap;
use parking_lot::{Mutex, RwLock};

use crate::clients::{Client, ClientId};
use crate::keyspace::{Key, Writer};
use crate::resp::reply::{Protocol, Reply};

/// Keys remembered at most, unless the operator says otherwise.
pub const KEYS_MAX_DEFAULT: usize = 1_000_000;
/// Changed keys that broadcasts gather at most before they tell of them.
const UNTOLD_LEN_MAX: usize = 1024;
/// Where clients that speak RESP2 hear of changes.
const CHANNEL: &[u8] = b"__redis__:invalidate";

/// Who tracks which keys.
pub struct Tracking {
    /// Clients that track. Zero is what an ordinary write looks at.
    active: AtomicUsize,
    followers: DashMap<ClientId, Arc<Follower>>,
    /// Who read which key. Numbers of clients that have gone stay until the key changes.
    keys: DashMap<Box<[u8]>, Vec<ClientId>>,
    keys_len: AtomicUsize,
    keys_max: AtomicUsize,
    prefixes: RwLock<BTreeMap<Box<[u8]>, Broadcast>>,
    /// Keys that changed and that broadcasts have not yet told of.
    untold_len: AtomicUsize,
}

/// Who hears of a prefix, and what they have yet to hear.
#[derive(Default)]
struct Broadcast {
    followers: Vec<Arc<Follower>>,
    /// Names of changed keys, and who changed each last.
    untold: Mutex<BTreeMap<Box<[u8]>, Writer>>,
}

/// A client that tracks, and how.
pub struct Follower {
    client: Arc<Client>,
    options: Options,
    redirect: Option<(ClientId, Weak<Client>)>,
    redirect_broken: AtomicBool,
}

/// Which keys a client tracks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// All that it reads.
    #[default]
    Reads,
    /// Those that it reads after `CLIENT CACHING YES`.
    OptIn,
    /// Those that it reads, but not after `CLIENT CACHING NO`.
    OptOut,
    /// Those with its prefixes, read or not.
    Broadcast,
}

/// How a client tracks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Which keys.
    pub mode: Mode,
    /// Its own writes are not told.
    pub no_loop: bool,
}

/// What a conversation knows of its tracking.
#[derive(Default)]
pub struct Following {
    follower: Option<Arc<Follower>>,
    /// The keys that it reads are remembered, if `CLIENT CACHING` agrees.
    hears_reads: bool,
    /// It said `CLIENT CACHING`, for the next command or transaction.
    is_cued: bool,
    prefixes: Vec<Box<[u8]>>,
}

/// Sizes of the tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrackingSizes {
    /// Clients that track.
    pub clients: usize,
    /// Keys remembered.
    pub keys: usize,
    /// Clients remembered for them, one for each key that they read.
    pub items: usize,
    /// Prefixes of broadcasts.
    pub prefixes: usize,
}

impl Default for Tracking {
    fn default() -> Self {
        Self {
            active: AtomicUsize::new(0),
            followers: DashMap::new(),
            keys: DashMap::new(),
            keys_len: AtomicUsize::new(0),
            keys_max: AtomicUsize::new(KEYS_MAX_DEFAULT),
            prefixes: RwLock::default(),
            untold_len: AtomicUsize::new(0),
        }
    }
}

impl Following {
    /// True where what the client reads now is to be remembered.
    #[must_use]
    #[inline]
    pub fn hears_reads(&self) -> bool {
        self.hears_reads && self.wants_reads()
    }

    fn wants_reads(&self) -> bool {
        match self.options().map(|options| options.mode) {
            Some(Mode::Reads) => true,
            Some(Mode::OptIn) => self.is_cued,
            Some(Mode::OptOut) => !self.is_cued,
            Some(Mode::Broadcast) | None => false,
        }
    }

    /// How it tracks, none where it does not.
    #[must_use]
    pub fn options(&self) -> Option<Options> {
        self.follower.as_ref().map(|follower| follower.options)
    }

    /// Where its invalidations go: a client's number, 0 for itself; none where it does not track.
    #[must_use]
    pub fn redirect(&self) -> Option<ClientId> {
        let follower = self.follower.as_ref()?;
        Some(follower.redirect.as_ref().map_or(0, |(id, _)| *id))
    }

    /// True once the client that hears its invalidations has gone.
    #[must_use]
    pub fn is_redirect_broken(&self) -> bool {
        self.follower.as_ref().is_some_and(|follower| follower.redirect_broken.load(Relaxed))
    }

    /// True where `CLIENT CACHING` was said for what comes next.
    #[must_use]
    pub fn is_cued(&self) -> bool {
        self.is_cued
    }

    /// `CLIENT CACHING` was said.
    pub fn cue(&mut self) {
        self.is_cued = true;
    }

    /// Its prefixes.
    #[must_use]
    pub fn prefixes(&self) -> &[Box<[u8]>] {
        &self.prefixes
    }

    /// A command ended: what `CLIENT CACHING` said is over, unless that was it or a transaction is
    /// open.
    #[inline]
    pub fn end_command(&mut self, name: &str, in_transaction: bool) {
        if self.is_cued && !in_transaction && !name.starts_with("client|") {
            self.is_cued = false;
        }
    }
}

impl Follower {
    /// Tells of `names`, none for all keys that there are.
    fn tell(&self, names: Option<&[&[u8]]>) {
        let client = match &self.redirect {
            None => Arc::clone(&self.client),
            Some((id, to)) => match to.upgrade().filter(|to| !to.is_closing()) {
                Some(to) => to,
                None => return self.tell_broken(*id),
            },
        };
        let (protocol, listens) = {
            let profile = client.profile.lock();
            let listens = profile.channels + profile.patterns + profile.shard_channels > 0;
            (profile.protocol, listens)
        };
        let mut bytes = Vec::with_capacity(64);
        let mut reply = Reply::new(&mut bytes, protocol);
        match protocol {
            Protocol::Resp3 => {
                reply.push(2);
                reply.bulk(b"invalidate");
            }
            Protocol::Resp2 if self.redirect.is_some() && listens => {
                reply.push(3);
                reply.bulk(b"message");
                reply.bulk(CHANNEL);
            }
            // RESP2 has no messages out of turn.
            Protocol::Resp2 => return,
        }
        match names {
            Some(names) => {
                reply.array(names.len());
                names.iter().for_each(|name| reply.bulk(name));
            }
            None => reply.null_array(),
        }
        client.post(&bytes);
    }

    fn tell_broken(&self, id: ClientId) {
        self.redirect_broken.store(true, Relaxed);
        if self.client.profile.lock().protocol == Protocol::Resp3 {
            let mut bytes = Vec::new();
            let mut reply = Reply::new(&mut bytes, Protocol::Resp3);
            reply.push(2);
            reply.bulk(b"tracking-redir-broken");
            reply.integer(id as i64);
            self.client.post(&bytes);
        }
    }
}

impl Tracking {
    /// True where a write has to be told.
    #[must_use]
    #[inline]
    pub fn is_on(&self) -> bool {
        self.active.load(Relaxed) > 0
    }

    /// `key` changed or left; `writer` did it, 0 for the server itself. To be called after the change,
    /// so that who reads the old value before it was remembered before it, and hears of it.
    #[inline]
    pub fn touched(&self, key: &Key, writer: Writer) {
        if self.is_on() {
            self.invalidate(key.as_bytes(), writer);
        }
    }

    /// Everything left.
    pub fn flushed(&self) {
        if !self.is_on() {
            return;
        }
        self.forget_keys();
        for follower in self.everyone() {
            follower.tell(None);
        }
    }

    /// `client` tracks from now on. To be called while no command runs elsewhere: writes under way
    /// have looked whether anybody tracks.
    pub fn start(
        &self,
        client: &Arc<Client>,
        options: Options,
        redirect: Option<&Arc<Client>>,
        following: &mut Following,
    ) {
        let follower = Arc::new(Follower {
            client: Arc::clone(client),
            options,
            redirect: redirect.map(|to| (to.id, Arc::downgrade(to))),
            redirect_broken: AtomicBool::new(false),
        });
        if self.followers.insert(client.id, Arc::clone(&follower)).is_none() {
            self.active.fetch_add(1, Relaxed);
        }
        following.hears_reads = options.mode != Mode::Broadcast;
        following.follower = Some(Arc::clone(&follower));
        if !following.prefixes.is_empty() {
            let mut prefixes = self.prefixes.write();
            for prefix in &following.prefixes {
                let followers = &mut prefixes.entry(prefix.clone()).or_default().followers;
                followers.retain(|other| other.client.id != client.id);
                followers.push(Arc::clone(&follower));
            }
        }
    }

    /// `following`, which broadcasts, hears of keys with `prefix`, too, once it is started again.
    pub fn add_prefix(&self, prefix: &[u8], following: &mut Following) {
        if !following.prefixes.iter().any(|known| **known == *prefix) {
            following.prefixes.push(prefix.into());
            following.prefixes.sort_unstable();
        }
    }

    /// The client `id` tracks no more.
    pub fn stop(&self, id: ClientId, following: &mut Following) {
        *following = Following::default();
        self.forget(id);
    }

    /// The client `id` has gone.
    pub fn forget(&self, id: ClientId) {
        let Some((_, follower)) = self.followers.remove(&id) else { return };
        if follower.options.mode == Mode::Broadcast {
            self.prefixes.write().retain(|_, broadcast| {
                broadcast.followers.retain(|other| other.client.id != id);
                !broadcast.followers.is_empty()
            });
        }
        if self.active.fetch_sub(1, Relaxed) == 1 {
            self.forget_keys();
        }
    }

    /// Remembers that the client `id` reads `key`, its database in front.
    pub fn follow(&self, id: ClientId, key: &[u8]) {
        if let Some(mut readers) = self.keys.get_mut(key) {
            if !readers.contains(&id) {
                readers.push(id);
            }
            return;
        }
        let mut readers = self.keys.entry(key.into()).or_default();
        if readers.is_empty() {
            self.keys_len.fetch_add(1, Relaxed);
        }
        if !readers.contains(&id) {
            readers.push(id);
        }
        drop(readers);
        self.shrink();
    }

    /// How many keys may be remembered, 0 for any number.
    #[must_use]
    pub fn keys_max(&self) -> usize {
        self.keys_max.load(Relaxed)
    }

    /// Changes how many keys may be remembered; clients are told of those that are too many.
    pub fn set_keys_max(&self, keys_max: usize) {
        self.keys_max.store(keys_max, Relaxed);
        self.shrink();
    }

    /// Sizes of the tables. Cost: O(keys).
    #[must_use]
    pub fn sizes(&self) -> TrackingSizes {
        TrackingSizes {
            clients: self.active.load(Relaxed),
            keys: self.keys_len.load(Relaxed),
            items: self.keys.iter().map(|readers| readers.len()).sum(),
            prefixes: self.prefixes.read().len(),
        }
    }

    /// Tells of keys until no more are remembered than may be.
    fn shrink(&self) {
        let keys_max = self.keys_max.load(Relaxed);
        while keys_max > 0 && self.keys_len.load(Relaxed) > keys_max {
            // Any key will do. The iterator is gone before the key is removed: it holds a lock.
            let Some(key) = self.keys.iter().next().map(|readers| readers.key().clone()) else {
                return;
            };
            self.invalidate_read(&key, 0);
        }
    }

    #[cold]
    fn invalidate(&self, key: &[u8], writer: Writer) {
        self.invalidate_read(key, writer);
        let name = key.get(1..).unwrap_or_default();
        let prefixes = self.prefixes.read();
        for (_, broadcast) in prefixes.iter().filter(|(prefix, _)| name.starts_with(prefix)) {
            broadcast.untold.lock().insert(name.into(), writer);
            self.untold_len.fetch_add(1, Relaxed);
        }
        drop(prefixes);
        // No batch of commands ends after a write of the server's own.
        if writer == 0 || self.untold_len.load(Relaxed) > UNTOLD_LEN_MAX {
            self.tell_untold();
        }
    }

    /// Broadcasts what has changed, in one message for each prefix. To be called after each batch of
    /// commands; costs one relaxed load where nothing has.
    #[inline]
    pub fn settle(&self) {
        if self.untold_len.load(Relaxed) > 0 {
            self.tell_untold();
        }
    }

    #[cold]
    fn tell_untold(&self) {
        self.untold_len.store(0, Relaxed);
        for broadcast in self.prefixes.read().values() {
            let untold = std::mem::take(&mut *broadcast.untold.lock());
            for follower in &broadcast.followers {
                let hears =
                    |writer: Writer| !(follower.options.no_loop && follower.client.id == writer);
                let names: Vec<&[u8]> = untold
                    .iter()
                    .filter(|(_, writer)| hears(**writer))
                    .map(|(name, _)| &**name)
                    .collect();
                if !names.is_empty() {
                    follower.tell(Some(&names));
                }
            }
        }
    }

    fn invalidate_read(&self, key: &[u8], writer: Writer) {
        let Some((_, readers)) = self.keys.remove(key) else { return };
        self.keys_len.fetch_sub(1, Relaxed);
        for id in readers {
            let Some(follower) = self.followers.get(&id).map(|follower| Arc::clone(&follower))
            else {
                continue;
            };
            let own = follower.options.no_loop && id == writer;
            if !own && follower.options.mode != Mode::Broadcast {
                follower.tell(Some(&[key.get(1..).unwrap_or_default()]));
            }
        }
    }

    fn forget_keys(&self) {
        self.keys.retain(|_, _| {
            self.keys_len.fetch_sub(1, Relaxed);
            false
        });
    }

    fn everyone(&self) -> Vec<Arc<Follower>> {
        self.followers.iter().map(|follower| Arc::clone(&follower)).collect()
    }
}

#[cfg(test)]
mod tests;
