//! Requests of RESP clients.
