//! The connected clients, and a mailbox for each: what reaches them out of turn.
//!
//! Any thread may post to any client; the connection's own task sends it on. A client that does not
//! read is cut off when its mailbox is full, or when the mailboxes and buffers of all clients together
//! are too large and its own are the largest.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use dashmap::DashMap;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::auth::Role;
use crate::keyspace::Writer;
use crate::resp::reply::Protocol;
use crate::settings::Limits;

/// Room in a mailbox that is kept once it is empty, bytes.
const MAILBOX_KEPT_BYTES: usize = 64 << 10;

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
    mailbox: Mutex<Mailbox>,
    registry: Arc<Registry>,
    closing: AtomicBool,
    query_len: AtomicUsize,
    query_room: AtomicUsize,
    wake: Notify,
}

/// What waits for a client.
#[derive(Default)]
struct Mailbox {
    posted: Vec<u8>,
    /// Bytes that its connection holds for it, beyond those that are free.
    elsewhere_bytes: usize,
    /// It had too many: nothing is posted to it or counted for it any more.
    is_cut_off: bool,
}

impl Mailbox {
    fn held_bytes(&self) -> usize {
        self.posted.len() + self.elsewhere_bytes
    }
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
    /// What it may do.
    pub role: Option<Role>,
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
        if mailbox.is_cut_off {
            return;
        }
        if mailbox.posted.len() + message.len() > self.registry.mailbox_max {
            drop(mailbox);
            self.cut_off();
            return;
        }
        mailbox.posted.extend_from_slice(message);
        let is_over = self.registry.add(message.len());
        drop(mailbox);
        self.wake.notify_one();
        if is_over {
            self.registry.relieve();
        }
    }

    /// Cuts it off: more waits for it than may.
    pub fn cut_off(&self) {
        let mut mailbox = self.mailbox.lock();
        self.registry.held_bytes.fetch_sub(mailbox.held_bytes(), Ordering::Relaxed);
        *mailbox = Mailbox { is_cut_off: true, ..Mailbox::default() };
        drop(mailbox);
        self.close();
    }

    /// Its connection holds so many bytes for it from now on, beyond those that are free. Where all
    /// clients together make the server hold too many, the one that has most of them is cut off.
    pub(crate) fn hold(&self, bytes: usize) {
        let mut mailbox = self.mailbox.lock();
        if mailbox.is_cut_off {
            return;
        }
        let before = std::mem::replace(&mut mailbox.elsewhere_bytes, bytes);
        let is_over = if bytes > before {
            self.registry.add(bytes - before)
        } else {
            self.registry.held_bytes.fetch_sub(before - bytes, Ordering::Relaxed);
            false
        };
        drop(mailbox);
        if is_over {
            self.registry.relieve();
        }
    }

    /// Moves what was posted to the end of `out`.
    pub fn collect(&self, out: &mut Vec<u8>) {
        let mut mailbox = self.mailbox.lock();
        let len = mailbox.posted.len();
        if len > 0 {
            out.append(&mut mailbox.posted);
            // What a burst needed is given back.
            mailbox.posted.shrink_to(MAILBOX_KEPT_BYTES);
            self.registry.held_bytes.fetch_sub(len, Ordering::Relaxed);
        }
    }

    /// Bytes posted that its connection has not yet taken.
    #[must_use]
    pub fn unread_bytes(&self) -> usize {
        self.mailbox.lock().posted.len()
    }

    /// Notes what its connection keeps while it waits: bytes of a command that has not yet come whole, and
    /// room for more of it.
    pub fn note_query(&self, len: usize, room: usize) {
        self.query_len.store(len, Ordering::Relaxed);
        self.query_room.store(room, Ordering::Relaxed);
    }

    /// What was noted last.
    #[must_use]
    pub fn query(&self) -> (usize, usize) {
        (self.query_len.load(Ordering::Relaxed), self.query_room.load(Ordering::Relaxed))
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

    /// True where it is to end because too much waited for it.
    #[must_use]
    pub fn is_overrun(&self) -> bool {
        self.mailbox.lock().is_cut_off
    }

    /// Ready when something was posted, or the client is to end.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }
}

/// What the clients know of each other.
struct Registry {
    by_id: DashMap<ClientId, Arc<Client>>,
    mailbox_max: usize,
    /// Bytes that all clients together make the server hold.
    held_bytes: AtomicUsize,
    held_max: usize,
}

impl Registry {
    /// Cuts off the client that makes the server hold most. Cost: O(clients).
    #[cold]
    fn relieve(&self) {
        let clients = self.by_id.iter().map(|client| Arc::clone(&client));
        let held = clients.map(|client| {
            let bytes = client.mailbox.lock().held_bytes();
            (bytes, client)
        });
        let Some((bytes, client)) = held.max_by_key(|(bytes, _)| *bytes) else { return };
        let (id, peer) = (client.id, &client.peer);
        tracing::warn!(id, %peer, bytes, "cut off: more waits for all clients than may, most for it");
        client.cut_off();
    }

    /// Counts so many bytes more. True where there are too many.
    fn add(&self, bytes: usize) -> bool {
        self.held_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > self.held_max
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let held_bytes = self.mailbox.get_mut().held_bytes();
        self.registry.held_bytes.fetch_sub(held_bytes, Ordering::Relaxed);
    }
}

/// All of them.
pub struct Clients {
    registry: Arc<Registry>,
    next_id: AtomicU64,
    clients_max: AtomicUsize,
}

impl Clients {
    /// None yet, and as many as `limits` says. What waits for all of them together is bounded by eight
    /// times what may wait for one, or by the longest word that one may send and that.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        let registry = Registry {
            by_id: DashMap::new(),
            mailbox_max: limits.output_bytes_max,
            held_bytes: AtomicUsize::new(0),
            held_max: limits
                .output_bytes_max
                .saturating_mul(8)
                .max(limits.bulk_bytes_max.saturating_add(limits.output_bytes_max)),
        };
        Self {
            registry: Arc::new(registry),
            next_id: AtomicU64::new(1),
            clients_max: AtomicUsize::new(limits.clients_max),
        }
    }

    /// Bytes that all clients together make the server hold, beyond what each has free.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.registry.held_bytes.load(Ordering::Relaxed)
    }

    /// A new client, none where there are too many.
    #[must_use]
    pub fn admit(&self, peer: Peer, local: String, now_unix_ms: u64) -> Option<Arc<Client>> {
        if self.len() >= self.clients_max() {
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
            registry: Arc::clone(&self.registry),
            closing: AtomicBool::new(false),
            query_len: AtomicUsize::new(0),
            query_room: AtomicUsize::new(0),
            wake: Notify::new(),
        });
        self.registry.by_id.insert(id, Arc::clone(&client));
        Some(client)
    }

    /// Forgets a client that has gone.
    pub fn forget(&self, id: ClientId) {
        self.registry.by_id.remove(&id);
    }

    /// The client with this number.
    #[must_use]
    pub fn get(&self, id: ClientId) -> Option<Arc<Client>> {
        self.registry.by_id.get(&id).map(|client| Arc::clone(&client))
    }

    /// All, by number.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Client>> {
        let clients = self.registry.by_id.iter();
        let mut all: Vec<_> = clients.map(|client| Arc::clone(&client)).collect();
        all.sort_unstable_by_key(|client| client.id);
        all
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.registry.by_id.len()
    }

    /// True where there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.registry.by_id.is_empty()
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
