use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Instant,
};

use axum::routing::get;
use tokio::task::JoinHandle;

use super::*;

/// Longer than any step of these tests: it must never expire.
const EVER: Duration = Duration::from_secs(30);
/// Short enough that the tests need not wait for it.
const SOON: Duration = Duration::from_millis(20);

/// A server, and a request to `/held` that is answered when `go` is cancelled. `begun` is cancelled before that.
struct Served {
    address: SocketAddr,
    begun: CancellationToken,
    go: CancellationToken,
    shutdown: CancellationToken,
    ended: JoinHandle<()>,
}

async fn serve(connections: usize, stay: Stay) -> Served {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (begun, go, shutdown) = (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
    let held = {
        let (begun, go) = (begun.clone(), go.clone());
        move || async move {
            begun.cancel();
            go.cancelled().await;
            "held\n"
        }
    };
    let router = Router::new().route("/", get(|| async { "here\n" })).route("/held", get(held));
    let server = HttpServer { connections, stay, tls: None, router };
    let ended = tokio::spawn(server.serve(listener, shutdown.clone(), EVER));
    Served { address, begun, go, shutdown, ended }
}

impl Served {
    fn open(&self, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(EVER)).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        stream
    }

    fn silent(&self, many: usize) -> Vec<TcpStream> {
        (0..many).map(|_| self.open("GET / HTTP/1.1\r\nhost: a\r\nx: ")).collect()
    }

    fn ask(&self, path: &str) -> TcpStream {
        self.open(&format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"))
    }
}

/// Returns all bytes until the other side closes the connection.
fn rest(mut stream: TcpStream) -> String {
    let mut all = Vec::new();
    if let Err(error) = stream.read_to_end(&mut all) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "it stays open");
    }
    String::from_utf8(all).unwrap()
}

/// True if the response contains this text.
fn says(stream: TcpStream, text: &str) -> bool {
    let said = rest(stream);
    said.starts_with("HTTP/1.1 200 OK\r\n") && said.ends_with(text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t26_a_head_that_never_ends_is_cut_off() {
    for stay in [Stay::Once(SOON), Stay::Kept { handshake: SOON, idle: EVER }] {
        let served = serve(8, stay).await;
        let start = Instant::now();
        let (partial, nothing) = (served.open("GET / HTTP/1.1\r\nhost: a\r\nx: "), served.open(""));
        assert_eq!((rest(partial), rest(nothing)), (String::new(), String::new()));
        assert!(start.elapsed() >= SOON, "{stay:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t26_a_request_that_stays_for_one_is_cut_off_whatever_it_waits_for() {
    let served = serve(8, Stay::Once(SOON)).await;
    assert_eq!(rest(served.ask("/held")), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t26_a_head_has_a_bound() {
    let served = serve(8, Stay::Once(EVER)).await;
    let start = "GET / HTTP/1.1\r\nhost: a\r\nx: ";
    let mut stream = served.open(&format!("{start}{}", "x".repeat(MAX_HEAD - start.len())));
    let mut first = [0; 12];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 431");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t26_a_later_request_is_answered_though_every_place_is_taken() {
    for stay in [Stay::Once(EVER), Stay::Kept { handshake: EVER, idle: EVER }] {
        let served = serve(4, stay).await;
        let mut silent = served.silent(10);
        assert!(says(served.ask("/"), "here\n"), "{stay:?}");
        assert_eq!(rest(silent.remove(0)), "", "the first one had to go");
        assert!(says(served.ask("/"), "here\n"), "{stay:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t26_who_is_being_answered_goes_last() {
    let served = serve(4, Stay::Kept { handshake: EVER, idle: EVER }).await;
    let held = served.ask("/held");
    served.begun.cancelled().await;
    let silent = served.silent(10);
    assert!(says(served.ask("/"), "here\n"));
    served.go.cancel();
    assert!(says(held, "held\n"));
    drop(silent);
}

#[tokio::test(start_paused = true)]
async fn t26_a_connection_that_is_kept_is_closed_when_nothing_happens_on_it() {
    let (almost, handshake, idle, little) =
        (Duration::from_secs(4), Duration::from_secs(5), Duration::from_secs(100), Duration::from_secs(1));
    let stay = Stay::Kept { handshake, idle };
    let (silent, asking) = (Seat::new(&Arc::default()), Seat::new(&Arc::default()));
    assert!(timeout(handshake + little, stay.over(&silent, silent.last())).await.is_ok());
    let mut over = pin!(stay.over(&asking, asking.last()));
    assert!(timeout(almost, over.as_mut()).await.is_err());
    for state in [IS_ANSWERED, WAITS] {
        asking.note(state);
        assert!(timeout(idle, over.as_mut()).await.is_err());
    }
    assert!(timeout(idle + little, over).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_runs_is_finished_at_the_end() {
    let served = serve(8, Stay::Kept { handshake: EVER, idle: EVER }).await;
    let (held, silent) = (served.ask("/held"), served.open(""));
    served.begun.cancelled().await;
    served.shutdown.cancel();
    assert_eq!(rest(silent), "", "nobody waits for who has not asked");
    assert!(!served.ended.is_finished());
    served.go.cancel();
    assert!(says(held, "held\n"));
    served.ended.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_asks_many_times_or_once() {
    for (stay, answers) in [(Stay::Kept { handshake: EVER, idle: EVER }, 2), (Stay::Once(EVER), 1)] {
        let served = serve(8, stay).await;
        let ask = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
        let mut stream = served.open(ask);
        let (mut said, mut answered) = (Vec::new(), 0);
        while answered < 2 {
            let mut part = [0; 1024];
            let length = stream.read(&mut part).unwrap_or_default();
            if length == 0 {
                break;
            }
            said.extend_from_slice(&part[..length]);
            if said.ends_with(b"here\n") {
                answered += 1;
                // The other side may have closed the connection.
                let _ = stream.write_all(ask.as_bytes());
            }
        }
        assert_eq!(answered, answers, "{stay:?}");
    }
}

/// Opens a connection from another loopback address, with headers that have not ended yet.
async fn silent_from(address: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((std::net::IpAddr::from(address), 0).into()).unwrap();
    let stream = socket.connect(to).await.unwrap().into_std().unwrap();
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(EVER)).unwrap();
    let mut stream = stream;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nx: ").unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f51_many_connections_of_one_address_take_no_place_of_another() {
    let served = serve(8, Stay::Kept { handshake: EVER, idle: EVER }).await;
    // They are the oldest, and were idle since.
    let mut others = Vec::new();
    for last in 1..=3 {
        others.push(silent_from([127, 0, 0, last], served.address).await);
    }
    let mut flood = Vec::new();
    for _ in 0..40 {
        flood.push(silent_from([127, 0, 0, 66], served.address).await);
    }
    assert_eq!(rest(flood.remove(0)), "", "the flood uses its own connections");
    for mut other in others {
        other.write_all(b"y\r\nconnection: close\r\n\r\n").unwrap();
        assert!(says(other, "here\n"), "it was cut off");
    }
}
