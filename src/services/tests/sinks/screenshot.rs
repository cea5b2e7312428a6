//! The picture of a notification for the documentation: `make notification-images`.

use std::{path::PathBuf, process::Stdio, time::Duration};

use jit_rbac_services::notify::{Settings, Smtp, SmtpTls};
use notify_tools::{Authority, Mailpit, MailpitTls};
use tokio::process::Command;

use super::fixture::{HOST, delivered, egress, message, receiver, secret, sender};

/// The time limit of the picture.
const LIMIT: Duration = Duration::from_mins(1);
/// The largest file, in bytes.
const LARGEST: u64 = 150_000;

#[tokio::test]
#[ignore = "needs Chromium and the page of mailpit, which needs npm"]
async fn screenshot_of_a_mail() {
    let directory = PathBuf::from(std::env::var_os("SCREENSHOTS").expect("SCREENSHOTS is a directory"));
    let authority = Authority::default();
    let server = Mailpit::start(&authority, &[HOST], MailpitTls::Implicit, None, ".*").await;
    let secret = secret(&[]);
    let smtp = Smtp {
        host: HOST.to_owned(),
        port: Some(server.smtp()),
        tls: SmtpTls::Implicit,
        from: "jit-rbac <jit@example.com>".to_owned(),
        reply_to: None,
    };
    delivered(sender(&egress(&authority)).send(&receiver(Settings::Smtp(smtp), &secret), &message()).await);
    let messages = server.messages().await;
    let (file, profile) = (directory.join("notification-mail.png"), tempfile::tempdir().unwrap());
    let mut browser = Command::new("chromium");
    browser
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--disable-background-networking"])
        .args(["--disable-component-update", "--disable-sync", "--virtual-time-budget=8000", "--window-size=1100,800"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("--screenshot={}", file.display()))
        .arg(format!("{}/view/{}", server.page(), messages[0]["ID"].as_str().unwrap()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let ended = tokio::time::timeout(LIMIT, browser.status()).await.expect("Chromium ends").expect("Chromium runs");
    assert!(ended.success() && file.exists(), "Chromium made no picture");
    let length = std::fs::metadata(&file).unwrap().len();
    assert!(length < LARGEST, "{} has {length} bytes", file.display());
}
