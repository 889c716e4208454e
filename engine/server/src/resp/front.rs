//! What all connections of the RESP front share: the service, whether the server stops, and how much
//! waits for slow clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::clients::Client;
use crate::service::Service;

/// Bytes that may wait for any client without slowing it down.
const WAITING_FREE_BYTES: usize = 1 << 20;
/// Bytes beyond those that may wait for all clients together. Some clients send a long pipeline before
/// they read the first reply, and would wait for ever if the server did not read on.
const EXCESS_BYTES_MAX: usize = 256 << 20;

/// Bytes in a connection's buffers that are not counted where it is bounded what all clients make the
/// server hold: so that ordinary traffic touches no counter.
const HELD_FREE_BYTES: usize = 64 << 10;

/// The RESP front of one server.
pub(crate) struct Front {
    service: Arc<Service>,
    draining: AtomicBool,
    excess_bytes: AtomicUsize,
}

impl Front {
    pub(crate) fn new(service: Arc<Service>) -> Self {
        Self { service, draining: AtomicBool::new(false), excess_bytes: AtomicUsize::new(0) }
    }

    pub(crate) fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// Lets every connection answer what has come, and end.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        for client in self.service.clients.all() {
            client.close();
        }
    }

    /// True once the server stops.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }
}

/// One connection's part of the bytes beyond those that are free; given back when it drops.
pub(crate) struct Excess<'a> {
    front: &'a Front,
    client: Arc<Client>,
    bytes: usize,
    held_bytes: usize,
}

impl<'a> Excess<'a> {
    pub(crate) fn new(front: &'a Front, client: Arc<Client>) -> Self {
        Self { front, client, bytes: 0, held_bytes: 0 }
    }

    /// Notes that the connection's buffers hold `bytes`.
    #[inline]
    pub(crate) fn hold(&mut self, bytes: usize) {
        let bytes = bytes.saturating_sub(HELD_FREE_BYTES);
        if bytes != self.held_bytes {
            self.held_bytes = bytes;
            self.client.hold(bytes);
        }
    }

    /// Notes that `waiting` bytes wait for the client.
    pub(crate) fn set(&mut self, waiting: usize) {
        let bytes = waiting.saturating_sub(WAITING_FREE_BYTES);
        let before = std::mem::replace(&mut self.bytes, bytes);
        if bytes > before {
            self.front.excess_bytes.fetch_add(bytes - before, Ordering::Relaxed);
        } else if bytes < before {
            self.front.excess_bytes.fetch_sub(before - bytes, Ordering::Relaxed);
        }
    }

    /// True while a client for which `waiting` bytes wait may make more.
    pub(crate) fn may_grow(&self, waiting: usize) -> bool {
        waiting <= WAITING_FREE_BYTES
            || waiting <= self.front.service.settings.limits.output_bytes_max
                && self.front.excess_bytes.load(Ordering::Relaxed) <= EXCESS_BYTES_MAX
    }
}

impl Drop for Excess<'_> {
    fn drop(&mut self) {
        self.set(0);
        self.hold(0);
    }
}
