//! `CONFIG`: the settings that clients ask for, and the few that they can change.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;

use super::eviction;
use crate::commands::parse::glob;
use crate::commands::{Call, Flow};
use crate::notifications::are_letters;
use crate::room;
use crate::server::descriptors;
use crate::service::Service;
use crate::settings::Limits;

/// Seconds of silence that `timeout` takes.
const IDLE_S: RangeInclusive<u64> = 0..=i32::MAX as u64;
/// Clients that `maxclients` takes.
const CLIENTS: RangeInclusive<u64> = 1..=1_000_000;
/// Bytes of a word that `proto-max-bulk-len` takes.
const BULK_BYTES: RangeInclusive<u64> = 1 << 20..=512 << 20;

/// What `CONFIG` changes while the server runs.
#[derive(Debug)]
pub struct Tunables {
    idle_timeout_ms: AtomicU64,
    bulk_bytes_max: AtomicUsize,
    base: Mutex<Base>,
    /// Held while settings change: one who takes his changes back must not take those of others back.
    changing: Mutex<()>,
}

/// Where counters stood at the last `CONFIG RESETSTAT`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Base {
    pub(crate) commands: u64,
    pub(crate) errors: u64,
    pub(crate) expired: u64,
    pub(crate) evicted: u64,
    pub(crate) hits: u64,
    pub(crate) misses: u64,
}

impl Tunables {
    /// What the settings say, with nothing changed.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        let idle_timeout_ms = u64::try_from(limits.idle_timeout.as_millis()).unwrap_or(u64::MAX);
        Self {
            idle_timeout_ms: AtomicU64::new(idle_timeout_ms),
            bulk_bytes_max: AtomicUsize::new(limits.bulk_bytes_max),
            base: Mutex::default(),
            changing: Mutex::default(),
        }
    }

    /// Silence after which a client is cut off, zero for never.
    #[inline]
    #[must_use]
    pub fn idle_timeout(&self) -> Duration {
        Duration::from_millis(self.idle_timeout_ms.load(Relaxed))
    }

    /// Bytes of an argument, and of a value, at most.
    #[inline]
    #[must_use]
    pub fn bulk_bytes_max(&self) -> usize {
        self.bulk_bytes_max.load(Relaxed)
    }

    pub(crate) fn base(&self) -> Base {
        *self.base.lock()
    }
}

/// Changes a setting, or checks the change, or says why it cannot be made.
type Change = fn(&Service, &str) -> Result<(), String>;

/// A setting.
struct Parameter {
    name: &'static str,
    read: fn(&Service) -> String,
    /// None where it cannot be changed.
    write: Option<Change>,
    /// Checks a value before anything is changed.
    check: Change,
    /// True where patterns do not show it.
    is_hidden: bool,
}

/// A setting that takes what `check` admits.
const fn tunable(
    name: &'static str,
    read: fn(&Service) -> String,
    write: Change,
    check: Change,
) -> Parameter {
    Parameter { name, read, write: Some(write), check, is_hidden: false }
}

const fn fixed(name: &'static str, read: fn(&Service) -> String) -> Parameter {
    Parameter { name, read, write: None, check: |_, _| Ok(()), is_hidden: false }
}

