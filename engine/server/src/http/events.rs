//! What happens to a cache's policy, told as it happens: server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, StreamExt};
use ostler_core::PolicyEvent;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::sync::watch;

use super::Api;
use super::caches::{FaultBody, SeatBody, blocking, seat_of};
use super::extract::CacheAt;
use super::problem::{Kind, Problem};
use crate::service::{Event, News};

/// Silence after which a comment tells that the connection lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// One event; its name is the `type`.
#[derive(Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum EventBody {
    /// The first of every stream: who is in charge.
    Seat {
        /// The cache.
        cache: String,
        /// Who is in charge.
        seat: SeatBody,
    },
    /// A policy took the seats.
    Changed {
        /// The cache.
        cache: String,
        /// When, milliseconds since 1970.
        unix_ms: u64,
        /// The policy before.
        from: Option<String>,
        /// The policy in charge now.
        to: String,
        /// Entries handed over.
        adopted: u64,
    },
    /// A policy broke its contract and lost the seat of a shard.
    Faulted {
        /// The cache.
        cache: String,
        /// When, milliseconds since 1970.
        unix_ms: u64,
        /// The policy.
        policy: String,
        /// What it did.
        fault: FaultBody,
    },
    /// A policy faulted too often: it gets no seat any more.
    Quarantined {
        /// The cache.
        cache: String,
        /// When, milliseconds since 1970.
        unix_ms: u64,
        /// The policy.
        policy: String,
    },
    /// A policy that had lost seats has them back.
    Restored {
        /// The cache.
        cache: String,
        /// When, milliseconds since 1970.
        unix_ms: u64,
        /// The policy.
        policy: String,
        /// How many shards.
        shards: usize,
    },
    /// An experiment began or ended.
    Experiment {
        /// The cache.
        cache: String,
        /// When, milliseconds since 1970.
        unix_ms: u64,
        /// Its id.
        id: String,
        /// `running`, `promoted`, `stopped` or `aborted`.
        state: String,
        /// The arm that was promoted.
        arm: Option<usize>,
        /// Why it ended.
        reason: Option<String>,
    },
    /// The listener was too slow: events, of all caches, were lost.
    Lagged {
        /// How many.
        lost: u64,
    },
}

impl EventBody {
    fn name(&self) -> &'static str {
        match self {
            Self::Seat { .. } => "seat",
            Self::Changed { .. } => "changed",
            Self::Faulted { .. } => "faulted",
            Self::Quarantined { .. } => "quarantined",
            Self::Restored { .. } => "restored",
            Self::Experiment { .. } => "experiment",
            Self::Lagged { .. } => "lagged",
        }
    }

    /// None for a kind of event that this API does not know.
    fn new(event: Event) -> Option<Self> {
        let Event { cache, unix_ms, event } = event;
        let event = match event {
            News::Policy(event) => event,
            News::Experiment { id, shown } => {
                return Some(Self::Experiment {
                    cache,
                    unix_ms,
                    id: id.to_string(),
                    state: shown.state_name().to_owned(),
                    arm: shown.promoted(),
                    reason: shown.reason().map(str::to_owned),
                });
            }
        };
        Some(match event {
            PolicyEvent::Changed { from, to, adopted } => {
                Self::Changed { cache, unix_ms, from, to, adopted }
            }
            PolicyEvent::Faulted { policy, fault } => {
                Self::Faulted { cache, unix_ms, policy, fault: FaultBody::new(&fault) }
            }
            PolicyEvent::Quarantined { policy, .. } => Self::Quarantined { cache, unix_ms, policy },
            PolicyEvent::Restored { policy, shards } => {
                Self::Restored { cache, unix_ms, policy, shards }
            }
            _ => return None,
        })
    }

    fn sent(&self) -> Sent {
        let text = serde_json::to_string(self).unwrap_or_default();
        Sent::default().event(self.name()).data(text)
    }
}

/// One listener.
struct Listener {
    cache: String,
    events: Receiver<Event>,
    stop: watch::Receiver<bool>,
    _permit: OwnedSemaphorePermit,
}

impl Listener {
    /// The next event of its cache, none when the server stops.
    async fn next(&mut self) -> Option<EventBody> {
        loop {
            let event = tokio::select! {
                event = self.events.recv() => event,
                _ = self.stop.wait_for(|stop| *stop) => return None,
            };
            match event {
                Ok(event) if event.cache == self.cache => match EventBody::new(event) {
                    Some(body) => return Some(body),
                    None => continue,
                },
                Ok(_) => {}
                Err(RecvError::Lagged(lost)) => return Some(EventBody::Lagged { lost }),
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

/// `GET /v1/caches/{cache}/events`.
pub(crate) async fn events(
    State(api): State<Arc<Api>>,
    cache: CacheAt,
) -> Result<Response, Problem> {
    let Ok(permit) = Arc::clone(&api.streams).try_acquire_owned() else {
        let detail = "too many listen already";
        return Err(Problem::new(Kind::Overloaded, detail).retry_after_s(10));
    };
    // Subscribed first, so that nothing happens unheard between the two.
    let events = api.service.events.subscribe();
    let stop = api.streams_stop.subscribe();
    let name = cache.of(&api).name().to_owned();
    let seat = blocking(move || seat_of(&api, cache)).await?;
    let first = EventBody::Seat { cache: name.clone(), seat }.sent();
    let listener = Listener { cache: name, events, stop, _permit: permit };
    let rest = stream::unfold(listener, |mut listener| async {
        let body = listener.next().await?;
        Some((body.sent(), listener))
    });
    let all = stream::once(async { first }).chain(rest).map(Ok::<_, Infallible>);
    let sse = Sse::new(all).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    Ok(sse.into_response())
}
