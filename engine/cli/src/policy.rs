//! `ostler policy`: the way of a policy author, from a template to an admitted module,
//! and from there to a server.

mod build;
mod check;
mod checkout;
mod module;
mod new;
mod pack;
mod remote;

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
    /// Upload a module to a server.
    Push(remote::Push),
    /// Show the policies of a server: uploaded and built in, and who uses them.
    List(remote::List),
    /// Put a policy in charge of a cache, while it serves.
    Activate(remote::Activate),
    /// Put the policy before this one in charge of a cache again.
    Rollback(remote::Rollback),
    /// Remove an uploaded policy, or one version of it, from a server.
    Rm(remote::Rm),
}

/// Runs a subcommand and returns the exit status.
pub(crate) fn run(command: Command, out: &mut dyn Write) -> Result<u8> {
    match command {
        Command::New(args) => new::run(&args, out).map(|()| EXIT_DONE),
        Command::Build(args) => build::run(&args, out).map(|()| EXIT_DONE),
        Command::Check(args) => check::run(&args, out),
        Command::Pack(args) => pack::run(&args, out).map(|()| EXIT_DONE),
        Command::Push(args) => remote::push(&args, out).map(|()| EXIT_DONE),
        Command::List(args) => remote::list(&args, out).map(|()| EXIT_DONE),
        Command::Activate(args) => remote::activate(args, out).map(|()| EXIT_DONE),
        Command::Rollback(args) => remote::rollback(&args, out).map(|()| EXIT_DONE),
        Command::Rm(args) => remote::rm(&args, out).map(|()| EXIT_DONE),
    }
}
