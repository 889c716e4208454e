//! Bytes of a trace: a file or any reader, decompressed on the way if need be.
//!
//! Owns the decompressor and its memory bound, and turns input errors into [`TraceError`]s. It must
//! not know what the bytes mean.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use crate::error::{Place, TraceError};

/// Largest window a zstd frame may ask for, as a power of two: 128 MiB, what `zstd --ultra -22`
/// writes and `zstd -d` accepts. Frames made with `--long=28` or more are refused.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// Where the bytes of a trace come from.
pub(crate) struct Input {
    reader: Box<dyn Read + Send>,
    /// The trace's name, for errors.
    file: Arc<str>,
    compressed: bool,
}

/// How the bytes of a trace are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// As they are.
    Plain,
    /// One or more zstd frames, each with a window of at most 128 MiB.
    Zstd,
}

impl Input {
    /// Opens a file.
    pub(crate) fn open(path: &Path, packing: Packing) -> Result<Self, TraceError> {
        let file = path.display().to_string();
        match File::open(path) {
            Ok(opened) => Self::new(&file, Box::new(opened), packing),
            Err(source) => Err(TraceError::Open { file, source }),
        }
    }

    /// Reads from `reader`; errors call it `name`.
    pub(crate) fn new(
        name: &str,
        reader: Box<dyn Read + Send>,
        packing: Packing,
    ) -> Result<Self, TraceError> {
        let reader = match packing {
            Packing::Plain => reader,
            Packing::Zstd => unpack(reader)
                .map_err(|source| TraceError::Open { file: name.to_owned(), source })?,
        };
        Ok(Self { reader, file: Arc::from(name), compressed: packing == Packing::Zstd })
    }

    /// The trace's name, for errors.
    pub(crate) fn file(&self) -> &str {
        &self.file
    }

    /// Fills `buffer` as far as the input goes: the bytes read, and the error that ended it.
    /// Fewer bytes than asked for and no error is the end of the input.
    pub(crate) fn fill(&mut self, buffer: &mut [u8]) -> (usize, Option<io::Error>) {
        let mut len = 0;
        while len < buffer.len() {
            match self.reader.read(&mut buffer[len..]) {
                Ok(0) => break,
                Ok(more) => len += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (len, Some(error)),
            }
        }
        (len, None)
    }

    /// Says where an input error happened, and whether it is the system's or the stream's.
    pub(crate) fn error_at(&self, place: Place, source: io::Error) -> TraceError {
        let file = self.file.to_string();
        // The decompressor passes the system's errors on and makes its own without a system code.
        if self.compressed && source.raw_os_error().is_none() {
            TraceError::Zstd { file, place, source }
        } else {
            TraceError::Read { file, place, source }
        }
    }
}

fn unpack(reader: Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>> {
    let mut decoder = zstd::Decoder::new(reader)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
    Ok(Box::new(decoder))
}
