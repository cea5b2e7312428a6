//! Mail servers that fail at one step, each a script of its own.

use std::time::{Duration, Instant};

use jit_rbac_services::notify::{Address, Egress, Message, Outcome, Reason, Receiver, Settings, Smtp, SmtpTls};
use notify_tools::Authority;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpListener,
    task::JoinHandle,
};

use super::fixture::{HOST, SECRET, egress, message, receiver, refused, retry, secret, sender};

/// A mail server without TLS that answers `fault.1` to each command that begins with `fault.0`; an empty answer closes the connection, and
/// `-` is none. It returns the commands.
async fn faulty(faults: &'static [(&'static str, &'static str)]) -> (u16, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::new(read).lines();
        let mut commands = vec!["CONNECT".to_owned()];
        loop {
            let command = commands.last().unwrap().clone();
            let fault = faults.iter().find(|(begin, _)| command.starts_with(begin)).map(|(_, answer)| *answer);
            let usual = match command.split(' ').next().unwrap() {
                "CONNECT" => "220 test",
                "EHLO" => "250-test\r\n250 8BITMIME",
                "DATA" => "354 go on",
                "QUIT" => "221 bye",
                _ => "250 ok",
            };
            let is_data = command == "DATA" && fault.is_none();
            match fault.unwrap_or(usual) {
                "" => return commands,
                "-" => {}
                answer if write.write_all(format!("{answer}\r\n").as_bytes()).await.is_err() => return commands,
                _ => {}
            }
            let mut command = None;
            while let Ok(Some(line)) = lines.next_line().await {
                if !is_data {
                    command = Some(line);
                    break;
                }
                if line == "." {
                    command = Some("CONTENT".to_owned());
                    break;
                }
            }
            let Some(command) = command else { return commands };
            commands.push(command);
        }
    });
    (port, server)
}

fn plain(port: u16) -> (Egress, Receiver) {
    let egress = Egress { plain_hosts: vec![HOST.to_owned()], ..egress(&Authority::default()) };
    let smtp = Smtp { host: HOST.to_owned(), port: Some(port), tls: SmtpTls::Plain, from: "jit@example.com".to_owned(), reply_to: None };
    (egress, receiver(Settings::Smtp(smtp), &secret(&[])))
}

fn recipients() -> Vec<Address> {
    ["bob", "zoe"].iter().map(|name| Address { name: None, email: format!("{name}@example.com") }).collect()
}

/// Sends one message to two recipients.
async fn sent(faults: &'static [(&'static str, &'static str)]) -> (Outcome, Vec<String>) {
    let (port, server) = faulty(faults).await;
    let (egress, receiver) = plain(port);
    let receiver = Receiver { secrets: None, ..receiver };
    let outcome = sender(&egress).send(&receiver, &Message { recipients: recipients(), ..message() }).await;
    (outcome, server.await.unwrap())
}

#[tokio::test]
async fn an_answer_4yz_is_tried_again_and_5yz_is_not() {
    for step in ["MAIL", "RCPT", "DATA", "CONTENT"] {
        let transient: &'static [(&str, &str)] = vec![(step, "451 later")].leak();
        let (outcome, commands) = sent(transient).await;
        let Outcome::Retry { left, why, .. } = outcome else { panic!("{step}: {outcome:?}") };
        assert!(left.len() == 2 && why.contains("later"), "{step}: {left:?} {why}");
        assert_eq!(commands.iter().filter(|command| command.starts_with("MAIL")).count(), 2, "{step}: each recipient is tried");
        let permanent: &'static [(&str, &str)] = vec![(step, "550 never")].leak();
        let why = refused(sent(permanent).await.0, Reason::Rejected);
        assert!(why.contains("bob@example.com") && why.contains("zoe@example.com") && why.contains("never"), "{step}: {why}");
    }
}

