//! The command line of Ostler.
//!
//! It owns argument parsing, exit statuses and how results are printed; every subcommand is a module.
//! It must not decide anything about caches or policies: that is what the crates below it are for.
//! It is a library so that tests run commands in their own process, with the streams they choose.

mod adaptive;
mod compare;
mod demo;
mod policy;
mod replay;
mod serve;

use std::ffi::OsString;
use std::io::{self, Write};

use clap::{Parser, Subcommand};

/// Exit status: the command did what it was asked.
pub const EXIT_DONE: u8 = 0;
/// Exit status: the command failed; one line on the error stream says why and what to do.
pub const EXIT_FAILED: u8 = 1;
/// Exit status: the arguments make no sense.
pub const EXIT_USAGE: u8 = 2;

/// A cache engine whose eviction policies are sandboxed WebAssembly modules.
#[derive(Debug, Parser)]
#[command(name = "ostler", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(Box<serve::Args>),
    Replay(replay::Args),
    Compare(compare::Args),
    Demo(demo::Args),
    /// Write, build and check eviction policies; upload them to a server and put them in charge.
    #[command(subcommand)]
    Policy(policy::Command),
}

/// What the program's allocator is called. The program that installs one says so before it calls
/// [`run`]; `ostler serve` tells its clients.
pub static ALLOCATOR: std::sync::OnceLock<&'static str> = std::sync::OnceLock::new();

/// Runs one command line, `args[0]` being the program's name, and returns the exit status.
///
/// Results go to `out`, errors and progress to `err`; compilers that a command starts write to the
/// process's own error stream. A reader that closes `out` early is no error.
pub fn run(
    args: impl IntoIterator<Item = OsString>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(usage) => return print_usage(&usage, out, err),
    };
    let outcome = match cli.command {
        Command::Serve(args) => serve::run(*args, out),
        Command::Replay(args) => replay::run(args, out),
        Command::Compare(args) => compare::run(args, out),
        Command::Demo(args) => demo::run(args, out),
        Command::Policy(command) => policy::run(command, out),
    };
    conclude(outcome, err)
}

/// The exit status; why a command failed is said on `err`.
fn conclude(outcome: anyhow::Result<u8>, err: &mut dyn Write) -> u8 {
    match outcome {
        Ok(status) => status,
        Err(error) if is_closed_pipe(&error) => EXIT_DONE,
        Err(error) => {
            // Nothing is left to do where even this cannot be written.
            let _ = writeln!(err, "error: {}", in_a_line(&error));
            if error.is::<Usage>() { EXIT_USAGE } else { EXIT_FAILED }
        }
    }
}

/// An argument that makes no sense, found only once others were looked at.
#[derive(Debug)]
struct Usage(String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// Fails a command because of its arguments: exit status 2.
pub(crate) fn usage(reason: impl std::fmt::Display) -> anyhow::Error {
    Usage(reason.to_string()).into()
}

/// Help and version are asked for and go to `out`; mistakes go to `err`.
fn print_usage(usage: &clap::Error, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    if usage.use_stderr() {
        // Nothing is left to do where even this cannot be written.
        let _ = write!(err, "{}", usage.render());
        return EXIT_USAGE;
    }
    let _ = write!(out, "{}", usage.render());
    EXIT_DONE
}

/// The error with its causes, without those that one before has told already.
fn in_a_line(error: &anyhow::Error) -> String {
    let mut line = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !line.contains(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let io_error = error.root_cause().downcast_ref::<io::Error>();
    io_error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ostler(args: &[&str]) -> (u8, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let args = ["ostler"].iter().chain(args).map(OsString::from);
        let status = run(args, &mut out, &mut err);
        (status, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    #[test]
    fn the_arguments_are_well_formed() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn statuses_and_streams() {
        let (status, out, err) = ostler(&["--help"]);
        assert_eq!((status, err.as_str()), (EXIT_DONE, ""));
        assert!(out.contains("policy"), "{out}");
        for args in [&["polish"][..], &["policy", "new"], &["policy", "pack", "a.wasm"]] {
            let (status, out, err) = ostler(args);
            assert_eq!((status, out.as_str()), (EXIT_USAGE, ""), "{args:?}");
            assert!(err.starts_with("error: "), "{err}");
        }
        let (status, out, err) = ostler(&["policy", "new", "Bad Name"]);
        assert_eq!((status, out.as_str(), err.lines().count()), (EXIT_USAGE, "", 1));
        let (status, out, err) = ostler(&["policy", "check", "/nowhere/a.wasm"]);
        assert_eq!((status, out.as_str(), err.lines().count()), (EXIT_FAILED, "", 1));
    }

    #[test]
    fn no_cause_is_told_twice() {
        let cause = || io::Error::other("the disk is full");
        let told = anyhow::Error::new(cause()).context("a: the disk is full");
        assert_eq!(in_a_line(&told), "a: the disk is full");
        let untold = anyhow::Error::new(cause()).context("a cannot be written");
        assert_eq!(in_a_line(&untold), "a cannot be written: the disk is full");
    }

    #[test]
    fn a_reader_that_went_away_is_no_error() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let args = ["ostler", "policy", "new", "mine", "--lang", "c", "--dir"];
        let args = args.iter().map(OsString::from).chain([dir.path().into()]);
        let mut err = Vec::new();
        assert_eq!(run(args, &mut Closed, &mut err), EXIT_DONE);
        assert!(err.is_empty());
    }
}
