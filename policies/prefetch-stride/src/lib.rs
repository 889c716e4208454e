//! Stride: asks for the next numbers of keys that are counted up or down.
//!
//! Idea: keys are taken apart into a number and what stands around it, its *family*: `block:17`,
//! `page/17.html`. A number whose predecessors went by continues a run; the run's pace and the
//! measured latency of fetches say how many steps ahead asking has to be. How long the run is, how
//! fast and how far ahead make a context, and only contexts whose guesses come true are asked for.
//! Any number of runs may be interleaved, by steps of 1 and −1 and of up to four other strides,
//! which are found by counting differences.
//!
//! Papers: J. W. C. Fu, J. H. Patel, B. L. Janssens, "Stride directed prefetching in scalar
//! processors", MICRO 1992; P. Michaud, "Best-offset hardware prefetching", HPCA 2016; S. Pugsley et
//! al., "Sandbox prefetching", HPCA 2014. Differs from them: no streams are kept, only when each
//! number went by; all guesses are judged, not only those of the offset in use.
//!
//! Parameters: `confidence_percent` (60), below which nothing is asked for; `places` (16,384), how
//! many numbers are remembered. Memory: 8 bytes a place, and 230 KiB. Cost: O(1) a request; one that
//! missed looks up to 17 numbers for each stride.
//!
//! Weak where keys carry no numbers: see `prefetch-assoc`.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod numbered;
mod streams;

use ostler_policy::{Access, Asks, Prefetch, Setup};

use numbered::Key;
use streams::Streams;

/// Runs of numbers in keys.
#[derive(Debug)]
pub struct PrefetchStride {
    streams: Streams,
}

impl Prefetch for PrefetchStride {
    type Params = PrefetchStrideParams;

    fn new(_: &Setup, params: &PrefetchStrideParams) -> Self {
        let confidence_min = u32::try_from(params.confidence_percent * 655).unwrap_or(u32::MAX);
        let places = u32::try_from(params.places).unwrap_or(u32::MAX);
        Self { streams: Streams::new(places, confidence_min) }
    }

    fn access(&mut self, access: &Access, key: Option<&[u8]>, asks: &mut Asks<'_>) {
        let key = key.and_then(Key::parse);
        self.streams.hear(access, key.map(|key| key.numbered), &mut |number, confidence| {
            if let Some(next) = key.and_then(|key| key.with_number(number)) {
                asks.ask_key(next.as_bytes(), confidence);
            }
        });
    }
}

ostler_policy::export_prefetch! {
    policy: PrefetchStride,
    name: "prefetch-stride",
    summary: "Asks for the next numbers of keys that are counted up or down.",
    features: ["keys"],
    base_bytes: 3145728,
    params: PrefetchStrideParams {
        confidence_percent: int = 60, 1..=99, "Share of guesses that must come true before such are asked for.";
        places: int = 16384, 256..=262144, "Numbers remembered.";
    }
}

#[cfg(test)]
mod tests {
    use ostler_policy::check::{native_prefetch_factory, prefetch_conformance};

    #[test]
    fn keeps_the_contract() {
        for params in ["", r#"{"confidence_percent":1}"#] {
            let report = prefetch_conformance(&mut native_prefetch_factory(&super::NATIVE, params));
            assert_eq!(report.first_failure(), None, "{params}");
        }
    }
}
