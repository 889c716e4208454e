//! What callers ask a cache for, on its way to those who fetch ahead: one bounded queue, in order.
//!
//! A request leaves its key here and goes on. It waits for nobody but the few instructions in which
//! another one does the same; where the queue is full it is counted, and forgotten. It must not know
//! what becomes of it.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use ostler_core::Cause;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::keyspace::HomeIndex;

/// Most bytes that wait.
const BYTES_MAX: usize = 4 << 20;
/// Longest key that is heard of, without its home. Longer ones are not worth their place.
const KEY_BYTES_MAX: usize = 1024;
/// What a note takes beside its key: kind, home, the key's length, the value's.
const HEAD_BYTES: usize = 8;
/// What follows the key of a displaced entry: whose entry displaced it.
const BY_BYTES: usize = 8;

/// What is noted of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A request found it.
    Hit,
    /// A request did not.
    Miss,
    /// Its entry left the cache, or its value was overwritten.
    Left,
    /// Its entry was evicted while one came in that nobody had asked for.
    Displaced,
    /// A caller removed it.
    Removed,
}

impl What {
    const ALL: [Self; 5] = [Self::Hit, Self::Miss, Self::Left, Self::Displaced, Self::Removed];
}

/// One note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Note<'a> {
    pub(crate) what: What,
    /// Where the key's database lives.
    pub(crate) home: HomeIndex,
    /// What clients call it.
    pub(crate) name: &'a [u8],
    /// Bytes of the value of a hit, else 0.
    pub(crate) value_len: u32,
    /// Hash of the key whose entry displaced this one, else 0.
    pub(crate) by: u64,
}

/// The queue of one cache.
#[derive(Debug, Default)]
pub(crate) struct Demand {
    /// Whether anybody hears.
    is_on: AtomicBool,
    queue: Mutex<Queue>,
    wake: Notify,
    dropped: AtomicU64,
}

/// Notes one after the other, each with its head.
#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
    /// Whoever hears sleeps, and is to be woken by this.
    alarm: Alarm,
}

/// What wakes whoever hears.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Alarm {
    /// Only a queue that is half full.
    #[default]
    Full,
    /// Every note.
    Any,
}

thread_local! {
    /// This thread brings an entry in that nobody had asked for, with a key of this hash.
    static ADVANCING: Cell<Option<u64>> = const { Cell::new(None) };
}

/// While it lives, entries that this thread evicts are displaced by the one with a key of this hash.
pub(crate) struct Advancing(());

impl Advancing {
    pub(crate) fn begin(hash: u64) -> Self {
        ADVANCING.set(Some(hash));
        Self(())
    }
}

impl Drop for Advancing {
    fn drop(&mut self) {
        ADVANCING.set(None);
    }
}

impl Demand {
    /// Hears from now on, or no more.
    pub(crate) fn switch(&self, is_on: bool) {
        self.is_on.store(is_on, Relaxed);
        if !is_on {
            self.queue.lock().bytes = Vec::new();
        }
    }

    /// Whether anybody hears. One relaxed load.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.is_on.load(Relaxed)
    }

    /// A request for `key`, which has its home in front; with the length of the value it found.
    #[inline]
    pub(crate) fn requested(&self, key: &[u8], found: Option<usize>) {
        if self.is_on() {
            let what = if found.is_some() { What::Hit } else { What::Miss };
            self.push(what, key, (found.unwrap_or_default(), &[]));
        }
    }

    /// The entry of `key` left the cache.
    #[inline]
    pub(crate) fn left(&self, key: &[u8], cause: Cause) {
        if !self.is_on() {
            return;
        }
        match (cause, ADVANCING.get()) {
            (Cause::Removed | Cause::Cleared, _) => self.push(What::Removed, key, (0, &[])),
            (Cause::Evicted, Some(by)) => {
                self.push(What::Displaced, key, (0, &by.to_le_bytes()));
            }
            _ => self.push(What::Left, key, (0, &[])),
        }
    }

    /// Notes that were forgotten since the queue was full.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Takes all notes; `taken` is emptied, and its memory used again. Where there are none, `alarm`
    /// says what is to end [`woken`](Self::woken). True where there were any.
    pub(crate) fn take(&self, taken: &mut Notes, alarm: Alarm) -> bool {
        taken.0.clear();
        let mut queue = self.queue.lock();
        std::mem::swap(&mut queue.bytes, &mut taken.0);
        let is_empty = taken.0.is_empty();
        queue.alarm = if is_empty { alarm } else { Alarm::Full };
        !is_empty
    }

    /// Ends when the alarm goes off.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    #[inline(never)]
    fn push(&self, what: What, key: &[u8], (value_len, tail): (usize, &[u8])) {
        let [home, name @ ..] = key else { return };
        let key_len = match u16::try_from(name.len()) {
            Ok(len) if name.len() <= KEY_BYTES_MAX => len,
            _ => return,
        };
        let value_len = u32::try_from(value_len).unwrap_or(u32::MAX);
        let mut queue = self.queue.lock();
        let len = queue.bytes.len();
        if len + HEAD_BYTES + name.len() + tail.len() > BYTES_MAX {
            drop(queue);
            self.dropped.fetch_add(1, Relaxed);
            return;
        }
        let mut head = [what as u8, *home, 0, 0, 0, 0, 0, 0];
        head[2..4].copy_from_slice(&key_len.to_le_bytes());
        head[4..].copy_from_slice(&value_len.to_le_bytes());
        queue.bytes.extend_from_slice(&head);
        queue.bytes.extend_from_slice(name);
        queue.bytes.extend_from_slice(tail);
        let was_half = len >= BYTES_MAX / 2;
        let is_half = queue.bytes.len() >= BYTES_MAX / 2;
        let rings = queue.alarm == Alarm::Any || is_half && !was_half;
        queue.alarm = Alarm::Full;
        drop(queue);
        if rings {
            self.wake.notify_one();
        }
    }
}

