//! Writes of authors with and without the right to bind: the stored objects after each denial.

use std::sync::Arc;

use control_plane::ADMIN;
use serde_json::{Value, json};

use super::{
    ESCALATOR, LOOSENER,
    matrix::{binding, cluster_object, user},
};
use crate::{
    ensure,
    env::{Env, Error, Outcome, SOON, Scene, approved_by, automatic, eligibility},
};

/// Lets `who` write eligibilities and policies in this scene; the right to bind roles is given separately.
pub async fn may_write(scene: &Scene, who: &str) -> Outcome {
    let bind = json!({"rules": [{
        "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"], "resourceNames": ["view"], "verbs": ["bind"],
    }]});
    let name = format!("{}-bind", scene.name);
    scene
        .admin(&[
            binding(&format!("{}-{who}", scene.name), None, "jit-rbac-admin", &[user(who)]),
            cluster_object("ClusterRole", &name, &bind),
        ])
        .await
}

/// Adds or removes the right to bind `view` in a namespace.
pub async fn bind(scene: &Scene, who: &str, namespace: &str, give: bool) -> Outcome {
    let name = format!("{}-bind", scene.name);
    if give {
        return scene.admin(&[binding(&name, Some(namespace), &name, &[user(who)])]).await;
    }
    scene.kubectl(ADMIN, &["delete", "rolebinding", &name, "-n", namespace]).await?.ok()?;
    Ok(())
}

pub fn eligible(name: &str, policy: &str, namespaces: &Value) -> Value {
    let mut spec = eligibility("view");
    spec["namespaces"] = namespaces.clone();
    spec["policyRef"] = json!({"name": policy});
    cluster_object("RoleEligibility", name, &json!({"spec": spec}))
}

pub async fn t15_denied_writes_change_nothing(env: Arc<Env>) -> Outcome {
    let scene = env.scene("escalate").await?;
    let who = ESCALATOR;
    may_write(&scene, who).await?;
    let name = format!("{}-mine", scene.name);
    let other = format!("{}-other", scene.name);
    scene.create_namespace(&other).await?;
    let mut mine = eligible(&name, "any", &json!({"names": [scene.name]}));
    mine["spec"]["subjects"] = json!([{"kind": "User", "name": who}]);

    let refused = scene.apply(who, &mine).await?.refused()?;
    ensure!(refused.contains(&format!("'{who}' may not make ")), "it says {refused}");
    ensure!(refused.contains(&format!("in namespace '{}'", scene.name)), "it does not say where: {refused}");
    ensure!(scene.get("rel", &name).await?.is_none(), "it was stored");

    bind(&scene, who, &scene.name, true).await?;
    scene.apply(who, &mine).await?.ok()?;
    let first = scene.get("rel", &name).await?.ok_or("it no longer exists")?;
    ensure!(first["metadata"]["annotations"]["jitrbac.dev/author"] == who, "the author is {}", first["metadata"]);
    let mut wider = mine.clone();
    wider["spec"]["namespaces"] = json!({"names": [scene.name, other]});
    let refused = scene.apply(who, &wider).await?.refused()?;
    ensure!(refused.contains(&format!("in namespace '{other}'")), "it does not say where: {refused}");

    bind(&scene, who, &scene.name, false).await?;
    let mut longer = mine.clone();
    longer["spec"]["maxDuration"] = json!("2h");
    let refused = scene.apply(who, &longer).await?.refused()?;
    ensure!(refused.contains("the verb bind"), "it says {refused}");
    scene.kubectl(who, &["label", "rel", &name, "by=me"]).await?.ok()?;
    let now = scene.get("rel", &name).await?.ok_or("it no longer exists")?;
    ensure!(now["spec"] == first["spec"] && now["metadata"]["labels"]["by"] == "me", "it is {now}");
    Ok(())
}

