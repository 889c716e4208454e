//! The export macro of prefetch policies.

/// Declares a prefetch policy to the world: its manifest, its parameters and its exports.
///
/// As [`export!`](crate::export), with these fields, in this order: `policy` (implements
/// [`Prefetch`](crate::Prefetch)), `name`, `summary`, `features` (may be left out; `["keys"]` where
/// the policy wants the bytes of the keys), `base_bytes` (all the memory there is: the windows take
/// 64 KiB, and 64 KiB more with keys) and `params`. `NATIVE` is a
/// [`NativePrefetch`](crate::NativePrefetch).
///
/// ```
/// use ostler_policy::{Access, Asks, Prefetch, Setup};
///
/// /// Asks for the key after the one that was missed, where keys are numbers.
/// struct Next;
///
/// impl Prefetch for Next {
///     type Params = NextParams;
///
///     fn new(_: &Setup, _: &NextParams) -> Self {
///         Self
///     }
///     fn access(&mut self, access: &Access, key: Option<&[u8]>, asks: &mut Asks<'_>) {
///         if !access.kind().is_some_and(|kind| kind.is_request()) {
///             return;
///         }
///         let number = key.and_then(|key| core::str::from_utf8(key).ok()?.parse::<u64>().ok());
///         if let Some(next) = number.and_then(|number| number.checked_add(1)) {
///             asks.ask_key(next.to_string().as_bytes(), 40_000);
///         }
///     }
/// }
///
/// ostler_policy::export_prefetch! {
///     policy: Next,
///     name: "next",
///     summary: "Asks for the next number.",
///     features: ["keys"],
///     base_bytes: 262_144,
///     params: NextParams {}
/// }
/// # fn main() {
/// # use ostler_policy::{AccessKind, Ask};
/// let setup = Setup { capacity: 100, slots: 0, seed: 0 };
/// let mut policy = (NATIVE.build)(setup, "{}").expect("the defaults are valid");
/// let (mut buffer, mut written) = ([Ask::ZERO; 4], [0; 64]);
/// let mut asks = Asks::new(&mut buffer, &mut written);
/// let access = Access { key_at: 0, key_len: 2, ..Access::new(AccessKind::Miss, 1) };
/// policy.predict(&[access], b"41", &mut asks);
/// assert_eq!(asks.iter().next().and_then(|(_, key)| key), Some(&b"42"[..]));
/// # }
/// ```
#[macro_export]
macro_rules! export_prefetch {
    (
        policy: $policy:ident,
        name: $name:literal,
        summary: $summary:literal,
        $(features: [$($feature:tt),* $(,)?],)?
        base_bytes: $base_bytes:literal,
        params: $params:ident { $($declared:tt)* }
    ) => {
        $crate::export_shared!(@policy
            NativePrefetch, |setup, params| $crate::PrefetchDriver::<$policy>::new(&setup, &params),
            name: $name, summary: $summary, kind: "prefetch",
            features: [$($($feature)*)?],
            bytes_per_slot: 0, base_bytes: $base_bytes,
            params: $params { $($declared)* }
        );

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            const KEYS_CAP: usize = $crate::export_prefetch!(@keys_cap $($($feature)*)?);
            static GUEST: $crate::guest::PrefetchGuest<$policy, KEYS_CAP> =
                $crate::guest::PrefetchGuest::new();

            $crate::export_shared!(@module MANIFEST, GUEST, $crate::guest::PrefetchLayout);
            $crate::export_shared!(@function ostler_predict, GUEST.predict, accesses);
        };
    };

    // Room for the longest key of every access of a batch.
    (@keys_cap) => { 0 };
    (@keys_cap "keys") => { 65_536 };
}

#[cfg(test)]
#[expect(unreachable_pub, reason = "the macro exports what it defines; a test module cannot")]
mod tests {
    use crate::{Access, Asks, Prefetch, Setup};

    struct Silent;

    impl Prefetch for Silent {
        type Params = SilentParams;

        fn new(_: &Setup, _: &SilentParams) -> Self {
            Self
        }
        fn access(&mut self, _: &Access, _: Option<&[u8]>, _: &mut Asks<'_>) {}
    }

    crate::export_prefetch! {
        policy: Silent,
        name: "silent",
        summary: "Asks for nothing.",
        features: ["keys"],
        base_bytes: 131072,
        params: SilentParams {
            depth: int = 4, 1..=16, "How far ahead.";
        }
    }

    #[test]
    fn the_manifest_is_json_with_everything_declared() {
        let manifest: serde_json::Value = serde_json::from_str(MANIFEST).unwrap();
        let expected = serde_json::json!({
            "abi": 1, "name": "silent", "version": env!("CARGO_PKG_VERSION"),
            "summary": "Asks for nothing.", "kinds": ["prefetch"], "features": ["keys"],
            "params": [{"name": "depth", "type": "int", "default": 4, "min": 1, "max": 16,
                        "help": "How far ahead."}],
            "bytes_per_slot": 0, "base_bytes": 131072,
        });
        assert_eq!(manifest, expected);
        let setup = Setup { capacity: 1, slots: 0, seed: 0 };
        assert!((NATIVE.build)(setup, r#"{"depth": 17}"#).is_err());
        assert!((NATIVE.build)(setup, "").is_ok());
    }
}
