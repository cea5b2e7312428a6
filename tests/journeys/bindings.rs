//! The granted binding and its end, where the policy that guards it is away.

use std::time::Duration;

use control_plane::{ADMIN, wait_for_ok};
use serde_json::json;

use crate::{
    env::{Ground, Journey, Outcome, SOON},
    journeys,
};

pub fn journeys() -> Vec<(&'static str, Journey)> {
    journeys![]
}

/// Takes the policy for managed bindings away and waits until it is no longer asked.
pub async fn remove_policy(ground: &Ground) -> Outcome {
    let cluster = ground.cluster();
    cluster.run(ADMIN, &["delete", "validatingadmissionpolicybinding", "jit-rbac-bindings"]).await?.ok()?;
    cluster.run(ADMIN, &["delete", "validatingadmissionpolicy", "jit-rbac-bindings"]).await?.ok()?;
    let probe = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "probe", "namespace": "default", "labels": {"jitrbac.dev/probe": "jit-rbac-bindings"}},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
    });
    let gone = wait_for_ok("the policy for managed bindings to be out of force", SOON, async || {
        let said = cluster.run_with(ADMIN, &["create", "--dry-run=server", "-f", "-"], &probe.to_string()).await;
        said.and_then(control_plane::Said::ok).map(|_| ()).map_err(|error| error.to_string())
    });
    let _ = Duration::ZERO;
    Ok(gone.await?)
}
