//! Messages that are no model of anybody: too short, too long, random, and such that look like one.
//!
//! A policy has to recognise its models. These must all be refused, whatever its format is.

use crate::Rng;

/// Lengths of the shapeless ones.
const LENGTHS: [usize; 13] = [1, 2, 3, 4, 7, 16, 63, 64, 100, 256, 500, 1023, 1024];

/// Most weights that fit a message behind a head of three or four bytes.
const WEIGHTS_MAX: usize = 254;

/// The messages, the same every time; each 1 to 1,024 bytes.
pub(crate) fn messages() -> Vec<Vec<u8>> {
    let mut rng = Rng::new(0x6a7b);
    let mut messages = Vec::new();
    for len in LENGTHS {
        messages.push(vec![0; len]);
        messages.push(vec![0xff; len]);
        for _ in 0..4 {
            messages.push((0..len).map(|_| rng.below(256) as u8).collect());
        }
    }
    for count in 1..=WEIGHTS_MAX {
        for weight in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30] {
            // Format 1, version 1, with the number of weights and without.
            messages.push(message(&[1, 1], Some(count), (count, weight)));
            messages.push(message(&[1, 1], None, (count, weight)));
        }
        // A format that nobody has, and fewer weights than announced.
        messages.push(message(&[0, 1], Some(count), (count, 0.5)));
        messages.push(message(&[0xff, 0xff, 3, 1], None, (count, 0.5)));
        messages.push(message(&[1, 1], Some(count), (count / 2, 0.5)));
    }
    messages.retain(|message| message.len() <= ostler_abi::MODEL_BYTES_MAX);
    messages
}

/// A head, a number of weights as a variable-length integer, and weights.
fn message(head: &[u8], announced: Option<usize>, (count, weight): (usize, f32)) -> Vec<u8> {
    let mut bytes = head.to_vec();
    match announced {
        Some(announced @ 0..128) => bytes.push(announced as u8),
        Some(announced) => bytes.extend([announced as u8 | 0x80, (announced >> 7) as u8]),
        None => {}
    }
    for _ in 0..count {
        bytes.extend(weight.to_le_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_has_a_length_that_models_have() {
        let messages = messages();
        assert!(messages.len() > 2_500, "{}", messages.len());
        assert!(messages.iter().all(|message| (1..=1024).contains(&message.len())));
        assert_eq!(messages, super::messages());
    }
}
