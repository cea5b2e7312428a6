//! What the floor itself stands on.

use control_plane::ADMIN;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use super::{
    Floor, Outcome,
    plane::{Answer, HOOKS, NAMESPACE, OPERATOR, POLICIES, RELEASE, STAR, WEBHOOK, passes, probe, refused},
};

const CONFIGURATIONS: [&str; 2] = ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"];
const CRDS: [&str; 4] = ["roleeligibilities", "approvalpolicies", "roleactivationrequests", "activationdecisions"];
const SAID: &str = "requires the verb administer on guards.jitrbac.dev in the whole cluster";

fn replace(path: &str, value: &Value) -> Value {
    json!({"op": "add", "path": path, "value": value})
}

pub async fn t41_guards_are_changed_by_administrators_only(floor: &Floor) -> Outcome {
    let _alone = floor.alone().await;
    for kind in CONFIGURATIONS {
        let patch = async |patch: Value| floor.json_patch(HOOKS, kind, "", RELEASE, patch).await;
        for change in [
            replace("/webhooks", &json!([])),
            replace("/webhooks/0/failurePolicy", &json!("Ignore")),
            replace("/webhooks/1/namespaceSelector", &json!({"matchLabels": {"a": "b"}})),
            replace("/webhooks/0/matchConditions/-", &json!({"name": "never", "expression": "false"})),
            replace("/webhooks/0/clientConfig/url", &json!("https://127.0.0.1:2/mutate")),
            replace("/webhooks/0/clientConfig/caBundle", &ca_bundle()),
            replace("/metadata/labels/a", &json!("b")),
        ] {
            let what = format!("{kind}: {change}");
            refused(&what, patch(json!([change])).await, "guards", SAID)?;
        }
        refused("its deletion", floor.delete(HOOKS, kind, "", RELEASE, &DeleteParams::default()).await, "guards", SAID)?;
        refused("the deletion of all", floor.delete_all(HOOKS, kind, "").await, "guards", SAID)?;
        passes("a write that changes nothing", floor.write_back(HOOKS, kind, "", RELEASE).await)?;
        passes("a change by the admin", floor.patch(ADMIN, kind, "", RELEASE, json!({"metadata": {"labels": {"by": "admin"}}})).await)?;
        let other = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": "other"}});
        passes("somebody else's", floor.create(HOOKS, &other).await)?;
        passes("somebody else's deletion", floor.delete(HOOKS, kind, "", "other", &DeleteParams::default()).await)?;
    }
    for plural in CRDS {
        let (kind, crd) = ("CustomResourceDefinition", format!("{plural}.jitrbac.dev"));
        refused(&crd, floor.delete(HOOKS, kind, "", &crd, &DeleteParams::default()).await, "guards", SAID)?;
        let label = json!({"metadata": {"labels": {"a": "b"}}});
        refused(&crd, floor.patch(HOOKS, kind, "", &crd, label).await, "guards", SAID)?;
        let open = json!([replace("/spec/versions/0/schema/openAPIV3Schema/x-kubernetes-preserve-unknown-fields", &json!(true))]);
        refused(&crd, floor.json_patch(HOOKS, kind, "", &crd, open).await, "guards", SAID)?;
        let status = json!({"status": {"storedVersions": ["v1alpha1", "v9"]}});
        refused("its status", floor.patch_status(HOOKS, kind, "", &crd, status).await, "guards", SAID)?;
        passes("a write that changes nothing", floor.write_back(HOOKS, kind, "", &crd).await)?;
    }
    refused("all CRDs", floor.delete_all(HOOKS, "CustomResourceDefinition", "").await, "guards", SAID)
}

/// Any certificate will do for the API server.
fn ca_bundle() -> Value {
    let certificate = rcgen::generate_simple_self_signed(["a.invalid".to_owned()]).expect("a certificate");
    json!(base64(certificate.cert.pem().as_bytes()))
}

fn base64(bytes: &[u8]) -> String {
    serde_json::to_value(k8s_openapi::ByteString(bytes.to_vec())).ok().and_then(|text| text.as_str().map(str::to_owned)).expect("base64")
}

