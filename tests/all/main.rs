//! Behaviour tests, one binary, a module per subject.
#![forbid(unsafe_code)]

mod author;
mod hostile;
mod invariants;
mod live;
mod policies;
mod regressions;
mod replay;
mod serve;
mod tidy;
mod twins;
