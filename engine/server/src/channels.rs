//! Channels of `PUBLISH`, and who listens.

/// Channels and patterns with their subscribers.
#[derive(Default)]
pub struct Channels {}
