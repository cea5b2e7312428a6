//! Mail, received by mailpit.

use jit_rbac_services::notify::{Address, Egress, Message, Outcome, Reason, Receiver, Sender, Settings, Smtp, SmtpTls};
use notify_tools::{Authority, Mailpit, MailpitTls};
use serde_json::Value;
use tempfile::TempDir;

use super::fixture::{HOST, SECRET, decided, delivered, egress, message, receiver, refused, retry, secret, sender};

const ANY: &str = ".*";

fn mail(server: &Mailpit, tls: SmtpTls, secret: &TempDir) -> Receiver {
    let smtp = Smtp {
        host: HOST.to_owned(),
        port: Some(server.smtp()),
        tls,
        from: "jit-rbac <jit@example.com>".to_owned(),
        reply_to: Some("platform@example.com".to_owned()),
    };
    receiver(Settings::Smtp(smtp), secret)
}

fn plain(authority: &Authority) -> Egress {
    Egress { plain_hosts: vec![HOST.to_owned()], ..egress(authority) }
}

async fn started(authority: &Authority) -> (Mailpit, Sender, TempDir) {
    let server = Mailpit::start(authority, &[HOST], MailpitTls::Implicit, None, ANY).await;
    (server, sender(&egress(authority)), secret(&[]))
}

fn id(message: &Value) -> &str {
    message["ID"].as_str().unwrap()
}

#[tokio::test]
async fn a_recipient_gets_the_message_as_text_and_html() {
    let authority = Authority::default();
    let (server, sender, secret) = started(&authority).await;
    let receiver = mail(&server, SmtpTls::Implicit, &secret);
    assert_eq!(sender.check(&receiver), Ok(()));
    delivered(sender.send(&receiver, &message()).await);
    let [summary] = &server.messages().await[..] else { panic!("not one message") };
    assert_eq!(summary["Subject"], "ann requests edit in payments");
    assert_eq!(summary["To"][0]["Address"], "bob@example.com");
    assert_eq!(summary["To"][0]["Name"], "Bob Builder");
    assert_eq!(summary["From"]["Address"], "jit@example.com");
    let parts = server.message(id(summary)).await;
    assert_eq!(parts["ReplyTo"][0]["Address"], "platform@example.com");
    assert_eq!(parts["Date"], "2026-12-01T08:15:00Z");
    let text = parts["Text"].as_str().unwrap().replace("\r\n", "\n");
    assert_eq!(
        text.trim_end(),
        "ann requests edit in payments\n\n\
         Requester: ann@example.com\nRole: ClusterRole edit\nRisks: SecretsRead, PodExec\nNamespace: payments\n\
         Justification: INC-4711: the checkout is slow\nDecide before: 2026-12-01T09:15:00Z\n\n\
         Command:\n\n    kubectl jit approve inc-4711 -n payments\n\n\
         Open in the console: https://jit.example.com/requests/payments/inc-4711\n\n\
         -- \nSent by jit-rbac. Requests are decided in Kubernetes only, never by an answer to this message."
    );
    let html = parts["HTML"].as_str().unwrap();
    for part in [
        "<td style=\"padding:2px 0\">INC-4711: the checkout is slow</td>",
        "<pre style=\"background:#f2f2f2;padding:8px;white-space:pre-wrap\">kubectl jit approve inc-4711 -n payments</pre>",
        "<a href=\"https://jit.example.com/requests/payments/inc-4711\">Open in the console</a>",
    ] {
        assert!(html.contains(part), "{part}: {html}");
    }
    assert_eq!(html.matches("href=").count(), 1);
    let headers = server.headers(id(summary)).await;
    assert_eq!(headers["Auto-Submitted"][0], "auto-generated");
    assert_eq!(headers["X-Auto-Response-Suppress"][0], "All");
}

