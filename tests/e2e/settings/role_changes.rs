//! Roles that change during a grant, and roles whose effects outlast it.

use std::sync::Arc;

use control_plane::{ADMIN, wait_for_ok};
use serde_json::{Value, json};

use super::{comes_to, edit, set};
use crate::{
    ensure,
    env::{AGGREGATED, Env, Error, GAINING, Outcome, SOON, Scene, TestCase, approved_by, automatic, eligibility, risks},
    status_helpers::{did, refused, says, until, until_condition},
    test_cases,
};

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![
        t17_on_role_change_of_a_namespaced_role,
        t17_on_role_change_of_an_aggregated_cluster_role,
        f57_grant_ends_when_its_role_gains_a_risk,
        t39_accept_risks_is_required_for_effects_that_outlast_a_grant,
        t18_accept_risks_is_required_again_when_a_role_gains_a_risk,
    ]
}

/// Makes one grant each under a policy without the setting, with Report and with Revoke; their requests have these names.
async fn three(scene: &Scene, role: &Value) -> Outcome {
    let mut spec = eligibility("any");
    spec["roleRef"] = role.clone();
    for (name, setting) in [("silent", Value::Null), ("report", json!("Report")), ("revoke", json!("Revoke"))] {
        let policy = if setting.is_null() { automatic() } else { set(automatic(), &json!({ "onRoleChange": setting })) };
        let offer = scene.offer(name, policy, spec.clone()).await?;
        comes_to(scene, "dev", &scene.request(name, &offer, "10m"), "Active").await?;
    }
    Ok(())
}

/// Verifies the states of [`three`] after the change of the role.
async fn changed(scene: &Scene, role: &str) -> Outcome {
    let status = scene.ends_as("revoke", "Revoked", &["RoleChanged"], SOON).await?;
    let told = format!("the rules of the {role} changed, and policy '{}-revoke' sets Revoke for this case (spec.onRoleChange)", scene.name);
    ensure!(says(&status) == told && did(&status, "jit-rbac", "Revoked"), "it says {}", says(&status));
    for name in ["silent", "report"] {
        let status = until(scene, name, "to report that the role changed", |status| status["reason"] == "RoleChanged").await?;
        ensure!(status["state"] == "Active", "{name} is {}", status["state"]);
        ensure!(says(&status).ends_with("; the role's rules have changed since it was granted"), "{name} says {}", says(&status));
        ensure!(did(&status, "jit-rbac", "RoleChanged"), "{name}: the timeline does not show it: {status}");
    }
    ensure!(scene.bindings().await?.len() == 2, "there are {} bindings", scene.bindings().await?.len());
    Ok(())
}

async fn t17_on_role_change_of_a_namespaced_role(env: Arc<Env>) -> Outcome {
    let scene = env.scene("changed").await?;
    three(&scene, &json!({"kind": "Role", "name": "debug"})).await?;
    // An equivalent role is not a change.
    let alike = json!({"rules": [{"apiGroups": [""], "resources": ["pods/log", "pods"], "verbs": ["list", "get"]}]}).to_string();
    scene.kubectl(ADMIN, &["patch", "role", "debug", "-n", &scene.name, "--type=merge", "-p", &alike]).await?.ok()?;
    let wider = r#"[{"op":"add","path":"/rules/-","value":{"apiGroups":[""],"resources":["events"],"verbs":["get"]}}]"#;
    ensure!(scene.status("revoke").await?["state"] == "Active", "another order of the same rules ended a grant");
    scene.kubectl(ADMIN, &["patch", "role", "debug", "-n", &scene.name, "--type=json", "-p", wider]).await?.ok()?;
    changed(&scene, "Role 'debug'").await
}

/// A part of the aggregated ClusterRole, which may get this resource.
fn part(name: &str, resource: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name, "labels": {"part-of": AGGREGATED}},
        "rules": [{"apiGroups": [""], "resources": [resource], "verbs": ["get"]}],
    })
}

