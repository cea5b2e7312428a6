//! Slack's Web API, as its documentation describes it: an answer has status 200 also if the call failed.

use axum::{body::Body, response::Response};
use jit_rbac_services::notify::{Message, Reason, Receiver, Settings, Slack, State};
use notify_tools::{Authority, Call, Https};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::fixture::{HOST, SECRET, decided, delivered, egress, message, receiver, refused, retry, secret, sender};

fn answer(value: &Value) -> Response<Body> {
    Response::builder().header("content-type", "application/json").body(Body::from(value.to_string())).unwrap()
}

/// Answers as Slack does: each message has a number of its own as its `ts`, and the channel has its id.
fn workspace(number: usize, call: &Call) -> Response<Body> {
    let body = call.json();
    if call.headers["authorization"] != format!("Bearer {SECRET}") {
        return answer(&json!({"ok": false, "error": "invalid_auth"}));
    }
    if let Err(error) = valid(&body) {
        return answer(&json!({"ok": false, "error": "invalid_blocks", "response_metadata": {"messages": [error]}}));
    }
    let ts = if call.path == "/api/chat.update" { body["ts"].clone() } else { json!(format!("1503435956.{number:06}")) };
    answer(&json!({"ok": true, "channel": "C1H9RESGL", "ts": ts}))
}

/// Checks a message against the limits that the reference of Block Kit lists.
fn valid(body: &Value) -> Result<(), String> {
    let blocks = body["blocks"].as_array().ok_or("no blocks")?;
    if blocks.len() > 50 || body["text"].as_str().is_none_or(|text| text.is_empty() || text.chars().count() > 40_000) {
        return Err("too many blocks, or no text".to_owned());
    }
    let within = |text: &Value, most: usize| text.as_str().is_some_and(|text| (1..=most).contains(&text.encode_utf16().count()));
    for block in blocks {
        let is_valid = match block["type"].as_str().unwrap_or_default() {
            "header" => block["text"]["type"] == "plain_text" && within(&block["text"]["text"], 150),
            "context" => block["elements"].as_array().is_some_and(|elements| {
                (1..=10).contains(&elements.len())
                    && elements.iter().all(|element| element["type"] == "plain_text" && within(&element["text"], 2_000))
            }),
            "rich_text" => block["elements"].as_array().is_some_and(|sections| {
                sections.iter().all(|section| {
                    matches!(section["type"].as_str(), Some("rich_text_section" | "rich_text_preformatted"))
                        && section["elements"]
                            .as_array()
                            .is_some_and(|elements| elements.iter().all(|element| within(&element["text"], 3_000)))
                })
            }),
            _ => false,
        };
        if !is_valid {
            return Err(format!("not valid: {block}"));
        }
    }
    Ok(())
}

fn slack(server: &Https, secret: &TempDir) -> Receiver {
    let url = server.url(HOST, "/api/");
    receiver(Settings::Slack(Slack { channel: "#oncall".to_owned(), api_url: Some(url) }), secret)
}

fn token() -> TempDir {
    secret(&[("token", SECRET)])
}

