//! The export macros: manifest, parameters, the native entry and, on wasm32, the module's exports.
//!
//! One macro a kind of policy; what they have in common is in `export_shared!`, the only place that
//! says how a function leaves a module.

mod prefetch;
mod warming;

/// Declares an eviction policy to the world: its manifest, its parameters and its exports.
///
/// It defines, in the calling module: the parameter struct (its name is yours), `MANIFEST` (the
/// manifest as JSON), `NATIVE` (a [`NativePolicy`](crate::NativePolicy) for compiling the policy in)
/// and, on wasm32 only, the exports of the contract, the panic handler and the allocator.
///
/// Fields, in this order:
///
/// - `policy`: the type that implements [`Policy`](crate::Policy).
/// - `name`: `[a-z0-9_-]`, at most 64 characters. `summary`: one sentence.
/// - `events`: the optional kinds it wants to hear: `"hit"`, `"miss"`. All others always come.
/// - `features`, may be left out: what it requires of the host: `["model"]` for a policy that
///   implements [`Policy::model`](crate::Policy::model).
/// - `bytes_per_slot`: guest memory per slot, everything counted (the driver's books take 4).
///   `base_bytes`: guest memory beside that. The engine allows `base + slots × bytes × 1.25`.
/// - `params`: `Name { field: type = default, low..=high, "help"; … }` with `int` (`i64`), `float`
///   (`f64`) or `bool` (range `false..=true`). A `Params { }` without fields is fine.
///
/// The crate's version becomes the policy's. See the crate's example.
#[macro_export]
macro_rules! export {
    (
        policy: $policy:ident,
        name: $name:literal,
        summary: $summary:literal,
        events: [$($event:literal),*],
        $(features: [$($feature:tt),* $(,)?],)?
        bytes_per_slot: $bytes_per_slot:literal,
        base_bytes: $base_bytes:literal,
        params: $params:ident { $($declared:tt)* }
    ) => {
        $crate::export_shared!(@policy
            NativePolicy, $crate::Driver::<$policy>::new,
            name: $name, summary: $summary, kind: "eviction",
            features: [$($($feature)*)?], events: [$($event)*],
            bytes_per_slot: $bytes_per_slot, base_bytes: $base_bytes,
            params: $params { $($declared)* }
        );

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            static GUEST: $crate::guest::Guest<$policy> = $crate::guest::Guest::new();

            $crate::export_shared!(@module MANIFEST, GUEST, $crate::guest::Layout);
            $crate::export_shared!(@function ostler_step, GUEST.step, events);
            $($($crate::export_shared!(@feature $feature GUEST);)*)?
        };
    };
}

