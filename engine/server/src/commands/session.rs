//! One client's conversation: what its commands change about itself.

use std::sync::Arc;

use crate::auth::Role;
use crate::channels::Subscriptions;
use crate::clients::Client;
use crate::commands::calls::Tally;
use crate::commands::scan::Walk;
use crate::commands::transactions::Transaction;
use crate::resp::reply::Protocol;
use crate::service::Service;
use crate::tracking::Following;

/// Room for a key that is kept from one batch to the next, bytes.
const SCRATCH_KEPT_BYTES: usize = 1024;

/// The state of a conversation. When it drops, the server forgets the client.
pub struct Session {
    /// What other threads know of it.
    pub client: Arc<Client>,
    /// The database in use.
    pub database: u8,
    /// The protocol.
    pub protocol: Protocol,
    /// What it may do, none before `AUTH` where a token is needed.
    pub role: Option<Role>,
    /// What `MULTI` and `WATCH` have begun.
    pub transaction: Transaction,
    /// Whether it hears replies.
    pub replies: Replies,
    /// Channels that it listens to.
    pub(crate) subscriptions: Subscriptions,
    /// How it tracks keys.
    pub(crate) following: Following,
    /// Calls not yet counted.
    pub(crate) tally: Tally,
    /// The last command's name.
    pub(crate) command: &'static str,
    /// Where the walk over the keys stands that the command at hand makes in several turns.
    pub(crate) walk: Option<Box<Walk>>,
    /// Space for one key at a time.
    pub(crate) scratch: Vec<u8>,
    service: Arc<Service>,
}

impl Session {
    /// `name` as the cache looks it up in the session's database, without an allocation for it.
    #[inline]
    pub(crate) fn lookup(&mut self, name: &[u8]) -> &[u8] {
        self.scratch.clear();
        self.scratch.push(self.service.databases.home(self.database));
        self.scratch.extend_from_slice(name);
        &self.scratch
    }

    /// Between two batches: gives back what a long key needed.
    #[inline]
    pub(crate) fn rest(&mut self) {
        if self.scratch.capacity() > SCRATCH_KEPT_BYTES {
            self.scratch = Vec::new();
        }
    }
}

/// Whether a client hears replies, as `CLIENT REPLY` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Replies {
    /// All.
    #[default]
    On,
    /// None.
    Off,
    /// Not the next one.
    SkipNext,
    /// Not this one.
    Skip,
}

impl Session {
    /// The conversation with a client that has just come.
    #[must_use]
    pub fn new(client: Arc<Client>, service: &Arc<Service>) -> Self {
        Self {
            client,
            database: 0,
            protocol: Protocol::Resp2,
            role: Self::role_unasked(service),
            transaction: Transaction::default(),
            replies: Replies::On,
            subscriptions: Subscriptions::default(),
            following: Following::default(),
            tally: Tally::default(),
            command: "NULL",
            walk: None,
            scratch: Vec::new(),
            service: Arc::clone(service),
        }
    }

    /// What a client may do that has shown no token.
    pub(crate) fn role_unasked(service: &Service) -> Option<Role> {
        service.grants.is_open().then_some(Role::Admin)
    }

    /// Tells other threads what `CLIENT LIST` shows of it.
    pub(crate) fn publish_profile(&self) {
        let mut profile = self.client.profile.lock();
        profile.database = self.database;
        profile.protocol = self.protocol;
        profile.role = self.role;
        profile.command = self.command;
        profile.active_unix_ms = self.service.clock.now_unix_ms();
        profile.channels = self.subscriptions.channels();
        profile.patterns = self.subscriptions.patterns();
        profile.shard_channels = self.subscriptions.shard_channels();
        profile.queued = self.transaction.queued();
        profile.queued_bytes = self.transaction.queued_bytes();
        profile.watched = self.transaction.watched();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let id = self.client.id;
        self.service.channels.forget(id, &mut self.subscriptions);
        self.service.tracking.forget(id);
        self.service.clients.forget(id);
    }
}
