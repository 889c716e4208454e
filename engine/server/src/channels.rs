//! Channels of `PUBLISH`, and who listens.
//!
//! Three kinds share nothing but their shape: channels, patterns, and shard channels. A client's own
//! list is with its conversation; here is who hears what. It must not know commands.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use parking_lot::RwLock;

use crate::clients::{Client, ClientId};
use crate::commands::parse::glob;
use crate::resp::reply::{Protocol, Reply};

/// What a client listens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A channel.
    Channel,
    /// All channels whose names match a pattern.
    Pattern,
    /// A channel of the cluster's shards: a name space of its own.
    Shard,
}

type Listeners = HashMap<ClientId, Arc<Client>>;
type Names = HashSet<Box<[u8]>>;

/// A pattern that somebody listens to.
#[derive(Default)]
struct Heard {
    /// None for one that is too long, which nothing matches.
    pattern: Option<glob::Pattern>,
    listeners: Listeners,
}

/// Channels and patterns with their subscribers.
#[derive(Default)]
pub struct Channels {
    channels: DashMap<Box<[u8]>, Listeners>,
    shards: DashMap<Box<[u8]>, Listeners>,
    patterns: RwLock<HashMap<Box<[u8]>, Heard>>,
    patterns_len: AtomicUsize,
}

/// One client's channels and patterns.
#[derive(Debug, Default)]
pub struct Subscriptions {
    channels: Names,
    patterns: Names,
    shards: Names,
    total: usize,
}

impl Subscriptions {
    /// True where it listens to anything.
    #[must_use]
    #[inline]
    pub fn any(&self) -> bool {
        self.total > 0
    }

    /// How many channels.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.channels.len()
    }

    /// How many patterns.
    #[must_use]
    pub fn patterns(&self) -> usize {
        self.patterns.len()
    }

    /// How many shard channels.
    #[must_use]
    pub fn shard_channels(&self) -> usize {
        self.shards.len()
    }

    /// How many, as replies about `kind` count them: channels and patterns together.
    #[must_use]
    pub fn count(&self, kind: Kind) -> usize {
        match kind {
            Kind::Channel | Kind::Pattern => self.channels.len() + self.patterns.len(),
            Kind::Shard => self.shards.len(),
        }
    }

    /// All of `kind`.
    #[must_use]
    pub fn names(&self, kind: Kind) -> Vec<Box<[u8]>> {
        match kind {
            Kind::Channel => self.channels.iter().cloned().collect(),
            Kind::Pattern => self.patterns.iter().cloned().collect(),
            Kind::Shard => self.shards.iter().cloned().collect(),
        }
    }

    fn of(&mut self, kind: Kind) -> &mut Names {
        match kind {
            Kind::Channel => &mut self.channels,
            Kind::Pattern => &mut self.patterns,
            Kind::Shard => &mut self.shards,
        }
    }
}

/// A message in both protocols, each made when somebody needs it.
struct Message<'a> {
    words: &'a [&'a [u8]],
    made: [Option<Vec<u8>>; 2],
}

impl<'a> Message<'a> {
    fn new(words: &'a [&'a [u8]]) -> Self {
        Self { words, made: [None, None] }
    }

    fn post(&mut self, to: &Client) {
        let protocol = to.profile.lock().protocol;
        let place = usize::from(protocol == Protocol::Resp3);
        let words = self.words;
        let bytes = self.made[place].get_or_insert_with(|| {
            let mut bytes = Vec::with_capacity(64);
            let mut reply = Reply::new(&mut bytes, protocol);
            reply.push(words.len());
            words.iter().for_each(|word| reply.bulk(word));
            bytes
        });
        to.post(bytes);
    }
}

impl Channels {
    /// `client` listens to `name` from now on. True where it did not before.
    pub fn subscribe(
        &self,
        kind: Kind,
        name: &[u8],
        client: &Arc<Client>,
        own: &mut Subscriptions,
    ) -> bool {
        if !own.of(kind).insert(name.into()) {
            return false;
        }
        own.total += 1;
        let listen = |listeners: &mut Listeners| listeners.insert(client.id, Arc::clone(client));
        match kind {
            Kind::Channel => listen(&mut self.channels.entry(name.into()).or_default()),
            Kind::Shard => listen(&mut self.shards.entry(name.into()).or_default()),
            Kind::Pattern => {
                let mut patterns = self.patterns.write();
                let heard = patterns.entry(name.into()).or_insert_with(|| Heard {
                    pattern: glob::Pattern::new(name),
                    listeners: Listeners::default(),
                });
                let known = listen(&mut heard.listeners);
                self.patterns_len.store(patterns.len(), Ordering::Release);
                known
            }
        };
        true
    }

