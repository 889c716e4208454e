//! The client: a cache in front of an origin, as services use one. It asks the server for a key and, where
//! it is not there, stores what it got elsewhere. One connection, RESP, several commands at a time.
//!
//! It checks every reply and counts; what the counts mean is not its business.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};

/// Bytes of a value, so that an entry weighs 256 bytes in the server.
pub(super) const VALUE_LEN: usize = 144;
/// Bytes of a key.
pub(super) const KEY_LEN: usize = 21;
/// Keys asked for at a time. A key that is asked for twice in one go may miss twice; with few that
/// seldom happens.
const PIPELINE: usize = 32;
/// Longest wait for a reply.
const REPLY_TIMEOUT: Duration = Duration::from_secs(20);
/// The client sleeps only where it is ahead of its pace by so much.
const AHEAD: Duration = Duration::from_millis(2);
/// Longest reply, bytes: a page of keys.
const REPLY_LEN_MAX: usize = 1 << 20;
/// Keys that a page of the server's keys has, about.
const PAGE_KEYS: usize = 1000;

/// What is counted while it runs.
#[derive(Default)]
pub(super) struct Tally {
    /// Keys asked for and answered.
    pub(super) gets: AtomicU64,
    /// Those that were there.
    pub(super) hits: AtomicU64,
    /// Entries stored.
    pub(super) sets: AtomicU64,
    /// Commands that ended in an error or brought the wrong value.
    pub(super) failed: AtomicU64,
    /// Somebody wants it to stop.
    pub(super) stop: AtomicBool,
}

/// What was asked for and what came of it.
#[derive(Default)]
pub(super) struct Recording {
    /// Every key asked for, in order.
    pub(super) keys: Vec<u64>,
    /// Whether it was there.
    pub(super) hits: Vec<bool>,
    /// When how many keys had been asked for: milliseconds since 1970, and requests.
    pub(super) moments: Vec<(u64, u64)>,
    /// The first command that failed.
    pub(super) failure: Option<String>,
}

impl Recording {
    /// How many keys had been asked for at a time.
    pub(super) fn requests_at(&self, unix_ms: u64) -> u64 {
        let after = self.moments.partition_point(|&(at, _)| at <= unix_ms);
        after.checked_sub(1).map_or(0, |last| self.moments[last].1)
    }
}

/// A connection to the server.
pub(super) struct Client {
    stream: BufReader<TcpStream>,
    output: Vec<u8>,
    line: Vec<u8>,
}

/// A reply, as far as the client knows any.
#[derive(Debug, PartialEq)]
enum Reply {
    Simple(Vec<u8>),
    Error(Vec<u8>),
    Bulk(Option<Vec<u8>>),
    Array(Vec<Reply>),
}

/// A key as the server knows it.
fn name_of(key: u64) -> [u8; KEY_LEN] {
    let mut name = *b"item:0000000000000000";
    for (place, letter) in name[5..].iter_mut().enumerate() {
        let digit = (key >> (60 - 4 * place)) & 15;
        *letter = b"0123456789abcdef"[digit as usize];
    }
    name
}

