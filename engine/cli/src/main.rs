//! The binary `ostler`: the library's [`run`](ostler_cli::run) on the process's own streams.

use std::process::ExitCode;

/// What a cache sells is memory. jemalloc keeps small values of many sizes in less of it than the
/// system's allocator, gives it back while the server runs, and threads do not wait for each other.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // Nobody has set it before.
    let _ = ostler_cli::ALLOCATOR.set("jemalloc");
    let args = std::env::args_os();
    ExitCode::from(ostler_cli::run(args, &mut std::io::stdout(), &mut std::io::stderr()))
}
