//! Names in objects: the API group, labels, annotations and field managers.

/// API group of all kinds.
pub const GROUP: &str = "jitrbac.dev";
/// Version of all kinds.
pub const VERSION: &str = "v1alpha1";
/// API group of roles and bindings.
pub const RBAC_GROUP: &str = "rbac.authorization.k8s.io";

/// Field manager of what the controller writes.
pub const FIELD_MANAGER: &str = "jit-rbac";
/// Field manager of what the webhook writes.
pub const WEBHOOK_FIELD_MANAGER: &str = "jit-rbac-webhook";
/// Field manager of what the notify process writes.
pub const NOTIFY_FIELD_MANAGER: &str = "jit-rbac-notify";
/// Field manager of what `kubectl jit` writes.
pub const PLUGIN_FIELD_MANAGER: &str = "kubectl-jit";

/// Label of every RoleBinding that the operator created. Its value is [`MANAGED_VALUE`].
pub const MANAGED_LABEL: &str = "jitrbac.dev/managed";
/// The only value of [`MANAGED_LABEL`].
pub const MANAGED_VALUE: &str = "true";
/// Label selector of the managed bindings.
pub const MANAGED_SELECTOR: &str = "jitrbac.dev/managed=true";

/// On a managed binding: the deadline for its removal (RFC 3339, UTC, whole seconds).
pub const EXPIRES_AT: &str = "jitrbac.dev/expires-at";
/// On a managed binding: the start of the activation; for an extension, the start of the first activation in its extension chain.
pub const STARTED_AT: &str = "jitrbac.dev/started-at";
/// On a managed binding: name of the request in the same namespace.
pub const REQUEST: &str = "jitrbac.dev/request";
/// On a managed binding: UID of the namespace that was approved (T37).
pub const NAMESPACE_UID: &str = "jitrbac.dev/namespace-uid";
/// On a managed binding: digest of what was approved.
pub const DIGEST: &str = "jitrbac.dev/digest";
/// On a managed binding: user name of the stamped requester.
pub const REQUESTER: &str = "jitrbac.dev/requester";
/// On a managed binding: the justification of the request.
pub const JUSTIFICATION: &str = "jitrbac.dev/justification";

/// On a receiver of notifications: a requested test message, as JSON with `id` and, for mail, `to`.
pub const TEST: &str = "jitrbac.dev/test";

/// On an eligibility or a policy: the user who wrote the current spec, stamped at admission.
pub const AUTHOR: &str = "jitrbac.dev/author";

/// On an eligibility or a policy: the basis of the author check, stamped at admission; see `domain::checked`.
pub const AUTHOR_CHECK: &str = "jitrbac.dev/author-check";

/// On a policy: the UIDs of requests that no longer exist and whose reviews an admin has settled, separated by commas.
pub const SETTLED_REVIEWS: &str = "jitrbac.dev/settled-reviews";

/// On an object of a dry run: the policy that must refuse it, which proves that the policy is in force.
pub const PROBE_LABEL: &str = "jitrbac.dev/probe";
/// On the Lease: when the guards were verified, and what was written while they were not.
pub const GUARDS: &str = "jitrbac.dev/guards";

/// On the Lease: the UID of the controller's ServiceAccount whose installation is being removed. Replicas with this ServiceAccount do not take
/// the Lease, so they grant nothing.
pub const UNINSTALLING: &str = "jitrbac.dev/uninstalling";

/// On the Lease of the record: size and root of the published checkpoint of the audit log.
pub const RECORD_CHECKPOINT: &str = "jitrbac.dev/record-checkpoint";
/// On the Lease of the record: the `resourceVersion` up to which every transition of a request is in that checkpoint.
pub const RECORDED_VERSION: &str = "jitrbac.dev/recorded-version";

/// Part of the message by which the chart's rule on `maxGrant` refuses a managed binding. It identifies that rule among other refusals.
pub const ABOVE_MAX_GRANT: &str = "(chart value maxGrant)";

/// The name prefix of managed bindings, in the form `jit-<uid of the request>`.
pub const BINDING_PREFIX: &str = "jit-";

/// Returns the name of the binding of the request with this UID.
#[must_use]
pub fn binding_name(request_uid: &str) -> String {
    format!("{BINDING_PREFIX}{request_uid}")
}

/// Returns the UID of the request if `name` has the form `jit-<uuid>`, which only the operator may use (T32).
#[must_use]
pub fn request_uid_of(name: &str) -> Option<&str> {
    let uid = name.strip_prefix(BINDING_PREFIX)?;
    let lengths = uid.split('-').map(str::len);
    let hex = uid.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f' | b'-'));
    (hex && lengths.eq([8, 4, 4, 4, 12])).then_some(uid)
}

/// The webhook for requests and decisions, by its name in both webhook configurations.
pub const PEOPLE_WEBHOOK: &str = "activations.jitrbac.dev";
/// True for a valid name of a namespace or of an object of the kinds. No object has any other name, and it is never put into a path.
#[must_use]
pub fn is_object_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 253
        && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.'))
        && !name.starts_with('.')
}

/// True for a name of a role that needs no escaping in a path. Kubernetes allows a few more, which cannot be activated.
#[must_use]
pub fn is_role_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~:@+".contains(&b);
    !name.is_empty() && name.len() <= 253 && name.bytes().all(plain) && name != "." && name != ".."
}

/// The webhook for eligibilities and policies, by its name in both webhook configurations.
pub const ADMIN_WEBHOOK: &str = "eligibilities.jitrbac.dev";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t26_what_people_write_cannot_lead_a_call_elsewhere() {
        for name in ["a", "payments-oncall", "inc-4711.x", "0", &"a".repeat(253)] {
            assert!(is_object_name(name), "{name}");
        }
        for name in ["", "..", ".", "../secrets/x", "a/../../x", "a?b=c", "a b", "a%2fb", "A", "a,b=c", "a#", "é", &"a".repeat(254)] {
            assert!(!is_object_name(name), "{name}");
        }
        assert!(is_role_name("system:node") && is_role_name("Team@A_1"));
        for name in ["", ".", "..", "a/b", "a%2e", "a?b", "a b", "a#b"] {
            assert!(!is_role_name(name), "{name}");
        }
    }

    #[test]
    fn all_kinds_have_the_group_and_the_version() {
        use kube::Resource;
        fn names<K: Resource<DynamicType = ()>>() -> (String, String) {
            (K::group(&()).into_owned(), K::version(&()).into_owned())
        }
        for found in [
            names::<crate::RoleEligibility>(),
            names::<crate::ApprovalPolicy>(),
            names::<crate::RoleActivationRequest>(),
            names::<crate::ActivationDecision>(),
            names::<crate::NotificationReceiver>(),
            names::<crate::NotificationRule>(),
        ] {
            assert_eq!(found, (GROUP.to_owned(), VERSION.to_owned()));
        }
    }

    #[test]
    fn only_the_operators_form_is_a_binding_name() {
        let uid = "0b9f5f6e-3f2a-4c7e-9f58-0f8f8f1b2c3d";
        assert_eq!(request_uid_of(&binding_name(uid)), Some(uid));
        for name in ["jit-", "jit-x", "jitx", "jit-0b9f5f6e-3f2a-4c7e-9f58-0f8f8f1b2c3", "jit-0B9f5f6e-3f2a-4c7e-9f58-0f8f8f1b2c3d"] {
            assert_eq!(request_uid_of(name), None, "{name}");
        }
    }
}
