//! The RESP front: what clients of Redis speak.

pub mod reply;
pub mod request;
