//! The API: the kinds of `jitrbac.dev/v1alpha1`, and the names that they share.
//!
//! Nothing here decides, waits or reads a clock. Every label, annotation, state and reason is defined in this crate only.

pub mod conditions;
pub mod decision;
pub mod duration;
pub mod eligibility;
pub mod identity;
pub mod instant;
pub mod names;
pub mod notification_receiver;
pub mod notification_rule;
pub mod policy;
pub mod reason;
mod reasons;
pub mod request;
pub mod selectors;
pub mod stored;
pub mod text;
pub mod timeline;

pub use decision::{ActivationDecision, ActivationDecisionSpec, Verb};
pub use duration::Duration;
pub use eligibility::{RoleEligibility, RoleEligibilitySpec, RoleEligibilityStatus};
pub use identity::{People, Stamp, Subject, SubjectKind};
pub use notification_receiver::{NotificationReceiver, NotificationReceiverSpec, NotificationReceiverStatus, ReceiverType};
pub use notification_rule::{NotificationRule, NotificationRuleSpec};
pub use policy::{ApprovalPolicy, ApprovalPolicySpec, ApprovalPolicyStatus};
pub use reason::Reason;
pub use request::{RoleActivationRequest, RoleActivationRequestSpec, RoleActivationRequestStatus, State};
pub use text::Line;
