//! Who makes room, as a client sees it.

use std::sync::Arc;

use crate::clients::Peer;
use crate::commands::{Session, execute, settle};
use crate::service::Service;
use crate::settings::{CacheSettings, Settings};

struct Bench(Arc<Service>, Session);

impl Bench {
    fn new() -> Self {
        Self::with(vec![CacheSettings::default()])
    }

    fn with(caches: Vec<CacheSettings>) -> Self {
        let service = Service::try_new(Settings { caches, ..Settings::default() }, 1).unwrap();
        let client = service.clients.admit(Peer::Unix, "unix".to_owned(), 0).unwrap();
        let session = Session::new(client, &service);
        Self(service, session)
    }

    fn run(&mut self, line: &str) -> String {
        let words: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
        let mut out = Vec::new();
        execute(&self.0, &mut self.1, &words, &mut out);
        settle(&self.0, &mut self.1);
        self.1.client.collect(&mut out);
        String::from_utf8_lossy(&out).replace("\r\n", " ").trim_end().to_owned()
    }

    fn expect(&mut self, cases: &[(&str, &str)]) {
        for &(line, reply) in cases {
            assert_eq!(self.run(line), reply, "{line}");
        }
    }

    /// The value of a setting.
    fn setting(&mut self, name: &str) -> String {
        let reply = self.run(&format!("CONFIG GET {name}"));
        reply.rsplit(' ').next().unwrap_or_default().to_owned()
    }

    /// Leaves room for `bytes` more than is held now.
    fn leave(&mut self, bytes: u64) {
        let bound = self.0.caches[0].cache().weight() + bytes;
        assert_eq!(self.run(&format!("CONFIG SET maxmemory {bound}")), "+OK");
    }
}

const NO_ROOM: &str = "-OOM command not allowed when used memory > 'maxmemory'.";

#[test]
fn where_nothing_is_evicted_what_needs_room_is_refused() {
    let mut bench = Bench::new();
    bench.expect(&[
        ("CONFIG SET maxmemory-policy noeviction", "+OK"),
        ("SET a 1", "+OK"),
        ("SET b 1 EX 1000", "+OK"),
        ("CONFIG SET maxmemory 1", "+OK"),
        ("SET c 1", NO_ROOM),
        ("APPEND a 1", NO_ROOM),
        ("MGET a b c", "*3 $1 1 $1 1 $-1"),
        ("MULTI", "+OK"),
        ("SET c 1", NO_ROOM),
        ("EXEC", "-EXECABORT Transaction discarded because of previous errors."),
        ("DEL a", ":1"),
        ("CONFIG SET maxmemory 0", "+OK"),
        ("SET c 1", "+OK"),
    ]);
    // The bound leaves room for few of these, and none has gone.
    bench.leave(200);
    let replies: Vec<String> = (0..1000).map(|it| bench.run(&format!("SET k{it} v"))).collect();
    assert_eq!((replies[0].as_str(), replies[999].as_str()), ("+OK", NO_ROOM));
    let stored = replies.iter().filter(|reply| *reply == "+OK").count();
    assert_eq!(bench.run("DBSIZE"), format!(":{}", stored + 2));
}

#[test]
fn only_what_will_end_is_evicted() {
    for policy in ["volatile-random", "volatile-ttl"] {
        let mut bench = Bench::new();
        bench.run("CONFIG SET notify-keyspace-events Ee");
        bench.run(&format!("CONFIG SET maxmemory-policy {policy}"));
        for number in 0..300 {
            bench.run(&format!("SET stays{number} v"));
        }
        bench.expect(&[("SET late v EX 9000", "+OK"), ("SET soon v EX 1000", "+OK")]);
        bench.leave(0);
        // One of the two makes room for it; its own bytes overrun the bound until the next command.
        assert_eq!(bench.run("SET x v"), "+OK");
        let left = bench.run("EXISTS late soon");
        assert_eq!(left, ":1", "{policy}");
        if policy == "volatile-ttl" {
            assert_eq!(bench.run("EXISTS late"), ":1");
        }
        bench.leave(0);
        assert_eq!(bench.run("SET y v"), "+OK");
        assert_eq!(bench.run("EXISTS late soon"), ":0", "{policy}");
        // What the second one took makes room for one more value, and nothing else may go.
        assert_eq!(bench.run("SET z v"), "+OK");
        assert_eq!(bench.run("SET n v"), NO_ROOM, "{policy}");
        assert_eq!(bench.run("DBSIZE"), ":303", "{policy}");
        let stats = bench.0.caches[0].stats();
        assert_eq!((stats.evicted, stats.evicted_natively, stats.removed), (2, 2, 0));
        assert!(bench.run("INFO stats").contains("evicted_keys:2 "));
    }
}

