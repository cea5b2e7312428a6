//! The decisions on a request, and which of them end it.

use super::{approval, facts::Object, person, settings::Settings, snapshot::Snapshot};
use api::{ActivationDecisionSpec, ApprovalPolicySpec, Stamp, Verb};

/// Returns the requester's own Deactivate decision, if there is one.
#[must_use]
pub fn deactivation<'a>(snapshot: &'a Snapshot, requester: &Stamp, settings: &Settings) -> Option<&'a Object<ActivationDecisionSpec>> {
    first(snapshot, |d| is_deactivation(d, requester, settings))
}

/// Returns the first valid decision against the request: a Deny by an approver of any stage, or a Revoke by an approver or revoker.
#[must_use]
pub fn veto<'a>(snapshot: &'a Snapshot, policy: &ApprovalPolicySpec) -> Option<&'a Object<ActivationDecisionSpec>> {
    first(snapshot, |d| is_veto(d, policy))
}

fn is_veto(decision: &Object<ActivationDecisionSpec>, policy: &ApprovalPolicySpec) -> bool {
    decision.spec.decider.as_ref().is_some_and(|who| match decision.spec.decision {
        Verb::Deny => may_approve(policy, who),
        Verb::Revoke => may_revoke(policy, who),
        Verb::Approve | Verb::Review | Verb::Deactivate => false,
    })
}

fn is_deactivation(decision: &Object<ActivationDecisionSpec>, requester: &Stamp, settings: &Settings) -> bool {
    decision.spec.decision == Verb::Deactivate && decision.spec.decider.as_ref().is_some_and(|who| settings.identities.same(who, requester))
}

/// Returns the decisions that end the request: valid vetoes and the requester's own Deactivate.
pub fn against<'a>(snapshot: &'a Snapshot, settings: &'a Settings) -> impl Iterator<Item = &'a Object<ActivationDecisionSpec>> {
    let (requester, policy) = (snapshot.request.object.spec.requester.as_ref(), snapshot.policy.found().map(|policy| &policy.spec));
    snapshot.decisions.iter().filter(move |decision| {
        snapshot.request.is_named_by(decision)
            && (policy.is_some_and(|policy| is_veto(decision, policy))
                || requester.is_some_and(|requester| is_deactivation(decision, requester, settings)))
    })
}

fn first(snapshot: &Snapshot, wanted: impl Fn(&Object<ActivationDecisionSpec>) -> bool) -> Option<&Object<ActivationDecisionSpec>> {
    let mine = snapshot.decisions.iter().filter(|d| snapshot.request.is_named_by(d) && wanted(d));
    mine.min_by_key(|d| (d.created, d.uid.as_str()))
}

/// Returns true for a user whom a stage of the policy lists.
pub(super) fn may_approve(policy: &ApprovalPolicySpec, who: &Stamp) -> bool {
    approval::stage_of(&policy.approval.stages, who).is_some()
}

/// Returns true for an approver or a revoker of the policy.
pub(super) fn may_revoke(policy: &ApprovalPolicySpec, who: &Stamp) -> bool {
    may_approve(policy, who) || policy.revokers.as_ref().is_some_and(|people| person::is_listed(who, people))
}

/// Returns the user name of the decision's author, for messages.
#[must_use]
pub fn decider(decision: &Object<ActivationDecisionSpec>) -> String {
    decision.spec.decider.as_ref().map(|who| who.username.to_string()).unwrap_or_default()
}

/// Returns the suffix that a decision adds to a message: ` by lead-1: "not today"`.
#[must_use]
pub fn describe(decision: &Object<ActivationDecisionSpec>) -> String {
    let comment = decision.spec.comment.as_ref().filter(|c| !c.is_empty()).map(|c| format!(": \"{c}\"")).unwrap_or_default();
    format!("by {}{comment}", decider(decision))
}
