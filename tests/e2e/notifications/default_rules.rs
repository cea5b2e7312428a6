//! The nine rules of Entra PIM, from the change in the cluster to the server that receives the message.

use std::sync::Arc;

use control_plane::ADMIN;
use jiff::{SignedDuration, Timestamp};
use notify_tools::{Alertmanager, Authority, Mailpit, MailpitTls, eventually};
use serde_json::{Map, Value, json};

use super::{HOST, Hook, receiver, scene};
use crate::{
    ensure,
    env::{Env, Outcome, TestCase, approved_by, eligibility},
    test_cases,
};

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![each_of_pims_nine_rules_tells_its_people]
}

/// A rule, the receiver that it alone sends to, and what that receives.
const RULES: [(&str, &str, &[&str]); 9] = [
    ("Notification_Admin_Admin_Eligibility", "/1", &["eligibility.created", "eligibility.suspended"]),
    ("Notification_Requestor_Admin_Eligibility", "/2", &["eligibility.created", "eligibility.suspended"]),
    ("Notification_Approver_Admin_Eligibility", "/3", &["eligibility.eligibilityendssoon"]),
    ("Notification_Admin_Admin_Assignment", "/4", &["activeassignment.created"]),
    ("Notification_Requestor_Admin_Assignment", "/5", &["activeassignment.created"]),
    ("Notification_Approver_Admin_Assignment", "/6", &["activeassignment.created"]),
    (
        "Notification_Admin_EndUser_Assignment",
        "/7",
        &["activation.requested", "activation.approved", "activation.granted", "activation.deactivated"],
    ),
    ("Notification_Requestor_EndUser_Assignment", "/8", &["activation.granted", "activation.deactivated"]),
    ("Notification_Approver_EndUser_Assignment", "/9", &["activation.waiting", "activation.granted"]),
];

async fn each_of_pims_nine_rules_tells_its_people(env: Arc<Env>) -> Outcome {
    let authority = Authority::default();
    let hook = Hook::accepting(&authority);
    let mail = Mailpit::start(&authority, &[HOST], MailpitTls::Implicit, None, "@example\\.com$").await;
    let alerts = Alertmanager::start(&authority, &hook.url("/alertmanager")).await;
    let mut defaults = Map::new();
    for (name, path, _) in RULES {
        let mut receivers = vec![json!({"name": format!("hook-{}", &path[1..])})];
        if name == "Notification_Approver_EndUser_Assignment" {
            receivers.push(json!({"name": "alerts"}));
        }
        let mut setting = json!({"receivers": receivers});
        if name == "Notification_Approver_Admin_Eligibility" {
            setting["reminders"] = json!({"eligibilityBeforeEnd": ["1h"]});
        }
        defaults.insert(name.to_owned(), setting);
    }
    let (scene, _permit) = scene(&env, "nine", json!({"defaultRules": Value::Object(defaults)})).await?;
    for (_, path, _) in RULES {
        scene.webhook(&format!("hook-{}", &path[1..]), &hook.url(path), &authority).await?;
    }
    scene.secret("mail", &[("ca.crt", &authority.pem())])?;
    let smtp = json!({"host": HOST, "port": mail.smtp(), "from": "jit-rbac <jit@example.com>"});
    scene
        .admin(&[
            receiver("mail", json!({"type": "Smtp", "smtp": smtp, "secretRef": {"name": "mail"}})),
            receiver("alerts", json!({"type": "Alertmanager", "alertmanager": {"urls": [alerts.url()]}})),
        ])
        .await?;
    for name in ["mail", "alerts", "hook-9"] {
        scene.until_ready(name, "True", "Ready").await?;
    }

    // The end of the eligibility is an hour away in three seconds.
    let end = Timestamp::now().checked_add(SignedDuration::from_secs(3603))?;
    let mut eligible = eligibility("view");
    eligible["endTime"] = json!(domain::instant::stamp(end));
    let offer = scene.offer("view", approved_by("leads", 1), eligible).await?;
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "standing", "namespace": scene.name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "dev-2"}],
    });
    scene.admin(&[binding]).await?;
    scene.apply("dev", &scene.request("inc", &offer, "10m")).await?.ok()?;
    hook.until("/9", "of the waiting request", |told| told.kind() == "activation.waiting").await?;
    let alert =
        eventually("an alert", || async { alerts.alerts().await.into_iter().find(|alert| alert["labels"]["namespace"] == scene.name) })
            .await;
    ensure!(alert["labels"]["alertname"] == "JitRbacActivation", "the alert is {alert}");
    scene.approve("lead-1", "inc").await?;
    hook.until("/8", "of the grant", |told| told.kind() == "activation.granted").await?;
    eventually("the alert to end", || async {
        alerts.alerts().await.iter().all(|alert| alert["labels"]["namespace"] != scene.name).then_some(())
    })
    .await;
    scene.create("dev", &scene.decision("inc", "Deactivate", None)).await?.ok()?;
    // A suspended eligibility needs no renewal.
    hook.until("/3", "that the eligibility ends soon", |told| told.kind() == "eligibility.eligibilityendssoon").await?;
    scene.kubectl(ADMIN, &["patch", "rel", &offer, "--type=merge", "-p", r#"{"spec":{"suspended":true}}"#]).await?.ok()?;

    for (rule, path, kinds) in RULES {
        for kind in kinds {
            hook.until(path, &format!("{kind} by {rule}"), |told| told.kind() == *kind).await?;
        }
        let ids: Vec<_> = hook.told(path).into_iter().map(|told| told.id).collect();
        let once: std::collections::BTreeSet<_> = ids.iter().collect();
        ensure!(once.len() == ids.len(), "{rule} sent a message twice: {ids:?}");
    }
    let asked = hook.told("/8").iter().any(|told| told.kind() == "activation.waiting");
    ensure!(!asked, "the requester was asked for an approval");
    hook.verified()?;

    let to = |message: &Value, address: &str| message["To"].as_array().into_iter().flatten().any(|to| to["Address"] == address);
    for (address, subject) in [
        ("dev@example.com", "dev has 'view'"),
        ("leads@example.com", "dev waits for an approval of 'view'"),
        ("admins@example.com", "dev requested 'view'"),
        ("devs@example.com", "was created by"),
        ("dev-2@example.com", "got ClusterRole 'view' without an activation"),
    ] {
        eventually(&format!("a mail to {address}: {subject}"), || async {
            let all = mail.messages().await;
            all.iter().find(|mail| to(mail, address) && mail["Subject"].as_str().is_some_and(|text| text.contains(subject))).map(|_| ())
        })
        .await;
    }
    let foreign = mail
        .messages()
        .await
        .iter()
        .any(|mail| to(mail, "dev@example.com") && mail["Subject"].as_str().is_some_and(|text| text.contains("waits")));
    ensure!(!foreign, "the requester got the mail of the approvers");
    Ok(())
}
