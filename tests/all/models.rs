//! Messages that are no models, at every door of the policy `learned`: compiled in and as a module, in an
//! exact shard and in a live cache. Each is refused with its code, and no later decision changes by it.

use std::collections::BTreeSet;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::sync::{Arc, Mutex};

use ostler_abi::{MODEL_BYTES_MAX, ModelRefused, Setup, hash_u64};
use ostler_core::{Cache, InstanceSource, ModelLength};
use ostler_features::{MODEL_FORMAT, Model, PRIOR, WEIGHT_MAX, WEIGHTS};
use ostler_tests::{BUILTINS, TestShard, Tested, cases, check, module_of, runtime};
use proptest::collection::vec;
use proptest::prelude::*;

/// Hashes that are the same in every run.
type Fixed = BuildHasherDefault<DefaultHasher>;

const CAPACITY: u64 = 100;
const REQUESTS: u64 = 1_500;

/// The policy compiled in, and its module through the host.
fn learned() -> [Tested; 2] {
    let builtin = BUILTINS.iter().find(|builtin| builtin.name == "learned").expect("built in");
    let module = runtime().load(&module_of(builtin)).expect("it is admitted");
    [Tested::native(builtin.native, "{}"), Tested::module(&module)]
}

/// A model that decides unlike the prior: what was worth keeping goes.
fn upside_down() -> Vec<u8> {
    Model { version: 7, weights: PRIOR.map(|weight| -weight) }.to_bytes()
}

/// A message that is to be refused, with the number that the contract has for it.
type Garbage = (Vec<u8>, ModelRefused);

/// A good model with one thing wrong.
fn damaged() -> impl Strategy<Value = Garbage> {
    let model = (any::<u32>(), vec(-WEIGHT_MAX..=WEIGHT_MAX, WEIGHTS));
    let model = model.prop_map(|(version, weights)| Model {
        version,
        weights: weights.try_into().expect("as many as a model has"),
    });
    (model, 0..6, any::<u32>(), vec(any::<u8>(), 1..20)).prop_map(|(model, kind, number, rest)| {
        let message = model.to_bytes();
        let index = number as usize;
        let with = |weight| {
            let mut model = model.clone();
            model.weights[index % WEIGHTS] = weight;
            model.to_bytes()
        };
        match kind {
            0 => (with(f32::from_bits(number | 0x7f80_0000)), ModelRefused::WEIGHTS),
            1 => (with(WEIGHT_MAX * 1.01 + number as f32), ModelRefused::WEIGHTS),
            2 => (message[..1 + index % (message.len() - 1)].to_vec(), ModelRefused::LENGTH),
            3 => ([message, rest].concat(), ModelRefused::LENGTH),
            4 => {
                // The number of weights is the last of three numbers, and one byte long.
                let at = message.len() - 1 - 4 * WEIGHTS;
                let mut other = message.clone();
                other[at] -= 1 + rest[0] % 20;
                other.truncate(at + 1 + 4 * usize::from(other[at]));
                (other, ModelRefused::LENGTH)
            }
            _ => {
                let mut other = message.clone();
                other[0] = MODEL_FORMAT as u8 + 1 + rest[0] % 100;
                (other, ModelRefused::FORMAT)
            }
        }
    })
}

/// Any bytes at all, and a good model with flipped bits. Which of the numbers stands for those, or that
/// they are a model after all, says the decoder, whose own tests are in `ostler-features`.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let flips = vec((any::<prop::sample::Index>(), 0u8..8), 1..4);
    let flipped = flips.prop_map(|flips| {
        let mut message = upside_down();
        for (at, bit) in flips {
            let at = at.index(message.len());
            message[at] ^= 1 << bit;
        }
        message
    });
    prop_oneof![vec(any::<u8>(), 1..=MODEL_BYTES_MAX), vec(any::<u8>(), 1..40), flipped]
}

