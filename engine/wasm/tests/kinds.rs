//! The guests of `tests/guests/{prefetch,warming,model}`: what their first line expects is what
//! happens, and what an honest one is told and says arrives as it was written.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test binary: what fails here fails the test"
)]

use std::fs;
use std::path::PathBuf;

use ostler_abi::{Access, AccessKind, Ask, Asks, Candidate, ModelRefused, Outlook, Record, Setup};
use ostler_core::{PolicyFault, PolicyInstance, PrefetchInstance, WarmingInstance};
use ostler_wasm::{Limits, Metering, PolicyModule, Runtime, WasmPrefetch};

const SETUP: Setup = Setup { capacity: 100, slots: 200, seed: 1 };

struct Guest {
    name: String,
    expected: String,
    module: PolicyModule,
}

fn guests(folder: &str) -> Vec<Guest> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/guests").join(folder);
    let runtime = fuel();
    let mut guests: Vec<Guest> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).unwrap();
            let line = text.lines().next().unwrap();
            let Some(expected) = line.strip_prefix(";; expect: ") else {
                panic!("{name}: its first line is not `;; expect: ok|fault KIND`");
            };
            let bytes = wat::parse_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            let module = runtime.load(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
            Guest { name, expected: expected.to_owned(), module }
        })
        .collect();
    guests.sort_by(|a, b| a.name.cmp(&b.name));
    guests
}

fn guest(folder: &str, name: &str) -> PolicyModule {
    guests(folder).into_iter().find(|guest| guest.name == name).unwrap().module
}

/// Small accounts, so that guests which spin do it briefly.
fn fuel() -> Runtime {
    let metering = Metering::Fuel { per_call: 3_000_000, per_event: 20_000 };
    Runtime::try_new(metering, Limits::default()).unwrap()
}

fn check(folder: &str, count_min: usize, drive: impl Fn(&PolicyModule) -> Result<(), PolicyFault>) {
    let guests = guests(folder);
    assert!(guests.len() >= count_min, "{} guests", guests.len());
    for Guest { name, expected, module } in guests {
        let seen = match drive(&module) {
            Ok(()) => "ok".to_owned(),
            Err(fault) => format!("fault {}", fault.kind()),
        };
        assert_eq!(seen, expected, "{folder}/{name}");
    }
}

type Asked = (u64, Option<Vec<u8>>, u32);

fn predict(
    policy: &mut WasmPrefetch,
    accesses: &[Access],
    keys: &[u8],
) -> Result<Vec<Asked>, PolicyFault> {
    let (mut buffer, mut written) = ([Ask::ZERO; 64], [0; 4096]);
    let mut asks = Asks::new(&mut buffer, &mut written);
    let outcome = policy.predict(accesses, keys, &mut asks);
    assert!(outcome.is_ok() || asks.is_empty(), "a call that faults contributes nothing");
    let asked =
        |(ask, key): (&Ask, Option<&[u8]>)| (ask.key_hash, key.map(<[u8]>::to_vec), ask.confidence);
    outcome.map(|()| asks.iter().map(asked).collect())
}

#[test]
fn prefetch_guests_get_what_their_first_line_expects() {
    check("prefetch", 14, |module| {
        let mut policy = module.instantiate_prefetch(SETUP, "{}")?;
        let access = Access::new(AccessKind::Miss, 7);
        for _ in 0..4 {
            if let Err(fault) = predict(&mut policy, &[access], b"") {
                let again = predict(&mut policy, &[access], b"");
                assert_eq!(again, Err(fault.clone()), "a faulted instance says it again");
                return Err(fault);
            }
        }
        Ok(())
    });
}

#[test]
fn warming_guests_get_what_their_first_line_expects() {
    check("warming", 8, |module| {
        let mut policy = module.instantiate_warming(SETUP, "{}")?;
        let candidates = [Candidate::ZERO; 20];
        let mut scores = [0; 20];
        let outcome = policy.rank(&Outlook::default(), &candidates, &mut scores);
        let again = policy.rank(&Outlook::default(), &candidates, &mut scores);
        assert_eq!(again, outcome, "a faulted instance says it again");
        outcome
    });
}

#[test]
fn model_guests_get_what_their_first_line_expects() {
    check("model", 6, |module| {
        let mut policy = module.instantiate(SETUP, "{}")?;
        let outcome = policy.model(&[0; 9]).map(|_| ());
        if let Err(fault) = &outcome {
            assert_eq!(policy.model(&[7; 7]), Err(fault.clone()));
            policy.events()[0] = Record::ZERO;
            assert_eq!(policy.step(1).map(|_| ()), Err(fault.clone()), "one fault for all calls");
        }
        outcome
    });
}

