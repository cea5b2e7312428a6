//! An author's check covers the namespaces and the policy of its time, and must be repeated when they change.

use std::sync::Arc;

use control_plane::ADMIN;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::{
    RACER, TENANT,
    denied_writes::{bind, eligible, may_write},
    matrix::cluster_object,
};
use crate::{
    ensure,
    env::{Env, Outcome, SOON, Scene, approved_by, automatic},
    status_helpers::{refused, until_condition},
};

pub async fn f53_recreated_namespace_requires_a_new_author_check(env: Arc<Env>) -> Outcome {
    let scene = env.scene("recreated").await?;
    let who = TENANT;
    may_write(&scene, who).await?;
    let (name, tenant) = (format!("{}-offer", scene.name), format!("{}-tenant", scene.name));
    scene.create_namespace(&tenant).await?;
    bind(&scene, who, &tenant, true).await?;
    scene.admin(&[cluster_object("ApprovalPolicy", &name, &json!({"spec": automatic()}))]).await?;
    scene.apply(who, &eligible(&name, &name, &json!({"names": [tenant]}))).await?.ok()?;
    let there = Scene { fixture: scene.fixture.clone(), name: tenant.clone() };
    until_condition(&scene, &format!("roleeligibility/{name}"), "Ready", "True", "Valid").await?;
    there.apply("dev", &there.request("before", &name, "10m")).await?.ok()?;
    there.until_state("before", "Active", SOON).await?;

    // Now it belongs to another tenant, and the author may bind nothing in it.
    scene.kubectl(ADMIN, &["delete", "namespace", &tenant, "--wait", "--timeout=60s"]).await?.ok()?;
    scene.create_namespace(&tenant).await?;
    let why = ["AuthorLacksBind: ", "was deleted and recreated", "must be written again"];
    refused(there.apply("dev", &there.request("after", &name, "10m")).await?, &why)?;
    until_condition(&scene, &format!("roleeligibility/{name}"), "Ready", "False", "AuthorLacksBind").await?;
    let describe = |text: &str| format!(r#"{{"spec":{{"description":"{text}"}}}}"#);
    let change = async |who: &str, text: &str| scene.kubectl(who, &["patch", "rel", &name, "--type=merge", "-p", &describe(text)]).await;
    change(who, "mine").await?.refused()?;
    // The record of the author cannot be removed either.
    let off = ["annotate", "rel", name.as_str(), "jitrbac.dev/author-check-"];
    scene.kubectl(who, &off).await?.ok()?;
    refused(there.apply("dev", &there.request("after", &name, "10m")).await?, &why)?;
    change(ADMIN, "looked through").await?.ok()?;
    until_condition(&scene, &format!("roleeligibility/{name}"), "Ready", "True", "Valid").await?;
    there.apply("dev", &there.request("after", &name, "10m")).await?.ok()?;
    there.until_state("after", "Active", SOON).await?;
    scene.kubectl(ADMIN, &["delete", "namespace", &tenant, "--wait=false"]).await?.ok()?;
    Ok(())
}

/// Two concurrent writes: an admin's eligibility under a policy, and a change that makes that policy automatic, by a user who may bind
/// nothing.
pub async fn f76_concurrent_writes_make_nobody_eligible(env: Arc<Env>) -> Outcome {
    const ROUNDS: usize = 24;
    let scene = env.scene("cross").await?;
    let who = RACER;
    may_write(&scene, who).await?;
    let (theirs, admins) = (scene.fixture.cluster().client(who).await?, scene.fixture.cluster().client(ADMIN).await?);
    let api = |client: &kube::Client, kind: &str| -> Api<DynamicObject> {
        let gvk = kube::core::GroupVersionKind::gvk("jitrbac.dev", "v1alpha1", kind);
        Api::all_with(
            client.clone(),
            &kube::core::ApiResource::from_gvk_with_plural(
                &gvk,
                if kind == "ApprovalPolicy" { "approvalpolicies" } else { "roleeligibilities" },
            ),
        )
    };
    let object = |value: &Value| serde_json::from_value::<DynamicObject>(value.clone());
    let mut crossed = 0;
    for round in 0..ROUNDS {
        let name = format!("{}-{round}", scene.name);
        scene.admin(&[cluster_object("ApprovalPolicy", &name, &json!({"spec": approved_by("leads", 1)}))]).await?;
        let loosen = json!({"spec": {"approval": {"automatic": {}, "stages": null}}});
        let eligible = object(&eligible(&name, &name, &json!({"names": [scene.name]})))?;
        let (policies, eligibilities) = (api(&theirs, "ApprovalPolicy"), api(&admins, "RoleEligibility"));
        let (params, merge) = (PatchParams::default(), Patch::Merge(&loosen));
        let create = PostParams::default();
        let (loosened, made) = tokio::join!(policies.patch(&name, &params, &merge), eligibilities.create(&create, &eligible));
        let (Ok(policy), Ok(made)) = (loosened, made) else { continue };
        let check = made.metadata.annotations.as_ref().and_then(|all| all.get("jitrbac.dev/author-check")).ok_or("no check is recorded")?;
        let seen = serde_json::from_str::<Value>(check)?["policy"]["generation"].as_i64();
        if seen == policy.metadata.generation {
            // The admin's check read the policy as it was before: that is the admin's choice.
            continue;
        }
        crossed += 1;
        let request = scene.request(&format!("round-{round}"), &name, "10m");
        refused(scene.apply("dev", &request).await?, &["AuthorLacksBind: ", "were written at the same time"])?;
    }
    println!("{crossed} of {ROUNDS} rounds crossed");
    ensure!(scene.bindings().await?.is_empty() && !scene.can("dev", "list", "pods").await?, "there is a grant");
    Ok(())
}
