//! Every reader against arbitrary bytes and cut traces: requests or an error, nothing else.

use proptest::prelude::*;

use super::tests_support::{collect, keys, pack_zstd, read_text, reader};
use super::{CsvOptions, Format, Packing};
use crate::error::{Place, TraceError};

fn formats() -> Vec<Format> {
    vec![
        Format::OracleGeneral,
        Format::Csv(CsvOptions::default()),
        Format::Arc,
        Format::Lirs,
        Format::Spc,
        Format::Twitter,
        Format::Meta,
    ]
}

/// A small valid trace of each text format; one request a line, so that lines can be counted.
fn texts() -> [(Format, &'static str); 6] {
    [
        (Format::Csv(CsvOptions::default()), "time,key,size\n10,abc,11\n12,defg,12\n13.5,77,13\n"),
        (Format::Arc, "100 1 0 0\n200 1 0 1\n300 1 0 2\n"),
        (Format::Lirs, "100\n200\n300\n"),
        (Format::Spc, "0,100,512,r,0.1\n1,200,512,w,0.2\n2,300,512,R,0.3\n"),
        (Format::Twitter, "1,abc,3,10,1,get,0\n2,de,2,10,1,set,60\n3,f,1,0,1,delete,0\n"),
        (
            Format::Meta,
            "key,op,size,op_count,key_size\n11,SET,82,1,40\n12,GET,9,1,4\n13,GET,7,1,4\n",
        ),
    ]
}

/// A text that is cut still yields every line before the cut, and an error names the cut line. A
/// cut within the last number of a line cannot be told from a shorter number.
#[test]
fn a_cut_text_yields_whole_lines_and_names_the_cut_one() {
    for (format, text) in texts() {
        let name = format!("{format:?}");
        let (whole, error) = read_text(format.clone(), text);
        assert!(error.is_none(), "{name}: {error:?}");
        assert_eq!(whole.len(), 3, "{name}");
        let header_lines = text.lines().count() - whole.len();
        for cut in 0..text.len() {
            let (requests, error) = read_text(format.clone(), &text[..cut]);
            let lines_whole = text[..cut].matches('\n').count();
            let before = lines_whole.saturating_sub(header_lines);
            assert_eq!(requests[..before.min(requests.len())], whole[..before], "{name} {cut}");
            match error {
                None => assert!(requests.len() - before <= 1, "{name} {cut}"),
                Some(TraceError::Empty { .. }) => assert_eq!(before, 0, "{name} {cut}"),
                Some(TraceError::MissingColumn { .. }) => assert_eq!(lines_whole, 0),
                Some(TraceError::BadField { line, .. } | TraceError::MissingField { line, .. }) => {
                    assert_eq!(line, lines_whole as u64 + 1, "{name} {cut}");
                    assert_eq!(requests.len(), before, "{name} {cut}");
                }
                Some(other) => panic!("{name} cut at {cut}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_cut_compressed_text_names_the_line() {
    let text: String =
        (0..3000u32).map(|i| format!("{}\n", i.wrapping_mul(2_654_435_761))).collect();
    let packed = pack_zstd(text.as_bytes());
    for cut in (1..packed.len()).step_by(7) {
        let (requests, error) =
            collect(reader(Format::Lirs, packed[..cut].to_vec(), Packing::Zstd));
        let Some(TraceError::Zstd { place: Place::Line(line), .. }) = error else {
            panic!("cut at {cut}: {error:?}");
        };
        assert_eq!(line, requests.len() as u64 + 1);
    }
}

#[test]
fn an_endless_line_in_a_compressed_trace_is_an_error_before_it_takes_memory() {
    // 64 MiB of `1` in a few kilobytes.
    let packed = pack_zstd(&vec![b'1'; 64 << 20]);
    for format in formats() {
        if format == Format::OracleGeneral {
            continue;
        }
        let (requests, error) = collect(reader(format.clone(), packed.clone(), Packing::Zstd));
        assert!(requests.is_empty());
        assert!(matches!(error, Some(TraceError::LineTooLong { line: 1, .. })), "{format:?}");
    }
}

/// Bytes that look like a trace often enough to get past the first field.
fn trace_like() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => "[0-9]{1,6}",
        4 => prop::sample::select(vec![",", " ", "\n", "\r\n", "\t"]).prop_map(str::to_owned),
        2 => prop::sample::select(vec!["get", "SET", "delete", "r", "w", "*", ".", "-", "\""])
            .prop_map(str::to_owned),
        1 => prop::sample::select(vec![
            "key,op,size,op_count,key_size\n", "time,id,bytes\n", "18446744073709551615",
        ])
        .prop_map(str::to_owned),
        1 => "\\PC{0,4}",
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_end_in_requests_or_an_error(
        bytes in prop_oneof![prop::collection::vec(any::<u8>(), 0..600), trace_like()],
    ) {
        for format in formats() {
            for packing in [Packing::Plain, Packing::Zstd] {
                let mut reader = reader(format.clone(), bytes.clone(), packing);
                // A run may stand for millions of requests; reading on is not the point here.
                let mut seen = 0u64;
                let mut last_ms = 0;
                let mut error = None;
                for request in reader.by_ref().take(100_000) {
                    match request {
                        Ok(request) => {
                            prop_assert!(request.time_ms() >= last_ms);
                            last_ms = request.time_ms();
                            seen += 1;
                        }
                        Err(found) => error = Some(found),
                    }
                }
                prop_assert!(seen > 0 || error.is_some());
                if let Some(error) = error {
                    prop_assert!(error.to_string().starts_with("test: "), "{error}");
                    prop_assert!(reader.next().is_none());
                }
            }
        }
    }

    #[test]
    fn a_flipped_bit_in_a_zstd_trace_is_survived(at in 0usize..4000, bit in 0u8..8) {
        let bytes: Vec<u8> =
            (0..200u64).flat_map(|i| [i * 31, i * 7, i]).flat_map(u64::to_le_bytes).collect();
        let mut packed = pack_zstd(&bytes);
        let index = at % packed.len();
        packed[index] ^= 1 << bit;
        let (requests, error) = collect(reader(Format::OracleGeneral, packed, Packing::Zstd));
        // Whole frames, fewer records with an error, or damage that the format cannot see.
        prop_assert!(error.is_some() || !requests.is_empty());
        prop_assert!(keys(&requests).len() <= 1 << 20);
    }
}
