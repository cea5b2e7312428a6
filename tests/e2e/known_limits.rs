//! Known limits: access that remains after a RoleBinding is removed, such as copies and tokens made before, other authorizers, and schemas
//! that were open for a while. The countermeasures that the documentation shows are tested as they are printed there.

use std::{path::Path, sync::Arc};

use control_plane::{ADMIN, wait_for_ok};
use serde_json::{Value, json};

use crate::{
    bindings, ensure,
    env::{Env, Outcome, SOON, Scene, Setting, TestCase, automatic, eligibility},
    status_helpers::refused,
    test_cases,
};

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![
        t19_t39_documented_samples_prevent_persistent_access,
        t48_rights_of_another_authorizer_count_for_authors_and_do_not_end,
        t49_objects_admitted_by_an_open_schema_are_checked_again,
    ]
}

/// Applies a sample of the documentation and waits until it denies the attempt of `probe`.
async fn sample(scene: &Scene, file: &str, probe: &[&str], user: &str) -> Outcome {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/samples").join(file);
    scene.kubectl(ADMIN, &["apply", "-f", &path.display().to_string()]).await?.ok()?;
    let in_force = wait_for_ok("the sample to be in force", SOON, async || match scene.kubectl(user, probe).await {
        Ok(said) if said.status.success() => Err("the sample allows what it must deny".to_owned()),
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    });
    Ok(in_force.await?)
}

async fn t19_t39_documented_samples_prevent_persistent_access(env: Arc<Env>) -> Outcome {
    let (fixture, _permit) = env.own_fixture(Value::Null).await?;
    let scene = env.scene_on(&fixture, "keeps").await?;
    let namespace = scene.name.as_str();
    let offer = scene.offer("admin", automatic(), eligibility("admin")).await?;
    scene.kubectl(ADMIN, &["create", "serviceaccount", "bot", "-n", namespace]).await?.ok()?;
    scene.apply("dev", &scene.request("now", &offer, "10m")).await?.ok()?;
    scene.until_state("now", "Active", SOON).await?;
    // Without them, as the documentation warns: the user binds themselves permanently, and creates a token that outlives the grant.
    let copy = ["create", "rolebinding", "copy", "--clusterrole=admin", "--user=dev", "-n", namespace];
    let token = ["create", "token", "bot", "--duration=24h", "-n", namespace];
    scene.kubectl("dev", &copy).await?.ok()?;
    scene.kubectl("dev", &token).await?.ok()?;
    scene.kubectl(ADMIN, &["delete", "rolebinding", "copy", "-n", namespace]).await?.ok()?;
    let dry: Vec<&str> = copy.iter().copied().chain(["--dry-run=server"]).collect();
    sample(&scene, "no-copies-of-grants.yaml", &dry, "dev").await?;
    refused(scene.kubectl("dev", &copy).await?, &["binding a role requires the verb bind on it"])?;
    // The proof of a guard does not accept the denial of another policy: a probe is still denied by its own policy.
    let probe = bindings::probe(namespace, "admin");
    let asked = scene.fixture.cluster().run_with("dev", &["create", "--dry-run=server", "-f", "-"], &probe.to_string()).await?;
    refused(asked, &["the label jitrbac.dev/probe asks the policy jit-rbac-bindings to refuse"])?;
    refused(scene.create("dev", &probe).await?, &["denied request"])?;
    sample(&scene, "short-tokens.yaml", &token, "dev").await?;
    refused(scene.kubectl("dev", &token).await?, &["a token of a ServiceAccount may be valid for at most ten minutes"])?;
    scene.kubectl("dev", &["create", "token", "bot", "--duration=10m", "-n", namespace]).await?.ok()?;
    // They do not affect the product: grants are made and end as before.
    scene.create("dev", &scene.decision("now", "Deactivate", None)).await?.ok()?;
    scene.until_state("now", "Deactivated", SOON).await?;
    ensure!(!scene.can("dev", "create", "deployments").await?, "dev kept access");
    scene.apply("dev", &scene.request("again", &offer, "10m")).await?.ok()?;
    scene.until_state("again", "Active", SOON).await.map(drop)
}

