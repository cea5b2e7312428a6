//! Whatever users write: no markup, mention, header or address of theirs survives in any format.

use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use serde_json::Value;

use super::{
    guard::{Egress, Guard, System},
    http::Http,
    message::{Address, Fact, Message, Severity, State, Thread},
    secrets::Secrets,
    sending::Sending,
    settings::{Alertmanager, Receiver, Settings, Smtp, SmtpTls},
    sinks::{alertmanager, pagerduty, slack, smtp, teams},
    text::Text,
};

const CONSOLE: &str = "https://jit.example.com/requests/a/b?x=1&y=2";

static GUARD: LazyLock<Arc<Guard>> = LazyLock::new(|| Arc::new(Guard::new(&Egress::default(), Arc::new(System)).unwrap()));
static HTTP: LazyLock<Http> = LazyLock::new(|| Http::new(Arc::clone(&GUARD), rustls::RootCertStore::empty()).unwrap());

/// Texts of any characters, often with what has a meaning in one of the formats.
fn hostile() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        any::<String>(),
        "[ -~]{0,12}",
        "[\u{202a}-\u{202e}\u{2066}-\u{2069}\u{200b}\u{feff}\u{0}-\u{1f}\u{7f}-\u{9f}\u{2028}\u{2029}]{1,4}",
        prop::sample::select(vec![
            "<!channel>",
            "<!here|here>",
            "<@U123>",
            "<#C123>",
            "<https://evil.test|console>",
            "@everyone",
            "@here",
            "&lt;!channel&gt;",
            "<script>alert(1)</script>",
            "<a href=\"https://evil.test\">",
            "</td></tr></table>",
            "<img src=x onerror=alert(1)>",
            "&#60;b&#62;",
            "<!--",
            "[open](https://evil.test)",
            "![x](https://evil.test/x.png)",
            "<at>ann</at>",
            "{{DATE(2026-01-01T00:00:00Z)}}",
            "**bold**",
            "_it_",
            "`code`",
            "\r\nBcc: eve@example.com",
            "\nSubject: other",
            "\r\n\r\nbody",
            "\r\n.\r\nQUIT\r\n",
            "=?utf-8?q?=0d=0aBcc:_eve@example.com?=",
            "https://evil.test/login",
            "{{ title }}",
            "{% include 'x' %}",
            "\"",
            "'",
            "\\",
            "👍",
            "ﷺ",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(part, 0..6).prop_map(|parts| parts.concat())
}

fn message(texts: &[String; 8]) -> Message {
    let [title, label, value, namespace, command, name, subject, topic] = texts.clone();
    Message {
        id: subject.clone(),
        event_type: "dev.jitrbac.activation.requested.v1".to_owned(),
        time: "2026-12-01T08:15:00Z".parse().unwrap(),
        severity: Severity::Warning,
        subject: subject.clone(),
        thread: Thread { key: subject, topic, namespace: Some(namespace), severity: Severity::Warning },
        state: State::Open,
        until: None,
        title,
        facts: vec![Fact::new(label, value.clone()), Fact::new("Justification", value)],
        console_url: Some(CONSOLE.to_owned()),
        command: Some(command),
        recipients: vec![Address { name: Some(name), email: "bob@example.com".to_owned() }],
        data: Value::Null,
        is_test: false,
        reference: None,
    }
}

fn with<T>(message: &Message, body: Option<&str>, use_it: impl FnOnce(&Sending<'_>) -> T) -> T {
    let receiver =
        Receiver { name: "test".to_owned(), sink: Settings::TeamsWorkflow, secrets: None, title: None, body: body.map(str::to_owned) };
    let text = Text::new(&receiver, message).unwrap();
    let secrets = Secrets::read(None).unwrap();
    use_it(&Sending { guard: &GUARD, http: &HTTP, authorities: Vec::new(), secrets: &secrets, source: "//test", message, text: &text })
}

fn mail(message: &Message, body: Option<&str>) -> String {
    let settings = Smtp {
        host: "mail.example.com".to_owned(),
        port: None,
        tls: SmtpTls::Implicit,
        from: "jit@example.com".to_owned(),
        reply_to: None,
    };
    let mail = with(message, body, |sending| smtp::mail(&settings, sending, &message.recipients[0], "bob@example.com".parse().unwrap()));
    String::from_utf8(mail.unwrap().formatted()).unwrap()
}

/// Every string in a document, with the object that contains it.
fn strings<'a>(value: &'a Value, found: &mut Vec<(&'a Value, &'a str)>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| strings(value, found)),
        Value::Object(fields) => {
            for child in fields.values() {
                match child {
                    Value::String(text) => found.push((value, text)),
                    other => strings(other, found),
                }
            }
        }
        _ => {}
    }
}