const PARAMETERS: &[Parameter] = &[
    fixed("appendfsync", |_| "everysec".to_owned()),
    fixed("appendonly", |_| no()),
    fixed("bind", |service| {
        service.settings.resp.map_or_else(String::new, |address| address.ip().to_string())
    }),
    fixed("client-output-buffer-limit", |service| {
        let bytes = service.settings.limits.output_bytes_max;
        format!("normal {bytes} 0 0 slave 0 0 0 pubsub {bytes} 0 0")
    }),
    fixed("client-query-buffer-limit", |service| service.tunables.bulk_bytes_max().to_string()),
    fixed("cluster-enabled", |_| no()),
    fixed("daemonize", |_| no()),
    fixed("databases", |_| crate::keyspace::DATABASES.to_string()),
    fixed("io-threads", |service| service.settings.threads.unwrap_or(1).to_string()),
    // Nothing is loaded, so nothing is loaded slowly.
    Parameter { is_hidden: true, ..fixed("key-load-delay", |_| "0".to_owned()) },
    tunable(
        "maxclients",
        |service| service.clients.clients_max().to_string(),
        |service, value| {
            let wanted = number_in(value, CLIENTS)? as usize;
            // One lane is the API's, which has no connections of this front.
            let fits = descriptors::clients_in_reach(wanted, service.lanes.len() - 1);
            if fits < wanted && wanted > service.clients.clients_max() {
                return Err(format!(
                    "The operating system is not able to handle the specified number of clients, \
                     try with {fits}"
                ));
            }
            service.clients.set_clients_max(wanted);
            Ok(())
        },
        |_, value| number_in(value, CLIENTS).map(drop),
    ),
    tunable(
        "maxmemory",
        |service| room::capacity_bytes(service).to_string(),
        |service, value| {
            room::set_capacity(service, bytes_of(value).unwrap_or_default());
            Ok(())
        },
        check_capacity,
    ),
    Parameter { check: check_share, ..fixed("maxmemory-clients", |_| "0".to_owned()) },
    tunable("maxmemory-policy", eviction::name, eviction::set, eviction::check),
    fixed("maxmemory-samples", |_| "5".to_owned()),
    tunable(
        "notify-keyspace-events",
        |service| service.notifications.letters(),
        |service, value| {
            if service.notifications.set_letters(value) {
                Ok(())
            } else {
                Err(WRONG_CLASS.to_owned())
            }
        },
        |_, value| if are_letters(value) { Ok(()) } else { Err(WRONG_CLASS.to_owned()) },
    ),
    Parameter {
        check: check_port,
        ..fixed("port", |service| {
            service.settings.resp.map_or(0, |address| address.port()).to_string()
        })
    },
    tunable(
        "proto-max-bulk-len",
        |service| service.tunables.bulk_bytes_max().to_string(),
        |service, value| {
            let bytes = bytes_in(value, BULK_BYTES)?;
            service.tunables.bulk_bytes_max.store(bytes as usize, Relaxed);
            Ok(())
        },
        |_, value| bytes_in(value, BULK_BYTES).map(drop),
    ),
    fixed("replicaof", |_| String::new()),
    fixed("requirepass", |_| String::new()),
    fixed("save", |_| String::new()),
    fixed("slaveof", |_| String::new()),
    fixed("slowlog-log-slower-than", |_| "-1".to_owned()),
    fixed("slowlog-max-len", |_| "0".to_owned()),
    fixed("tcp-keepalive", |_| "0".to_owned()),
    tunable(
        "timeout",
        |service| service.tunables.idle_timeout().as_secs().to_string(),
        |service, value| {
            let idle_s = number_in(value, IDLE_S)?;
            service.tunables.idle_timeout_ms.store(idle_s * 1000, Relaxed);
            // Who is silent already is to hear of it, too.
            service.clients.all().iter().for_each(|client| client.nudge());
            Ok(())
        },
        |_, value| number_in(value, IDLE_S).map(drop),
    ),
    tunable(
        "tracking-table-max-keys",
        |service| service.tracking.keys_max().to_string(),
        |service, value| {
            service.tracking.set_keys_max(number_in(value, 0..=u64::MAX)? as usize);
            Ok(())
        },
        |_, value| number_in(value, 0..=u64::MAX).map(drop),
    ),
    fixed("unixsocket", |service| {
        let path = service.settings.resp_unix.as_ref();
        path.map_or_else(String::new, |path| path.display().to_string())
    }),
];

const WRONG_CLASS: &str = "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.";

/// The number that `value` writes, or why it cannot be taken.
fn number_in(value: &str, range: RangeInclusive<u64>) -> Result<u64, String> {
    let number: i128 =
        value.parse().map_err(|_| "argument couldn't be parsed into an integer".to_owned())?;
    within(number, range)
}

