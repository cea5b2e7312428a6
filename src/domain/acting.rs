//! Whether a requester could act as the `ServiceAccount` that approves the request. If so, the two accounts count as one person.

use super::{
    author::Question,
    emergency,
    person::{self, Account},
    refusal::Refusal,
};
use api::{
    ApprovalPolicySpec, People, Reason, Stamp, Verb,
    identity::{PrincipalName, SERVICE_ACCOUNT_PREFIX},
};

/// The documented ways to act as a `ServiceAccount` without impersonation: by a token, by a Secret that holds one, and by a Pod that runs
/// as it. Write access to Pods, or to the workloads that create them, in its namespace allows the last one.
const IN_ITS_NAMESPACE: &[(&str, &str, &[&str])] = &[
    ("", "secrets", &["get", "list", "watch", "create"]),
    ("", "pods", &["create", "update", "patch"]),
    ("", "pods/exec", &["create", "get"]),
    ("", "pods/attach", &["create", "get"]),
    ("", "pods/ephemeralcontainers", &["update", "patch"]),
    ("", "replicationcontrollers", &["create", "update", "patch"]),
    ("apps", "deployments", &["create", "update", "patch"]),
    ("apps", "daemonsets", &["create", "update", "patch"]),
    ("apps", "replicasets", &["create", "update", "patch"]),
    ("apps", "statefulsets", &["create", "update", "patch"]),
    ("batch", "cronjobs", &["create", "update", "patch"]),
    ("batch", "jobs", &["create", "update", "patch"]),
];

/// Returns the access reviews of the requester that must all be denied if a `ServiceAccount` makes a decision that requires a second
/// person. Returns none if a human decides, or if the decision can only remove access.
#[must_use]
pub fn questions<'a>(verb: Verb, decider: &'a Stamp, account: &'a Account) -> Vec<Question<'a>> {
    let (Verb::Approve | Verb::Review, Account::ServiceAccount { namespace, name }) = (verb, account) else { return Vec::new() };
    let there = Some(namespace.as_str());
    let mut all = vec![
        Question { verb: "create", group: "", resource: "serviceaccounts/token", name, namespace: there },
        Question { verb: "impersonate", group: "", resource: "serviceaccounts", name, namespace: there },
        Question { verb: "impersonate", group: "", resource: "users", name: decider.username.as_str(), namespace: None },
    ];
    for (group, resource, verbs) in IN_ITS_NAMESPACE {
        all.extend(verbs.iter().map(|verb| Question { verb, group, resource, name: "", namespace: there }));
    }
    all
}

/// Returns the refusal of a decision by a `ServiceAccount` that the requester could act as.
#[must_use]
pub fn refusal(requester: &Stamp, request: &str, decider: &Stamp, question: &Question<'_>) -> Refusal {
    let named = if question.name.is_empty() { String::new() } else { format!(" '{}'", question.name) };
    let place = question.namespace.map(|namespace| format!(" in namespace '{namespace}'")).unwrap_or_default();
    Refusal::new(
        Reason::SelfApprovalNotAllowed,
        format!(
            "'{}' created request '{request}' and may {} {}{named}{place}, so they can act as '{}', which counts as the same person; \
             another user must decide, or an admin must revoke that permission",
            requester.username, question.verb, question.resource, decider.username
        ),
    )
}

/// Returns a warning for each `ServiceAccount` that a policy allows to make a decision that requires a second person.
#[must_use]
pub fn warnings(policy: &ApprovalPolicySpec) -> Vec<String> {
    let stages = policy.approval.stages.iter().map(|stage| (format!("an approver of stage '{}'", stage.name), &stage.approvers));
    let reviewers = emergency::reviewers(policy).into_iter().map(|people| ("a reviewer of emergencies".to_owned(), people));
    let accounts = |people: &People| people.users.iter().filter(|user| is_service_account(user)).cloned().collect::<Vec<_>>();
    stages
        .chain(reviewers)
        .flat_map(|(what, people)| accounts(people).into_iter().map(move |user| (what.clone(), user)))
        .map(|(what, user)| {
            format!(
                "ServiceAccount '{user}' is {what}: any user who can create its token, read its Secrets, run Pods in its namespace or \
                 impersonate it can decide as this account"
            )
        })
        .collect()
}