fn garbage() -> impl Strategy<Value = Vec<Garbage>> {
    let noise = noise().prop_filter_map("a model after all", |message| {
        let refusal = Model::try_from_bytes(&message).err().map(|error| match error {
            ostler_features::ModelError::Format { .. } => ModelRefused::FORMAT,
            ostler_features::ModelError::Weight { .. } => ModelRefused::WEIGHTS,
            _ => ModelRefused::LENGTH,
        })?;
        Some((message, refusal))
    });
    vec(prop_oneof![damaged(), noise], 1..30)
}

/// Skewed keys, and loops longer than the cache in between: there is something to decide.
fn key(at: u64) -> u64 {
    if at / 300 % 2 == 1 {
        return 10_000 + at % 140;
    }
    let draw = |seed| hash_u64(at, seed) % 400;
    draw(1) * draw(2) / 400
}

/// The keys that leave a shard, in order, where these messages come in between. Half of them come before
/// a model is taken, half of them after it.
fn victims(policy: &Tested, garbage: &[Garbage]) -> Result<Vec<(u64, u64)>, String> {
    let setup = Setup { capacity: CAPACITY, slots: 16, seed: 1 };
    let mut test = TestShard::try_new(&TestShard::config(CAPACITY), policy.instance(setup));
    let mut garbage = garbage.iter();
    let spacing = (REQUESTS / (garbage.len() as u64 + 1)).max(1);
    let mut evicted = Vec::new();
    for at in 0..REQUESTS {
        if at == REQUESTS / 2 && test.shard.publish_model(&upside_down()) != Ok(()) {
            return Err("it refused a model".to_owned());
        }
        if at % spacing == spacing - 1
            && let Some((message, refusal)) = garbage.next()
        {
            let answer = test.shard.publish_model(message);
            if answer != Err(*refusal) {
                return Err(format!("{answer:?}, not {refusal:?}: {message:?}"));
            }
        }
        test.request(key(at), 1);
        evicted.extend(test.evicted());
    }
    match (test.shard.fault(), garbage.next()) {
        (None, None) => Ok(evicted),
        (fault, left) => Err(format!("fault {fault:?}, left {left:?}")),
    }
}

#[test]
fn garbage_changes_no_decision_of_the_policy_nor_of_its_module() {
    let policies = learned();
    let [native, module] = policies.each_ref().map(|policy| victims(policy, &[]));
    assert_eq!(native, module, "the same source decides the same");
    let expected = native.expect("it serves");
    assert!(expected.len() > 500, "{} victims", expected.len());
    check(cases(24), &garbage(), |garbage| {
        for policy in &policies {
            if victims(policy, &garbage)? != expected {
                return Err(format!("{}: a refused message changed a decision", policy.code_id()));
            }
        }
        Ok(())
    });
}

/// What a model is, is the same to both: whatever the bytes, both take them or both refuse them alike.
#[test]
fn the_policy_and_its_module_take_and_refuse_the_same_messages() {
    let setup = Setup { capacity: CAPACITY, slots: 16, seed: 1 };
    let [mut native, mut module] =
        learned().map(|policy| policy.instance(setup).expect("the defaults are accepted"));
    let lengths = [0, 1, MODEL_BYTES_MAX, MODEL_BYTES_MAX + 1, 2 * MODEL_BYTES_MAX, 1 << 21];
    for message in lengths.map(|length| vec![1; length]) {
        let refused = Ok(Err(ModelRefused::LENGTH));
        assert_eq!(native.model(&message), refused, "{} bytes", message.len());
        assert_eq!(module.model(&message), refused, "{} bytes", message.len());
    }
    let both = Mutex::new((native, module, BTreeSet::new()));
    check(cases(4_000), &noise(), |message| {
        let mut both = both.lock().map_err(|_| "an assertion failed before".to_owned())?;
        let (native, module, codes) = &mut *both;
        let answers = [native.model(&message), module.model(&message)];
        let [Ok(one), Ok(other)] = answers else { return Err(format!("{answers:?}")) };
        codes.insert(one.map_or_else(|refused| refused.code, |()| 0));
        let expected = Model::try_from_bytes(&message).is_ok();
        if (one, one.is_ok()) == (other, expected) {
            return Ok(());
        }
        Err(format!("{one:?} by the policy, {other:?} by the module, a model: {expected}"))
    });
    let codes = both.into_inner().expect("no panic").2;
    let all = [0, 2, 3, 4];
    assert!(all.iter().all(|code| codes.contains(code)), "what came of them: {codes:?}");
}