/// Writes a CA bundle into both webhooks of a configuration, as the webhook does.
pub async fn write_bundles(floor: &Floor, kind: &str) -> Answer {
    let bundle = ca_bundle();
    let paths = [0, 1].map(|number| replace(&format!("/webhooks/{number}/clientConfig/caBundle"), &bundle));
    floor.json_patch(WEBHOOK, kind, "", RELEASE, json!(paths)).await
}

pub async fn t41_the_webhook_writes_its_ca_bundle_and_nothing_else(floor: &Floor) -> Outcome {
    let _alone = floor.alone().await;
    for kind in CONFIGURATIONS {
        let patch = async |patch: Value| floor.json_patch(WEBHOOK, kind, "", RELEASE, patch).await;
        let bundle = replace("/webhooks/0/clientConfig/caBundle", &ca_bundle());
        for change in [
            json!([bundle, replace("/webhooks/0/timeoutSeconds", &json!(1))]),
            json!([bundle, replace("/metadata/labels/a", &json!("b"))]),
            json!([replace("/webhooks/0/clientConfig/url", &json!("https://127.0.0.1:2/mutate"))]),
            json!([replace("/webhooks/0/failurePolicy", &json!("Ignore"))]),
            json!([replace("/webhooks/0/objectSelector", &json!({"matchLabels": {"a": "b"}}))]),
            json!([replace("/webhooks/0/rules/0/operations", &json!(["CREATE"]))]),
            json!([replace("/metadata/finalizers", &json!(["a.example/b"]))]),
            json!([{"op": "remove", "path": "/webhooks/1"}]),
        ] {
            let what = change.to_string();
            refused(&what, patch(change).await, "guards", SAID)?;
        }
        passes("its CA bundle by JSON patch", write_bundles(floor, kind).await)?;
        let mut whole = passes("the configuration", floor.get(kind, "", RELEASE).await)?;
        for webhook in whole["webhooks"].as_array_mut().into_iter().flatten() {
            webhook["clientConfig"]["caBundle"] = ca_bundle();
        }
        passes("its CA bundle by update", floor.replace(WEBHOOK, kind, &whole).await)?;
    }
    Ok(())
}

pub async fn t41_every_policy_refuses_its_probe_to_everybody(floor: &Floor) -> Outcome {
    for policy in POLICIES {
        let said = format!("asks the policy {RELEASE}-{policy} to refuse");
        // RBAC lets nobody but these near a policy's objects.
        let others = match policy {
            "guards" => vec![ADMIN, HOOKS],
            "namespaces" => vec![ADMIN],
            _ => vec![ADMIN, OPERATOR],
        };
        for who in others {
            let mut object = probe(policy);
            if who == OPERATOR && policy == "bindings" {
                object["metadata"]["labels"]["jitrbac.dev/managed"] = json!("true");
            }
            refused(&format!("{policy} by {who}"), floor.dry_create(who, &object).await, policy, &said)?;
        }
    }
    // The label of another policy is no business of this one.
    let mut object = probe("requests");
    object["metadata"]["labels"] = json!({"jitrbac.dev/probe": "jit-rbac-bindings"});
    passes("another policy's label", floor.dry_create(ADMIN, &object).await).map(drop)
}

pub async fn t44_the_secret_and_no_other_is_the_webhooks(floor: &Floor) -> Outcome {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "other", "namespace": NAMESPACE}});
    passes("another Secret", floor.create(ADMIN, &secret).await)?;
    let mut own = passes("the Secret", floor.get("Secret", NAMESPACE, "jit-rbac-webhook-tls").await)?;
    own["data"] = json!({"ca.crt": base64(b"a")});
    passes("an update of its own", floor.replace(WEBHOOK, "Secret", &own).await)?;
    let mut other = passes("the other", floor.get("Secret", NAMESPACE, "other").await)?;
    other["data"] = own["data"].clone();
    for (who, object) in [(WEBHOOK, &other), (OPERATOR, &own), (STAR, &own)] {
        match floor.replace(who, "Secret", object).await {
            Err((403, _)) => {}
            answer => return Err(format!("{who} should not write {}: {answer:?}", object["metadata"]["name"])),
        }
    }
    Ok(())
}