#[tokio::test]
async fn a_message_is_posted_reminded_of_and_updated_once_it_is_decided() {
    let authority = Authority::default();
    let server = Https::start(&authority, &[HOST], workspace);
    let (token, sender) = (token(), sender(&egress(&authority)));
    let receiver = slack(&server, &token);
    assert_eq!(sender.check(&receiver), Ok(()));
    let (reference, _) = delivered(sender.send(&receiver, &message()).await);
    assert_eq!(reference.as_deref(), Some("C1H9RESGL/1503435956.000000"));
    let still_open = Message { reference: reference.clone(), title: "ann still waits".to_owned(), ..message() };
    assert_eq!(delivered(sender.send(&receiver, &still_open).await).0, reference, "the thread keeps its first message");
    let acknowledged =
        Message { reference: reference.clone(), state: State::Acknowledged, title: "1 of 2 approvals".to_owned(), ..message() };
    assert_eq!(delivered(sender.send(&receiver, &acknowledged).await).0, reference);
    let decided = Message { reference: reference.clone(), ..decided() };
    assert_eq!(delivered(sender.send(&receiver, &decided).await).0, reference);
    let [posted, reminded, first_update, updated] = &server.calls()[..] else { panic!("not four calls") };
    assert_eq!(posted.path, "/api/chat.postMessage");
    assert_eq!(posted.headers["content-type"], "application/json; charset=utf-8");
    let body = posted.json();
    assert_eq!(body["channel"], "#oncall");
    assert_eq!(body["text"], "ann requests edit in payments");
    assert_eq!((&body["mrkdwn"], &body["link_names"], &body["parse"]), (&json!(false), &json!(false), &json!("none")));
    assert_eq!((&body["unfurl_links"], &body["unfurl_media"]), (&json!(false), &json!(false)));
    assert_eq!(body["blocks"][0]["text"]["text"], "ann requests edit in payments");
    let details = body["blocks"][1]["elements"].as_array().unwrap();
    let justification = json!({"type": "rich_text_section", "elements": [
        {"type": "text", "text": "Justification: ", "style": {"bold": true}},
        {"type": "text", "text": "INC-4711: the checkout is slow"},
    ]});
    assert!(details.contains(&justification), "{details:?}");
    assert!(details.contains(
        &json!({"type": "rich_text_preformatted", "elements": [{"type": "text", "text": "kubectl jit approve inc-4711 -n payments"}]})
    ));
    assert_eq!(details.last().unwrap()["elements"][0]["url"], "https://jit.example.com/requests/payments/inc-4711");
    assert!(!posted.json().to_string().contains("\"button\""), "no button decides anything");
    assert_eq!(reminded.path, "/api/chat.postMessage");
    assert_eq!((&reminded.json()["thread_ts"], &reminded.json()["reply_broadcast"]), (&json!("1503435956.000000"), &json!(true)));
    assert_eq!(first_update.path, "/api/chat.update");
    assert_eq!(updated.path, "/api/chat.update");
    let body = updated.json();
    assert_eq!((&body["channel"], &body["ts"]), (&json!("C1H9RESGL"), &json!("1503435956.000000")));
    assert_eq!(body["text"], "bob approved edit in payments for ann");
}

#[tokio::test]
async fn a_message_that_cannot_be_updated_is_followed_by_a_new_one() {
    let authority = Authority::default();
    for error in ["message_not_found", "cant_update_message", "edit_window_closed", "channel_not_found", "is_inactive", "block_mismatch"] {
        let server = Https::start(&authority, &[HOST], move |number, call| {
            if number == 0 { answer(&json!({"ok": false, "error": error})) } else { workspace(number, call) }
        });
        let token = token();
        let decided = Message { reference: Some("C1H9RESGL/1503435956.000000".to_owned()), ..decided() };
        let (reference, _) = delivered(sender(&egress(&authority)).send(&slack(&server, &token), &decided).await);
        assert_eq!(reference.as_deref(), Some("C1H9RESGL/1503435956.000001"), "{error}");
        assert_eq!(server.calls()[1].path, "/api/chat.postMessage", "{error}");
        assert_eq!(server.calls()[1].json()["channel"], "#oncall", "{error}");
    }
}

async fn failed(value: Value, retry_after: Option<&'static str>, reference: Option<&str>) -> jit_rbac_services::notify::Outcome {
    let authority = Authority::default();
    let server = Https::start(&authority, &[HOST], move |_, _| {
        let mut response = answer(&value);
        if let Some(seconds) = retry_after {
            response.headers_mut().insert("retry-after", seconds.parse().unwrap());
        }
        response
    });
    let token = token();
    let message = Message { reference: reference.map(str::to_owned), ..decided() };
    let outcome = sender(&egress(&authority)).send(&slack(&server, &token), &message).await;
    assert_eq!(server.calls().len(), 1);
    outcome
}

