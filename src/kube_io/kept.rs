//! The cached fields of each kind of object that is watched or listed: what the rules read, and nothing else (T26).

use k8s_openapi::{
    api::{coordination::v1::Lease, rbac::v1::RoleBinding},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::core::DeserializeGuard;
use serde::{Deserialize, de::DeserializeOwned};

use super::sieve::{Keep, SHORT};
use api::{
    ActivationDecision, ApprovalPolicy, NotificationReceiver, NotificationRule, RoleActivationRequest, RoleEligibility, names,
    stored::{MAX_RULES, StoredNamespace, StoredRole},
};

/// Limit of a spec and of a status, in bytes. The schemas allow less.
const CONTENT: usize = 1 << 20;
/// Limit of the labels of a namespace, in bytes: some 200 of the longest there are.
pub const MAX_LABELS: usize = 64 << 10;
/// Limit of our annotations on one object, in bytes.
const ANNOTATIONS: usize = 64 << 10;
const BEGINNING: &str = "jitrbac.dev/";

/// A kind of object, reduced to the fields that are read.
pub trait Kept: DeserializeOwned {
    /// The fields that are read.
    const OBJECT: &'static Keep;

    /// Returns the metadata.
    fn meta(&self) -> &ObjectMeta;
}

/// The fields of every kind, and additional fields of the given kind. Of a watch's error, code and message are read.
macro_rules! object {
    ([$($meta:expr),*], [$($more:expr),*]) => {
        Keep::Members(&[
            (
                "metadata",
                Keep::Members(&[
                    ("name", Keep::Text(SHORT)),
                    ("namespace", Keep::Text(SHORT)),
                    ("uid", Keep::Text(SHORT)),
                    ("resourceVersion", Keep::Text(SHORT)),
                    ("generation", Keep::UpTo(32)),
                    ("creationTimestamp", Keep::UpTo(64)),
                    ("deletionTimestamp", Keep::UpTo(64)),
                    ("finalizers", Keep::List(SHORT)),
                    $($meta),*
                ]),
            ),
            ("code", Keep::UpTo(16)),
            ("message", Keep::Text(SHORT)),
            $($more),*
        ])
    };
}

macro_rules! ours {
    ($($kind:ty),*) => {$(
        impl Kept for DeserializeGuard<$kind> {
            const OBJECT: &'static Keep = &object!(
                [("annotations", Keep::Beginning(BEGINNING, ANNOTATIONS))],
                [("spec", Keep::UpTo(CONTENT)), ("status", Keep::UpTo(CONTENT))]
            );

            fn meta(&self) -> &ObjectMeta {
                kube::Resource::meta(self)
            }
        }
    )*};
}

ours!(RoleEligibility, ApprovalPolicy, RoleActivationRequest, ActivationDecision, NotificationReceiver, NotificationRule);

/// A policy with its labels, by which rules of notifications select it.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub struct LabeledPolicy(pub ApprovalPolicy);

impl Kept for DeserializeGuard<LabeledPolicy> {
    const OBJECT: &'static Keep = &object!(
        [("annotations", Keep::Beginning(BEGINNING, ANNOTATIONS)), ("labels", Keep::UpTo(MAX_LABELS))],
        [("spec", Keep::UpTo(CONTENT)), ("status", Keep::UpTo(CONTENT))]
    );

    fn meta(&self) -> &ObjectMeta {
        kube::Resource::meta(self)
    }
}

impl kube::Resource for LabeledPolicy {
    type DynamicType = ();
    type Scope = <ApprovalPolicy as kube::Resource>::Scope;

    fn kind((): &()) -> std::borrow::Cow<'_, str> {
        ApprovalPolicy::kind(&())
    }
    fn group((): &()) -> std::borrow::Cow<'_, str> {
        ApprovalPolicy::group(&())
    }
    fn version((): &()) -> std::borrow::Cow<'_, str> {
        ApprovalPolicy::version(&())
    }
    fn plural((): &()) -> std::borrow::Cow<'_, str> {
        ApprovalPolicy::plural(&())
    }
    fn meta(&self) -> &ObjectMeta {
        self.0.meta()
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.meta_mut()
    }
}

/// The largest list of subjects of a binding that is read, in bytes.
const SUBJECTS: usize = 64 << 10;

impl Kept for RoleBinding {
    const OBJECT: &'static Keep = &object!([], [("roleRef", Keep::UpTo(SHORT)), ("subjects", Keep::UpTo(SUBJECTS))]);

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
}

impl Kept for Lease {
    const OBJECT: &'static Keep = &object!([("annotations", Keep::Beginning(BEGINNING, 4 * ANNOTATIONS))], []);

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
}

/// A decision, reduced to what identifies the request that must be reconciled.
#[derive(Clone, Debug, Deserialize)]
pub struct DecisionMark {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// The fields of the spec that are read.
    #[serde(default)]
    pub spec: DecisionMarkSpec,
}

/// The fields of a decision's spec that are read. An unknown decision is ignored.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct DecisionMarkSpec {
    /// The request.
    pub request_ref: NameRef,
    /// The verb.
    pub decision: String,
}

/// A reference by name.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct NameRef {
    /// The name.
    pub name: String,
}

