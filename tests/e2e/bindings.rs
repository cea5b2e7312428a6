//! The granted binding and its end, where the policy that guards it is deleted or has no effect.

mod deleted_objects;
mod edited_bindings;
mod forged_bindings;
mod operator_down;
mod stuck_finalizer;

use control_plane::{ADMIN, wait_for_ok};
use serde_json::{Value, json};

use crate::{
    env::{ClusterFixture, Outcome, SOON, TestCase},
    test_cases,
};
use deleted_objects::*;
use edited_bindings::*;
use forged_bindings::*;
use operator_down::*;
use stuck_finalizer::*;

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![
        t27_edited_binding_is_removed_and_its_request_revoked,
        t27_foreign_labels_and_annotations_are_kept,
        t56_binding_without_its_label_is_removed,
        inv_03_a_deadline_never_moves_later,
        t28_finalizer_on_a_binding_keeps_no_access,
        t28_subjects_are_removed_where_finalizers_cannot_be,
        t29_second_owner_keeps_no_binding,
        f74_terminating_binding_grants_nothing,
        f04_grant_denied_by_quota_is_retried,
        t32_existing_binding_is_never_adopted,
        t53_managed_binding_without_a_request_is_removed,
        t30_deleted_request_removes_its_binding_and_decisions,
        t37_namespace_deletion_ends_the_grant_and_a_new_namespace_has_none,
        t34_manually_deleted_binding_is_not_recreated,
        // Last: it waits for all other tests here.
        t56_standby_replica_removes_a_binding_without_its_label,
    ]
}

/// Tests with time limits.
pub fn against_time() -> Vec<(&'static str, TestCase)> {
    test_cases![t36_first_replica_reverts_changes_made_during_downtime]
}

/// The write that the policy for managed bindings must deny to all users: the guards' proof of it.
pub fn probe(namespace: &str, role: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "probe", "namespace": namespace, "labels": {"jitrbac.dev/probe": "jit-rbac-bindings"}},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
    })
}

/// Deletes the policy for managed bindings and waits until it is no longer evaluated.
pub async fn remove_policy(fixture: &ClusterFixture) -> Outcome {
    let cluster = fixture.cluster();
    cluster.run(ADMIN, &["delete", "validatingadmissionpolicybinding", "jit-rbac-bindings"]).await?.ok()?;
    cluster.run(ADMIN, &["delete", "validatingadmissionpolicy", "jit-rbac-bindings"]).await?.ok()?;
    let probe = probe("default", "view");
    let gone = wait_for_ok("the policy for managed bindings to be out of force", SOON, async || {
        let said = cluster.run_with(ADMIN, &["create", "--dry-run=server", "-f", "-"], &probe.to_string()).await;
        said.and_then(control_plane::Said::ok).map(|_| ()).map_err(|error| error.to_string())
    });
    Ok(gone.await?)
}
