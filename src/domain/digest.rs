//! What an approver approves: one hash over everything that would be granted (T2, T3, T17).

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::facts::{NamespaceFacts, Object, RequestFacts, RoleFacts};
use api::{ApprovalPolicySpec, RoleEligibilitySpec};

/// The first line that is hashed: a change of what goes in must change it.
const VERSION: &str = "jitrbac.dev/digest/v1\n";

/// `sha256:` and 64 hex digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(String);

impl Digest {
    /// The digest of what this request would grant, as things stand: the request (UID and spec), the namespace, eligibility and policy
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

    /// The digest as it is shown.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True when `shown` is this digest, with or without `sha256:`. A part of its digits is not enough: whoever writes the role could look
    /// for another one that begins with them.
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

/// One byte string for one value: JSON with the members of every object in the order of their names, without nulls.
///
/// Written out here, because the order in which `serde_json` prints members depends on features that other crates may switch on.
#[must_use]
pub fn canonical<T: Serialize>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    append(&serde_json::to_value(value).unwrap_or(Value::Null), &mut out);
    out
}

fn append(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(map) => {
            let mut members: Vec<(&String, &Value)> = map.iter().filter(|(_, v)| !v.is_null()).collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            out.push(b'{');
            for (i, (name, member)) in members.into_iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                out.extend_from_slice(Value::from(name.as_str()).to_string().as_bytes());
                out.push(b':');
                append(member, out);
            }
            out.push(b'}');
        }
        Value::Array(items) => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                append(item, out);
            }
            out.push(b']');
        }
        scalar => out.extend_from_slice(scalar.to_string().as_bytes()),
    }
}

/// Bytes in hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
