//! Settings and statistics as a client sees them.

use std::sync::Arc;

use crate::clients::Peer;
use crate::commands::{Session, execute};
use crate::service::Service;
use crate::settings::Settings;

struct Bench(Arc<Service>, Session);

impl Bench {
    fn new() -> Self {
        let service = Service::try_new(Settings::default(), 1).unwrap();
        let client = service.clients.admit(Peer::Unix, "unix".to_owned(), 0).unwrap();
        let session = Session::new(client, &service);
        Self(service, session)
    }

    fn run(&mut self, line: &str) -> String {
        let words: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
        let mut out = Vec::new();
        execute(&self.0, &mut self.1, &words, &mut out);
        String::from_utf8_lossy(&out).replace("\r\n", " ").trim_end().to_owned()
    }
}

#[test]
fn settings_change_all_or_none() {
    let mut bench = Bench::new();
    assert_eq!(bench.run("CONFIG GET maxmemory"), "*2 $9 maxmemory $9 268435456");
    let refused = bench.run("CONFIG SET maxmemory 10mb daemonize yes");
    assert!(refused.ends_with("'daemonize') - can't set immutable config"), "{refused}");
    assert_eq!(bench.run("CONFIG GET maxmemory"), "*2 $9 maxmemory $9 268435456");
    let twice = bench.run("CONFIG SET maxmemory 10mb maxmemory 11mb");
    assert!(twice.ends_with("duplicate parameter"), "{twice}");
    assert_eq!(
        bench.run("CONFIG SET maxmemory 10mb save"),
        "-ERR wrong number of arguments for 'config|set' command"
    );
    assert_eq!(bench.run("CONFIG SET maxmemory 10mb appendonly no"), "+OK");
    assert_eq!(bench.run("CONFIG GET maxmemory"), "*2 $9 maxmemory $8 10485760");
}

#[test]
fn settings_are_checked_in_the_words_of_redis() {
    let mut bench = Bench::new();
    let cases = [
        ("maxmemory-clients 200%", "percentage argument must be less or equal to 100"),
        ("maxmemory-clients 50%", "can't set immutable config"),
        ("timeout -1", "argument must be between 0 and 2147483647 inclusive"),
        ("timeout soon", "argument couldn't be parsed into an integer"),
        ("maxclients 0", "argument must be between 1 and 1000000 inclusive"),
        ("proto-max-bulk-len 1kb", "argument must be between 1048576 and 536870912 inclusive"),
        ("proto-max-bulk-len x", "argument must be a memory value"),
        ("notify-keyspace-events Kq", "Invalid event class character. Use 'Ag$lshzxeKEtmdn'."),
    ];
    for (words, why) in cases {
        let name = words.split(' ').next().unwrap_or_default();
        let expected =
            format!("-ERR CONFIG SET failed (possibly related to argument '{name}') - {why}");
        assert_eq!(bench.run(&format!("CONFIG SET maxmemory 10mb {words}")), expected);
    }
    assert_eq!(bench.run("CONFIG GET maxmemory"), "*2 $9 maxmemory $9 268435456");
    assert_eq!(bench.run("CONFIG SET proto-max-bulk-len 2mb timeout 7"), "+OK");
    assert_eq!(bench.run("CONFIG GET timeout"), "*2 $7 timeout $1 7");
}

#[test]
fn what_is_over_and_what_will_be_are_told_apart() {
    let mut bench = Bench::new();
    for line in ["SET a 1 EX 1000", "SET b 1", "SET c 1 PX 1"] {
        assert_eq!(bench.run(line), "+OK");
    }
    let gone = || bench.0.caches[0].version(b"\0c").is_none();
    while !gone() {
        std::thread::yield_now();
    }
    assert_eq!(bench.run("DBSIZE"), ":2");
    assert!(bench.run("INFO keyspace").contains("db0:keys=2,expires=1,avg_ttl=99"));
}

#[test]
fn calls_and_errors_are_counted() {
    let mut bench = Bench::new();
    for line in ["SET a 1", "GET a", "GET b", "GET", "NOPE", "INCRBY a x"] {
        bench.run(line);
    }
    let all = bench.run("INFO everything");
    let fields = [
        "cmdstat_get:calls=2,",
        "cmdstat_set:calls=1,",
        "errorstat_ERR:count=3",
        "keyspace_hits:",
        "db0:keys=1,expires=0,avg_ttl=0",
        "redis_version:7.4.0",
        "role:master",
    ];
    for field in fields {
        assert!(all.contains(field), "{field} in {all}");
    }
    bench.run("CONFIG RESETSTAT");
    assert!(!bench.run("INFO commandstats").contains("cmdstat_get"));
}

#[test]
fn the_table_of_commands_is_told() {
    let mut bench = Bench::new();
    assert_eq!(bench.run("COMMAND GETKEYS MSET a 1 b 2"), "*2 $1 a $1 b");
    assert_eq!(bench.run("COMMAND INFO nope shutdown"), "*2 *-1 *-1");
    assert!(bench.run("COMMAND DOCS get").starts_with("*2 $3 get *6 $7 summary"));
    assert_eq!(bench.run("FUNCTION FLUSH"), "+OK");
}
