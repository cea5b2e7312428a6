//! Eligibilities and policies that a client may have stored under another schema.

use std::sync::Arc;

use kube::core::{DeserializeGuard, object::HasSpec};

use api::{ApprovalPolicy, ApprovalPolicySpec, text::printable};
use domain::{
    Lookup, Object,
    convert::{deletion, object, policy},
};

/// Returns a policy that a client may have stored under another schema.
#[must_use]
pub fn guarded_policy(guard: DeserializeGuard<ApprovalPolicy>) -> Lookup<Arc<Object<ApprovalPolicySpec>>> {
    match guard.0 {
        Ok(stored) if stored.metadata.deletion_timestamp.is_none() => Lookup::Found(Arc::new(policy(&stored))),
        other => guarded(DeserializeGuard(other)),
    }
}

/// Returns an object of the product's kinds, which a client may have stored under another schema.
pub fn guarded<K>(guard: DeserializeGuard<K>) -> Lookup<Arc<Object<K::Spec>>>
where
    K: HasSpec + kube::Resource,
    K::Spec: Clone,
{
    let meta = guard.0.as_ref().map_or_else(|invalid| &invalid.metadata, kube::Resource::meta);
    if let Some(deletion) = deletion(meta) {
        return Lookup::Deleting(deletion);
    }
    match guard.0 {
        Ok(stored) => Lookup::Found(Arc::new(object(stored.meta(), stored.spec().clone()))),
        Err(invalid) => Lookup::Unreadable(printable(&invalid.error)),
    }
}