#[test]
fn an_eviction_is_told_before_the_reply() {
    let mut bench = Bench::new();
    for line in ["HELLO 3", "CLIENT TRACKING on", "CONFIG SET maxmemory-policy volatile-random"] {
        bench.run(line);
    }
    bench.run("SETEX volatile 10000 x");
    bench.run("GET volatile");
    bench.leave(100 << 10);
    assert_eq!(bench.run("SETBIT big 1600000 0"), ":0");
    assert_eq!(bench.run("GETBIT big 0"), ">2 $10 invalidate *1 $8 volatile :0");
    // The policy of the settings keeps what it has where it is left less than settings could.
    bench.expect(&[
        ("CONFIG SET maxmemory-policy allkeys-s3fifo", "+OK"),
        ("GETBIT big 0", ":0"),
        ("SET a 1", NO_ROOM),
        ("CONFIG SET maxmemory 0", "+OK"),
        ("SET a 1", "+OK"),
    ]);
}

#[test]
fn a_policy_of_the_server_takes_the_seat() {
    let mut bench = Bench::new();
    assert_eq!(bench.setting("maxmemory-policy"), "allkeys-s3fifo");
    bench.run("SET a 1");
    bench.run("CONFIG SET maxmemory-policy ALLKEYS-lru");
    assert_eq!(bench.setting("maxmemory-policy"), "allkeys-lru");
    let seat = bench.0.caches[0].cache().seat_status();
    assert_eq!((seat.desired.as_deref(), seat.previous.as_deref()), (Some("lru"), Some("s3fifo")));
    let swaps = bench.0.tallies.swaps();
    assert_eq!(swaps, [("default".to_owned(), "request", 1)]);
    assert_eq!(bench.run("GET a"), "$1 1");
    // Its bound holds however small it is.
    bench.run("CONFIG SET maxmemory 1");
    bench.expect(&[("EXISTS a", ":0"), ("SET a 1", NO_ROOM), ("CONFIG SET maxmemory 0", "+OK")]);
    bench.expect(&[("SET a 1", "+OK")]);
    for refused in ["allkeys-random", "volatile-lru", "volatile-lfu", "lru", "allkeys-"] {
        let said = bench.run(&format!("CONFIG SET maxmemory-policy {refused}"));
        let start = "-ERR CONFIG SET failed (possibly related to argument 'maxmemory-policy') - this \
                     server has noeviction, volatile-random, volatile-ttl, and allkeys-NAME with one of";
        assert!(said.starts_with(start), "{refused}: {said}");
    }
    assert_eq!(bench.setting("maxmemory-policy"), "allkeys-lru");
}

#[test]
fn settings_change_all_or_none_and_hidden_ones_show_by_name() {
    let mut bench = Bench::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let said = bench.run(&format!("CONFIG SET maxmemory 10mb port {port}"));
    let expected = "-ERR CONFIG SET failed (possibly related to argument 'port') - Unable to listen on \
                    this port. Check server logs.";
    assert_eq!(said, expected);
    assert_eq!(bench.setting("maxmemory"), "268435456");
    assert_eq!(bench.run("CONFIG GET key-load-delay"), "*2 $14 key-load-delay $1 0");
    assert!(!bench.run("CONFIG GET *").contains("key-load-delay"));
}

#[test]
fn a_policy_over_http_ends_what_clients_asked_for() {
    let mut bench = Bench::new();
    bench.run("CONFIG SET maxmemory-policy noeviction");
    let service = Arc::clone(&bench.0);
    let wanted = serde_json::from_value(serde_json::json!({"policy": "sieve"})).unwrap();
    let changed = service.change_policy(0, crate::tallies::SwapReason::Request, |keyspace| {
        service.policies.activate(keyspace, &wanted)
    });
    assert!(changed.is_ok());
    assert_eq!(bench.setting("maxmemory-policy"), "allkeys-sieve");
    assert_eq!(service.caches[0].cache().capacity(), 256 << 20);
}

#[test]
fn several_caches_keep_their_own() {
    let cache = |name: &str, databases: &[u8]| CacheSettings {
        name: name.to_owned(),
        databases: databases.to_vec(),
        ..CacheSettings::default()
    };
    let mut bench = Bench::with(vec![cache("a", &[0]), cache("b", &[1])]);
    for (line, why) in [
        ("CONFIG SET maxmemory-policy noeviction", "each with its own policy"),
        ("CONFIG SET maxmemory 10mb", "each with its own capacity"),
    ] {
        let said = bench.run(line);
        assert!(said.ends_with(why), "{said}");
    }
}