/// The keys that leave a live cache of two shards under the module, where these messages are published.
/// Without them it is maintained at the same places.
fn live_victims(garbage: &[Garbage], publish: bool) -> Result<Vec<u64>, String> {
    let [_, module] = learned();
    let left = Arc::new(Mutex::new(Vec::new()));
    let ears = Arc::clone(&left);
    let cache: Cache<u64, u64, Fixed> = Cache::builder(CAPACITY)
        .hasher(Fixed::default())
        .shards(2)
        .policy(Arc::new(module))
        .on_removal(move |key, _, _| ears.lock().expect("no panic").push(key))
        .build()
        .map_err(|error| error.to_string())?;
    let first = cache.publish_model(&upside_down()).map_err(|error| error.to_string())?;
    assert_eq!((first.taken, cache.model_stats().withdrawn), (2, 0));
    let mut garbage = garbage.iter();
    let spacing = (REQUESTS / (garbage.len() as u64 + 1)).max(1);
    let (mut counts, mut refused) = ([0; 3], 0);
    for at in 0..REQUESTS {
        if at % spacing == spacing - 1
            && let Some((message, refusal)) = garbage.next()
        {
            cache.run_pending();
            if publish {
                let published = cache.publish_model(message).map_err(|error| error.to_string())?;
                assert_eq!((published.refused, published.refusal), (2, Some(*refusal)));
                counts[refusal.code as usize - 2] += 2;
                refused += 1;
                assert_eq!(cache.model_stats().refusal, Some(*refusal));
            }
        }
        if cache.get(&key(at)).is_none() {
            let _ = cache.insert(key(at), at);
        }
    }
    cache.run_pending();
    cache.validate();
    let (stats, models) = (cache.stats(), cache.model_stats());
    assert_eq!((stats.policy_faults, stats.shards_in_charge, stats.evicted_natively), (0, 2, 0));
    assert_eq!([models.reasons.format, models.reasons.length, models.reasons.weights], counts);
    assert_eq!((models.refused, models.withdrawn, models.taken), (2 * refused, refused, 2));
    assert_eq!((models.published, models.reasons.other, models.faulted), (1 + refused, 0, 0));
    let left = left.lock().expect("no panic").clone();
    Ok(left)
}

#[test]
fn garbage_that_is_published_to_a_live_cache_is_counted_and_changes_no_decision() {
    check(cases(12), &garbage(), |garbage| {
        let [with, without] = [true, false].map(|publish| live_victims(&garbage, publish));
        let (with, without) = (with?, without?);
        if with.len() > 300 && with == without {
            return Ok(());
        }
        Err(format!("{} and {} keys left", with.len(), without.len()))
    });
}

/// A length that no model has comes to no policy at all.
#[test]
fn garbage_of_a_length_that_no_model_has_is_refused_at_the_door() {
    let [_, module] = learned();
    let cache: Cache<u64, u64> =
        Cache::builder(CAPACITY).policy(Arc::new(module)).build().expect("it is made");
    for bytes in [0, MODEL_BYTES_MAX + 1, 1 << 20] {
        assert_eq!(cache.publish_model(&vec![1; bytes]), Err(ModelLength { bytes }));
    }
    assert_eq!((cache.model_stats().published, cache.model_stats().refused), (0, 0));
}
