//! Which clients are told when a key changes: the server's side of client-side caching.
//!
//! By default the server remembers which keys a client read, and tells it once when one of them
//! changes. With `BCAST` it remembers nothing and tells of every key with one of the client's prefixes.
//! Where nobody tracks, a write costs one relaxed load. It must not know commands.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Weak};

use dashmap::DashMap;
use parking_lot::{Mutex, RwLock};

use crate::clients::{Client, ClientId};
use crate::keyspace::{Key, Writer};
use crate::resp::reply::{Protocol, Reply};

/// Keys remembered at most, unless the operator says otherwise.
pub const KEYS_MAX_DEFAULT: usize = 1_000_000;
/// Bytes of the keys remembered at most.
const KEYS_BYTES_MAX: usize = 256 << 20;
/// Keys that are forgotten at a time where nobody tracks any more.
const TIDY_KEYS: usize = 10_000;
/// Changed keys that broadcasts gather at most before they tell of them.
const UNTOLD_LEN_MAX: usize = 1024;
/// Where clients that speak RESP2 hear of changes.
const CHANNEL: &[u8] = b"__redis__:invalidate";

/// Who tracks which keys.
pub struct Tracking {
    /// Clients that track, and keys that are watched. Zero is what an ordinary write looks at.
    heard: AtomicUsize,
    /// Clients that track.
    active: AtomicUsize,
    watches: Watches,
    followers: DashMap<ClientId, Arc<Follower>>,
    /// Who read which key. Numbers of clients that have gone stay until the key changes.
    keys: DashMap<Box<[u8]>, Vec<ClientId>>,
    keys_len: AtomicUsize,
    /// Bytes of those keys.
    keys_bytes: AtomicUsize,
    keys_max: AtomicUsize,
    prefixes: RwLock<BTreeMap<Box<[u8]>, Broadcast>>,
    /// Keys that changed and that broadcasts have not yet told of.
    untold_len: AtomicUsize,
}

