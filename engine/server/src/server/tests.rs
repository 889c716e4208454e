//! Whole servers, over real sockets.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto::ring,
};

use super::{Server, StartError};
use crate::auth::{Grant, Role};
use crate::settings::{CacheSettings, Limits, Settings, TlsFiles};

/// Longer than any answer takes; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn settings() -> Settings {
    let cache = CacheSettings { policy: "native:s3fifo".to_owned(), ..CacheSettings::default() };
    Settings {
        resp: Some(loopback()),
        http: None,
        threads: Some(2),
        caches: vec![cache],
        ..Settings::default()
    }
}

fn start(settings: Settings) -> Server {
    Server::start(settings).expect("the settings are valid")
}

fn connect(server: &Server) -> TcpStream {
    let stream =
        TcpStream::connect(server.resp_address().expect("it listens")).expect("it takes us");
    stream.set_read_timeout(Some(PATIENCE)).expect("a valid time");
    stream.set_write_timeout(Some(PATIENCE)).expect("a valid time");
    stream
}

fn ask(stream: &mut (impl Read + Write), request: &[u8], reply: &[u8]) {
    stream.write_all(request).expect("it reads");
    let mut bytes = vec![0; reply.len()];
    stream.read_exact(&mut bytes).expect("it answers");
    assert_eq!(bytes.escape_ascii().to_string(), reply.escape_ascii().to_string());
}

fn read_all(stream: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("it ends");
    bytes
}

#[test]
fn ten_thousand_commands_in_one_go_come_back_in_order() {
    let server = start(settings());
    let stream = connect(&server);
    let mut reader = stream.try_clone().expect("a second handle");
    let count = 10_000;
    let writer = std::thread::spawn(move || {
        let mut stream = stream;
        let requests: String =
            (0..count).map(|i| format!("*2\r\n$4\r\nECHO\r\n$5\r\n{i:05}\r\n")).collect();
        for piece in requests.as_bytes().chunks(777) {
            stream.write_all(piece).expect("it reads");
        }
        stream
    });
    let expected: String = (0..count).map(|i| format!("$5\r\n{i:05}\r\n")).collect();
    let mut replies = vec![0; expected.len()];
    reader.read_exact(&mut replies).expect("it answers");
    assert!(replies == expected.as_bytes());
    drop(writer.join());
    server.stop();
}

#[test]
fn a_large_value_goes_there_and_back() {
    let mut settings = settings();
    settings.caches[0].capacity_bytes = 256 << 20;
    settings.caches[0].shards = Some(1);
    let server = start(settings);
    let mut stream = connect(&server);
    let value: Vec<u8> = (0..8 << 20).map(|i: u32| (i ^ (i >> 8)) as u8).collect();
    let mut request = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n", value.len()).into_bytes();
    request.extend_from_slice(&value);
    request.extend_from_slice(b"\r\n");
    ask(&mut stream, &request, b"+OK\r\n");
    let head = format!("${}\r\n", value.len());
    ask(&mut stream, b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", head.as_bytes());
    let mut back = vec![0; value.len() + 2];
    stream.read_exact(&mut back).expect("it answers");
    assert!(back.strip_suffix(b"\r\n") == Some(&value[..]));
    server.stop();
}

#[test]
fn too_many_clients_are_told_so() {
    let limits = Limits { clients_max: 2, ..Limits::default() };
    let server = start(Settings { limits, ..settings() });
    let mut kept: Vec<_> = (0..2).map(|_| connect(&server)).collect();
    for stream in &mut kept {
        ask(stream, b"PING\r\n", b"+PONG\r\n");
    }
    let told = read_all(&mut connect(&server));
    assert_eq!(told, b"-ERR max number of clients reached\r\n");
    assert_eq!(server.service().counters.connections_refused.load(Relaxed), 1);
    // One that leaves makes room: it has left once its side was closed.
    let mut left = kept.remove(0);
    ask(&mut left, b"QUIT\r\n", b"+OK\r\n");
    assert!(read_all(&mut left).is_empty());
    while server.service().clients.len() > 1 {
        std::thread::yield_now();
    }
    ask(&mut connect(&server), b"PING\r\n", b"+PONG\r\n");
    server.stop();
}

#[test]
fn a_subscriber_that_does_not_listen_is_cut_off() {
    let limits = Limits { output_bytes_max: 1 << 20, ..Limits::default() };
    let server = start(Settings { limits, ..settings() });
    let mut stream = connect(&server);
    ask(&mut stream, b"PING\r\n", b"+PONG\r\n");
    let client = Arc::clone(&server.service().clients.all()[0]);
    let message = vec![b'x'; 512 << 10];
    while !client.is_closing() {
        client.post(&message);
        std::thread::yield_now();
    }
    while !server.service().clients.is_empty() {
        std::thread::yield_now();
    }
    assert_eq!(server.service().counters.slow_clients.load(Relaxed), 1);
    server.stop();
}

#[test]
fn a_unix_socket_will_do_and_is_taken_over_from_the_dead() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("resp.sock");
    // What a server leaves behind that was killed.
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket"));
    let settings = Settings { resp: None, resp_unix: Some(path.clone()), ..settings() };
    let server = start(settings.clone());
    assert_eq!(server.resp_unix(), Some(&*path));
    let mut stream = UnixStream::connect(&path).expect("it takes us");
    stream.set_read_timeout(Some(PATIENCE)).expect("a valid time");
    ask(&mut stream, b"PING\r\n", b"+PONG\r\n");
    let second = Server::start(settings).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(second.contains("resp.sock: Address"), "{second}");
    server.stop();
    assert!(!path.exists());
    assert!(read_all(&mut stream).is_empty());
}

