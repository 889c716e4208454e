//! Commands on the bits of a value; bit 0 is the highest of the first byte.

use std::ops::RangeInclusive;

use crate::commands::parse::{NO_ROOM, NOT_AN_INTEGER, SYNTAX, integer, is, no_room};
use crate::commands::strings::{fits, value_of};
use crate::commands::{Call, Flow};
use crate::keyspace::{End, Value};
use crate::notifications::Event;

const WRONG_OFFSET: &str = "ERR bit offset is not an integer or out of range";
const WRONG_BIT: &str = "ERR bit is not an integer or out of range";

/// The byte and the mask of the bit that `word` names, none beyond the longest value.
fn place_of(call: &Call<'_, '_>, word: &[u8]) -> Option<(usize, u8)> {
    let offset = usize::try_from(integer(word)?).ok()?;
    let byte = offset >> 3;
    (byte < call.service.tunables.bulk_bytes_max()).then_some((byte, 0x80 >> (offset & 7)))
}

pub(super) fn setbit(call: &mut Call<'_, '_>) -> Flow {
    let Some((byte, mask)) = place_of(call, call.words[2]) else {
        return call.error(WRONG_OFFSET);
    };
    let bit = match integer(call.words[3]) {
        Some(0) => 0,
        Some(1) => mask,
        _ => return call.error(WRONG_BIT),
    };
    let (key, keyspace) = (call.key(call.words[1]), call.keyspace());
    let before = keyspace.with_entry(&key, call.session.client.id, |entry| {
        let old = entry.peek().map(|snapshot| snapshot.value);
        let old: &[u8] = old.as_deref().unwrap_or_default();
        let before = old.get(byte).map_or(0, |byte| byte & mask);
        if byte < old.len() && before == bit {
            return Ok((before, false));
        }
        let len = old.len().max(byte + 1);
        if !fits(keyspace, &key, len) {
            return Err(NO_ROOM);
        }
        let mut bytes = Vec::with_capacity(len);
        bytes.extend_from_slice(old);
        bytes.resize(len, 0);
        bytes[byte] = bytes[byte] & !mask | bit;
        entry.set(Value::new(&bytes), End::Keep).map(|()| (before, true)).map_err(no_room)
    });
    if matches!(before, Ok((_, true))) {
        call.tell(Event::SET_BIT, key.name());
    }
    call.number(before.map(|(before, _)| i64::from(before != 0)))
}

pub(super) fn getbit(call: &mut Call<'_, '_>) -> Flow {
    let Some((byte, mask)) = place_of(call, call.words[2]) else {
        return call.error(WRONG_OFFSET);
    };
    let keyspace = call.keyspace();
    let bit = keyspace.read(call.lookup(call.words[1]), |value| {
        value.get(byte).is_some_and(|byte| byte & mask != 0)
    });
    call.reply.integer(i64::from(bit == Some(true)));
    Flow::Continue
}

/// What the places of a range count.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Byte,
    Bit,
}

impl Unit {
    fn parse(word: &[u8]) -> Result<Self, &'static str> {
        match word {
            word if is(word, "bit") => Ok(Self::Bit),
            word if is(word, "byte") => Ok(Self::Byte),
            _ => Err(SYNTAX),
        }
    }

    /// The bits from place `start` to place `end`, both included, negative ones from the end; none
    /// where that is empty.
    fn bits(self, start: i64, end: i64, len: usize) -> Option<RangeInclusive<usize>> {
        let places = if self == Self::Bit { len as i64 * 8 } else { len as i64 };
        let place = |index: i64| if index < 0 { (places + index).max(0) } else { index };
        let (start, end) = (place(start), place(end).min(places - 1));
        if start > end {
            return None;
        }
        let (start, end) = (start as usize, end as usize);
        Some(if self == Self::Bit { start..=end } else { start * 8..=end * 8 + 7 })
    }
}

