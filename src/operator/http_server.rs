//! HTTP/1.1 on a port that every pod may reach: connections, bytes and time have bounds, whoever connects (T26).
//!
//! Without them a few hundred requests whose heads never end would fill the memory of a process, and with it would end the controllers that
//! take grants away.
//!
//! hyper and hyper-util serve one connection each, and their only timer is that of a request's head: it covers neither a body that never
//! ends nor a response that nobody reads. A semaphore or tower's limits would make a new connection wait, and would so let idle ones keep
//! out the API server. No library evicts a connection of the address that has most of them, so [`HttpServer::serve`] does it.

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

/// Longest head of a request; the library takes 400 KiB where nothing is said. Bodies may be longer, they are read in pieces of this size.
const MAX_HEAD: usize = 16 << 10;
/// Pause after a connection could not be accepted: what is missing then, such as file descriptors, does not come back at once.
const PAUSE: Duration = Duration::from_millis(50);

/// How long a connection may stay.
#[derive(Clone, Copy, Debug)]
pub enum Stay {
    /// For one request, and this long with everything: a head that never ends and an answer that nobody reads are cut off as well.
    Once(Duration),
    /// For as many requests as come.
    Kept {
        /// From its opening until it has asked something, with the handshake of TLS.
        first: Duration,
        /// While nothing happens on it; it is closed after once to twice this long.
        idle: Duration,
    },
}

impl Stay {
    /// Ends when a connection has stayed for too long. `opened` is what had happened last on it when it was opened.
    async fn over(self, seat: &Seat, opened: u64) {
        let (mut patience, idle) = match self {
            Self::Once(all) => return sleep(all).await,
            Self::Kept { first, idle } => (first, idle),
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

/// State of a connection that waits for a request, as a mark on the number of its last event.
const WAITS: u64 = 0;
/// State of a connection with a request that is being answered. It is greater than any number, so that these are closed last.
const IS_ANSWERED: u64 = 1 << 63;

/// What happened last on a connection. Events have numbers, so that nobody has to ask a clock which came first.
#[derive(Debug)]
struct Seat {
    last: AtomicU64,
    events: Arc<AtomicU64>,
}

impl Seat {
    /// Of a connection that has just been opened.
    fn new(events: &Arc<AtomicU64>) -> Self {
        let seat = Self { last: AtomicU64::new(0), events: Arc::clone(events) };
        seat.note(WAITS);
        seat
    }

    /// Something happened, and now the connection is in this state.
    fn note(&self, state: u64) {
        self.last.store(self.events.fetch_add(1, Ordering::Relaxed) | state, Ordering::Relaxed);
    }

    fn last(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }
}

/// Where a request comes from. Among requests it is an extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer(pub IpAddr);

/// A connection that has a place.
struct Taken {
    peer: Peer,
    seat: Arc<Seat>,
    task: AbortHandle,
}

/// Who serves, and in which bounds.
pub struct HttpServer {
    /// Most connections at a time.
    pub connections: usize,
    /// How long each of them may stay.
    pub stay: Stay,
    /// How TLS is spoken, where it is.
    pub tls: Option<TlsAcceptor>,
    /// Who answers.
    pub router: Router,
}

impl HttpServer {
    /// Serves until `shutdown`; then what runs has `grace` to end.
    ///
    /// Where all places are taken, the newest connection gets a place of the address that has most of them: that on which nothing has
    /// happened for longest. Were it closed or made to wait, whoever keeps all places taken would keep away the API server and the
    /// kubelet's probes, and the kubelet would end the process. As it is, one address takes places from itself alone.
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
                // Who is gone already is no reason to let others wait.
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
        // What has not ended by then is cut off, together with the set of tasks.
        let _ = timeout(grace, async { while tasks.join_next().await.is_some() {} }).await;
    }

    async fn attend(self: Arc<Self>, stream: TcpStream, peer: Peer, seat: Arc<Seat>, shutdown: CancellationToken) {
        let (opened, keep) = (seat.last(), matches!(self.stay, Stay::Kept { .. }));
        let served = async {
            let (router, seat) = (self.router.clone(), Arc::clone(&seat));
            match &self.tls {
                None => answer(stream, peer, router, seat, keep, shutdown).await,
                Some(tls) => {
                    // TLS itself tells the other side what is wrong with its handshake.
                    if let Ok(stream) = tls.accept(stream).await {
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

/// Closes a connection of the addresses that have most of them: that on which nothing has happened for longest, and one with a request
/// that is being answered only if all of theirs have one.
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

/// Answers what is asked on one connection, until either side has had enough.
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
    // `Stay` bounds the time of a head, and that of everything else; the library's own timer sees heads only.
    builder.max_buf_size(MAX_HEAD).keep_alive(keep).header_read_timeout(None::<Duration>);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        // What went wrong between the two sides is nobody else's business.
        _ = connection.as_mut() => return,
        () = shutdown.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

#[cfg(test)]
#[path = "http_server_tests.rs"]
mod tests;