#[tokio::test]
async fn a_repetition_has_the_same_message_id_and_a_thread_has_one_parent() {
    let authority = Authority::default();
    let (server, sender, secret) = started(&authority).await;
    let receiver = mail(&server, SmtpTls::Implicit, &secret);
    for message in [message(), message(), decided()] {
        delivered(sender.send(&receiver, &message).await);
    }
    let mut ids = Vec::new();
    for summary in server.messages().await {
        let headers = server.headers(id(&summary)).await;
        let header = |name: &str| headers[name][0].as_str().unwrap().to_owned();
        ids.push((header("Message-Id"), header("In-Reply-To"), header("References")));
    }
    let [(decided, parent, references), (repeated, ..), (first, ..)] = &ids[..] else { panic!("{ids:?}") };
    assert_eq!(first, repeated);
    assert_ne!(first, decided);
    assert!(ids.iter().all(|(_, other, others)| other == parent && others == references), "{ids:?}");
    assert_eq!(parent, references);
    assert!(first.ends_with("@example.com>"), "{first}");
}

#[tokio::test]
async fn each_recipient_gets_a_message_of_their_own() {
    let authority = Authority::default();
    let (server, sender, secret) = started(&authority).await;
    let recipients: Vec<Address> =
        ["bob", "eve", "zoe"].iter().map(|name| Address { name: None, email: format!("{name}@example.com") }).collect();
    delivered(sender.send(&mail(&server, SmtpTls::Implicit, &secret), &Message { recipients, ..message() }).await);
    let messages = server.messages().await;
    let mut to: Vec<&str> = messages.iter().map(|message| message["To"][0]["Address"].as_str().unwrap()).collect();
    to.sort_unstable();
    assert_eq!(to, ["bob@example.com", "eve@example.com", "zoe@example.com"]);
    assert!(messages.iter().all(|message| message["To"].as_array().unwrap().len() == 1));
}

#[tokio::test]
async fn an_address_that_the_server_refuses_does_not_stop_the_others() {
    let authority = Authority::default();
    let server = Mailpit::start(&authority, &[HOST], MailpitTls::Implicit, None, "^(bob|zoe)@example\\.com$").await;
    let (sender, secret) = (sender(&egress(&authority)), secret(&[]));
    let receiver = mail(&server, SmtpTls::Implicit, &secret);
    let address = |email: &str| Address { name: None, email: email.to_owned() };
    let recipients = vec![address("gone@example.com"), address("bob@example.com"), address("no address"), address("zoe@example.com")];
    let (_, notes) = delivered(sender.send(&receiver, &Message { recipients, ..message() }).await);
    assert_eq!(server.messages().await.len(), 2);
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(notes[0].starts_with("gone@example.com: ") && notes[1] == "no address: is not a mail address", "{notes:?}");
    // Nobody is left: that is no success.
    let recipients = vec![address("gone@example.com")];
    refused(sender.send(&receiver, &Message { recipients, ..message() }).await, Reason::Rejected);
    refused(sender.send(&receiver, &Message { recipients: Vec::new(), ..message() }).await, Reason::NoRecipient);
}

#[tokio::test]
async fn starttls_is_used_and_required() {
    let authority = Authority::default();
    let server = Mailpit::start(&authority, &[HOST], MailpitTls::StartTls, None, ANY).await;
    let (sender, secret) = (sender(&egress(&authority)), secret(&[]));
    delivered(sender.send(&mail(&server, SmtpTls::StartTls, &secret), &message()).await);
    assert_eq!(server.messages().await.len(), 1);
    let without = Mailpit::start(&authority, &[HOST], MailpitTls::None, None, ANY).await;
    let why = refused(sender.send(&mail(&without, SmtpTls::StartTls, &secret), &message()).await, Reason::SettingsInvalid);
    assert_eq!(why, "the mail server does not offer STARTTLS");
    assert!(without.messages().await.is_empty(), "nothing is sent without TLS");
}

#[tokio::test]
async fn plain_mail_needs_a_host_that_may_be_used_without_tls() {
    let authority = Authority::default();
    let server = Mailpit::start(&authority, &[HOST], MailpitTls::None, None, ANY).await;
    let secret = secret(&[]);
    let receiver = mail(&server, SmtpTls::Plain, &secret);
    refused(sender(&egress(&authority)).send(&receiver, &message()).await, Reason::HostNotAllowed);
    assert!(server.messages().await.is_empty());
    delivered(sender(&plain(&authority)).send(&receiver, &message()).await);
    assert_eq!(server.messages().await.len(), 1);
}

