//! Tables of commands and the answers of Redis 7.0.15.

use super::*;
use crate::commands::rows;
use crate::settings::{CacheSettings, Limits};

const TIME_OF_SET: &str = "-ERR invalid expire time in 'set' command";
const NOT_AN_INTEGER: &str = "-ERR value is not an integer or out of range";

#[test]
fn values_are_set_and_read() {
    expect(&[
        ("get x", "$-1"),
        ("SET x foobar", "+OK"),
        ("GeT x", "$6 foobar"),
        ("set x ''", "+OK"),
        ("get x", "$0"),
        ("getset x new", "$0"),
        ("getset y first", "$-1"),
        ("getdel y", "$5 first"),
        ("getdel y", "$-1"),
        ("mset a 1 b 2", "+OK"),
        ("mget a none b", "*3 $1 1 $-1 $1 2"),
        ("msetnx c 1 a 9", ":0"),
        ("exists c", ":0"),
        ("msetnx c 1 c 2", ":1"),
        ("get c", "$1 2"),
        ("mset a 1 b", "-ERR wrong number of arguments for 'mset' command"),
        ("msetnx a 1 b", "-ERR wrong number of arguments for 'msetnx' command"),
        ("setnx a 5", ":0"),
        ("setnx d 5", ":1"),
        ("strlen x", ":3"),
        ("strlen none", ":0"),
    ]);
    expect_resp3(&[("get x", "_"), ("set x 1 xx", "_"), ("mget x", "*1 _"), ("set x 1 get", "_")]);
}

#[test]
fn set_knows_its_options() {
    expect(&[
        ("set foo 1 nx", "+OK"),
        ("set foo 2 NX", "$-1"),
        ("set foo 2 xx", "+OK"),
        ("set none 2 xx", "$-1"),
        ("set foo 3 GET", "$1 2"),
        ("set foo 4 nx get", "$1 3"),
        ("get foo", "$1 3"),
        ("set none 4 xx get", "$-1"),
        ("set foo 5 nx xx", "-ERR syntax error"),
        ("set foo 5 bar", "-ERR syntax error"),
        ("set foo 5 ex", "-ERR syntax error"),
        ("set foo 5 ex 10 px 10", "-ERR syntax error"),
        ("set foo 5 ex 10 keepttl", "-ERR syntax error"),
        ("set foo 5 persist", "-ERR syntax error"),
        ("set foo 5 ex 0", TIME_OF_SET),
        ("set foo 5 EX 10000000000000000", TIME_OF_SET),
        ("set foo 5 px -1", TIME_OF_SET),
        ("set foo 5 ex x", NOT_AN_INTEGER),
        ("setex foo 0 5", "-ERR invalid expire time in 'setex' command"),
        ("psetex foo -1 5", "-ERR invalid expire time in 'psetex' command"),
        ("set foo 5 ex 5 ex 100", "+OK"),
        ("ttl foo", ":100"),
        ("set foo 6 keepttl", "+OK"),
        ("ttl foo", ":100"),
        ("set foo 7", "+OK"),
        ("ttl foo", ":-1"),
        ("set foo 8 pxat 4102444800123", "+OK"),
        ("pexpiretime foo", ":4102444800123"),
        ("expiretime foo", ":4102444800"),
        ("getex foo persist", "$1 8"),
        ("ttl foo", ":-1"),
        ("getex foo exat 4102444800", "$1 8"),
        ("expiretime foo", ":4102444800"),
        ("getex foo keepttl", "-ERR syntax error"),
        ("getex none ex 0", "$-1"),
        ("getex foo ex 0", "-ERR invalid expire time in 'getex' command"),
        ("getex foo exat 1", "$1 8"),
        ("get foo", "$-1"),
        ("set foo 9 exat 1", "+OK"),
        ("exists foo", ":0"),
    ]);
}

#[test]
fn parts_of_values_are_read_and_written() {
    expect(&[
        ("append k foo", ":3"),
        ("append k bar", ":6"),
        ("append e ''", ":0"),
        ("exists e", ":1"),
        ("getrange k 1 -2", "$4 ooba"),
        ("substr k -3 100", "$3 bar"),
        ("getrange k 4 2", "$0"),
        ("getrange none 0 -1", "$0"),
        ("getrange k 0 x", NOT_AN_INTEGER),
        ("setrange k 1 OO", ":6"),
        ("get k", "$6 fOObar"),
        ("setrange k 8 !", ":9"),
        ("get k", "$9 fOObar\0\0!"),
        ("setrange none 5 ''", ":0"),
        ("exists none", ":0"),
        ("setrange k -1 x", "-ERR offset is out of range"),
        (
            "setrange k 9223372036854775807 x",
            "-ERR string exceeds maximum allowed size (proto-max-bulk-len)",
        ),
        ("set t v ex 100", "+OK"),
        ("append t w", ":2"),
        ("setrange t 0 x", ":2"),
        ("setbit t 0 0", ":0"),
        ("ttl t", ":100"),
    ]);
}

