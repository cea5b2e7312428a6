//! Two real control planes at the same time: they authenticate their users, survive the death of their servers, and leave nothing behind.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::time::Duration;

use control_plane::{ADMIN, Options, Plane, wait_for, wait_for_ok};

const LIMIT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn two_planes_live_and_end_side_by_side() {
    let (one, two) = tokio::join!(Plane::start(Options::default()), Plane::start(Options::default()));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_ne!(one.cluster().server(), two.cluster().server());

    people_are_who_they_say(&one).await;
    controllers_act_under_their_own_names(&one).await;
    servers_can_be_killed_and_started(&two).await;

    let pids: Vec<_> = one.records().unwrap().into_iter().chain(two.records().unwrap()).collect();
    let directories = [one.cluster().directory().to_owned(), two.cluster().directory().to_owned()];
    drop(one);
    two.end();
    for record in pids {
        assert!(!record.runs(), "{record:?}");
    }
    for directory in directories {
        assert!(!directory.exists() || std::env::var_os("KEEP").is_some(), "{}", directory.display());
    }
}

/// With another certificate authority, other tokens and other ports.
#[tokio::test]
async fn a_plane_that_is_kept_goes_on_with_what_it_stored() {
    let parent = tempfile::tempdir().unwrap();
    let options = || Options { directory: Some(parent.path().join("plane")), keep: true, ..Options::default() };
    let plane = Plane::start(options()).await.unwrap();
    let records = plane.records().unwrap();
    plane.apply(ADMIN, "{apiVersion: v1, kind: Namespace, metadata: {name: kept}}").await.unwrap().ok().unwrap();
    plane.end();
    assert!(!records.iter().any(control_plane::ProcessRecord::runs));
    drop(plane);
    let plane = Plane::start(options()).await.unwrap();
    plane.kubectl(ADMIN, &["get", "namespace", "kept"]).await.unwrap().ok().unwrap();
    people_are_who_they_say(&plane).await;
    let records = plane.records().unwrap();
    drop(plane);
    assert!(!records.iter().any(control_plane::ProcessRecord::runs));
}

async fn people_are_who_they_say(plane: &Plane) {
    for (user, groups) in [
        (ADMIN, "[system:masters system:authenticated]"),
        ("dev", "[devs system:authenticated]"),
        ("lead-1", "[leads system:authenticated]"),
        ("outsider", "[system:authenticated]"),
        ("crowd", "crowd-0999 devs system:authenticated]"),
    ] {
        let text = plane.kubectl(user, &["auth", "whoami"]).await.unwrap().ok().unwrap();
        assert!(text.contains(groups), "{user}: {text}");
        let uid = if user == ADMIN { String::new() } else { format!("u-{user}") };
        assert!(text.contains(&uid), "{user}: {text}");
    }
    let refused = plane.apply("dev", "{apiVersion: v1, kind: Namespace, metadata: {name: mine}}").await.unwrap();
    assert!(refused.refused().unwrap().contains("forbidden"));
    let unknown = plane.client("nobody").await.err().unwrap().to_string();
    assert!(unknown.starts_with("the control plane has no user `nobody`; it has admin, dev,"), "{unknown}");
}

async fn controllers_act_under_their_own_names(plane: &Plane) {
    let mut audit = plane.cluster().audit_from_now().unwrap();
    let manifest = "{apiVersion: v1, kind: Namespace, metadata: {name: short-lived}}";
    plane.apply(ADMIN, manifest).await.unwrap().ok().unwrap();
    plane.kubectl(ADMIN, &["delete", "namespace", "short-lived"]).await.unwrap().ok().unwrap();
    let finished = wait_for("the namespace controller in the audit log", LIMIT, async || {
        audit.read().unwrap().into_iter().find(|event| {
            event.user.username == "system:serviceaccount:kube-system:namespace-controller"
                && event.resource() == "namespaces/finalize"
                && event.code() == 200
        })
    });
    assert!(finished.await.unwrap().is_write());
}

async fn servers_can_be_killed_and_started(plane: &Plane) {
    for process in [plane.etcd(), plane.apiserver(), plane.controller_manager()] {
        process.kill();
        let error = process.check().unwrap_err().to_string();
        assert!(error.starts_with(&format!("{} has ended, its log", process.name())), "{error}");
        process.start().unwrap();
    }
    plane.wait_until_ready().await.unwrap();
    let manager = plane.controller_manager();
    manager.terminate(LIMIT).await.unwrap();
    assert!(manager.pid().is_none());
    assert!(manager.terminate(LIMIT).await.is_err(), "it does not run any more");
    manager.restart().unwrap();
    plane.wait_until_ready().await.unwrap();
    plane.apiserver().stop().unwrap();
    plane.apiserver().resume().unwrap();
    wait_for_ok("the API server to answer", LIMIT, async || plane.kubectl("dev", &["auth", "whoami"]).await.unwrap().ok()).await.unwrap();
}
