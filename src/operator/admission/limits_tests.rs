//! The webhook with larger objects and more load than its limits allow.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

use axum::body::Bytes;
use futures::stream;
use jiff::Timestamp;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, Stream,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
    sign::SingleCertAndKey,
};
use tokio::task::JoinHandle;

use super::*;
use crate::admission::authority::{self, Plan};

#[tokio::test]
async fn t26_a_body_has_a_bound() {
    let (status, _) = cluster().ask("/mutate", vec![b' '; MAX_BODY + 1]).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
}

/// Returns a body of three MiB whose values would need a hundred times as much memory.
fn bomb(after: &str) -> String {
    let body = format!(r#"{{"request":{{"uid":"u-1","object":[{}{{"":0}}]}}{after}"#, r#"{"":0},"#.repeat(440_000));
    assert!(body.len() < MAX_BODY);
    body
}

#[tokio::test]
async fn t26_many_small_values_are_refused_unread() {
    let stored = cluster();
    let (status, answer) = stored.ask("/validate", bomb("}")).await;
    assert!(well_formed(status, &answer), "{status} {answer}");
    let response = &answer["response"];
    assert_eq!((&response["uid"], &response["allowed"], &response["status"]["code"]), (&json!("u-1"), &json!(false), &json!(422)));
    let why = "InvalidField: the admission review has 880006 JSON values, at most 20000 are allowed";
    assert_eq!(response["status"]["message"], why);
    let (status, _) = stored.ask("/validate", bomb("")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "it is no JSON at its end");
    assert!(stored.calls.lock().is_empty());
}

#[tokio::test]
async fn a_great_object_is_examined_like_a_small_one() {
    let mut great = eligibility("edit");
    let name = |number: usize| json!({"kind": "User", "name": format!("{}{number}", "u".repeat(250))});
    great["spec"]["subjects"] = (0..256).map(name).collect();
    great["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/last-applied-configuration": "x".repeat(200_000)});
    assert!(great.to_string().len() > 4 * SHORT_BODY);
    assert!(cluster().write("admin", &great, None).await.is_ok());
    assert_eq!(cluster().refused("outsider", &great).await, "AuthorLacksBind");
}

/// Returns a body that never ends. `begun` is cancelled when more is read than the size of a short body.
fn endless(begun: CancellationToken) -> Body {
    let first = stream::iter([Ok::<_, Infallible>(Bytes::from(vec![b' '; SHORT_BODY])), Ok(Bytes::from_static(b" "))]);
    let more = stream::once(async move {
        begun.cancel();
        std::future::pending::<Result<Bytes, Infallible>>().await
    });
    Body::from_stream(first.chain(more))
}

#[tokio::test(start_paused = true)]
async fn t26_long_bodies_that_never_end_keep_no_short_one_waiting() {
    let router = cluster().router();
    let post = |body: Body| {
        let request = HttpRequest::post("/validate").header("content-type", "application/json").body(body).unwrap();
        router.clone().oneshot(request)
    };
    let begun: Vec<_> = (0..LONG_BODIES).map(|_| CancellationToken::new()).collect();
    let held: Vec<_> = begun.iter().map(|begun| tokio::spawn(post(endless(begun.clone())))).collect();
    for begun in &begun {
        begun.cancelled().await;
    }
    let short = review("dev", &request("inc-1"), None).to_string();
    let long = format!("{short}{}", " ".repeat(2 * SHORT_BODY));
    assert_eq!(post(Body::from(short)).await.unwrap().status(), StatusCode::OK);
    let waiting = tokio::time::timeout(STAY / 2, post(Body::from(long.clone()))).await;
    assert!(waiting.is_err(), "all permits are in use");
    for held in held {
        assert_eq!(held.await.unwrap().unwrap().status(), StatusCode::REQUEST_TIMEOUT);
    }
    assert_eq!(post(Body::from(long)).await.unwrap().status(), StatusCode::OK);
}

/// A webhook with TLS on a local port, and a client that trusts its certificate.
struct OverTls {
    address: SocketAddr,
    client: Arc<ClientConfig>,
    serving: JoinHandle<()>,
}

impl OverTls {
    async fn start(change: impl FnOnce(&mut HttpServer)) -> Self {
        let made =
            authority::carry_out(Plan::RenewAll("new"), Timestamp::now(), &authority::Stored::default(), &[], &["localhost".to_owned()]);
        let made = made.unwrap().unwrap();
        let certificate = SingleCertAndKey::from(authority::certified(&made.leaf, &made.leaf_key).unwrap());
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut server = server(Arc::new(certificate), None, cluster().router()).unwrap();
        change(&mut server);
        let serving = tokio::spawn(server.serve(listener, CancellationToken::new(), GRACE));
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&made.authorities).unwrap()).unwrap();
        let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider())).with_safe_default_protocol_versions().unwrap();
        Self { address, client: Arc::new(client.with_root_certificates(roots).with_no_client_auth()), serving }
    }

    fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(self.address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        socket
    }

    fn session(&self) -> ClientConnection {
        ClientConnection::new(Arc::clone(&self.client), ServerName::try_from("localhost").unwrap()).unwrap()
    }
}