#[tokio::test]
async fn secrets_in_answers_are_masked_in_errors_and_notes() {
    for (faults, is_delivered) in [
        (&[("EHLO", "250-test\r\n250 AUTH PLAIN"), ("MAIL", "550 S3cr3tS3cr3tS3cr3t is no sender")][..], false),
        (&[("EHLO", "250-test\r\n250 AUTH PLAIN"), ("AUTH", "535 S3cr3tS3cr3tS3cr3t is wrong")], false),
        (&[("EHLO", "250-test\r\n250 AUTH PLAIN"), ("RCPT TO:<bob", "550 S3cr3tS3cr3tS3cr3t is no recipient")], true),
    ] {
        let (port, _server) = faulty(faults).await;
        let (egress, receiver) = plain(port);
        let secret = secret(&[("username", "jit"), ("password", SECRET)]);
        let receiver = Receiver { secrets: Some(secret.path().to_owned()), ..receiver };
        let text = format!("{:?}", sender(&egress).send(&receiver, &Message { recipients: recipients(), ..message() }).await);
        assert!(
            !text.contains(SECRET) && text.contains("[redacted]") && text.starts_with(if is_delivered { "Delivered" } else { "Refused" }),
            "{text}"
        );
    }
}

#[tokio::test]
async fn those_that_are_to_be_tried_later_are_left_when_the_server_hangs() {
    let (port, _server) = faulty(&[("RCPT TO:<bob", "451 later"), ("RCPT TO:<zoe", "-")]).await;
    let (egress, receiver) = plain(port);
    let receiver = Receiver { secrets: None, ..receiver };
    let Outcome::Retry { mut left, .. } = sender(&egress).send(&receiver, &Message { recipients: recipients(), ..message() }).await else {
        panic!("no retry")
    };
    left.sort();
    assert_eq!(left, recipients());
}

#[tokio::test]
async fn of_two_recipients_only_the_one_that_is_left_is_tried_again() {
    for (answer, fault) in [("451 later", "RCPT TO:<bob"), ("421 busy", "RCPT TO:<bob")] {
        let faults: &'static [(&str, &str)] = vec![(fault, answer)].leak();
        let Outcome::Retry { left, .. } = sent(faults).await.0 else { panic!("no retry") };
        assert_eq!(left.iter().map(|address| address.email.as_str()).collect::<Vec<_>>(), ["bob@example.com"]);
    }
    // The connection ends after the first recipient.
    let Outcome::Retry { left, .. } = sent(&[("RCPT TO:<zoe", "")]).await.0 else { panic!("no retry") };
    assert_eq!(left.iter().map(|address| address.email.as_str()).collect::<Vec<_>>(), ["zoe@example.com"]);
}

#[tokio::test]
async fn a_connection_that_ends_at_any_step_is_tried_again() {
    for step in ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "CONTENT"] {
        let faults: &'static [(&str, &str)] = vec![(step, "")].leak();
        retry(sent(faults).await.0);
    }
}

#[tokio::test]
async fn a_login_that_the_server_does_not_offer_is_refused() {
    let (port, _server) = faulty(&[]).await;
    let (egress, receiver) = plain(port);
    let secret = secret(&[("username", "jit"), ("password", SECRET)]);
    let receiver = Receiver { secrets: Some(secret.path().to_owned()), ..receiver };
    refused(sender(&egress).send(&receiver, &message()).await, Reason::Unauthorized);
}

#[tokio::test]
async fn a_server_that_hangs_costs_at_most_the_time_limit() {
    let hanging = |faults: &'static [(&'static str, &'static str)]| async move {
        let (port, _server) = faulty(faults).await;
        let (egress, receiver) = plain(port);
        let begin = Instant::now();
        let (_, why) = retry(sender(&egress).send(&Receiver { secrets: None, ..receiver }, &message()).await);
        assert_eq!(why, "the mail server did not answer in time", "{faults:?}");
        assert!(begin.elapsed() < Duration::from_secs(35), "{faults:?}");
    };
    tokio::join!(hanging(&[("CONNECT", "-")]), hanging(&[("CONTENT", "-")]));
}
