//! The server as a process: started on free ports of loopback, asked over HTTP, stopped or killed.
//!
//! It owns the process and the bounds of waiting for it. It knows no command of Redis.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

/// Longest wait for a start or a stop.
const WAIT: Duration = Duration::from_secs(60);

/// A server that runs; killed where it is dropped.
pub struct Served {
    child: Child,
    resp: SocketAddr,
    http: SocketAddr,
    /// Closed once the process has closed its output, which it does at its end.
    ended: Receiver<()>,
    folder: tempfile::TempDir,
}

impl Served {
    /// Starts `binary serve` with RESP and HTTP on free ports, and waits until it says where they are.
    ///
    /// # Panics
    ///
    /// Where it does not start; with what it wrote to its log.
    #[must_use]
    pub fn start(binary: &Path, args: &[&str]) -> Self {
        let mut command = Command::new(binary);
        command.arg("serve").args(["--resp", "127.0.0.1:0", "--http", "127.0.0.1:0"]).args(args);
        Self::run(command)
    }

    /// Starts a whole command line that ends in a server.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    #[must_use]
    pub fn run(mut command: Command) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the log");
        let log = File::create(log_in(&folder)).expect("the log is writable");
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn();
        let mut child =
            spawned.map_err(|error| format!("{command:?}: {error}")).expect("it starts");
        let output = child.stdout.take().expect("invariant: the output is a pipe");
        let (lines, told) = channel();
        let (end, ended) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                // Nobody listens any more once both addresses are known; the pipe must not fill up.
                drop(lines.send(line));
            }
            drop(end);
        });
        let addresses = wait_for_addresses(&told);
        let Some((resp, http)) = addresses else {
            drop(child.kill());
            let status = child.wait();
            unreachable!("no server: {status:?}\n{}", read_log(&folder));
        };
        Self { child, resp, http, ended, folder }
    }

    /// Where RESP is.
    #[must_use]
    pub fn resp(&self) -> SocketAddr {
        self.resp
    }

    /// Where HTTP is.
    #[must_use]
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// The process's number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to its log.
    #[must_use]
    pub fn log(&self) -> String {
        read_log(&self.folder)
    }

    /// True while it has not ended.
    ///
    /// # Panics
    ///
    /// Where the process cannot be asked for.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child of ours").is_none()
    }

    /// A connection to its RESP port, with a bound on every read and write.
    ///
    /// # Panics
    ///
    /// Where it is refused.
    #[must_use]
    pub fn connect(&self) -> TcpStream {
        connect(self.resp)
    }

    /// Asks over HTTP and returns the answer.
    ///
    /// # Panics
    ///
    /// Where no answer comes, or one that is not HTTP.
    #[must_use]
    pub fn ask(&self, method: &str, path: &str, body: &[u8]) -> Answered {
        let mut stream = connect(self.http);
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-type: {}\r\ncontent-length: {}\r\n\r\n",
            self.http,
            if method == "PUT" { "application/wasm" } else { "application/json" },
            body.len()
        );
        stream.write_all(head.as_bytes()).expect("it takes the head");
        // A refusal may come before the whole body was read.
        drop(stream.write_all(body));
        let answer = read_to_end(&mut stream);
        Answered::parse(&answer).expect("an answer in HTTP")
    }

    /// The sum of all samples of a metric whose labels contain all of `labels`.
    ///
    /// # Panics
    ///
    /// Where a sample is not a number.
    #[must_use]
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let answer = self.ask("GET", "/metrics", b"");
        assert_eq!(answer.status, 200, "{}", answer.text());
        let labels: Vec<String> =
            labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        let text = answer.text();
        let samples = text.lines().filter_map(|line| line.strip_prefix(name)).filter(|rest| {
            rest.starts_with(['{', ' ']) && labels.iter().all(|label| rest.contains(label.as_str()))
        });
        samples
            .map(|rest| {
                rest.rsplit(' ').next().unwrap_or_default().parse::<f64>().expect("a number")
            })
            .sum()
    }

    /// Asks it to stop, waits for its end, and returns its status and its log.
    ///
    /// # Panics
    ///
    /// Where it does not end in time.
    pub fn stop(mut self) -> (ExitStatus, String) {
        let signal = Command::new("kill").args(["-TERM", &self.pid().to_string()]).status();
        assert!(signal.expect("kill is there").success(), "the process takes a signal");
        let ended = self.ended.recv_timeout(WAIT);
        assert_eq!(ended, Err(RecvTimeoutError::Disconnected), "it ends in time\n{}", self.log());
        let status = self.child.wait().expect("a child of ours");
        (status, self.log())
    }

    /// Ends it at once, as a power cut would.
    ///
    /// # Panics
    ///
    /// Where it has ended before.
    pub fn kill(mut self) {
        assert!(self.is_running(), "it ended by itself\n{}", self.log());
        self.child.kill().expect("a child of ours");
        self.child.wait().expect("a child of ours");
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Both fail where it has ended already, which is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            drop(writeln!(std::io::stderr(), "the server's log:\n{}", self.log()));
        }
    }
}

