//! Conversations over a stream in memory, with a clock that runs when nothing else does.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;

use super::{BATCH_COMMANDS_MAX, Connection, STALL_MAX};
use crate::clients::{Client, Peer};
use crate::resp::front::Front;
use crate::service::Service;
use crate::settings::{CacheSettings, Limits, Settings};

/// A server without sockets, and what clients do to it.
struct Bench {
    front: Arc<Front>,
}

impl Bench {
    fn new(limits: Limits) -> Self {
        let cache =
            CacheSettings { policy: "native:s3fifo".to_owned(), ..CacheSettings::default() };
        let settings = Settings { limits, caches: vec![cache], ..Settings::default() };
        let service = Service::try_new(settings, 1);
        Self { front: Arc::new(Front::new(service.expect("the settings are valid"))) }
    }

    /// A conversation through a pipe of `pipe_bytes` each way.
    fn connect(&self, pipe_bytes: usize) -> (DuplexStream, Arc<Client>, JoinHandle<()>) {
        let (near, far) = duplex(pipe_bytes);
        let front = Arc::clone(&self.front);
        let client = front.service().clients.admit(Peer::Unix, String::new(), 0);
        let client = client.expect("there is room");
        let talking = Arc::clone(&client);
        let talk =
            tokio::spawn(async move { Connection::new(&front, talking, far, 0).run().await });
        (near, client, talk)
    }

    fn slow_clients(&self) -> u64 {
        self.front.service().counters.slow_clients.load(Relaxed)
    }
}

async fn read_exactly(stream: &mut DuplexStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).await.expect("the server answers");
    bytes
}

async fn read_all(stream: &mut DuplexStream) -> String {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.expect("the server ends");
    String::from_utf8(bytes).expect("text")
}

