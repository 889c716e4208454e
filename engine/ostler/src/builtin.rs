//! The built-in policies: each one as its module and compiled in.

use ostler_abi::NativePolicy;

use crate::loaded;

/// A policy that comes with the engine.
///
/// ```
/// use ostler::BUILTINS;
///
/// let names = BUILTINS.map(|builtin| builtin.name);
/// assert_eq!((names[0], names.len()), ("arc", 17));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Builtin<N = NativePolicy> {
    /// Its name, as in its manifest.
    pub name: &'static str,
    /// The module, as committed under `policies/artifacts`.
    #[cfg(feature = "wasm")]
    pub module: &'static [u8],
    /// The same source compiled in.
    pub native: N,
}

/// Declares the list of the built-in policies of a kind, which is empty where the feature `builtin`
/// is off.
macro_rules! builtins {
    (
        $(#[$about:meta])*
        pub const $list:ident: [$builtin:ty; $len:literal] = {
            $($name:literal => $native:path),* $(,)?
        };
    ) => {
        $(#[$about])*
        #[cfg(feature = "builtin")]
        pub const $list: [$builtin; $len] = [$(
            $crate::Builtin {
                name: $name,
                #[cfg(feature = "wasm")]
                module: include_bytes!(concat!(
                    env!("CARGO_MANIFEST_DIR"), "/../../policies/artifacts/", $name, ".wasm"
                )),
                native: $native,
            },
        )*];

        /// Every built-in policy of this kind: none, since the feature `builtin` is off.
        #[cfg(not(feature = "builtin"))]
        pub const $list: [$builtin; 0] = [];
    };
}
pub(crate) use builtins;

builtins! {
    /// Every built-in policy, by name.
    pub const BUILTINS: [Builtin; 17] = {
        "arc" => ostler_arc::NATIVE,
        "clock" => ostler_clock::NATIVE,
        "fifo" => ostler_fifo::NATIVE,
        "gdsf" => ostler_gdsf::NATIVE,
        "hyperbolic" => ostler_hyperbolic::NATIVE,
        "learned" => ostler_learned::NATIVE,
        "lecar" => ostler_lecar::NATIVE,
        "lfu" => ostler_lfu::NATIVE,
        "lhd" => ostler_lhd::NATIVE,
        "lirs" => ostler_lirs::NATIVE,
        "lru" => ostler_lru::NATIVE,
        "qdlp" => ostler_qdlp::NATIVE,
        "s3fifo" => ostler_s3fifo::NATIVE,
        "sieve" => ostler_sieve::NATIVE,
        "slru" => ostler_slru::NATIVE,
        "twoq" => ostler_twoq::NATIVE,
        "wtinylfu" => ostler_wtinylfu::NATIVE,
    };
}

/// The built-in policy with this name.
///
/// ```
/// assert!(ostler::builtin("sieve").is_some());
/// assert!(ostler::builtin("no-such-policy").is_none());
/// ```
#[must_use]
pub fn builtin(name: &str) -> Option<&'static Builtin> {
    loaded::builtin(name).ok()
}
