//! Who may do what: tokens and roles, for both fronts.

use subtle::ConstantTimeEq;

/// What a caller may do. Each includes those before.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize, serde::Serialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Read entries, statistics and metrics, and listen to channels.
    Read,
    /// Also upload policies and put them in charge.
    Policy,
    /// Also write entries, delete, flush, configure, and send messages to other clients: all that there
    /// is.
    Admin,
}

/// A token and what it allows.
#[derive(Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Grant {
    /// The secret.
    pub token: String,
    /// What it allows.
    pub role: Role,
}

impl std::fmt::Debug for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grant").field("token", &"…").field("role", &self.role).finish()
    }
}

/// The tokens of a server.
#[derive(Clone, Debug, Default)]
pub struct Grants(Vec<Grant>);

impl Grants {
    /// These tokens.
    #[must_use]
    pub fn new(grants: Vec<Grant>) -> Self {
        Self(grants)
    }

    /// True where nobody needs a token.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.is_empty()
    }

    /// What `token` allows, none where it is unknown. Takes the same time for every token of a length:
    /// all are compared, each in constant time.
    #[must_use]
    pub fn role_of(&self, token: &[u8]) -> Option<Role> {
        let known = |grant: &&Grant| bool::from(grant.token.as_bytes().ct_eq(token));
        self.0.iter().filter(known).map(|grant| grant.role).max()
    }
}
