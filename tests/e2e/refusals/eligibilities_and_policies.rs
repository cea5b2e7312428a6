//! Eligibilities and policies that are denied to cluster administrators.

use std::sync::Arc;

use control_plane::ADMIN;
use serde_json::{Value, json};

use super::{
    Book,
    By::{Policy, Schema, Webhook},
    Row, eligibility, policy,
};
use crate::{
    ensure,
    env::{Env, Outcome, TestCase},
    test_cases,
};

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![refused_eligibilities_get_the_reason, refused_policies_get_the_reason]
}

async fn refused_eligibilities_get_the_reason(env: Arc<Env>) -> Outcome {
    let scene = env.scene("refunds").await?;
    let spec = json!({"approval": {"automatic": {}}, "limits": {"minDuration": "5m"}, "eligibility": {"maxDuration": "8760h", "requireJustification": true}});
    scene.admin(&[policy("refunds-policy", &spec)]).await?;
    let mut book = Book::new(&scene, "Eligibilities")?;
    let new = || {
        let mut object = eligibility("refunds-oncall", "refunds");
        object["spec"]["policyRef"]["name"] = json!("refunds-policy");
        object["spec"]["startTime"] = json!("2035-06-01T00:00:00Z");
        object["spec"]["justification"] = json!("they are on call for refunds");
        object
    };
    for (title, changes, says) in eligibilities_by_schema() {
        book.apply(title, ADMIN, new(), &changes, Schema(says)).await?;
    }
    for (title, changes, says) in eligibilities_by_webhook() {
        book.apply(title, ADMIN, new(), &changes, Webhook(says)).await?;
    }
    let says = "Error from server (NotFound): roleeligibilities.jitrbac.dev \"refunds-oncall\" not found";
    book.kubectl("None of them is stored", ADMIN, &["get", "roleeligibility", "refunds-oncall"], says).await?;
    book.text.truncate(book.text.rfind("### ").unwrap_or_default());
    book.close()
}

fn eligibilities_by_schema() -> Vec<Row<'static>> {
    let many: Vec<Value> = (0..300).map(|number| json!({"kind": "User", "name": format!("user-{number}")})).collect();
    vec![
        (
            "300 subjects",
            vec![("spec.subjects", json!(many))],
            "\n* spec.subjects: Too many: 300: must have at most 256 items\n* <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation",
        ),
        (
            "No subjects",
            vec![("spec.subjects", json!([]))],
            "spec.subjects: Invalid value: 0: spec.subjects in body should have at least 1 items",
        ),
        (
            "A system group",
            vec![("spec.subjects.0.name", json!("system:authenticated"))],
            "spec.subjects[0]: Invalid value: names that start with 'system:' belong to Kubernetes and cannot be eligible; for a ServiceAccount write kind: ServiceAccount",
        ),
        (
            "A ServiceAccount as a user",
            vec![("spec.subjects.0", json!({"kind": "User", "name": "system:serviceaccount:ci:deployer"}))],
            "spec.subjects[0]: Invalid value: names that start with 'system:' belong to Kubernetes and cannot be eligible; for a ServiceAccount write kind: ServiceAccount",
        ),
        (
            "A ServiceAccount without namespace",
            vec![("spec.subjects.0.kind", json!("ServiceAccount"))],
            "spec.subjects[0]: Invalid value: a ServiceAccount needs `namespace`; a User or Group may not have it",
        ),
        (
            "A group with a UID",
            vec![("spec.subjects.0.uid", json!("u-1"))],
            "spec.subjects[0]: Invalid value: only a User or ServiceAccount has a `uid`",
        ),
        (
            "Nowhere",
            vec![("spec.namespaces", json!({}))],
            "spec.namespaces: Invalid value: at least one of `names` and `selector` must be given",
        ),
        (
            "An empty selector",
            vec![("spec.namespaces", json!({"selector": {}}))],
            "spec.namespaces.selector: Invalid value: an empty selector would match every namespace; to select every namespace, write matchExpressions: [{key: kubernetes.io/metadata.name, operator: Exists}]",
        ),
        (
            "A duration of zero",
            vec![("spec.maxDuration", json!("0s"))],
            "spec.maxDuration: Invalid value: \"0s\": must be hours, minutes and seconds such as 45m, 1h30m or 90s, from 1s to 99999h",
        ),
        (
            "A default above the maximum",
            vec![("spec.defaultDuration", json!("5h"))],
            "spec: Invalid value: `defaultDuration` must not be longer than `maxDuration`",
        ),
        (
            "An end before the start",
            vec![("spec.endTime", json!("2034-01-01T00:00:00Z"))],
            "spec: Invalid value: `startTime` must be before `endTime`",
        ),
        (
            "No policy",
            vec![("spec.policyRef", Value::Null)],
            "\n* spec.policyRef: Required value\n* <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation",
        ),
        (
            "Invisible characters in a name",
            vec![("spec.policyRef.name", json!("two-\u{200b}eyes"))],
            "spec.policyRef.name: Invalid value: \"two-\\u200beyes\": must be the name of an object: lower case letters, digits, '-' and '.'",
        ),
    ]
}