pub async fn t16_policy_change_requires_the_right_to_bind_its_roles(env: Arc<Env>) -> Outcome {
    let scene = env.scene("loosen").await?;
    let who = LOOSENER;
    may_write(&scene, who).await?;
    let policy = |name: &str, spec: &Value| cluster_object("ApprovalPolicy", name, &json!({"spec": spec}));
    let (strict, loose) = (approved_by("leads", 2), automatic());
    let (name, waiting) = (format!("{}-strict", scene.name), format!("{}-awaited", scene.name));
    let other = format!("{}-other", scene.name);
    scene.create_namespace(&other).await?;
    let at = json!({"names": [scene.name]});
    scene.admin(&[policy(&name, &strict), eligible(&name, &name, &at), eligible(&waiting, &waiting, &at)]).await?;
    let says = async |answer: Result<control_plane::Said, Error>, policy: &str, place: &str| -> Outcome {
        let refused = answer?.refused()?;
        for part in [
            &format!("AuthorLacksBind: '{who}' may not write policy"),
            policy,
            "ClusterRole 'view'",
            place,
            "verb administer on approvalpolicies.jitrbac.dev",
        ] {
            ensure!(refused.contains(part), "it does not say {part}: {refused}");
        }
        Ok(())
    };
    let here = format!("in namespace '{}'", scene.name);
    says(scene.apply(who, &policy(&name, &loose)).await, &name, &here).await?;
    // Also where it only becomes stricter, which cannot be verified; and under a name that an eligibility references before it exists.
    says(scene.apply(who, &policy(&name, &approved_by("leads", 3))).await, &name, &here).await?;
    says(scene.apply(who, &policy(&waiting, &loose)).await, &waiting, &here).await?;
    scene.kubectl(who, &["delete", "apol", &name]).await?.ok()?;
    says(scene.apply(who, &policy(&name, &loose)).await, &name, &here).await?;
    ensure!(scene.get("apol", &name).await?.is_none(), "it was stored");

    bind(&scene, who, &scene.name, true).await?;
    scene.apply(who, &policy(&name, &loose)).await?.ok()?;
    // An eligibility counts even if the operator may not have observed it yet.
    scene.admin(&[eligible(&format!("{name}-second"), &name, &json!({"names": [other]}))]).await?;
    says(scene.apply(who, &policy(&name, &strict)).await, &format!("eligibility '{name}-second'"), &format!("in namespace '{other}'"))
        .await?;
    scene.kubectl(who, &["label", "apol", &name, "by=me"]).await?.ok()?;
    // A selector may match any namespace.
    scene.admin(&[eligible(&format!("{name}-second"), &name, &json!({"selector": {"matchLabels": {"scene": scene.name}}}))]).await?;
    says(scene.apply(who, &policy(&name, &strict)).await, &name, "by a selector").await?;

    let administer = json!({"rules": [{"apiGroups": ["jitrbac.dev"], "resources": ["approvalpolicies"], "resourceNames": [name], "verbs": ["administer"]}]});
    let role = format!("{}-administer", scene.name);
    scene.admin(&[cluster_object("ClusterRole", &role, &administer), binding(&role, None, &role, &[user(who)])]).await?;
    scene.apply(who, &policy(&name, &strict)).await?.ok()?;
    scene.apply(who, &policy(&waiting, &loose)).await?.ok()?;
    bind(&scene, who, &scene.name, false).await?;
    says(scene.apply(who, &policy(&waiting, &strict)).await, &waiting, &here).await
}

/// Generators that know RBAC's objects write its API group; a second apply changes nothing.
pub async fn f67_eligibility_accepts_the_rbac_api_group(env: Arc<Env>) -> Outcome {
    let scene = env.scene("api-group").await?;
    let mut spec = eligibility("view");
    spec["roleRef"]["apiGroup"] = json!("rbac.authorization.k8s.io");
    spec["subjects"][0]["apiGroup"] = json!("rbac.authorization.k8s.io");
    let offer = scene.offer("rbac", automatic(), spec.clone()).await?;
    scene.apply("dev", &scene.request("now", &offer, "10m")).await?.ok()?;
    scene.until_state("now", "Active", SOON).await?;
    ensure!(scene.bindings().await?.len() == 1, "one binding");

    let stored = scene.get("rel", &offer).await?.ok_or("it is stored")?;
    ensure!(stored["spec"]["roleRef"]["apiGroup"] == "rbac.authorization.k8s.io", "{}", stored["spec"]);
    spec["policyRef"] = stored["spec"]["policyRef"].clone();
    spec["namespaces"] = stored["spec"]["namespaces"].clone();
    let again = cluster_object("RoleEligibility", &offer, &json!({"spec": spec}));
    let args = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
    scene.fixture.cluster().run_with(ADMIN, &args, &again.to_string()).await?.ok()?;
    ensure!(scene.status("now").await?["state"] == "Active", "applied again, it ends the grant");

    spec["roleRef"]["apiGroup"] = json!("apps");
    let other = cluster_object("RoleEligibility", &format!("{offer}-other"), &json!({"spec": spec}));
    let said = scene.apply(ADMIN, &other).await?.refused()?;
    ensure!(said.contains("roleRef.apiGroup"), "it says {said}");
    Ok(())
}
