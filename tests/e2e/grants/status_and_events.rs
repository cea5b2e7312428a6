//! The status of requests and grants: conditions, printer columns, field selectors, `kubectl wait`, Events.

use std::{collections::BTreeMap, sync::Arc};

use control_plane::{ADMIN, wait_for_ok};
use serde_json::{Value, json};

use super::granted;
use crate::{
    ensure,
    env::{Env, Outcome, SOON, TestCase, approved_by, automatic, eligibility},
    status_helpers::{conditions, until},
    test_cases,
};

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![
        wait_for_settled_returns_on_every_outcome,
        conditions_match_kstatus_in_every_state,
        kubectl_lists_selects_and_describes,
        events_report_the_outcome_of_a_request,
        f83_longest_name_has_events_and_no_stale_status_fields,
    ]
}

async fn wait_for_settled_returns_on_every_outcome(env: Arc<Env>) -> Outcome {
    let scene = env.scene("settled").await?;
    let offer = scene.offer("waits", approved_by("leads", 1), eligibility("view")).await?;
    for (request, verb, ends) in [("granted", "Approve", "Active"), ("denied", "Deny", "Denied"), ("taken", "Deactivate", "Withdrawn")] {
        scene.apply("dev", &scene.request(request, &offer, "10m")).await?.ok()?;
        let status = scene.until_state(request, "AwaitingApproval", SOON).await?;
        let name = format!("rar/{request}");
        let wait = ["wait", "--for=condition=Settled", "--timeout=20s", &name, "-n", &scene.name];
        let too_early = ["wait", "--for=condition=Settled", "--timeout=0", &name, "-n", &scene.name];
        ensure!(!scene.kubectl("dev", &too_early).await?.status.success(), "{request} is settled before a decision");
        let decision = scene.decision(request, verb, if verb == "Approve" { status["digest"].as_str() } else { None });
        let who = if verb == "Deactivate" { "dev" } else { "lead-1" };
        let (waited, decided) = tokio::join!(scene.kubectl("dev", &wait), scene.create(who, &decision));
        decided?.ok()?;
        waited?.ok()?;
        let state = scene.status(request).await?["state"].clone();
        ensure!(state == ends, "{request} is {state}");
        if ends == "Active" {
            scene.create("dev", &scene.decision(request, "Deactivate", None)).await?.ok()?;
            scene.until_state(request, "Deactivated", SOON).await?;
        }
    }
    Ok(())
}

/// Approved, Active, Settled, Ready, Reconciling, Stalled of a state, as letters: T for those that are True, - for those that are absent.
const STATES: [(&str, &str); 8] = [
    ("Pending", "FFFFTF"),
    ("AwaitingApproval", "FFFFTF"),
    ("Active", "TTTTFF"),
    ("Expired", "TFT-FF"),
    ("Deactivated", "TFT-FF"),
    ("Revoked", "TFT-FF"),
    ("Denied", "FFTFFT"),
    ("TimedOut", "FFTFFT"),
];

fn ensure_conditions(status: &Value) -> Outcome {
    let state = status["state"].as_str().unwrap_or_default();
    let expected = STATES.iter().find(|(name, _)| *name == state).map_or("FFT-FF", |(_, letters)| letters);
    let kinds = ["Approved", "Active", "Settled", "Ready", "Reconciling", "Stalled"];
    let word = |letter| if letter == 'T' { "True" } else { "False" };
    let expected: BTreeMap<String, String> =
        kinds.iter().zip(expected.chars()).filter(|(_, l)| *l != '-').map(|(kind, l)| ((*kind).to_owned(), word(l).to_owned())).collect();
    let found = conditions(status)?;
    ensure!(found == expected, "{state}: the conditions are {found:?}");
    ensure!(status["observedGeneration"] == 1, "{state}: it is about generation {}", status["observedGeneration"]);
    ensure!(
        status["endedAt"].is_null() == (found["Settled"] == "False" || state == "Active"),
        "{state}: it ended at {}",
        status["endedAt"]
    );
    Ok(())
}

