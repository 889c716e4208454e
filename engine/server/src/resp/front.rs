//! What all connections of the RESP front share: the service, whether the server stops, and how much
//! waits for slow clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::service::Service;

/// Bytes that may wait for any client without slowing it down.
const WAITING_FREE_BYTES: usize = 1 << 20;
/// Bytes beyond those that may wait for all clients together. Some clients send a long pipeline before
/// they read the first reply, and would wait for ever if the server did not read on.
const EXCESS_BYTES_MAX: usize = 256 << 20;

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
    bytes: usize,
}

impl<'a> Excess<'a> {
    pub(crate) fn new(front: &'a Front) -> Self {
        Self { front, bytes: 0 }
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
    }
}
