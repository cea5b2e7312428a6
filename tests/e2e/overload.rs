//! Other clients overload the API server: their calls hold every seat that API Priority and Fairness gives to `ServiceAccounts`. The chart's
//! priority level keeps seats for the operator (chart value `flowControl`).

use std::{sync::Arc, time::Duration};

use control_plane::{ADMIN, wait_for_ok};
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    audit::{Calls, measured},
    blocking_webhook::BlockingWebhook,
    ensure,
    env::{Env, Error, Outcome, SOON, Scene, Setting, TestCase, automatic, eligibility},
    faults::until,
    grant_helpers::{Granted, each},
    replicas::BY_ANOTHER,
    test_cases,
};

/// The number of overloading clients, each a ServiceAccount of its own, and of concurrent calls of each.
const CLIENTS: usize = 24;
const CALLS_EACH: usize = 8;
/// The seats of the API server, and the calls that must be held before the overload counts as such: the level of all other `ServiceAccounts`
/// has at least these.
const INFLIGHT: [&str; 2] = ["--max-requests-inflight=20", "--max-mutating-requests-inflight=10"];
const HELD: u32 = 12;
/// How long the grants stay without the priority level: as long as the overload lasts.
const LATE: SignedDuration = SignedDuration::from_secs(5);
const GRANTS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![overloaded_api_server_delays_no_end_with_the_priority_level, overloaded_api_server_delays_ends_without_the_priority_level,]
}

async fn overloaded_api_server_delays_no_end_with_the_priority_level(env: Arc<Env>) -> Outcome {
    let (scene, _permit) = small(&env, "prioritized", true).await?;
    let mut calls = Calls::from_now(&scene)?;
    let (granted, overload) = overloaded(&scene).await?;
    for granted in &granted {
        scene.until_gone(&granted.binding, SOON).await?;
        let what = "grant ended after its deadline while other clients overloaded the API server";
        calls.ended_on_time(&granted.binding, granted.deadline, BY_ANOTHER, what).await?;
    }
    // Admission and new grants work as well: the webhook's own calls do not wait behind those of other clients.
    let asked = Timestamp::now();
    scene.granted("dev", "later", "5m").await?;
    measured("grant made while other clients overloaded the API server", Timestamp::now().duration_since(asked));
    ensure!(overload.lasts(), "the overload ended before the grants did");
    Ok(())
}

/// The same load without the priority level: it shows that the test above tests the level.
async fn overloaded_api_server_delays_ends_without_the_priority_level(env: Arc<Env>) -> Outcome {
    let (scene, _permit) = small(&env, "unprioritized", false).await?;
    let mut calls = Calls::from_now(&scene)?;
    let (granted, overload) = overloaded(&scene).await?;
    let last = granted.iter().map(|granted| granted.deadline).max().unwrap_or_default();
    until(last + LATE).await?;
    let left = scene.bindings().await?.len();
    ensure!(left == GRANTS.len(), "of {} grants only {left} were late", GRANTS.len());
    ensure!(overload.lasts(), "the overload ended before the grants did");
    drop(overload);
    for granted in &granted {
        scene.until_gone(&granted.binding, SOON).await?;
        let late = calls.removed(&granted.binding).await?.duration_since(granted.deadline);
        measured("grant ended after its deadline while the API server was overloaded, without the priority level", late);
        ensure!(late > LATE, "{} ended only {} ms late", granted.binding, late.as_millis());
    }
    Ok(())
}

/// Starts a control plane with few seats.
async fn small(env: &Env, name: &str, with_level: bool) -> Result<(Scene, tokio::sync::OwnedSemaphorePermit), Error> {
    let apiserver_flags = INFLIGHT.map(str::to_owned).to_vec();
    let setting = Setting { values: json!({"flowControl": {"enabled": with_level}}), apiserver_flags, ..Setting::default() };
    let (fixture, permit) = env.fixture_with(setting).await?;
    Ok((env.scene_on(&fixture, name).await?, permit))
}

/// The calls of the overloading clients. Dropping it ends them.
struct Overload {
    calls: JoinSet<()>,
    _gate: BlockingWebhook,
}

impl Overload {
    /// Returns whether all clients still call.
    fn lasts(&self) -> bool {
        self.calls.len() == CLIENTS * CALLS_EACH
    }
}

/// Makes grants, and overloads the API server before the first of them ends.
async fn overloaded(scene: &Scene) -> Result<(Vec<Granted>, Overload), Error> {
    scene.offers(&[&GRANTS[..], &["later"]].concat(), &automatic(), &eligibility("edit")).await?;
    let gate = BlockingWebhook::for_callers(scene, ".startsWith('system:serviceaccount:')", "", "secrets", &["CREATE"]).await?;
    let tokens = clients(scene).await?;
    let granted = each(&GRANTS, |name| scene.granted("dev", name, "20s")).await?;
    gate.hold(u32::MAX);
    let mut calls = JoinSet::new();
    for (client, token) in tokens.iter().enumerate() {
        let plain = scene.fixture.cluster().client_for_token(token).await?;
        for call in 0..CALLS_EACH {
            calls.spawn(insist(plain.clone(), scene.name.clone(), format!("load-{client}-{call}")));
        }
    }
    gate.until_held(HELD, SOON).await?;
    let first = granted.iter().map(|granted| granted.deadline).min().unwrap_or_default();
    ensure!(Timestamp::now() < first, "the machine is too busy: grants expired before the overload began");
    until(first - SignedDuration::from_millis(300)).await?;
    Ok((granted, Overload { calls, _gate: gate }))
}

/// Creates the same object for ever. Each call waits for another client's admission webhook, which does not answer.
async fn insist(plain: kube::Client, namespace: String, name: String) {
    let body = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}}).to_string().into_bytes();
    let path = format!("/api/v1/namespaces/{namespace}/secrets");
    loop {
        let call = http::Request::post(&path).header("content-type", "application/json").body(body.clone());
        let refused = plain.request_text(call.expect("a request")).await.err();
        // 429: the queue is full.
        if matches!(&refused, Some(kube::Error::Api(status)) if status.code == 429) {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// Creates the overloading `ServiceAccounts`, and returns their tokens.
async fn clients(scene: &Scene) -> Result<Vec<String>, Error> {
    let namespace = &scene.name;
    let names: Vec<String> = (0..CLIENTS).map(|number| format!("load-{number}")).collect();
    let mut objects: Vec<Value> = names
        .iter()
        .map(|name| json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}))
        .collect();
    objects.push(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "load", "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": format!("system:serviceaccounts:{namespace}")}],
    }));
    scene.admin(&objects).await?;
    let tokens = join_all(names.iter().map(async |name| {
        let args = ["create", "token", name, "--namespace", namespace];
        Ok::<_, Error>(scene.kubectl(ADMIN, &args).await?.ok()?.trim().to_owned())
    }));
    let tokens = tokens.await.into_iter().collect::<Result<Vec<_>, _>>()?;
    // The API server's caches may not have the binding yet.
    let first = scene.fixture.cluster().client_for_token(tokens.first().ok_or("there are clients")?).await?;
    wait_for_ok("a client to be allowed to create Secrets", SOON, async || {
        let body = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"generateName": "first-"}}).to_string().into_bytes();
        let path = format!("/api/v1/namespaces/{namespace}/secrets");
        let call = http::Request::post(path).header("content-type", "application/json").body(body).map_err(|e| e.to_string())?;
        first.request_text(call).await.map(drop).map_err(|error| error.to_string())
    })
    .await?;
    Ok(tokens)
}
