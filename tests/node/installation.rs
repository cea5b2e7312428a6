//! What Helm installs, and that it works in pods.

use control_plane::{ADMIN, NAMESPACE, RELEASE, wait_for_ok};
use jiff::Timestamp;
use k8s_openapi::api::{
    admissionregistration::v1::ValidatingWebhookConfiguration, discovery::v1::EndpointSlice, networking::v1::NetworkPolicy,
};
use kube::{
    Api,
    api::{ListParams, PostParams},
};
use serde_json::{Value, json};

use crate::{
    cluster_fixture::{ClusterFixture, Outcome, SOON, TEAM, TestCase, request, requests},
    ensure, test_cases,
};

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![
        default_chart_runs_under_pod_security_restricted,
        grant_is_made_and_ended_by_pods,
        helm_test_succeeds,
        webhook_is_called_through_its_service,
        logs_are_readable_and_the_image_has_no_shell,
        network_policies_are_accepted_and_the_pods_stay_ready,
        uninstalling_revokes_every_grant_before_the_pods_are_removed,
    ]
}

async fn default_chart_runs_under_pod_security_restricted(fixture: &ClusterFixture) -> Outcome {
    fixture.with_values(&json!({})).await?;
    let pods = fixture.pods("").await?;
    ensure!(pods.len() == 4, "there are {} pods, not two of each component", pods.len());
    for pod in &pods {
        let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
        for status in statuses {
            ensure!(status.ready && status.restart_count == 0, "{:?} is not ready, or was restarted: {status:?}", pod.metadata.name);
        }
    }
    let unsafe_pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "unsafe", "namespace": NAMESPACE},
        "spec": {"containers": [{"name": "unsafe", "image": "unsafe"}]},
    });
    let refused = fixture.node.cluster().apply(ADMIN, &unsafe_pod.to_string()).await?.refused()?;
    ensure!(refused.contains("violates PodSecurity \"restricted:latest\""), "the namespace accepts any pod: {refused}");
    Ok(())
}

async fn grant_is_made_and_ended_by_pods(fixture: &ClusterFixture) -> Outcome {
    fixture.with_values(&json!({})).await?;
    let cluster = fixture.node.cluster();
    let create = ["auth", "can-i", "create", "deployments", "-n", TEAM];
    ensure!(cluster.run("dev", &create).await?.stdout.trim() == "no", "dev has access before the grant");
    let granted = fixture.grant("5s").await?;
    ensure!(cluster.run("dev", &create).await?.stdout.trim() == "yes", "dev has no access during the grant");
    fixture.ends_in_time(&granted).await?;
    ensure!(cluster.run("dev", &create).await?.stdout.trim() == "no", "dev has access after the grant");
    Ok(())
}

async fn helm_test_succeeds(fixture: &ClusterFixture) -> Outcome {
    fixture.with_values(&json!({})).await?;
    let said = fixture.node.helm(&["test", RELEASE, "--namespace", NAMESPACE, "--timeout", "60s"]).await?.ok()?;
    ensure!(said.contains("Phase:") && said.contains("Succeeded"), "the chart has no test: {said}");
    Ok(())
}

