//! Ostler's fetching ahead of requests: the hosts of prefetch and warming policies.
//!
//! Owns what such a policy hears, which of its wishes are granted, and what came of them. Everything
//! here is a plain state machine that is told what happened and when: replay drives it with a
//! modelled origin, the server with threads and a real one. It must not know threads, the network,
//! Wasm, or any policy by name.
#![forbid(unsafe_code)]

pub mod prefetch;
pub mod warming;
