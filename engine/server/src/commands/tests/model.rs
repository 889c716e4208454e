//! Random commands against a plain model of what Redis does with them.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;

/// Ends lie after this, milliseconds since 1970: the year 2100, so that no time passes in the model.
const FAR_MS: u64 = 4_102_444_800_000;

#[derive(Clone, Debug)]
enum Step {
    Set(u8, Vec<u8>),
    SetKeeping(u8, Vec<u8>),
    SetUntil(u8, Vec<u8>, u64),
    Get(u8),
    Append(u8, Vec<u8>),
    SetRange(u8, usize, Vec<u8>),
    IncrBy(u8, i64),
    ExpireAt(u8, u64),
    Expired(u8),
    Persist(u8),
    PexpireTime(u8),
    Del(u8),
    Rename(u8, u8),
}

fn step() -> impl Strategy<Value = Step> {
    let key = || 0..4u8;
    let bytes = || {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..12),
            any::<i64>().prop_map(|number| number.to_string().into_bytes()),
            (-20..20i64).prop_map(|number| number.to_string().into_bytes()),
        ]
    };
    let end = || FAR_MS..FAR_MS + 5;
    prop_oneof![
        (key(), bytes()).prop_map(|(key, value)| Step::Set(key, value)),
        (key(), bytes()).prop_map(|(key, value)| Step::SetKeeping(key, value)),
        (key(), bytes(), end()).prop_map(|(key, value, end)| Step::SetUntil(key, value, end)),
        key().prop_map(Step::Get),
        (key(), bytes()).prop_map(|(key, tail)| Step::Append(key, tail)),
        (key(), 0..20usize, bytes()).prop_map(|(key, at, patch)| Step::SetRange(key, at, patch)),
        (key(), -5..5i64).prop_map(|(key, change)| Step::IncrBy(key, change)),
        (key(), end()).prop_map(|(key, end)| Step::ExpireAt(key, end)),
        key().prop_map(Step::Expired),
        key().prop_map(Step::Persist),
        key().prop_map(Step::PexpireTime),
        key().prop_map(Step::Del),
        (key(), key()).prop_map(|(from, to)| Step::Rename(from, to)),
    ]
}

/// Values and their ends.
type Model = BTreeMap<u8, (Vec<u8>, Option<u64>)>;

fn bulk(value: Option<&Vec<u8>>) -> Vec<u8> {
    match value {
        Some(value) => {
            [format!("${}\r\n", value.len()).as_bytes(), value.as_slice(), b"\r\n"].concat()
        }
        None => b"$-1\r\n".to_vec(),
    }
}

fn number(number: i64) -> Vec<u8> {
    format!(":{number}\r\n").into_bytes()
}

/// What the model answers.
fn expected(model: &mut Model, step: &Step) -> Vec<u8> {
    let ok = || b"+OK\r\n".to_vec();
    let end_of = |model: &Model, key| model.get(key).and_then(|entry: &(_, _)| entry.1);
    match step {
        Step::Set(key, value) => {
            model.insert(*key, (value.clone(), None));
            ok()
        }
        Step::SetKeeping(key, value) => {
            let end = end_of(model, key);
            model.insert(*key, (value.clone(), end));
            ok()
        }
        Step::SetUntil(key, value, end) => {
            model.insert(*key, (value.clone(), Some(*end)));
            ok()
        }
        Step::Get(key) => bulk(model.get(key).map(|entry| &entry.0)),
        Step::Append(key, tail) => {
            let entry = model.entry(*key).or_default();
            entry.0.extend_from_slice(tail);
            number(entry.0.len() as i64)
        }
        Step::SetRange(key, _, patch) if patch.is_empty() => {
            number(model.get(key).map_or(0, |entry| entry.0.len() as i64))
        }
        Step::SetRange(key, at, patch) => {
            let value = &mut model.entry(*key).or_default().0;
            value.resize(value.len().max(at + patch.len()), 0);
            value[*at..at + patch.len()].copy_from_slice(patch);
            number(value.len() as i64)
        }
        Step::IncrBy(key, change) => expected_sum(model, *key, *change),
        Step::ExpireAt(key, end) => {
            number(i64::from(model.get_mut(key).map(|entry| entry.1 = Some(*end)).is_some()))
        }
        Step::Expired(key) | Step::Del(key) => number(i64::from(model.remove(key).is_some())),
        Step::Persist(key) => {
            number(i64::from(model.get_mut(key).is_some_and(|entry| entry.1.take().is_some())))
        }
        Step::PexpireTime(key) => number(match model.get(key) {
            None => -2,
            Some((_, None)) => -1,
            Some((_, Some(end))) => *end as i64,
        }),
        Step::Rename(from, to) => match model.get(from).cloned() {
            None => b"-ERR no such key\r\n".to_vec(),
            Some(entry) => {
                model.remove(from);
                model.insert(*to, entry);
                ok()
            }
        },
    }
}

fn expected_sum(model: &mut Model, key: u8, change: i64) -> Vec<u8> {
    let entry = model.get(&key);
    let text = entry.map_or(Ok("0"), |entry| std::str::from_utf8(&entry.0));
    // The server takes a number in one spelling only.
    let old = text
        .ok()
        .and_then(|text| text.parse::<i64>().ok().filter(|number| number.to_string() == text));
    let Some(old) = old else {
        return b"-ERR value is not an integer or out of range\r\n".to_vec();
    };
    let Some(sum) = old.checked_add(change) else {
        return b"-ERR increment or decrement would overflow\r\n".to_vec();
    };
    model.entry(key).or_default().0 = sum.to_string().into_bytes();
    number(sum)
}

/// The words of a step.
fn words(step: &Step) -> Vec<Vec<u8>> {
    let text = |number: i128| number.to_string().into_bytes();
    let word = |word: &str| word.as_bytes().to_vec();
    let key = |key: &u8| format!("a key that is too long to lie in its pointer {key}").into_bytes();
    match step {
        Step::Set(name, value) => vec![word("set"), key(name), value.clone()],
        Step::SetKeeping(name, value) => {
            vec![word("set"), key(name), value.clone(), word("KEEPTTL")]
        }
        Step::SetUntil(name, value, end) => {
            vec![word("set"), key(name), value.clone(), word("pxat"), text(i128::from(*end))]
        }
        Step::Get(name) => vec![word("get"), key(name)],
        Step::Append(name, tail) => vec![word("append"), key(name), tail.clone()],
        Step::SetRange(name, at, patch) => {
            vec![word("setrange"), key(name), text(*at as i128), patch.clone()]
        }
        Step::IncrBy(name, change) => vec![word("incrby"), key(name), text(i128::from(*change))],
        Step::ExpireAt(name, end) => vec![word("pexpireat"), key(name), text(i128::from(*end))],
        Step::Expired(name) => vec![word("expire"), key(name), word("-1")],
        Step::Persist(name) => vec![word("persist"), key(name)],
        Step::PexpireTime(name) => vec![word("pexpiretime"), key(name)],
        Step::Del(name) => vec![word("del"), key(name)],
        Step::Rename(from, to) => vec![word("rename"), key(from), key(to)],
    }
}

#[test]
fn random_commands_get_the_answers_of_the_model() {
    let config = ProptestConfig {
        cases: 64,
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |(steps in prop::collection::vec(step(), 1..200))| {
        let (mut bench, mut model) = (Bench::new(), Model::new());
        for step in &steps {
            let expected = expected(&mut model, step);
            let words = words(step);
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(bench.reply(&words), expected, "{:?}", step);
            prop_assert_eq!(bench.line("dbsize"), format!(":{}", model.len()));
        }
    });
}
