//! HTTP/1.1 on a port that every pod can reach: connections, bytes and time have limits for every client (T26).
//!
//! Without limits, a few hundred requests whose headers never end would exhaust the memory of a process, and stop the controllers that
//! revoke access.
//!
//! hyper and hyper-util serve one connection each. Their only timer is that of a request's headers: it covers neither a body that never
//! ends nor a response that the client does not read. A semaphore or tower's limits would make a new connection wait, so that idle
//! connections could block the API server. No library evicts a connection of the address that has most of them, so [`HttpServer::serve`]
//! does it.

use std::{
    collections::HashMap,
    io::ErrorKind,
    net::IpAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::Router;
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// Size limit of the headers of a request; the library's default is 400 KiB. Bodies may be longer, they are read in pieces of this size.
const MAX_HEAD: usize = 16 << 10;
/// Delay after an error of `accept`: a missing resource, such as file descriptors, is not available again at once.
const PAUSE: Duration = Duration::from_millis(50);

/// How long a connection may stay open.
#[derive(Clone, Copy, Debug)]
pub enum Stay {
    /// For one request, with this time limit in total. It also ends headers that never end and responses that the client does not read.
    Once(Duration),
    /// For any number of requests.
    Kept {
        /// Time limit of the TLS handshake. Without TLS, time limit from the opening to the first request.
        ///
        /// It does not include the first request after a handshake: Go's HTTP client, and so an API server, opens connections that it may
        /// only need much later. It does not repeat a request whose connection the server closed before any response.
        handshake: Duration,
        /// Time limit without activity. The connection is closed after one to two times this duration.
        idle: Duration,
    },
}

impl Stay {
    /// Returns when a connection has exceeded its limits. `opened` is the event of its opening.
    async fn over(self, seat: &Seat, opened: u64) {
        let (mut patience, idle) = match self {
            Self::Once(all) => return sleep(all).await,
            Self::Kept { handshake, idle } => (handshake, idle),
        };
        let mut before = opened;
        loop {
            sleep(patience).await;
            let last = seat.last();
            if last == before {
                return;
            }
            (before, patience) = (last, idle);
        }
    }
}

/// State of a connection that waits for a request. It is combined with the number of the last event.
const WAITS: u64 = 0;
/// State of a connection with a request in progress. It is greater than any event number, so that these are closed last.
const IS_ANSWERED: u64 = 1 << 63;

/// The last event of a connection. Events are numbered, so that their order does not depend on a clock.
#[derive(Debug)]
struct Seat {
    last: AtomicU64,
    events: Arc<AtomicU64>,
}

impl Seat {
    /// Returns the state of a newly opened connection.
    fn new(events: &Arc<AtomicU64>) -> Self {
        let seat = Self { last: AtomicU64::new(0), events: Arc::clone(events) };
        seat.note(WAITS);
        seat
    }

    /// Records an event, after which the connection is in this state.
    fn note(&self, state: u64) {
        self.last.store(self.events.fetch_add(1, Ordering::Relaxed) | state, Ordering::Relaxed);
    }

    fn last(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }
}

/// The client address of a request, stored as a request extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer(pub IpAddr);

/// An accepted connection.
struct Taken {
    peer: Peer,
    seat: Arc<Seat>,
    task: AbortHandle,
}

/// An HTTP server with limits.
pub struct HttpServer {
    /// Most connections at a time.
    pub connections: usize,
    /// How long each connection may stay open.
    pub stay: Stay,
    /// The TLS settings, if it uses TLS.
    pub tls: Option<TlsAcceptor>,
    /// The handlers.
    pub router: Router,
}

impl HttpServer {
    /// Serves until `shutdown`; then requests in progress have `grace` to end.
    ///
    /// At the limit, a new connection replaces one of the address that has most of them: the one that was idle for longest. If the new
    /// connection were closed or had to wait, one client could block the API server and the kubelet's probes. The kubelet would then
    /// restart the process. With this rule, one address can only replace its own connections.
    pub async fn serve(self, listener: TcpListener, shutdown: CancellationToken, grace: Duration) {
        let server = Arc::new(self);
        let events = Arc::new(AtomicU64::new(0));
        let mut taken: Vec<Taken> = Vec::new();
        let mut tasks = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = shutdown.cancelled() => break,
            };
            let (stream, peer) = match accepted {
                Ok((stream, address)) => (stream, Peer(address.ip().to_canonical())),
                // A client that has already disconnected must not delay others.
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) => continue,
                Err(_) => {
                    sleep(PAUSE).await;
                    continue;
                }
            };
            while tasks.try_join_next().is_some() {}
            taken.retain(|taken| !taken.task.is_finished());
            if taken.len() >= server.connections {
                make_room(&mut taken);
            }
            let seat = Arc::new(Seat::new(&events));
            let task = tasks.spawn(Arc::clone(&server).attend(stream, peer, Arc::clone(&seat), shutdown.clone()));
            taken.push(Taken { peer, seat, task });
        }
        drop(listener);
        // Dropping the task set aborts what has not ended by then.
        let _ = timeout(grace, async { while tasks.join_next().await.is_some() {} }).await;
    }

    async fn attend(self: Arc<Self>, stream: TcpStream, peer: Peer, seat: Arc<Seat>, shutdown: CancellationToken) {
        let (opened, keep) = (seat.last(), matches!(self.stay, Stay::Kept { .. }));
        let served = async {
            let (router, seat) = (self.router.clone(), Arc::clone(&seat));
            match &self.tls {
                None => answer(stream, peer, router, seat, keep, shutdown).await,
                Some(tls) => {
                    // TLS itself reports a failed handshake to the client.
                    if let Ok(stream) = tls.accept(stream).await {
                        seat.note(WAITS);
                        answer(stream, peer, router, seat, keep, shutdown).await;
                    }
                }
            }
        };
        tokio::select! {
            () = served => {}
            () = self.stay.over(&seat, opened) => {}
        }
    }
}

/// Closes a connection of the address with most connections: the one that was idle for longest. One with a request in progress is closed
/// only if all of them have one.
fn make_room(taken: &mut Vec<Taken>) {
    let mut of_peer: HashMap<Peer, usize> = HashMap::new();
    for connection in taken.iter() {
        *of_peer.entry(connection.peer).or_default() += 1;
    }
    let most = of_peer.values().copied().max();
    let theirs = taken.iter().enumerate().filter(|(_, connection)| of_peer.get(&connection.peer).copied() == most);
    if let Some((place, _)) = theirs.min_by_key(|(_, connection)| connection.seat.last()) {
        taken.swap_remove(place).task.abort();
    }
}

/// Serves the requests of one connection until either side closes it.
async fn answer<I>(stream: I, peer: Peer, router: Router, seat: Arc<Seat>, keep: bool, shutdown: CancellationToken)
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        let (router, seat) = (router.clone(), Arc::clone(&seat));
        async move {
            seat.note(IS_ANSWERED);
            let answer = router.oneshot(request).await;
            seat.note(WAITS);
            answer
        }
    });
    let mut builder = http1::Builder::new();
    // `Stay` limits the time of headers and of everything else; the library's own timer covers headers only.
    builder.max_buf_size(MAX_HEAD).keep_alive(keep).header_read_timeout(None::<Duration>);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        // Errors of one connection are not reported.
        _ = connection.as_mut() => return,
        () = shutdown.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

#[cfg(test)]
#[path = "http_server_tests.rs"]
mod tests;
