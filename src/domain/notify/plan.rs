//! Who is notified of an event.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::{
    addresses::Directory,
    occasion::{Occasion, Reminder},
    rule::{Matter, Rule},
};
use crate::activity::{Audience, Kind, Severity, Topic};
use api::{
    ApprovalPolicy, People, ReceiverType, SubjectKind,
    notification_rule::{Level, PolicySelection, ReceiverRef, Recipient, RuleEvent},
};

/// A message for one receiver.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// Mail addresses, for a receiver of type Smtp.
    pub to: BTreeSet<String>,
    /// The names of the rules that send it.
    pub rules: BTreeSet<String>,
}

/// Who is notified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The deliveries by receiver.
    pub deliveries: BTreeMap<String, Delivery>,
    /// Users and groups of default recipients for whom there is no address. They receive nothing.
    pub unknown: BTreeSet<String>,
    /// Receivers that a rule names and that do not exist.
    pub missing: BTreeSet<String>,
}

/// Returns who is notified of `occasion`. `receivers` are those that exist.
#[must_use]
pub fn plan(
    occasion: &Occasion,
    matter: Matter<'_>,
    rules: &[Rule],
    receivers: &BTreeMap<String, ReceiverType>,
    directory: &Directory,
) -> Plan {
    let mut plan = Plan::default();
    for rule in rules.iter().filter(|rule| matches(rule, occasion, matter)) {
        for receiver in &rule.spec.receivers {
            plan.add(&rule.name, receiver, receivers);
        }
        if rule.spec.default_recipients == Some(true) {
            let (found, unknown) = directory.resolve(&people(rule.spec.recipient, occasion, matter), rule.spec.recipient, receivers);
            plan.unknown.extend(unknown);
            for receiver in &found {
                plan.add(&rule.name, receiver, receivers);
            }
        }
    }
    plan
}

impl Plan {
    fn add(&mut self, rule: &str, receiver: &ReceiverRef, receivers: &BTreeMap<String, ReceiverType>) {
        let Some(kind) = receivers.get(&receiver.name) else {
            self.missing.insert(receiver.name.clone());
            return;
        };
        // A receiver of mail without addresses has only default recipients.
        if *kind == ReceiverType::Smtp && receiver.to.is_empty() {
            return;
        }
        let delivery = self.deliveries.entry(receiver.name.clone()).or_default();
        delivery.rules.insert(rule.to_owned());
        if *kind == ReceiverType::Smtp {
            delivery.to.extend(receiver.to.iter().map(ToString::to_string));
        }
    }
}

/// Returns true if the rule sends this.
fn matches(rule: &Rule, occasion: &Occasion, matter: Matter<'_>) -> bool {
    let spec = &rule.spec;
    let event = &occasion.event;
    let reminds = |wanted: &[api::Duration], after| wanted.contains(&after);
    let of_reminder = match occasion.reminder {
        None => concerns(event.audience(), spec.recipient),
        Some(Reminder::Undecided(after)) => spec.reminders.as_ref().is_some_and(|reminders| reminds(&reminders.undecided_after, after)),
        Some(Reminder::BeforeEnd(before)) => spec.reminders.as_ref().is_some_and(|reminders| reminds(&reminders.before_end, before)),
        Some(Reminder::EligibilityBeforeEnd(before)) => {
            spec.reminders.as_ref().is_some_and(|reminders| reminds(&reminders.eligibility_before_end, before))
        }
    };
    of_reminder
        && event.at >= rule.since
        && covers(spec.event, event.topic)
        && (spec.level != Some(Level::Critical) || is_critical(occasion))
        && spec.policies.as_ref().is_none_or(|selection| selects(selection, matter))
}

/// Returns true if a rule for `wanted` sends events of this topic. An emergency is an activation too, so that nobody misses one.
#[must_use]
pub const fn covers(wanted: RuleEvent, topic: Topic) -> bool {
    matches!(
        (wanted, topic),
        (RuleEvent::Activation, Topic::Activation | Topic::Emergency)
            | (RuleEvent::Emergency, Topic::Emergency)
            | (RuleEvent::Eligibility, Topic::Eligibility | Topic::Policy)
            | (RuleEvent::ActiveAssignment, Topic::ActiveAssignment)
            | (RuleEvent::Guard, Topic::Guard)
    )
}

