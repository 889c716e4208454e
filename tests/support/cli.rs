//! Commands, run in this process through the command line's library.

use std::ffi::OsString;

/// What one command came to.
#[derive(Debug)]
pub struct Ran {
    /// Exit status.
    pub status: u8,
    /// What it printed.
    pub out: String,
    /// What it printed to the error stream.
    pub err: String,
}

impl Ran {
    /// The lines printed, each as a JSON object.
    ///
    /// # Panics
    ///
    /// Where a line is none.
    #[must_use]
    pub fn rows(&self) -> Vec<serde_json::Value> {
        let row = |line: &str| serde_json::from_str(line).expect("every line is a JSON object");
        self.out.lines().map(row).collect()
    }
}

/// Runs `ostler` with `args`.
///
/// # Panics
///
/// Where the output is not UTF-8.
pub fn ostler<A: Into<OsString>>(args: impl IntoIterator<Item = A>) -> Ran {
    let args = [OsString::from("ostler")].into_iter().chain(args.into_iter().map(Into::into));
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let status = ostler_cli::run(args, &mut out, &mut err);
    let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
    Ran { status, out: text(out), err: text(err) }
}

/// Runs `ostler` with arguments that stand in one text, separated by blanks.
pub fn ostler_line(line: &str) -> Ran {
    ostler(line.split_whitespace())
}
