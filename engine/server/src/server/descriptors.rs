//! How many descriptors the system lets this process have, and how many connections fit into them.
//!
//! A connection takes one. Where they run out nobody can connect any more, probes included, so that
//! each front has a share that the other cannot use up.

use crate::settings::Limits;

/// Connections by HTTP, where there are descriptors for so many.
const HTTP_MAX: u64 = 1_024;
/// Descriptors for what is no connection: files, listeners, logs.
const RESERVE: u64 = 64;
/// Descriptors of the event queue of a thread.
const THREAD: u64 = 4;

/// Connections that each front may have at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shares {
    /// By RESP.
    pub(super) resp: usize,
    /// By HTTP.
    pub(super) http: usize,
}

/// The shares of a server with so many threads, after the system was asked for as many descriptors as
/// it gives. Where that is too few for `clients_max`, this says so.
pub(super) fn share(limits: &Limits, threads: usize) -> Shares {
    let descriptors = ask_for(limits.clients_max, threads);
    let shares = split(descriptors, (limits.clients_max, threads));
    if shares.resp < limits.clients_max {
        tracing::warn!(
            clients_max = shares.resp,
            wanted = limits.clients_max,
            descriptors,
            "fewer clients than the settings say: the system allows too few open files; raise `ulimit \
             -n`, or LimitNOFILE of the service"
        );
    }
    shares
}

/// How many of so many clients of RESP a server with so many threads can have at a time, after the system
/// was asked for as many descriptors as it gives.
pub(crate) fn clients_in_reach(clients_max: usize, threads: usize) -> usize {
    split(ask_for(clients_max, threads), (clients_max, threads)).resp
}

/// Descriptors that this process may have, after it was asked for enough.
fn ask_for(clients_max: usize, threads: usize) -> u64 {
    let wanted = clients_max as u64 + kept(HTTP_MAX, threads);
    // Without an answer nothing can be said, and what was asked for is tried.
    rlimit::increase_nofile_limit(wanted)
        .or_else(|_| rlimit::Resource::NOFILE.get().map(|(soft, _)| soft))
        .unwrap_or(u64::MAX)
}

/// The shares in so many descriptors; each front has one connection at least.
fn split(descriptors: u64, (clients_max, threads): (usize, usize)) -> Shares {
    let http = HTTP_MAX.min(descriptors / 4).max(1);
    let resp =
        descriptors.saturating_sub(kept(http, threads)).clamp(1, (clients_max as u64).max(1));
    let count = |connections: u64| usize::try_from(connections).unwrap_or(usize::MAX);
    Shares { resp: count(resp), http: count(http) }
}

/// Descriptors that clients of RESP cannot have.
fn kept(http: u64, threads: usize) -> u64 {
    RESERVE + THREAD * threads as u64 + http
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_fronts_fit_into_what_the_system_gives() {
        for (descriptors, clients_max, resp, http) in [
            (u64::MAX, 10_000, 10_000, 1_024),
            (1 << 20, 10_000, 10_000, 1_024),
            (11_096, 10_000, 10_000, 1_024),
            (11_095, 10_000, 9_999, 1_024),
            (1_024, 10_000, 696, 256),
            (1_024, 100, 100, 256),
            (200, 10_000, 78, 50),
            (50, 10_000, 1, 12),
            (0, 10_000, 1, 1),
        ] {
            let shares = split(descriptors, (clients_max, 2));
            assert_eq!(shares, Shares { resp, http }, "{descriptors} {clients_max}");
        }
    }
}
