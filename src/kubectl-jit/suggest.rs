//! Finds an eligibility by name, or suggests similar names.

use kube::ResourceExt;

use super::{commands::roles, problem::Problem, session::Session};
use api::{RoleEligibility, names};
use domain::{Refusal, eligibility};

/// The maximum number of suggestions.
const MOST: usize = 5;

/// The eligibility of this name. A similar name is only suggested, never used instead.
pub async fn eligibility(session: &Session, name: &str) -> Result<RoleEligibility, Problem> {
    let name = plain_name(name);
    let found = if names::is_object_name(name) { session.eligibility(name).await? } else { None };
    if let Some(found) = found {
        return Ok(found);
    }
    let refusal = eligibility::not_found(name);
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
    let first = refusal.message.split(';').next().unwrap_or_default().to_owned();
    Err(Refusal::new(refusal.reason, format!("{first}; {hint}")).into())
}

/// The name in `name`, `rel/name` or `roleeligibility.jitrbac.dev/name`, the forms that `-o name` prints.
#[must_use]
pub fn plain_name(text: &str) -> &str {
    let kinds = ["rel", "roleeligibility", "roleeligibilities"];
    text.split_once('/').filter(|(kind, _)| kinds.contains(&kind.split('.').next().unwrap_or_default())).map_or(text, |(_, name)| name)
}

/// True if two names differ by one or two mistyped, missing or swapped letters.
#[must_use]
pub fn is_near(one: &str, other: &str) -> bool {
    let (one, other): (Vec<char>, Vec<char>) = (one.to_lowercase().chars().collect(), other.to_lowercase().chars().collect());
    let shorter = one.len().min(other.len());
    let allowed = if shorter < 4 { 1 } else { 2 };
    // A longer text is not a mistyped name.
    shorter > 1 && one.len().max(other.len()) <= 253 && distance(&one, &other) <= allowed
}

/// The edit distance, where swapping two neighbours counts as one.
fn distance(one: &[char], other: &[char]) -> usize {
    let (mut before, mut last): (Vec<usize>, Vec<usize>) = (Vec::new(), (0..=other.len()).collect());
    for (i, left) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, right) in other.iter().enumerate() {
            let at = |row: &[usize], place: usize| row.get(place).copied().unwrap_or(usize::MAX - 1);
            let mut cost = (at(&last, j) + usize::from(left != right)).min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            let swapped = i > 0 && j > 0 && one.get(i - 1) == Some(right) && other.get(j - 1) == Some(left);
            if swapped {
                cost = cost.min(at(&before, j - 1) + 1);
            }
            row.push(cost);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(one.len())
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

    #[test]
    fn mistyped_names_are_near() {
        for (meant, typed) in [("payments-edit", "payments-edti"), ("edit", "edi"), ("DurationTooLong", "durationtolong"), ("view", "veiw")]
        {
            assert!(is_near(meant, typed) && is_near(typed, meant), "{typed}");
        }
        for (one, other) in [("payments-edit", "payments-admin"), ("a", "b"), ("edit", "view"), ("", "")] {
            assert!(!is_near(one, other), "{one} {other}");
        }
        assert!(!is_near(&"x".repeat(100_000), "x"), "and it takes no time");
    }
}