/// Who hears of a prefix, and what they have yet to hear.
#[derive(Default)]
struct Broadcast {
    followers: Vec<Arc<Follower>>,
    /// Names of changed keys, and who changed each, 0 for several.
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
            heard: AtomicUsize::new(0),
            active: AtomicUsize::new(0),
            watches: DashMap::new(),
            followers: DashMap::new(),
            keys: DashMap::new(),
            keys_len: AtomicUsize::new(0),
            keys_bytes: AtomicUsize::new(0),
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
        self.heard.load(Relaxed) > 0
    }

    /// Counts the changes of `key` as long as the watch is held. Cost: a lock of one shard of a table.
    #[must_use]
    pub fn watch(self: &Arc<Self>, key: &Key) -> Watch {
        // First, so that no change comes in between and is not counted.
        self.heard.fetch_add(1, Relaxed);
        let mut watched = self.watches.entry(key.clone()).or_default();
        watched.watchers += 1;
        Watch { changes: watched.changes, key: key.clone(), tracking: Arc::clone(self) }
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
        self.forget_all_keys();
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
            self.heard.fetch_add(1, Relaxed);
            if self.active.fetch_add(1, Relaxed) == 0 {
                // Keys of those who have gone. Nobody remembers any right now: this runs alone.
                self.forget_all_keys();
            }
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
        let place = following.prefixes.binary_search_by(|known| (**known).cmp(prefix));
        if let Err(place) = place {
            following.prefixes.insert(place, prefix.into());
        }
    }

    /// The client `id` tracks no more.
    pub fn stop(&self, id: ClientId, following: &mut Following) {
        *following = Following::default();
        self.forget(id);
    }

    /// The client `id` has gone. The keys that it read stay in the table: others may begin to track at
    /// this very moment.
    pub fn forget(&self, id: ClientId) {
        let Some((_, follower)) = self.followers.remove(&id) else { return };
        if follower.options.mode == Mode::Broadcast {
            self.prefixes.write().retain(|_, broadcast| {
                broadcast.followers.retain(|other| other.client.id != id);
                !broadcast.followers.is_empty()
            });
        }
        self.active.fetch_sub(1, Relaxed);
        self.heard.fetch_sub(1, Relaxed);
    }

    /// True where keys are remembered though nobody tracks.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.active.load(Relaxed) == 0 && self.keys_len.load(Relaxed) > 0
    }

    /// Gives some of the memory back that is held though nobody tracks. To be called while no command
    /// runs, now and then. Cost: bounded.
    pub fn tidy(&self) {
        if self.is_stale() {
            self.forget_keys(TIDY_KEYS);
        }
    }

    /// Remembers that the client `id` reads `key`, the home of its database in front.
    pub fn follow(&self, id: ClientId, key: &[u8]) {
        if let Some(mut readers) = self.keys.get_mut(key) {
            if !readers.contains(&id) {
                if readers.len() == readers.capacity() {
                    // Numbers of those who have gone make room for those who have come.
                    readers.retain(|id| self.followers.contains_key(id));
                }
                readers.push(id);
            }
            return;
        }
        let mut readers = self.keys.entry(key.into()).or_default();
        if readers.is_empty() {
            self.keys_len.fetch_add(1, Relaxed);
            self.keys_bytes.fetch_add(key.len(), Relaxed);
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
        while keys_max > 0 && self.keys_len.load(Relaxed) > keys_max
            || self.keys_bytes.load(Relaxed) > KEYS_BYTES_MAX
        {
            // Any key will do. The iterator is gone before the key is removed: it holds a lock.
            let Some(key) = self.keys.iter().next().map(|readers| readers.key().clone()) else {
                return;
            };
            self.invalidate_read(&key, 0);
        }
    }

    #[cold]
    fn invalidate(&self, key: &[u8], writer: Writer) {
        if let Some(mut watched) = self.watches.get_mut(key) {
            watched.changes += 1;
        }
        if self.active.load(Relaxed) == 0 {
            return;
        }
        self.invalidate_read(key, writer);
        let name = key.get(1..).unwrap_or_default();
        let prefixes = self.prefixes.read();
        for broadcast in starts_of(&prefixes, name) {
            let mut untold = broadcast.untold.lock();
            // Who does not hear of its own changes hears of one that somebody else made, too.
            let by = untold.entry(name.into()).or_insert(writer);
            if *by != writer {
                *by = 0;
            }
            drop(untold);
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
        self.keys_bytes.fetch_sub(key.len(), Relaxed);
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

    /// Forgets all keys.
    fn forget_all_keys(&self) {
        self.keys.retain(|key, _| {
            self.keys_len.fetch_sub(1, Relaxed);
            self.keys_bytes.fetch_sub(key.len(), Relaxed);
            false
        });
    }

    /// Forgets at most `count` keys.
    fn forget_keys(&self, count: usize) {
        let keys = self.keys.iter().take(count);
        let keys: Vec<Box<[u8]>> = keys.map(|readers| readers.key().clone()).collect();
        for key in keys {
            if self.keys.remove(&key).is_some() {
                self.keys_len.fetch_sub(1, Relaxed);
                self.keys_bytes.fetch_sub(key.len(), Relaxed);
            }
        }
        if self.keys_len.load(Relaxed) == 0 {
            self.keys.shrink_to_fit();
        }
    }

    fn everyone(&self) -> Vec<Arc<Follower>> {
        self.followers.iter().map(|follower| Arc::clone(&follower)).collect()
    }
}

/// The broadcasts of all prefixes with which `name` starts. Cost: a look-up for each of them, and for
/// each prefix that `name` shares some other start with; the others are never seen.
fn starts_of<'a>(
    prefixes: &'a BTreeMap<Box<[u8]>, Broadcast>,
    name: &'a [u8],
) -> impl Iterator<Item = &'a Broadcast> {
    // What comes next is at most this, and not this itself where that was seen.
    let mut bound = Some(Bound::Included(name));
    std::iter::from_fn(move || {
        loop {
            let range = (Bound::Unbounded, bound.take()?);
            let (prefix, broadcast) = prefixes.range::<[u8], _>(range).next_back()?;
            let shared = prefix.iter().zip(name).take_while(|(one, other)| one == other).count();
            if shared == prefix.len() {
                bound = Some(Bound::Excluded(&name[..shared]));
                return Some(broadcast);
            }
            bound = Some(Bound::Included(&name[..shared]));
        }
    })
}

/// Counts of changes of watched keys.
type Watches = DashMap<Key, Watched>;

/// A key that somebody watches.
#[derive(Default)]
struct Watched {
    watchers: usize,
    changes: u64,
}

/// Knows whether a key has changed since it was made.
pub struct Watch {
    key: Key,
    changes: u64,
    tracking: Arc<Tracking>,
}

impl Watch {
    /// True where the key was written or left, even if it is now as it was.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        let watched = self.tracking.watches.get(&self.key);
        watched.is_none_or(|watched| watched.changes != self.changes)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.tracking.watches.remove_if_mut(&self.key, |_, watched| {
            watched.watchers -= 1;
            watched.watchers == 0
        });
        self.tracking.heard.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests;
