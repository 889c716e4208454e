//! Twitter's cache traces (J. Yang, Y. Yue, R. Vinayak, OSDI 2020).
//!
//! `timestamp,key,key size,value size,client id,operation,TTL`, without a header. The timestamp is
//! in seconds, the size of a request is key size + value size, and the client and TTL are not used.
//! `get` and `gets` are gets; `set add replace cas append prepend incr decr` are sets; `delete`
//! deletes. A get that missed in production has value size 0. Keys may contain commas, so fields
//! are counted from both ends; quotes mean nothing.

use super::number::{self, TimeUnit};
use super::text::{LineFault, OPERATION_NAMES, Run, operation};
use super::{Request, fields};

/// One line of a Twitter trace.
pub(super) fn parse(line: &[u8]) -> Result<Run, LineFault> {
    let Some([timestamp, key, key_size, value_size, name, ttl]) = split(line) else {
        let expected =
            "7: timestamp, key, key size, value size, client id, operation, TTL".to_owned();
        return Err(LineFault::Missing { have: fields::count(line, b','), expected });
    };
    let bytes = |column, text| {
        number::whole_u32(text)
            .ok_or_else(|| LineFault::field(column, text, "a whole number of bytes"))
    };
    let time_ms = number::time_ms(timestamp, TimeUnit::Seconds)
        .ok_or_else(|| LineFault::field("timestamp", timestamp, "a time in seconds"))?;
    let key = number::key(key).ok_or_else(|| LineFault::field("key", key, "a key"))?;
    let size = bytes("key size", key_size)?.saturating_add(bytes("value size", value_size)?);
    let operation =
        operation(name).ok_or_else(|| LineFault::field("operation", name, OPERATION_NAMES))?;
    // Not used, but a cut line often shows here.
    if number::whole(ttl).is_none() {
        return Err(LineFault::field("TTL", ttl, "a whole number of seconds"));
    }
    let first = Request::get(time_ms, key, size).with_operation(operation);
    Ok(Run { timed: true, ..Run::single(first) })
}

/// Timestamp, key, key size, value size, operation and TTL.
fn split(line: &[u8]) -> Option<[&[u8]; 6]> {
    let (timestamp, rest) = line.split_at(memchr::memchr(b',', line)?);
    let mut from_right = rest[1..].rsplitn(6, |&byte| byte == b',');
    let ttl = from_right.next()?;
    let name = from_right.next()?;
    let _client = from_right.next()?;
    let value_size = from_right.next()?;
    let key_size = from_right.next()?;
    let key = from_right.next()?;
    Some([timestamp, key, key_size, value_size, name, ttl])
}

#[cfg(test)]
mod tests {
    use ostler_abi::hash_bytes;

    use super::super::tests_support::read_text;
    use super::*;
    use crate::trace::{Format, Operation};

    #[test]
    fn operations_keys_and_sizes() {
        let text = "100,nz:u:eeW51,14,0,7,get,0\n\
                    100,nz:u:eeW51,14,86,7,set,3600\n\
                    102,a,b\"c,4,6,8,gets,0\n\
                    102,42,2,4294967295,8,incr,0\n\
                    103,42,2,0,8,delete,0\n";
        let (requests, error) = read_text(Format::Twitter, text);
        assert!(error.is_none(), "{error:?}");
        let nz = hash_bytes(b"nz:u:eeW51", 0);
        let expected = [
            Request::get(0, nz, 14),
            Request::get(0, nz, 100).with_operation(Operation::Set),
            Request::get(2000, hash_bytes(b"a,b\"c", 0), 10),
            Request::get(2000, 42, u32::MAX).with_operation(Operation::Set),
            Request::get(3000, 42, 2).with_operation(Operation::Delete),
        ];
        assert_eq!(requests, expected);
    }

    #[test]
    fn bad_lines_name_line_column_and_value() {
        for (text, expected) in [
            ("1,a,1,1,1,get", "test: line 1 has 6 fields, expected 7: timestamp, key"),
            ("1", "test: line 1 has 1 fields, expected 7"),
            ("x,a,1,1,1,get,0", "test: line 1: timestamp is \"x\", expected a time in seconds"),
            ("1,,1,1,1,get,0", "test: line 1: key is \"\", expected a key"),
            ("1,a,-1,1,1,get,0", "test: line 1: key size is \"-1\", expected a whole number of"),
            ("1,a,1,,1,get,0", "test: line 1: value size is \"\", expected a whole number of"),
            ("1,a,1,1,1,touch,0", "test: line 1: operation is \"touch\", expected an operation"),
            ("1,a,1,1,1,get,", "test: line 1: TTL is \"\", expected a whole number of seconds"),
        ] {
            let found = read_text(Format::Twitter, text).1.expect("an error").to_string();
            assert!(found.starts_with(expected), "{text:?}: {found}");
        }
    }
}
