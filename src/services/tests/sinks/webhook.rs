//! The webhook, verified as Standard Webhooks prescribe, with the verification of their own library.

use axum::{body::Body, response::Response};
use jit_rbac_services::notify::{Message, Reason, Settings, Webhook};
use notify_tools::{Authority, Call, Https};
use standardwebhooks::Webhook as Verifier;

use super::fixture::{HOST, SECRET, delivered, egress, message, receiver, refused, retry, secret, sender};

/// 24 bytes each.
const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEW_KEY: &str = "whsec_C2FVsBQIhrscChlQIMVb5sSYspob7oDa";

fn accepted(_: usize, _: &Call) -> Response<Body> {
    Response::builder().status(204).body(Body::empty()).unwrap()
}

fn webhook(server: &Https) -> Settings {
    Settings::Webhook(Webhook { url: Some(server.url(HOST, "/events?cluster=1")) })
}

fn is_signed_with(key: &str, call: &Call) -> bool {
    Verifier::new(key).unwrap().verify(&call.body, &call.headers).is_ok()
}

#[tokio::test]
async fn a_verifying_receiver_accepts_the_event() {
    let authority = Authority::default();
    let server = Https::start(&authority, &[HOST], accepted);
    let secret = secret(&[("signing-key", KEY), ("token", SECRET)]);
    let receiver = receiver(webhook(&server), &secret);
    let sender = sender(&egress(&authority));
    assert_eq!(sender.check(&receiver), Ok(()));
    let message = message();
    delivered(sender.send(&receiver, &message).await);
    let [call] = &server.calls()[..] else { panic!("not one call") };
    assert!(is_signed_with(KEY, call));
    assert!(!is_signed_with(NEW_KEY, call));
    let changed = Call { body: String::from_utf8(call.body.to_vec()).unwrap().replace("inc-4711", "inc-4712").into(), ..call.clone() };
    assert!(!is_signed_with(KEY, &changed), "a changed body must not verify");
    assert_eq!(call.path, "/events?cluster=1");
    assert_eq!(call.headers["content-type"], "application/cloudevents+json; charset=utf-8");
    assert_eq!(call.headers["authorization"], format!("Bearer {SECRET}"));
    assert_eq!(call.headers["webhook-id"], message.id);
    let event = call.json();
    assert_eq!(event["specversion"], "1.0");
    assert_eq!(event["id"], message.id);
    assert_eq!(event["type"], "dev.jitrbac.activation.requested.v1");
    assert_eq!(event["source"], "//jit-rbac/test");
    assert_eq!(event["subject"], "payments/inc-4711");
    assert_eq!(event["time"], "2026-12-01T08:15:00Z");
    assert_eq!(event["thread"], message.thread.key);
    assert_eq!(event["data"], message.data);
    assert!(event.get("test").is_none());
    // Names of attributes are letters and digits, as CloudEvents require.
    let names = event.as_object().unwrap().keys();
    assert!(names.clone().all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())), "{names:?}");
}

#[tokio::test]
async fn a_repetition_has_the_same_id_and_a_test_is_marked() {
    let authority = Authority::default();
    let server = Https::start(&authority, &[HOST], accepted);
    let secret = secret(&[("signing-key", KEY)]);
    let (sender, receiver) = (sender(&egress(&authority)), receiver(webhook(&server), &secret));
    for is_test in [false, true] {
        delivered(sender.send(&receiver, &Message { is_test, ..message() }).await);
    }
    let calls = server.calls();
    assert_eq!(calls[0].headers["webhook-id"], calls[1].headers["webhook-id"]);
    assert_eq!(calls[1].json()["test"], true);
}

#[tokio::test]
async fn both_keys_of_a_rotation_verify() {
    let authority = Authority::default();
    let server = Https::start(&authority, &[HOST], accepted);
    let secret = secret(&[("signing-key", KEY), ("signing-key-2027", NEW_KEY)]);
    delivered(sender(&egress(&authority)).send(&receiver(webhook(&server), &secret), &message()).await);
    let call = server.calls().remove(0);
    assert!(is_signed_with(KEY, &call) && is_signed_with(NEW_KEY, &call));
}

#[tokio::test]
async fn what_is_missing_in_the_secret_is_named_before_and_when_sending() {
    let authority = Authority::default();
    let server = Https::start(&authority, &[HOST], accepted);
    let sender = sender(&egress(&authority));
    let short = "whsec_c2hvcnQ=";
    for (values, expected) in [
        (&[][..], "key 'signing-key' of the Secret is missing"),
        (&[("signing-key", "")], "key 'signing-key' of the Secret is missing"),
        (&[("signing-key", SECRET)], "key 'signing-key' of the Secret must be 24 to 64 random bytes in base64, with or without 'whsec_'"),
        (&[("signing-key", short)], "key 'signing-key' of the Secret must be 24 to 64 random bytes in base64, with or without 'whsec_'"),
        (&[("signing-key", KEY), ("username", "jit")], "key 'password' of the Secret is missing"),
        (&[("signing-key", KEY), ("token", "a\u{1}b")], "key 'token' of the Secret has characters that a header cannot have"),
        (&[("signing-key", KEY), ("ca.crt", "none")], "key 'ca.crt' of the Secret has no certificate"),
    ] {
        let secret = secret(values);
        let receiver = receiver(webhook(&server), &secret);
        assert_eq!(refused(sender.send(&receiver, &message()).await, Reason::SecretInvalid), expected);
        assert_eq!(sender.check(&receiver), Err((Reason::SecretInvalid, expected.to_owned())));
    }
    let mut receiver = receiver(webhook(&server), &secret(&[]));
    receiver.secrets = Some("/nowhere".into());
    assert_eq!(refused(sender.send(&receiver, &message()).await, Reason::SecretInvalid), "the Secret is not mounted: entity not found");
    assert!(server.calls().is_empty());
}

#[tokio::test]
async fn the_address_may_be_in_the_secret_and_is_in_no_error() {
    let authority = Authority::default();
    let server =
        Https::start(&authority, &[HOST], |_, _| Response::builder().status(503).body(Body::from(format!("at /{SECRET}"))).unwrap());
    let url = server.url(HOST, &format!("/{SECRET}"));
    let secret = secret(&[("signing-key", KEY), ("url", &url), ("token", SECRET)]);
    let receiver = receiver(Settings::Webhook(Webhook::default()), &secret);
    let sender = sender(&egress(&authority));
    assert_eq!(retry(sender.send(&receiver, &message()).await).1, "HTTP status 503 Service Unavailable: at /[redacted]");
    drop(server);
    let (_, why) = retry(sender.send(&receiver, &message()).await);
    assert!(!why.contains(HOST), "{why}");
}
