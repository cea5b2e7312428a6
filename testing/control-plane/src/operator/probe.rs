//! Readiness from the API server's point of view: a new webhook or policy takes effect only once the API server has observed it.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{ListParams, PostParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client};
use serde_json::{Value, json};

use super::install::NAMESPACE;
use crate::error::brief;
use crate::{ADMIN, Cluster, Error, Result, wait_for_ok};

/// How long the API server may take to observe webhooks and policies.
const LIMIT: Duration = Duration::from_secs(30);
/// The resource that is probed.
const REQUESTS: &str = "roleactivationrequests";
/// Every policy of the chart denies an object with this label and its own name.
const PROBE: &str = "jitrbac.dev/probe";

/// The annotation in which the operator records since when the guards are proven.
const GUARDS: &str = "jitrbac.dev/guards";

/// Waits until the policies for requests deny their probes and the webhook answers. All writes are dry runs.
pub(super) async fn wait_until_guarded(cluster: &Cluster, lease: &str) -> Result<()> {
    let client = cluster.client(ADMIN).await?;
    let mut wanted: Vec<_> =
        policies(&client).await?.into_iter().map(|name| (format!("ValidatingAdmissionPolicy '{name}'"), Some(name))).collect();
    wanted.push(("admission webhook".to_owned(), None));
    let requests: Api<DynamicObject> = Api::namespaced_with(client.clone(), "default", &resource());
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    for (refuser, label) in wanted {
        let request = request(label.as_deref())?;
        let what = format!("{refuser} to take effect");
        wait_for_ok(&what, LIMIT, async || match requests.create(&dry_run, &request).await {
            Ok(_) => Err("a request that must be refused was accepted".to_owned()),
            Err(kube::Error::Api(status)) if status.message.contains(&refuser) => Ok(()),
            Err(error) => Err(brief(&error)),
        })
        .await?;
    }
    wait_until_proven(client, lease).await
}

/// Waits until the holder of the Lease has proven the guards: requests that are created before that are never granted.
async fn wait_until_proven(client: Client, lease: &str) -> Result<()> {
    let leases: Api<Lease> = Api::namespaced(client, NAMESPACE);
    wait_for_ok("the guards to be proven", LIMIT, async || {
        let stored = leases.get(lease).await.map_err(|error| brief(&error))?;
        let record = stored.metadata.annotations.and_then(|mut all| all.remove(GUARDS)).ok_or("the Lease has no record")?;
        let record: Value = serde_json::from_str(&record).map_err(|error| error.to_string())?;
        let since = record.get("since").and_then(Value::as_str).ok_or_else(|| format!("the record is {record}"))?;
        let since: Timestamp = since.parse().map_err(|_| format!("{since} is not a valid time"))?;
        if since < Timestamp::now() { Ok(()) } else { Err(format!("they are proven from {since} on")) }
    })
    .await
}

/// The names of the policies that match new requests.
async fn policies(client: &Client) -> Result<Vec<String>> {
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(client.clone());
    let all = policies.list(&ListParams::default()).await?;
    let about_requests = |policy: &ValidatingAdmissionPolicy| {
        let matched = policy.spec.as_ref().and_then(|spec| spec.match_constraints.as_ref());
        matched.into_iter().flat_map(|matched| matched.resource_rules.iter().flatten()).any(|rule| {
            let has = |list: &Option<Vec<String>>, name: &str| list.iter().flatten().any(|item| item == name);
            has(&rule.resources, REQUESTS) && (has(&rule.operations, "CREATE") || has(&rule.operations, "*"))
        })
    };
    Ok(all.items.into_iter().filter(about_requests).filter_map(|policy| policy.metadata.name).collect())
}

fn resource() -> ApiResource {
    let kind = GroupVersionKind::gvk("jitrbac.dev", "v1alpha1", "RoleActivationRequest");
    ApiResource::from_gvk_with_plural(&kind, REQUESTS)
}

/// A request that the schema allows and the operator must deny.
fn request(label: Option<&str>) -> Result<DynamicObject> {
    let labels = label.map(|name| json!({ PROBE: name }));
    serde_json::from_value(json!({
        "apiVersion": "jitrbac.dev/v1alpha1",
        "kind": "RoleActivationRequest",
        "metadata": {"name": "probe", "namespace": "default", "labels": labels.unwrap_or_else(|| json!({}))},
        "spec": {"eligibilityRef": {"name": "no-such-eligibility"}, "duration": "1m", "justification": "Is anybody there?"},
    }))
    .map_err(Error::from)
}