async fn webhook_is_called_through_its_service(fixture: &ClusterFixture) -> Outcome {
    fixture.with_values(&json!({})).await?;
    let configurations: Api<ValidatingWebhookConfiguration> = Api::all(fixture.client.clone());
    for configuration in configurations.list(&ListParams::default()).await? {
        for webhook in configuration.webhooks.into_iter().flatten() {
            let service = webhook.client_config.service.ok_or("a webhook has a URL and no Service")?;
            ensure!(service.namespace == NAMESPACE && service.name == "jit-rbac-webhook", "a webhook calls {service:?}");
        }
    }
    let slices: Api<EndpointSlice> = Api::namespaced(fixture.client.clone(), NAMESPACE);
    let slices = slices.list(&ListParams::default().labels("kubernetes.io/service-name=jit-rbac-webhook")).await?;
    let mut routed: Vec<_> = slices.items.into_iter().flat_map(|slice| slice.endpoints).flat_map(|endpoint| endpoint.addresses).collect();
    let pods = fixture.pods("webhook").await?;
    let mut of_pods: Vec<_> = pods.into_iter().filter_map(|pod| pod.status?.pod_ip).collect();
    routed.sort();
    of_pods.sort();
    ensure!(of_pods.len() == 2 && routed == of_pods, "the Service is routed to {routed:?}, the pods are {of_pods:?}");
    // Only the webhook denies this one; the rules of the API server itself accept it.
    let mut asked = request("5s")?;
    asked.data["spec"]["eligibilityRef"]["name"] = json!("no-such-eligibility");
    let api = requests(fixture.node.plane().client("dev").await?);
    let denied = api.create(&PostParams::default(), &asked).await.err().ok_or("the webhook accepted a request without an eligibility")?;
    ensure!(denied.to_string().contains("admission webhook"), "it was not denied by the webhook: {denied}");
    Ok(())
}

async fn logs_are_readable_and_the_image_has_no_shell(fixture: &ClusterFixture) -> Outcome {
    fixture.with_values(&json!({})).await?;
    for component in ["controller", "webhook"] {
        let deployment = format!("deployment/jit-rbac-{component}");
        let logs = fixture.node.kubectl(&["logs", "-n", NAMESPACE, &deployment]).await?.ok()?;
        ensure!(!logs.is_empty(), "the {component} has no log");
        for line in logs.lines() {
            let entry: Value = serde_json::from_str(line).map_err(|error| format!("{line} is not JSON: {error}"))?;
            ensure!(entry["level"].is_string(), "a line of the {component}'s log has no level: {line}");
        }
        let shell = fixture.node.kubectl(&["exec", "-n", NAMESPACE, &deployment, "--", "/bin/sh", "-c", "true"]).await?.refused()?;
        ensure!(shell.contains("no such file or directory"), "the image has a shell: {shell}");
    }
    Ok(())
}

async fn network_policies_are_accepted_and_the_pods_stay_ready(fixture: &ClusterFixture) -> Outcome {
    fixture.with_values(&json!({"networkPolicy": {"enabled": true}})).await?;
    let policies: Api<NetworkPolicy> = Api::namespaced(fixture.client.clone(), NAMESPACE);
    let names: Vec<_> = policies.list(&ListParams::default()).await?.items.into_iter().filter_map(|policy| policy.metadata.name).collect();
    ensure!(names == ["jit-rbac-controller", "jit-rbac-uninstall", "jit-rbac-webhook"], "the policies are {names:?}");
    let granted = fixture.grant("5s").await?;
    fixture.ends_in_time(&granted).await
}

async fn uninstalling_revokes_every_grant_before_the_pods_are_removed(fixture: &ClusterFixture) -> Outcome {
    fixture.with_values(&json!({"networkPolicy": {"enabled": true}})).await?;
    let granted = fixture.grant("1h").await?;
    let begun = Timestamp::now();
    fixture.node.helm(&["uninstall", RELEASE, "--namespace", NAMESPACE, "--wait", "--timeout", "2m"]).await?.ok()?;
    println!("    the release was uninstalled in {:?}", Timestamp::now().duration_since(begun));
    ensure!(!fixture.is_bound(&granted).await?, "the grant has outlived the operator");
    let status = fixture.status(&granted.request).await?;
    ensure!(status["state"] == "Revoked" && status["reason"] == "Uninstalled", "the end is recorded as {status}");
    // Helm does not wait for pods, which the garbage collector deletes.
    wait_for_ok("the pods to be gone", SOON, async || {
        let pods = fixture.pods("").await.map_err(|error| error.to_string())?;
        pods.first().map_or(Ok(()), |pod| Err(pod.metadata.name.clone().unwrap_or_default()))
    })
    .await?;

    // The records, the eligibility and the policy are still there, and count.
    fixture.install_again().await?;
    let granted = fixture.grant("5s").await?;
    fixture.ends_in_time(&granted).await
}
