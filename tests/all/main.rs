//! Behaviour tests, one binary, a module per subject.
#![forbid(unsafe_code)]

mod author;
mod compare;
mod demo;
mod hostile;
mod invariants;
mod live;
mod models;
mod policies;
mod prefetching;
mod regressions;
mod replay;
mod serve;
mod tidy;
mod twins;
mod warming;
