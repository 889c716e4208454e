//! What the readers' tests share: a trace from bytes, and everything it yields.

use std::io::Cursor;

use super::{Format, Packing, Request, TraceReader};
use crate::error::TraceError;

/// A reader over `bytes`, called `test`.
pub(crate) fn reader(format: Format, bytes: Vec<u8>, packing: Packing) -> TraceReader {
    TraceReader::from_reader("test", Box::new(Cursor::new(bytes)), &format, packing).unwrap()
}

/// All requests of a trace, read in blocks, and the error at its end if there is one.
pub(crate) fn collect(mut reader: TraceReader) -> (Vec<Request>, Option<TraceError>) {
    let (mut all, mut block) = (Vec::new(), Vec::new());
    loop {
        match reader.read_block(&mut block) {
            Ok(0) => return (all, None),
            Ok(_) => all.extend_from_slice(&block),
            Err(error) => return (all, Some(error)),
        }
    }
}

/// The same for a text.
pub(crate) fn read_text(format: Format, text: &str) -> (Vec<Request>, Option<TraceError>) {
    collect(reader(format, text.as_bytes().to_vec(), Packing::Plain))
}

/// The keys of requests.
pub(crate) fn keys(requests: &[Request]) -> Vec<u64> {
    requests.iter().map(|request| request.key).collect()
}

/// `bytes` as a zstd frame.
pub(crate) fn pack_zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}
