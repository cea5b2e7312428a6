//! Pods, the node and the kubelet fail in the middle of a grant.

use std::time::{Duration, Instant};

use control_plane::{NODE, wait_for_ok};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::{
    cluster_fixture::{ClusterFixture, Error, Granted, Outcome, SOON, TestCase},
    ensure, test_cases,
};

/// How long after a node accepts pods again an overdue grant may exist: the time to schedule and start a pod, and for its first look.
const AFTER_UNCORDON: Duration = Duration::from_secs(10);

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![
        grant_ends_in_time_when_the_leaders_container_is_killed,
        grant_ends_in_time_when_the_leaders_container_is_killed_and_not_restarted,
        grant_ends_in_time_while_the_kubelet_is_down_and_restarted,
        grant_ends_in_time_while_the_node_of_both_replicas_is_drained,
        grant_ends_in_time_when_the_only_replica_was_drained_and_returned_before_its_deadline,
        overdue_grant_ends_at_once_when_the_only_replica_returns_after_a_drain,
    ]
}

async fn grant_ends_in_time_when_the_leaders_container_is_killed(fixture: &ClusterFixture) -> Outcome {
    fixture.with_values(&json!({})).await?;
    let restarts = restarts(fixture).await?;
    let granted = killed_before_the_deadline(fixture).await?;
    fixture.ends_in_time(&granted).await?;
    is_restarted(fixture, restarts).await
}

/// Without a kubelet only the other replica can end the grant.
async fn grant_ends_in_time_when_the_leaders_container_is_killed_and_not_restarted(fixture: &ClusterFixture) -> Outcome {
    fixture.with_values(&json!({})).await?;
    let restarts = restarts(fixture).await?;
    fixture.node.kubelet().kill();
    let granted = killed_before_the_deadline(fixture).await?;
    fixture.ends_in_time(&granted).await?;
    fixture.node.kubelet().start()?;
    is_restarted(fixture, restarts).await
}

/// Returns a grant whose leader was killed so late that its container cannot be back before the deadline.
async fn killed_before_the_deadline(fixture: &ClusterFixture) -> Result<Granted, Error> {
    let granted = fixture.grant("6s").await?;
    let leader = fixture.leader().await?;
    fixture.until(granted.deadline - SignedDuration::from_millis(400), &granted).await?;
    fixture.node.kill_container(control_plane::NAMESPACE, &leader).await?;
    Ok(granted)
}

/// Waits until the kubelet has restarted a container, and all pods are ready.
async fn is_restarted(fixture: &ClusterFixture, before: i32) -> Outcome {
    let counted = wait_for_ok("the kubelet to restart the container", SOON, async || {
        let now = restarts(fixture).await.map_err(|error| error.to_string())?;
        if now > before { Ok(()) } else { Err(format!("{now} restarts")) }
    });
    counted.await?;
    fixture.until_pods_are_ready().await
}

async fn grant_ends_in_time_while_the_kubelet_is_down_and_restarted(fixture: &ClusterFixture) -> Outcome {
    fixture.with_values(&json!({})).await?;
    let before = identities(fixture).await?;
    let granted = fixture.grant("6s").await?;
    fixture.node.kubelet().kill();
    let second = fixture.grant_to("dev-2", "25s").await?;
    fixture.ends_in_time(&granted).await?;
    fixture.node.kubelet().start()?;
    fixture.node.wait_until_ready().await?;
    fixture.ends_in_time(&second).await?;
    fixture.until_pods_are_ready().await?;
    let after = identities(fixture).await?;
    ensure!(before == after, "the restart of the kubelet replaced pods or containers: {before:?}, {after:?}");
    Ok(())
}

async fn grant_ends_in_time_while_the_node_of_both_replicas_is_drained(fixture: &ClusterFixture) -> Outcome {
    fixture.with_values(&json!({})).await?;
    let granted = fixture.grant("12s").await?;
    // The only node accepts no pods now, so one replica of each component must stay: the PodDisruptionBudgets see to that.
    let drained = drain(fixture, "10s").await;
    let left = fixture.pods("controller").await?.into_iter().filter(is_ready).count();
    ensure!(left == 1 && drained.is_err(), "{left} controllers are left after a drain that ended with {drained:?}");
    fixture.ends_in_time(&granted).await?;
    let second = fixture.grant_to("dev-2", "5s").await?;
    fixture.ends_in_time(&second).await?;
    uncordon(fixture).await?;
    fixture.until_pods_are_ready().await
}

async fn grant_ends_in_time_when_the_only_replica_was_drained_and_returned_before_its_deadline(fixture: &ClusterFixture) -> Outcome {
    fixture.with_values(&one_replica()).await?;
    let granted = fixture.grant("25s").await?;
    drain(fixture, "30s").await?;
    uncordon(fixture).await?;
    fixture.ends_in_time(&granted).await?;
    fixture.until_pods_are_ready().await
}

async fn overdue_grant_ends_at_once_when_the_only_replica_returns_after_a_drain(fixture: &ClusterFixture) -> Outcome {
    fixture.with_values(&one_replica()).await?;
    let granted = fixture.grant("12s").await?;
    drain(fixture, "30s").await?;
    fixture.until(granted.deadline.max(Timestamp::now()), &granted).await?;
    ensure!(fixture.is_bound(&granted).await?, "the grant ended although no controller runs");
    let start = Instant::now();
    uncordon(fixture).await?;
    fixture.lateness(&granted).await?;
    let took = start.elapsed();
    println!("    {} ended {took:?} after the node accepted pods again", granted.request);
    ensure!(took <= AFTER_UNCORDON, "the grant ended {took:?} after the node accepted pods again");
    fixture.is_recorded_as_expired(&granted).await?;
    fixture.until_pods_are_ready().await
}

fn one_replica() -> Value {
    json!({"controller": {"replicas": 1}, "webhook": {"replicas": 1}})
}

/// Evicts all pods from the node, which accepts no new ones from then on.
async fn drain(fixture: &ClusterFixture, timeout: &str) -> Outcome {
    let timeout = format!("--timeout={timeout}");
    let drained = fixture.node.kubectl(&["drain", NODE, "--ignore-daemonsets", "--delete-emptydir-data", &timeout]).await?.ok();
    Ok(drained.map(drop)?)
}

async fn uncordon(fixture: &ClusterFixture) -> Outcome {
    fixture.node.kubectl(&["uncordon", NODE]).await?.ok()?;
    Ok(())
}

/// Returns how often containers of the release were restarted.
async fn restarts(fixture: &ClusterFixture) -> Result<i32, Error> {
    let pods = fixture.pods("").await?;
    Ok(pods.iter().filter_map(|pod| pod.status.as_ref()?.container_statuses.as_ref()).flatten().map(|status| status.restart_count).sum())
}

/// Returns the pods of the release, and the containers in them.
async fn identities(fixture: &ClusterFixture) -> Result<Vec<(Option<String>, Vec<Option<String>>)>, Error> {
    let identity = |pod: k8s_openapi::api::core::v1::Pod| {
        let statuses = pod.status.and_then(|status| status.container_statuses).unwrap_or_default();
        (pod.metadata.uid, statuses.into_iter().map(|status| status.container_id).collect())
    };
    let mut all: Vec<_> = fixture.pods("").await?.into_iter().map(identity).collect();
    all.sort();
    Ok(all)
}

fn is_ready(pod: &k8s_openapi::api::core::v1::Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    pod.metadata.deletion_timestamp.is_none()
        && conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