/// An answer over HTTP.
#[derive(Debug)]
pub struct Answered {
    /// The status.
    pub status: u16,
    /// The head, without the status line, in lower case.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Answered {
    /// Takes an answer apart; none where it is not one.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let (first, rest) = head.split_once("\r\n")?;
        let status = first.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
        let head = rest.to_ascii_lowercase();
        let body = &bytes[end + 4..];
        let chunked = head.lines().any(|line| line == "transfer-encoding: chunked");
        let body = if chunked { unchunk(body) } else { body.to_vec() };
        Some(Self { status, head, body })
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    ///
    /// Where it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        let json = serde_json::from_slice(&self.body);
        json.map_err(|error| format!("{error}: {}", self.text())).expect("a body in JSON")
    }
}

/// Connects with a bound on every read and write.
///
/// # Panics
///
/// Where nobody listens.
#[must_use]
pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, WAIT).expect("somebody listens");
    stream.set_read_timeout(Some(WAIT)).expect("a bound");
    stream.set_write_timeout(Some(WAIT)).expect("a bound");
    stream.set_nodelay(true).expect("a socket");
    stream
}

/// Everything until the other side closes, or breaks off.
///
/// # Panics
///
/// Where it stays silent without closing.
pub fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        let silent = [std::io::ErrorKind::WouldBlock, std::io::ErrorKind::TimedOut];
        assert!(!silent.contains(&error.kind()), "an end within {WAIT:?}");
    }
    answer
}

/// The body of an answer in chunks, as far as it goes.
fn unchunk(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = body.windows(2).position(|window| window == b"\r\n") {
        let size = std::str::from_utf8(&body[..end]).ok();
        let size = size.and_then(|text| usize::from_str_radix(text, 16).ok()).unwrap_or(0);
        let chunk = body.get(end + 2..end + 2 + size).unwrap_or_default();
        if chunk.is_empty() {
            break;
        }
        whole.extend_from_slice(chunk);
        body = body.get(end + 2 + size + 2..).unwrap_or_default();
    }
    whole
}

/// The addresses in the lines about RESP and HTTP; none where the output ends before both are known.
fn wait_for_addresses(lines: &Receiver<String>) -> Option<(SocketAddr, SocketAddr)> {
    let (mut resp, mut http) = (None, None);
    loop {
        let line = lines.recv_timeout(WAIT).ok()?;
        let of_line = line.find("127.0.0.1:").and_then(|start| {
            let rest = &line[start..];
            let is_part = |letter: char| letter.is_ascii_digit() || letter == '.' || letter == ':';
            rest.split(|letter| !is_part(letter)).next()?.parse().ok()
        });
        match line.get(..4).map(str::to_ascii_uppercase).as_deref() {
            Some("RESP") => resp = of_line.or(resp),
            Some("HTTP") => http = of_line.or(http),
            _ => {}
        }
        if let (Some(resp), Some(http)) = (resp, http) {
            return Some((resp, http));
        }
    }
}

fn log_in(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("log")
}

fn read_log(folder: &tempfile::TempDir) -> String {
    std::fs::read_to_string(log_in(folder)).unwrap_or_default()
}