fn eligibilities_by_webhook() -> Vec<Row<'static>> {
    let account = json!([{"kind": "ServiceAccount", "namespace": "ci", "name": "deployer"}]);
    vec![
        (
            "A ClusterRole that is not bindable",
            vec![("spec.roleRef.name", json!("cluster-admin"))],
            "RoleNotBindable: ClusterRole 'cluster-admin' is not in the chart's value bindableRoles.clusterRoles, so the operator may not grant it; add it there, or use a role that is listed",
        ),
        (
            "A Role that is not bindable",
            vec![("spec.roleRef", json!({"kind": "Role", "name": "root"}))],
            "RoleNotBindable: Role 'root' is not in the chart's value bindableRoles.roles, so the operator may not grant it; add it there, or use a role that is listed",
        ),
        (
            "Longer than maxGrant",
            vec![("spec.maxDuration", json!("25h"))],
            "AboveMaxGrant: spec.maxDuration is 25h, at most 24h is allowed by the chart's value maxGrant; lower the field or raise the value",
        ),
        (
            "No end",
            vec![("spec.endTime", Value::Null)],
            "EndRequired: spec.endTime is missing and policy 'refunds-policy' requires it (spec.eligibility.requireEnd); set it, or set requireEnd to false",
        ),
        (
            "A too late end",
            vec![("spec.endTime", json!("2037-01-01T00:00:00Z"))],
            "EligibilityTooLong: the eligibility ends at 2037-01-01T00:00:00Z; policy 'refunds-policy' allows 8760h (spec.eligibility.maxDuration): spec.endTime may be 2036-05-31T00:00:00Z at the latest",
        ),
        (
            "Shorter than its policy allows",
            vec![("spec.maxDuration", json!("4m"))],
            "InvalidField: spec.maxDuration 4m is shorter than the minimum of policy 'refunds-policy' (spec.limits.minDuration 5m)",
        ),
        (
            "A ServiceAccount",
            vec![("spec.subjects", account.clone())],
            "ServiceAccountNotAllowed: spec.subjects lists the ServiceAccount 'deployer'; this requires spec.allowServiceAccounts: true",
        ),
        (
            "A ServiceAccount without approver",
            vec![("spec.subjects", account), ("spec.allowServiceAccounts", json!(true))],
            "ServiceAccountNotAllowed: spec.allowServiceAccounts is true and policy 'refunds-policy' approves automatically: a ServiceAccount needs an approver",
        ),
        (
            "A system namespace",
            vec![("spec.namespaces.names.0", json!("kube-system"))],
            "NamespaceProtected: namespace 'kube-system' is the cluster's own: no role can be activated in it, unless the chart's value systemNamespaces lists it",
        ),
        (
            "The operator's namespace",
            vec![("spec.namespaces.names.0", json!("jit-system"))],
            "NamespaceProtected: namespace 'jit-system' is the operator's own: no role can be activated in it",
        ),
        (
            "No justification, though its policy requires one",
            vec![("spec.justification", Value::Null)],
            "ReasonRequired: spec.justification is missing and policy 'refunds-policy' requires it (spec.eligibility.requireJustification); set it to why these users are eligible",
        ),
        (
            "A role with effects that outlast a grant",
            vec![("spec.acceptRisks", json!(["Impersonation"]))],
            "RiskNotAccepted: ClusterRole 'edit' can create serviceaccounts/token (class ServiceAccountTokens): access gained this way can outlive a grant; use a role without it, or add ServiceAccountTokens to spec.acceptRisks",
        ),
        (
            "A role with several such effects",
            vec![("spec.roleRef.name", json!("admin")), ("spec.acceptRisks", Value::Null)],
            "RiskNotAccepted: ClusterRole 'admin' can create roles.rbac.authorization.k8s.io (class Escalation), and impersonate serviceaccounts (class Impersonation), and create serviceaccounts/token (class ServiceAccountTokens): access gained this way can outlive a grant; use a role without it, or add Escalation, Impersonation, ServiceAccountTokens to spec.acceptRisks",
        ),
    ]
}

