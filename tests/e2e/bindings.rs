//! The granted binding and its end, where the policy that guards it is away or does not help.

mod deleted_objects;
mod edited_bindings;
mod forged_bindings;
mod operator_down;
mod stuck_finalizer;

use control_plane::{ADMIN, wait_for_ok};
use serde_json::{Value, json};

use crate::{
    env::{Ground, Outcome, SOON, TestCase},
    test_cases,
};
use deleted_objects::*;
use edited_bindings::*;
use forged_bindings::*;
use operator_down::*;
use stuck_finalizer::*;

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![
        t27_an_altered_binding_goes_and_its_request_is_revoked,
        t27_labels_and_annotations_of_others_are_let_be,
        t56_a_binding_without_its_label_is_no_longer_there_to_stay,
        inv_03_a_deadline_never_moves_later,
        t28_a_finalizer_holds_no_access,
        t28_where_finalizers_cannot_be_stripped_the_subjects_go,
        t29_a_second_owner_keeps_no_binding,
        f74_a_binding_that_is_being_deleted_grants_nothing,
        f04_a_grant_that_a_quota_refuses_is_made_when_the_quota_lets_it,
        t32_a_squatted_name_is_never_adopted,
        t53_a_managed_binding_that_nobody_asked_for_goes,
        t30_a_deleted_request_takes_its_binding_and_decisions_along,
        t37_a_namespace_that_goes_takes_the_grant_along_and_a_new_one_has_none,
        t34_a_binding_deleted_by_hand_stays_deleted,
        // Last: it waits for everybody else here.
        t56_whoever_does_not_hold_the_lease_removes_it_too,
    ]
}

/// Those that say how late something may be.
pub fn against_time() -> Vec<(&'static str, TestCase)> {
    test_cases![t36_what_was_done_while_nothing_ran_is_undone_by_the_first_replica]
}

/// What the policy for managed bindings must refuse everybody: the guards' proof of it.
pub fn probe(namespace: &str, role: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "probe", "namespace": namespace, "labels": {"jitrbac.dev/probe": "jit-rbac-bindings"}},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
    })
}

/// Takes the policy for managed bindings away and waits until it is no longer asked.
pub async fn remove_policy(ground: &Ground) -> Outcome {
    let cluster = ground.cluster();
    cluster.run(ADMIN, &["delete", "validatingadmissionpolicybinding", "jit-rbac-bindings"]).await?.ok()?;
    cluster.run(ADMIN, &["delete", "validatingadmissionpolicy", "jit-rbac-bindings"]).await?.ok()?;
    let probe = probe("default", "view");
    let gone = wait_for_ok("the policy for managed bindings to be out of force", SOON, async || {
        let said = cluster.run_with(ADMIN, &["create", "--dry-run=server", "-f", "-"], &probe.to_string()).await;
        said.and_then(control_plane::Said::ok).map(|_| ()).map_err(|error| error.to_string())
    });
    Ok(gone.await?)
}
