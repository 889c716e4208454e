//! The log of one instance: what its guest said through `ostler.log`, bounded.

use std::mem;

use crate::manifest::shorten;

/// Longest line that is kept; the rest is cut off. Bytes as the guest wrote them.
const LINE_BYTES_MAX: usize = 256;
/// What a line costs beside its text, so that empty lines are bounded too.
const LINE_OVERHEAD_BYTES: usize = 16;

/// Lines of one instance until they are taken. Never holds more than its limit.
pub(crate) struct Log {
    lines: Vec<String>,
    bytes: usize,
    bytes_max: usize,
    dropped: u64,
}

/// What [`WasmInstance::take_log`](crate::WasmInstance::take_log) returns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TakenLog {
    /// The lines in order, control characters escaped, cut after 80 characters.
    pub lines: Vec<String>,
    /// Lines that were dropped because earlier ones had not been taken.
    pub dropped: u64,
}

impl Log {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { lines: Vec::new(), bytes: 0, bytes_max, dropped: 0 }
    }

    /// Keeps a line, or counts it where there is no room.
    pub(crate) fn add(&mut self, text: &[u8]) {
        let cut = &text[..text.len().min(LINE_BYTES_MAX)];
        let bytes = cut.len() + LINE_OVERHEAD_BYTES;
        if self.bytes + bytes > self.bytes_max {
            self.dropped += 1;
            return;
        }
        self.bytes += bytes;
        self.lines.push(shorten(&String::from_utf8_lossy(cut)));
    }

    pub(crate) fn take(&mut self) -> TakenLog {
        self.bytes = 0;
        TakenLog { lines: mem::take(&mut self.lines), dropped: mem::take(&mut self.dropped) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_bounded_and_counted() {
        let mut log = Log::new(100);
        for _ in 0..10 {
            log.add(b"0123456789abcdef");
        }
        assert_eq!(log.take(), TakenLog { lines: vec!["0123456789abcdef".into(); 3], dropped: 7 });
        log.add(&[b'x'; 1000]);
        assert_eq!(log.take().dropped, 1, "a cut line of 256 bytes does not fit into 100");
        log.add(b"\x1b[2J\xff");
        assert_eq!(log.take().lines, ["\\u{1b}[2J\u{fffd}"]);
    }
}