/// As `number_in`, for bytes with an optional unit.
fn bytes_in(value: &str, range: RangeInclusive<u64>) -> Result<u64, String> {
    let bytes = bytes_of(value).ok_or_else(|| "argument must be a memory value".to_owned())?;
    within(i128::from(bytes), range)
}

fn within(number: i128, range: RangeInclusive<u64>) -> Result<u64, String> {
    u64::try_from(number).ok().filter(|number| range.contains(number)).ok_or_else(|| {
        format!("argument must be between {} and {} inclusive", range.start(), range.end())
    })
}

/// A share in percent, or bytes.
fn check_share(_: &Service, value: &str) -> Result<(), String> {
    match value.strip_suffix('%') {
        None if bytes_of(value).is_some() => Ok(()),
        None => Err("argument must be a memory or percent value".to_owned()),
        Some(percent) => match percent.parse::<u64>() {
            Ok(..=100) => Ok(()),
            Ok(_) => Err("percentage argument must be less or equal to 100".to_owned()),
            Err(_) => Err("argument must be a memory or percent value".to_owned()),
        },
    }
}

fn no() -> String {
    "no".to_owned()
}

/// The port stays as it is. Redis looks first whether it could listen on another one, and clients tell
/// the two failures apart.
fn check_port(service: &Service, value: &str) -> Result<(), String> {
    let port = number_in(value, 0..=u64::from(u16::MAX))? as u16;
    let address = service.settings.resp.map_or(Ipv4Addr::LOCALHOST.into(), |address| address.ip());
    match std::net::TcpListener::bind((address, port)) {
        Ok(_) => Ok(()),
        Err(_) => Err("Unable to listen on this port. Check server logs.".to_owned()),
    }
}

