//! The export macro: manifest, parameters, the native entry and, on wasm32, the module's exports.

/// Declares a policy to the world: its manifest, its parameters and its exports.
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
        events: [$($event:literal $(, $more_event:literal)*)?],
        bytes_per_slot: $bytes_per_slot:literal,
        base_bytes: $base_bytes:literal,
        params: $params:ident {
            $($field:ident : $type:ident = $default:literal, $low:literal ..= $high:literal, $help:literal;)*
        }
    ) => {
        #[doc = concat!("Parameters of the policy `", $name, "`.")]
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub struct $params {
            $(#[doc = $help] pub $field: $crate::export!(@type $type),)*
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

        /// The policy's manifest, JSON.
        pub const MANIFEST: &str = concat!(
            "{\"abi\":1,\"name\":\"", $name,
            "\",\"version\":\"", env!("CARGO_PKG_VERSION"),
            "\",\"summary\":\"", $summary,
            "\",\"kinds\":[\"eviction\"],\"features\":[],\"events\":[",
            $("\"", $event, "\"" $(, ",\"", $more_event, "\"")*,)?
            "],\"params\":[",
            $crate::export!(@params $($field $type $default, $low, $high, $help;)*),
            "],\"bytes_per_slot\":", $bytes_per_slot,
            ",\"base_bytes\":", $base_bytes, "}"
        );

        /// The policy, compiled in.
        pub const NATIVE: $crate::NativePolicy = $crate::NativePolicy {
            manifest: MANIFEST,
            build: |setup, params| {
                let params = <$params as $crate::Params>::from_json(params)?;
                Ok($crate::macro_support::Box::new($crate::Driver::<$policy>::new(setup, params)))
            },
        };

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            #[used]
            #[unsafe(link_section = "ostler.policy")]
            static MANIFEST_BYTES: [u8; MANIFEST.len()] = $crate::guest::bytes_of(MANIFEST);

            static GUEST: $crate::guest::Guest<$policy> = $crate::guest::Guest::new();

            #[unsafe(no_mangle)]
            extern "C" fn ostler_layout() -> *const $crate::guest::Layout {
                GUEST.layout()
            }

            #[unsafe(no_mangle)]
            extern "C" fn ostler_init(capacity: i64, slots: i32, seed: i64) -> i32 {
                GUEST.init(capacity, slots, seed)
            }

            #[unsafe(no_mangle)]
            extern "C" fn ostler_step(events: i32) -> i32 {
                GUEST.step(events)
            }

            #[global_allocator]
            static ALLOCATOR: $crate::macro_support::GlobalDlmalloc =
                $crate::macro_support::GlobalDlmalloc;

            #[panic_handler]
            fn panic(_: &::core::panic::PanicInfo<'_>) -> ! {
                ::core::arch::wasm32::unreachable()
            }
        };
    };

    (@type int) => { i64 };
    (@type float) => { f64 };
    (@type bool) => { bool };

    (@params) => { "" };
    (@params $field:ident $type:ident $default:literal, $low:literal, $high:literal, $help:literal;) => {
        $crate::export!(@param $field $type $default, $low, $high, $help)
    };
    (@params $field:ident $type:ident $default:literal, $low:literal, $high:literal, $help:literal; $($rest:tt)+) => {
        concat!(
            $crate::export!(@param $field $type $default, $low, $high, $help),
            ",",
            $crate::export!(@params $($rest)+)
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