/// Go's HTTP client opens connections in advance, and does not repeat a request whose connection is closed before it was ever used.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_was_opened_in_advance_is_answered_later() {
    let handshake = Duration::from_secs(1);
    let served = OverTls::start(|server| server.stay = Stay::Kept { handshake, idle: Duration::from_secs(100) }).await;
    let (mut session, mut socket) = (served.session(), served.connect());
    while session.is_handshaking() {
        session.complete_io(&mut socket).unwrap();
    }
    let opened_later = served.connect();
    assert_eq!((&opened_later).read(&mut [0; 1]).unwrap(), 0, "without a handshake it is closed");
    let mut stream = Stream::new(&mut session, &mut socket);
    stream.write_all(b"GET /mutate HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    assert!(said.starts_with("HTTP/1.1 405 "), "{said}");
    served.serving.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t26_a_question_is_answered_over_tls_while_others_take_every_place() {
    let served = OverTls::start(|server| server.connections = 4).await;
    let silent: Vec<_> = (0..10).map(|_| TcpStream::connect(served.address).unwrap()).collect();
    let (mut session, mut socket) = (served.session(), served.connect());
    let mut stream = Stream::new(&mut session, &mut socket);
    // Longer than one read.
    let body = format!("{}{}", review("dev", &request("inc-1"), None), " ".repeat(200_000));
    let head = format!("POST /mutate HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    stream.flush().unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    let (head, answer) = said.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{said}");
    assert_eq!(serde_json::from_str::<Value>(answer).unwrap()["response"]["allowed"], true, "{said}");
    drop(silent);
    served.serving.abort();
}

fn from(address: [u8; 4]) -> Peer {
    Peer(std::net::IpAddr::from(address))
}

/// Sends a review as the pod with this address.
async fn ask_from(router: &Router, address: [u8; 4], path: &str, body: String) -> Value {
    let mut request = HttpRequest::post(path).header("content-type", "application/json").body(Body::from(body)).unwrap();
    request.extensions_mut().insert(from(address));
    let response = router.clone().oneshot(request).await.unwrap();
    serde_json::from_slice(&to_bytes(response.into_body(), usize::MAX).await.unwrap()).unwrap_or_default()
}

const ATTACKER: [u8; 4] = [10, 0, 0, 66];
const API_SERVER: [u8; 4] = [10, 0, 0, 1];

#[tokio::test]
async fn f51_forged_reviews_of_authors_keep_no_request_waiting() {
    let held = Arc::new(Held::default());
    let stored = Stored { held: Some(Arc::clone(&held)), ..cluster() };
    let router = stored.router();
    let names: Vec<String> = (0..256).map(|number| format!("n-{number}")).collect();
    let mut forged = eligibility("edit");
    forged["spec"]["namespaces"] = json!({"names": names});
    forged["metadata"]["annotations"] = json!({"jitrbac.dev/author": "boss", "jitrbac.dev/author-check": "{}"});
    let forged = review("boss", &forged, None).to_string();
    let flood: Vec<_> = (0..200)
        .map(|number| {
            let (router, forged, path) = (router.clone(), forged.clone(), if number % 2 == 0 { "/validate" } else { "/mutate" });
            tokio::spawn(async move { ask_from(&router, ATTACKER, path, forged).await })
        })
        .collect();
    held.until(crate::admission::handler::QUESTIONS).await;
    let asked = review("dev", &request("inc-1"), None).to_string();
    for address in [API_SERVER, ATTACKER] {
        let answer = tokio::time::timeout(EXAMINATION / 2, ask_from(&router, address, "/mutate", asked.clone())).await;
        assert_eq!(answer.expect("a request waits for what is asked about authors")["response"]["allowed"], true);
    }
    held.go.cancel();
    for forged in flood {
        assert_eq!(forged.await.unwrap()["response"]["uid"], "q-1");
    }
    let most = held.most.load(std::sync::atomic::Ordering::SeqCst);
    assert_eq!(most, crate::admission::handler::QUESTIONS, "so many questions about rights are on their way at most");
}

#[tokio::test(start_paused = true)]
async fn f09_f51_large_reviews_of_one_address_leave_permits_for_the_others() {
    let handler = cluster().handler();
    let patience = Duration::from_mins(1);
    for class in [Class::People, Class::Authors] {
        let mut taken = Vec::new();
        while let Ok(permits) = tokio::time::timeout(patience, handler.permits(class, Some(from(ATTACKER)), 49)).await {
            taken.push(permits);
            assert!(taken.len() < 100, "there is no bound");
        }
        for _ in 0..8 {
            let permits = tokio::time::timeout(patience, handler.permits(class, Some(from(API_SERVER)), 1)).await;
            taken.push(permits.expect("the others wait for one address"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn f51_long_bodies_of_one_address_keep_no_long_one_of_another_waiting() {
    let router = cluster().router();
    let post = |address: [u8; 4], body: Body| {
        let mut request = HttpRequest::post("/validate").header("content-type", "application/json").body(body).unwrap();
        request.extensions_mut().insert(from(address));
        router.clone().oneshot(request)
    };
    let begun: Vec<_> = (0..LONG_BODIES).map(|_| CancellationToken::new()).collect();
    let held: Vec<_> = begun.iter().map(|begun| tokio::spawn(post(ATTACKER, endless(begun.clone())))).collect();
    for begun in begun.iter().take(LONG_BODIES_OF_ONE.try_into().unwrap()) {
        begun.cancelled().await;
    }
    let long = format!("{}{}", review("dev", &request("inc-1"), None), " ".repeat(2 * SHORT_BODY));
    let answered = tokio::time::timeout(STAY / 2, post(API_SERVER, Body::from(long))).await;
    assert_eq!(answered.expect("another caller's long body waits").unwrap().status(), StatusCode::OK);
    for held in held {
        assert_eq!(held.await.unwrap().unwrap().status(), StatusCode::REQUEST_TIMEOUT);
    }
}

#[tokio::test]
async fn f51_a_question_that_names_two_resources_is_refused() {
    let mut asked = review("dev", &request("inc-1"), None);
    asked["request"]["resource"]["resource"] = json!("roleeligibilities");
    let twice = asked.to_string().replacen("\"resource\":", "\"resource\":{\"resource\":\"x\"},\"resource\":", 1);
    let (status, answer) = cluster().ask("/validate", twice).await;
    assert!(well_formed(status, &answer), "{status} {answer}");
}

#[tokio::test]
async fn f82_the_log_names_nobody_whom_a_caller_only_claims_to_be() {
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);
    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _default = tracing::subscriber::set_default(subscriber);
    let forged = review("boss", &request("inc-1"), None).to_string();
    ask_from(&cluster().router(), ATTACKER, "/validate", forged).await;
    let text = String::from_utf8(lines.0.lock().clone()).unwrap();
    assert!(text.contains("refused claimed_user=\"boss\"") && text.contains("peer=\"10.0.0.66\""), "{text}");
    assert!(!text.contains(" user="), "{text}");
}

#[tokio::test]
async fn f48_objects_with_more_than_is_of_use_are_refused_in_both_phases_and_grow_no_further() {
    let many = |number: usize| (0..number).map(|n| (format!("k{n}"), Value::from("v"))).collect::<serde_json::Map<_, _>>();
    let writers = |number: usize, fields: usize| -> Value {
        let fields: Value =
            json!({"f:spec": (0..fields).map(|n| (format!("f:{}{n}", "k".repeat(100)), json!({}))).collect::<serde_json::Map<_, _>>()});
        let one = |n: usize| json!({"manager": format!("m{n}"), "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": fields});
        (0..number).map(one).collect()
    };
    let blown: [(&str, Value, Value); 5] = [
        ("/metadata/labels", many(32).into(), many(65).into()),
        ("/metadata/annotations", many(32).into(), many(65).into()),
        ("/metadata/annotations", json!({"a": "x".repeat(16 << 10)}), json!({"a": "x".repeat((256 << 10) + 1)})),
        ("/metadata/managedFields", writers(16, 1), writers(33, 1)),
        ("/metadata/managedFields", writers(1, 1_000), writers(2, 4_000)),
    ];
    for (object, user) in [(request("inc-2"), "dev"), (decision("Deny"), "lead-1"), (eligibility("edit"), "admin"), (policy(1), "lead-1")] {
        for (place, fits, too_much) in &blown {
            let with = |value: &Value| {
                let mut object = object.clone();
                let (parent, key) = place.rsplit_once('/').unwrap();
                object.pointer_mut(parent).unwrap()[key] = value.clone();
                object
            };
            let cluster = if object["kind"] == "ActivationDecision" { with_request() } else { cluster() };
            let written = cluster.write(user, &with(fits), None).await;
            assert!(written.is_ok(), "{place} of {}: {written:?}", object["kind"]);
            for path in ["/mutate", "/validate"] {
                let code = async |old: Option<&Value>, new: &Value| {
                    let (_, answer) = cluster.ask(path, review(user, new, old).to_string()).await;
                    answer["response"]["auditAnnotations"]["code"].clone()
                };
                assert_eq!(code(None, &with(too_much)).await, "ObjectTooLarge", "{path} {place} of {}", object["kind"]);
                assert_eq!(code(Some(&with(fits)), &with(too_much)).await, "ObjectTooLarge", "{path} {place} of {}", object["kind"]);
                assert_eq!(code(Some(&with(too_much)), &with(too_much)).await, Value::Null, "what is stored may stay");
            }
        }
    }
}
