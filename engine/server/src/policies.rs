//! The policies of a server: built in and uploaded.

use std::path::Path;
use std::sync::Arc;

use ostler_core::InstanceSource;

use crate::settings::Limits;

/// All policies that a server can put in charge.
pub struct Policies {}

/// Why a policy cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// It cannot be opened.
    #[error(transparent)]
    Open(#[from] ostler::OpenError),
}

impl Policies {
    /// The policies kept in `data_dir`, and those built in.
    ///
    /// # Errors
    ///
    /// [`PolicyError`] where the directory cannot be used.
    pub fn open(_data_dir: Option<&Path>, _limits: &Limits) -> Result<Self, PolicyError> {
        Ok(Self {})
    }

    /// What makes instances of `policy` for `cache`: the one last activated there, if that was kept,
    /// else the one that the settings name.
    ///
    /// # Errors
    ///
    /// [`PolicyError`] that names it.
    pub fn source(&self, _cache: &str, policy: &str) -> Result<Arc<dyn InstanceSource>, PolicyError> {
        Ok(ostler::policy(policy)?)
    }
}
