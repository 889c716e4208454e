//! Commands: expiry.

use crate::commands::Command;

/// The commands of this file.
pub const COMMANDS: &[Command] = &[];
