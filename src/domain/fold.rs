//! The decisions on one request, folded while they are read page by page: what is kept has a bound, however many are stored.
//!
//! Admission stores few. More there can only be from a time before it had a bound, or from a time without guards.

use std::collections::BTreeMap;

use super::facts::{Object, Unread, Unreadable};
use api::{ActivationDecisionSpec, Verb};

/// Most decisions that are kept of one person with one word.
const MAX_OF_ONE: usize = 16;
/// Most people whose decisions Approve and Review are kept. It is more than a policy can ask for.
const MAX_FOR: usize = 128;
/// Most people whose decisions against the request are kept.
const MAX_AGAINST: usize = 128;
/// Most unreadable decisions that are kept, for messages.
const MAX_UNREADABLE: usize = 4;

/// Whose word, and which one.
type Voice = (Verb, String, Option<String>);

/// The decisions that name one request, as far as they can matter.
///
/// Of each person the earliest are kept, so that one who comes later moves no start and no end that was computed before. What takes access
/// away is never left out silently: where there is too much of it, [`Unread::more`] says so, and it counts against the grant.
#[derive(Debug)]
pub struct Fold<'r> {
    /// UID of the request.
    request: &'r str,
    kept: BTreeMap<Voice, Vec<Object<ActivationDecisionSpec>>>,
    people_for: usize,
    people_against: usize,
    unread: Unread,
}

impl<'r> Fold<'r> {
    /// Nothing yet about the request with this UID.
    #[must_use]
    pub fn new(request: &'r str) -> Self {
        Self { request, kept: BTreeMap::new(), people_for: 0, people_against: 0, unread: Unread::default() }
    }

    /// Adds a decision.
    pub fn add(&mut self, decision: Object<ActivationDecisionSpec>) {
        let spec = &decision.spec;
        // About another request that had the name before, or nobody's.
        if spec.request_ref.uid.as_deref() != Some(self.request) {
            return;
        }
        let Some(decider) = &spec.decider else { return };
        let voice = (spec.decision, decider.username.to_string(), decider.uid.as_ref().map(ToString::to_string));
        if !self.kept.contains_key(&voice) {
            let (people, most) = match spec.decision {
                Verb::Approve | Verb::Review => (&mut self.people_for, MAX_FOR),
                Verb::Deny | Verb::Revoke | Verb::Deactivate => (&mut self.people_against, MAX_AGAINST),
            };
            if *people >= most {
                self.unread.more = true;
                return;
            }
            *people += 1;
        }
        let of_one = self.kept.entry(voice).or_default();
        let key = |decision: &Object<ActivationDecisionSpec>| (decision.created, decision.uid.clone());
        let at = of_one.partition_point(|earlier| key(earlier) < key(&decision));
        of_one.insert(at, decision);
        of_one.truncate(MAX_OF_ONE);
    }

    /// Adds a decision that cannot be understood. Those that may take access away come first.
    pub fn add_unreadable(&mut self, unreadable: Unreadable) {
        let all = &mut self.unread.unreadable;
        if unreadable.may_end() && !all.iter().any(Unreadable::may_end) {
            all.insert(0, unreadable);
            all.truncate(MAX_UNREADABLE);
        } else if all.len() < MAX_UNREADABLE {
            all.push(unreadable);
        }
    }

    /// Notes that there are more that were not read.
    pub const fn more(&mut self) {
        self.unread.more = true;
    }

    /// What is kept, in the order of their times.
    #[must_use]
    pub fn done(self) -> (Vec<Object<ActivationDecisionSpec>>, Unread) {
        let mut decisions: Vec<_> = self.kept.into_values().flatten().collect();
        decisions.sort_by(|a, b| (a.created, &a.uid).cmp(&(b.created, &b.uid)));
        (decisions, self.unread)
    }
}