fn is_service_account(user: &PrincipalName) -> bool {
    user.as_str().starts_with(SERVICE_ACCOUNT_PREFIX)
}

/// Returns the known groups of a requester: those in the stamp, and those that Kubernetes itself adds.
#[must_use]
pub fn groups(requester: &Stamp) -> Vec<String> {
    let own = match person::account(requester) {
        Ok(Account::ServiceAccount { namespace, .. }) => {
            vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")]
        }
        _ => Vec::new(),
    };
    requester.groups.iter().map(ToString::to_string).chain(own).chain(["system:authenticated".to_owned()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(name: &str) -> Stamp {
        Stamp { username: name.to_owned().try_into().unwrap(), groups: vec!["devs".to_owned().try_into().unwrap()], ..Stamp::default() }
    }

    #[test]
    fn f56_only_a_service_account_that_approves_or_reviews_is_asked_about() {
        let (bot, dev) = (stamp("system:serviceaccount:ci:bot"), stamp("lead-1"));
        for (verb, who, asks) in [
            (Verb::Approve, &bot, true),
            (Verb::Review, &bot, true),
            (Verb::Deny, &bot, false),
            (Verb::Revoke, &bot, false),
            (Verb::Deactivate, &bot, false),
            (Verb::Approve, &dev, false),
        ] {
            let account = person::account(who).unwrap();
            assert_eq!(!questions(verb, who, &account).is_empty(), asks, "{verb:?} {}", who.username);
        }
        let account = person::account(&bot).unwrap();
        let all = questions(Verb::Approve, &bot, &account);
        let asked = |verb: &str, resource: &str| all.iter().any(|question| question.verb == verb && question.resource == resource);
        for (verb, resource) in [
            ("create", "serviceaccounts/token"),
            ("impersonate", "serviceaccounts"),
            ("impersonate", "users"),
            ("get", "secrets"),
            ("create", "pods"),
            ("get", "pods/exec"),
            ("patch", "pods/ephemeralcontainers"),
            ("patch", "deployments"),
            ("create", "cronjobs"),
        ] {
            assert!(asked(verb, resource), "{verb} {resource}");
        }
        assert!(all.iter().all(|question| question.namespace == Some("ci") || question.resource == "users"));
        assert_eq!(groups(&stamp("dev")), ["devs", "system:authenticated"]);
        assert_eq!(groups(&bot), ["devs", "system:serviceaccounts", "system:serviceaccounts:ci", "system:authenticated"]);
        assert_eq!(
            refusal(&stamp("dev"), "now", &bot, &all[0]).to_string(),
            "SelfApprovalNotAllowed: 'dev' created request 'now' and may create serviceaccounts/token 'bot' in namespace 'ci', so they can \
             act as 'system:serviceaccount:ci:bot', which counts as the same person; another user must decide, or an admin must revoke \
             that permission"
        );
    }

    #[test]
    fn f56_a_policy_with_a_service_account_that_decides_is_warned_about() {
        let spec = |value: serde_json::Value| serde_json::from_value::<ApprovalPolicySpec>(value).unwrap();
        let stage = |users: &[&str]| serde_json::json!({"approval": {"stages": [{"name": "lead", "approvers": {"users": users}}]}});
        assert!(warnings(&spec(stage(&["lead-1"]))).is_empty());
        let told = warnings(&spec(stage(&["lead-1", "system:serviceaccount:ci:bot"])));
        assert_eq!(told.len(), 1);
        assert!(
            told[0].starts_with("ServiceAccount 'system:serviceaccount:ci:bot' is an approver of stage 'lead': any user who can create")
        );
    }
}
