//! Messages that are no models: whatever the bytes, a model comes out whole and valid, or an error says
//! what is wrong.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::{
    FEATURES, Features, PRIOR, Predictor, WARMING_MODEL_FORMAT, WARMING_WEIGHTS, WarmingModel,
};

/// Weights that training gives.
fn sound() -> impl Strategy<Value = f32> {
    -WEIGHT_MAX..=WEIGHT_MAX
}

fn model() -> impl Strategy<Value = Model> {
    (any::<u32>(), vec(sound(), WEIGHTS)).prop_map(|(version, weights)| Model {
        version,
        weights: weights.try_into().expect("as many as a model has"),
    })
}

/// A weight that no model has.
fn unsound() -> impl Strategy<Value = f32> {
    let beyond = (WEIGHT_MAX * 1.001)..f32::MAX;
    let nan = any::<u32>().prop_map(|bits| f32::from_bits(bits | 0x7fc0_0000));
    let below = beyond.clone().prop_map(|weight| -weight);
    prop_oneof![nan, Just(f32::INFINITY), Just(f32::NEG_INFINITY), beyond, below]
}

/// A message with everything chosen freely.
fn message(format: u16, version: u32, weights: &[f32]) -> Vec<u8> {
    let message = Message { format, version, weights: weights.to_vec() };
    postcard::to_allocvec(&message).expect("it can be encoded")
}

/// What holds of any bytes: what is a model is valid, and these bytes are its message.
fn read(bytes: &[u8]) -> Result<Model, ModelError> {
    let read = Model::try_from_bytes(bytes);
    if let Ok(model) = &read {
        assert_eq!(model.validate(), Ok(()));
        assert_eq!(model.to_bytes(), bytes);
        assert!(Predictor::new(model).score(&Features([0; FEATURES])).is_finite());
    }
    if let Ok(model) = WarmingModel::try_from_bytes(bytes) {
        assert_eq!((model.validate(), model.to_bytes()), (Ok(()), bytes.to_vec()));
        assert!(read.is_err(), "of one kind only");
    }
    read
}

proptest! {
    #[test]
    fn a_model_arrives_as_it_was_sent(model in model()) {
        prop_assert_eq!(read(&model.to_bytes()), Ok(model));
    }

    #[test]
    fn any_bytes_are_a_whole_model_or_an_error(bytes in vec(any::<u8>(), 0..1200)) {
        let read = read(&bytes);
        if bytes.len() > MESSAGE_BYTES_MAX {
            prop_assert_eq!(read, Err(ModelError::TooLong { bytes: bytes.len() }));
        }
    }

    /// A head that fits, so that the rest is looked at.
    #[test]
    fn any_bytes_behind_a_sound_head_are_too(
        version in any::<u32>(),
        rest in vec(any::<u8>(), 0..4 * WEIGHTS + 40),
    ) {
        for format in [MODEL_FORMAT, WARMING_MODEL_FORMAT] {
            for count in [WEIGHTS, WARMING_WEIGHTS] {
                let mut bytes = message(format, version, &[]);
                bytes.pop();
                bytes.push(count as u8);
                bytes.extend(&rest);
                let _ = read(&bytes);
            }
        }
    }

    #[test]
    fn a_message_that_is_cut_or_followed_by_more_is_malformed(
        model in model(),
        at in any::<prop::sample::Index>(),
        more in vec(any::<u8>(), 1..40),
    ) {
        let bytes = model.to_bytes();
        let cut = at.index(bytes.len());
        prop_assert_eq!(read(&bytes[..cut]), Err(ModelError::Malformed));
        prop_assert_eq!(read(&[bytes, more].concat()), Err(ModelError::Malformed));
    }

    /// There is no checksum, so a flipped bit of a weight may be another weight; never an unsound one.
    #[test]
    fn flipped_bits_make_another_model_or_none(
        model in model(),
        flips in vec((any::<prop::sample::Index>(), 0u8..8), 1..4),
    ) {
        let bytes = model.to_bytes();
        let mut flipped = bytes.clone();
        for (at, bit) in &flips {
            flipped[at.index(bytes.len())] ^= 1 << bit;
        }
        let _ = read(&flipped);
    }

    #[test]
    fn one_unsound_weight_is_enough(
        model in model(),
        place in 0..WEIGHTS,
        weight in unsound(),
    ) {
        let mut model = model;
        model.weights[place] = weight;
        let refused = read(&model.to_bytes());
        let is_named = matches!(refused, Err(ModelError::Weight { place: found, .. }) if found == place);
        prop_assert!(is_named, "{refused:?}");
        prop_assert!(model.validate().is_err());
    }

    #[test]
    fn another_format_or_number_of_weights_is_refused(
        format in any::<u16>(),
        version in any::<u32>(),
        weights in vec(sound(), 0..250),
    ) {
        let count = weights.len();
        if format != MODEL_FORMAT {
            let other = message(format, version, &PRIOR);
            prop_assert_eq!(read(&other), Err(ModelError::Format { format }));
        }
        if count != WEIGHTS {
            let other = message(MODEL_FORMAT, version, &weights);
            prop_assert_eq!(read(&other), Err(ModelError::Count { count }));
        }
    }
}

/// A host of 64 bits would read what a guest of 32 refuses.
#[test]
fn numbers_with_leading_zeros_are_refused() {
    let bytes = Model { version: 1, weights: PRIOR }.to_bytes();
    assert!(read(&bytes).is_ok());
    for place in 0..3 {
        for zeros in 1..8 {
            let mut padded = bytes[..place].to_vec();
            padded.push(bytes[place] | 0x80);
            padded.extend([0x80].repeat(zeros - 1));
            padded.push(0);
            padded.extend(&bytes[place + 1..]);
            assert_eq!(read(&padded), Err(ModelError::Malformed), "number {place}, {zeros} zeros");
        }
    }
}
