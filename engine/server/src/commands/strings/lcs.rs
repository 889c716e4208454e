//! `LCS`: the longest common subsequence of two values, by the table of the lengths for all pairs of
//! their beginnings (Wagner and Fischer 1974).

use crate::commands::parse::{NOT_AN_INTEGER, SYNTAX, integer, is};
use crate::commands::strings::value_of;
use crate::commands::{Call, Flow};

/// The largest table, bytes: two values of 4 KiB each. It bounds what a client can make the server
/// allocate beside its caches.
const TABLE_BYTES_MAX: usize = 64 << 20;

/// What is asked for.
#[derive(Default)]
struct Options {
    wants_len: bool,
    wants_ranges: bool,
    with_match_len: bool,
    match_len_min: i64,
}

impl Options {
    fn parse(words: &[&[u8]]) -> Result<Self, &'static str> {
        let mut options = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                word if is(word, "idx") => options.wants_ranges = true,
                word if is(word, "len") => options.wants_len = true,
                word if is(word, "withmatchlen") => options.with_match_len = true,
                word if is(word, "minmatchlen") => {
                    let number = words.next().ok_or(SYNTAX)?;
                    options.match_len_min = integer(number).ok_or(NOT_AN_INTEGER)?.max(0);
                }
                _ => return Err(SYNTAX),
            }
        }
        if options.wants_len && options.wants_ranges {
            return Err("ERR If you want both the length and indexes, please just use IDX.");
        }
        Ok(options)
    }
}

pub(super) fn lcs(call: &mut Call<'_, '_>) -> Flow {
    let words = call.words;
    let (a, b) = (value_of(call, words[1]), value_of(call, words[2]));
    let (a, b) = (a.as_deref().unwrap_or_default(), b.as_deref().unwrap_or_default());
    let options = match Options::parse(&words[3..]) {
        Ok(options) => options,
        Err(text) => return call.error(text),
    };
    let bytes_max = TABLE_BYTES_MAX.min(call.service.tunables.bulk_bytes_max());
    let cells = (a.len() as u64 + 1).saturating_mul(b.len() as u64 + 1);
    if cells > (bytes_max / size_of::<u32>()) as u64 {
        return call
            .error("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len");
    }
    let table = Table::new(a, b);
    let len = i64::from(table.at(a.len(), b.len()));
    if options.wants_ranges {
        reply_ranges(call, &table.matches(), &options);
        call.reply.bulk(b"len");
        call.reply.integer(len);
    } else if options.wants_len {
        call.reply.integer(len);
    } else {
        let mut sequence = Vec::with_capacity(len as usize);
        for found in table.matches().iter().rev() {
            sequence.extend_from_slice(&a[found.a..found.a + found.len]);
        }
        call.reply.bulk(&sequence);
    }
    Flow::Continue
}

fn reply_ranges(call: &mut Call<'_, '_>, matches: &[Match], options: &Options) {
    let reply = &mut call.reply;
    let shown = || matches.iter().filter(|found| found.len as i64 >= options.match_len_min);
    reply.map(2);
    reply.bulk(b"matches");
    reply.array(shown().count());
    for found in shown() {
        reply.array(2 + usize::from(options.with_match_len));
        for start in [found.a, found.b] {
            reply.array(2);
            reply.integer(start as i64);
            reply.integer((start + found.len - 1) as i64);
        }
        if options.with_match_len {
            reply.integer(found.len as i64);
        }
    }
}

/// A run of bytes that both have: where it starts in each, and its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Match {
    a: usize,
    b: usize,
    len: usize,
}

/// For each beginning of `a` (rows) and of `b` (columns): the length of what they have in common.
struct Table<'a> {
    a: &'a [u8],
    b: &'a [u8],
    lengths: Vec<u32>,
}

impl<'a> Table<'a> {
    fn new(a: &'a [u8], b: &'a [u8]) -> Self {
        let width = b.len() + 1;
        let mut lengths = vec![0; (a.len() + 1) * width];
        for (row, byte) in a.iter().enumerate() {
            let (before, here) = lengths[row * width..].split_at_mut(width);
            for (column, other) in b.iter().enumerate() {
                here[column + 1] = if byte == other {
                    before[column] + 1
                } else {
                    before[column + 1].max(here[column])
                };
            }
        }
        Self { a, b, lengths }
    }

    fn at(&self, row: usize, column: usize) -> u32 {
        self.lengths[row * (self.b.len() + 1) + column]
    }

    /// The runs of one longest common subsequence, from the last to the first: the one that Redis
    /// finds.
    fn matches(&self) -> Vec<Match> {
        let (mut row, mut column) = (self.a.len(), self.b.len());
        let mut matches: Vec<Match> = Vec::new();
        while row > 0 && column > 0 {
            if self.a[row - 1] != self.b[column - 1] {
                if self.at(row - 1, column) > self.at(row, column - 1) {
                    row -= 1;
                } else {
                    column -= 1;
                }
                continue;
            }
            match matches.last_mut() {
                Some(last) if last.a == row && last.b == column => {
                    *last = Match { a: row - 1, b: column - 1, len: last.len + 1 };
                }
                _ => matches.push(Match { a: row - 1, b: column - 1, len: 1 }),
            }
            (row, column) = (row - 1, column - 1);
        }
        matches
    }
}
