//! The workloads that policies are compared on: small, and each hard in its own way.

use std::sync::LazyLock;

use ostler_replay::{CapacityUnit, Footprint, Operation, Request, TraceSource, WeightMode};

/// A workload, in memory.
#[derive(Debug)]
pub struct TestWorkload {
    /// A short name.
    pub name: &'static str,
    /// What entries weigh.
    pub weights: WeightMode,
    /// The requests.
    pub requests: Vec<Request>,
}

impl TestWorkload {
    /// A share of the workload's objects or bytes, percent, rounded down.
    ///
    /// # Panics
    ///
    /// Never: a whole percentage is a valid capacity.
    #[must_use]
    pub fn share(&self, percent: u32) -> u64 {
        let unit = match self.weights {
            WeightMode::Objects => CapacityUnit::Objects,
            WeightMode::Bytes => CapacityUnit::Bytes,
        };
        let capacity: ostler_replay::CapacitySpec =
            format!("{percent}%").parse().expect("invariant: a percentage is a capacity");
        capacity.resolve(&Footprint::of(&self.requests), unit).expect("invariant: shares resolve")
    }
}

/// Every workload.
pub static WORKLOADS: LazyLock<[TestWorkload; 5]> = LazyLock::new(|| {
    let (objects, bytes) = (WeightMode::Objects, WeightMode::Bytes);
    let sizes = load("zipf(n=25000,alpha=0.8,keys=6000,seed=3,size=1..100000)");
    [
        TestWorkload { name: "zipf", weights: objects, requests: load(ZIPF) },
        TestWorkload { name: "loop", weights: objects, requests: load(LOOP) },
        TestWorkload { name: "shift", weights: objects, requests: load(SHIFT) },
        TestWorkload { name: "writes", weights: bytes, requests: with_writes(&sizes) },
        TestWorkload { name: "sizes", weights: bytes, requests: sizes },
    ]
});

const ZIPF: &str = "zipf(n=30000,alpha=1.0,keys=8000,seed=7)";
const LOOP: &str = "shift(loop(n=8000,keys=300);zipf(n=4000,keys=500);loop(n=8000,keys=300))";
/// The default workload of the command line at a twentieth of its length.
const SHIFT: &str = "shift(\
    zipf(n=15000,alpha=0.9,keys=3000,seed=1);\
    scan(n=2000,start=100000);\
    zipf(n=5000,alpha=0.9,keys=3000,seed=2);\
    loop(n=10000,keys=800,start=200000);\
    zipf(n=3000,alpha=1.1,keys=400,seed=3,start=300000);\
    zipf(n=3000,alpha=1.1,keys=400,seed=4,start=300200);\
    zipf(n=3000,alpha=1.1,keys=400,seed=5,start=300400);\
    zipf(n=15000,alpha=0.9,keys=3000,seed=8))";

fn load(spec: &str) -> Vec<Request> {
    let source: TraceSource = spec.parse().expect("invariant: the spec is valid");
    source.load(1 << 20).expect("invariant: a workload cannot fail")
}

/// One request in five becomes a write with another size, one in twenty a removal.
fn with_writes(requests: &[Request]) -> Vec<Request> {
    let changed = requests.iter().enumerate().map(|(index, &request)| match index % 20 {
        3 => request.with_operation(Operation::Delete),
        0 | 5 | 10 | 15 => {
            let size = request.size / 2 + (index as u32).wrapping_mul(2_654_435_761) % 40_000;
            Request::get(request.time_ms(), request.key, size).with_operation(Operation::Set)
        }
        _ => request.with_cost_us((request.key % 9000) as u32),
    });
    changed.collect()
}
