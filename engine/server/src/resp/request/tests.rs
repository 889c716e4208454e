//! Requests by hand, in pieces, and against another parser.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use redis_protocol::resp2::decode::decode;
use redis_protocol::resp2::types::{OwnedFrame, Resp2Frame};

use super::{Parsed, Parser, ProtocolError, Trust, Words};
use crate::settings::Limits;

/// What a client's bytes come to: its requests, and the error that ended them.
type Outcome = (Vec<Vec<Vec<u8>>>, Option<ProtocolError>);

fn limits() -> Limits {
    Limits { arguments_max: 64, bulk_bytes_max: 1 << 20, ..Limits::default() }
}

#[test]
fn what_a_large_request_needed_is_given_back() {
    let limits = Limits { arguments_max: 1 << 20, ..Limits::default() };
    let (mut parser, mut words) = (Parser::new(&limits), Words::default());
    let mut request = b"*100000\r\n".to_vec();
    (0..100_000).for_each(|_| request.extend_from_slice(b"$1\r\na\r\n"));
    assert_eq!(parser.parse(&request, &mut words), Ok(Parsed::Request(request.len())));
    assert_eq!(words.len(), 100_000);
    let line = [&b"x ".repeat(30_000)[..], b"\r\n"].concat();
    words.clear();
    words.rest();
    assert!(words.ranges.capacity() <= 1024);
    assert_eq!(parser.parse(&line, &mut words), Ok(Parsed::Request(line.len())));
    words.clear();
    words.rest();
    assert!(words.line.capacity() <= 1024 && words.ranges.capacity() <= 1024);
}

/// Requests, and their words.
type Requests<'a> = &'a [&'a [&'a [u8]]];

/// Hands `bytes` over in `pieces` (lengths, the last repeats).
fn parse_in(bytes: &[u8], pieces: &[usize], trust: Trust) -> Outcome {
    let mut parser = Parser::new(&limits());
    parser.set_trust(trust);
    let (mut words, mut buffer, mut requests) = (Words::default(), Vec::new(), Vec::new());
    let mut rest = bytes;
    let mut pieces = pieces.iter().copied().chain(std::iter::repeat(*pieces.last().unwrap_or(&1)));
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(pieces.next().unwrap_or(1).clamp(1, rest.len()));
        rest = after;
        buffer.extend_from_slice(piece);
        loop {
            match parser.parse(&buffer, &mut words) {
                Ok(Parsed::Request(len)) => {
                    requests.push(words.iter(&buffer).map(<[u8]>::to_vec).collect());
                    buffer.drain(..len);
                }
                Ok(Parsed::Nothing(len)) => drop(buffer.drain(..len)),
                Ok(Parsed::Incomplete(missing)) => {
                    assert!(missing > 0);
                    break;
                }
                Err(error) => return (requests, Some(error)),
            }
        }
    }
    (requests, None)
}

fn parse(bytes: &[u8]) -> Outcome {
    parse_in(bytes, &[usize::MAX], Trust::Known)
}