/// A key of a number, where it lies and how long it is.
fn access(number: u64, keys: &mut Vec<u8>) -> Access {
    let (key, key_at) = (number.to_string(), u32::try_from(keys.len()).unwrap());
    keys.extend(key.as_bytes());
    let key_len = u32::try_from(key.len()).unwrap();
    Access { key_at, key_len, ..Access::new(AccessKind::Hit, number) }
}

#[test]
fn keys_and_asks_cross_the_sandbox_whole() {
    let mut policy = guest("prefetch", "good_echo").instantiate_prefetch(SETUP, "{}").unwrap();
    let mut keys = b"before".to_vec();
    let known = access(4_711, &mut keys);
    let unknown = Access::new(AccessKind::Miss, 99);
    let outside = Access { key_at: 4, key_len: 1000, ..Access::new(AccessKind::Miss, 98) };
    let long = Access { key_at: 0, key_len: 300, ..Access::new(AccessKind::Miss, 97) };
    let rows = [
        (known, (0, Some(b"4711".to_vec()), 1)),
        (unknown, (99, None, 1)),
        (outside, (98, None, 1)),
        (long, (97, None, 1)),
    ];
    keys.resize(400, b'x');
    for (access, expected) in rows {
        assert_eq!(predict(&mut policy, &[access], &keys), Ok(vec![expected]));
    }
    assert_eq!(predict(&mut policy, &[], &keys), Ok(vec![]));
}

/// More accesses than the window holds, and more bytes of keys: calls of 16, or of what fits.
#[test]
fn long_batches_are_split_as_the_windows_allow() {
    let mut policy = guest("prefetch", "good_echo").instantiate_prefetch(SETUP, "{}").unwrap();
    let mut keys = Vec::new();
    let short: Vec<Access> = (0..40).map(|number| access(number, &mut keys)).collect();
    let asked = predict(&mut policy, &short, &keys).unwrap();
    let expected: Vec<Asked> = [(0, 16), (16, 16), (32, 8)]
        .map(|(first, count): (u64, u32)| (0, Some(first.to_string().into_bytes()), count))
        .to_vec();
    assert_eq!(asked, expected);
    let keys = [b'k'; 200];
    let long = [Access { key_at: 0, key_len: 200, ..Access::new(AccessKind::Hit, 1) }; 5];
    let counts: Vec<u32> =
        predict(&mut policy, &long, &keys).unwrap().iter().map(|asked| asked.2).collect();
    assert_eq!(counts, [2, 2, 1], "512 bytes hold two keys of 200");
}

#[test]
fn scores_cross_the_sandbox_in_order() {
    let mut policy = guest("warming", "good_accesses").instantiate_warming(SETUP, "{}").unwrap();
    let candidates: Vec<Candidate> =
        (0..21).map(|accesses| Candidate { accesses, ..Candidate::ZERO }).collect();
    let mut scores = [0; 21];
    policy.rank(&Outlook::default(), &candidates, &mut scores).unwrap();
    assert!(scores.iter().copied().eq(0..21), "{scores:?}");
    policy.rank(&Outlook { budget: 9, ..Outlook::default() }, &candidates, &mut scores).unwrap();
    assert!(scores.iter().copied().eq(1..22), "the outlook is written before each call");
    assert_eq!(policy.model(&[1]), Ok(Err(ModelRefused::TAKES_NONE)));
    policy.rank(&Outlook::default(), &[], &mut []).unwrap();
}

#[test]
fn a_model_is_taken_or_refused_with_the_guests_code() {
    let mut policy = guest("model", "good_seven").instantiate(SETUP, "{}").unwrap();
    assert_eq!(policy.model(&[7; 7]), Ok(Ok(())));
    assert_eq!(policy.model(&[8; 7]), Ok(Err(ModelRefused::LENGTH)));
    assert_eq!(policy.model(&[7; 8]), Ok(Err(ModelRefused { code: 3 })));
    assert_eq!(policy.model(&[7; 1025]), Ok(Err(ModelRefused::LENGTH)), "longer than its buffer");
    policy.events()[0] = Record::ZERO;
    assert!(policy.step(1).is_ok());
}

#[test]
fn a_module_runs_only_in_its_place() {
    let modules = [
        guest("model", "good_seven"),
        guest("prefetch", "good_echo"),
        guest("warming", "good_accesses"),
    ];
    for (index, module) in modules.iter().enumerate() {
        let kinds = [
            module.instantiate(SETUP, "{}").map(|_| ()),
            module.instantiate_prefetch(SETUP, "{}").map(|_| ()),
            module.instantiate_warming(SETUP, "{}").map(|_| ()),
        ];
        for (place, outcome) in kinds.into_iter().enumerate() {
            match outcome {
                Ok(()) => assert_eq!(place, index),
                Err(fault) => assert!(place != index && fault.kind() == "wrong_kind", "{fault}"),
            }
        }
    }
}
