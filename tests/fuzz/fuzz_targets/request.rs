//! Any bytes from a RESP client, in any pieces: the same requests and the same error as in one piece,
//! and never more words or longer ones than the limits allow.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ostler_server::resp::request::{Parsed, Parser, ProtocolError, Trust, Words};
use ostler_server::settings::Limits;

/// What a client's bytes come to.
type Outcome = (Vec<Vec<Vec<u8>>>, Option<ProtocolError>);

fn parse(bytes: &[u8], limits: &Limits, trust: Trust, piece_len: usize) -> Outcome {
    let mut parser = Parser::new(limits);
    parser.set_trust(trust);
    let (mut words, mut requests) = (Words::default(), Vec::new());
    let (mut start, mut end) = (0, 0);
    while end < bytes.len() {
        end = bytes.len().min(end.saturating_add(piece_len));
        loop {
            match parser.parse(&bytes[start..end], &mut words) {
                Ok(Parsed::Request(len)) => {
                    let request: Vec<_> =
                        words.iter(&bytes[start..end]).map(<[u8]>::to_vec).collect();
                    assert!(!request.is_empty() && request.len() <= limits.arguments_max);
                    requests.push(request);
                    start += len;
                }
                Ok(Parsed::Nothing(len)) => start += len,
                Ok(Parsed::Incomplete(missing)) => {
                    assert!(missing > 0);
                    break;
                }
                Err(error) => return (requests, Some(error)),
            }
            assert!(start <= end);
        }
    }
    (requests, None)
}

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits {
        arguments_max: 16,
        bulk_bytes_max: 1024,
        inline_bytes_max: 512,
        ..Limits::default()
    };
    for trust in [Trust::Known, Trust::Stranger] {
        let whole = parse(bytes, &limits, trust, usize::MAX);
        for piece_len in [1, 3, 17] {
            assert_eq!(parse(bytes, &limits, trust, piece_len), whole);
        }
    }
});
