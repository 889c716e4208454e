//! A whole server: binds, starts its threads, and stops them again.
//!
//! RESP has one thread that accepts and some that talk; HTTP has a runtime of its own. Everything that
//! can be wrong with the settings is found before the first thread starts.

use std::net::SocketAddr;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::runtime::Builder;
use tokio::sync::{mpsc, watch};

use crate::http;
use crate::resp::front::Front;
use crate::resp::listener::{self, Sockets};
use crate::service::{Service, ServiceError};
use crate::settings::Settings;
use crate::tls::{self, TlsError};

pub(crate) mod descriptors;
pub(crate) mod seldom;
mod sockets;
#[cfg(test)]
mod tests;
mod web;

use self::sockets::{UnixPath, bind_tcp, bind_unix};
use self::web::Web;

/// Threads that serve RESP where the settings do not say.
const THREADS_MAX: usize = 8;
/// Threads that serve HTTP.
const HTTP_THREADS: usize = 2;

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// There is nothing to listen on.
    #[error("nothing to listen on: set an address for RESP or HTTP, or a Unix socket")]
    NoAddress,
    /// Everybody could do everything from elsewhere.
    #[error("{address} can be reached from other machines: set a token, or listen on 127.0.0.1")]
    Open {
        /// The address.
        address: SocketAddr,
    },
    /// An address cannot be listened on.
    #[error(
        "cannot listen on {address}: {source}{}",
        way_out(source, "another process does; stop it, or set another address for resp or http")
    )]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A Unix socket cannot be made.
    #[error(
        "cannot listen on {path}: {source}{}",
        way_out(source, "another process does, or it is no socket; remove it, or set another resp_unix"),
        path = path.display()
    )]
    BindUnix {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The files for TLS cannot be used.
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    /// A cache or a policy cannot be made.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The operating system gives no thread or no event queue.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
}

/// What to do about an address that is taken.
fn way_out(error: &std::io::Error, advice: &str) -> String {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => format!(": {advice}"),
        _ => String::new(),
    }
}

/// A server at work. Dropping it stops it without waiting.
pub struct Server {
    service: Arc<Service>,
    front: Arc<Front>,
    stop: watch::Sender<bool>,
    acceptor: Option<JoinHandle<()>>,
    talkers: Vec<JoinHandle<()>>,
    web: Option<JoinHandle<()>>,
    resp_address: Option<SocketAddr>,
    resp_unix: Option<UnixPath>,
    http_address: Option<SocketAddr>,
    http_stop: Option<http::Stop>,
}

impl Server {
    /// Starts a server: when it returns, clients can connect.
    ///
    /// # Errors
    ///
    /// [`StartError`]; nothing is left running.
    pub fn start(mut settings: Settings) -> Result<Self, StartError> {
        check(&settings)?;
        let tls = settings.tls.as_ref().map(tls::acceptor).transpose()?;
        let tcp = settings.resp.map(bind_tcp).transpose()?;
        let unix = settings.resp_unix.as_deref().map(bind_unix).transpose()?;
        let http = settings.http.map(bind_tcp).transpose()?;
        let address_of = |listener: &Option<std::net::TcpListener>| {
            listener.as_ref().and_then(|listener| listener.local_addr().ok())
        };
        let (resp_address, http_address) = (address_of(&tcp), address_of(&http));
        let (unix, resp_unix) = unix.unzip();
        // Clients are told the port that was found.
        (settings.resp, settings.http) = (resp_address, http_address);

        let threads = settings.threads.unwrap_or_else(threads_for_this_machine).max(1);
        let shares = descriptors::share(&settings.limits, threads);
        settings.limits.clients_max = shares.resp;
        let service = Service::try_new(settings, threads)?;
        let (stop, stopped) = watch::channel(false);
        // From here on an error drops the server, which stops what was started.
        let mut server = Self {
            front: Arc::new(Front::new(Arc::clone(&service))),
            service,
            stop,
            acceptor: None,
            talkers: Vec::new(),
            web: None,
            resp_address,
            resp_unix,
            http_address,
            http_stop: None,
        };
        let sockets = Sockets {
            tcp: tcp.map(|listener| (listener, tls.clone())),
            unix: unix.map(|listener| {
                let path = server.resp_unix().unwrap_or(Path::new(""));
                (listener, path.display().to_string())
            }),
        };
        server.start_resp(sockets, threads, stopped.clone())?;
        if let Some(listener) = http {
            let (router, stop) = http::stoppable(Arc::clone(&server.service));
            server.http_stop = Some(stop.clone());
            let connections_max = shares.http;
            server.start_http(Web { listener, tls, stopped, router, stop, connections_max })?;
        }
        Ok(server)
    }

