//! Commands that bring an entry under another key: `RENAME`, `COPY`, `MOVE`; and `SWAPDB`, which brings
//! all of them under another number.
//!
//! They run alone, so what they read cannot change before they write. Values are counted by reference:
//! no bytes are copied.

use crate::commands::parse::{NO_DATABASE, SAME_KEY, SYNTAX, database, integer, is, no_room};
use crate::commands::{Call, Flow};
use crate::keyspace::{End, Key, Keyspace, Value, Writer};
use crate::notifications::Event;

/// What becomes of an entry under the new key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Existing {
    /// It goes.
    Replaced,
    /// It stays, and nothing happens.
    Kept,
}

/// What becomes of the entry under the old key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Stays,
    Goes,
}

/// An entry's place.
struct Place<'a> {
    keyspace: &'a Keyspace,
    key: Key,
}

impl<'a> Place<'a> {
    /// The place of `name` in `database`, none where no cache has that database.
    fn of(call: &Call<'a, '_>, database: u8, name: &[u8]) -> Option<Self> {
        let keyspace = call.service.keyspace(database)?;
        Some(Self { keyspace, key: Key::new(call.service.databases.home(database), name) })
    }

    /// The value and its end.
    fn entry(&self, writer: Writer) -> Option<(Value, End)> {
        self.keyspace.with_entry(&self.key, writer, |entry| {
            let value = entry.peek()?.value;
            Some((value, entry.end_unix_ms()?.map_or(End::Never, End::At)))
        })
    }

    fn is_taken(&self) -> bool {
        self.keyspace.version(self.key.as_bytes()).is_some()
    }
}

/// Stores `entry` at `to`. True where it did.
fn bring(
    (value, end): (Value, End),
    to: &Place<'_>,
    existing: Existing,
    writer: Writer,
) -> Result<bool, &'static str> {
    if existing == Existing::Kept && to.is_taken() {
        return Ok(false);
    }
    to.keyspace.set(to.key.clone(), value, end, writer).map_err(no_room).map(|_| true)
}

pub(super) fn rename(call: &mut Call<'_, '_>) -> Flow {
    match rename_to(call, Existing::Replaced) {
        Ok(_) => call.reply.ok(),
        Err(text) => call.reply.error(text),
    }
    Flow::Continue
}

pub(super) fn renamenx(call: &mut Call<'_, '_>) -> Flow {
    let renamed = rename_to(call, Existing::Kept);
    call.number(renamed.map(i64::from))
}

fn rename_to(call: &mut Call<'_, '_>, existing: Existing) -> Result<bool, &'static str> {
    let (database, writer) = (call.session.database, call.session.client.id);
    let place = |name| Place::of(call, database, name).ok_or(NO_DATABASE);
    let (from, to) = (place(call.words[1])?, place(call.words[2])?);
    let entry = from.entry(writer).ok_or("ERR no such key")?;
    if from.key == to.key {
        return Ok(false);
    }
    let renamed = bring(entry, &to, existing, writer)?;
    if renamed {
        from.keyspace.remove(&from.key, writer);
        call.tell(Event::RENAMED_FROM, from.key.name());
        call.tell(Event::RENAMED_TO, to.key.name());
    }
    Ok(renamed)
}

pub(super) fn copy(call: &mut Call<'_, '_>) -> Flow {
    let copied = copy_to(call);
    call.number(copied.map(i64::from))
}

fn copy_to(call: &mut Call<'_, '_>) -> Result<bool, &'static str> {
    let (mut target, mut existing) = (call.session.database, Existing::Kept);
    let mut words = call.words[3..].iter();
    while let Some(word) = words.next() {
        if is(word, "replace") {
            existing = Existing::Replaced;
        } else if is(word, "db") {
            target = database(words.next().ok_or(SYNTAX)?)?;
        } else {
            return Err(SYNTAX);
        }
    }
    transfer(call, (target, call.words[2]), existing, Source::Stays)
}

pub(super) fn move_over(call: &mut Call<'_, '_>) -> Flow {
    let target = database(call.words[2]);
    let moved = target
        .and_then(|target| transfer(call, (target, call.words[1]), Existing::Kept, Source::Goes));
    call.number(moved.map(i64::from))
}

/// Brings the entry of the first key to another place. True where it did.
fn transfer(
    call: &Call<'_, '_>,
    (target, name): (u8, &[u8]),
    existing: Existing,
    source: Source,
) -> Result<bool, &'static str> {
    let (database, writer) = (call.session.database, call.session.client.id);
    let from = Place::of(call, database, call.words[1]).ok_or(NO_DATABASE)?;
    let to = Place::of(call, target, name).ok_or(NO_DATABASE)?;
    if from.key == to.key {
        return Err(SAME_KEY);
    }
    let Some(entry) = from.entry(writer) else { return Ok(false) };
    let brought = bring(entry, &to, existing, writer)?;
    let notifications = &call.service.notifications;
    if brought && source == Source::Goes {
        from.keyspace.remove(&from.key, writer);
        notifications.tell(Event::MOVED_FROM, database, from.key.name());
        notifications.tell(Event::MOVED_TO, target, name);
    } else if brought {
        notifications.tell(Event::COPIED_TO, target, name);
    }
    Ok(brought)
}

pub(super) fn swap(call: &mut Call<'_, '_>) -> Flow {
    match swap_databases(call) {
        Ok(()) => call.reply.ok(),
        Err(text) => call.reply.error(text),
    }
    Flow::Continue
}

fn swap_databases(call: &Call<'_, '_>) -> Result<(), &'static str> {
    let service = call.service;
    let index = |word, wrong| match (database(word), integer(word)) {
        (Ok(index), _) if service.keyspace(index).is_some() => Ok(index),
        (_, Some(_)) => Err(NO_DATABASE),
        (_, None) => Err(wrong),
    };
    let one = index(call.words[1], "ERR invalid first DB index")?;
    let other = index(call.words[2], "ERR invalid second DB index")?;
    if one != other {
        service.databases.swap(one, other);
        // What clients have read of either is the other's now.
        service.tracking.flushed();
    }
    Ok(())
}
