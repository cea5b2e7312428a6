//! What the HTTP client does with answers and with servers that misbehave.

use std::time::{Duration, Instant};

use axum::{body::Body, response::Response};
use futures::stream;
use jiff::{SignedDuration, Timestamp};
use jit_rbac_services::notify::{Outcome, Reason, Settings, Webhook};
use notify_tools::{Authority, Call, Https};

use super::fixture::{HOST, SECRET, delivered, egress, message, receiver, refused, retry, secret, sender};

const KEY: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Sends one message to a server that gives this answer. Returns the outcome and the number of calls.
async fn outcome(answer: impl Fn(usize, &Call) -> Response<Body> + Send + Sync + 'static) -> (Outcome, usize) {
    let authority = Authority::default();
    let server = Https::start(&authority, &[HOST], answer);
    let secret = secret(&[("signing-key", KEY), ("token", SECRET)]);
    let settings = Settings::Webhook(Webhook { url: Some(server.url(HOST, "/hook")) });
    let outcome = sender(&egress(&authority)).send(&receiver(settings, &secret), &message()).await;
    (outcome, server.calls().len())
}

async fn status(status: u16, retry_after: Option<String>) -> Outcome {
    let answer = move |_: usize, _: &Call| {
        let response = Response::builder().status(status).header("location", "https://receiver.example.com/other");
        let response = retry_after.iter().fold(response, |response, value| response.header("retry-after", value));
        response.body(Body::from(format!("no\u{1b}[31m, Bearer {SECRET}"))).unwrap()
    };
    let (outcome, calls) = outcome(answer).await;
    assert_eq!(calls, 1, "nothing is sent twice, and no redirect is followed");
    outcome
}

#[tokio::test]
async fn a_status_is_a_delivery_a_retry_or_a_refusal() {
    for accepted in [200, 201, 202, 204] {
        delivered(status(accepted, None).await);
    }
    for transient in [408, 425, 429, 500, 502, 503, 504] {
        retry(status(transient, None).await);
    }
    for (rejected, reason) in [
        (301, Reason::Rejected),
        (302, Reason::Rejected),
        (307, Reason::Rejected),
        (308, Reason::Rejected),
        (400, Reason::Rejected),
        (401, Reason::Unauthorized),
        (403, Reason::Unauthorized),
        (404, Reason::Rejected),
        (410, Reason::Rejected),
        (413, Reason::Rejected),
    ] {
        refused(status(rejected, None).await, reason);
    }
    assert_eq!(
        refused(status(400, None).await, Reason::Rejected),
        "HTTP status 400 Bad Request: no\u{fffd}[31m, Bearer [redacted]",
        "the answer is quoted without control characters and secrets"
    );
}

#[tokio::test]
async fn no_part_of_a_secret_is_left_where_a_quote_is_cut() {
    for before in (180..205).step_by(3) {
        let answer =
            move |_: usize, _: &Call| Response::builder().status(500).body(Body::from(format!("{}{SECRET}", "x".repeat(before)))).unwrap();
        let why = retry(outcome(answer).await.0).1;
        assert!(!why.contains("S3c"), "{before}: {why}");
    }
}

#[tokio::test]
async fn retry_after_is_read_as_seconds_and_as_a_date() {
    assert_eq!(retry(status(429, Some("17".to_owned())).await).0, Some(17));
    assert_eq!(retry(status(503, Some("0".to_owned())).await).0, Some(0));
    let at = Timestamp::now().checked_add(SignedDuration::from_secs(90)).unwrap();
    let date = at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let after = retry(status(503, Some(date)).await).0.unwrap();
    assert!((80..=90).contains(&after), "{after}");
    assert_eq!(retry(status(429, Some("Sun, 06 Nov 1994 08:49:37 GMT".to_owned())).await).0, Some(0));
    for (none, expected) in
        [("soon", None), ("-5", None), ("", None), ("99999999999999999999999", Some(24 * 3600)), ("31536000", Some(24 * 3600))]
    {
        assert_eq!(retry(status(429, Some(none.to_owned())).await).0, expected, "{none}");
    }
}

#[tokio::test]
async fn of_a_huge_answer_only_the_beginning_is_read() {
    let endless = |_: usize, _: &Call| {
        let chunks = stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b'x'; 16 * 1024]));
        Response::builder().status(500).body(Body::from_stream(chunks)).unwrap()
    };
    let begin = Instant::now();
    let (outcome, _) = outcome(endless).await;
    let (_, why) = retry(outcome);
    assert!(why.len() < 300, "{}", why.len());
    assert!(begin.elapsed() < Duration::from_secs(10), "an endless answer is not read to its end");
}

#[tokio::test]
async fn a_server_that_hangs_costs_at_most_the_time_limit() {
    let hanging = |_: usize, _: &Call| Response::new(Body::from_stream(stream::pending::<Result<Vec<u8>, std::io::Error>>()));
    let begin = Instant::now();
    let (outcome, _) = outcome(hanging).await;
    assert_eq!(retry(outcome).1.split(':').next(), Some("no answer in time"));
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
}
