//! Assoc: asks for what followed a key the last time.
//!
//! Idea: requests that miss come again in the sequences in which they came before: loops larger than
//! the cache, pages with their parts, joins. A ring keeps the hashes of such requests in order; a key
//! that comes again is looked up there, and what followed it, later than a fetch takes, is expected
//! again. How many of the requests before it agree too makes a context, and only contexts whose
//! guesses come true are asked for. Hashes and order suffice; keys may be anything.
//!
//! Papers: T. F. Wenisch et al., "Temporal streaming of shared memory", ISCA 2005, and "Practical
//! off-chip meta-data for temporal memory streaming", HPCA 2009; D. Joseph, D. Grunwald,
//! "Prefetching using Markov predictors", ISCA 1997. Differs from them: which followers are asked for
//! is decided by time, not by count, since fetches take time; guesses are judged whether they are
//! fetched or not.
//!
//! Parameters: `confidence_percent` (60), below which nothing is asked for; `history` (65,536), how
//! many requests are remembered. Memory: 20 bytes a request remembered, and 110 KiB. Cost: O(1) a
//! request; one that missed compares up to 100 hashes and looks through the followers of one fetch.
//!
//! Weak where keys are new: see `prefetch-stride`.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod sequences;

use ostler_policy::{Access, Asks, Prefetch, Setup};

use sequences::Sequences;

/// Sequences that come again.
#[derive(Debug)]
pub struct PrefetchAssoc {
    sequences: Sequences,
}

impl Prefetch for PrefetchAssoc {
    type Params = PrefetchAssocParams;

    fn new(_: &Setup, params: &PrefetchAssocParams) -> Self {
        let confidence_min = u32::try_from(params.confidence_percent * 655).unwrap_or(u32::MAX);
        let history = u32::try_from(params.history).unwrap_or(u32::MAX);
        Self { sequences: Sequences::new(history, confidence_min) }
    }

    fn access(&mut self, access: &Access, _: Option<&[u8]>, asks: &mut Asks<'_>) {
        self.sequences.hear(access, &mut |hash, confidence| {
            asks.ask_hash(hash, confidence);
        });
    }
}

ostler_policy::export_prefetch! {
    policy: PrefetchAssoc,
    name: "prefetch-assoc",
    summary: "Asks for what followed a key the last time.",
    base_bytes: 6291456,
    params: PrefetchAssocParams {
        confidence_percent: int = 60, 1..=99, "Share of guesses that must come true before such are asked for.";
        history: int = 65536, 256..=262144, "Requests remembered.";
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
