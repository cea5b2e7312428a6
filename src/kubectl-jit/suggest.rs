//! Finds an eligibility by name, or suggests similar names.

use kube::ResourceExt;

use super::{commands::roles, near::is_near, problem::Problem, read::without_kind, session::Session};
use api::{RoleEligibility, names};
use domain::eligibility;

/// The maximum number of suggestions.
const MOST: usize = 5;

/// The eligibility of this name. A similar name is only suggested, never used instead.
pub async fn eligibility(session: &Session, name: &str) -> Result<RoleEligibility, Problem> {
    let name = plain_name(name);
    let found = if names::is_object_name(name) { session.eligibility(name).await? } else { None };
    if let Some(found) = found {
        return Ok(found);
    }
    let all = session.eligibilities().await.unwrap_or_default();
    let me = session.me().await?;
    // Eligibilities for the current namespace come first.
    let namespace = session.namespaces().into_iter().next().unwrap_or_default();
    let (here, elsewhere): (Vec<_>, Vec<_>) =
        all.iter().filter(|eligibility| roles::is_mine(me, eligibility)).partition(|eligibility| roles::covers(eligibility, &namespace));
    let mine = || here.iter().chain(&elsewhere).copied();
    let role = |eligibility: &&RoleEligibility| eligibility.spec.role_ref.name == name;
    let near = |eligibility: &&RoleEligibility| {
        !name.is_empty()
            && (eligibility.name_any().contains(name) || name.contains(&eligibility.name_any()) || is_near(&eligibility.name_any(), name))
    };
    let mut meant: Vec<String> = mine().filter(role).chain(mine().filter(near)).map(ResourceExt::name_any).collect();
    let mut seen = std::collections::BTreeSet::new();
    meant.retain(|name| seen.insert(name.clone()));
    let hint = if meant.is_empty() {
        "'kubectl jit roles' lists yours".to_owned()
    } else {
        format!(
            "did you mean {}? 'kubectl jit roles' lists yours",
            meant.iter().take(MOST).map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ")
        )
    };
    Err(eligibility::not_found(name, &hint).into())
}

/// The name in `name`, `rel/name` or `roleeligibility.jitrbac.dev/name`, the forms that `-o name` prints.
#[must_use]
pub fn plain_name(text: &str) -> &str {
    without_kind(text, &["rel", "roleeligibility", "roleeligibilities"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_eligibility_is_named_as_it_is_printed() {
        for text in ["pay", "rel/pay", "roleeligibility.jitrbac.dev/pay"] {
            assert_eq!(plain_name(text), "pay");
        }
        assert_eq!(plain_name("rar/pay"), "rar/pay");
    }
}