    /// What the fronts share.
    #[must_use]
    pub fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// Where RESP is spoken, with the port that was found where the settings left it open.
    #[must_use]
    pub fn resp_address(&self) -> Option<SocketAddr> {
        self.resp_address
    }

    /// The Unix socket where RESP is spoken.
    #[must_use]
    pub fn resp_unix(&self) -> Option<&Path> {
        self.resp_unix.as_ref().map(UnixPath::path)
    }

    /// Where HTTP is spoken, with the port that was found where the settings left it open.
    #[must_use]
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http_address
    }

    /// Stops: says over HTTP that it is not ready, and goes on for as long as the settings say; then
    /// takes no more connections, answers what has come, and waits for clients to take their replies,
    /// at most as long as the settings say.
    pub fn stop(mut self) {
        self.announce_stop();
        std::thread::sleep(self.service.settings.limits.stop_lead);
        self.begin_stop();
        // Every connection that was taken is dealt now, so that all of them are told.
        join(self.acceptor.take());
        self.front.drain();
        for talker in self.talkers.drain(..) {
            join(Some(talker));
        }
        self.service.stop_adapting();
        self.service.fetching.stop();
        join(self.web.take());
    }

    /// Lets whoever asks know that it will stop, so that nobody sends it new work.
    fn announce_stop(&self) {
        if let Some(stop) = &self.http_stop {
            stop.announce();
        }
    }

    fn begin_stop(&mut self) {
        // Once: another server may have the path from here on.
        if let Some(path) = self.resp_unix.take() {
            path.remove();
        }
        self.stop.send_replace(true);
    }

    fn start_resp(
        &mut self,
        sockets: Sockets,
        threads: usize,
        stopped: watch::Receiver<bool>,
    ) -> Result<(), StartError> {
        let mut doors = Vec::new();
        for lane in 0..threads {
            let (door, desk) = mpsc::unbounded_channel();
            doors.push(door);
            let front = Arc::clone(&self.front);
            let talker = spawn(&format!("resp-{lane}"), listener::talk(front, desk, lane))?;
            self.talkers.push(talker);
        }
        let accepting = listener::accept(Arc::clone(&self.front), sockets, doors, stopped);
        self.acceptor = Some(spawn("accept", async {
            if let Err(error) = accepting.await {
                tracing::error!(%error, "no connection can be taken");
            }
        })?);
        Ok(())
    }

    fn start_http(&mut self, web: Web) -> Result<(), StartError> {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(HTTP_THREADS).thread_name("ostler-http").enable_all();
        let runtime = builder.build().map_err(StartError::Thread)?;
        let drain_timeout = self.service.settings.limits.drain_timeout;
        // The runtime lives and ends on a thread of its own, so that a server may be dropped anywhere.
        let thread = std::thread::Builder::new().name("ostler-http-stop".to_owned());
        let web = thread.spawn(move || {
            if let Err(error) = runtime.block_on(web.serve(drain_timeout)) {
                tracing::error!(%error, "HTTP is not served");
            }
            runtime.shutdown_background();
        });
        self.web = Some(web.map_err(StartError::Thread)?);
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.begin_stop();
        self.front.drain();
        self.service.stop_adapting();
        self.service.fetching.stop();
    }
}

/// A thread with a runtime that ends when `work` does.
fn spawn(
    name: &str,
    work: impl Future<Output = ()> + Send + 'static,
) -> Result<JoinHandle<()>, StartError> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(StartError::Thread)?;
    let thread = std::thread::Builder::new().name(format!("ostler-{name}"));
    thread.spawn(move || runtime.block_on(work)).map_err(StartError::Thread)
}

fn join(thread: Option<JoinHandle<()>>) {
    if let Some(Err(_)) = thread.map(JoinHandle::join) {
        tracing::error!("a thread of the server panicked");
    }
}

/// One a core but one: the system's network, HTTP and maintenance need some of a core, and clients on
/// the same machine all of it. With two threads on two cores that `redis-benchmark` shared, a command
/// without pipelining took up to a third more processor time than with one; throughput was the same
/// within the noise, also with pipelines of 16.
fn threads_for_this_machine() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    (cores - 1).clamp(1, THREADS_MAX)
}

/// What is wrong with the settings whatever the machine.
fn check(settings: &Settings) -> Result<(), StartError> {
    let addresses = [settings.resp, settings.http];
    if addresses == [None, None] && settings.resp_unix.is_none() {
        return Err(StartError::NoAddress);
    }
    for address in addresses.into_iter().flatten() {
        if settings.tokens.is_empty() && !address.ip().is_loopback() {
            return Err(StartError::Open { address });
        }
    }
    Ok(())
}
