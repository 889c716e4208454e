//! libCacheSim's `oracleGeneral`: packed little-endian records of 24 bytes.
//!
//! | offset | field |
//! |---|---|
//! | 0 | `u32` time, seconds |
//! | 4 | `u64` object id |
//! | 12 | `u32` size, bytes |
//! | 16 | `i64` index of the object's next request, −1 if none; not used here |
//!
//! The speed of a replay starts here: one read a block, no branch on a record's content.

use super::clock::TraceClock;
use super::input::Input;
use super::{BLOCK_REQUESTS_MAX, Request};
use crate::error::{Place, TraceError};

/// Bytes of one record.
pub(super) const RECORD_BYTES: usize = 24;

/// Reads `oracleGeneral` records in blocks.
pub(super) struct OracleReader {
    input: Input,
    /// One block of bytes.
    buffer: Vec<u8>,
    /// Records decoded so far.
    records: u64,
    clock: TraceClock,
}

impl OracleReader {
    pub(super) fn new(input: Input) -> Self {
        let buffer = vec![0; BLOCK_REQUESTS_MAX * RECORD_BYTES];
        Self { input, buffer, records: 0, clock: TraceClock::default() }
    }

    /// The trace's name, for errors.
    pub(super) fn file(&self) -> &str {
        self.input.file()
    }

    /// Appends the next block to `out`, nothing at the end. On an error the whole records before
    /// it have been appended.
    pub(super) fn read(&mut self, out: &mut Vec<Request>) -> Result<(), TraceError> {
        let (len, error) = self.input.fill(&mut self.buffer);
        let (records, rest) = self.buffer[..len].as_chunks::<RECORD_BYTES>();
        let clock = &mut self.clock;
        out.extend(records.iter().map(|record| decode(record, clock)));
        self.records += records.len() as u64;
        match error {
            Some(source) => Err(self.input.error_at(Place::Record(self.records + 1), source)),
            None if rest.is_empty() => Ok(()),
            None => Err(TraceError::Truncated {
                file: self.file().to_owned(),
                record: self.records + 1,
                have_bytes: rest.len(),
                record_bytes: RECORD_BYTES,
            }),
        }
    }
}

#[inline]
fn decode(record: &[u8; RECORD_BYTES], clock: &mut TraceClock) -> Request {
    let [t0, t1, t2, t3, k0, k1, k2, k3, k4, k5, k6, k7, s0, s1, s2, s3, ..] = *record;
    let time_s = u32::from_le_bytes([t0, t1, t2, t3]);
    let key = u64::from_le_bytes([k0, k1, k2, k3, k4, k5, k6, k7]);
    let size = u32::from_le_bytes([s0, s1, s2, s3]);
    Request::get(clock.since_first(u64::from(time_s) * 1000), key, size)
}

#[cfg(test)]
mod tests {
    use super::super::tests_support::{collect, pack_zstd, reader};
    use super::*;
    use crate::trace::{Format, Packing};

    fn record(time_s: u32, key: u64, size: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(time_s.to_le_bytes());
        bytes.extend(key.to_le_bytes());
        bytes.extend(size.to_le_bytes());
        bytes.extend((-1i64).to_le_bytes());
        bytes
    }

    fn three_records() -> Vec<u8> {
        [record(10, 7, 100), record(10, u64::MAX, 0), record(12, 7, u32::MAX)].concat()
    }

    fn expected() -> [Request; 3] {
        [Request::get(0, 7, 100), Request::get(0, u64::MAX, 0), Request::get(2000, 7, u32::MAX)]
    }

    #[test]
    fn records_are_read_plain_and_compressed() {
        let bytes = three_records();
        let plain = reader(Format::OracleGeneral, bytes.clone(), Packing::Plain);
        assert_eq!(collect(plain).0, expected());
        let packed = reader(Format::OracleGeneral, pack_zstd(&bytes), Packing::Zstd);
        assert_eq!(collect(packed).0, expected());
    }

    #[test]
    fn records_beyond_one_block_are_all_read() {
        let count = BLOCK_REQUESTS_MAX * 2 + 3;
        let bytes: Vec<u8> = (0..count as u64).flat_map(|key| record(0, key, 1)).collect();
        let (requests, error) = collect(reader(Format::OracleGeneral, bytes, Packing::Plain));
        assert!(error.is_none());
        assert_eq!(requests.len(), count);
        assert!(requests.iter().enumerate().all(|(i, request)| request.key == i as u64));
    }

    #[test]
    fn a_cut_at_any_byte_names_the_record() {
        let bytes = three_records();
        for cut in 0..=bytes.len() {
            let reader = reader(Format::OracleGeneral, bytes[..cut].to_vec(), Packing::Plain);
            let (requests, error) = collect(reader);
            let whole = cut / RECORD_BYTES;
            assert_eq!(requests, expected()[..whole], "cut at {cut}");
            match error {
                Some(TraceError::Empty { .. }) => assert_eq!(cut, 0),
                Some(TraceError::Truncated { record, have_bytes, .. }) => {
                    assert_eq!(record, whole as u64 + 1);
                    assert_eq!(have_bytes, cut % RECORD_BYTES);
                    assert_ne!(have_bytes, 0);
                }
                None => assert!(cut > 0 && cut % RECORD_BYTES == 0),
                other => panic!("cut at {cut}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_cut_zstd_stream_yields_a_prefix_and_then_the_error() {
        let bytes: Vec<u8> =
            (0..500u64).flat_map(|i| record(0, i.wrapping_mul(0x9e37_79b9_7f4a_7c15), 1)).collect();
        let packed = pack_zstd(&bytes);
        for cut in 1..packed.len() {
            let (requests, error) =
                collect(reader(Format::OracleGeneral, packed[..cut].to_vec(), Packing::Zstd));
            let Some(TraceError::Zstd { place, .. }) = error else {
                panic!("cut at {cut}: {error:?}");
            };
            assert_eq!(place, Place::Record(requests.len() as u64 + 1));
        }
    }

    #[test]
    fn a_corrupt_zstd_stream_is_an_error_that_says_what_to_do() {
        let mut packed = pack_zstd(&three_records());
        packed[0] ^= 0xff;
        let (requests, error) = collect(reader(Format::OracleGeneral, packed, Packing::Zstd));
        assert!(requests.is_empty());
        let text = error.expect("an error").to_string();
        assert!(text.starts_with("test: the zstd stream breaks in record 1: "), "{text}");
        assert!(text.contains("zstd -t"), "{text}");
    }

    #[test]
    fn a_zstd_frame_with_a_giant_window_is_refused() {
        // Magic, frame header with window descriptor 0xa8 (2^31 bytes), one empty last block.
        let frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0x00, 0x00];
        let (_, error) = collect(reader(Format::OracleGeneral, frame, Packing::Zstd));
        assert!(matches!(error, Some(TraceError::Zstd { .. })), "{error:?}");
    }
}
