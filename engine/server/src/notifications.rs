//! Keyspace notifications: what happens to keys, published on channels named after key or event.
//!
//! Operators say with letters what they want to hear, as in Redis: where (`K`, `E`) and of which classes
//! of events. Where they want nothing, an event costs one relaxed load. It must not know commands.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

use crate::channels::Channels;
use crate::databases::Databases;
use crate::keyspace::DatabaseIndex;

/// Letters and their classes, in the order in which they are written; `A` stands for all but the last
/// four.
const LETTERS: &[(u8, u16)] = &[
    (b'g', Class::Generic.bit()),
    (b'$', Class::String.bit()),
    (b'l', 1 << 4),
    (b's', 1 << 5),
    (b'h', 1 << 6),
    (b'z', 1 << 7),
    (b'x', Class::Expired.bit()),
    (b'e', Class::Evicted.bit()),
    (b't', 1 << 10),
    (b'd', 1 << 13),
    (b'n', Class::New.bit()),
    (b'K', KEYSPACE),
    (b'E', KEYEVENT),
    (b'm', Class::Miss.bit()),
];
/// On the channel of the key.
const KEYSPACE: u16 = 1;
/// On the channel of the event.
const KEYEVENT: u16 = 1 << 1;
/// The classes for which `A` stands, those of values that this server does not have among them.
const ALL: u16 = 0b10_0111_1111_1100;

/// What kind of event it is; numbered as in Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// About keys whatever their values.
    Generic = 2,
    /// About strings.
    String = 3,
    /// Time ended an entry.
    Expired = 8,
    /// An entry was evicted.
    Evicted = 9,
    /// A key was asked for that is not there.
    Miss = 11,
    /// A key came in.
    New = 14,
}

impl Class {
    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// Something that happens to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    class: Class,
    name: &'static str,
}

impl Event {
    const fn new(class: Class, name: &'static str) -> Self {
        Self { class, name }
    }

    /// A string was stored.
    pub const SET: Self = Self::new(Class::String, "set");
    /// A string got longer.
    pub const APPEND: Self = Self::new(Class::String, "append");
    /// A part of a string was overwritten.
    pub const SET_RANGE: Self = Self::new(Class::String, "setrange");
    /// A bit of a string was set or cleared.
    pub const SET_BIT: Self = Self::new(Class::String, "setbit");
    /// A whole number was added.
    pub const INCREMENT: Self = Self::new(Class::String, "incrby");
    /// A number was added.
    pub const INCREMENT_FLOAT: Self = Self::new(Class::String, "incrbyfloat");
    /// A client removed it.
    pub const REMOVED: Self = Self::new(Class::Generic, "del");
    /// It will end.
    pub const WILL_END: Self = Self::new(Class::Generic, "expire");
    /// It will not end any more.
    pub const PERSIST: Self = Self::new(Class::Generic, "persist");
    /// Its entry went to another key.
    pub const RENAMED_FROM: Self = Self::new(Class::Generic, "rename_from");
    /// It got another key's entry.
    pub const RENAMED_TO: Self = Self::new(Class::Generic, "rename_to");
    /// Its entry went to another database.
    pub const MOVED_FROM: Self = Self::new(Class::Generic, "move_from");
    /// It got its entry from another database.
    pub const MOVED_TO: Self = Self::new(Class::Generic, "move_to");
    /// It got a copy of another entry.
    pub const COPIED_TO: Self = Self::new(Class::Generic, "copy_to");
    /// Its time was over.
    pub const EXPIRED: Self = Self::new(Class::Expired, "expired");
    /// It had to make room.
    pub const EVICTED: Self = Self::new(Class::Evicted, "evicted");
    /// It was asked for and is not there.
    pub const MISS: Self = Self::new(Class::Miss, "keymiss");
    /// It came in.
    pub const NEW: Self = Self::new(Class::New, "new");
}

/// Which events are published, and where.
#[derive(Default)]
pub struct Notifications {
    mask: AtomicU16,
    channels: Arc<Channels>,
    databases: Arc<Databases>,
}

impl Notifications {
    /// Notifications on `channels` of what happens to `databases`, none for a start.
    #[must_use]
    pub fn new(channels: Arc<Channels>, databases: Arc<Databases>) -> Self {
        Self { mask: AtomicU16::new(0), channels, databases }
    }

    /// True where events may have to be published.
    #[must_use]
    #[inline]
    pub fn is_on(&self) -> bool {
        self.mask.load(Relaxed) != 0
    }

    /// Publishes that `event` happened to the key `name` of `database`, where that is wanted. To be
    /// called after it happened, under no lock of the cache.
    #[inline]
    pub fn tell(&self, event: Event, database: DatabaseIndex, name: &[u8]) {
        let mask = self.mask.load(Relaxed);
        if mask & event.class.bit() != 0 {
            self.publish(mask, event, (database, name));
        }
    }

    /// As [`tell`](Self::tell), for a key with the home of its database in front.
    #[inline]
    pub fn tell_key(&self, event: Event, key: &[u8]) {
        let mask = self.mask.load(Relaxed);
        if mask & event.class.bit() != 0
            && let Some((&home, name)) = key.split_first()
        {
            self.publish(mask, event, (self.databases.tenant(home), name));
        }
    }

    #[cold]
    fn publish(&self, mask: u16, event: Event, (database, name): (DatabaseIndex, &[u8])) {
        if mask & KEYSPACE != 0 {
            let mut channel = format!("__keyspace@{database}__:").into_bytes();
            channel.extend_from_slice(name);
            self.channels.publish(&channel, event.name.as_bytes());
        }
        if mask & KEYEVENT != 0 {
            let channel = format!("__keyevent@{database}__:{}", event.name);
            self.channels.publish(channel.as_bytes(), name);
        }
    }

    /// The letters of what is published, in Redis's order. Beside an `A` Redis forgets an `n`, which is
    /// kept here: what was asked for can be asked for again.
    #[must_use]
    pub fn letters(&self) -> String {
        let mask = self.mask.load(Relaxed);
        let all = mask & ALL == ALL;
        let written = LETTERS.iter().filter(|(_, bit)| mask & bit != 0 && !(all && ALL & bit != 0));
        let letters = written.map(|&(letter, _)| char::from(letter));
        if all { std::iter::once('A').chain(letters).collect() } else { letters.collect() }
    }

    /// Publishes what `letters` say from now on. False, and nothing changes, where one of them is
    /// unknown.
    #[must_use]
    pub fn set_letters(&self, letters: &str) -> bool {
        let Some(mask) = mask_of(letters) else { return false };
        self.mask.store(mask, Relaxed);
        true
    }
}

/// True where every one of `letters` is known.
#[must_use]
pub fn are_letters(letters: &str) -> bool {
    mask_of(letters).is_some()
}

fn mask_of(letters: &str) -> Option<u16> {
    letters.bytes().try_fold(0, |mask, letter| {
        let bits = match letter {
            b'A' => ALL,
            _ => LETTERS.iter().find(|(known, _)| *known == letter)?.1,
        };
        Some(mask | bits)
    })
}

#[cfg(test)]
mod tests;
