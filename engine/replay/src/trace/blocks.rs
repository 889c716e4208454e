//! Block traces: ARC, LIRS and SPC text.
//!
//! - **ARC** (`.lis`, N. Megiddo and D. Modha, FAST 2003): `start count ignored request_number`,
//!   one request for each of `count` blocks from `start` on. Size 1, no times.
//! - **LIRS** (`.trc`, `.lirs`, S. Jiang and X. Zhang, SIGMETRICS 2002): one block number a line;
//!   lines that start with `*` are markers and skipped. Size 1, no times.
//! - **SPC** (`.spc`, Storage Performance Council trace file format 1.0):
//!   `unit,address,bytes,operation,seconds`. As in Caffeine's simulator an address counts blocks of
//!   512 bytes and a record becomes one request a block, rounded up. Unlike there, the storage unit
//!   is part of the key (unit × 2^48 + block), because block 7 of two units is two blocks; and
//!   writes are requests ([`Operation::Set`](super::Operation::Set)), as libCacheSim counts them.

use super::number;
use super::number::TimeUnit;
use super::text::{LineFault, OPERATION_NAMES, Run, operation};
use super::{Request, fields};

/// Most requests that one line may stand for: 8 GiB in blocks of 512 bytes. More is taken for
/// damage, not for a request.
pub(super) const RUN_REQUESTS_MAX: u64 = 1 << 24;

/// Bytes of a block in SPC traces.
const SPC_BLOCK_BYTES: u32 = 512;

/// Bits of a key that hold the block of an SPC trace; the unit stands above.
const SPC_BLOCK_BITS: u32 = 48;

const WHOLE: &str = "a whole number";
const RUN: &str = "a whole number up to 16777216";

/// One line of an ARC trace.
pub(super) fn parse_arc(line: &[u8]) -> Result<Run, LineFault> {
    let mut fields = line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty());
    let (Some(start), Some(count), Some(_), Some(request_number)) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        let have = line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty()).count();
        let expected = "4: start, count, ignored, request number".to_owned();
        return Err(LineFault::Missing { have, expected });
    };
    let start_block =
        number::whole(start).ok_or_else(|| LineFault::field("start", start, WHOLE))?;
    let blocks = number::whole(count)
        .filter(|&blocks| blocks <= RUN_REQUESTS_MAX && start_block.checked_add(blocks).is_some())
        .ok_or_else(|| LineFault::field("count", count, RUN))?;
    if number::whole(request_number).is_none() {
        return Err(LineFault::field("request number", request_number, WHOLE));
    }
    let first = Request::get(0, start_block, 1);
    Ok(Run { first, timed: false, count: blocks, key_step: 1 })
}

/// One line of a LIRS trace.
pub(super) fn parse_lirs(line: &[u8]) -> Result<Option<Run>, LineFault> {
    if line.trim_ascii().starts_with(b"*") {
        return Ok(None);
    }
    let block = number::whole(line)
        .ok_or_else(|| LineFault::field("block", line, "a block number, or `*` as a marker"))?;
    Ok(Some(Run::single(Request::get(0, block, 1))))
}

/// One line of an SPC trace.
pub(super) fn parse_spc(line: &[u8]) -> Result<Run, LineFault> {
    let mut columns = line.split(|&byte| byte == b',');
    let (Some(unit), Some(address), Some(bytes), Some(name), Some(seconds)) =
        (columns.next(), columns.next(), columns.next(), columns.next(), columns.next())
    else {
        let expected = "5: unit, address, bytes, operation, seconds".to_owned();
        return Err(LineFault::Missing { have: fields::count(line, b','), expected });
    };
    let unit_number = number::whole(unit)
        .filter(|&unit| unit >> (u64::BITS - SPC_BLOCK_BITS) == 0)
        .ok_or_else(|| LineFault::field("unit", unit, "a whole number below 65536"))?;
    let blocks = number::whole(bytes)
        .map(|bytes| bytes.div_ceil(u64::from(SPC_BLOCK_BYTES)))
        .filter(|&blocks| blocks <= RUN_REQUESTS_MAX)
        .ok_or_else(|| LineFault::field("bytes", bytes, "a whole number up to 8589934592"))?;
    let start_block = number::whole(address)
        .filter(|&start| start.checked_add(blocks).is_some_and(|end| end >> SPC_BLOCK_BITS == 0))
        .ok_or_else(|| LineFault::field("address", address, "a whole number below 2^48"))?;
    let operation =
        operation(name).ok_or_else(|| LineFault::field("operation", name, OPERATION_NAMES))?;
    let time_ms = number::time_ms(seconds, TimeUnit::Seconds)
        .ok_or_else(|| LineFault::field("seconds", seconds, "a time in seconds"))?;
    let key = unit_number << SPC_BLOCK_BITS | start_block;
    let first = Request::get(time_ms, key, SPC_BLOCK_BYTES).with_operation(operation);
    Ok(Run { first, timed: true, count: blocks, key_step: 1 })
}