/// What the origin has for a key.
fn value_of(name: &[u8]) -> [u8; VALUE_LEN] {
    let mut value = [b'.'; VALUE_LEN];
    let len = name.len().min(VALUE_LEN);
    value[..len].copy_from_slice(&name[..len]);
    value
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Client {
    /// Connects.
    pub(super) fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).context("the client cannot connect")?;
        stream.set_nodelay(true).context("the client cannot connect")?;
        stream.set_read_timeout(Some(REPLY_TIMEOUT)).context("the client cannot connect")?;
        Ok(Self { stream: BufReader::new(stream), output: Vec::new(), line: Vec::new() })
    }

    /// Asks for all `keys`, at most `rate` a second, and stores those that are not there.
    pub(super) fn drive(
        &mut self,
        keys: impl Iterator<Item = u64>,
        rate: f64,
        tally: &Tally,
    ) -> Result<Recording> {
        let mut recording = Recording::default();
        let start = Instant::now();
        let mut keys = keys.fuse();
        let (mut batch, mut absent) = (Vec::new(), Vec::new());
        while !tally.stop.load(Relaxed) {
            batch.clear();
            batch.extend(keys.by_ref().take(PIPELINE));
            if batch.is_empty() && absent.is_empty() {
                break;
            }
            let due = Duration::from_secs_f64(recording.keys.len() as f64 / rate);
            if let Some(ahead) = due.checked_sub(start.elapsed()).filter(|it| *it >= AHEAD) {
                std::thread::sleep(ahead);
            }
            self.turn(&batch, &mut absent, tally, &mut recording).with_context(|| {
                format!("the client lost the server after {} requests", recording.keys.len())
            })?;
            recording.moments.push((unix_ms(), recording.keys.len() as u64));
        }
        Ok(recording)
    }

    /// Stores what was `absent`, asks for `batch`, and leaves in `absent` what is absent now.
    fn turn(
        &mut self,
        batch: &[u64],
        absent: &mut Vec<u64>,
        tally: &Tally,
        recording: &mut Recording,
    ) -> Result<()> {
        for &key in absent.iter() {
            let name = name_of(key);
            self.command(&[b"SET", &name, &value_of(&name)]);
        }
        for &key in batch {
            self.command(&[b"GET", &name_of(key)]);
        }
        self.send()?;
        for _ in absent.drain(..) {
            match self.reply()? {
                Reply::Simple(text) if text == b"OK" => {
                    tally.sets.fetch_add(1, Relaxed);
                }
                other => fail(tally, recording, "SET", &other),
            }
        }
        for &key in batch {
            let is_hit = match self.reply()? {
                Reply::Bulk(None) => false,
                Reply::Bulk(Some(value)) if value == value_of(&name_of(key)) => true,
                other => {
                    fail(tally, recording, "GET", &other);
                    false
                }
            };
            recording.keys.push(key);
            recording.hits.push(is_hit);
            tally.gets.fetch_add(1, Relaxed);
            tally.hits.fetch_add(u64::from(is_hit), Relaxed);
            if !is_hit && !absent.contains(&key) {
                absent.push(key);
            }
        }
        Ok(())
    }

    /// Walks over all keys of the server and reads each: how many there are with their right value.
    pub(super) fn read_back(&mut self) -> Result<u64> {
        let mut cursor = b"0".to_vec();
        let mut found = std::collections::HashSet::new();
        loop {
            self.command(&[b"SCAN", &cursor, b"COUNT", PAGE_KEYS.to_string().as_bytes()]);
            self.send()?;
            let Reply::Array(page) = self.reply()? else { bail!("SCAN brought no page") };
            let [Reply::Bulk(Some(next)), Reply::Array(names)] = &page[..] else {
                bail!("SCAN brought no page")
            };
            let names: Vec<&Vec<u8>> = names
                .iter()
                .filter_map(|name| match name {
                    Reply::Bulk(name) => name.as_ref(),
                    _ => None,
                })
                .collect();
            for name in &names {
                self.command(&[b"GET", name]);
            }
            self.send()?;
            for name in names {
                if self.reply()? == Reply::Bulk(Some(value_of(name).to_vec())) {
                    found.insert(name.clone());
                }
            }
            cursor.clone_from(next);
            if cursor == b"0" {
                return Ok(found.len() as u64);
            }
        }
    }

    fn command(&mut self, words: &[&[u8]]) {
        // Writing to memory does not fail.
        let _ = write!(self.output, "*{}\r\n", words.len());
        for word in words {
            let _ = write!(self.output, "${}\r\n", word.len());
            self.output.extend_from_slice(word);
            self.output.extend_from_slice(b"\r\n");
        }
    }

    fn send(&mut self) -> Result<()> {
        self.stream.get_mut().write_all(&self.output)?;
        self.output.clear();
        Ok(())
    }

    fn reply(&mut self) -> Result<Reply> {
        self.line.clear();
        self.stream.read_until(b'\n', &mut self.line)?;
        let whole = self.line.strip_suffix(b"\r\n").and_then(|line| line.split_first());
        let Some((&kind, rest)) = whole else { bail!("the connection was closed") };
        let number = || std::str::from_utf8(rest).ok().and_then(|text| text.parse::<i64>().ok());
        match (kind, number()) {
            (b'+', _) => Ok(Reply::Simple(rest.to_vec())),
            (b'-', _) => Ok(Reply::Error(rest.to_vec())),
            (b'$', Some(-1)) => Ok(Reply::Bulk(None)),
            (b'$', Some(len)) => {
                let len = usize::try_from(len).ok().filter(|&len| len <= REPLY_LEN_MAX);
                let len = len.context("a reply is too long")?;
                let mut bulk = vec![0; len + 2];
                self.stream.read_exact(&mut bulk)?;
                bulk.truncate(len);
                Ok(Reply::Bulk(Some(bulk)))
            }
            (b'*', Some(count)) if (0..=1 << 20).contains(&count) => {
                (0..count).map(|_| self.reply()).collect::<Result<_>>().map(Reply::Array)
            }
            _ => bail!("a reply is not understood: {}", String::from_utf8_lossy(&self.line)),
        }
    }
}

