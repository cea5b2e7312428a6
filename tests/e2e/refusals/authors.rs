//! The messages to a user who may write eligibilities and policies and may not bind the roles in them.

use std::sync::Arc;

use control_plane::ADMIN;
use serde_json::{Value, json};

use super::{
    Book,
    By::{Policy, Webhook},
    eligibility, policy, scene,
};
use crate::{
    authors::matrix::{binding, user},
    env::{Env, Outcome, TestCase},
    test_cases,
};

const WHO: &str = crate::authors::REFUSED;

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![refused_authors_get_the_reason]
}

async fn refused_authors_get_the_reason(env: Arc<Env>) -> Outcome {
    let scene = scene(&env, "wages").await?;
    let by_all = |name: &str| {
        let mut object = eligibility(name, "wages");
        object["spec"]["roleRef"]["name"] = json!("view");
        object["spec"]["policyRef"]["name"] = json!("wages-two-leads");
        object
    };
    let strict = json!({"approval": {"stages": [{"name": "leads", "approvers": {"groups": ["leads"]}, "required": 2}]}});
    let rules = json!([{"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get", "patch"]}]);
    let labels =
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "wages-labels"}, "rules": rules});
    scene
        .admin(&[
            binding("wages-writer", None, "wages-writer", &[user(WHO)]),
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "wages-writer"}, "rules": [
                {"apiGroups": ["jitrbac.dev"], "resources": ["roleeligibilities", "approvalpolicies"], "verbs": ["get", "create", "patch"]},
            ]}),
            labels,
            binding("wages-labels", None, "wages-labels", &[user(WHO)]),
            policy("wages-two-leads", &strict),
            by_all("wages-view"),
        ])
        .await?;
    let mut book = Book::new(&scene, "Authors")?;
    let rule = "{apiGroups: [rbac.authorization.k8s.io], resources: [clusterroles], resourceNames: [view], verbs: [bind]}";
    let not_enough = "(holding the permissions of the role is not sufficient). Ask a user who has it, ";
    let says = format!(
        "'{WHO}' may not make users eligible for ClusterRole 'view' in namespace 'wages': this requires the verb bind on the role in that namespace {not_enough}or get the rule {rule} with a RoleBinding there"
    );
    book.apply("An eligibility without the bind verb", WHO, by_all("wages-mine"), &[], Policy("eligibilities", &says)).await?;
    let says = format!(
        "'{WHO}' may not make users eligible for ClusterRole 'view' with a selector, which can match any namespace: this requires the verb bind on the role in the whole cluster {not_enough}get the rule {rule} with a ClusterRoleBinding, or list the namespaces by name"
    );
    let selector = json!({"selector": {"matchLabels": {"reach.jitrbac.dev/team": "wages"}}});
    book.apply("The same by a selector", WHO, by_all("wages-mine"), &[("spec.namespaces", selector)], Policy("eligibilities", &says))
        .await?;
    let says = format!(
        "AuthorLacksBind: '{WHO}' may not write policy 'wages-awaited', under which eligibility 'wages-waiting' makes users eligible for ClusterRole 'view' in namespace 'wages': this requires the verb bind on the role there (holding its permissions is not sufficient); ask a user who has it to write the object, or be granted the rule {rule} by a RoleBinding there, or the verb administer on approvalpolicies.jitrbac.dev 'wages-awaited'"
    );
    let mut waiting = by_all("wages-waiting");
    waiting["spec"]["policyRef"]["name"] = json!("wages-awaited");
    scene.admin(&[waiting]).await?;
    let automatic: Value = json!({"approval": {"automatic": {}}});
    book.apply("A policy for roles that the author may not bind", WHO, policy("wages-awaited", &automatic), &[], Webhook(&says)).await?;
    book.kubectl(
        "A label that decides who is eligible",
        WHO,
        &["label", "namespace", "wages", "reach.jitrbac.dev/team=wages"],
        "Error from server (Forbidden): namespaces \"wages\" is forbidden: ValidatingAdmissionPolicy 'jit-rbac-namespaces' with binding 'jit-rbac-namespaces' denied request: the label reach.jitrbac.dev/team decides who is eligible in namespace wages: setting, changing or removing it requires the verb administer on namespacelabels.jitrbac.dev in the whole cluster (chart value guardedLabels)",
    )
    .await?;
    scene.kubectl(ADMIN, &["delete", "clusterrolebinding", "wages-writer", "wages-labels"]).await?.ok()?;
    book.close()
}