#[tokio::test(start_paused = true)]
async fn it_answers_in_order_however_the_bytes_come() {
    let bench = Bench::new(Limits::default());
    let (mut stream, _, talk) = bench.connect(64);
    for byte in b"*2\r\n$4\r\nECHO\r\n$5\r\nhello\r\nPING\r\n" {
        stream.write_all(&[*byte]).await.expect("the server reads");
        tokio::task::yield_now().await;
    }
    assert_eq!(read_exactly(&mut stream, 18).await, b"$5\r\nhello\r\n+PONG\r\n");
    stream.shutdown().await.expect("the pipe closes");
    assert_eq!(read_all(&mut stream).await, "");
    talk.await.expect("no panic");
    assert!(bench.front.service().clients.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_came_before_the_end_is_answered() {
    let bench = Bench::new(Limits::default());
    let (mut stream, _, talk) = bench.connect(1 << 20);
    let count = 3 * BATCH_COMMANDS_MAX;
    stream.write_all(&b"PING\r\n".repeat(count)).await.expect("the pipe is large");
    stream.shutdown().await.expect("the pipe closes");
    assert_eq!(read_all(&mut stream).await, "+PONG\r\n".repeat(count));
    talk.await.expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn a_long_batch_does_not_starve_others() {
    let bench = Bench::new(Limits::default());
    let (mut greedy, _, _talk) = bench.connect(1 << 20);
    let (mut modest, _, _other) = bench.connect(1 << 10);
    greedy.write_all(&b"PING\r\n".repeat(8 * BATCH_COMMANDS_MAX)).await.expect("the pipe is large");
    modest.write_all(b"PING\r\n").await.expect("the pipe is large");
    assert_eq!(read_exactly(&mut modest, 7).await, b"+PONG\r\n");
    let commands = bench.front.service().counters.commands.load(Relaxed);
    let bound = 4 * BATCH_COMMANDS_MAX as u64;
    assert!(commands < bound, "the greedy one ran {commands} commands first");
}

#[tokio::test(start_paused = true)]
async fn quit_ends_it_after_its_reply() {
    let bench = Bench::new(Limits::default());
    let (mut stream, _, talk) = bench.connect(1 << 10);
    stream.write_all(b"PING\r\nQUIT\r\nPING\r\n").await.expect("the pipe is large");
    assert_eq!(read_all(&mut stream).await, "+PONG\r\n+OK\r\n");
    talk.await.expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn who_breaks_the_protocol_is_told_and_cut_off() {
    let bench = Bench::new(Limits::default());
    let (mut stream, _, talk) = bench.connect(1 << 10);
    stream.write_all(b"PING\r\n*1\r\nfoo\r\nPING\r\n").await.expect("the pipe is large");
    let expected = "+PONG\r\n-ERR Protocol error: expected '$', got 'f'\r\n";
    assert_eq!(read_all(&mut stream).await, expected);
    drop(stream);
    talk.await.expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn who_does_not_listen_is_cut_off() {
    let bench = Bench::new(Limits::default());
    let (mut stream, _, talk) = bench.connect(16);
    let started = tokio::time::Instant::now();
    stream.write_all(b"PING\r\nPING\r\nPING\r\nPING\r\n").await.expect("the server reads");
    talk.await.expect("no panic");
    assert!(started.elapsed() >= STALL_MAX);
    assert_eq!(bench.slow_clients(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_asks_without_listening_stops_itself_and_loses_nothing() {
    let limits = Limits { output_bytes_max: 2 << 20, ..Limits::default() };
    let bench = Bench::new(limits);
    let (stream, _, talk) = bench.connect(1 << 10);
    let (mut from, mut to) = tokio::io::split(stream);
    let word = "x".repeat(100_000);
    let request = format!("*2\r\n$4\r\nECHO\r\n$100000\r\n{word}\r\n");
    let asking = tokio::spawn(async move {
        for _ in 0..60 {
            to.write_all(request.as_bytes()).await.expect("the server reads in the end");
        }
        to.shutdown().await.expect("the pipe closes");
    });
    // The clock runs only once everybody waits for somebody else.
    tokio::time::sleep(STALL_MAX / 2).await;
    assert!(!asking.is_finished(), "six megabytes are more than the server may keep");
    let mut replies = Vec::new();
    from.read_to_end(&mut replies).await.expect("the server answers");
    assert_eq!(replies, format!("$100000\r\n{word}\r\n").repeat(60).as_bytes());
    asking.await.expect("no panic");
    talk.await.expect("no panic");
    assert_eq!(bench.slow_clients(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_is_silent_is_cut_off_where_that_is_set() {
    let idle_timeout = Duration::from_secs(300);
    let bench = Bench::new(Limits { idle_timeout, ..Limits::default() });
    let (mut stream, _, talk) = bench.connect(64);
    let started = tokio::time::Instant::now();
    tokio::time::sleep(Duration::from_secs(200)).await;
    stream.write_all(b"PING\r\n").await.expect("the server reads");
    assert_eq!(read_all(&mut stream).await, "+PONG\r\n");
    talk.await.expect("no panic");
    assert_eq!(started.elapsed().as_secs(), 500);
    assert_eq!(bench.slow_clients(), 0);
}

#[tokio::test(start_paused = true)]
async fn messages_out_of_turn_are_sent_and_bounded() {
    let bench = Bench::new(Limits { output_bytes_max: 100, ..Limits::default() });
    let (mut stream, client, talk) = bench.connect(1 << 10);
    client.post(b"+one\r\n");
    client.post(b"+two\r\n");
    assert_eq!(read_exactly(&mut stream, 12).await, b"+one\r\n+two\r\n");
    client.post(&[b'x'; 101]);
    assert_eq!(read_all(&mut stream).await, "");
    talk.await.expect("no panic");
    assert_eq!(bench.slow_clients(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stop_answers_what_has_come() {
    let bench = Bench::new(Limits::default());
    let (mut stream, _, talk) = bench.connect(1 << 20);
    stream.write_all(&b"PING\r\n".repeat(3_000)).await.expect("the pipe is large");
    // The bytes are with the server once it has answered one of them.
    assert_eq!(read_exactly(&mut stream, 7).await, b"+PONG\r\n");
    bench.front.drain();
    assert_eq!(read_all(&mut stream).await, "+PONG\r\n".repeat(2_999));
    talk.await.expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn a_pause_holds_writes_back_and_nothing_else() {
    let bench = Bench::new(Limits::default());
    let (mut writer, _, writing) = bench.connect(1 << 10);
    let (mut other, _, talking) = bench.connect(1 << 10);
    let start = tokio::time::Instant::now();
    other.write_all(b"CLIENT PAUSE 100 WRITE\r\nGET a\r\n").await.expect("the server reads");
    assert_eq!(read_exactly(&mut other, 10).await, b"+OK\r\n$-1\r\n");
    writer.write_all(b"GET a\r\nSET a 1\r\nGET a\r\n").await.expect("the server reads");
    assert_eq!(read_exactly(&mut writer, 5).await, b"$-1\r\n");
    while bench.front.service().pause.waiting() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(read_exactly(&mut writer, 12).await, b"+OK\r\n$1\r\n1\r\n");
    assert!(start.elapsed() >= Duration::from_millis(100));
    other.write_all(b"CLIENT PAUSE 1000000\r\nGET a\r\n").await.expect("the server reads");
    assert_eq!(read_exactly(&mut other, 5).await, b"+OK\r\n");
    writer.write_all(b"CLIENT UNPAUSE\r\n").await.expect("the server reads");
    assert_eq!(read_exactly(&mut writer, 5).await, b"+OK\r\n");
    assert_eq!(read_exactly(&mut other, 7).await, b"$1\r\n1\r\n");
    assert!(start.elapsed() < Duration::from_millis(500));
    drop((writer, other));
    writing.await.expect("no panic");
    talking.await.expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn settings_reach_connections_that_are_there() {
    let bench = Bench::new(Limits::default());
    let (mut silent, _, silence) = bench.connect(1 << 10);
    let (mut other, _, talking) = bench.connect(1 << 10);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let lines: &[u8] = b"CONFIG SET timeout 5 proto-max-bulk-len 1mb maxclients 3\r\n";
    other.write_all(lines).await.expect("the server reads");
    assert_eq!(read_exactly(&mut other, 5).await, b"+OK\r\n");
    let start = tokio::time::Instant::now();
    other.write_all(b"*2\r\n$3\r\nGET\r\n$1048577\r\n").await.expect("the server reads");
    assert_eq!(read_all(&mut other).await, "-ERR Protocol error: invalid bulk length\r\n");
    assert_eq!(read_all(&mut silent).await, "");
    assert!(start.elapsed() >= Duration::from_secs(5));
    assert_eq!(bench.front.service().clients.clients_max(), 3);
    drop(other);
    silence.await.expect("no panic");
    talking.await.expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn a_browser_runs_no_command_of_its_page() {
    let requests: [&[u8]; 4] = [
        b"POST / HTTP/1.1\r\nHost: 127.0.0.1:6379\r\nContent-Type: text/plain\r\n\
          Content-Length: 23\r\n\r\nSET a 1\r\nPUBLISH c evil\r\n",
        b"GET /?\r\nHost: 127.0.0.1:6379\r\nOrigin: http://evil.example\r\n\r\nSET a 1\r\n",
        b"PUT / HTTP/1.1\r\nhOsT: 127.0.0.1:6379\r\n\r\nSET a 1\r\n",
        b"*1\r\n$4\r\npost\r\nSET a 1\r\n",
    ];
    let bench = Bench::new(Limits::default());
    for request in requests {
        let (mut stream, _, talk) = bench.connect(1 << 16);
        stream.write_all(request).await.expect("the pipe is large");
        let replies = read_all(&mut stream).await;
        assert!(!replies.contains("+OK"), "{replies}");
        talk.await.expect("no panic");
    }
    let (mut stream, _, _talk) = bench.connect(1 << 10);
    stream.write_all(b"EXISTS a\r\nGET host:\r\n").await.expect("the pipe is large");
    assert_eq!(read_exactly(&mut stream, 9).await, b":0\r\n$-1\r\n");
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_too_much_at_once_is_cut_off() {
    let bench = Bench::new(Limits { output_bytes_max: 1 << 20, ..Limits::default() });
    let (mut owner, _, _talk) = bench.connect(1 << 20);
    let value = "x".repeat(200_000);
    let set = format!("*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n$200000\r\n{value}\r\n");
    owner.write_all(set.as_bytes()).await.expect("the pipe is large");
    assert_eq!(read_exactly(&mut owner, 5).await, b"+OK\r\n");
    let mget = format!("MGET{}\r\n", " big".repeat(1_000));
    let exec = format!("MULTI\r\n{}EXEC\r\n", "GET big\r\n".repeat(1_000));
    for (number, request) in [mget, exec].into_iter().enumerate() {
        let (mut greedy, _, talk) = bench.connect(1 << 16);
        greedy.write_all(request.as_bytes()).await.expect("the pipe is large");
        assert!(read_all(&mut greedy).await.len() < 1 << 20);
        talk.await.expect("no panic");
        assert_eq!(bench.slow_clients(), number as u64 + 1);
    }
    assert_eq!(bench.front.service().clients.held_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_listens_to_anything_may_be_silent() {
    let idle_timeout = Duration::from_secs(10);
    let bench = Bench::new(Limits { idle_timeout, ..Limits::default() });
    for line in ["SUBSCRIBE a\r\n", "PSUBSCRIBE a\r\n", "SSUBSCRIBE a\r\n"] {
        let (mut stream, _, talk) = bench.connect(1 << 10);
        stream.write_all(line.as_bytes()).await.expect("the pipe is large");
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert!(!talk.is_finished(), "{line}");
        drop(stream);
        talk.await.expect("no panic");
    }
}

#[tokio::test(start_paused = true)]
async fn who_takes_next_to_nothing_is_cut_off_too() {
    let bench = Bench::new(Limits::default());
    let (mut stream, _, talk) = bench.connect(1 << 10);
    let start = tokio::time::Instant::now();
    let request = format!("*2\r\n$4\r\nECHO\r\n$500000\r\n{}\r\n", "x".repeat(500_000));
    let (mut from, mut to) = tokio::io::split(&mut stream);
    to.write_all(request.as_bytes()).await.expect("the server reads");
    let mut bytes = [0; 1_000];
    while !talk.is_finished() {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if from.read_exact(&mut bytes).await.is_err() {
            break;
        }
    }
    talk.await.expect("no panic");
    let seconds = start.elapsed().as_secs();
    assert!((60..130).contains(&seconds), "cut off after {seconds} s");
    assert_eq!(bench.slow_clients(), 1);
}

#[tokio::test(start_paused = true)]
async fn memory_of_those_who_do_not_listen_is_bounded_for_all_together() {
    let limits = Limits { output_bytes_max: 1 << 20, bulk_bytes_max: 1 << 20, ..Limits::default() };
    let bench = Bench::new(limits);
    let mut silent = Vec::new();
    for _ in 0..30 {
        let (mut stream, client, talk) = bench.connect(64);
        stream.write_all(b"SUBSCRIBE c\r\n").await.expect("the server reads");
        assert_eq!(read_exactly(&mut stream, 26).await, b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n");
        silent.push((stream, client, talk));
    }
    let service = bench.front.service();
    let payload = vec![b'x'; 100_000];
    for _ in 0..20 {
        service.channels.publish(b"c", &payload);
        tokio::task::yield_now().await;
        assert!(service.clients.held_bytes() <= 8 << 20);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(service.clients.held_bytes() <= 8 << 20);
    let cut = silent.iter().filter(|(_, client, _)| client.is_overrun()).count();
    assert!((20..=30).contains(&cut), "{cut} of 30 were cut off");
    drop(silent);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(service.clients.held_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_behind_a_quit_does_not_cost_its_reply() {
    let bench = Bench::new(Limits::default());
    let (mut stream, client, talk) = bench.connect(1 << 10);
    stream.write_all(b"PING\r\nQUIT\r\n").await.expect("the pipe is large");
    assert_eq!(read_all(&mut stream).await, "+PONG\r\n+OK\r\n");
    // It hears nothing more, though its socket is open yet: who redirects to it must know.
    assert!(client.is_closing());
    // A socket that is closed with bytes unread resets, and takes the replies along.
    stream.write_all(b"GET a\r\n").await.expect("the server still reads");
    drop(stream);
    talk.await.expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn a_pause_lets_clients_say_who_they_are_and_notices_who_has_gone() {
    let bench = Bench::new(Limits::default());
    let (mut owner, _, _talk) = bench.connect(1 << 10);
    let start = tokio::time::Instant::now();
    owner.write_all(b"CLIENT PAUSE 1000000000\r\n").await.expect("the server reads");
    assert_eq!(read_exactly(&mut owner, 5).await, b"+OK\r\n");
    // Hands shake, and nothing else.
    let (mut gone, _, talk) = bench.connect(1 << 16);
    gone.write_all(b"HELLO\r\nSET a 1\r\n").await.expect("the server reads");
    assert_eq!(read_exactly(&mut gone, 5).await, b"*14\r\n");
    while bench.front.service().pause.waiting() == 0 {
        tokio::task::yield_now().await;
    }
    drop(gone);
    talk.await.expect("no panic");
    assert!(start.elapsed() < Duration::from_secs(10));
    assert_eq!(bench.front.service().pause.waiting(), 0);
    // Who takes nothing of what came before is cut off as ever.
    let (mut deaf, _, talk) = bench.connect(16);
    deaf.write_all(b"HELLO\r\nGET a\r\n").await.expect("the server reads");
    talk.await.expect("no panic");
    assert!(start.elapsed() >= STALL_MAX && start.elapsed() < 3 * STALL_MAX);
    assert_eq!(bench.slow_clients(), 1);
    owner.write_all(b"CLIENT UNPAUSE\r\nEXISTS a\r\n").await.expect("the server reads");
    assert_eq!(read_exactly(&mut owner, 9).await, b"+OK\r\n:0\r\n");
}