#[test]
fn bits_are_set_counted_and_found() {
    expect(&[
        ("setbit k 1 1", ":0"),
        ("get k", "$1 @"),
        ("setbit k 1 1", ":1"),
        ("getbit k 1", ":1"),
        ("getbit k 10000", ":0"),
        ("setbit k 4294967296 1", "-ERR bit offset is not an integer or out of range"),
        ("setbit k 1 2", "-ERR bit is not an integer or out of range"),
        ("set f foobar", "+OK"),
        ("bitcount f", ":26"),
        ("bitcount f 1 1", ":6"),
        ("bitcount f 5 30 bit", ":17"),
        ("bitcount f 0", "-ERR syntax error"),
        ("bitcount none 0 0 x", ":0"),
        ("bitpos f 1", ":1"),
        ("bitpos f 0 1", ":8"),
        ("bitpos f 1 2 -1", ":17"),
        ("bitpos none 0", ":0"),
        ("bitpos none 1", ":-1"),
        ("bitpos none 1 x", "-ERR value is not an integer or out of range"),
        ("bitpos none 1 0 1 x", "-ERR syntax error"),
        ("bitpos none 0 5 6", ":0"),
        ("bitpos f 2", "-ERR The bit argument must be 1 or 0."),
    ]);
    let mut bench = Bench::new();
    bench.reply(&[b"set", b"ones", b"\xff\xff"]);
    bench.expect(&[("bitpos ones 0", ":16"), ("bitpos ones 0 0 -1", ":-1")]);
}

#[test]
fn longest_subsequences_are_those_of_redis() {
    expect(&[
        ("mset a ohmytext b mynewtext", "+OK"),
        ("lcs a b", "$6 mytext"),
        ("lcs a b len", ":6"),
        ("lcs a b idx", "*4 $7 matches *2 *2 *2 :4 :7 *2 :5 :8 *2 *2 :2 :3 *2 :0 :1 $3 len :6"),
        (
            "lcs a b idx minmatchlen 4 withmatchlen",
            "*4 $7 matches *1 *3 *2 :4 :7 *2 :5 :8 :4 $3 len :6",
        ),
        ("lcs a b idx len", "-ERR If you want both the length and indexes, please just use IDX."),
        ("lcs a none", "$0"),
        ("lcs a b foo", "-ERR syntax error"),
    ]);
    expect_resp3(&[("lcs a b idx", "%2 $7 matches *0 $3 len :0")]);
}

#[test]
fn numbers_are_counted_up_and_down() {
    expect(&[
        ("incr n", ":1"),
        ("incrby n 41", ":42"),
        ("decr n", ":41"),
        ("decrby n 42", ":-1"),
        ("incrby n x", NOT_AN_INTEGER),
        ("decrby n -9223372036854775808", "-ERR decrement would overflow"),
        ("set n 9223372036854775807", "+OK"),
        ("incr n", "-ERR increment or decrement would overflow"),
        ("set n 1a", "+OK"),
        ("incr n", NOT_AN_INTEGER),
        ("incrbyfloat n 1", "-ERR value is not a valid float"),
        ("set n 1.1 ex 100", "+OK"),
        ("incrbyfloat n 0.1", "$3 1.2"),
        ("ttl n", ":100"),
        ("incrbyfloat n x", "-ERR value is not a valid float"),
        ("incrbyfloat n inf", "-ERR increment would produce NaN or Infinity"),
        ("incrbyfloat m 3.0e3", "$4 3000"),
    ]);
}

