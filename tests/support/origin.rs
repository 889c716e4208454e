//! An origin over HTTP: answers `GET /v/KEY` with a value made of the key, late, or not at all.
//!
//! It owns the sockets and the gate that holds answers back. It knows no cache.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Longest wait for a request.
const WAIT: Duration = Duration::from_secs(60);

/// An origin that runs until it is dropped.
pub struct HttpOrigin {
    address: SocketAddr,
    gate: Arc<Gate>,
}

#[derive(Default)]
struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Answers are held back.
    is_held: bool,
    /// Connections are closed without an answer.
    is_dead: bool,
    asked: u64,
    answered: u64,
}

impl HttpOrigin {
    /// Starts one on a free port, each of whose answers comes `latency` after its request.
    ///
    /// # Panics
    ///
    /// Where there is no free port.
    #[must_use]
    pub fn start(latency: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let gate = Arc::new(Gate::default());
        let shared = Arc::clone(&gate);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let gate = Arc::clone(&shared);
                if gate.lock().is_dead {
                    continue;
                }
                // Ends where the connection does.
                std::thread::spawn(move || drop(serve(stream, &gate, latency)));
            }
        });
        Self { address, gate }
    }

    /// The address of an entry, with `{key}` for its key.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/v/{{key}}", self.address)
    }

    /// The value of a key.
    #[must_use]
    pub fn value(key: &str) -> String {
        format!("{key:0>900}")
    }

    /// Loads the value of a key as an application does, on a connection of its own.
    ///
    /// # Panics
    ///
    /// Where no answer comes.
    #[must_use]
    pub fn load(&self, key: &str) -> String {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        stream.set_read_timeout(Some(WAIT)).expect("a bound");
        let request = format!("GET /v/{} HTTP/1.1\r\nhost: o\r\n\r\n", key.replace(':', "%3A"));
        stream.write_all(request.as_bytes()).expect("it takes a request");
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line).expect("a head");
        }
        let mut value = vec![0; Self::value(key).len()];
        std::io::Read::read_exact(&mut reader, &mut value).expect("a body");
        String::from_utf8(value).expect("a text")
    }

    /// From now on no answer goes out.
    pub fn hold(&self) {
        self.gate.set(|state| state.is_held = true);
    }

    /// All answers that were held back go out.
    pub fn release(&self) {
        self.gate.set(|state| state.is_held = false);
    }

    /// From now on every connection breaks.
    pub fn kill(&self) {
        self.gate.set(|state| (state.is_dead, state.is_held) = (true, false));
    }

    /// Requests so far, and how many of them were answered.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        let state = self.gate.lock();
        (state.asked, state.answered)
    }

    /// Waits until `count` requests wait for their answers.
    ///
    /// # Panics
    ///
    /// Where they do not come.
    pub fn wait_for_held(&self, count: u64) {
        let state = self.gate.lock();
        let waiting = |state: &mut State| state.asked - state.answered < count;
        let waited = self.gate.changed.wait_timeout_while(state, WAIT, waiting);
        assert!(!waited.is_ok_and(|(_, ended)| ended.timed_out()), "{count} requests in {WAIT:?}");
    }
}

impl Drop for HttpOrigin {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// Waits for the answer's time. False where there is to be none.
    fn pass(&self, latency: Duration) -> bool {
        let state = self.lock();
        let late = self.changed.wait_timeout_while(state, latency, |state| !state.is_dead);
        let (state, _) = late.unwrap_or_else(PoisonError::into_inner);
        let open = self.changed.wait_while(state, |state| state.is_held && !state.is_dead);
        !open.unwrap_or_else(PoisonError::into_inner).is_dead
    }
}

fn serve(mut stream: TcpStream, gate: &Gate, latency: Duration) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let (mut first, mut line) = (String::new(), String::new());
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
        }
        gate.set(|state| state.asked += 1);
        if !gate.pass(latency) {
            return Ok(());
        }
        let path = first.split(' ').nth(1).unwrap_or_default();
        let key = path.trim_start_matches("/v/").replace("%3A", ":");
        let body = HttpOrigin::value(&key);
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(format!("{head}{body}").as_bytes())?;
        gate.set(|state| state.answered += 1);
    }
}
