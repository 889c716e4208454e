//! The RESP front: what clients of Redis speak.

pub(crate) mod buffers;
pub(crate) mod connection;
pub(crate) mod front;
pub(crate) mod listener;
pub(crate) mod lookout;
pub mod reply;
pub mod request;
pub(crate) mod wire;
