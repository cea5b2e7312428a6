//! The nine notification rules of Entra PIM.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::rule::Rule;
use api::{
    NotificationRuleSpec, ReceiverType,
    notification_rule::{Level, ReceiverRef, Recipient, Reminders, RuleEvent},
};

/// The rules, with the ids that Microsoft Graph gives them. `EndUser_Assignment` is the activation, `Admin_Assignment` the active assignment.
pub const NINE: [(&str, RuleEvent, Recipient); 9] = [
    ("Notification_Admin_Admin_Eligibility", RuleEvent::Eligibility, Recipient::Admin),
    ("Notification_Requestor_Admin_Eligibility", RuleEvent::Eligibility, Recipient::Requester),
    ("Notification_Approver_Admin_Eligibility", RuleEvent::Eligibility, Recipient::Approver),
    ("Notification_Admin_Admin_Assignment", RuleEvent::ActiveAssignment, Recipient::Admin),
    ("Notification_Requestor_Admin_Assignment", RuleEvent::ActiveAssignment, Recipient::Requester),
    ("Notification_Approver_Admin_Assignment", RuleEvent::ActiveAssignment, Recipient::Approver),
    ("Notification_Admin_EndUser_Assignment", RuleEvent::Activation, Recipient::Admin),
    ("Notification_Requestor_EndUser_Assignment", RuleEvent::Activation, Recipient::Requester),
    ("Notification_Approver_EndUser_Assignment", RuleEvent::Activation, Recipient::Approver),
];

/// The chart value `notify.defaultRules.NAME`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Setting {
    /// False: the rule sends nothing.
    pub enabled: bool,
    /// See `level` of a rule.
    pub level: Level,
    /// See `defaultRecipients` of a rule.
    pub default_recipients: bool,
    /// Its receivers. Empty: every receiver that no rule names.
    pub receivers: Vec<ReceiverRef>,
    /// See `reminders` of a rule.
    pub reminders: Reminders,
}

impl Default for Setting {
    fn default() -> Self {
        Self { enabled: true, level: Level::All, default_recipients: true, receivers: Vec::new(), reminders: Reminders::default() }
    }
}

/// Returns the rules in force: those of objects, and the default ones. Without receivers of its own, a default rule sends to those that no
/// rule names: a receiver that is created for one purpose receives nothing else.
#[must_use]
pub fn with<'a>(
    settings: &BTreeMap<String, Setting>,
    written: impl Iterator<Item = &'a Rule>,
    receivers: &BTreeMap<String, ReceiverType>,
) -> Vec<Rule> {
    let mut all: Vec<Rule> = written.cloned().collect();
    let of_objects = all.iter().flat_map(|rule| &rule.spec.receivers);
    let named: BTreeSet<&str> =
        of_objects.chain(settings.values().flat_map(|setting| &setting.receivers)).map(|named| named.name.as_str()).collect();
    let free: Vec<String> = receivers.keys().filter(|name| !named.contains(name.as_str())).cloned().collect();
    all.extend(rules(settings, &free));
    all
}

/// Returns the default rules. `settings` has those that differ; `free` are the receivers that no rule names.
#[must_use]
pub fn rules(settings: &BTreeMap<String, Setting>, free: &[String]) -> Vec<Rule> {
    let rule = |(name, event, recipient): (&str, RuleEvent, Recipient)| {
        let setting = settings.get(name).cloned().unwrap_or_default();
        let reminders = (setting.reminders != Reminders::default()).then_some(setting.reminders);
        let receivers = if setting.receivers.is_empty() {
            free.iter().map(|name| ReceiverRef { name: name.clone(), to: Vec::new() }).collect()
        } else {
            setting.receivers
        };
        let spec = NotificationRuleSpec {
            policies: None,
            event,
            recipient,
            level: Some(setting.level),
            default_recipients: Some(setting.default_recipients),
            receivers,
            reminders,
        };
        setting.enabled.then(|| Rule { name: name.to_owned(), spec, since: jiff::Timestamp::MIN })
    };
    NINE.into_iter().filter_map(rule).collect()
}
