//! The operator's RBAC rules, read from the API server, and whether a call is within them.

use control_plane::AuditEvent;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject};
use kube::{Api, Client, ResourceExt, api::ListParams};

use crate::env::Error;

/// Namespace of the operator's two accounts.
pub const NAMESPACE: &str = "jit-system";

/// The permissions of one account.
#[derive(Clone, Debug, Default)]
pub struct Rules(Vec<Scoped>);

/// A rule and its namespace; without a namespace it is cluster-wide.
#[derive(Clone, Debug)]
struct Scoped {
    namespace: Option<String>,
    rule: PolicyRule,
}

impl Rules {
    /// Returns all rules that are bound to an account of the operator.
    pub async fn of(client: &Client, account: &str) -> Result<Self, Error> {
        let mut rules = Vec::new();
        for binding in Api::<ClusterRoleBinding>::all(client.clone()).list(&ListParams::default()).await? {
            if is_bound(binding.subjects.as_ref(), account) {
                let role = Api::<ClusterRole>::all(client.clone()).get(&binding.role_ref.name).await?;
                rules.extend(role.rules.into_iter().flatten().map(|rule| Scoped { namespace: None, rule }));
            }
        }
        for binding in Api::<RoleBinding>::all(client.clone()).list(&ListParams::default()).await? {
            if is_bound(binding.subjects.as_ref(), account) {
                let namespace = binding.namespace().unwrap_or_default();
                let found = of_role(client, &namespace, &binding.role_ref).await?;
                rules.extend(found.into_iter().map(|rule| Scoped { namespace: Some(namespace.clone()), rule }));
            }
        }
        if rules.is_empty() { Err(format!("no role is bound to the account {account}").into()) } else { Ok(Self(rules)) }
    }

    /// Returns whether these rules allow a call. The version, which every client may read, is also allowed.
    pub fn allow(&self, event: &AuditEvent) -> bool {
        let Some(object) = &event.object_ref else {
            return event.verb == "get" && event.request_uri == "/version";
        };
        let resource = event.resource();
        self.0.iter().any(|Scoped { namespace, rule }| {
            namespace.as_ref().is_none_or(|namespace| *namespace == object.namespace)
                && has(Some(&rule.verbs), &event.verb)
                && has(rule.api_groups.as_ref(), &object.api_group)
                && has(rule.resources.as_ref(), &resource)
                && rule.resource_names.as_ref().is_none_or(|names| names.is_empty() || has(Some(names), &object.name))
        })
    }
}

async fn of_role(client: &Client, namespace: &str, role: &RoleRef) -> Result<Vec<PolicyRule>, Error> {
    let rules = match role.kind.as_str() {
        "Role" => Api::<Role>::namespaced(client.clone(), namespace).get(&role.name).await?.rules,
        _ => Api::<ClusterRole>::all(client.clone()).get(&role.name).await?.rules,
    };
    Ok(rules.unwrap_or_default())
}

fn is_bound(subjects: Option<&Vec<Subject>>, account: &str) -> bool {
    let is = |s: &Subject| s.kind == "ServiceAccount" && s.name == account && s.namespace.as_deref() == Some(NAMESPACE);
    subjects.into_iter().flatten().any(is)
}

/// The chart's rules name everything: a wildcard does not occur and allows nothing here.
fn has(list: Option<&Vec<String>>, item: &str) -> bool {
    list.is_some_and(|list| list.iter().any(|entry| entry == item))
}
