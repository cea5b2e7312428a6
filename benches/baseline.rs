//! The baseline: a plain client that creates and deletes `RoleBinding`s itself, at the times that it knows.

use std::{fs, path::Path, time::Duration};

use api::{
    instant::{stamp, whole_seconds},
    names,
};
use control_plane::ADMIN;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::{
    Api,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    core::GroupVersionKind,
};
use serde_json::{Value, json};

use crate::{
    Failure,
    cluster_fixture::ClusterFixture,
    common::AtOnce,
    figures::{Spread, ms, pace, since},
    places::{NAMESPACES, namespace},
};

/// Concurrent workers of a rate.
pub const WORKERS: usize = 16;
/// Concurrent deletions: as many as the product allows itself.
pub const DELETIONS: usize = 64;
/// The API group of the objects that resemble the product's requests, without a webhook or policy.
const GROUP: &str = "floor.example.com";

/// From a binding's creation to its watch event.
pub async fn latency(fixture: &ClusterFixture, what: &str, times: usize) -> Result<Spread, Failure> {
    let (mut samples, mut next) = (Vec::new(), pace());
    for number in 0..times {
        let (api, name) = place(fixture, what, number);
        next.tick().await;
        let start = Timestamp::now();
        api.create(&PostParams::default(), &binding(&name, None)?).await?;
        samples.push(ms(fixture.bindings.comes(&name).await?.came.duration_since(start)));
        api.delete(&name, &DeleteParams::default()).await?;
    }
    Ok(Spread::new(samples))
}

/// The creation of a request-like object alone.
pub async fn creates(fixture: &ClusterFixture, times: usize) -> Result<Spread, Failure> {
    let resource = requests(fixture).await?;
    let (mut samples, mut next) = (Vec::new(), pace());
    for number in 0..times {
        let api: Api<DynamicObject> = Api::namespaced_with(fixture.admin.clone(), &namespace(number), &resource);
        next.tick().await;
        let start = Timestamp::now();
        api.create(&PostParams::default(), &request(&format!("create-{number}"))?).await?;
        samples.push(since(start));
    }
    Ok(Spread::new(samples))
}

/// Bindings created per second.
pub async fn rate_of_one_write(fixture: &ClusterFixture, times: usize) -> Result<f64, Failure> {
    let start = Timestamp::now();
    let all = (0..times).map(async |number| {
        let (api, name) = place(fixture, "rate", number);
        api.create(&PostParams::default(), &binding(&name, None)?).await?;
        fixture.bindings.comes(&name).await
    });
    stream::iter(all).buffer_unordered(WORKERS).try_collect::<Vec<_>>().await?;
    Ok(a_second(times, start))
}

/// Grants per second, by the three writes of an automatic one: request, binding, status.
pub async fn rate_of_three_writes(fixture: &ClusterFixture, times: usize) -> Result<f64, Failure> {
    let resource = requests(fixture).await?;
    let start = Timestamp::now();
    let all = (0..times).map(async |number| {
        let (bindings, name) = place(fixture, "three", number);
        let api: Api<DynamicObject> = Api::namespaced_with(fixture.admin.clone(), &namespace(number), &resource);
        let made = api.create(&PostParams::default(), &request(&name)?).await?;
        bindings.create(&PostParams::default(), &binding(&name, None)?).await?;
        let status = json!({
            "apiVersion": made.types.as_ref().map(|t| t.api_version.clone()), "kind": "RoleActivationRequest",
            "metadata": {"resourceVersion": made.metadata.resource_version}, "status": status(),
        });
        api.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await?;
        Ok::<_, Failure>(())
    });
    stream::iter(all).buffer_unordered(WORKERS).try_collect::<Vec<_>>().await?;
    Ok(a_second(times, start))
}

/// Bindings whose ends are spread over half a minute and that a script's timers delete: from the deadline until the deletion is observed.
/// `what` distinguishes the bindings of one measurement from those of another.
pub async fn lateness(fixture: &ClusterFixture, what: &str, times: usize) -> Result<Spread, Failure> {
    let from = whole_seconds(Timestamp::now()) + SignedDuration::from_secs(10);
    let deadlines = (0..times).map(|number| from + spread(number)).collect();
    let gone = end_all(fixture, what, deadlines).await?;
    Ok(Spread::new(gone.into_iter().map(|(deadline, gone)| ms(gone.duration_since(deadline))).collect()))
}

/// The same with one deadline for all bindings.
pub async fn at_once(fixture: &ClusterFixture, what: &str, times: usize) -> Result<AtOnce, Failure> {
    let deadline = whole_seconds(Timestamp::now()) + SignedDuration::from_secs(10);
    let gone = end_all(fixture, what, vec![deadline; times]).await?;
    Ok(AtOnce::new(&gone))
}

/// The spread ends: ten per second, as deadlines are whole seconds.
#[expect(clippy::cast_possible_wrap, reason = "some hundreds")]
pub fn spread(number: usize) -> SignedDuration {
    SignedDuration::from_secs(number as i64 / 10)
}

