//! Kinds without a type of their own.

use kube::core::{ApiResource, GroupVersionKind};

/// Returns the resource of version `v1` with this API group, kind and plural.
#[must_use]
pub fn v1((group, kind, plural): (&str, &str, &str)) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, "v1", kind), plural)
}
