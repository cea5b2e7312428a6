//! The objects that make up the admission guards: who may change them.

use control_plane::ADMIN;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use super::{
    Fixture, Outcome,
    fixture::{Answer, HOOKS, NAMESPACE, OPERATOR, POLICIES, RELEASE, STAR, WEBHOOK, passes, probe, refused},
};

const CONFIGURATIONS: [&str; 2] = ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"];
const CRDS: [&str; 4] = ["roleeligibilities", "approvalpolicies", "roleactivationrequests", "activationdecisions"];
const SAID: &str = "requires the verb administer on guards.jitrbac.dev in the whole cluster";

fn replace(path: &str, value: &Value) -> Value {
    json!({"op": "add", "path": path, "value": value})
}

pub async fn t41_only_administrators_change_guards(fixture: &Fixture) -> Outcome {
    let _alone = fixture.alone().await;
    for kind in CONFIGURATIONS {
        let patch = async |patch: Value| fixture.json_patch(HOOKS, kind, "", RELEASE, patch).await;
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
        refused("its deletion", fixture.delete(HOOKS, kind, "", RELEASE, &DeleteParams::default()).await, "guards", SAID)?;
        refused("the deletion of all", fixture.delete_all(HOOKS, kind, "").await, "guards", SAID)?;
        passes("a write that changes nothing", fixture.write_back(HOOKS, kind, "", RELEASE).await)?;
        passes("a change by the admin", fixture.patch(ADMIN, kind, "", RELEASE, json!({"metadata": {"labels": {"by": "admin"}}})).await)?;
        let other = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": "other"}});
        passes("another configuration", fixture.create(HOOKS, &other).await)?;
        passes("the deletion of another configuration", fixture.delete(HOOKS, kind, "", "other", &DeleteParams::default()).await)?;
    }
    for plural in CRDS {
        let (kind, crd) = ("CustomResourceDefinition", format!("{plural}.jitrbac.dev"));
        refused(&crd, fixture.delete(HOOKS, kind, "", &crd, &DeleteParams::default()).await, "guards", SAID)?;
        let label = json!({"metadata": {"labels": {"a": "b"}}});
        refused(&crd, fixture.patch(HOOKS, kind, "", &crd, label).await, "guards", SAID)?;
        let open = json!([replace("/spec/versions/0/schema/openAPIV3Schema/x-kubernetes-preserve-unknown-fields", &json!(true))]);
        refused(&crd, fixture.json_patch(HOOKS, kind, "", &crd, open).await, "guards", SAID)?;
        let status = json!({"status": {"storedVersions": ["v1alpha1", "v9"]}});
        refused("its status", fixture.patch_status(HOOKS, kind, "", &crd, status).await, "guards", SAID)?;
        passes("a write that changes nothing", fixture.write_back(HOOKS, kind, "", &crd).await)?;
    }
    refused("all CRDs", fixture.delete_all(HOOKS, "CustomResourceDefinition", "").await, "guards", SAID)
}

/// The API server accepts any certificate.
fn ca_bundle() -> Value {
    let certificate = rcgen::generate_simple_self_signed(["a.invalid".to_owned()]).expect("a certificate");
    json!(base64(certificate.cert.pem().as_bytes()))
}

fn base64(bytes: &[u8]) -> String {
    serde_json::to_value(k8s_openapi::ByteString(bytes.to_vec())).ok().and_then(|text| text.as_str().map(str::to_owned)).expect("base64")
}

/// Writes a CA bundle into both webhooks of a configuration, as the webhook does.
pub async fn write_bundles(fixture: &Fixture, kind: &str) -> Answer {
    let bundle = ca_bundle();
    let paths = [0, 1].map(|number| replace(&format!("/webhooks/{number}/clientConfig/caBundle"), &bundle));
    fixture.json_patch(WEBHOOK, kind, "", RELEASE, json!(paths)).await
}

pub async fn t41_webhook_writes_only_its_ca_bundle(fixture: &Fixture) -> Outcome {
    let _alone = fixture.alone().await;
    for kind in CONFIGURATIONS {
        let patch = async |patch: Value| fixture.json_patch(WEBHOOK, kind, "", RELEASE, patch).await;
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
        passes("its CA bundle by JSON patch", write_bundles(fixture, kind).await)?;
        let mut whole = passes("the configuration", fixture.get(kind, "", RELEASE).await)?;
        for webhook in whole["webhooks"].as_array_mut().into_iter().flatten() {
            webhook["clientConfig"]["caBundle"] = ca_bundle();
        }
        passes("its CA bundle by update", fixture.replace(WEBHOOK, kind, &whole).await)?;
    }
    Ok(())
}

pub async fn t41_every_policy_denies_its_probe(fixture: &Fixture) -> Outcome {
    for policy in POLICIES {
        let said = format!("asks the policy {RELEASE}-{policy} to refuse");
        // RBAC gives only these users access to a policy's objects.
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
            refused(&format!("{policy} by {who}"), fixture.dry_create(who, &object).await, policy, &said)?;
        }
    }
    // The label of another policy does not concern this one.
    let mut object = probe("requests");
    object["metadata"]["labels"] = json!({"jitrbac.dev/probe": "jit-rbac-bindings"});
    passes("another policy's label", fixture.dry_create(ADMIN, &object).await).map(drop)
}

pub async fn t44_webhook_writes_only_its_secret(fixture: &Fixture) -> Outcome {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "other", "namespace": NAMESPACE}});
    passes("another Secret", fixture.create(ADMIN, &secret).await)?;
    let mut own = passes("the Secret", fixture.get("Secret", NAMESPACE, "jit-rbac-webhook-tls").await)?;
    own["data"] = json!({"ca.crt": base64(b"a")});
    passes("an update of its own", fixture.replace(WEBHOOK, "Secret", &own).await)?;
    let mut other = passes("the other", fixture.get("Secret", NAMESPACE, "other").await)?;
    other["data"] = own["data"].clone();
    for (who, object) in [(WEBHOOK, &other), (OPERATOR, &own), (STAR, &own)] {
        match fixture.replace(who, "Secret", object).await {
            Err((403, _)) => {}
            answer => return Err(format!("{who} should not write {}: {answer:?}", object["metadata"]["name"])),
        }
    }
    Ok(())
}