fn encode(words: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

#[test]
fn requests_by_hand() {
    let table: &[(&[u8], Requests<'_>)] = &[
        (b"*1\r\n$4\r\nPING\r\n", &[&[b"PING"]]),
        (b"*2\r\n$3\r\nGET\r\n$0\r\n\r\n", &[&[b"GET", b""]]),
        (b"*2\r\n$3\r\nGET\r\n$2\r\n\r\n\r\n", &[&[b"GET", b"\r\n"]]),
        (b"*0\r\n*-1\r\n\r\n*-7\r\n*1\r\n$1\r\na\r\n", &[&[b"a"]]),
        (b"PING\r\n", &[&[b"PING"]]),
        (b"  set\ta   b \n\n", &[&[b"set", b"a", b"b"]]),
        (b"set \"a b\" 'c d'\r\n", &[&[b"set", b"a b", b"c d"]]),
        (br#"set "\x41\n\"\q" 'it\'s'"#, &[]),
        (b"set \"\\x41\\n\\\"\\q\\xg\" 'it\\'s'\r\n", &[&[b"set", b"A\n\"qxg", b"it's"]]),
        (b"set a\"b c\" \"\"\n", &[&[b"set", b"ab c", b""]]),
        (b"a\0b c\n", &[&[b"a"]]),
        (b"*1\r\n$1\r\na", &[]),
    ];
    for (bytes, expected) in table {
        let (requests, error) = parse(bytes);
        assert_eq!(error, None, "{}", bytes.escape_ascii());
        assert_eq!(requests, *expected, "{}", bytes.escape_ascii());
    }
}

#[test]
fn refusals_by_hand() {
    let long = [b'1'; 70_000];
    let line = |mark: &[u8]| [mark, &long].concat();
    let table: &[(Vec<u8>, &str)] = &[
        (b"*x\r\n".into(), "invalid multibulk length"),
        (b"*\r\n".into(), "invalid multibulk length"),
        (b"*+1\r\n".into(), "invalid multibulk length"),
        (b"*01\r\n".into(), "invalid multibulk length"),
        (b"*65\r\n".into(), "invalid multibulk length"),
        (b"*20000000000000000000\r\n".into(), "invalid multibulk length"),
        (b"*1\r\nfoo\r\n".into(), "expected '$', got 'f'"),
        (b"*1\r\n$-10\r\n".into(), "invalid bulk length"),
        (b"*1\r\n$blabla\r\n".into(), "invalid bulk length"),
        (b"*1\r\n$1048577\r\n".into(), "invalid bulk length"),
        (b"*1\r\n$1\r\nabc".into(), "expected a line end after the bulk"),
        (line(b"*"), "too big mbulk count string"),
        (line(b"*1\r\n$"), "too big bulk count string"),
        (line(b""), "too big inline request"),
        (b"set \"a\r\n".into(), "unbalanced quotes in request"),
        (b"set 'a\r\n".into(), "unbalanced quotes in request"),
        (b"set \"a\"b\r\n".into(), "unbalanced quotes in request"),
        (b"set \"a\\".into(), ""),
    ];
    for (bytes, text) in table {
        let error = parse(bytes).1.map(|error| error.to_string()).unwrap_or_default();
        let expected =
            if text.is_empty() { String::new() } else { format!("ERR Protocol error: {text}") };
        assert_eq!(error, expected, "{}", bytes[..bytes.len().min(40)].escape_ascii());
    }
}

#[test]
fn strangers_are_kept_short() {
    let long = [b"*2\r\n$4\r\nAUTH\r\n$16385\r\n".to_vec(), vec![b'a'; 16_385], b"\r\n".to_vec()];
    let table: &[(&[u8], Option<ProtocolError>)] = &[
        (b"*11\r\n", Some(ProtocolError::StrangerMultibulk)),
        (b"*10\r\n", None),
        (&long.concat(), Some(ProtocolError::StrangerBulk)),
    ];
    for (bytes, expected) in table {
        assert_eq!(parse_in(bytes, &[usize::MAX], Trust::Stranger).1, *expected);
        assert_eq!(parse(bytes).1, None);
    }
}

#[test]
fn a_request_as_a_whole_is_bounded() {
    let word = vec![b'x'; 1 << 20];
    assert_eq!(parse(&encode(&[word.clone(), word])).1, Some(ProtocolError::RequestLength));
}

#[test]
fn it_says_how_much_is_missing() {
    let mut parser = Parser::new(&limits());
    let mut words = Words::default();
    assert_eq!(parser.parse(b"*1\r\n$1000\r\nabc", &mut words), Ok(Parsed::Incomplete(999)));
}

/// Bytes that look like requests, so that deep places are reached.
fn tokens() -> impl Strategy<Value = Vec<u8>> {
    let known: Vec<&'static [u8]> = vec![
        b"*1\r\n",
        b"*2\r\n",
        b"*0\r\n",
        b"*-1\r\n",
        b"$3\r\n",
        b"$0\r\n",
        b"$-1\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b"abc",
        b"\"",
        b"'",
        b"\\",
        b"\\x4",
        b" ",
        b"*",
        b"$",
        b"9",
        b"\0",
        b"GET a\r\n",
    ];
    let token = prop_oneof![
        6 => proptest::sample::select(known).prop_map(<[u8]>::to_vec),
        1 => proptest::collection::vec(any::<u8>(), 0..6),
    ];
    proptest::collection::vec(token, 0..40).prop_map(|tokens| tokens.concat())
}

fn words() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let word = proptest::collection::vec(any::<u8>(), 0..40);
    proptest::collection::vec(word, 1..12)
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 1_000,
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn how_bytes_are_cut_into_reads_does_not_matter(
        bytes in tokens(),
        pieces in proptest::collection::vec(1_usize..9, 1..20),
    ) {
        let whole = parse(&bytes);
        prop_assert_eq!(&parse_in(&bytes, &pieces, Trust::Known), &whole);
        prop_assert_eq!(&parse_in(&bytes, &[1], Trust::Known), &whole);
    }

    #[test]
    fn well_formed_requests_are_what_another_parser_says(
        requests in proptest::collection::vec(words(), 1..5),
        pieces in proptest::collection::vec(1_usize..30, 1..20),
    ) {
        let bytes: Vec<u8> = requests.iter().flat_map(|words| encode(words)).collect();
        let mut rest = &bytes[..];
        let mut expected = Vec::new();
        while let Some((OwnedFrame::Array(frames), len)) = decode(rest).expect("well-formed") {
            let words = frames.iter().map(|frame| frame.as_bytes().expect("a bulk").to_vec());
            expected.push(words.collect::<Vec<_>>());
            rest = &rest[len..];
        }
        prop_assert_eq!(&expected, &requests);
        prop_assert_eq!(parse_in(&bytes, &pieces, Trust::Known), (expected, None));
    }
}

#[test]
fn kept_seeds_are_parsed_alike_in_all_pieces() {
    let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fuzz/seeds/request");
    let files = std::fs::read_dir(seeds).expect("the seeds are beside the fuzz targets");
    let mut count = 0;
    for file in files {
        let path = file.expect("a readable directory").path();
        let bytes = std::fs::read(&path).expect("a readable file");
        for trust in [Trust::Known, Trust::Stranger] {
            let whole = parse_in(&bytes, &[usize::MAX], trust);
            for piece_len in 1..=bytes.len().min(32) {
                assert_eq!(parse_in(&bytes, &[piece_len], trust), whole, "{}", path.display());
            }
        }
        count += 1;
    }
    assert!(count >= 10, "{count} files");
}
