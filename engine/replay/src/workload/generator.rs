//! The stream of requests of a workload.

use std::sync::Arc;

use ostler_abi::hash_u64;

use super::diurnal::Diurnal;
use super::zipf::Zipf;
use super::{Pattern, Phase, SizeRule, diurnal};
use crate::trace::{BLOCK_REQUESTS_MAX, Request};

/// Seed that makes keys from object numbers.
const KEY_SEED: u64 = 0;

/// Generates the requests of a workload, phase by phase.
///
/// It holds the table of the current phase only: 8 bytes a key for zipf and diurnal, nothing otherwise.
pub struct Generator {
    phases: Arc<[Phase]>,
    /// The phase in progress; past the last at the end.
    phase: usize,
    /// Requests of it so far.
    position: u64,
    /// The ranks of a zipf phase in progress.
    zipf: Option<Zipf>,
    /// The hours of a diurnal phase in progress.
    diurnal: Option<Diurnal>,
    /// When the next request happens.
    time_ms: u64,
}

impl Generator {
    pub(super) fn new(phases: Arc<[Phase]>) -> Self {
        Self { phases, phase: 0, position: 0, zipf: None, diurnal: None, time_ms: 0 }
    }

    /// Appends the next requests to `out` until it holds [`BLOCK_REQUESTS_MAX`]; none at the end.
    pub(crate) fn read(&mut self, out: &mut Vec<Request>) {
        let phases = Arc::clone(&self.phases);
        while let Some(phase) = phases.get(self.phase) {
            if self.position == phase.requests {
                self.phase += 1;
                self.position = 0;
                self.zipf = None;
                self.diurnal = None;
                continue;
            }
            if out.len() >= BLOCK_REQUESTS_MAX {
                return;
            }
            out.push(self.next_request(phase));
        }
    }

    fn next_request(&mut self, phase: &Phase) -> Request {
        let offset = match phase.pattern {
            Pattern::Zipf { alpha, keys, seed } => {
                self.zipf.get_or_insert_with(|| Zipf::new(keys, alpha, seed)).next_rank()
            }
            Pattern::Scan => self.position,
            Pattern::Loop { keys } => self.position % keys,
            Pattern::Diurnal { alpha, keys, seed, .. } => self
                .diurnal
                .get_or_insert_with(|| Diurnal::new(keys, alpha, seed))
                .next_rank(self.time_ms),
        };
        let key = hash_u64(phase.start.wrapping_add(offset), KEY_SEED);
        let request = Request::get(self.time_ms, key, size_of_key(phase.size, key));
        self.position += 1;
        self.time_ms += match phase.pattern {
            // Whole milliseconds from the phase's beginning, so that no rounding adds up.
            Pattern::Diurnal { days, .. } => {
                let at = |position| diurnal::time_ms(position, phase.requests, days);
                at(self.position) - at(self.position - 1)
            }
            Pattern::Zipf { .. } | Pattern::Scan | Pattern::Loop { .. } => 1,
        };
        request
    }
}

/// The size of an object, which depends on nothing but its key and the rule.
fn size_of_key(rule: SizeRule, key: u64) -> u32 {
    /// Seed that draws sizes from keys.
    const SIZE_SEED: u64 = 0x7369_7a65;
    match rule {
        SizeRule::Constant(bytes) => bytes,
        SizeRule::LogUniform { min, max } => {
            let (low, high) = (libm::log(f64::from(min)), libm::log(f64::from(max) + 1.0));
            let fraction = super::random::unit(hash_u64(key, SIZE_SEED));
            let bytes = libm::exp(low + fraction * (high - low));
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "positive, rounded down, and clamped to a range of u32 right after"
            )]
            (bytes as u32).clamp(min, max)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_uniform_sizes_spread_evenly_over_the_octaves() {
        let rule = SizeRule::LogUniform { min: 64, max: 65_535 };
        let mut octaves = [0u32; 32];
        for object in 0..20_000 {
            let key = hash_u64(object, KEY_SEED);
            let size = size_of_key(rule, key);
            assert!((64..=65_535).contains(&size));
            assert_eq!(size, size_of_key(rule, key));
            octaves[size.ilog2() as usize] += 1;
        }
        assert!(octaves[6..16].iter().all(|&count| (1_800..2_200).contains(&count)), "{octaves:?}");
        assert_eq!(size_of_key(SizeRule::LogUniform { min: 9, max: 9 }, 1), 9);
        let whole = SizeRule::LogUniform { min: 1, max: u32::MAX };
        assert!((0..1000).all(|key| size_of_key(whole, key) >= 1));
    }
}