/// What the three export macros share; not for direct use.
#[doc(hidden)]
#[macro_export]
macro_rules! export_shared {
    // The parameters, the manifest, and the policy compiled in: `new` makes its driver.
    (
        @policy $native:ident, $new:expr,
        name: $name:literal, summary: $summary:literal, kind: $kind:literal,
        features: [$($feature:tt)*], $(events: [$($event:tt)*],)?
        bytes_per_slot: $bytes_per_slot:literal, base_bytes: $base_bytes:literal,
        params: $params:ident { $($declared:tt)* }
    ) => {
        $crate::export_shared!(@params_struct $name, $params { $($declared)* });

        /// The policy's manifest, JSON.
        pub const MANIFEST: &str = concat!(
            "{\"abi\":1,\"name\":\"", $name,
            "\",\"version\":\"", env!("CARGO_PKG_VERSION"),
            "\",\"summary\":\"", $summary,
            "\",\"kinds\":[\"", $kind,
            "\"],\"features\":[", $crate::export_shared!(@list $($feature)*),
            $("],\"events\":[", $crate::export_shared!(@list $($event)*),)?
            "],\"params\":[", $crate::export_shared!(@params $($declared)*),
            "],\"bytes_per_slot\":", $bytes_per_slot,
            ",\"base_bytes\":", $base_bytes, "}"
        );

        /// The policy, compiled in.
        pub const NATIVE: $crate::$native = $crate::$native {
            manifest: MANIFEST,
            build: |setup, params| Ok($crate::macro_support::driver(setup, params, $new)?),
        };
    };

    (@params_struct $name:literal, $params:ident {
        $($field:ident : $type:ident = $default:literal, $low:literal ..= $high:literal, $help:literal;)*
    }) => {
        #[doc = concat!("Parameters of the policy `", $name, "`.")]
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub struct $params {
            $(#[doc = $help] pub $field: $crate::export_shared!(@type $type),)*
        }

        impl ::core::default::Default for $params {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl $crate::Params for $params {
            fn set(&mut self, name: &str, value: &str) -> Result<(), $crate::InitRefused> {
                let _ = value;
                match name {
                    $(stringify!($field) => {
                        self.$field = $crate::read_value(name, value, $low..=$high)?;
                        Ok(())
                    })*
                    _ => $crate::unknown_name(name, &[$(stringify!($field)),*]),
                }
            }
        }
    };

    // The manifest's section, the calls that every kind has, the allocator and the panic handler.
    (@module $manifest:ident, $guest:ident, $layout:ty) => {
        #[used]
        #[unsafe(link_section = "ostler.policy")]
        static MANIFEST_BYTES: [u8; $manifest.len()] = $crate::guest::bytes_of($manifest);

        #[unsafe(no_mangle)]
        extern "C" fn ostler_layout() -> *const $layout {
            $guest.layout()
        }

        #[unsafe(no_mangle)]
        extern "C" fn ostler_init(capacity: i64, slots: i32, seed: i64) -> i32 {
            $guest.init(capacity, slots, seed)
        }

        #[global_allocator]
        static ALLOCATOR: $crate::macro_support::GlobalDlmalloc =
            $crate::macro_support::GlobalDlmalloc;

        #[panic_handler]
        fn panic(_: &::core::panic::PanicInfo<'_>) -> ! {
            ::core::arch::wasm32::unreachable()
        }
    };
    (@feature "model" $guest:ident) => {
        $crate::export_shared!(@function ostler_model, $guest.model, len);
    };
    (@function $name:ident, $guest:ident . $method:ident, $count:ident) => {
        #[unsafe(no_mangle)]
        extern "C" fn $name($count: i32) -> i32 {
            $guest.$method($count)
        }
    };

    (@type int) => { i64 };
    (@type float) => { f64 };
    (@type bool) => { bool };

    // Names as the members of a JSON array.
    (@list) => { "" };
    (@list $name:tt) => { concat!("\"", $name, "\"") };
    (@list $name:tt $($rest:tt)+) => {
        concat!("\"", $name, "\",", $crate::export_shared!(@list $($rest)+))
    };

    (@params) => { "" };
    (@params $field:ident : $type:ident = $default:literal, $low:literal ..= $high:literal, $help:literal;) => {
        $crate::export_shared!(@param $field $type $default, $low, $high, $help)
    };
    (
        @params
        $field:ident : $type:ident = $default:literal, $low:literal ..= $high:literal, $help:literal;
        $($rest:tt)+
    ) => {
        concat!(
            $crate::export_shared!(@param $field $type $default, $low, $high, $help),
            ",",
            $crate::export_shared!(@params $($rest)+)
        )
    };
    (@param $field:ident bool $default:literal, $low:literal, $high:literal, $help:literal) => {
        concat!(
            "{\"name\":\"", stringify!($field), "\",\"type\":\"bool\",\"default\":", $default,
            ",\"help\":\"", $help, "\"}"
        )
    };
    (@param $field:ident $type:ident $default:literal, $low:literal, $high:literal, $help:literal) => {
        concat!(
            "{\"name\":\"", stringify!($field), "\",\"type\":\"", stringify!($type),
            "\",\"default\":", $default, ",\"min\":", $low, ",\"max\":", $high,
            ",\"help\":\"", $help, "\"}"
        )
    };
}

#[cfg(test)]
#[expect(unreachable_pub, reason = "the macro exports what it defines; a test module cannot")]
mod tests {
    use crate::{Params as _, Policy, Record, Setup};

    struct Nothing;

    impl Policy for Nothing {
        type Params = NothingParams;

        fn new(_: &Setup, _: &NothingParams) -> Self {
            Self
        }
        fn grow(&mut self, _: u32) {}
        fn hit(&mut self, _: &Record, _: &crate::Budget) {}
        fn insert(&mut self, _: &Record, _: &crate::Budget) {}
        fn victim(&mut self, _: &crate::Budget) -> u32 {
            0
        }
        fn remove(&mut self, _: u32, _: &crate::Budget) {}
    }

    crate::export! {
        policy: Nothing,
        name: "nothing",
        summary: "Keeps what comes first.",
        events: ["hit", "miss"],
        bytes_per_slot: 4,
        base_bytes: 65536,
        params: NothingParams {
            share: int = 10, 1..=900, "Share of the small queue.";
            decay: float = 0.5, 0.0..=1.0, "Decay per period.";
            adaptive: bool = true, false..=true, "Adapt the share.";
        }
    }

    #[test]
    fn the_manifest_is_json_with_everything_declared() {
        let manifest: serde_json::Value = serde_json::from_str(MANIFEST).unwrap();
        assert_eq!(
            manifest,
            serde_json::json!({
                "abi": 1, "name": "nothing", "version": env!("CARGO_PKG_VERSION"),
                "summary": "Keeps what comes first.", "kinds": ["eviction"], "features": [],
                "events": ["hit", "miss"],
                "params": [
                    {"name": "share", "type": "int", "default": 10, "min": 1, "max": 900,
                     "help": "Share of the small queue."},
                    {"name": "decay", "type": "float", "default": 0.5, "min": 0.0, "max": 1.0,
                     "help": "Decay per period."},
                    {"name": "adaptive", "type": "bool", "default": true,
                     "help": "Adapt the share."},
                ],
                "bytes_per_slot": 4, "base_bytes": 65536,
            })
        );
    }

    mod taught {
        use crate::{Budget, Policy, Record, Setup};

        struct Taught;

        impl Policy for Taught {
            type Params = TaughtParams;

            fn new(_: &Setup, _: &TaughtParams) -> Self {
                Self
            }
            fn grow(&mut self, _: u32) {}
            fn hit(&mut self, _: &Record, _: &Budget) {}
            fn insert(&mut self, _: &Record, _: &Budget) {}
            fn victim(&mut self, _: &Budget) -> u32 {
                0
            }
            fn remove(&mut self, _: u32, _: &Budget) {}
        }

        crate::export! {
            policy: Taught,
            name: "taught",
            summary: "Takes models.",
            events: [],
            features: ["model"],
            bytes_per_slot: 4,
            base_bytes: 65536,
            params: TaughtParams {}
        }
    }

    #[test]
    fn the_required_features_are_in_the_manifest() {
        let manifest: serde_json::Value = serde_json::from_str(taught::MANIFEST).unwrap();
        assert_eq!(manifest["features"], serde_json::json!(["model"]));
        assert_eq!(manifest["events"], serde_json::json!([]));
        let setup = Setup { capacity: 1, slots: 2, seed: 0 };
        assert!((taught::NATIVE.build)(setup, "").is_ok());
    }

    #[test]
    fn parameters_come_from_json_over_the_defaults() {
        let params = NothingParams::from_json(r#"{"share": 90, "adaptive": false}"#).unwrap();
        assert_eq!(params, NothingParams { share: 90, decay: 0.5, adaptive: false });
        let unknown = NothingParams::from_json(r#"{"window": 1}"#).unwrap_err();
        assert!(unknown.reason.contains(r#"["share", "decay", "adaptive"]"#), "{unknown}");
        let setup = Setup { capacity: 1, slots: 2, seed: 0 };
        assert!((NATIVE.build)(setup, r#"{"share": 0}"#).is_err());
        let mut built = (NATIVE.build)(setup, "").unwrap();
        assert_eq!(built.step(&[], &mut [0]), 0);
    }
}