async fn end_all(fixture: &ClusterFixture, what: &str, deadlines: Vec<Timestamp>) -> Result<Vec<(Timestamp, Timestamp)>, Failure> {
    let create = |(number, deadline): (usize, Timestamp)| async move {
        let (api, name) = place(fixture, what, number);
        api.create(&PostParams::default(), &binding(&name, Some(deadline))?).await?;
        Ok::<_, Failure>((api, name, deadline))
    };
    let made: Vec<_> = stream::iter(deadlines.into_iter().enumerate()).map(create).buffer_unordered(WORKERS).try_collect().await?;
    let turns = tokio::sync::Semaphore::new(DELETIONS);
    let end = made.into_iter().map(|(api, name, deadline)| {
        let turns = &turns;
        async move {
            tokio::time::sleep(Duration::try_from(deadline.duration_since(Timestamp::now())).unwrap_or_default()).await;
            let turn = turns.acquire().await?;
            api.delete(&name, &DeleteParams::default()).await?;
            drop(turn);
            Ok::<_, Failure>((deadline, fixture.bindings.goes(&name).await?.1))
        }
    });
    futures::future::try_join_all(end).await
}

/// Milliseconds for a paged list of all bindings' metadata.
pub async fn list(fixture: &ClusterFixture) -> Result<f64, Failure> {
    let api: Api<RoleBinding> = Api::all(fixture.admin.clone());
    let start = Timestamp::now();
    let mut page = ListParams::default().limit(500);
    while let Some(token) = api.list_metadata(&page).await?.metadata.continue_.filter(|token| !token.is_empty()) {
        page = page.continue_token(&token);
    }
    Ok(crate::figures::since(start))
}

/// Deletes everything that the baseline created.
pub async fn clear(fixture: &ClusterFixture) -> Result<(), Failure> {
    fixture.plane.kubectl(ADMIN, &["delete", "crd", &format!("roleactivationrequests.{GROUP}")]).await?.ok()?;
    for number in 0..NAMESPACES {
        let api: Api<RoleBinding> = Api::namespaced(fixture.admin.clone(), &namespace(number));
        api.delete_collection(&DeleteParams::default(), &ListParams::default().labels("bench=floor")).await?;
    }
    let gone = async || (fixture.bindings.there(|name| name.starts_with("floor-")) == 0).then_some(());
    Ok(control_plane::wait_for("the floor's bindings to be gone", Duration::from_mins(1), gone).await?)
}

fn place(fixture: &ClusterFixture, what: &str, number: usize) -> (Api<RoleBinding>, String) {
    (Api::namespaced(fixture.admin.clone(), &namespace(number)), format!("floor-{what}-{number}"))
}

/// A binding of the size of the product's.
fn binding(name: &str, deadline: Option<Timestamp>) -> Result<RoleBinding, Failure> {
    let deadline = deadline.unwrap_or_else(|| Timestamp::now() + SignedDuration::from_hours(1));
    let annotations = json!({
        names::EXPIRES_AT: stamp(deadline), names::REQUEST: name, names::NAMESPACE_UID: "6f0d2f5e-6a0b-4c3a-9d57-0c3c9d0c1d7e",
        names::DIGEST: "v1:".to_owned() + &"0".repeat(64), names::REQUESTER: "bench-000", names::JUSTIFICATION: "a measurement",
    });
    Ok(serde_json::from_value(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": name, "labels": {"bench": "floor"}, "annotations": annotations},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "bench-000"}],
    }))?)
}

/// The product's schema for requests under another group: no webhook and no policy matches it.
async fn requests(fixture: &ClusterFixture) -> Result<ApiResource, Failure> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds/roleactivationrequests.yaml");
    let text = fs::read_to_string(file)?.replace(names::GROUP, GROUP).replace("- jit\n", "- floor\n").replace("- rar\n", "- floor-rar\n");
    fixture.plane.apply(ADMIN, &text).await?.ok()?;
    let wait = ["wait", "--for=condition=Established", "crd", &format!("roleactivationrequests.{GROUP}")];
    fixture.plane.kubectl(ADMIN, &wait).await?.ok()?;
    Ok(ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, "v1alpha1", "RoleActivationRequest"), "roleactivationrequests"))
}

fn request(name: &str) -> Result<DynamicObject, Failure> {
    Ok(serde_json::from_value(json!({
        "apiVersion": format!("{GROUP}/v1alpha1"), "kind": "RoleActivationRequest", "metadata": {"name": name},
        "spec": {
            "eligibilityRef": {"name": "bench-0"}, "duration": "1h", "justification": "a measurement",
            "requester": {"username": "bench-000", "uid": "u-bench-000", "groups": ["devs"]},
        },
    }))?)
}

/// A status of about the size that a grant writes.
pub fn status() -> Value {
    let now = Timestamp::now();
    let condition = |kind: &str, status: &str| json!({"type": kind, "status": status, "reason": "Granted", "message": "granted until the time is up", "lastTransitionTime": stamp(now), "observedGeneration": 1});
    json!({
        "state": "Active", "reason": "Granted", "observedGeneration": 1,
        "digest": "v1:".to_owned() + &"0".repeat(64),
        "conditions": [condition("Ready", "True"), condition("Settled", "True"), condition("Reconciling", "False"), condition("Stalled", "False")],
    })
}

/// The rate per second.
#[expect(clippy::cast_precision_loss, reason = "some thousands")]
pub fn a_second(times: usize, start: Timestamp) -> f64 {
    times as f64 / Timestamp::now().duration_since(start).as_secs_f64()
}
