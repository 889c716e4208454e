//! `MULTI`, `EXEC`, `DISCARD`, `WATCH`, `UNWATCH`.

use crate::commands::Command;

/// What `MULTI` and `WATCH` have begun in a conversation.
#[derive(Default)]
pub struct Transaction {}

/// The commands of this file.
pub const COMMANDS: &[Command] = &[];