const fn concerns(audience: Audience, recipient: Recipient) -> bool {
    match recipient {
        Recipient::Requester => audience.requester,
        Recipient::Approver => audience.approvers,
        Recipient::Admin => audience.admins,
    }
}

/// Returns true for what someone must act on.
#[must_use]
pub fn is_critical(occasion: &Occasion) -> bool {
    let event = &occasion.event;
    occasion.reminder.is_some() || event.kind == Kind::WaitingForApproval || event.severity() == Severity::Critical
}

fn selects(selection: &PolicySelection, matter: Matter<'_>) -> bool {
    let of_eligibility = matter.eligibility.map(|eligibility| eligibility.spec.policy_ref.name.as_str());
    let name = of_eligibility.or_else(|| matter.policy.and_then(|policy| policy.metadata.name.as_deref()));
    match &selection.selector {
        None => name.is_some_and(|name| selection.names.iter().any(|listed| listed == name)),
        Some(selector) => matter.policy.is_some_and(|policy| has_labels(selector, policy)),
    }
}

fn has_labels(selector: &LabelSelector, policy: &ApprovalPolicy) -> bool {
    let labels = policy.metadata.labels.as_ref();
    let value = |key: &str| labels.and_then(|labels| labels.get(key));
    let exact = selector.match_labels.iter().flatten().all(|(key, wanted)| value(key) == Some(wanted));
    exact
        && selector.match_expressions.iter().flatten().all(|requirement| {
            let listed = |value: &String| requirement.values.iter().flatten().any(|wanted| wanted == value);
            match (requirement.operator.as_str(), value(&requirement.key)) {
                ("In", Some(value)) => listed(value),
                ("NotIn", found) => found.is_none_or(|value| !listed(value)),
                ("Exists", found) => found.is_some(),
                ("DoesNotExist", found) => found.is_none(),
                _ => false,
            }
        })
}

/// Returns the users and groups to whom an event is of interest. Admins are not known here: the directory has them.
fn people(recipient: Recipient, occasion: &Occasion, matter: Matter<'_>) -> People {
    match recipient {
        Recipient::Admin => People::default(),
        Recipient::Requester => requesters(occasion, matter),
        Recipient::Approver => approvers(occasion, matter),
    }
}

fn requesters(occasion: &Occasion, matter: Matter<'_>) -> People {
    if let Some(request) = matter.request {
        let users = request.spec.requester.iter().map(|stamp| stamp.username.clone()).collect();
        return People { users, groups: Vec::new() };
    }
    let subjects = match (&occasion.subjects, matter.eligibility) {
        (Some(subjects), _) => subjects.as_slice(),
        (None, Some(eligibility)) => eligibility.spec.subjects.as_slice(),
        (None, None) => &[],
    };
    let names = |kind| subjects.iter().filter(|subject| subject.kind == kind).map(|subject| subject.name.clone()).collect();
    People { users: names(SubjectKind::User), groups: names(SubjectKind::Group) }
}

fn approvers(occasion: &Occasion, matter: Matter<'_>) -> People {
    let status = matter.request.and_then(|request| request.status.as_ref());
    let awaiting = status.and_then(|status| status.awaiting.as_ref());
    let reviewers = status.and_then(|status| status.review.as_ref()).map(|review| &review.reviewers);
    match (occasion.event.topic, awaiting, reviewers) {
        // Only those of the open stage can act.
        (Topic::Activation, Some(awaiting), _) => awaiting.approvers.clone(),
        (Topic::Emergency, _, Some(reviewers)) if *reviewers != People::default() => reviewers.clone(),
        _ => {
            let mut all = People::default();
            let stages = matter.policy.iter().flat_map(|policy| &policy.spec.approval.stages);
            for stage in stages {
                all.users.extend(stage.approvers.users.iter().cloned());
                all.groups.extend(stage.approvers.groups.iter().cloned());
            }
            all
        }
    }
}