/// The tags and comments of a page.
fn tags(html: &str) -> Vec<&str> {
    html.split('<').skip(1).map(|part| part.split_inclusive('>').next().unwrap()).collect()
}

fn header_names(mail: &str) -> Vec<String> {
    let head = mail.split("\r\n\r\n").next().unwrap();
    head.split("\r\n").filter(|line| !line.starts_with([' ', '\t'])).map(|line| line.split(':').next().unwrap().to_owned()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn slack_parses_nothing_that_users_wrote(texts in prop::array::uniform8(hostile()), has_body: bool) {
        let body = with(&message(&texts), has_body.then_some("{{ title }}\n{{ facts[0].value }}"), |sending| slack::body(sending.text));
        prop_assert_eq!(&body["parse"], "none");
        prop_assert_eq!(&body["link_names"], &Value::Bool(false));
        // In the text for notifications, only these characters begin a mention or an address.
        let fallback = body["text"].as_str().unwrap();
        prop_assert!(!fallback.contains(['<', '>']), "{}", fallback);
        let mut found = Vec::new();
        strings(&body["blocks"], &mut found);
        for (object, text) in found {
            let kind = object["type"].as_str().unwrap();
            prop_assert!(
                matches!(kind, "header" | "rich_text" | "rich_text_section" | "rich_text_preformatted" | "context" | "plain_text" | "text" | "link"),
                "{}", kind
            );
            if kind == "link" {
                prop_assert_eq!(&object["url"], CONSOLE);
            }
            prop_assert!(!text.chars().any(api::text::is_forbidden), "{:?}", text);
        }
    }

    #[test]
    fn a_card_has_no_markdown_and_one_address(texts in prop::array::uniform8(hostile()), has_body: bool) {
        let card = with(&message(&texts), has_body.then_some("{{ title }}\n{{ facts[0].value }}"), |sending| teams::content(sending.text, Severity::Info));
        let mut found = Vec::new();
        strings(&card, &mut found);
        for (object, text) in found {
            let kind = object["type"].as_str().or(object["width"].as_str()).unwrap();
            prop_assert!(matches!(kind, "AdaptiveCard" | "RichTextBlock" | "TextRun" | "Action.OpenUrl" | "Full"), "{}", kind);
            prop_assert!(!text.chars().any(api::text::is_forbidden) && !text.contains("{{"), "{:?}", text);
        }
        prop_assert_eq!(card["actions"].as_array().unwrap().len(), 1);
        prop_assert_eq!(&card["actions"][0]["url"], CONSOLE);
    }

    #[test]
    fn a_page_has_the_tags_of_a_harmless_one(texts in prop::array::uniform8(hostile()), has_body: bool) {
        let body = has_body.then_some("{{ title }} {{ facts[0].value }}");
        let harmless = std::array::from_fn(|_| "x".to_owned());
        let page = |texts| with(&message(texts), body, |sending| smtp::html_body(sending.text));
        let (shown, expected) = (page(&texts), page(&harmless));
        if has_body {
            // An empty text has no paragraph.
            prop_assert!(tags(&shown).iter().all(|tag| tags(&expected).contains(tag)), "{}", shown);
        } else {
            prop_assert_eq!(tags(&shown), tags(&expected), "{}", shown);
        }
        prop_assert!(!shown.chars().any(api::text::is_forbidden), "{:?}", shown);
    }

    #[test]
    fn a_mail_has_the_headers_of_a_harmless_one(texts in prop::array::uniform8(hostile())) {
        let harmless = message(&std::array::from_fn(|_| "x".to_owned()));
        let (sent, expected) = (mail(&message(&texts), None), mail(&harmless, None));
        prop_assert_eq!(header_names(&sent), header_names(&expected), "{}", sent);
        prop_assert!(sent.is_ascii());
        prop_assert!(sent.split("\r\n").all(|line| line.len() <= 998 && !line.contains(['\r', '\n', '\0'])), "{}", sent);
        let recipients: Vec<&str> = sent.split("\r\n\r\n").next().unwrap().split("\r\n").filter(|line| line.contains("bob@example.com")).collect();
        prop_assert_eq!(recipients.len(), 1);
    }

    #[test]
    fn an_alert_has_no_markup_for_what_alertmanager_notifies(texts in prop::array::uniform8(hostile())) {
        let settings = Alertmanager::default();
        let alert = with(&message(&texts), None, |sending| alertmanager::alert(&settings, sending));
        for text in alert["annotations"].as_object().unwrap().values().map(|text| text.as_str().unwrap()) {
            prop_assert!(!text.contains(['<', '>', '[', ']', '`', '*', '~']), "{}", text);
            prop_assert!(!text.starts_with('@') && !text.contains(" @") && !text.contains("\n@"), "{}", text);
            prop_assert!(!text.chars().any(|letter| letter != '\n' && api::text::is_forbidden(letter)), "{:?}", text);
        }
        let names: Vec<&String> = alert["labels"].as_object().unwrap().keys().collect();
        prop_assert!(names.iter().all(|name| ["alertname", "jit_rbac_uid", "namespace", "severity"].contains(&name.as_str())), "{:?}", names);
        prop_assert!(alert["labels"].as_object().unwrap().values().all(|value| value.as_str().unwrap().encode_utf16().count() <= 140));
    }

    #[test]
    fn an_event_for_pagerduty_is_within_its_limits(texts in prop::array::uniform8(hostile())) {
        let event = with(&message(&texts), None, |sending| pagerduty::event(sending, "key"));
        prop_assert!(event["dedup_key"].as_str().unwrap().chars().count() <= 255);
        prop_assert!(event["payload"]["summary"].as_str().unwrap().chars().count() <= 1_024);
        prop_assert_eq!(&event["links"][0]["href"], CONSOLE);
        let mut found = Vec::new();
        strings(&event, &mut found);
        prop_assert!(!found.iter().any(|(_, text)| text.chars().any(api::text::is_forbidden)), "{}", event);
    }

    #[test]
    fn a_cut_text_is_never_longer_than_its_limit(text in any::<String>(), most in 1usize..40) {
        let cut = super::escape::cut(&text, most);
        prop_assert!(cut.encode_utf16().count() <= most);
        prop_assert!(cut == text || cut.ends_with('…'));
    }
}

#[test]
fn addresses_of_the_console_are_those_of_the_web() {
    for url in ["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "//jit.example.com", "jit.example.com", "https://", ""] {
        assert_eq!(super::escape::web_address(url), None, "{url}");
    }
    assert_eq!(super::escape::web_address("https://jit.example.com/a\"b<c").as_deref(), Some("https://jit.example.com/a%22b%3Cc"));
}

#[test]
fn names_and_addresses_in_alerts_stay_as_they_are() {
    let text = "ann@example.com requests view in team_a-prod: a_b (c)";
    assert_eq!(super::escape::annotation(text), text);
    assert_eq!(super::escape::annotation("<!channel> @everyone _x_ [a](b)"), "‹!channel› ＠everyone ＿x＿ ［a］(b)");
}