#[test]
fn a_server_that_ends_leaves_its_successors_socket_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("resp.sock");
    let settings = Settings { resp: None, resp_unix: Some(path.clone()), ..settings() };
    let ping = || {
        let mut stream = UnixStream::connect(&path).expect("it takes us");
        stream.set_read_timeout(Some(PATIENCE)).expect("a valid time");
        ask(&mut stream, b"PING\r\n", b"+PONG\r\n");
    };
    let mut first = start(settings.clone());
    first.begin_stop();
    assert!(!path.exists());
    let second = start(settings.clone());
    drop(first);
    ping();
    // Nor where the file of the one that ends has gone before.
    std::fs::remove_file(&path).expect("a file of ours");
    let third = start(settings);
    second.stop();
    ping();
    third.stop();
    assert!(!path.exists());
}

/// The status of a probe, asked on a connection of its own.
fn probe(server: &Server, path: &str) -> String {
    let address = server.http_address().expect("it listens");
    let mut stream = TcpStream::connect(address).expect("it takes us");
    stream.set_read_timeout(Some(PATIENCE)).expect("a valid time");
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let answer = String::from_utf8(read_all(&mut stream)).expect("text");
    answer.split(' ').nth(1).unwrap_or_default().to_owned()
}

#[test]
fn a_server_that_will_stop_says_so_and_goes_on() {
    let stop_lead = Duration::from_millis(50);
    let limits = Limits { stop_lead, ..Limits::default() };
    let server = start(Settings { http: Some(loopback()), limits, ..settings() });
    assert_eq!([probe(&server, "/readyz"), probe(&server, "/healthz")], ["200", "200"]);
    server.announce_stop();
    assert_eq!([probe(&server, "/readyz"), probe(&server, "/healthz")], ["503", "200"]);
    ask(&mut connect(&server), b"PING\r\n", b"+PONG\r\n");
    let started = std::time::Instant::now();
    server.stop();
    assert!(started.elapsed() >= stop_lead);
}

#[test]
fn a_stop_answers_ends_and_frees_the_port() {
    let server = start(Settings { http: Some(loopback()), ..settings() });
    let address = server.resp_address().expect("it listens");
    let mut streams: Vec<_> = (0..8).map(|_| connect(&server)).collect();
    for stream in &mut streams {
        ask(stream, b"PING\r\n", b"+PONG\r\n");
    }
    server.stop();
    for stream in &mut streams {
        assert!(read_all(stream).is_empty());
    }
    let again = start(Settings { resp: Some(address), ..settings() });
    ask(&mut connect(&again), b"PING\r\n", b"+PONG\r\n");
}

#[test]
fn tls_on_both_fronts() {
    let directory = tempfile::tempdir().expect("a directory");
    let (certificate, key) = crate::tls::tests::certificate_and_key();
    let files = TlsFiles {
        certificate: directory.path().join("certificate.pem"),
        key: directory.path().join("key.pem"),
    };
    std::fs::write(&files.certificate, &certificate).expect("a directory of our own");
    std::fs::write(&files.key, &key).expect("a directory of our own");
    let server = start(Settings { tls: Some(files), http: Some(loopback()), ..settings() });

    let mut roots = RootCertStore::empty();
    let certificate =
        CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate");
    roots.add(certificate).expect("a certificate");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions of the provider's")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let config = Arc::new(config);
    let open = |address: Option<SocketAddr>| {
        let name = ServerName::try_from("localhost").expect("a name");
        let connection = ClientConnection::new(Arc::clone(&config), name).expect("a valid name");
        let stream = TcpStream::connect(address.expect("it listens")).expect("it takes us");
        stream.set_read_timeout(Some(PATIENCE)).expect("a valid time");
        StreamOwned::new(connection, stream)
    };
    let mut resp = open(server.resp_address());
    ask(&mut resp, b"PING\r\n", b"+PONG\r\n");
    let value = "x".repeat(200_000);
    let request = format!("*2\r\n$4\r\nECHO\r\n$200000\r\n{value}\r\n");
    ask(&mut resp, request.as_bytes(), format!("$200000\r\n{value}\r\n").as_bytes());
    let mut http = open(server.http_address());
    ask(&mut http, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", b"HTTP/1.1 200 OK\r\n");
    server.stop();
}

#[test]
fn settings_that_cannot_be() {
    let taken = start(settings());
    let any = SocketAddr::from(([0, 0, 0, 0], 0));
    let text = |settings| Server::start(settings).err().map(|error| error.to_string());
    let nowhere = Settings { resp: None, ..settings() };
    assert!(text(nowhere).is_some_and(|text| text.starts_with("nothing to listen on")));
    let open = Settings { resp: Some(any), ..settings() };
    assert!(matches!(Server::start(open.clone()), Err(StartError::Open { .. })));
    let open_http = Settings { http: Some(any), ..settings() };
    assert!(text(open_http).is_some_and(|text| text.contains("set a token")));
    let grant = Grant { token: "secret".to_owned(), role: Role::Admin };
    start(Settings { tokens: vec![grant], ..open }).stop();
    let twice = Settings { resp: taken.resp_address(), ..settings() };
    assert!(text(twice).is_some_and(|text| text.contains("Address already in use")));
}