#[tokio::test]
async fn the_certificate_must_be_for_the_host_and_of_a_known_authority() {
    let authority = Authority::default();
    let secret = secret(&[]);
    for tls in [MailpitTls::Implicit, MailpitTls::StartTls] {
        let smtp = if tls == MailpitTls::Implicit { SmtpTls::Implicit } else { SmtpTls::StartTls };
        for (server, egress) in [
            (Mailpit::start(&authority, &["other.example.com"], tls, None, ANY).await, egress(&authority)),
            (Mailpit::start(&authority, &[HOST], tls, None, ANY).await, egress(&Authority::default())),
        ] {
            let (_, why) = retry(sender(&egress).send(&mail(&server, smtp, &secret), &message()).await);
            assert!(why.contains("certificate"), "{why}");
            assert!(server.messages().await.is_empty());
        }
    }
}

#[tokio::test]
async fn a_login_is_used_and_a_wrong_one_is_refused_without_the_password() {
    let authority = Authority::default();
    let login = format!("jit:{SECRET}");
    let server = Mailpit::start(&authority, &[HOST], MailpitTls::Implicit, Some(&login), ANY).await;
    let sender = sender(&egress(&authority));
    let right = secret(&[("username", "jit"), ("password", SECRET)]);
    delivered(sender.send(&mail(&server, SmtpTls::Implicit, &right), &message()).await);
    let wrong = secret(&[("username", "jit"), ("password", "S3cr3tS3cr3tS3cr3t-other")]);
    refused(sender.send(&mail(&server, SmtpTls::Implicit, &wrong), &message()).await, Reason::Unauthorized);
    let missing = secret(&[("username", "jit")]);
    let receiver = mail(&server, SmtpTls::Implicit, &missing);
    assert_eq!(sender.check(&receiver), Err((Reason::SecretInvalid, "key 'password' of the Secret is missing".to_owned())));
    assert_eq!(server.messages().await.len(), 1);
}

#[tokio::test]
async fn hostile_texts_arrive_as_texts() {
    let authority = Authority::default();
    let (server, sender, secret) = started(&authority).await;
    let mut hostile = message();
    hostile.title = "a\r\nBcc: eve@example.com\r\n\r\n<script>alert(1)</script> \u{202e}ann".to_owned();
    hostile.facts[4].value = "</td></table><a href=\"https://evil.test\">approve</a>\r\n.\r\nMAIL FROM:<eve@example.com>\r\n".to_owned();
    hostile.recipients[0].name = Some("Bob\r\nBcc: eve@example.com, <eve@example.com>".to_owned());
    delivered(sender.send(&mail(&server, SmtpTls::Implicit, &secret), &hostile).await);
    let [summary] = &server.messages().await[..] else { panic!("not one message") };
    let shown = "a\u{fffd}\u{fffd}Bcc: eve@example.com\u{fffd}\u{fffd}\u{fffd}\u{fffd}<script>alert(1)</script> \u{fffd}ann";
    assert_eq!(summary["Subject"], shown);
    assert_eq!(summary["To"].as_array().unwrap().len(), 1, "{}", summary["To"]);
    assert_eq!(summary["To"][0]["Address"], "bob@example.com");
    assert!(summary["Bcc"].as_array().is_none_or(Vec::is_empty), "{}", summary["Bcc"]);
    let parts = server.message(id(summary)).await;
    let html = parts["HTML"].as_str().unwrap();
    assert!(!html.contains("<script") && html.matches("<a ").count() == 1, "{html}");
    assert!(html.contains("&lt;a href=&quot;https://evil.test&quot;&gt;approve&lt;/a&gt;"), "{html}");
    assert!(parts["Text"].as_str().unwrap().contains("<a href=\"https://evil.test\">"), "{parts}");
}

#[tokio::test]
async fn a_server_that_is_down_is_tried_again_with_all_recipients() {
    let authority = Authority::default();
    let (server, sender, secret) = started(&authority).await;
    let receiver = mail(&server, SmtpTls::Implicit, &secret);
    drop(server);
    let Outcome::Retry { left, .. } = sender.send(&receiver, &message()).await else { panic!("no retry") };
    assert_eq!(left, message().recipients);
}
