//! Generated workloads: `zipf(…)`, `scan(…)`, `loop(…)`, `diurnal(…)` and `shift(…)` of them.
//!
//! Owns the spec grammar's meaning and the generators; it knows no file and no cache. A workload is
//! a function of its spec: the same requests on every machine and in every version.

mod diurnal;
mod generator;
mod random;
mod spec;
mod zipf;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

pub use generator::Generator;

use crate::error::TraceError;

/// What a replay without a trace runs: phases in which different policies win.
///
/// Zipf phases (frequency pays) around a scan of objects that never come back, a loop a little
/// larger than a tenth of all objects (recency loses everything), a hot set that moves on five
/// times (frequency remembers the wrong objects), and the first distribution again. 1,240,000
/// requests to 132,591 objects.
pub const DEFAULT_WORKLOAD: &str = "shift(\
    zipf(n=300000,alpha=0.9,keys=60000,seed=1);\
    scan(n=40000,start=100000);\
    zipf(n=100000,alpha=0.9,keys=60000,seed=2);\
    loop(n=200000,keys=16000,start=200000);\
    zipf(n=60000,alpha=1.1,keys=8000,seed=3,start=300000);\
    zipf(n=60000,alpha=1.1,keys=8000,seed=4,start=304000);\
    zipf(n=60000,alpha=1.1,keys=8000,seed=5,start=308000);\
    zipf(n=60000,alpha=1.1,keys=8000,seed=6,start=312000);\
    zipf(n=60000,alpha=1.1,keys=8000,seed=7,start=316000);\
    zipf(n=300000,alpha=0.9,keys=60000,seed=8))";

/// The generators' names, for errors.
pub(crate) const GENERATORS: &str = "zipf, scan, loop, diurnal, shift";

/// Whether an argument is meant as a workload spec: a name and parentheses.
pub(crate) fn looks_like_spec(text: &str) -> bool {
    text.ends_with(')')
        && text.split_once('(').is_some_and(|(name, _)| {
            !name.is_empty() && name.chars().all(|letter| letter.is_ascii_alphabetic())
        })
}

/// A generated workload, parsed and checked. Cheap to clone.
///
/// ```text
/// spec  := NAME "(" [ item { ("," | ";") item } ] ")"
/// item  := NAME "=" VALUE | spec
/// ```
///
/// | spec | parameters with their defaults (and ranges) |
/// |---|---|
/// | `zipf` | `n=1000000` requests (1 to 10^12), `alpha=1.0` (0 to 10), `keys=100000` (1 to 2^24), `seed=1`, `start=0`, `size=1` |
/// | `scan` | `n=1000000`, `start=0`, `size=1`: objects start, start + 1, … once each |
/// | `loop` | `n=1000000`, `keys=100000` (1 to 10^12), `start=0`, `size=1`: the same keys in a circle |
/// | `diurnal` | `n=1000000`, `alpha=0.8`, `keys=50000`, `seed=1`, `days=7` (1 to 3650), `start=0`, `size=1`: every object is mostly asked for in the two hours after an hour of the day that is its own |
/// | `shift` | specs as phases one after the other (nested up to 8 deep, 4,096 phases in all), `repeat=1` (1 to 4096), `size=` for phases that give none |
///
/// Objects are numbered; `start` is the first number of a phase (0 to 2^62), so phases that overlap
/// in numbers share objects. A key is the hash of the number: neither its rank in a zipf phase nor
/// its place in a scan shows in it. `size` is a number of bytes or a range `lo..hi` (1 to
/// 4294967295) in which every object has its own fixed size, drawn log-uniformly. One request
/// happens a millisecond, but for a diurnal phase, whose requests are spread evenly over its days;
/// every request is a get.
#[derive(Clone, Debug, PartialEq)]
pub struct Workload {
    /// The spec as given.
    text: Arc<str>,
    /// All phases in order, repeats written out.
    phases: Arc<[Phase]>,
}

/// A stretch with one pattern.
#[derive(Clone, Debug, PartialEq)]
struct Phase {
    pattern: Pattern,
    /// At least 1.
    requests: u64,
    /// The first object's number.
    start: u64,
    size: SizeRule,
}

/// How a phase picks objects, counted from its start.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Pattern {
    Zipf { alpha: f64, keys: u64, seed: u64 },
    Scan,
    Loop { keys: u64 },
    Diurnal { alpha: f64, keys: u64, seed: u64, days: u64 },
}

/// How large objects are, bytes, at least 1.
#[derive(Clone, Copy, Debug, PartialEq)]
enum SizeRule {
    Constant(u32),
    /// From min to max inclusive, min ≤ max.
    LogUniform {
        min: u32,
        max: u32,
    },
}