    /// The client `id` listens to `name` no more. True where it did.
    pub fn unsubscribe(
        &self,
        kind: Kind,
        name: &[u8],
        id: ClientId,
        own: &mut Subscriptions,
    ) -> bool {
        if !own.of(kind).remove(name) {
            return false;
        }
        own.total -= 1;
        let leave = |listeners: &mut Listeners| {
            listeners.remove(&id);
            listeners.is_empty()
        };
        match kind {
            Kind::Channel => drop(self.channels.remove_if_mut(name, |_, all| leave(all))),
            Kind::Shard => drop(self.shards.remove_if_mut(name, |_, all| leave(all))),
            Kind::Pattern => {
                let mut patterns = self.patterns.write();
                if patterns.get_mut(name).is_some_and(|heard| leave(&mut heard.listeners)) {
                    patterns.remove(name);
                }
                self.patterns_len.store(patterns.len(), Ordering::Release);
            }
        }
        true
    }

    /// The client `id` has gone, with all that it listened to.
    pub fn forget(&self, id: ClientId, own: &mut Subscriptions) {
        for kind in [Kind::Channel, Kind::Pattern, Kind::Shard] {
            for name in own.names(kind) {
                self.unsubscribe(kind, &name, id, own);
            }
        }
    }

    /// Sends `payload` to all who listen to `channel`, by name or by pattern. How many got it.
    pub fn publish(&self, channel: &[u8], payload: &[u8]) -> usize {
        let mut count = 0;
        if let Some(listeners) = self.channels.get(channel) {
            let words: [&[u8]; 3] = [b"message", channel, payload];
            let mut message = Message::new(&words);
            listeners.values().for_each(|client| message.post(client));
            count += listeners.len();
        }
        if self.patterns_len.load(Ordering::Acquire) == 0 {
            return count;
        }
        let patterns = self.patterns.read();
        for (name, Heard { pattern, listeners }) in patterns.iter() {
            if pattern.as_ref().is_some_and(|pattern| pattern.matches(channel)) {
                let words: [&[u8]; 4] = [b"pmessage", name, channel, payload];
                let mut message = Message::new(&words);
                listeners.values().for_each(|client| message.post(client));
                count += listeners.len();
            }
        }
        count
    }

    /// Sends `payload` to all who listen to the shard channel `channel`. How many got it.
    pub fn publish_shard(&self, channel: &[u8], payload: &[u8]) -> usize {
        let Some(listeners) = self.shards.get(channel) else { return 0 };
        let words: [&[u8]; 3] = [b"smessage", channel, payload];
        let mut message = Message::new(&words);
        listeners.values().for_each(|client| message.post(client));
        listeners.len()
    }

    /// Channels of `kind` that somebody listens to by name, those that match `pattern` where there is
    /// one.
    #[must_use]
    pub(crate) fn active(&self, kind: Kind, pattern: Option<&glob::Pattern>) -> Vec<Box<[u8]>> {
        let matches = |name: &[u8]| pattern.is_none_or(|pattern| pattern.matches(name));
        let channels = if kind == Kind::Shard { &self.shards } else { &self.channels };
        let names = channels.iter().map(|channel| channel.key().clone());
        names.filter(|name| matches(name)).collect()
    }

    /// How many listen to `channel` by name.
    #[must_use]
    pub fn listeners(&self, kind: Kind, channel: &[u8]) -> usize {
        let channels = if kind == Kind::Shard { &self.shards } else { &self.channels };
        channels.get(channel).map_or(0, |listeners| listeners.len())
    }

    /// How many channels somebody listens to by name.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.channels.len()
    }

    /// How many shard channels somebody listens to.
    #[must_use]
    pub fn shard_channels(&self) -> usize {
        self.shards.len()
    }

    /// How many patterns somebody listens to.
    #[must_use]
    pub fn patterns(&self) -> usize {
        self.patterns_len.load(Ordering::Acquire)
    }
}
