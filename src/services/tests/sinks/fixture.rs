//! A message, a sender whose names all resolve to this machine, and receivers.

use std::{fs, net::IpAddr, sync::Arc};

use futures::{FutureExt as _, future::BoxFuture};
use jit_rbac_services::notify::{
    Address, Egress, Fact, Lookup, Message, Outcome, Reason, Receiver, Sender, Settings, Severity, State, Thread,
};
use notify_tools::Authority;
use serde_json::json;
use tempfile::TempDir;

/// The name of the server in these tests.
pub const HOST: &str = "receiver.example.com";
/// A secret that may be in no error.
pub const SECRET: &str = "S3cr3tS3cr3tS3cr3t";

/// A resolver that knows one address.
pub struct Always(pub IpAddr);

impl Lookup for Always {
    fn addresses(&self, _: String) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>> {
        let address = self.0;
        async move { Ok(vec![address]) }.boxed()
    }
}

/// What is allowed in most tests: this host, on this machine, with this authority.
pub fn egress(authority: &Authority) -> Egress {
    Egress {
        hosts: vec![HOST.to_owned()],
        plain_hosts: Vec::new(),
        networks: vec!["127.0.0.0/8".to_owned()],
        authorities: Some(authority.pem()),
    }
}

pub fn sender(egress: &Egress) -> Sender {
    Sender::with_lookup(egress, "//jit-rbac/test", Arc::new(Always([127, 0, 0, 1].into()))).unwrap()
}

/// Writes a Secret as the kubelet mounts it.
pub fn secret(values: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("..2026")).unwrap();
    for (key, value) in values {
        fs::write(folder.path().join("..2026").join(key), format!("{value}\n")).unwrap();
        std::os::unix::fs::symlink(format!("..2026/{key}"), folder.path().join(key)).unwrap();
    }
    folder
}

pub fn receiver(sink: Settings, secret: &TempDir) -> Receiver {
    Receiver { name: "test".to_owned(), sink, secrets: Some(secret.path().to_owned()), title: None, body: None }
}

/// A request that waits for an approver.
pub fn message() -> Message {
    Message {
        id: "3f786850e387550fdab836ed7e6dc881de23001b".to_owned(),
        event_type: "dev.jitrbac.activation.requested.v1".to_owned(),
        time: "2026-12-01T08:15:00Z".parse().unwrap(),
        severity: Severity::Warning,
        subject: "payments/inc-4711".to_owned(),
        thread: Thread {
            key: "0b6a1c1e-6f0c-4a54-9a5e-3f7d3c1f2b11".to_owned(),
            topic: "Activation".to_owned(),
            namespace: Some("payments".to_owned()),
            severity: Severity::Warning,
        },
        state: State::Open,
        until: None,
        title: "ann requests edit in payments".to_owned(),
        facts: vec![
            Fact::new("Requester", "ann@example.com"),
            Fact::new("Role", "ClusterRole edit"),
            Fact::new("Risks", "SecretsRead, PodExec"),
            Fact::new("Namespace", "payments"),
            Fact::new("Justification", "INC-4711: the checkout is slow"),
            Fact::new("Decide before", "2026-12-01T09:15:00Z"),
        ],
        console_url: Some("https://jit.example.com/requests/payments/inc-4711".to_owned()),
        command: Some("kubectl jit approve inc-4711 -n payments".to_owned()),
        recipients: vec![Address { name: Some("Bob Builder".to_owned()), email: "bob@example.com".to_owned() }],
        data: json!({"request": "inc-4711", "namespace": "payments"}),
        is_test: false,
        reference: None,
    }
}

/// A later message of the same thread.
pub fn decided() -> Message {
    Message {
        id: "89e6c98d92887913cadf06b2adb97f26cde4849b".to_owned(),
        event_type: "dev.jitrbac.activation.approved.v1".to_owned(),
        time: "2026-12-01T08:20:00Z".parse().unwrap(),
        severity: Severity::Info,
        state: State::Resolved,
        title: "bob approved edit in payments for ann".to_owned(),
        command: None,
        ..message()
    }
}

pub fn delivered(outcome: Outcome) -> (Option<String>, Vec<String>) {
    match outcome {
        Outcome::Delivered { reference, notes } => (reference, notes),
        other => panic!("not delivered: {other:?}"),
    }
}

/// Asserts that the message was refused for this reason, without a secret, and returns the text.
pub fn refused(outcome: Outcome, expected: Reason) -> String {
    match outcome {
        Outcome::Refused { reason, why } => {
            assert_eq!(reason, expected, "{why}");
            assert!(!why.contains(SECRET), "{why}");
            why
        }
        other => panic!("not refused: {other:?}"),
    }
}

/// Asserts that the message is to be sent again, without a secret, and returns the delay in seconds and the text.
pub fn retry(outcome: Outcome) -> (Option<u64>, String) {
    match outcome {
        Outcome::Retry { after, why, .. } => {
            assert!(!why.contains(SECRET), "{why}");
            (after.map(|after| after.as_secs()), why)
        }
        other => panic!("no retry: {other:?}"),
    }
}
