//! Commands on parts of a value: `APPEND`, `GETRANGE`, `SETRANGE`, `STRLEN`.
//!
//! Values do not change in place: a write to a part copies the whole, with its shard locked.

use crate::commands::parse::{NO_ROOM, NOT_AN_INTEGER, TOO_LONG, integer, no_room};
use crate::commands::strings::{COPY_BYTES_MAX, fits};
use crate::commands::{Call, Flow};
use crate::keyspace::{End, Value};
use crate::notifications::Event;

pub(super) fn strlen(call: &mut Call<'_, '_>) -> Flow {
    let keyspace = call.keyspace();
    let len = keyspace.read(call.lookup(call.words[1]), |value| value.len());
    call.reply.integer(len.unwrap_or(0) as i64);
    Flow::Continue
}

pub(super) fn append(call: &mut Call<'_, '_>) -> Flow {
    let (key, tail) = (call.key(call.words[1]), call.words[2]);
    let (keyspace, len_max) = (call.keyspace(), call.service.tunables.bulk_bytes_max());
    let appended = keyspace.with_entry(&key, call.session.client.id, |entry| {
        let Some(old) = entry.peek() else {
            return entry.set(Value::new(tail), End::Never).map(|()| tail.len()).map_err(no_room);
        };
        let len = old.value.len() + tail.len();
        if len > len_max {
            return Err(TOO_LONG);
        }
        if !fits(keyspace, &key, len) {
            return Err(NO_ROOM);
        }
        let joined = [&old.value[..], tail].concat();
        entry.set(Value::new(&joined), End::Keep).map(|()| len).map_err(no_room)
    });
    if appended.is_ok() {
        call.tell(Event::APPEND, key.name());
    }
    call.number(appended.map(|len| len as i64))
}

pub(super) fn getrange(call: &mut Call<'_, '_>) -> Flow {
    let words = call.words;
    let (Some(start), Some(end)) = (integer(words[2]), integer(words[3])) else {
        return call.error(NOT_AN_INTEGER);
    };
    let keyspace = call.keyspace();
    let Call { session, reply, .. } = call;
    let found = keyspace.read(session.lookup(words[1]), |value| {
        let range = range_of(start, end, value.len());
        if range.len() <= COPY_BYTES_MAX {
            reply.bulk(&value[range]);
            None
        } else {
            Some((value.clone(), range))
        }
    });
    match found {
        Some(None) => {}
        Some(Some((value, range))) => reply.bulk(&value[range]),
        None => reply.bulk(b""),
    }
    Flow::Continue
}

/// The places from `start` to `end`, both included, negative ones from the end of `len`.
fn range_of(start: i64, end: i64, len: usize) -> std::ops::Range<usize> {
    if start < 0 && end < 0 && start > end {
        return 0..0;
    }
    let len = len as i64;
    let place = |index: i64| if index < 0 { (len + index).max(0) } else { index };
    let (start, end) = (place(start), place(end).min(len - 1));
    if start > end { 0..0 } else { start as usize..end as usize + 1 }
}

pub(super) fn setrange(call: &mut Call<'_, '_>) -> Flow {
    let (key, patch) = (call.key(call.words[1]), call.words[3]);
    let Some(offset) = integer(call.words[2]) else { return call.error(NOT_AN_INTEGER) };
    let Ok(offset) = usize::try_from(offset) else {
        return call.error("ERR offset is out of range");
    };
    let (keyspace, len_max) = (call.keyspace(), call.service.tunables.bulk_bytes_max());
    let written = keyspace.with_entry(&key, call.session.client.id, |entry| {
        let old = entry.peek().map(|snapshot| snapshot.value);
        let old: &[u8] = old.as_deref().unwrap_or_default();
        if patch.is_empty() {
            return Ok(old.len());
        }
        let patch_end = offset.saturating_add(patch.len());
        if patch_end > len_max {
            return Err(TOO_LONG);
        }
        let len = patch_end.max(old.len());
        if !fits(keyspace, &key, len) {
            return Err(NO_ROOM);
        }
        let mut bytes = Vec::with_capacity(len);
        bytes.extend_from_slice(old);
        bytes.resize(len, 0);
        bytes[offset..patch_end].copy_from_slice(patch);
        entry.set(Value::new(&bytes), End::Keep).map(|()| len).map_err(no_room)
    });
    if written.is_ok() && !patch.is_empty() {
        call.tell(Event::SET_RANGE, key.name());
    }
    call.number(written.map(|len| len as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_count_from_both_ends() {
        let cases = [
            (0, 3, 11, 0..4),
            (0, -1, 11, 0..11),
            (-4, -1, 11, 7..11),
            (5, 3, 11, 0..0),
            (-1, -4, 11, 0..0),
            (5, 5000, 11, 5..11),
            (-5000, 10_000, 11, 0..11),
            (11, 12, 11, 0..0),
            (0, 0, 0, 0..0),
            (-3, -1, 0, 0..0),
            (0, -100, 3, 0..1),
            (i64::MIN, i64::MAX, 3, 0..3),
            (i64::MAX, i64::MIN, 3, 0..0),
        ];
        for (start, end, len, range) in cases {
            assert_eq!(range_of(start, end, len), range, "{start} to {end} of {len}");
        }
    }
}
