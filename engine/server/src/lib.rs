//! Ostler's server: a RESP front for the clients of Redis, an HTTP API for policies, entries and
//! metrics, and what they share.
//!
//! Thin over the engine: nothing in here decides who is evicted.

pub(crate) mod adaptive;
pub mod auth;
pub mod channels;
pub mod clients;
pub mod clock;
pub mod commands;
pub mod databases;
pub mod experiments;
pub mod fetching;
pub mod histogram;
pub mod http;
pub mod keyspace;
pub mod lanes;
mod ledger;
pub(crate) mod models;
pub mod notifications;
pub(crate) mod origin;
pub mod pause;
pub mod policies;
pub mod rates;
pub mod resp;
pub mod room;
pub mod server;
pub mod service;
pub mod settings;
pub mod tallies;
pub mod tls;
pub mod tracking;
