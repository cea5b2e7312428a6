//! Mail servers that fail at one step, each a script of its own.

use std::time::{Duration, Instant};

use jit_rbac_services::notify::{Address, Egress, Message, Outcome, Reason, Receiver, Settings, Smtp, SmtpTls};
use notify_tools::Authority;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpListener,
    task::JoinHandle,
};

use super::fixture::{HOST, egress, message, receiver, refused, retry, secret, sender};

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
            let mut content = String::new();
            while is_data {
                let Ok(Some(line)) = lines.next_line().await else { return commands };
                if line == "." {
                    content = "CONTENT".to_owned();
                    break;
                }
            }
            if content.is_empty() {
                let Ok(Some(line)) = lines.next_line().await else { return commands };
                content = line;
            }
            commands.push(content);
        }
    });
    (port, server)
}

fn plain(port: u16) -> (Egress, Receiver) {
    let egress = Egress { plain_hosts: vec![HOST.to_owned()], ..egress(&Authority::default()) };
    let smtp = Smtp { host: HOST.to_owned(), port: Some(port), tls: SmtpTls::Plain, from: "jit@example.com".to_owned(), reply_to: None };
    (egress, receiver(Settings::Smtp(smtp), &secret(&[])))
}

/// Sends one message to two recipients.
async fn sent(faults: &'static [(&'static str, &'static str)]) -> (Outcome, Vec<String>) {
    let (port, server) = faulty(faults).await;
    let (egress, receiver) = plain(port);
    let receiver = Receiver { secrets: None, ..receiver };
    let recipients = ["bob", "zoe"].iter().map(|name| Address { name: None, email: format!("{name}@example.com") }).collect();
    let outcome = sender(&egress).send(&receiver, &Message { recipients, ..message() }).await;
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
async fn a_server_that_hangs_costs_at_most_the_time_limit() {
    for step in ["CONNECT", "CONTENT"] {
        let faults: &'static [(&str, &str)] = vec![(step, "-")].leak();
        let (port, _server) = faulty(faults).await;
        let (egress, receiver) = plain(port);
        let receiver = Receiver { secrets: None, ..receiver };
        let sender = sender(&egress);
        let message = message();
        tokio::time::pause();
        let begin = Instant::now();
        let (_, why) = retry(sender.send(&receiver, &message).await);
        tokio::time::resume();
        assert_eq!(why, "the mail server did not answer in time", "{step}");
        assert!(begin.elapsed() < Duration::from_secs(35), "{step}");
    }
}
