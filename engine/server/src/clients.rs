//! The connected clients, and a mailbox for each: what reaches them out of turn.
//!
//! Any thread may post to any client; the connection's own task sends it on. A client that does not
//! read is cut off when its mailbox is full.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use dashmap::DashMap;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::keyspace::Writer;
use crate::resp::reply::Protocol;

/// A client's number, from 1.
pub type ClientId = Writer;

/// Where a client came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// By TCP, or TLS on it.
    Tcp(SocketAddr),
    /// By a Unix socket.
    Unix,
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix => f.write_str("unix:0"),
        }
    }
}

/// What other threads know of a client and can do to it.
pub struct Client {
    /// Its number.
    pub id: ClientId,
    /// Where it came from.
    pub peer: Peer,
    /// The address that it came to.
    pub local: String,
    /// When it connected, milliseconds since 1970.
    pub connected_unix_ms: u64,
    /// What `CLIENT LIST` shows and its own commands change.
    pub profile: Mutex<Profile>,
    mailbox: Mutex<Vec<u8>>,
    mailbox_max: usize,
    closing: AtomicBool,
    overrun: AtomicBool,
    wake: Notify,
}

/// The part of a client that changes.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// As set by `CLIENT SETNAME`.
    pub name: Vec<u8>,
    /// As set by `CLIENT SETINFO`.
    pub library: Vec<u8>,
    /// As set by `CLIENT SETINFO`.
    pub library_version: Vec<u8>,
    /// The database in use.
    pub database: u8,
    /// The last command's name.
    pub command: &'static str,
    /// The last command's time, milliseconds since 1970.
    pub active_unix_ms: u64,
    /// The protocol.
    pub protocol: Protocol,
    /// Channels subscribed to.
    pub channels: usize,
    /// Patterns subscribed to.
    pub patterns: usize,
    /// Shard channels subscribed to.
    pub shard_channels: usize,
    /// Commands queued, none outside `MULTI`.
    pub queued: Option<usize>,
    /// Memory of the queued commands, bytes.
    pub queued_bytes: usize,
    /// Keys under `WATCH`.
    pub watched: usize,
    /// Tracking is on.
    pub tracking: bool,
    /// It tracks by prefixes.
    pub broadcasts: bool,
    /// Where its invalidations go: a client, 0 for itself; none without tracking.
    pub redirect: Option<ClientId>,
    /// The user that it authenticated as.
    pub user: &'static str,
    /// `CLIENT NO-EVICT` is on.
    pub no_evict: bool,
}

impl Client {
    /// Posts a whole message. Cuts the client off where its mailbox is full.
    pub fn post(&self, message: &[u8]) {
        let mut mailbox = self.mailbox.lock();
        if mailbox.len() + message.len() > self.mailbox_max {
            drop(mailbox);
            self.overrun.store(true, Ordering::Relaxed);
            self.close();
            return;
        }
        mailbox.extend_from_slice(message);
        drop(mailbox);
        self.wake.notify_one();
    }

    /// Moves what was posted to the end of `out`.
    pub fn collect(&self, out: &mut Vec<u8>) {
        let mut mailbox = self.mailbox.lock();
        if !mailbox.is_empty() {
            out.append(&mut mailbox);
        }
    }

    /// Bytes posted that its connection has not yet taken.
    #[must_use]
    pub fn unread_bytes(&self) -> usize {
        self.mailbox.lock().len()
    }

    /// Lets its connection look around: something changed that it may have to heed.
    pub fn nudge(&self) {
        self.wake.notify_one();
    }

    /// Asks its connection to end.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// True once it is to end.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// True where it is to end because its mailbox was full.
    #[must_use]
    pub fn is_overrun(&self) -> bool {
        self.overrun.load(Ordering::Relaxed)
    }

    /// Ready when something was posted, or the client is to end.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }
}

/// All of them.
pub struct Clients {
    by_id: DashMap<ClientId, Arc<Client>>,
    next_id: AtomicU64,
    clients_max: AtomicUsize,
    mailbox_max: usize,
}

impl Clients {
    /// None yet; at most `clients_max`, with `mailbox_max` bytes unread each.
    #[must_use]
    pub fn new(clients_max: usize, mailbox_max: usize) -> Self {
        Self {
            by_id: DashMap::new(),
            next_id: AtomicU64::new(1),
            clients_max: AtomicUsize::new(clients_max),
            mailbox_max,
        }
    }

    /// A new client, none where there are too many.
    #[must_use]
    pub fn admit(&self, peer: Peer, local: String, now_unix_ms: u64) -> Option<Arc<Client>> {
        if self.by_id.len() >= self.clients_max() {
            return None;
        }
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let profile =
            Profile { active_unix_ms: now_unix_ms, user: "default", ..Profile::default() };
        let client = Arc::new(Client {
            id,
            peer,
            local,
            connected_unix_ms: now_unix_ms,
            profile: Mutex::new(profile),
            mailbox: Mutex::default(),
            mailbox_max: self.mailbox_max,
            closing: AtomicBool::new(false),
            overrun: AtomicBool::new(false),
            wake: Notify::new(),
        });
        self.by_id.insert(id, Arc::clone(&client));
        Some(client)
    }

    /// Forgets a client that has gone.
    pub fn forget(&self, id: ClientId) {
        self.by_id.remove(&id);
    }

    /// The client with this number.
    #[must_use]
    pub fn get(&self, id: ClientId) -> Option<Arc<Client>> {
        self.by_id.get(&id).map(|client| Arc::clone(&client))
    }

    /// All, by number.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Client>> {
        let mut all: Vec<_> = self.by_id.iter().map(|client| Arc::clone(&client)).collect();
        all.sort_unstable_by_key(|client| client.id);
        all
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// True where there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// How many there may be.
    #[must_use]
    pub fn clients_max(&self) -> usize {
        self.clients_max.load(Ordering::Relaxed)
    }

    /// Changes how many there may be. Those that are there stay.
    pub fn set_clients_max(&self, clients_max: usize) {
        self.clients_max.store(clients_max, Ordering::Relaxed);
    }
}
