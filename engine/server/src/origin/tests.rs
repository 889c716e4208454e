//! An origin that answers in every way that one can.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use super::*;

/// Answers each connection's requests by the last part of their path, until the process ends.
fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || drop(answer(stream)));
        }
    });
    address
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let (mut first, mut token) = (String::new(), String::new());
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            if let Some(value) = line.strip_prefix("x-token: ") {
                token = value.trim().to_owned();
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let path = first.split(' ').nth(1).unwrap_or_default();
        let (status, body) = match path {
            "/v/none" => ("404 Not Found", String::new()),
            "/v/gone" => ("410 Gone", String::new()),
            "/v/moved" => ("301 Moved Permanently", String::new()),
            "/v/broken" => ("500 Internal Server Error", "x".repeat(10)),
            "/v/large" => ("200 OK", "x".repeat(33)),
            "/v/half" => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")?;
                return Ok(());
            }
            "/v/garbage" => {
                stream.write_all(b"garbage\r\n\r\n")?;
                return Ok(());
            }
            // Until the client has had enough.
            "/v/silent" => {
                let mut line = String::new();
                reader.read_line(&mut line)?;
                return Ok(());
            }
            "/v/empty" => ("200 OK", String::new()),
            _ => ("200 OK", format!("{token}{path}")),
        };
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_bytes())?;
    }
}

fn origin(address: SocketAddr) -> Origin {
    let settings = OriginSettings {
        url: format!("http://{address}/v/{{key}}"),
        headers: vec![("x-token".to_owned(), "t".to_owned())],
        timeout: Duration::from_millis(500),
        connections_max: 2,
        body_bytes_max: 32,
        ..OriginSettings::default()
    };
    Origin::try_new(&settings).unwrap()
}

#[tokio::test]
async fn every_answer_is_told_apart() {
    let origin = origin(serve());
    assert_eq!(origin.fetch(b"a/b").await.as_deref(), Ok(&b"t/v/a%2Fb"[..]));
    assert_eq!(origin.fetch(b"empty").await.as_deref(), Ok(&b""[..]));
    for (key, name) in [
        ("none", "absent"),
        ("gone", "absent"),
        ("moved", "status"),
        ("broken", "status"),
        ("large", "too_large"),
        ("half", "broken"),
        ("garbage", "broken"),
        ("silent", "timeout"),
        ("none", "absent"),
    ] {
        assert_eq!(origin.fetch(key.as_bytes()).await.map_err(|it| it.name()), Err(name), "{key}");
    }
    assert!(origin.fetch(b"again").await.is_ok(), "it recovers");
}

#[tokio::test]
async fn connections_are_bounded_and_a_dead_origin_is_an_error() {
    let origin = origin(serve());
    // Two wait for an origin that is silent: a third one gets no connection in time.
    let (one, two, three) =
        tokio::join!(origin.fetch(b"silent"), origin.fetch(b"silent"), origin.fetch(b"late"));
    for answer in [one, two, three] {
        assert_eq!(answer.map_err(|it| it.name()), Err("timeout"));
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let dead = self::origin(address);
    assert_eq!(dead.fetch(b"a").await.map_err(|it| it.name()), Err("broken"));
}