pub(super) fn bitcount(call: &mut Call<'_, '_>) -> Flow {
    let words = call.words;
    let Some(value) = value_of(call, words[1]) else {
        call.reply.integer(0);
        return Flow::Continue;
    };
    let count = count_bits(&value, &words[2..]);
    call.number(count)
}

fn count_bits(value: &[u8], words: &[&[u8]]) -> Result<i64, &'static str> {
    let (start, end, unit) = match *words {
        [] => (0, -1, Ok(Unit::Byte)),
        [start, end] => (number(start)?, number(end)?, Ok(Unit::Byte)),
        [start, end, unit] => (number(start)?, number(end)?, Unit::parse(unit)),
        _ => return Err(SYNTAX),
    };
    if start < 0 && end < 0 && start > end {
        return Ok(0);
    }
    let Some(bits) = unit?.bits(start, end, value.len()) else { return Ok(0) };
    let bytes = &value[bits.start() / 8..=bits.end() / 8];
    let all: i64 = bytes.iter().map(|byte| i64::from(byte.count_ones())).sum();
    let (first, last) = edges(&bits);
    let outside = |byte: Option<&u8>, mask: u8| byte.map_or(0, |byte| (byte & !mask).count_ones());
    Ok(all - i64::from(outside(bytes.first(), first)) - i64::from(outside(bytes.last(), last)))
}

/// The bits of the first and of the last byte that belong to the range, as if those were two.
fn edges(bits: &RangeInclusive<usize>) -> (u8, u8) {
    (0xff >> (bits.start() & 7), 0xff << (7 - (bits.end() & 7)))
}

fn number(word: &[u8]) -> Result<i64, &'static str> {
    integer(word).ok_or(NOT_AN_INTEGER)
}

pub(super) fn bitpos(call: &mut Call<'_, '_>) -> Flow {
    let words = call.words;
    let bit = match integer(words[2]) {
        Some(bit @ (0 | 1)) => bit as u8,
        Some(_) => return call.error("ERR The bit argument must be 1 or 0."),
        None => return call.error(NOT_AN_INTEGER),
    };
    let place = match value_of(call, words[1]) {
        Some(value) => find_bit(&value, bit, &words[3..]),
        // What is not there is zeros without end, whatever the range says.
        None => range(&words[3..]).map(|_| -i64::from(bit)),
    };
    call.number(place)
}

/// The range that `BITPOS` is given: its start, its end where it has one, and what they count.
fn range(words: &[&[u8]]) -> Result<(i64, Option<i64>, Unit), &'static str> {
    Ok(match *words {
        [] => (0, None, Unit::Byte),
        [start] => (number(start)?, None, Unit::Byte),
        [start, end] => (number(start)?, Some(number(end)?), Unit::Byte),
        [start, end, unit] => {
            let (start, unit) = (number(start)?, Unit::parse(unit)?);
            (start, Some(number(end)?), unit)
        }
        _ => return Err(SYNTAX),
    })
}

fn find_bit(value: &[u8], bit: u8, words: &[&[u8]]) -> Result<i64, &'static str> {
    let (start, end, unit) = range(words)?;
    let Some(bits) = unit.bits(start, end.unwrap_or(i64::MAX), value.len()) else { return Ok(-1) };
    let (first, last) = (bits.start() / 8, bits.end() / 8);
    let (first_mask, last_mask) = edges(&bits);
    let wanted = |(place, byte): (usize, &u8)| {
        let mut bits = if bit == 1 { *byte } else { !byte };
        if place == first {
            bits &= first_mask;
        }
        if place == last {
            bits &= last_mask;
        }
        (bits != 0).then(|| place * 8 + bits.leading_zeros() as usize)
    };
    let found = value.iter().enumerate().take(last + 1).skip(first).find_map(wanted);
    Ok(match found {
        Some(place) => place as i64,
        // Without an end of the range, the value goes on with zeros.
        None if bit == 0 && end.is_none() => value.len() as i64 * 8,
        None => -1,
    })
}