async fn refused_policies_get_the_reason(env: Arc<Env>) -> Outcome {
    let scene = env.scene("policies").await?;
    let mut book = Book::new(&scene, "Policies")?;
    let new = || policy("four-eyes-2", &json!({"approval": {"stages": [{"name": "leads", "approvers": {"groups": ["leads"]}}]}}));
    for (title, changes, says) in policies_by_schema() {
        book.apply(title, ADMIN, new(), &changes, Schema(says)).await?;
    }
    let strangers = |name: &str| {
        format!(
            "users and groups of Kubernetes itself cannot approve, revoke or review: {name}; use users or groups of people, or a ServiceAccount in users with its full name system:serviceaccount:<namespace>:<name>"
        )
    };
    for (title, path, value) in [
        ("A system group as approvers", "spec.approval.stages.0.approvers.groups", "system:masters"),
        ("A system user as approver", "spec.approval.stages.0.approvers.users", "system:admin"),
        ("A system group as revokers", "spec.revokers", "system:authenticated"),
        ("A system group as reviewers", "spec.emergency", "system:authenticated"),
    ] {
        let value_in = match path {
            "spec.revokers" => json!({"groups": [value]}),
            "spec.emergency" => json!({"allowed": true, "reviewers": {"groups": [value]}}),
            _ => json!([value]),
        };
        book.apply(title, ADMIN, new(), &[(path, value_in)], Policy("approval-policies", &strangers(value))).await?;
    }
    for (title, changes, says) in policies_by_webhook() {
        book.apply(title, ADMIN, new(), &changes, Webhook(says)).await?;
    }
    // An empty field requires nothing.
    let mut unset = new();
    unset["spec"]["limits"] = json!({"cooldown": "0s"});
    unset["spec"]["emergency"] = json!({"allowed": false});
    unset["spec"]["requirements"] = json!({"ticket": {"required": false, "system": "", "pattern": ""}});
    unset["spec"]["windows"] = json!([]);
    let said = scene.apply(ADMIN, &unset).await?.ok()?;
    ensure!(said.trim() == "approvalpolicy.jitrbac.dev/four-eyes-2 created", "kubectl says {said}");
    book.close()
}