async fn t17_on_role_change_of_an_aggregated_cluster_role(env: Arc<Env>) -> Outcome {
    let scene = env.scene("grown").await?;
    let whole = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": AGGREGATED}, "rules": [],
        "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"part-of": AGGREGATED}}]},
    });
    scene.admin(&[part("part-1", "pods"), whole]).await?;
    wait_for_ok("the parts to be aggregated", SOON, async || {
        let said = scene.kubectl(ADMIN, &["get", "clusterrole", AGGREGATED, "-o", "jsonpath={.rules[*].resources}"]).await;
        let said = said.and_then(|said| Ok(said.ok()?)).map_err(|error| error.to_string())?;
        if said.contains("pods") { Ok(()) } else { Err(said) }
    })
    .await?;
    three(&scene, &json!({"kind": "ClusterRole", "name": AGGREGATED})).await?;
    // F65: a part that adds nothing changes the role's object, but not its permissions.
    let field = |name: &str| format!("jsonpath={{.status.role.{name}}}");
    let rel = format!("{}-revoke", scene.name);
    let shown = async |name: &str| Ok::<_, Error>(scene.kubectl(ADMIN, &["get", "rel", &rel, "-o", &field(name)]).await?.ok()?);
    let (rules, access) = (shown("rulesHash").await?, shown("accessHash").await?);
    let mut nothing = part("part-0", "pods");
    nothing["rules"][0]["resourceNames"] = json!(["web"]);
    scene.admin(&[nothing]).await?;
    wait_for_ok("the eligibility to show other rules", SOON, async || {
        let now = shown("rulesHash").await.map_err(|error| error.to_string())?;
        if now == rules { Err(now) } else { Ok(()) }
    })
    .await?;
    ensure!(!access.is_empty() && shown("accessHash").await? == access, "another access by a part that adds nothing");
    let status = scene.status("revoke").await?;
    ensure!(status["state"] == "Active" && status["reason"] == "Granted", "a part that adds nothing made it {status}");
    scene.admin(&[part("part-2", "events")]).await?;
    changed(&scene, &format!("ClusterRole '{AGGREGATED}'")).await
}

async fn f57_grant_ends_when_its_role_gains_a_risk(env: Arc<Env>) -> Outcome {
    let scene = env.scene("gains").await?;
    three(&scene, &json!({"kind": "Role", "name": "debug"})).await?;
    let tokens = r#"[{"op":"add","path":"/rules/-","value":{"apiGroups":[""],"resources":["serviceaccounts/token"],"verbs":["create"]}}]"#;
    scene.kubectl(ADMIN, &["patch", "role", "debug", "-n", &scene.name, "--type=json", "-p", tokens]).await?.ok()?;
    let status = scene.ends_as("silent", "Revoked", &["RoleChanged"], SOON).await?;
    let told = format!("eligibility '{}-silent' does not accept them: Role 'debug' can create serviceaccounts/token", scene.name);
    ensure!(says(&status).contains(&told), "it says {}", says(&status));
    scene.ends_as("revoke", "Revoked", &["RoleChanged"], SOON).await?;
    let status = until(&scene, "report", "to report that the role changed", |status| status["reason"] == "RoleChanged").await?;
    ensure!(status["state"] == "Active", "where the policy says Report it is {}", status["state"]);
    Ok(())
}