#[test]
fn ends_are_moved_and_told() {
    expect(&[
        ("ttl k", ":-2"),
        ("expire k 10", ":0"),
        ("set k v", "+OK"),
        ("pttl k", ":-1"),
        ("expire k 100", ":1"),
        ("ttl k", ":100"),
        ("expire k 200 nx", ":0"),
        ("expire k 200 GT", ":1"),
        ("expire k 300 lt", ":0"),
        ("persist k", ":1"),
        ("persist k", ":0"),
        ("expire k 10 xx", ":0"),
        ("expire k 10 gt lt", "-ERR GT and LT options at the same time are not compatible"),
        (
            "expire k 10 nx gt",
            "-ERR NX and XX, GT or LT options at the same time are not compatible",
        ),
        ("expire k 10 XX Ab", "-ERR Unsupported option Ab"),
        ("expire k ''", NOT_AN_INTEGER),
        ("expire k 9223370399119966", "-ERR invalid expire time in 'expire' command"),
        ("expire k -9223372036854776", "-ERR invalid expire time in 'expire' command"),
        ("pexpire k 9223372036854770000", "-ERR invalid expire time in 'pexpire' command"),
        ("pexpireat k 9223372036854770000", ":1"),
        ("pexpireat k -9223372036854770000", ":1"),
        ("exists k", ":0"),
    ]);
}

#[test]
fn keys_are_counted_moved_and_removed() {
    expect(&[
        ("mset a 1 b 2 c 3", "+OK"),
        ("exists a a none", ":2"),
        ("touch a none", ":1"),
        ("type a", "+string"),
        ("type none", "+none"),
        ("dbsize", ":3"),
        ("del a none b", ":2"),
        ("unlink c", ":1"),
        ("dbsize", ":0"),
        ("set a v ex 100", "+OK"),
        ("set b w ex 200", "+OK"),
        ("rename a b", "+OK"),
        ("get b", "$1 v"),
        ("ttl b", ":100"),
        ("rename a b", "-ERR no such key"),
        ("renamenx b b", ":0"),
        ("rename b b", "+OK"),
        ("set c x", "+OK"),
        ("renamenx c b", ":0"),
        ("copy b c", ":0"),
        ("copy b c replace", ":1"),
        ("ttl c", ":100"),
        ("copy b b", "-ERR source and destination objects are the same"),
        ("copy b b db 3", ":1"),
        ("copy b b db 16", "-ERR DB index is out of range"),
        ("copy b b db x", NOT_AN_INTEGER),
        ("copy b d foo", "-ERR syntax error"),
        ("move b 3", ":0"),
        ("move c 3", ":1"),
        ("exists c", ":0"),
        ("move c 0", "-ERR source and destination objects are the same"),
        ("select 3", "+OK"),
        ("dbsize", ":2"),
        ("ttl c", ":100"),
        ("flushdb", "+OK"),
        ("flushdb now", "-ERR syntax error"),
        ("dbsize", ":0"),
        ("select 0", "+OK"),
        ("dbsize", ":1"),
        ("flushall async", "+OK"),
        ("dbsize", ":0"),
        ("randomkey", "$-1"),
    ]);
}

#[test]
fn the_books_answer() {
    expect(&[
        ("set i 12345678901234567890", "+OK"),
        ("object encoding i", "$6 embstr"),
        ("set i -7", "+OK"),
        ("object encoding i", "$3 int"),
        ("object encoding none", "$-1"),
        ("object refcount i", ":1"),
        ("object freq i", ":1"),
        ("object idletime i", ":0"),
        ("object foo i", "-ERR unknown subcommand 'foo'. Try OBJECT HELP."),
        ("memory usage i", ":128"),
        ("memory usage i samples 5", ":128"),
        ("memory usage i samples -1", "-ERR syntax error"),
        ("memory usage none", "$-1"),
        ("memory purge", "+OK"),
    ]);
    let mut bench = Bench::new();
    let long = "x".repeat(45);
    bench.run(&["set", "k", &long]);
    assert_eq!(bench.line("object encoding k"), "$3 raw");
    assert!(bench.line("object help").starts_with("*13 +OBJECT <subcommand> [<arg> [value]"));
    assert!(bench.line("memory stats").starts_with("*14 $15 total.allocated :160 "));
}

/// The words of an array of bulk strings without spaces.
fn words_of(reply: &str) -> Vec<String> {
    reply.split(' ').skip(1).filter(|word| !word.starts_with('$')).map(str::to_owned).collect()
}

/// All keys that a walk with `SCAN` and these options shows.
fn scanned(bench: &mut Bench, options: &str) -> Vec<String> {
    let (mut cursor, mut keys) = ("0".to_owned(), Vec::new());
    loop {
        let reply = bench.line(&format!("scan {cursor} {options}"));
        let mut words = words_of(&reply);
        cursor = words.remove(0);
        keys.extend(words.into_iter().filter(|word| !word.starts_with('*')));
        if cursor == "0" {
            break;
        }
    }
    keys.sort_unstable();
    keys.dedup();
    keys
}