fn policies_by_schema() -> Vec<Row<'static>> {
    let choose =
        "spec.approval: Invalid value: exactly one of `automatic: {}` and `stages` must be given: automatic approval must be explicit";
    let nobody = "spec.approval.stages[0].approvers: Invalid value: a stage must have at least one approver in `users` or `groups`";
    let required = "\n* spec.approval.stages[0].approvers: Required value\n* <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
    vec![
        ("Neither automatic nor stages", vec![("spec.approval", json!({}))], choose),
        ("Both automatic and stages", vec![("spec.approval.automatic", json!({}))], choose),
        ("An empty list of stages", vec![("spec.approval.stages", json!([]))], choose),
        ("A stage with empty approvers", vec![("spec.approval.stages.0.approvers", json!({}))], nobody),
        ("A stage with empty lists of approvers", vec![("spec.approval.stages.0.approvers", json!({"users": [], "groups": []}))], nobody),
        ("A stage without approvers", vec![("spec.approval.stages.0.approvers", Value::Null)], required),
        (
            "A quorum of zero",
            vec![("spec.approval.stages.0.required", json!(0))],
            "spec.approval.stages[0].required: Invalid value: 0: spec.approval.stages[0].required in body should be greater than or equal to 1",
        ),
        (
            "A minimum above the maximum",
            vec![("spec.limits", json!({"minDuration": "2h", "maxDuration": "1h"}))],
            "spec.limits: Invalid value: `minDuration` must not be longer than `maxDuration`",
        ),
        (
            "Emergencies without reviewers",
            vec![("spec.emergency", json!({"allowed": true}))],
            "spec.emergency: Invalid value: `allowed` needs at least one entry in `reviewers`: an emergency activation is reviewed afterwards",
        ),
        (
            "An invalid time of day",
            vec![("spec.windows", json!([{"from": "08:00", "to": "24:00", "timeZone": "UTC"}]))],
            "spec.windows[0].to: Invalid value: \"24:00\": spec.windows[0].to in body should match '^([01][0-9]|2[0-3]):[0-5][0-9]$'",
        ),
    ]
}

fn policies_by_webhook() -> Vec<Row<'static>> {
    let stage = |name: &str| json!({"name": name, "approvers": {"groups": ["leads"]}});
    let window = |to: &str, zone: &str| json!([{"days": ["Mon"], "from": "08:00", "to": to, "timeZone": zone}]);
    vec![
        (
            "A larger quorum than the named approvers",
            vec![("spec.approval.stages.0.approvers", json!({"users": ["lead-1"]})), ("spec.approval.stages.0.required", json!(2))],
            "QuorumImpossible: stage 'leads' requires 2 approvers and lists 1; list more users or a group, or lower `required`",
        ),
        (
            "Two stages with the same name",
            vec![("spec.approval.stages", json!([stage("leads"), stage("leads")]))],
            "InvalidField: two stages are named 'leads'; give each stage a unique name",
        ),
        (
            "Longer than maxGrant",
            vec![("spec.limits", json!({"maxDuration": "25h"}))],
            "AboveMaxGrant: spec.limits.maxDuration is 25h, at most 24h is allowed by the chart's value maxGrant; lower the field or raise the value",
        ),
        (
            "An invalid pattern for justifications",
            vec![("spec.requirements", json!({"justification": {"pattern": "INC-("}}))],
            "InvalidField: spec.requirements.justification.pattern 'INC-(' cannot be used: unclosed group",
        ),
        (
            "An invalid pattern for tickets",
            vec![("spec.requirements", json!({"ticket": {"pattern": "INC-["}}))],
            "InvalidField: spec.requirements.ticket.pattern 'INC-[' cannot be used: unclosed character class",
        ),
        (
            "Empty authentication requirements",
            vec![("spec.requirements", json!({"authentication": {}}))],
            "InvalidField: spec.requirements.authentication requires nothing: set `claims` or `maxAge`, or remove it",
        ),
        (
            "A longer total with extensions than maxGrant",
            vec![("spec.limits", json!({"maxTotalDuration": "25h"}))],
            "AboveMaxGrant: spec.limits.maxTotalDuration is 25h, at most 24h is allowed by the chart's value maxGrant; lower the field or raise the value",
        ),
        (
            "A longer emergency than maxGrant",
            vec![("spec.emergency", json!({"allowed": true, "maxDuration": "25h", "reviewers": {"groups": ["security"]}}))],
            "AboveMaxGrant: spec.emergency.maxDuration is 25h, at most 24h is allowed by the chart's value maxGrant; lower the field or raise the value",
        ),
        (
            "An unknown time zone",
            vec![("spec.windows", window("18:00", "Europe/Olso"))],
            "InvalidField: spec.windows[0].timeZone 'Europe/Olso' is not a time zone of the IANA database (did you mean Europe/Oslo?); use one such as Europe/Oslo, or UTC",
        ),
        (
            "A window of zero length",
            vec![("spec.windows", window("08:00", "Europe/Oslo"))],
            "InvalidField: spec.windows[0] starts and ends at 08:00; set another end, or 00:00 in both for the whole day",
        ),
    ]
}
