//! Which clients are told when a key changes: the server's side of client-side caching.

use crate::keyspace::{Key, Writer};

/// Who tracks which keys.
#[derive(Default)]
pub struct Tracking {}

impl Tracking {
    /// `key` changed or left; `writer` did it, 0 for the server itself.
    #[inline]
    pub fn touched(&self, _key: &Key, _writer: Writer) {}

    /// Everything left.
    pub fn flushed(&self) {}
}
