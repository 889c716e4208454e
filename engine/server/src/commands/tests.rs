//! Commands as clients send them, against a server in memory: words in, raw replies out.

mod answers;
mod bounds;
mod model;
mod rights;

use std::sync::Arc;

use crate::clients::Peer;
use crate::commands::{Session, execute, settle};
use crate::resp::reply::Protocol;
use crate::service::Service;
use crate::settings::Settings;

/// A client of `service`.
pub(crate) fn session(service: &Arc<Service>) -> Session {
    let client = service.clients.admit(Peer::Unix, "unix".to_owned(), 0).unwrap();
    Session::new(client, service)
}

/// The replies to `line`, then what was posted to the session, its line ends as spaces.
pub(crate) fn run(service: &Arc<Service>, session: &mut Session, line: &str) -> String {
    let words: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
    let mut out = Vec::new();
    if !words.is_empty() {
        execute(service, session, &words, &mut out);
    }
    settle(service, session);
    session.client.collect(&mut out);
    String::from_utf8_lossy(&out).replace("\r\n", " ").trim_end().to_owned()
}

/// A server with one client.
struct Bench {
    service: Arc<Service>,
    session: Session,
}

impl Bench {
    fn new() -> Self {
        Self::with(Settings::default())
    }

    fn with(settings: Settings) -> Self {
        let service = Service::try_new(settings, 1).unwrap();
        let session = session(&service);
        Self { service, session }
    }

    /// The raw reply to `words`.
    fn reply(&mut self, words: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        execute(&self.service, &mut self.session, words, &mut out);
        out
    }

    /// The reply to `words`, its line ends as spaces.
    fn run(&mut self, words: &[&str]) -> String {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        let reply = self.reply(&words);
        String::from_utf8_lossy(&reply).replace("\r\n", " ").trim_end().to_owned()
    }

    /// The reply to the words of `line`; `''` is an empty word.
    fn line(&mut self, line: &str) -> String {
        let words = line.split_whitespace().map(|word| if word == "''" { "" } else { word });
        self.run(&words.collect::<Vec<_>>())
    }

    /// Checks the reply to each line.
    fn expect(&mut self, cases: &[(&str, &str)]) {
        for &(line, reply) in cases {
            assert_eq!(self.line(line), reply, "{line}");
        }
    }
}

/// Checks the replies to lines sent to a new server, one after the other.
fn expect(cases: &[(&str, &str)]) {
    Bench::new().expect(cases);
}

/// Checks them for a client that speaks RESP3.
fn expect_resp3(cases: &[(&str, &str)]) {
    let mut bench = Bench::new();
    bench.session.protocol = Protocol::Resp3;
    bench.expect(cases);
}
