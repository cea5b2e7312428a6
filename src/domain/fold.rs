//! The decisions on one request, folded while they are read page by page: the result is bounded, however many are stored.
//!
//! Admission limits their number. More can only be from a time before that limit, or from a time without guards.

use std::collections::BTreeMap;

use super::facts::{Object, Unread, Unreadable};
use api::{ActivationDecisionSpec, Verb};

/// Maximum number of decisions that are kept per person and verb.
const MAX_OF_ONE: usize = 16;
/// Maximum number of people whose Approve and Review decisions are kept. A policy can never require as many.
const MAX_FOR: usize = 128;
/// Maximum number of people whose decisions against the request are kept.
const MAX_AGAINST: usize = 128;
/// Maximum number of unreadable decisions that are kept, for messages.
const MAX_UNREADABLE: usize = 4;

/// Verb, user name and UID of a decision's author.
type Voice = (Verb, String, Option<String>);

/// The decisions that name one request, as far as they can matter.
///
/// The earliest of each person are kept, so that a later decision moves no start and no end that was computed before. A decision that
/// removes access is never dropped silently: if there are too many, [`Unread::more`] is set and counts against the grant.
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
    /// Starts without decisions on the request with this UID.
    #[must_use]
    pub fn new(request: &'r str) -> Self {
        Self { request, kept: BTreeMap::new(), people_for: 0, people_against: 0, unread: Unread::default() }
    }

    /// Adds a decision.
    pub fn add(&mut self, decision: Object<ActivationDecisionSpec>) {
        let spec = &decision.spec;
        // It is about an earlier request of the same name, or has no author.
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

    /// Adds a decision that cannot be parsed. Those that may remove access are kept first.
    pub fn add_unreadable(&mut self, unreadable: Unreadable) {
        let all = &mut self.unread.unreadable;
        if unreadable.may_end() && !all.iter().any(Unreadable::may_end) {
            all.insert(0, unreadable);
            all.truncate(MAX_UNREADABLE);
        } else if all.len() < MAX_UNREADABLE {
            all.push(unreadable);
        }
    }

    /// Records that there are further decisions that were not read.
    pub const fn more(&mut self) {
        self.unread.more = true;
    }

    /// Returns the kept decisions in the order of their times.
    #[must_use]
    pub fn done(self) -> (Vec<Object<ActivationDecisionSpec>>, Unread) {
        let mut decisions: Vec<_> = self.kept.into_values().flatten().collect();
        decisions.sort_by(|a, b| (a.created, &a.uid).cmp(&(b.created, &b.uid)));
        (decisions, self.unread)
    }
}
