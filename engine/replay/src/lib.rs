//! Ostler's replay: traces and workloads in, hit ratios and victims out.
//!
//! Owns the trace readers, the generated workloads, the replay loops, exact and live, their report, the
//! comparison of policies on the same requests and the offline optimum. It knows a policy only as an
//! [`InstanceSource`](ostler_core::InstanceSource); it must not know the command line or any server.

mod adaptive;
mod belady;
mod capacity;
mod compare;
mod digest;
mod error;
mod live;
mod prefetch;
mod report;
mod restart;
mod run;
mod trace;
mod workload;

pub use adaptive::{AdaptiveConfig, AdaptiveRun, Decided, Remark, Swap};
pub use belady::{Admission, Belady, BeladyStep};
pub use capacity::{CapacityError, CapacitySpec, CapacityUnit, Footprint};
pub use compare::{
    Contender, CurvePoint, Difference, Measure, MiniatureCurve, Outcome, Paired, PairedOutcome,
    PairedSetup, Regret, Standing, Standings, Stretch, Verdict, sizes_between,
};
pub use digest::VictimsDigest;
pub use error::{Place, TraceError};
pub use live::{LiveConfig, LiveRun};
pub use prefetch::{
    FetchBudget, FetchLatency, PrefetchOutcome, PrefetchReport, PrefetchRun, PrefetchRunConfig,
};
pub use report::{RunReport, RunSubject, write_csv, write_json};
pub use restart::{Models, RestartConfig, RestartOutcome, replay_restart};
pub use run::{Run, RunConfig, RunOutcome, WeightMode, run, run_loaded};
pub use trace::{
    BLOCK_REQUESTS_MAX, CsvOptions, Format, LINE_BYTES_MAX, Operation, Packing, Request, TimeUnit,
    TraceReader, TraceSource,
};
pub use workload::{DEFAULT_WORKLOAD, Generator, Workload};
