//! The server as a process: real clients, load while policies change, and whatever a network brings.

mod adaptive;
mod clients;
mod experiments;
mod fetching;
mod load;
mod logs;
mod models;
mod quarantine;
mod redis_rs;
mod wire;

use std::path::{Path, PathBuf};

use ostler_tests::Served;

/// The binary under test: what this package builds from the command line's own `main.rs`, or the one
/// that `OSTLER_BINARY` names.
fn binary() -> PathBuf {
    let built = Path::new(env!("CARGO_BIN_EXE_ostler-under-test"));
    std::env::var_os("OSTLER_BINARY").map_or_else(|| built.to_owned(), PathBuf::from)
}

/// A server on free ports.
fn serve(args: &[&str]) -> Served {
    Served::start(&binary(), args)
}