#[cfg(test)]
mod tests {
    use super::super::tests_support::{keys, read_text};
    use super::*;
    use crate::trace::{Format, Operation, TraceError};

    #[test]
    fn arc_lines_become_one_request_a_block() {
        let (requests, error) = read_text(Format::Arc, "10 3 0 0\n7 1 0 1\n5 0 0 2\n11 2 0 3\n");
        assert!(error.is_none());
        assert_eq!(keys(&requests), [10, 11, 12, 7, 11, 12]);
        assert!(requests.iter().all(|request| request.size == 1));
        assert!(requests.iter().enumerate().all(|(i, request)| request.time_ms() == i as u64));
    }

    #[test]
    fn an_arc_run_longer_than_a_block_of_requests_is_whole() {
        let (requests, error) = read_text(Format::Arc, "100 20000 0 0\n1 1 0 1");
        assert!(error.is_none());
        let expected: Vec<u64> = (100..20_100).chain([1]).collect();
        assert_eq!(keys(&requests), expected);
    }

    #[test]
    fn lirs_markers_and_blank_lines_are_skipped() {
        let (requests, error) = read_text(Format::Lirs, "5\n*\n\n 6 \n* note\n5");
        assert!(error.is_none());
        assert_eq!(keys(&requests), [5, 6, 5]);
    }

    #[test]
    fn spc_records_become_one_request_a_block_of_512_bytes() {
        let text = "0,303567,3584,w,0.000000\n1,303567,1,R,0.026214\n0,8,0,r,1\n";
        let (requests, error) = read_text(Format::Spc, text);
        assert!(error.is_none());
        assert_eq!(requests.len(), 8);
        assert_eq!(keys(&requests[..7]), (303_567..303_574).collect::<Vec<u64>>());
        assert!(requests[..7].iter().all(|request| request.operation() == Operation::Set));
        let last = Request::get(26, (1 << 48) + 303_567, 512);
        assert_eq!(requests[7], last);
    }

    #[test]
    fn bad_lines_name_line_column_and_value() {
        for (format, text, expected) in [
            (Format::Arc, "1 1 0 0\n2 x 0 1", "test: line 2: count is \"x\", expected a whole"),
            (Format::Arc, "1 16777217 0 0", "test: line 1: count is \"16777217\", expected a "),
            (Format::Arc, "18446744073709551615 1 0 0", "test: line 1: count is \"1\", expected"),
            (Format::Arc, "1 1 0", "test: line 1 has 3 fields, expected 4: start, count, ign"),
            (Format::Lirs, "*\n1\n2a\n", "test: line 3: block is \"2a\", expected a block nu"),
            (Format::Lirs, "-4", "test: line 1: block is \"-4\", expected a block number"),
            (Format::Spc, "0,1,512,r", "test: line 1 has 4 fields, expected 5: unit, address"),
            (Format::Spc, "0,1,512,q,0", "test: line 1: operation is \"q\", expected an oper"),
            (Format::Spc, "65536,1,512,r,0", "test: line 1: unit is \"65536\", expected a who"),
            (Format::Spc, "0,281474976710655,512,r,0", "test: line 1: address is \"281474976"),
            (Format::Spc, "0,1,8589934593,r,0", "test: line 1: bytes is \"8589934593\", exp"),
            (Format::Spc, "0,1,512,r,now", "test: line 1: seconds is \"now\", expected a tim"),
        ] {
            let (_, error) = read_text(format, text);
            let found = error.expect("an error").to_string();
            assert!(found.starts_with(expected), "{text:?}: {found}");
        }
    }

    #[test]
    fn requests_before_a_bad_line_are_read() {
        let (requests, error) = read_text(Format::Lirs, "1\n2\n?\n3\n");
        assert_eq!(keys(&requests), [1, 2]);
        assert!(matches!(error, Some(TraceError::BadField { line: 3, .. })), "{error:?}");
    }

    #[test]
    fn a_trace_without_requests_is_an_error() {
        for text in ["", "\n\n", "*\n"] {
            let (_, error) = read_text(Format::Lirs, text);
            assert!(matches!(error, Some(TraceError::Empty { .. })), "{text:?}: {error:?}");
        }
    }
}
