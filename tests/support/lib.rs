//! What the tests share: scripted policies, shards that read like tables, workloads, the checkout.
//!
//! It owns no assertion about the product. Everything in here uses public interfaces only.
#![forbid(unsafe_code)]

mod asks;
mod builtins;
mod checkout;
mod cli;
mod fifo;
mod guests;
mod live;
mod mock;
mod model;
mod origin;
mod policy;
mod runner;
mod serve;
mod shard;
mod workloads;

pub use asks::Parrot;
pub use builtins::{extreme_params, manifest_of, module_of};
pub use checkout::{files, relative, root};
pub use cli::{Ran, ostler, ostler_line};
pub use fifo::Fifo;
pub use guests::{Expect, Guest, cheats, cheats_of, guests, guests_of};
pub use live::{Books, Counted, Scripted, assert_within, native, refusal};
pub use mock::{Answer, Mock, Told};
pub use model::{Model, Operation};
pub use origin::HttpOrigin;
pub use ostler::{BUILTINS, Builtin};
pub use ostler_abi::Setup;
pub use policy::{Tested, runtime};
pub use runner::{cases, check};
pub use serve::{Answered, Served, connect, read_to_end};
pub use shard::{HITS, Keys, NO_HITS, TestShard};
pub use workloads::{TestWorkload, WORKLOADS};
