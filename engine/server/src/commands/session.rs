//! One client's conversation: what its commands change about itself.

use std::sync::Arc;

use crate::auth::Role;
use crate::clients::Client;
use crate::commands::transactions::Transaction;
use crate::resp::reply::Protocol;

/// The state of a conversation.
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
    /// Space for one key at a time.
    pub(crate) scratch: Vec<u8>,
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
