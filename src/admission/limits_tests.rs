//! What the webhook does with more than it can take.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use axum::body::Bytes;
use chrono::Utc;
use futures::stream;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, Stream,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
    sign::SingleCertAndKey,
};

use super::*;
use crate::admission::authority::{self, Plan};

#[tokio::test]
async fn t26_a_body_has_a_bound() {
    let (status, _) = cluster().ask("/mutate", vec![b' '; MAX_BODY + 1]).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
}

/// A body of three MiB whose values would take a hundred times as much.
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
    let why = "InvalidField: the question about this write has 880006 JSON values, and at most 20000 are read";
    assert_eq!(response["status"]["message"], why);
    let (status, _) = stored.ask("/validate", bomb("")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "it is no JSON at its end");
    assert!(stored.calls.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_great_object_is_examined_like_a_small_one() {
    let mut great = request("inc-1");
    great["metadata"]["labels"] = (0..4_000).map(|number| (format!("l-{number}"), json!("x".repeat(60)))).collect::<Value>();
    assert!(great.to_string().len() > 4 * SHORT_BODY);
    assert!(cluster().write("dev", &great, None).await.is_ok());
    assert_eq!(cluster().refused("outsider", &great).await, "NotASubject");
}

/// A body that never ends. `begun` is cancelled when it is asked for more than a short one has.
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
    assert!(waiting.is_err(), "all places are taken");
    for held in held {
        assert_eq!(held.await.unwrap().unwrap().status(), StatusCode::REQUEST_TIMEOUT);
    }
    assert_eq!(post(Body::from(long)).await.unwrap().status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t26_a_question_is_answered_over_tls_while_others_take_every_place() {
    let made = authority::carry_out(Plan::RenewAll("new"), Utc::now(), &authority::Stored::default(), &[], &["localhost".to_owned()]);
    let made = made.unwrap().unwrap();
    let certificate = SingleCertAndKey::from(authority::certified(&made.leaf, &made.leaf_key).unwrap());
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = HttpServer { connections: 4, ..server(Arc::new(certificate), cluster().router()).unwrap() };
    let serving = tokio::spawn(server.serve(listener, CancellationToken::new(), GRACE));

    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&made.authorities).unwrap()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider())).with_safe_default_protocol_versions().unwrap();
    let client = Arc::new(client.with_root_certificates(roots).with_no_client_auth());
    let silent: Vec<_> = (0..10).map(|_| TcpStream::connect(address).unwrap()).collect();
    let mut session = ClientConnection::new(client, ServerName::try_from("localhost").unwrap()).unwrap();
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut stream = Stream::new(&mut session, &mut socket);
    // Longer than what is read at once.
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
    serving.abort();
}
