//! The digest that an approver approves: one hash over everything that would be granted (T2, T3, T17).

use sha2::{Digest as _, Sha256};

use super::{
    canonical::{canonical, hex},
    facts::{NamespaceFacts, Object, RequestFacts, RoleFacts},
};
use api::{ApprovalPolicySpec, RoleEligibilitySpec};

/// The first line that is hashed. Change it with every change of the hashed content.
const VERSION: &str = "jitrbac.dev/digest/v1\n";

/// `sha256:` and 64 hex digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(String);

impl Digest {
    /// Returns the digest of what this request would grant now: the request (UID and spec), the namespace, the eligibility and the policy
    /// (UID and spec), the role (UID and rules).
    #[must_use]
    pub fn of(
        request: &RequestFacts,
        namespace: &NamespaceFacts,
        eligibility: &Object<RoleEligibilitySpec>,
        policy: &Object<ApprovalPolicySpec>,
        role: &RoleFacts,
    ) -> Self {
        let granted = serde_json::json!({
            "request": {"uid": request.object.uid, "spec": request.object.spec},
            "namespace": {"name": request.namespace, "uid": namespace.uid},
            "eligibility": {"uid": eligibility.uid, "spec": eligibility.spec},
            "policy": {"uid": policy.uid, "spec": policy.spec},
            "role": {"kind": role.kind, "name": role.name, "uid": role.uid, "rules": role.rules.hash()},
        });
        let mut hasher = Sha256::new();
        hasher.update(VERSION.as_bytes());
        hasher.update(canonical(&granted));
        Self(format!("sha256:{}", hex(&hasher.finalize())))
    }

    /// Returns the digest as it is shown.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns true if `shown` is this digest, with or without `sha256:`. A prefix of the digits is not enough: a writer of the role could
    /// search for another role with the same prefix.
    #[must_use]
    pub fn is_shown_as(&self, shown: &str) -> bool {
        shown == self.0 || self.0.strip_prefix("sha256:") == Some(shown)
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
