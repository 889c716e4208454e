//! Ostler's replay: traces and workloads in, hit ratios and victims out.
//!
//! Owns the trace readers, the generated workloads, the replay loop, its report and the offline
//! optimum. It knows a policy only as a [`Candidate`]; it must not know the command line or any
//! server.

mod belady;
mod capacity;
mod digest;
mod error;
mod report;
mod run;
mod trace;
mod workload;

pub use belady::{Admission, Belady, BeladyStep};
pub use capacity::{CapacityError, CapacitySpec, CapacityUnit, Footprint};
pub use digest::VictimsDigest;
pub use error::{Place, TraceError};
pub use report::{RunReport, RunSubject, write_csv, write_json};
pub use run::{Candidate, Run, RunConfig, RunOutcome, WeightMode, run, run_loaded};
pub use trace::{
    BLOCK_REQUESTS_MAX, CsvOptions, Format, LINE_BYTES_MAX, Operation, Packing, Request, TimeUnit,
    TraceReader, TraceSource,
};
pub use workload::{DEFAULT_WORKLOAD, Generator, Workload};