async fn conditions_match_kstatus_in_every_state(env: Arc<Env>) -> Outcome {
    let scene = env.scene("kstatus").await?;
    let free = scene.offer("free", automatic(), eligibility("view")).await?;
    let mut hasty = approved_by("leads", 1);
    hasty["approval"]["timeout"] = json!("6s");
    let waits = scene.offer("waits", approved_by("leads", 1), eligibility("view")).await?;
    let hasty = scene.offer("hasty", hasty, eligibility("view")).await?;

    scene.apply("dev", &scene.request("hasty", &hasty, "5m")).await?.ok()?;
    ensure_conditions(&scene.until_state("hasty", "AwaitingApproval", SOON).await?)?;
    ensure_conditions(&granted(&scene, "expired", &free, "6s").await?)?;
    let steps = [("denied", &waits, "Deny", "lead-1", "Denied"), ("back", &waits, "Deactivate", "dev", "Withdrawn")];
    for (request, offer, verb, who, ends) in steps {
        scene.apply("dev", &scene.request(request, offer, "5m")).await?.ok()?;
        scene.until_state(request, "AwaitingApproval", SOON).await?;
        scene.create(who, &scene.decision(request, verb, None)).await?.ok()?;
        ensure_conditions(&scene.until_state(request, ends, SOON).await?)?;
    }
    ensure_conditions(&scene.until_state("expired", "Expired", SOON).await?)?;
    for (request, verb, who, ends) in [("given", "Deactivate", "dev", "Deactivated"), ("revoked", "Revoke", "security", "Revoked")] {
        granted(&scene, request, &free, "5m").await?;
        scene.create(who, &scene.decision(request, verb, None)).await?.ok()?;
        ensure_conditions(&scene.until_state(request, ends, SOON).await?)?;
    }
    ensure_conditions(&scene.until_state("hasty", "TimedOut", SOON).await?)?;

    scene.apply("dev", &scene.request("pending", &waits, "5m")).await?.ok()?;
    scene.until_state("pending", "AwaitingApproval", SOON).await?;
    scene.kubectl(ADMIN, &["delete", "approvalpolicy", &waits]).await?.ok()?;
    ensure_conditions(&scene.until_state("pending", "Pending", SOON).await?)
}

async fn kubectl_lists_selects_and_describes(env: Arc<Env>) -> Outcome {
    let scene = env.scene("list").await?;
    let free = scene.offer("free", automatic(), eligibility("view")).await?;
    let waits = scene.offer("waits", approved_by("leads", 1), eligibility("edit")).await?;
    let status = granted(&scene, "running", &free, "10m").await?;
    scene.apply("dev-2", &scene.request("waiting", &waits, "10m")).await?.ok()?;
    scene.until_state("waiting", "AwaitingApproval", SOON).await?;
    scene.create("security", &scene.decision("running", "Revoke", None)).await?.ok()?;
    scene.until_state("running", "Revoked", SOON).await?;
    granted(&scene, "running-2", &free, "10m").await?;

    let table = async |args: &[&str]| -> Result<Vec<Vec<String>>, crate::env::Error> {
        let said = scene.kubectl("dev", &[args, &["-n", &scene.name]].concat()).await?.ok()?;
        ensure!(args.contains(&"wide") || said.lines().all(|line| line.len() <= 80), "a line is longer than 80 characters:\n{said}");
        Ok(said.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect())
    };
    let rows = table(&["get", "rar"]).await?;
    ensure!(rows[0] == ["NAME", "ROLE", "USER", "STATE", "EXPIRES", "AGE"], "the columns are {:?}", rows[0]);
    ensure!(
        rows[1][..5] == ["running", "view", "dev", "Revoked", status["expiresAt"].as_str().unwrap_or_default()],
        "the row is {:?}",
        rows[1]
    );
    ensure!(rows[3][..4] == ["waiting", "edit", "dev-2", "AwaitingApproval"] && rows.len() == 4, "the rows are {rows:?}");
    let wide = table(&["get", "rar", "-o", "wide"]).await?;
    ensure!(
        wide[0] == ["NAME", "ROLE", "USER", "STATE", "EXPIRES", "REASON", "RISKS", "REVIEW", "TICKET", "APPROVED-BY", "DIGEST", "AGE"],
        "wide columns are {:?}",
        wide[0]
    );
    ensure!(table(&["get", "adec"]).await?[0] == ["NAME", "REQUEST", "DECISION", "USER", "AGE"], "other columns of decisions");
    let names = async |selector: &str| -> Result<Vec<String>, crate::env::Error> {
        let rows = table(&["get", "roleactivationrequests", "--no-headers", "--field-selector", selector]).await?;
        Ok(rows.into_iter().map(|mut row| row.swap_remove(0)).collect())
    };
    ensure!(names("status.state=Active").await? == ["running-2"], "by state");
    ensure!(names("status.state!=Revoked").await? == ["running-2", "waiting"], "by another state");
    ensure!(names("spec.requester.username=dev-2").await? == ["waiting"], "by requester");
    ensure!(names(&format!("spec.eligibilityRef.name={free}")).await? == ["running", "running-2"], "by eligibility");
    let decided = table(&["get", "adec", "--no-headers", "--field-selector", "spec.requestRef.name=running"]).await?;
    ensure!(decided.len() == 1 && decided[0][1..4] == ["running", "Revoke", "security"], "by request: {decided:?}");

    ensure!(scene.kubectl("dev", &["get", "rel", &free]).await?.ok()?.lines().count() == 2, "the short name rel");
    ensure!(scene.kubectl("dev", &["get", "apol", &free]).await?.ok()?.lines().count() == 2, "the short name apol");
    let all = scene.kubectl("dev", &["get", "jit", "-n", &scene.name, "-o", "name"]).await?.ok()?;
    for expected in [
        "roleactivationrequest.jitrbac.dev/waiting",
        "activationdecision.jitrbac.dev/running-",
        &format!("roleeligibility.jitrbac.dev/{free}"),
        &format!("approvalpolicy.jitrbac.dev/{free}"),
    ] {
        ensure!(all.lines().any(|line| line.starts_with(expected)), "{expected} is not in the category jit: {all}");
    }
    let described = scene.kubectl("dev", &["describe", "rar", "running", "-n", &scene.name]).await?.ok()?;
    for expected in ["revoked by security: \"noted\"", "requested eligibility", "granted ClusterRole 'view' until"] {
        ensure!(described.contains(expected), "{expected} is not described: {described}");
    }
    until(&scene, "waiting", "who is waited for", |status| status["awaiting"]["approvers"] == json!({"groups": ["leads"]})).await.map(drop)
}