async fn t39_accept_risks_is_required_for_effects_that_outlast_a_grant(env: Arc<Env>) -> Outcome {
    let scene = env.scene("lasting").await?;
    let offer = scene.offer("view", automatic(), eligibility("view")).await?;
    let name = format!("{}-strong", scene.name);
    let write = async |role: &str, accepted: Value| {
        let mut spec = eligibility(role);
        spec = set(spec, &json!({"namespaces": {"names": [scene.name]}, "policyRef": {"name": offer}, "acceptRisks": accepted}));
        let object = json!({"apiVersion": "jitrbac.dev/v1alpha1", "kind": "RoleEligibility", "metadata": {"name": name}, "spec": spec});
        scene.apply(ADMIN, &object).await
    };
    let advice = "access gained this way can outlive a grant; use a role without it, or add";
    for (role, accepted, told) in [
        (
            "edit",
            json!([]),
            "RiskNotAccepted: ClusterRole 'edit' can impersonate serviceaccounts (class Impersonation), and create serviceaccounts/token (class ServiceAccountTokens): ",
        ),
        (
            "edit",
            json!(["ServiceAccountTokens"]),
            "RiskNotAccepted: ClusterRole 'edit' can impersonate serviceaccounts (class Impersonation): ",
        ),
        ("admin", risks("edit"), "RiskNotAccepted: ClusterRole 'admin' can create roles.rbac.authorization.k8s.io (class Escalation): "),
    ] {
        refused(write(role, accepted).await?, &[told, advice])?;
    }
    write("edit", risks("edit")).await?.ok()?;
    let object = format!("rel/{name}");
    until_condition(&scene, &object, "Ready", "True", "Valid").await?;
    let said = scene.kubectl("dev", &["get", &object, "-o", "jsonpath={.status.role.risks}"]).await?.ok()?;
    let shown: Value = serde_json::from_str(&said)?;
    let all = ["Impersonation", "ServiceAccountTokens", "Secrets", "WorkloadExec", "WorkloadCreate"];
    ensure!(all.iter().all(|risk| shown.as_array().is_some_and(|list| list.contains(&json!(risk)))), "its risks are {shown}");
    let table = scene.kubectl("dev", &["get", &object, "-o", "wide"]).await?.ok()?;
    ensure!(table.contains(" RISKS ") && table.contains("ServiceAccountTokens"), "no column shows the risks:\n{table}");
    // Requester and approver see them on the request.
    let status = comes_to(&scene, "dev", &scene.request("now", &name, "10m"), "Active").await?;
    ensure!(
        all.iter().all(|risk| status["role"]["risks"].as_array().is_some_and(|list| list.contains(&json!(risk)))),
        "it shows {}",
        status["role"]
    );
    let table = scene.kubectl("dev", &["get", "rar", "now", "-n", &scene.name, "-o", "wide"]).await?.ok()?;
    ensure!(table.contains(" RISKS ") && table.contains("ServiceAccountTokens"), "no column shows the risks:\n{table}");
    Ok(())
}

async fn t18_accept_risks_is_required_again_when_a_role_gains_a_risk(env: Arc<Env>) -> Outcome {
    let scene = env.scene("gaining").await?;
    let role = |rules: Value| json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": GAINING}, "rules": rules});
    let harmless = json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]});
    scene.admin(&[role(json!([harmless]))]).await?;
    let offer = scene.offer("gaining", approved_by("leads", 1), eligibility(GAINING)).await?;
    comes_to(&scene, "dev", &scene.request("before", &offer, "10m"), "AwaitingApproval").await?;
    let signs = json!({"apiGroups": ["certificates.k8s.io"], "resources": ["certificatesigningrequests/approval"], "verbs": ["update"]});
    scene.admin(&[role(json!([harmless, signs]))]).await?;

    let object = format!("rel/{offer}");
    let told = format!(
        "ClusterRole '{GAINING}' can update certificatesigningrequests/approval.certificates.k8s.io (class Certificates): access gained this way can outlive a grant"
    );
    let message = until_condition(&scene, &object, "Ready", "False", "RiskNotAccepted").await?;
    ensure!(message.starts_with(&told), "it says {message}");
    let table = scene.kubectl("dev", &["get", &object]).await?.ok()?;
    ensure!(table.contains(" RiskNotAccepted "), "no column shows it:\n{table}");
    let said = scene.create("dev-2", &scene.request("after", &offer, "10m")).await?;
    refused(said, &[&format!("RiskNotAccepted: eligibility '{offer}' cannot be used: {told}")])?;
    // A pending request waits for the author now, and no approval helps.
    let status = scene.until_state("before", "Pending", SOON).await?;
    ensure!(status["reason"] == "RiskNotAccepted", "it waits for {}", status["reason"]);
    let digest = status["digest"].as_str().map(str::to_owned);
    let approve = scene.create("lead-1", &scene.decision("before", "Approve", digest.as_deref())).await?;
    refused(approve, &["RequestNotReady: request 'before' cannot be approved now: "])?;
    edit(&scene, "roleeligibility", &offer, &json!({"acceptRisks": ["Certificates"]})).await?;
    until_condition(&scene, &object, "Ready", "True", "Valid").await?;
    scene.until_state("before", "AwaitingApproval", SOON).await?;
    scene.approve("lead-1", "before").await?;
    let status = scene.until_state("before", "Active", SOON).await?;
    ensure!(status["role"]["risks"] == json!(["Certificates"]), "it shows {}", status["role"]);
    Ok(())
}
