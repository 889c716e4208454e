//! `OBJECT` and `MEMORY`: what the server has in its books about an entry, and about all of them.

use ostler_core::Snapshot;

use crate::commands::parse::{NOT_AN_INTEGER, SYNTAX, integer, is};
use crate::commands::{Call, Flow};
use crate::keyspace::{ENTRY_OVERHEAD_BYTES, Value};

/// The longest value that Redis stores beside its header, bytes.
const EMBEDDED_LEN_MAX: usize = 44;

/// What is known of the entry that the second word names.
fn snapshot(call: &mut Call<'_, '_>) -> Option<Snapshot<Value>> {
    let keyspace = call.keyspace();
    keyspace.entry(call.lookup(call.words[2]))
}

/// Replies with a number about the entry, or with null.
fn reply_about(call: &mut Call<'_, '_>, number: fn(&Snapshot<Value>) -> u64) -> Flow {
    match snapshot(call) {
        Some(snapshot) => call.reply.integer(number(&snapshot) as i64),
        None => call.reply.null(),
    }
    Flow::Continue
}

/// How Redis would store the value, had it been set whole.
pub(super) fn encoding(call: &mut Call<'_, '_>) -> Flow {
    match snapshot(call) {
        Some(Snapshot { value, .. }) if integer(&value).is_some() => call.reply.bulk(b"int"),
        Some(Snapshot { value, .. }) if value.len() <= EMBEDDED_LEN_MAX => {
            call.reply.bulk(b"embstr");
        }
        Some(_) => call.reply.bulk(b"raw"),
        None => call.reply.null(),
    }
    Flow::Continue
}

pub(super) fn freq(call: &mut Call<'_, '_>) -> Flow {
    reply_about(call, |snapshot| u64::from(snapshot.hits))
}

/// The engine keeps no time of the last use. Uses spread evenly over the age would come so far apart.
pub(super) fn idletime(call: &mut Call<'_, '_>) -> Flow {
    reply_about(call, |snapshot| snapshot.age.as_secs() / (u64::from(snapshot.hits) + 1))
}

/// Entries share no values, except while a copy is fresh.
pub(super) fn refcount(call: &mut Call<'_, '_>) -> Flow {
    reply_about(call, |_| 1)
}

pub(super) fn object_help(call: &mut Call<'_, '_>) -> Flow {
    call.help(&[
        "ENCODING <key>",
        "    Return the kind of internal representation used in order to store the value",
        "    associated with a <key>.",
        "FREQ <key>",
        "    Return the hits of the <key> since it came in, at most 15.",
        "IDLETIME <key>",
        "    Return the approximated number of seconds between uses of the <key>.",
        "REFCOUNT <key>",
        "    Return the number of references of the value associated with the specified",
        "    <key>.",
    ])
}

pub(super) fn usage(call: &mut Call<'_, '_>) -> Flow {
    let (pairs, rest) = call.words[3..].as_chunks::<2>();
    for [option, word] in pairs {
        if !is(option, "samples") {
            return call.error(SYNTAX);
        }
        match integer(word) {
            Some(0..) => {}
            Some(_) => return call.error(SYNTAX),
            None => return call.error(NOT_AN_INTEGER),
        }
    }
    if !rest.is_empty() {
        return call.error(SYNTAX);
    }
    reply_about(call, |snapshot| u64::from(snapshot.weight))
}

/// Entries and bytes of all caches: entries, weight, capacity.
fn totals(call: &Call<'_, '_>) -> (u64, u64, u64) {
    let all = call.service.caches.iter().map(|keyspace| keyspace.stats());
    all.fold((0, 0, 0), |(entries, weight, capacity), stats| {
        (entries + stats.entries, weight + stats.weight, capacity + stats.capacity)
    })
}

pub(super) fn stats(call: &mut Call<'_, '_>) -> Flow {
    let (entries, weight, capacity) = totals(call);
    let overhead = entries * u64::from(ENTRY_OVERHEAD_BYTES);
    let dataset = weight.saturating_sub(overhead);
    let rows = [
        ("total.allocated", weight),
        ("total.capacity", capacity),
        ("overhead.total", overhead),
        ("keys.count", entries),
        ("keys.bytes-per-key", weight.checked_div(entries).unwrap_or(0)),
        ("dataset.bytes", dataset),
    ];
    call.reply.map(rows.len() + 1);
    for (name, number) in rows {
        call.reply.bulk(name.as_bytes());
        call.reply.integer(number as i64);
    }
    call.reply.bulk(b"dataset.percentage");
    call.reply.double(dataset as f64 * 100.0 / weight.max(1) as f64);
    Flow::Continue
}

pub(super) fn doctor(call: &mut Call<'_, '_>) -> Flow {
    let (entries, weight, capacity) = totals(call);
    let text = format!(
        "{entries} entries take {weight} of {capacity} bytes. What does not fit is evicted.\n"
    );
    call.reply.verbatim(&text);
    Flow::Continue
}

pub(super) fn malloc_stats(call: &mut Call<'_, '_>) -> Flow {
    call.reply.bulk(b"Stats not supported for the current allocator");
    Flow::Continue
}

/// Nothing to do, as in a Redis without jemalloc.
pub(super) fn purge(call: &mut Call<'_, '_>) -> Flow {
    call.reply.ok();
    Flow::Continue
}

pub(super) fn memory_help(call: &mut Call<'_, '_>) -> Flow {
    call.help(&[
        "DOCTOR",
        "    Return memory problems reports.",
        "MALLOC-STATS",
        "    Return internal statistics report from the memory allocator.",
        "PURGE",
        "    Attempt to purge dirty pages for reclamation by the allocator.",
        "STATS",
        "    Return information about the memory usage of the server.",
        "USAGE <key> [SAMPLES <count>]",
        "    Return memory in bytes used by <key> and its value. Nested values are",
        "    sampled up to <count> times (default: 5, 0 means sample all).",
    ])
}