async fn events_report_the_outcome_of_a_request(env: Arc<Env>) -> Outcome {
    let scene = env.scene("events").await?;
    let offer = scene.offer("waits", approved_by("leads", 1), eligibility("view")).await?;
    scene.apply("dev", &scene.request("now", &offer, "10m")).await?.ok()?;
    scene.until_state("now", "AwaitingApproval", SOON).await?;
    scene.approve("lead-1", "now").await?;
    scene.until_state("now", "Active", SOON).await?;
    scene.create("security", &scene.decision("now", "Revoke", None)).await?.ok()?;
    scene.until_state("now", "Revoked", SOON).await?;
    let expected = [("WaitingForApproval", "Normal"), ("Granted", "Normal"), ("RevokedByUser", "Warning")];
    let look = [
        "get",
        "events",
        "-n",
        &scene.name,
        "--field-selector",
        "involvedObject.kind=RoleActivationRequest,involvedObject.name=now",
        "-o",
        "json",
    ];
    let told = wait_for_ok("the Events of a request", SOON, async || {
        let said = scene.kubectl(ADMIN, &look).await.and_then(|said| Ok(said.ok()?)).map_err(|error| error.to_string())?;
        let events: Value = serde_json::from_str(&said).map_err(|error| error.to_string())?;
        let told: Vec<(Value, Value)> =
            events["items"].as_array().into_iter().flatten().map(|event| (event["reason"].clone(), event["type"].clone())).collect();
        let all = told.len() == expected.len() && expected.iter().all(|(reason, kind)| told.contains(&(json!(reason), json!(kind))));
        if all { Ok(events["items"][0]["reportingComponent"].clone()) } else { Err(format!("{told:?}")) }
    });
    let who = told.await?;
    ensure!(who == "jit-rbac", "{who} reports them");
    Ok(())
}

/// A request with the longest possible name, whose managed fields a user has reset: its Events are created, and its status is correct.
async fn f83_longest_name_has_events_and_no_stale_status_fields(env: Arc<Env>) -> Outcome {
    let scene = env.scene("longest").await?;
    let offer = scene.offer("waits", approved_by("leads", 1), eligibility("view")).await?;
    let name = "a".repeat(253);
    scene.write("dev", "rar", &scene.request(&name, &offer, "10m")).await?;
    scene.until_state(&name, "AwaitingApproval", SOON).await?;
    let reset = r#"[{"op":"replace","path":"/metadata/managedFields","value":[{}]}]"#;
    scene.kubectl(ADMIN, &["patch", "rar", &name, "-n", &scene.name, "--type=json", "-p", reset]).await?.ok()?;
    let stored = scene.get("rar", &name).await?.unwrap_or_default();
    ensure!(stored["metadata"]["managedFields"].as_array().is_none_or(Vec::is_empty), "they are {}", stored["metadata"]["managedFields"]);
    let digest = stored["status"]["digest"].as_str();
    let mut approval = scene.decision(&name, "Approve", digest);
    approval["metadata"]["generateName"] = json!("approve-");
    scene.write("lead-1", "adec", &approval).await?;
    let status = scene.until_state(&name, "Active", SOON).await?;
    ensure!(status["awaiting"].is_null(), "it awaits {}", status["awaiting"]);
    let look = ["get", "events", "-n", &scene.name, "-o", "json"];
    let told = wait_for_ok("the Events of a request with a long name", SOON, async || {
        let said = scene.kubectl(ADMIN, &look).await.and_then(|said| Ok(said.ok()?)).map_err(|error| error.to_string())?;
        let events: Value = serde_json::from_str(&said).map_err(|error| error.to_string())?;
        let about = events["items"].as_array().into_iter().flatten().filter(|event| event["involvedObject"]["name"] == name.as_str());
        let told: Vec<&str> = about.filter_map(|event| event["reason"].as_str()).collect();
        if told.contains(&"WaitingForApproval") && told.contains(&"Granted") { Ok(()) } else { Err(format!("{told:?}")) }
    });
    Ok(told.await?)
}
