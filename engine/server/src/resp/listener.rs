//! Takes connections in and deals them to the threads that talk.
//!
//! One thread accepts, deals in turn, and lets the caches do what is due; it owns the listeners. The
//! others own their connections, each with a runtime and a lane of its own; a connection stays where
//! it was dealt to.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use socket2::{SockRef, TcpKeepalive};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::clients::{Client, Peer};
use crate::resp::connection::Connection;
use crate::resp::front::Front;
use crate::resp::lookout;
use crate::server::seldom::Seldom;

/// How often the caches do what is due, such as dropping entries that have expired.
const TICK: Duration = Duration::from_millis(100);
/// Pause after a connection could not be taken, for want of descriptors mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Time that a client has for the handshake of TLS.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// Silence of a peer after which it is probed, as in Redis.
const KEEPALIVE: Duration = Duration::from_secs(300);
/// What a client hears when there are too many.
const TOO_MANY: &[u8] = b"-ERR max number of clients reached\r\n";

/// The sockets that the front listens on, bound but not yet used.
#[derive(Default)]
pub(crate) struct Sockets {
    /// By TCP, with TLS where that is set.
    pub(crate) tcp: Option<(std::net::TcpListener, Option<TlsAcceptor>)>,
    /// By a Unix socket, and its path.
    pub(crate) unix: Option<(std::os::unix::net::UnixListener, String)>,
}

/// A connection on its way to its thread. Its client is forgotten when it drops.
pub(crate) struct Arrival {
    socket: Socket,
    guest: Guest,
}

enum Socket {
    Tcp(std::net::TcpStream, Option<TlsAcceptor>),
    Unix(std::os::unix::net::UnixStream),
}

/// A client as long as it is connected.
struct Guest {
    front: Arc<Front>,
    client: Arc<Client>,
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.front.service().clients.forget(self.client.id);
    }
}

/// Where a thread takes its connections from.
pub(crate) type Desk = mpsc::UnboundedReceiver<Arrival>;
/// Where its connections are put; what waits there is bounded by the number of clients.
pub(crate) type Door = mpsc::UnboundedSender<Arrival>;

/// Accepts on `sockets` and deals to `doors` until `stop` says so.
///
/// # Errors
///
/// Where a socket cannot be used with the runtime at hand.
pub(crate) async fn accept(
    front: Arc<Front>,
    sockets: Sockets,
    doors: Vec<Door>,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let dealer = Arc::new(Dealer { front: Arc::clone(&front), doors, next: 0.into() });
    let mut tasks = JoinSet::new();
    if let Some((listener, tls)) = sockets.tcp {
        let listener = TcpListener::from_std(listener)?;
        tasks.spawn(accept_tcp(Arc::clone(&dealer), listener, tls));
    }
    if let Some((listener, path)) = sockets.unix {
        let listener = UnixListener::from_std(listener)?;
        tasks.spawn(accept_unix(Arc::clone(&dealer), listener, path));
    }
    drop(dealer);
    tasks.spawn(tick(front));
    // An error means that the server is gone, which is as good as being told to stop.
    let _ = stop.wait_for(|stopped| *stopped).await;
    tasks.shutdown().await;
    Ok(())
}

/// Talks to the clients that come to `desk` until no more come; then waits for those that are left.
pub(crate) async fn talk(front: Arc<Front>, mut desk: Desk, lane: usize) {
    let (present, mut all_gone) = mpsc::channel::<()>(1);
    tokio::spawn(lookout::watch());
    while let Some(arrival) = desk.recv().await {
        let present = present.clone();
        tokio::spawn(async move {
            arrival.talk(lane).await;
            drop(present);
        });
    }
    drop(present);
    let drain_timeout = front.service().settings.limits.drain_timeout;
    if timeout(drain_timeout, all_gone.recv()).await.is_err() {
        tracing::warn!(lane, ?drain_timeout, "connections cut off that did not end in time");
    }
}

/// Deals connections to the threads in turn.
struct Dealer {
    front: Arc<Front>,
    doors: Vec<Door>,
    next: std::sync::atomic::AtomicUsize,
}

