//! A rule, and what is known about the object of an event.

use jiff::Timestamp;

use api::{ApprovalPolicy, NotificationRuleSpec, RoleActivationRequest, RoleEligibility};

/// A rule with its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// The name of the object, or of a default rule.
    pub name: String,
    /// The rule.
    pub spec: NotificationRuleSpec,
    /// When it was created. Earlier events are not sent by it.
    pub since: Timestamp,
}

/// What is known about the object of an event. Everything may be missing: objects are deleted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Matter<'a> {
    /// The request.
    pub request: Option<&'a RoleActivationRequest>,
    /// The eligibility, of the request or itself.
    pub eligibility: Option<&'a RoleEligibility>,
    /// The policy of the eligibility, or itself.
    pub policy: Option<&'a ApprovalPolicy>,
}