#[tokio::test]
async fn an_error_in_an_answer_with_status_200_is_a_retry_or_a_refusal() {
    for reference in [None, Some("C1/1.0")] {
        let method = if reference.is_none() { "chat.postMessage" } else { "chat.update" };
        for error in ["internal_error", "fatal_error", "service_unavailable", "request_timeout", "team_added_to_org"] {
            let (after, why) = retry(failed(json!({"ok": false, "error": error}), None, reference).await);
            assert_eq!((after, why), (None, format!("Slack answered '{error}' to {method}")));
        }
        for error in ["ratelimited", "rate_limited"] {
            assert_eq!(retry(failed(json!({"ok": false, "error": error}), Some("7"), reference).await).0, Some(7));
            assert_eq!(retry(failed(json!({"ok": false, "error": error}), None, reference).await).0, Some(30));
        }
        for error in ["invalid_auth", "not_authed", "token_revoked", "account_inactive", "missing_scope"] {
            refused(failed(json!({"ok": false, "error": error}), None, reference).await, Reason::Unauthorized);
        }
        for error in ["not_in_channel", "is_archived", "msg_too_long", "invalid_blocks", "unknown_in_the_future"] {
            refused(failed(json!({"ok": false, "error": error}), None, reference).await, Reason::Rejected);
        }
    }
    refused(failed(json!({"ok": false, "error": "channel_not_found"}), None, None).await, Reason::Rejected);
    for value in [json!({}), json!({"ok": "true"}), json!([]), json!("ok"), json!(null), json!({"ok": false})] {
        refused(failed(value, None, None).await, Reason::AnswerInvalid);
    }
}

#[tokio::test]
async fn an_answer_that_is_no_json_or_too_long_is_refused_and_429_waits() {
    let authority = Authority::default();
    for (body, expected) in [
        ("<html>".to_owned(), "the answer is not JSON"),
        (format!("{{\"ok\": true, \"x\": \"{}\"}}", "x".repeat(70_000)), "the answer is longer than 64 KiB"),
    ] {
        let server = Https::start(&authority, &[HOST], move |_, _| Response::new(Body::from(body.clone())));
        let token = token();
        assert_eq!(refused(sender(&egress(&authority)).send(&slack(&server, &token), &message()).await, Reason::AnswerInvalid), expected);
    }
    let limited = |_: usize, _: &Call| Response::builder().status(429).header("retry-after", "30").body(Body::empty()).unwrap();
    let server = Https::start(&authority, &[HOST], limited);
    let token = token();
    assert_eq!(retry(sender(&egress(&authority)).send(&slack(&server, &token), &message()).await).0, Some(30));
}

#[tokio::test]
async fn long_and_empty_texts_are_within_the_limits_of_slack() {
    let authority = Authority::default();
    let server = Https::start(&authority, &[HOST], workspace);
    let (token, sender) = (token(), sender(&egress(&authority)));
    let receiver = slack(&server, &token);
    let mut long = message();
    long.title = "👍".repeat(400);
    long.facts =
        (0..100).map(|number| jit_rbac_services::notify::Fact::new(format!("Fact {number}"), "<!channel> & 👍".repeat(200))).collect();
    long.command = Some("x".repeat(10_000));
    delivered(sender.send(&receiver, &long).await);
    let details = server.calls()[0].json()["blocks"][1]["elements"].to_string();
    assert!(details.contains("more, which are too long for this message"), "{details}");
    let mut empty = message();
    (empty.title, empty.command, empty.console_url) = (String::new(), Some(String::new()), Some("javascript:alert(1)".to_owned()));
    empty.facts.iter_mut().for_each(|fact| fact.value.clear());
    delivered(sender.send(&receiver, &empty).await);
    let shown = server.calls()[1].json();
    assert_eq!(shown["text"], "dev.jitrbac.activation.requested.v1");
    assert!(!shown.to_string().contains("javascript"));
}

#[tokio::test]
async fn settings_without_a_channel_or_token_are_refused() {
    let authority = Authority::default();
    let sender = sender(&egress(&authority));
    let (token, none) = (token(), secret(&[]));
    let url = Some(format!("https://{HOST}/api"));
    for channel in ["", "#a\nb", &"c".repeat(81)] {
        let receiver = receiver(Settings::Slack(Slack { channel: channel.to_owned(), api_url: url.clone() }), &token);
        assert_eq!(sender.check(&receiver).unwrap_err().0, Reason::SettingsInvalid, "{channel:?}");
    }
    let receiver = receiver(Settings::Slack(Slack { channel: "#oncall".to_owned(), api_url: None }), &none);
    assert_eq!(sender.check(&receiver), Err((Reason::SecretInvalid, "key 'token' of the Secret is missing".to_owned())));
    let receiver = Receiver { secrets: Some(token.path().to_owned()), ..receiver };
    assert_eq!(
        sender.check(&receiver).unwrap_err(),
        (Reason::HostNotAllowed, "host 'slack.com' is not in the list of allowed hosts".to_owned())
    );
}