impl Kept for DecisionMark {
    const OBJECT: &'static Keep = &object!(
        [],
        [("spec", Keep::Members(&[("requestRef", Keep::Members(&[("name", Keep::Text(SHORT))])), ("decision", Keep::Text(SHORT))]))]
    );

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
}

/// A managed binding, reduced to what its revocation needs.
#[derive(Clone, Debug, Deserialize)]
pub struct BindingMark {
    /// Metadata with the annotations of jit-rbac and its managed label.
    pub metadata: ObjectMeta,
}

impl Kept for BindingMark {
    const OBJECT: &'static Keep = &object!(
        [("annotations", Keep::Beginning(BEGINNING, ANNOTATIONS)), ("labels", Keep::Members(&[(names::MANAGED_LABEL, Keep::Text(SHORT))]))],
        []
    );

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
}

/// An object whose metadata alone is read.
#[derive(Clone, Debug, Deserialize)]
pub struct BareMeta {
    /// Metadata without labels and annotations.
    pub metadata: ObjectMeta,
}

impl Kept for BareMeta {
    const OBJECT: &'static Keep = &object!([], []);

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
}

impl Kept for StoredNamespace {
    const OBJECT: &'static Keep = &object!([("labels", Keep::UpTo(MAX_LABELS))], []);

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
}

impl Kept for StoredRole {
    const OBJECT: &'static Keep = &object!([], [("rules", Keep::UpTo(MAX_RULES))]);

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::sieve::{Part, Sieve};
    use api::stored::Limited;

    fn read<K: Kept>(stored: &serde_json::Value) -> K {
        let mut kept = None;
        let mut sieve = Sieve::new(*K::OBJECT);
        sieve
            .read(stored.to_string().as_bytes(), &mut |part| {
                if let Part::Whole(text) = part {
                    assert!(text.len() < 300_000, "{} bytes are kept", text.len());
                    kept = Some(serde_json::from_slice(text).unwrap());
                }
            })
            .unwrap();
        kept.unwrap()
    }

    /// Returns an object of a kind in which every field that users write has the largest size that the API server accepts.
    fn flooded(more: &serde_json::Value) -> serde_json::Value {
        let labels: BTreeMap<String, String> =
            (0..9_000).map(|n| (format!("{n}.example.com/{}", "x".repeat(50)), "y".repeat(60))).collect();
        let mut object = json!({
            "apiVersion": "v1", "kind": "K",
            "metadata": {
                "annotations": {"jitrbac.dev/author": "ann", "jitrbac.dev/x": "z".repeat(150_000), "other": "o"}, "labels": labels,
                "creationTimestamp": "2026-01-01T00:00:00Z", "generation": 2, "managedFields": [{"manager": "m".repeat(1 << 20)}],
                "name": "n", "namespace": "ns", "resourceVersion": "7", "uid": "u", "finalizers": ["f"],
            },
        });
        if let (Some(object), Some(more)) = (object.as_object_mut(), more.as_object()) {
            object.extend(more.clone());
        }
        object
    }

    #[test]
    fn f48_of_a_flooded_object_only_what_rules_read_is_kept() {
        let decision: DecisionMark =
            read(&flooded(&json!({"spec": {"comment": "c".repeat(1 << 20), "decision": "Approve", "requestRef": {"name": "inc"}}})));
        assert_eq!((decision.spec.request_ref.name.as_str(), decision.spec.decision.as_str()), ("inc", "Approve"));
        assert_eq!((decision.metadata.name.as_deref(), decision.metadata.resource_version.as_deref()), (Some("n"), Some("7")));
        let eligibility: DeserializeGuard<RoleEligibility> = read(&flooded(&json!({"spec": {}})));
        let annotations = Kept::meta(&eligibility).annotations.clone().unwrap();
        assert_eq!(
            annotations.into_iter().collect::<Vec<_>>(),
            [("jitrbac.dev/author", "ann"), ("jitrbac.dev/x", "")].map(|(k, v)| (k.to_owned(), v.to_owned()))
        );
        assert!(Kept::meta(&eligibility).labels.is_none() && Kept::meta(&eligibility).managed_fields.is_none());
        let namespace: StoredNamespace = read(&flooded(&json!({})));
        assert!(namespace.labels_too_long && namespace.metadata.labels.is_none() && namespace.metadata.uid.as_deref() == Some("u"));
        let binding: BindingMark = read(&json!({"metadata": {"name": "b", "labels": {"jitrbac.dev/managed": "true", "a": "b"}}}));
        assert_eq!(binding.metadata.labels.unwrap().len(), 1);
    }

    #[test]
    fn f73_rules_are_kept_up_to_a_limit() {
        let named = |count: usize| {
            let names: Vec<String> = (0..count).map(|n| format!("{n:x}")).collect();
            read::<StoredRole>(&flooded(
                &json!({"rules": [{"apiGroups": [""], "resources": ["pods"], "resourceNames": names, "verbs": ["get"]}]}),
            ))
        };
        assert!(matches!(named(9).rules, Some(Limited::Within(rules)) if rules[0].resource_names.as_ref().unwrap().len() == 9));
        assert!(matches!(named(150_000).rules, Some(Limited::Beyond(bytes)) if bytes > 900_000));
        assert!(read::<StoredRole>(&json!({"metadata": {}, "rules": null})).rules.is_none());
    }
}
