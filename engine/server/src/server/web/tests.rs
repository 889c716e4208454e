//! The HTTP front over sockets, with few places.

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;

use super::*;
use crate::auth::{Grant, Role};
use crate::service::Service;
use crate::settings::{CacheSettings, Settings};

/// Longer than any answer takes; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// A request for which no token is needed.
const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// A front with four places and a token, its address, and what stops it.
fn start() -> (JoinHandle<io::Result<()>>, std::net::SocketAddr, watch::Sender<bool>) {
    let cache = CacheSettings { policy: "native:lru".to_owned(), ..CacheSettings::default() };
    let grant = Grant { token: "secret".to_owned(), role: Role::Admin };
    let settings = Settings { caches: vec![cache], tokens: vec![grant], ..Settings::default() };
    let service = Service::try_new(settings, 1).expect("the settings are valid");
    let (router, stop) = http::stoppable(service);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.set_nonblocking(true).expect("a socket of ours");
    let address = listener.local_addr().expect("it is bound");
    let (sender, stopped) = watch::channel(false);
    let web = Web { listener, tls: None, stopped, router, stop, connections_max: 4 };
    (tokio::spawn(web.serve(PATIENCE)), address, sender)
}

async fn connect(address: std::net::SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.expect("it takes us")
}

/// What comes before the other side closes.
async fn read_all(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    read.expect("it closes").expect("it closes in order");
    String::from_utf8(bytes).expect("text")
}

/// Sends a request and reads the first bytes of the answer.
async fn ask(stream: &mut TcpStream, request: &[u8], expected: &str) {
    stream.write_all(request).await.expect("it reads");
    let mut bytes = vec![0; expected.len()];
    let read = timeout(PATIENCE, stream.read_exact(&mut bytes)).await;
    read.expect("it answers").expect("it answers whole");
    assert_eq!(String::from_utf8_lossy(&bytes), expected);
}

#[tokio::test]
async fn connections_that_say_nothing_keep_nobody_away() {
    let (front, address, stop) = start();
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(connect(address).await);
    }
    // One with a head that does not end is as good as silent.
    silent[0].write_all(b"GET /healthz HTTP/1.1\r\n").await.expect("it reads");
    let mut known = connect(address).await;
    let request = b"GET /v1/caches HTTP/1.1\r\nhost: a\r\nauthorization: Bearer secret\r\n\r\n";
    ask(&mut known, request, "HTTP/1.1 200 OK\r\n").await;
    for _ in 0..6 {
        let mut stream = connect(address).await;
        ask(&mut stream, HEALTH, "HTTP/1.1 200 OK\r\n").await;
        silent.push(stream);
    }
    // Who has shown a token is there to the end.
    let request = b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    known.write_all(request).await.expect("it reads");
    let answers = read_all(&mut known).await;
    assert_eq!(answers.matches("HTTP/1.1 200 OK\r\n").count(), 1, "{answers}");
    drop(silent);
    stop.send_replace(true);
    front.await.expect("no panic").expect("no error");
}

#[tokio::test]
async fn a_refusal_ends_the_connection() {
    let (_front, address, _stop) = start();
    for path in ["/nothing", "/v1/caches", "/metrics"] {
        let mut stream = connect(address).await;
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("it reads");
        let answer = read_all(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
        assert!(answer.contains("connection: close\r\n"), "{answer}");
    }
    let mut stream = connect(address).await;
    for _ in 0..2 {
        ask(&mut stream, HEALTH, "HTTP/1.1 200 OK\r\n").await;
        let mut rest = [0; 4_096];
        let _ = stream.read(&mut rest).await.expect("the rest of the answer");
    }
}

/// A stream that holds 1 KiB, and its other end.
async fn timed() -> (Timed<DuplexStream>, DuplexStream) {
    let (ours, theirs) = duplex(1_024);
    (Timed::new(ours, Arc::new(Seats::new(1)).take().await), theirs)
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_is_cut_off() {
    let (mut stream, theirs) = timed().await;
    let error = stream.write_all(&[0; 2_000]).await.expect_err("nobody reads");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    drop(theirs);

    // Nor does a byte now and then help.
    let (mut stream, mut theirs) = timed().await;
    let reader = tokio::spawn(async move {
        while theirs.read_u8().await.is_ok() {
            sleep(Duration::from_secs(1)).await;
        }
    });
    let error = stream.write_all(&[0; 20_000]).await.expect_err("too slow");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    drop(stream);
    reader.abort();
}

#[tokio::test(start_paused = true)]
async fn who_reads_slowly_gets_all_and_may_rest_between_requests() {
    let (mut stream, mut theirs) = timed().await;
    let reader = tokio::spawn(async move {
        let (mut bytes, mut all) = ([0; 1_024], 0);
        while let Ok(len @ 1..) = theirs.read(&mut bytes).await {
            all += len;
            sleep(Duration::from_millis(300)).await;
        }
        all
    });
    stream.write_all(&[0; 1 << 20]).await.expect("it reads all of it");
    sleep(Duration::from_secs(3_600)).await;
    stream.write_all(&[0; 2_000]).await.expect("it reads that as well");
    drop(stream);
    assert_eq!(reader.await.expect("no panic"), (1 << 20) + 2_000);
}
