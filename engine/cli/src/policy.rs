//! `ostler policy`: the way of a policy author, from a template to an admitted module.

mod build;
mod check;
mod checkout;
mod module;
mod new;
mod pack;

use std::io::Write;

use anyhow::Result;
use clap::Subcommand;

use crate::EXIT_DONE;

/// What can be done with a policy.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a policy from a template: a complete one, ready to be changed.
    New(new::Args),
    /// Compile a policy to a module.
    Build(build::Args),
    /// Tell whether a cache would admit a module, step by step.
    Check(check::Args),
    /// Put a manifest into a module that was written in any language.
    Pack(pack::Args),
}

/// Runs a subcommand and returns the exit status.
pub(crate) fn run(command: Command, out: &mut dyn Write) -> Result<u8> {
    match command {
        Command::New(args) => new::run(&args, out).map(|()| EXIT_DONE),
        Command::Build(args) => build::run(&args, out).map(|()| EXIT_DONE),
        Command::Check(args) => check::run(&args, out),
        Command::Pack(args) => pack::run(&args, out).map(|()| EXIT_DONE),
    }
}
