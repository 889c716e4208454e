//! Serves the HTTP API over sockets: connections, TLS, time-outs, and the end.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::http;
use crate::service::Service;

/// Time that a client has for the head of a request, and for the handshake of TLS.
const HEAD_MAX: Duration = Duration::from_secs(10);
/// Bytes of the head of a request.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// Lines of the head of a request.
const HEADERS_MAX: usize = 64;
/// Connections at a time; others wait to be taken.
const CONNECTIONS_MAX: usize = 1024;
/// Pause after a connection could not be taken.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The HTTP front, bound but not yet serving.
pub(super) struct Web {
    pub(super) listener: std::net::TcpListener,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) stopped: watch::Receiver<bool>,
}

impl Web {
    /// Serves until the server stops and the last answer is out, or patience is.
    pub(super) async fn serve(self, service: Arc<Service>) -> io::Result<()> {
        let Self { listener, tls, stopped } = self;
        let listener = TcpListener::from_std(listener)?;
        let drain_timeout = service.settings.limits.drain_timeout;
        let (router, end) = http::stoppable(service);
        let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let (present, mut all_gone) = mpsc::channel::<()>(1);
        let mut stop = stopped.clone();
        loop {
            let accepted = async {
                // The semaphore is never closed.
                let permit = Arc::clone(&permits).acquire_owned().await.ok();
                (permit, listener.accept().await)
            };
            let (permit, accepted) = tokio::select! {
                accepted = accepted => accepted,
                _ = stop.wait_for(|stopped| *stopped) => break,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be taken");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let (tls, router, stopped) = (tls.clone(), router.clone(), stopped.clone());
            let present = present.clone();
            tokio::spawn(async move {
                let _ = stream.set_nodelay(true);
                match tls {
                    None => talk(stream, router, stopped).await,
                    Some(tls) => {
                        if let Ok(Ok(stream)) = timeout(HEAD_MAX, tls.accept(stream)).await {
                            talk(stream, router, stopped).await;
                        }
                    }
                }
                drop((permit, present));
            });
        }
        end.begin();
        drop((listener, present));
        if timeout(drain_timeout, all_gone.recv()).await.is_err() {
            tracing::warn!(?drain_timeout, "HTTP connections cut off that did not end in time");
        }
        Ok(())
    }
}

/// One connection, until it ends or the server stops.
async fn talk<S>(stream: S, router: Router, mut stopped: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX);
    let service = TowerToHyperService::new(router);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
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