impl Dealer {
    /// A client, none where there are too many.
    fn admit(&self, peer: Peer, local: String) -> Option<Guest> {
        let service = self.front.service();
        let Some(client) = service.clients.admit(peer, local, service.clock.now_unix_ms()) else {
            service.counters.connections_refused.fetch_add(1, Relaxed);
            return None;
        };
        service.counters.connections.fetch_add(1, Relaxed);
        Some(Guest { front: Arc::clone(&self.front), client })
    }

    fn deal(&self, socket: Socket, guest: Guest) {
        let turn = self.next.fetch_add(1, Relaxed);
        if let Some(door) = self.doors.get(turn % self.doors.len().max(1)) {
            // A thread that is gone means that the server stops; the connection closes.
            let _ = door.send(Arrival { socket, guest });
        }
    }
}

async fn accept_tcp(dealer: Arc<Dealer>, listener: TcpListener, tls: Option<TlsAcceptor>) {
    let mut warnings = Seldom::default();
    loop {
        let (mut stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                pause_after(&error, &mut warnings).await;
                continue;
            }
        };
        let local = stream.local_addr().map(|address| address.to_string()).unwrap_or_default();
        let Some(guest) = dealer.admit(Peer::Tcp(peer), local) else {
            if tls.is_none() {
                refuse(&mut stream).await;
            }
            continue;
        };
        let set = stream.set_nodelay(true).and_then(|()| {
            SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))
        });
        // A socket that refuses this is one whose client has gone already.
        if let (Ok(()), Ok(stream)) = (set, stream.into_std()) {
            dealer.deal(Socket::Tcp(stream, tls.clone()), guest);
        }
    }
}

async fn accept_unix(dealer: Arc<Dealer>, listener: UnixListener, path: String) {
    let mut warnings = Seldom::default();
    loop {
        let mut stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                pause_after(&error, &mut warnings).await;
                continue;
            }
        };
        let Some(guest) = dealer.admit(Peer::Unix, format!("{path}:0")) else {
            refuse(&mut stream).await;
            continue;
        };
        if let Ok(stream) = stream.into_std() {
            dealer.deal(Socket::Unix(stream), guest);
        }
    }
}

/// Says that there are too many. A socket just made takes these few bytes at once.
async fn refuse(stream: &mut (impl tokio::io::AsyncWrite + Unpin)) {
    let _ = timeout(ACCEPT_PAUSE, stream.write_all(TOO_MANY)).await;
    let _ = timeout(ACCEPT_PAUSE, stream.shutdown()).await;
}

async fn pause_after(error: &io::Error, warnings: &mut Seldom) {
    if let Some(kept_back) = warnings.let_through(Instant::now()) {
        tracing::warn!(%error, kept_back, "a connection could not be taken");
    }
    sleep(ACCEPT_PAUSE).await;
}

/// Lets the caches do what is due, now and then.
async fn tick(front: Arc<Front>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let service = front.service();
        service.note_rates();
        service.clock.look_at_wall_clock();
        if service.tracking.is_stale() {
            let _alone = service.lanes.alone();
            service.tracking.tidy();
        }
        for keyspace in &front.service().caches {
            keyspace.cache().run_pending();
            keyspace.settle();
            // Those who wait for a connection have their turn between two caches.
            tokio::task::yield_now().await;
        }
    }
}

impl Arrival {
    async fn talk(self, lane: usize) {
        let Self { socket, guest } = self;
        let (front, client) = (&*guest.front, Arc::clone(&guest.client));
        match socket {
            Socket::Unix(stream) => {
                if let Ok(stream) = UnixStream::from_std(stream) {
                    Connection::new(front, client, stream, lane).run().await;
                }
            }
            Socket::Tcp(stream, None) => {
                if let Ok(stream) = TcpStream::from_std(stream) {
                    Connection::new(front, client, stream, lane).run().await;
                }
            }
            Socket::Tcp(stream, Some(tls)) => {
                let Ok(stream) = TcpStream::from_std(stream) else { return };
                match timeout(HANDSHAKE_MAX, tls.accept(stream)).await {
                    Ok(Ok(stream)) => Connection::new(front, client, stream, lane).run().await,
                    Ok(Err(error)) => {
                        tracing::debug!(peer = %client.peer, %error, "TLS handshake broken off");
                    }
                    Err(_) => tracing::debug!(peer = %client.peer, "TLS handshake took too long"),
                }
            }
        }
    }
}
