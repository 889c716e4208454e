//! The export macro of warming policies.

/// Declares a warming policy to the world: its manifest, its parameters and its exports.
///
/// As [`export!`](crate::export), with these fields, in this order: `policy` (implements
/// [`Warm`](crate::Warm)), `name`, `summary`, `features` (may be left out; `["model"]` where the
/// policy implements [`Warm::model`](crate::Warm::model)), `base_bytes` (all the memory there is: the
/// windows take 64 KiB) and `params`. `NATIVE` is a [`NativeWarming`](crate::NativeWarming).
///
/// ```
/// use ostler_policy::{Candidate, Outlook, Setup, Warm};
///
/// /// What was used last comes first.
/// struct Latest;
///
/// impl Warm for Latest {
///     type Params = LatestParams;
///
///     fn new(_: &Setup, _: &LatestParams) -> Self {
///         Self
///     }
///     fn rank(&mut self, _: &Outlook, candidates: &[Candidate], scores: &mut [u32]) {
///         for (candidate, score) in candidates.iter().zip(scores) {
///             *score = u32::MAX - candidate.age;
///         }
///     }
/// }
///
/// ostler_policy::export_warming! {
///     policy: Latest,
///     name: "latest",
///     summary: "Fetches what was used last.",
///     base_bytes: 262_144,
///     params: LatestParams {}
/// }
/// # fn main() {
/// let setup = Setup { capacity: 100, slots: 0, seed: 0 };
/// let mut policy = (NATIVE.build)(setup, "{}").expect("the defaults are valid");
/// let candidates = [7, 3].map(|age| Candidate { age, ..Candidate::ZERO });
/// let mut scores = [0; 2];
/// policy.rank(&Outlook::default(), &candidates, &mut scores);
/// assert!(scores[1] > scores[0]);
/// # }
/// ```
#[macro_export]
macro_rules! export_warming {
    (
        policy: $policy:ident,
        name: $name:literal,
        summary: $summary:literal,
        $(features: [$($feature:tt),* $(,)?],)?
        base_bytes: $base_bytes:literal,
        params: $params:ident { $($declared:tt)* }
    ) => {
        $crate::export_shared!(@policy
            NativeWarming, |setup, params| $crate::WarmDriver::<$policy>::new(&setup, &params),
            name: $name, summary: $summary, kind: "warming",
            features: [$($($feature)*)?],
            bytes_per_slot: 0, base_bytes: $base_bytes,
            params: $params { $($declared)* }
        );

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            static GUEST: $crate::guest::WarmingGuest<$policy> =
                $crate::guest::WarmingGuest::new();

            $crate::export_shared!(@module MANIFEST, GUEST, $crate::guest::Layout);
            $crate::export_shared!(@function ostler_rank, GUEST.rank, candidates);
            $($($crate::export_shared!(@feature $feature GUEST);)*)?
        };
    };
}

#[cfg(test)]
#[expect(unreachable_pub, reason = "the macro exports what it defines; a test module cannot")]
mod tests {
    use crate::{Candidate, ModelRefused, Outlook, Setup, Warm};

    struct Everything;

    impl Warm for Everything {
        type Params = EverythingParams;

        fn new(_: &Setup, _: &EverythingParams) -> Self {
            Self
        }
        fn rank(&mut self, _: &Outlook, candidates: &[Candidate], scores: &mut [u32]) {
            // The driver cleared the scores: what is not written is left out.
            if let (Some(score), true) = (scores.first_mut(), candidates.len() > 1) {
                *score = 1;
            }
        }
    }

    crate::export_warming! {
        policy: Everything,
        name: "everything",
        summary: "Fetches everything.",
        features: ["model"],
        base_bytes: 131072,
        params: EverythingParams {}
    }

    #[test]
    fn the_manifest_is_json_with_everything_declared() {
        let manifest: serde_json::Value = serde_json::from_str(MANIFEST).unwrap();
        let expected = serde_json::json!({
            "abi": 1, "name": "everything", "version": env!("CARGO_PKG_VERSION"),
            "summary": "Fetches everything.", "kinds": ["warming"], "features": ["model"],
            "params": [], "bytes_per_slot": 0, "base_bytes": 131072,
        });
        assert_eq!(manifest, expected);
    }

    #[test]
    fn scores_are_cleared_and_models_refused_by_default() {
        let setup = Setup { capacity: 1, slots: 0, seed: 0 };
        let mut policy = (NATIVE.build)(setup, "").unwrap();
        let mut scores = [7, 7];
        policy.rank(&Outlook::default(), &[Candidate::ZERO; 2], &mut scores);
        assert_eq!(scores, [1, 0]);
        assert_eq!(policy.model(b"anything"), Err(ModelRefused::TAKES_NONE));
    }
}