#[test]
fn walks_show_every_key_of_their_database() {
    let mut bench = Bench::new();
    bench.line("select 7");
    for number in 0..3000 {
        bench.line(&format!("set other:{number} x"));
    }
    bench.line("select 0");
    for number in 0..1000 {
        bench.line(&format!("set key:{number} x"));
    }
    for (options, count) in [
        ("", 1000),
        ("count 5", 1000),
        ("count 100000", 1000),
        ("match key:1??", 100),
        ("type string match key:* count 10", 1000),
        ("type list", 0),
        ("match other:*", 0),
    ] {
        assert_eq!(scanned(&mut bench, options).len(), count, "{options}");
    }
    assert!(bench.line("keys *").starts_with("*1000 "));
    let mut found = words_of(&bench.line("keys key:?"));
    found.sort_unstable();
    assert_eq!(found, (0..10).map(|number| format!("key:{number}")).collect::<Vec<_>>());
    for _ in 0..100 {
        assert!(bench.line("randomkey").contains("key:"));
    }
    bench.expect(&[
        ("scan x", "-ERR invalid cursor"),
        ("scan 0 count 0", "-ERR syntax error"),
        ("scan 0 count x", NOT_AN_INTEGER),
        ("scan 0 count", "-ERR syntax error"),
        ("scan 18446744073709551615", "*2 $1 0 *0"),
    ]);
}

#[test]
fn a_random_key_is_any_of_few() {
    let mut bench = Bench::new();
    bench.line("mset a 1 b 2");
    let seen: std::collections::BTreeSet<String> =
        (0..200).map(|_| bench.line("randomkey")).collect();
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["$1 a", "$1 b"]);
}

#[test]
fn what_is_too_large_is_refused_and_changes_nothing() {
    let cache = CacheSettings { capacity_bytes: 64 << 10, shards: Some(1), ..Default::default() };
    let limits = Limits { bulk_bytes_max: 1 << 20, ..Limits::default() };
    let mut bench = Bench::with(Settings { caches: vec![cache], limits, ..Settings::default() });
    let (large, no_room) =
        ("x".repeat(70_000), "-OOM command not allowed when used memory > 'maxmemory'.");
    bench.line("set k v");
    for words in [
        &["set", "k", &large][..],
        &["set", "k", &large, "keepttl"],
        &["setex", "k", "10", &large],
        &["getset", "k", &large],
        &["setnx", "new", &large],
        &["mset", "a", "1", "k", &large],
        &["append", "k", &large],
        &["append", "new", &large],
        &["setrange", "k", "70000", "x"],
        &["setbit", "k", "560000", "1"],
    ] {
        assert_eq!(bench.run(words), no_room, "{}", words[0]);
    }
    bench.expect(&[
        ("setrange k 1048576 x", "-ERR string exceeds maximum allowed size (proto-max-bulk-len)"),
        ("get k", "$1 v"),
        ("dbsize", ":1"),
    ]);
}

#[test]
fn long_values_come_back_whole() {
    let mut bench = Bench::new();
    for len in [0, 1, (16 << 10) - 1, 16 << 10, (16 << 10) + 1, 1 << 20] {
        let value = "abcd".repeat(len / 4 + 1);
        let value = &value[..len];
        assert_eq!(bench.run(&["set", "k", value]), "+OK");
        let expected = format!("${len} {value}");
        assert_eq!(bench.run(&["get", "k"]), expected.trim_end());
        assert_eq!(bench.run(&["getrange", "k", "0", "-1"]), expected.trim_end());
    }
}

/// Whatever the words: an answer, and the server goes on.
#[test]
fn no_command_breaks_on_odd_words() {
    let fillers: [&[u8]; 6] = [b"", b"k", b"-1", b"9223372036854775807", b"\xff\0", b"*"];
    let groups = ["string", "generic", "bitmap"];
    let mut bench = Bench::new();
    for row in rows().iter().filter(|row| groups.contains(&row.command.group)) {
        let mut names: Vec<&[u8]> = row.command.name.split('|').map(str::as_bytes).collect();
        let least = row.command.arity.unsigned_abs() as usize;
        for filler in fillers {
            bench.line("set k 1");
            names.resize(least.max(names.len()), filler);
            names[row.command.name.split('|').count()..].fill(filler);
            for extra in 0..4 {
                let mut words = names.clone();
                words.extend(std::iter::repeat_n(filler, extra));
                let reply = bench.reply(&words);
                assert!(reply.ends_with(b"\r\n"), "{}", row.command.name);
            }
        }
    }
}