impl Workload {
    /// How many requests it makes.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.phases.iter().map(|phase| phase.requests).sum()
    }

    /// How many requests each phase makes, in order; a report can mark the shifts with it.
    pub fn phase_requests(&self) -> impl Iterator<Item = u64> + '_ {
        self.phases.iter().map(|phase| phase.requests)
    }

    /// Starts generating from the first request.
    #[must_use]
    pub fn generate(&self) -> Generator {
        Generator::new(Arc::clone(&self.phases))
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Workload {
    type Err = TraceError;

    fn from_str(text: &str) -> Result<Self, TraceError> {
        let text = text.trim();
        let phases = spec::parse(text).map_err(|fault| TraceError::BadWorkload {
            spec: crate::error::shown(text.as_bytes()),
            part: crate::error::shown(fault.part.as_bytes()),
            reason: fault.reason,
        })?;
        Ok(Self { text: Arc::from(text), phases: Arc::from(phases) })
    }
}

#[cfg(test)]
mod tests {
    use ostler_abi::hash_u64;

    use super::*;
    use crate::trace::{Request, TraceReader};

    fn run(spec: &str) -> Vec<Request> {
        let workload: Workload = spec.parse().unwrap();
        let requests: Vec<Request> = TraceReader::generate(&workload).map(Result::unwrap).collect();
        assert_eq!(requests.len() as u64, workload.requests(), "{spec}");
        requests
    }

    fn objects(numbers: impl IntoIterator<Item = u64>) -> Vec<u64> {
        numbers.into_iter().map(|number| hash_u64(number, 0)).collect()
    }

    fn keys(requests: &[Request]) -> Vec<u64> {
        requests.iter().map(|request| request.key).collect()
    }

    #[test]
    fn scans_loops_and_shifts_name_their_objects() {
        for (spec, expected) in [
            ("scan(n=4)", objects(0..4)),
            ("scan(start=7,n=3)", objects(7..10)),
            ("loop(n=7,keys=3,start=10)", objects([10, 11, 12, 10, 11, 12, 10])),
            ("shift(scan(n=2); loop(n=3, keys=2))", objects([0, 1, 0, 1, 0])),
            ("shift(scan(n=2),scan(n=1,start=5),repeat=2)", objects([0, 1, 5, 0, 1, 5])),
            (
                "shift(scan(n=1); shift(repeat=2; scan(n=1,start=4)); scan(n=1))",
                objects([0, 4, 4, 0]),
            ),
        ] {
            let requests = run(spec);
            assert_eq!(keys(&requests), expected, "{spec}");
            assert!(
                requests.iter().enumerate().all(|(i, r)| r.time_ms() == i as u64 && r.size == 1)
            );
        }
    }

    #[test]
    fn long_phases_go_on_across_blocks() {
        assert_eq!(keys(&run("scan(n=10000)")), objects(0..10_000));
    }

    #[test]
    fn zipf_is_a_function_of_its_seed() {
        let spec = "zipf(n=5000,keys=100,seed=3)";
        assert_eq!(run(spec), run(spec));
        assert_ne!(keys(&run(spec)), keys(&run("zipf(n=5000,keys=100,seed=4)")));
        // A repeated phase starts from its seed again.
        let twice = run("shift(repeat=2;zipf(n=5000,keys=100,seed=3))");
        assert_eq!(keys(&twice[..5000]), keys(&twice[5000..]));
    }

    /// Generated traces are quoted by their spec, so they must not change, on any machine.
    #[test]
    fn requests_are_frozen() {
        let digest = |spec: &str| {
            run(spec)
                .iter()
                .fold(0, |digest, request| hash_u64(request.key ^ u64::from(request.size), digest))
        };
        let found = [
            "zipf(n=100000)",
            "zipf(n=1000,alpha=0.7,keys=5000,seed=9,size=64..65536)",
            DEFAULT_WORKLOAD,
        ]
        .map(digest);
        assert_eq!(found, [16060976024130245700, 8141348216694972578, 9218511048784394074]);
    }

    #[test]
    fn sizes_are_constant_or_drawn_per_object_and_inherited() {
        assert!(run("scan(n=10,size=512)").iter().all(|request| request.size == 512));
        let looped = run("loop(n=2000,keys=1000,size=10..99)");
        assert!(looped.iter().all(|request| (10..=99).contains(&request.size)));
        let sizes = |requests: &[Request]| requests.iter().map(|r| r.size).collect::<Vec<u32>>();
        assert_eq!(sizes(&looped[..1000]), sizes(&looped[1000..]));
        let mixed = run("shift(scan(n=1); size=7; scan(n=1,size=9); shift(scan(n=1)))");
        assert_eq!(sizes(&mixed), [7, 9, 7]);
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let same = |short: &str, long: &str| {
            let (short, long): (Workload, Workload) =
                (short.parse().unwrap(), long.parse().unwrap());
            assert_eq!(short.phases, long.phases);
        };
        same("zipf()", "zipf(n=1000000,alpha=1.0,keys=100000,seed=1,start=0,size=1)");
        same("scan()", "scan(n=1000000,start=0,size=1)");
        same("loop()", "loop(n=1000000,keys=100000,start=0,size=1)");
        same("shift(scan())", " shift ( repeat = 1 , scan ( ) ; ) ");
    }

    #[test]
    fn the_default_workload_has_its_size_and_its_shifts() {
        let workload: Workload = DEFAULT_WORKLOAD.parse().unwrap();
        assert!((1_000_000..2_000_000).contains(&workload.requests()));
        assert!(workload.phases.len() >= 5);
        assert_eq!(workload.to_string(), DEFAULT_WORKLOAD);
        assert_eq!(workload.phase_requests().sum::<u64>(), workload.requests());
    }

    #[test]
    fn specs_are_told_from_paths() {
        for (text, is_spec) in [
            ("zipf()", true),
            ("foo(a)", true),
            ("zipf(n=1).csv", false),
            ("/a/zipf()", false),
            ("()", false),
            ("a b(c)", false),
            ("zipf", false),
        ] {
            assert_eq!(looks_like_spec(text), is_spec, "{text}");
        }
    }
}
