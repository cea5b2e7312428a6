//! The identity of the requester: stamps, names, groups, `ServiceAccount`s, and many requests at once.

mod invisible_characters;
mod service_accounts;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use control_plane::{ADMIN, wait_for_ok};
use futures::future::join_all;
use kube::{
    Api,
    api::{DynamicObject, PostParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};

use crate::{
    ensure,
    env::{Env, Error, Outcome, SOON, Scene, TestCase, approved_by, automatic, eligibility},
    status_helpers::{did, refused, until},
    test_cases,
};

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    let mut all = test_cases![
        t1_forged_identity_is_overwritten_by_the_stamp,
        t1_user_in_a_thousand_groups_is_granted,
        t21_request_grants_only_in_its_namespace,
        t46_dry_run_returns_the_result_and_stores_nothing,
        t51_one_concurrent_request_per_user_is_granted,
    ];
    all.extend(service_accounts::test_cases());
    all.extend(invisible_characters::test_cases());
    all
}

async fn t1_forged_identity_is_overwritten_by_the_stamp(env: Arc<Env>) -> Outcome {
    let scene = env.scene("stamped").await?;
    let offer = scene.offer("edit", approved_by("leads", 1), eligibility("edit")).await?;
    let forged = json!({"username": "lead-1", "uid": "u-lead-1", "groups": ["leads", "system:masters"], "extra": {"authentication.kubernetes.io/credential-id": ["X509SHA256=1"]}});

    let mut request = scene.request("now", &offer, "10m");
    request["spec"]["requester"] = forged.clone();
    request["metadata"]["annotations"] = json!({"jitrbac.dev/requester": "lead-1"});
    scene.create("dev", &request).await?.ok()?;
    let stored = scene.get("rar", "now").await?.ok_or("there is no request")?;
    let requester = &stored["spec"]["requester"];
    ensure!(requester["username"] == "dev" && requester["uid"] == "u-dev" && requester["extra"].is_null(), "the requester is {requester}");
    let groups: Vec<&str> = requester["groups"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    ensure!(groups == ["devs"], "the groups are {groups:?}");
    // Not eligible themselves, the requester uses the name of an eligible user.
    let mut borrowed = scene.request("later", &offer, "10m");
    borrowed["spec"]["requester"] = json!({"username": "dev", "uid": "u-dev", "groups": ["devs"]});
    refused(scene.create("outsider", &borrowed).await?, &["NotEligible: 'outsider' is not among the subjects"])?;

    let status = scene.until_state("now", "AwaitingApproval", SOON).await?;
    let mut approve = scene.decision("now", "Approve", status["digest"].as_str());
    approve["spec"]["decider"] = forged;
    refused(scene.create("outsider", &approve).await?, &["NotAnApprover: 'outsider' may not approve"])?;
    refused(scene.create("dev", &approve).await?, &["you cannot approve your own request"])?;
    // Naming another requester does not make it that user's request.
    approve["spec"]["requestRef"]["requester"] = json!("dev-2");
    refused(scene.create("dev", &approve).await?, &["you cannot approve your own request"])?;
    // With another request's UID it is a decision about that request, and admission does not change the UID.
    approve["spec"]["requestRef"]["uid"] = json!("0b9f5f6e-3f2a-4c7e-9f58-0f8f8f1b2c3d");
    refused(scene.create("lead-2", &approve).await?, &["RequestMismatch: "])?;
    approve["spec"]["requestRef"]["uid"] = Value::Null;
    approve["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "v1", "kind": "Namespace", "name": scene.name, "uid": "u", "controller": true}]);
    scene.create("lead-2", &approve).await?.ok()?;
    let decision = scene.list("adec").await?.pop().ok_or("there is no decision")?;
    let decider = &decision["spec"]["decider"];
    ensure!(decider["username"] == "lead-2" && decider["uid"] == "u-lead-2" && decider["extra"].is_null(), "the decider is {decider}");
    let uid = &stored["metadata"]["uid"];
    ensure!(
        decision["spec"]["requestRef"] == json!({"name": "now", "uid": uid, "requester": "dev"}),
        "it is about {}",
        decision["spec"]["requestRef"]
    );
    let owner = json!([{"apiVersion": "jitrbac.dev/v1alpha1", "kind": "RoleActivationRequest", "name": "now", "uid": uid}]);
    ensure!(decision["metadata"]["ownerReferences"] == owner, "it is owned by {}", decision["metadata"]["ownerReferences"]);
    let status = scene.until_state("now", "Active", SOON).await?;
    ensure!(status["approvedBy"] == "lead-2" && did(&status, "dev", "Requested"), "it was granted as {status}");
    ensure!(
        scene.can("dev", "create", "deployments").await? && !scene.can("lead-1", "create", "deployments").await?,
        "another user has the access"
    );

    // Objects of admins carry their real author, whatever their fields claimed.
    let mut spec = json!({"apiVersion": "jitrbac.dev/v1alpha1", "kind": "ApprovalPolicy", "metadata": {"name": format!("{}-authored", scene.name)}, "spec": automatic()});
    spec["metadata"]["annotations"] = json!({"jitrbac.dev/author": "lead-1"});
    scene.create(ADMIN, &spec).await?.ok()?;
    let author = ["get", "apol", &format!("{}-authored", scene.name), "-o", r"jsonpath={.metadata.annotations.jitrbac\.dev/author}"];
    let author = scene.kubectl(ADMIN, &author).await?.ok()?;
    ensure!(author == "admin", "the author is {author}");
    Ok(())
}

async fn t1_user_in_a_thousand_groups_is_granted(env: Arc<Env>) -> Outcome {
    let scene = env.scene("crowd").await?;
    let offer = scene.offer("edit", approved_by("leads", 1), eligibility("edit")).await?;
    scene.apply("crowd", &scene.request("now", &offer, "10m")).await?.ok()?;
    let stored = scene.get("rar", "now").await?.ok_or("there is no request")?;
    let groups = stored["spec"]["requester"]["groups"].clone();
    ensure!(groups == json!(["devs"]), "the stamp has the groups {groups}");
    scene.until_state("now", "AwaitingApproval", SOON).await?;
    scene.approve("lead-1", "now").await?;
    scene.until_state("now", "Active", SOON).await?;
    ensure!(scene.can("crowd", "create", "deployments").await?, "crowd may not create deployments");
    scene.create("crowd", &scene.decision("now", "Deactivate", None)).await?.ok()?;
    scene.until_state("now", "Deactivated", SOON).await?;
    ensure!(!scene.can("crowd", "create", "deployments").await?, "crowd may still create deployments");
    Ok(())
}

async fn t21_request_grants_only_in_its_namespace(env: Arc<Env>) -> Outcome {
    let scene = env.scene("here").await?;
    let there = Scene { fixture: scene.fixture.clone(), name: format!("{}-there", scene.name) };
    scene.create_namespace(&there.name).await?;
    let mut both = eligibility("edit");
    both["namespaces"] = json!({"names": [scene.name, there.name]});
    let offer = scene.offer("edit", automatic(), both).await?;
    let mut request = scene.request("now", &offer, "10m");
    request["spec"]["namespace"] = json!(there.name);
    refused(scene.create("dev", &request).await?, &["strict decoding error: unknown field \"spec.namespace\""])?;
    // A user who disables the API server's field validation gets a request without the unknown field.
    let said = scene.fixture.cluster().run_with("dev", &["create", "--validate=ignore", "-f", "-"], &request.to_string()).await?;
    said.ok()?;
    let status = scene.until_state("now", "Active", SOON).await?;
    ensure!(scene.can("dev", "create", "deployments").await? && !there.can("dev", "create", "deployments").await?, "it applies elsewhere");
    let bindings = scene.bindings().await?;
    ensure!(bindings.len() == 1 && there.bindings().await?.is_empty(), "the binding is elsewhere");
    ensure!(bindings[0]["metadata"]["uid"] == status["bindingRef"]["uid"], "the binding is another one");
    let elsewhere = scene
        .fixture
        .cluster()
        .run_with("dev", &["create", "-n", &there.name, "-f", "-"], &scene.request("later", &offer, "10m").to_string())
        .await?;
    refused(elsewhere, &["does not match the namespace"])?;
    // A decision is about a request of its own namespace as well.
    let mut revoke = scene.decision("now", "Revoke", None);
    revoke["metadata"]["namespace"] = json!(there.name);
    refused(
        scene.create("security", &revoke).await?,
        &[&format!("RequestNotFound: there is no request 'now' in namespace '{}'", there.name)],
    )?;
    ensure!(scene.can("dev", "create", "deployments").await?, "a decision from elsewhere ended it");
    Ok(())
}

async fn t46_dry_run_returns_the_result_and_stores_nothing(env: Arc<Env>) -> Outcome {
    let scene = env.scene("dry").await?;
    let free = scene.offer("edit", automatic(), eligibility("edit")).await?;
    let waits = scene.offer("waits", approved_by("leads", 1), eligibility("edit")).await?;
    let dry = async |user: &str, verb: &str, object: &Value| -> Result<control_plane::Said, Error> {
        Ok(scene.fixture.cluster().run_with(user, &[verb, "--dry-run=server", "-f", "-", "-o", "json"], &object.to_string()).await?)
    };
    // A dry run shows whether the request would be accepted, with which requester, and why not.
    let shown: Value = serde_json::from_str(&dry("dev", "apply", &scene.request("now", &free, "10m")).await?.ok()?)?;
    ensure!(shown["spec"]["requester"]["username"] == "dev" && shown["status"].is_null(), "the answer is {shown}");
    let mut generated = scene.request("", &free, "10m");
    generated["metadata"] = json!({"generateName": "inc-", "namespace": scene.name});
    let shown: Value = serde_json::from_str(&dry("dev", "create", &generated).await?.ok()?)?;
    ensure!(
        shown["metadata"]["name"].as_str().is_some_and(|name| name.starts_with("inc-") && name.len() > 4),
        "the name is {}",
        shown["metadata"]
    );
    let no = dry("outsider", "create", &scene.request("now", &free, "10m")).await?;
    refused(no, &["NotEligible: 'outsider' is not among the subjects of eligibility"])?;
    refused(
        dry("dev", "create", &scene.request("now", &free, "2h")).await?,
        &["DurationTooLong: duration 2h was requested, at most 1h is allowed"],
    )?;

    scene.apply("dev", &scene.request("real", &waits, "10m")).await?.ok()?;
    let before = scene.until_state("real", "AwaitingApproval", SOON).await?;
    let approve = scene.decision("real", "Approve", before["digest"].as_str());
    dry("lead-1", "create", &approve).await?.ok()?;
    refused(dry("outsider", "create", &approve).await?, &["NotAnApprover: 'outsider' may not approve"])?;
    dry("lead-1", "create", &scene.decision("real", "Deny", None)).await?.ok()?;
    // Another user's request is decided after all of these: none of them had an effect meanwhile.
    scene.apply("dev-2", &scene.request("after", &free, "10m")).await?.ok()?;
    scene.until_state("after", "Active", SOON).await?;
    ensure!(scene.status("real").await? == before, "the request changed");
    let (requests, decisions) = (scene.list("rar").await?, scene.list("adec").await?);
    ensure!(requests.len() == 2 && decisions.is_empty(), "there are {} requests and {} decisions", requests.len(), decisions.len());
    ensure!(scene.bindings().await?.len() == 1 && !scene.can("dev", "create", "deployments").await?, "something was granted");
    let events =
        scene.kubectl(ADMIN, &["get", "events", "-n", &scene.name, "-o", "jsonpath={.items[*].involvedObject.name}"]).await?.ok()?;
    ensure!(events.split(' ').all(|about| ["real", "after", ""].contains(&about)), "there are Events about {events}");
    Ok(())
}

async fn t51_one_concurrent_request_per_user_is_granted(env: Arc<Env>) -> Outcome {
    const EACH: usize = 25;
    let scene = env.scene("hundred").await?;
    let offers =
        [scene.offer("edit", automatic(), eligibility("edit")).await?, scene.offer("view", automatic(), eligibility("view")).await?];
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("jitrbac.dev", "v1alpha1", "RoleActivationRequest"));
    let mut writes = Vec::new();
    for user in ["dev", "dev-2"] {
        let api: Api<DynamicObject> = Api::namespaced_with(scene.fixture.cluster().client(user).await?, &scene.name, &kind);
        for offer in &offers {
            for number in 0..EACH {
                let request: DynamicObject = serde_json::from_value(scene.request(&format!("{user}-{offer}-{number}"), offer, "10m"))?;
                let api = api.clone();
                writes.push(async move { api.create(&PostParams::default(), &request).await });
            }
        }
    }
    let answers = join_all(writes).await;
    for answer in &answers {
        match answer {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.message.contains("AlreadyRequested: ") => {}
            // On a busy machine the webhook may time out. Then nothing is admitted.
            Err(kube::Error::Api(status)) if status.message.contains("failed calling webhook") => {}
            Err(error) => return Err(format!("one of them got another answer: {error}").into()),
        }
    }
    // All admitted requests are decided: one is granted, the others report it.
    let decided = wait_for_ok("every request to be decided", Duration::from_mins(1), async || {
        let all = scene.list("rar").await.map_err(|error| error.to_string())?;
        let open = all.iter().filter(|r| !matches!(r["status"]["state"].as_str(), Some("Active" | "Denied"))).count();
        if open == 0 { Ok(all) } else { Err(format!("{open} of {} are open", all.len())) }
    });
    let all = decided.await?;
    ensure!(all.len() == answers.iter().filter(|answer| answer.is_ok()).count(), "there are {} requests", all.len());
    let mut granted: BTreeMap<(String, String), usize> = BTreeMap::new();
    for request in &all {
        let (spec, status) = (&request["spec"], &request["status"]);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let key = (text(&spec["requester"]["username"]), text(&spec["eligibilityRef"]["name"]));
        let counted = granted.entry(key).or_default();
        if status["state"] == "Active" {
            *counted += 1;
        } else {
            ensure!(status["reason"] == "AlreadyRequested", "one of them is {status}");
        }
    }
    ensure!(granted.len() == 4 && granted.values().all(|many| *many == 1), "granted were {granted:?}");
    ensure!(scene.bindings().await?.len() == 4, "there are {} bindings", scene.bindings().await?.len());
    // The granted one stays active; another one has to wait for its end.
    let live =
        all.iter().find(|r| r["status"]["state"] == "Active" && r["spec"]["requester"]["username"] == "dev").ok_or("dev has none")?;
    let (name, offer) =
        (live["metadata"]["name"].as_str().unwrap_or_default(), live["spec"]["eligibilityRef"]["name"].as_str().unwrap_or_default());
    refused(
        scene.create("dev", &scene.request("another", offer, "10m")).await?,
        &[&format!("AlreadyRequested: 'dev' already has the request '{name}' (Active)")],
    )?;
    scene.create("dev", &scene.decision(name, "Deactivate", None)).await?.ok()?;
    scene.until_state(name, "Deactivated", SOON).await?;
    scene.create("dev", &scene.request("another", offer, "10m")).await?.ok()?;
    until(&scene, "another", "to be granted", |status| status["state"] == "Active").await.map(drop)
}