/// Notes that were taken from a queue, in its order.
#[derive(Debug, Default)]
pub(crate) struct Notes(Vec<u8>);

impl Notes {
    /// They.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Note<'_>> {
        let mut rest = self.0.as_slice();
        std::iter::from_fn(move || {
            let (head, after) = rest.split_first_chunk::<HEAD_BYTES>()?;
            let [what, home, low, high, value @ ..] = *head;
            let (name, after) =
                after.split_at_checked(usize::from(u16::from_le_bytes([low, high])))?;
            rest = after;
            let what = *What::ALL.get(usize::from(what))?;
            let mut by = [0; BY_BYTES];
            if what == What::Displaced {
                (by, rest) = rest.split_first_chunk().map(|(by, rest)| (*by, rest))?;
            }
            let (by, value_len) = (u64::from_le_bytes(by), u32::from_le_bytes(value));
            Some(Note { what, home, name, value_len, by })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(demand: &Demand) -> Vec<(What, HomeIndex, Vec<u8>, u32)> {
        let mut notes = Notes::default();
        demand.take(&mut notes, Alarm::Full);
        let number = |it: &Note<'_>| if it.by == 0 { it.value_len } else { it.by as u32 };
        notes.iter().map(|it| (it.what, it.home, it.name.to_vec(), number(&it))).collect()
    }

    #[test]
    fn notes_come_in_order_and_only_while_somebody_hears() {
        let demand = Demand::default();
        demand.requested(b"\0early", None);
        demand.switch(true);
        demand.requested(b"\0a", None);
        demand.requested(b"\x03b", Some(70_000));
        demand.requested(b"\0", Some(0));
        demand.left(b"\0a", Cause::Evicted);
        {
            let _advancing = Advancing::begin(9);
            demand.left(b"\0b", Cause::Evicted);
            demand.left(b"\0c", Cause::Replaced);
        }
        demand.left(b"\0d", Cause::Evicted);
        demand.left(b"\0e", Cause::Removed);
        demand.requested(&[0; 1026], None);
        demand.requested(&[0; 1025], None);
        let expected = [
            (What::Miss, 0, &b"a"[..], 0),
            (What::Hit, 3, b"b", 70_000),
            (What::Hit, 0, b"", 0),
            (What::Left, 0, b"a", 0),
            (What::Displaced, 0, b"b", 9),
            (What::Left, 0, b"c", 0),
            (What::Left, 0, b"d", 0),
            (What::Removed, 0, b"e", 0),
            (What::Miss, 0, &[0; 1024], 0),
        ];
        let expected = expected.map(|(what, home, name, len)| (what, home, name.to_vec(), len));
        assert_eq!(heard(&demand), expected);
        assert_eq!(heard(&demand), []);
        demand.requested(b"\0a", None);
        demand.switch(false);
        assert_eq!(heard(&demand), []);
        assert_eq!(demand.dropped(), 0);
    }

    #[tokio::test]
    async fn a_full_queue_forgets_and_counts_and_half_a_queue_wakes() {
        let demand = Demand::default();
        demand.switch(true);
        let key = [0; 1017];
        let notes_max = BYTES_MAX / 1024;
        for number in 0..notes_max + 5 {
            if number == notes_max / 2 {
                demand.woken().await;
            }
            demand.requested(&key, None);
        }
        assert_eq!((heard(&demand).len(), demand.dropped()), (notes_max, 5));
        assert!(!demand.take(&mut Notes::default(), Alarm::Any));
        demand.requested(&key, None);
        demand.woken().await;
        assert_eq!(heard(&demand).len(), 1);
    }
}
