//! Serves the HTTP API over sockets: connections, TLS, time-outs, and the end.
//!
//! Whoever can reach the port takes part in this, with a token or without: what a connection costs is
//! bounded here. Who has which place, and who has to make room for others, is the business of `seats`.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::{HeaderValue, Request, StatusCode, header};
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service as HyperService;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::seldom::Seldom;
use crate::http;

mod seats;
#[cfg(test)]
mod tests;
mod writes;

use self::seats::{Seat, Seats};
use self::writes::Timed;

/// Time that a client has for the head of a request, and for the handshake of TLS.
const HEAD_MAX: Duration = Duration::from_secs(10);
/// Bytes of the head of a request.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// Lines of the head of a request.
const HEADERS_MAX: usize = 64;
/// Pause after a connection could not be taken.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often the API does what is due.
const TICK: Duration = Duration::from_secs(1);

/// The HTTP front, bound but not yet serving.
pub(super) struct Web {
    pub(super) listener: std::net::TcpListener,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) stopped: watch::Receiver<bool>,
    pub(super) router: Router,
    pub(super) stop: http::Stop,
    /// Connections at a time; one more makes another one end.
    pub(super) connections_max: usize,
}

/// What a connection is given to begin with.
struct Welcome {
    tls: Option<TlsAcceptor>,
    router: Router,
    stopped: watch::Receiver<bool>,
    seat: Seat,
}

impl Web {
    /// Serves until the server stops and the last answer is out, or patience is.
    pub(super) async fn serve(self, drain_timeout: Duration) -> io::Result<()> {
        let Self { listener, tls, stopped, router, stop, connections_max } = self;
        let listener = TcpListener::from_std(listener)?;
        let seats = Arc::new(Seats::new(connections_max));
        let (present, mut all_gone) = mpsc::channel::<()>(1);
        let mut is_stopped = stopped.clone();
        let mut warnings = Seldom::default();
        let ticker = tokio::spawn(tick(stop.clone()));
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = is_stopped.wait_for(|stopped| *stopped) => break,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    if let Some(kept_back) = warnings.let_through(Instant::now()) {
                        tracing::warn!(%error, kept_back, "a connection could not be taken");
                    }
                    // One that ends gives its descriptor to the next.
                    seats.end_one();
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let seat = tokio::select! {
                seat = seats.take() => seat,
                _ = is_stopped.wait_for(|stopped| *stopped) => break,
            };
            let (tls, router, stopped) = (tls.clone(), router.clone(), stopped.clone());
            let welcome = Welcome { tls, router, stopped, seat };
            let present = present.clone();
            tokio::spawn(async move {
                welcome.serve(stream).await;
                drop(present);
            });
        }
        stop.begin();
        ticker.abort();
        drop((listener, present));
        if timeout(drain_timeout, all_gone.recv()).await.is_err() {
            tracing::warn!(?drain_timeout, "HTTP connections cut off that did not end in time");
        }
        Ok(())
    }
}

/// Lets the API do what is due, now and then.
async fn tick(api: http::Stop) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        api.tidy().await;
    }
}

impl Welcome {
    /// One connection, until it ends, the server stops, or another one needs its seat.
    async fn serve(self, stream: TcpStream) {
        let Self { tls, router, stopped, seat } = self;
        let _ = stream.set_nodelay(true);
        let lost = seat.lost();
        let serve = async {
            match tls {
                None => talk(stream, router, (stopped, &seat)).await,
                Some(tls) => {
                    if let Ok(Ok(stream)) = timeout(HEAD_MAX, tls.accept(stream)).await {
                        talk(stream, router, (stopped, &seat)).await;
                    }
                }
            }
        };
        tokio::select! {
            () = serve => {}
            () = lost => tracing::debug!("HTTP connection ended: others need its place"),
        }
    }
}

/// Requests and answers of one connection.
async fn talk<S>(stream: S, router: Router, (mut stopped, seat): (watch::Receiver<bool>, &Seat))
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX);
    let attended = Attended { router: TowerToHyperService::new(router), seat: seat.clone() };
    let stream = TokioIo::new(Timed::new(stream, seat.clone()));
    let mut connection = std::pin::pin!(builder.serve_connection(stream, attended));
    let stop = async {
        // An error means that the server is gone.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "HTTP connection broken off");
    }
}

/// The API with an eye on the connection: what its seat has to know, and its end after a refusal.
struct Attended {
    router: TowerToHyperService<Router>,
    seat: Seat,
}

impl HyperService<Request<Incoming>> for Attended {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let work = self.seat.work();
        let answer = self.router.call(request);
        Box::pin(async move {
            let mut response = answer.await?;
            if http::is_known(&response) {
                work.note_known();
            }
            if matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
                // Strangers pay with a connection for each try.
                response
                    .headers_mut()
                    .insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response)
        })
    }
}