/// Counts a command that failed; the first one is told.
fn fail(tally: &Tally, recording: &mut Recording, command: &str, reply: &Reply) {
    tally.failed.fetch_add(1, Relaxed);
    recording.failure.get_or_insert_with(|| match reply {
        Reply::Error(text) => format!("{command}: {}", String::from_utf8_lossy(text)),
        Reply::Bulk(_) => format!("{command}: another value than was stored"),
        other => format!("{command}: {other:?}"),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_tell_their_key() {
        assert_eq!(&name_of(0x0123_4567_89ab_cdef), b"item:0123456789abcdef");
        let value = value_of(&name_of(7));
        assert!(value.starts_with(b"item:0000000000000007."));
    }

    #[test]
    fn an_entry_weighs_what_the_capacity_is_divided_by() {
        assert_eq!(ostler_server::keyspace::weight_of(KEY_LEN, VALUE_LEN), 256);
    }

    #[test]
    fn requests_are_found_by_their_time() {
        let recording =
            Recording { moments: vec![(100, 32), (110, 64), (110, 96)], ..Recording::default() };
        let found = [99, 100, 109, 110, 500].map(|at| recording.requests_at(at));
        assert_eq!(found, [0, 32, 32, 96, 96]);
    }

    /// A server of canned replies: a hit, a miss, an error and a wrong value; then the entries are stored.
    #[test]
    fn replies_are_checked_and_counted() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let value = String::from_utf8(value_of(&name_of(1)).to_vec()).unwrap();
        let canned = format!(
            "${VALUE_LEN}\r\n{value}\r\n$-1\r\n-ERR no\r\n${VALUE_LEN}\r\n{value}\r\n+OK\r\n+OK\r\n-ERR full\r\n"
        );
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(canned.as_bytes()).unwrap();
            let mut asked = Vec::new();
            stream.read_to_end(&mut asked).unwrap();
            String::from_utf8(asked).unwrap()
        });
        let mut client = Client::connect(address).unwrap();
        let tally = Tally::default();
        let recording = client.drive([1, 2, 3, 4].into_iter(), 1e9, &tally).unwrap();
        drop(client);
        assert_eq!(recording.hits, [true, false, false, false]);
        let counts = [&tally.gets, &tally.hits, &tally.sets, &tally.failed];
        assert_eq!(counts.map(|count| count.load(Relaxed)), [4, 1, 2, 3]);
        assert_eq!(recording.failure.as_deref(), Some("GET: ERR no"));
        let asked = server.join().unwrap();
        assert_eq!(asked.matches("SET").count(), 3);
    }
}