/// A number of bytes with an optional unit: `100mb`.
fn bytes_of(value: &str) -> Option<u64> {
    let lower = value.to_ascii_lowercase();
    let digits_len = lower.find(|mark: char| !mark.is_ascii_digit()).unwrap_or(lower.len());
    let (digits, unit) = lower.split_at(digits_len);
    let factor = match unit {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

fn check_capacity(service: &Service, value: &str) -> Result<(), String> {
    if bytes_of(value).is_none() {
        return Err("argument must be a memory value".to_owned());
    }
    if service.caches.len() > 1 {
        return Err("this server has several caches, each with its own capacity".to_owned());
    }
    Ok(())
}

pub(super) fn get(call: &mut Call<'_, '_>) -> Flow {
    let words = call.words[2..].iter().map(|word| word.to_ascii_lowercase());
    let patterns: Vec<(Vec<u8>, Option<glob::Pattern>)> =
        words.map(|word| (word.clone(), glob::Pattern::new(&word))).collect();
    let matches = |parameter: &&Parameter| {
        let name = parameter.name.as_bytes();
        patterns.iter().any(|(word, pattern)| {
            let matches = |pattern: &glob::Pattern| pattern.matches(name);
            if parameter.is_hidden { word == name } else { pattern.as_ref().is_some_and(matches) }
        })
    };
    let chosen: Vec<&Parameter> = PARAMETERS.iter().filter(matches).collect();
    call.reply.map(chosen.len());
    for parameter in chosen {
        call.reply.bulk(parameter.name.as_bytes());
        call.reply.bulk((parameter.read)(call.service).as_bytes());
    }
    Flow::Continue
}

/// The changes that `words` ask for, all checked.
fn changes(
    service: &Service,
    words: &[&[u8]],
) -> Result<Vec<(&'static Parameter, String)>, String> {
    let mut changes: Vec<(&Parameter, String)> = Vec::new();
    let mut named = [false; PARAMETERS.len()];
    for pair in words.chunks(2) {
        let &[name, value] = pair else {
            return Err("ERR wrong number of arguments for 'config|set' command".to_owned());
        };
        let shown = String::from_utf8_lossy(name).into_owned();
        let name = shown.to_ascii_lowercase();
        let value = String::from_utf8_lossy(value).into_owned();
        let Some(place) = PARAMETERS.iter().position(|parameter| parameter.name == name) else {
            return Err(format!(
                "ERR Unknown option or number of arguments for CONFIG SET - '{shown}'"
            ));
        };
        let parameter = &PARAMETERS[place];
        if std::mem::replace(&mut named[place], true) {
            return Err(failed(&name, "duplicate parameter"));
        }
        // To set what is there already is no change.
        if (parameter.read)(service) == value {
            continue;
        }
        (parameter.check)(service, &value).map_err(|why| failed(&name, &why))?;
        if parameter.write.is_none() {
            return Err(failed(&name, "can't set immutable config"));
        }
        changes.push((parameter, value));
    }
    Ok(changes)
}

fn failed(name: &str, why: &str) -> String {
    format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {why}")
}

pub(super) fn set(call: &mut Call<'_, '_>) -> Flow {
    let service = call.service;
    let _changing = service.tunables.changing.lock();
    match changes(service, &call.words[2..]).and_then(|changes| make(service, &changes)) {
        Ok(()) => call.reply.ok(),
        Err(text) => call.reply.error(&text),
    }
    Flow::Continue
}

/// Makes all changes, or none: where one fails, those before it are taken back.
fn make(service: &Service, changes: &[(&'static Parameter, String)]) -> Result<(), String> {
    let mut made: Vec<(Change, String)> = Vec::new();
    for (parameter, value) in changes {
        let Some(write) = parameter.write else { continue };
        let before = (parameter.read)(service);
        if let Err(why) = write(service, value) {
            for (write, before) in made.into_iter().rev() {
                // It was in force a moment ago.
                let _ = write(service, &before);
            }
            return Err(failed(parameter.name, &why));
        }
        made.push((write, before));
    }
    Ok(())
}

pub(super) fn resetstat(call: &mut Call<'_, '_>) -> Flow {
    let service = call.service;
    crate::commands::settle(service, call.session);
    let mut base = Base {
        commands: service.counters.commands.load(Relaxed),
        errors: service.counters.errors.load(Relaxed),
        ..Base::default()
    };
    for cache in &service.caches {
        let stats = cache.cache().stats();
        base.expired += stats.expired;
        base.evicted += stats.evicted;
        base.hits += stats.hits;
        base.misses += stats.misses;
    }
    *service.tunables.base.lock() = base;
    service.counters.calls.reset();
    call.reply.ok();
    Flow::Continue
}

pub(super) fn rewrite(call: &mut Call<'_, '_>) -> Flow {
    call.error("ERR The server is running without a config file that it may write")
}

pub(super) fn help(call: &mut Call<'_, '_>) -> Flow {
    call.help(&[
        "GET <pattern>",
        "    Return parameters matching the glob-like <pattern> and their values.",
        "SET <directive> <value>",
        "    Set the configuration <directive> to <value>.",
        "RESETSTAT",
        "    Reset statistics reported by the INFO command.",
        "REWRITE",
        "    Rewrite the configuration file.",
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    #[test]
    fn what_was_changed_is_taken_back_where_a_later_change_fails() {
        let service = Service::try_new(Settings::default(), 1).unwrap();
        let found = |name: &str| PARAMETERS.iter().find(|it| it.name == name).unwrap();
        const FAILING: Parameter =
            tunable("failing", |_| no(), |_, _| Err("no".to_owned()), |_, _| Ok(()));
        let changes = [
            (found("maxmemory"), "10485760".to_owned()),
            (found("timeout"), "7".to_owned()),
            (&FAILING, "yes".to_owned()),
            (found("maxclients"), "5".to_owned()),
        ];
        let why = make(&service, &changes).unwrap_err();
        assert_eq!(why, "ERR CONFIG SET failed (possibly related to argument 'failing') - no");
        let now = ["maxmemory", "timeout", "maxclients"].map(|name| (found(name).read)(&service));
        assert_eq!(now, ["268435456", "0", "10000"]);
        assert_eq!(make(&service, &changes[..2]), Ok(()));
        assert_eq!((found("timeout").read)(&service), "7");
    }
}