async fn t48_rights_of_another_authorizer_count_for_authors_and_do_not_end(env: Arc<Env>) -> Outcome {
    // ABAC in addition to RBAC (the flag adds to the existing one): `outsider` may do everything and `security` write the product's kinds
    // only, and no Role contains it.
    let line = |user: &str, group: &str| {
        let spec = json!({"user": user, "namespace": "*", "resource": "*", "apiGroup": group});
        json!({"apiVersion": "abac.authorization.kubernetes.io/v1beta1", "kind": "Policy", "spec": spec}).to_string()
    };
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), format!("{}\n{}\n", line("outsider", "*"), line("security", "jitrbac.dev")))?;
    let flags = vec!["--authorization-mode=ABAC".to_owned(), format!("--authorization-policy-file={}", file.path().display())];
    let (fixture, _permit) = env.fixture_with(Setting { apiserver_flags: flags, ..Setting::default() }).await?;
    let scene = env.scene_on(&fixture, "abac").await?;
    let policy = json!({"apiVersion": "jitrbac.dev/v1alpha1", "kind": "ApprovalPolicy", "metadata": {"name": "abac"}, "spec": automatic()});
    let mut spec = eligibility("view");
    spec["namespaces"] = json!({"names": [scene.name]});
    spec["policyRef"] = json!({"name": "abac"});
    spec["subjects"] = json!([{"kind": "User", "name": "outsider"}, {"kind": "User", "name": "dev"}]);
    let eligibility = json!({"apiVersion": "jitrbac.dev/v1alpha1", "kind": "RoleEligibility", "metadata": {"name": "abac"}, "spec": spec});
    // The access review covers all authorizers, not only RBAC's objects.
    scene.apply("outsider", &policy).await?.ok()?;
    refused(scene.apply("security", &eligibility).await?, &["bind"])?;
    scene.apply("outsider", &eligibility).await?.ok()?;
    for user in ["outsider", "dev"] {
        scene.write(user, "rar", &scene.request(user, "abac", "10m")).await?;
        scene.until_state(user, "Active", SOON).await?;
        scene.write(user, "adec", &scene.decision(user, "Deactivate", None)).await?;
        scene.until_state(user, "Deactivated", SOON).await?;
    }
    // The product's grant is removed; access from other sources stays, as the documentation warns.
    ensure!(!scene.can("dev", "get", "pods").await?, "dev kept what was granted");
    ensure!(scene.can("outsider", "get", "pods").await?, "the other authorizer's rights ended too");
    Ok(())
}

async fn t49_objects_admitted_by_an_open_schema_are_checked_again(env: Arc<Env>) -> Outcome {
    let (fixture, _permit) = env.own_fixture(Value::Null).await?;
    let scene = env.scene_on(&fixture, "schema").await?;
    let offer = scene.offer("view", automatic(), eligibility("view")).await?;
    scene.apply("dev", &scene.request("before", &offer, "10m")).await?.ok()?;
    scene.until_state("before", "Active", SOON).await?;
    scene.create("dev", &scene.decision("before", "Deactivate", None)).await?.ok()?;
    scene.until_state("before", "Deactivated", SOON).await?;
    // All admission guards are deleted, a policy without approvers is stored, and the guards are restored.
    let saved = ["mutatingwebhookconfiguration", "validatingwebhookconfiguration"];
    let mut configurations = Vec::new();
    for kind in saved {
        let said = scene.kubectl(ADMIN, &["get", kind, "jit-rbac", "-o", "json"]).await?.ok()?;
        let mut object: Value = serde_json::from_str(&said)?;
        object["metadata"] =
            json!({"name": "jit-rbac", "labels": object["metadata"]["labels"], "annotations": object["metadata"]["annotations"]});
        configurations.push(object);
        scene.kubectl(ADMIN, &["delete", kind, "jit-rbac"]).await?.ok()?;
    }
    let crd = "approvalpolicies.jitrbac.dev";
    let stored: Value = serde_json::from_str(&scene.kubectl(ADMIN, &["get", "crd", crd, "-o", "json"]).await?.ok()?)?;
    let schema = stored["spec"]["versions"][0]["schema"].clone();
    let patch = |schema: &Value| json!([{"op": "replace", "path": "/spec/versions/0/schema", "value": schema}]).to_string();
    let open = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    scene.kubectl(ADMIN, &["patch", "crd", crd, "--type=json", "-p", &patch(&open)]).await?.ok()?;
    // Empty stages must never mean that no approval is needed (T6).
    let mut empty =
        json!({"apiVersion": "jitrbac.dev/v1alpha1", "kind": "ApprovalPolicy", "metadata": {"name": offer}, "spec": automatic()});
    empty["metadata"]["annotations"] = json!({"jitrbac.dev/author": ADMIN});
    empty["spec"]["approval"] = json!({"stages": []});
    let let_in = wait_for_ok("the open schema to admit it", SOON, async || {
        let args = ["apply", "--server-side", "--force-conflicts", "--validate=ignore", "-f", "-"];
        let said = scene.fixture.cluster().run_with(ADMIN, &args, &empty.to_string()).await.map_err(|error| error.to_string())?;
        said.ok().map_err(|error| error.to_string())?;
        let stored =
            scene.kubectl(ADMIN, &["get", "apol", &offer, "-o", "jsonpath={.spec.approval}"]).await.map_err(|error| error.to_string())?;
        let stored = stored.ok().map_err(|error| error.to_string())?;
        if stored.contains("automatic") { Err(stored) } else { Ok(()) }
    });
    let_in.await?;
    scene.kubectl(ADMIN, &["patch", "crd", crd, "--type=json", "-p", &patch(&schema)]).await?.ok()?;
    scene.admin(&configurations).await?;
    // Unchanged fields are not validated when another field changes (KEP-4008); the rules evaluate all of the object, whenever it was
    // stored.
    let refusal = wait_for_ok("the denial", SOON, async || {
        let said = scene.apply("dev", &scene.request("after", &offer, "10m")).await.map_err(|error| error.to_string())?;
        match said.refused() {
            Ok(why) if why.contains("PolicyNotReady: ") || why.contains("must be given") || why.contains("Unreadable") => Ok(why),
            Ok(why) => Err(why),
            Err(error) => Err(error.to_string()),
        }
    });
    refusal.await?;
    ensure!(scene.bindings().await?.is_empty(), "something was granted");
    Ok(())
}
