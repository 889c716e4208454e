//! Policies that the settings name as candidates for a cache.

use std::sync::Arc;

use ostler::PolicySpec;
use ostler_core::InstanceSource;

use super::{Asker, Charge, Policies, PolicyError};

impl Policies {
    /// What makes instances of a policy that the settings name, files among them, and what it is known by:
    /// an uploaded policy's version is settled.
    ///
    /// # Errors
    ///
    /// [`PolicyError`] where it is unknown or its parameters are refused.
    pub(crate) fn of_settings(
        &self,
        text: &str,
    ) -> Result<(Charge, Arc<dyn InstanceSource>), PolicyError> {
        let spec: PolicySpec = text.parse().map_err(ostler::OpenError::from)?;
        let charge = self.shared.pin(&spec.source.to_string(), None, &spec.params);
        let source = self.shared.resolve(&charge, Asker::Operator)?;
        Ok((charge, source))
    }
}
