//! The binary `ostler`: the library's [`run`](ostler_cli::run) on the process's own streams.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args = std::env::args_os();
    ExitCode::from(ostler_cli::run(args, &mut std::io::stdout(), &mut std::io::stderr()))
}
