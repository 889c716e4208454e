//! Any bytes as a trace in every format: requests in order of time, then the end or one error.
#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use ostler_replay::{BLOCK_REQUESTS_MAX, CsvOptions, Format, Packing, TraceReader};

fuzz_target!(|input: (u8, &[u8])| {
    let (choice, bytes) = input;
    let format = match choice % 7 {
        0 => Format::OracleGeneral,
        1 => Format::Csv(CsvOptions::default()),
        2 => Format::Arc,
        3 => Format::Lirs,
        4 => Format::Spc,
        5 => Format::Twitter,
        _ => Format::Meta,
    };
    let packing = if choice >= 128 { Packing::Zstd } else { Packing::Plain };
    let reader = Box::new(Cursor::new(bytes.to_vec()));
    let Ok(mut trace) = TraceReader::from_reader("fuzz", reader, &format, packing) else { return };
    let mut block = Vec::new();
    let (mut before, mut blocks) = (0, 0);
    loop {
        match trace.read_block(&mut block) {
            Ok(0) => break,
            Ok(count) => assert!(count == block.len() && count <= BLOCK_REQUESTS_MAX),
            Err(error) => {
                assert_eq!(error.to_string().lines().count(), 1);
                assert_eq!(trace.read_block(&mut block).ok(), Some(0), "an error ends the trace");
                break;
            }
        }
        for request in &block {
            assert!(request.time_ms() >= before, "time never goes back");
            before = request.time_ms();
        }
        // One range of blocks can stand for very many requests.
        blocks += 1;
        if blocks == 1000 {
            break;
        }
    }
});
