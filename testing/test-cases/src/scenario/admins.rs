//! The objects that admins write: eligibilities, policies, roles, namespaces, and the chart's values.

use std::{collections::BTreeMap, sync::Arc};

use api::{
    ApprovalPolicySpec, Subject, SubjectKind,
    eligibility::{Operator, Requirement, RiskClass, RoleRef, Selector},
    policy::{
        AuthenticationRule, Automatic, Claim, EligibilityRules, Emergency, JustificationRule, Limits, MaxAge, Stage, TicketRule, Window,
    },
};
use domain::{
    Deletion, Lookup,
    person::Identities,
    role::{Rule, Rules},
};

use super::{MOST, instant, line, list, pairs, people, word};
use crate::TestCase;

/// Changes an object that was read by the pairs of a line; `absent`, `deleting` and `unreadable` exclude all other pairs.
fn looked_up<T>(lookup: &mut Lookup<T>, text: &str, mut change: impl FnMut(&mut T, &str, &str)) {
    for (key, value) in pairs(text) {
        match (key, &mut *lookup) {
            ("absent", _) => *lookup = Lookup::Absent,
            ("deleting", _) => *lookup = Lookup::Deleting(Deletion::held_by(&[value.to_owned()])),
            ("unreadable", _) => *lookup = Lookup::Unreadable("bad field".to_owned()),
            (_, Lookup::Found(found)) => change(found, key, value),
            (_, Lookup::Absent | Lookup::Deleting(_) | Lookup::Unreadable(_)) => {}
        }
    }
}

fn names(text: &str) -> Vec<String> {
    list(text, |name| Some(name.to_owned()))
}

/// Changes the values of the chart.
pub fn settings(case: &mut TestCase, text: &str) {
    let settings = &mut case.settings;
    let (mut prefixes, mut aliases) = (Vec::new(), BTreeMap::new());
    for (key, value) in pairs(text) {
        match key {
            "max-grant" => settings.max_grant = value.parse().unwrap_or(settings.max_grant),
            "prefix" if prefixes.len() < MOST => prefixes.push(value.to_owned()),
            "alias" if aliases.len() < MOST => {
                let (name, other) = value.split_once(',').unwrap_or((value, ""));
                aliases.insert(name.to_owned(), other.to_owned());
            }
            "operator" => value.clone_into(&mut settings.operator_namespace),
            "systems" => settings.system_namespaces = names(value),
            _ => {}
        }
    }
    settings.identities = Identities::new(&prefixes, &aliases);
}

/// Changes the eligibility.
pub fn eligibility(case: &mut TestCase, text: &str) {
    looked_up(&mut case.snapshot.eligibility, text, |eligibility, key, value| {
        let object = Arc::make_mut(eligibility);
        let spec = &mut object.spec;
        let subject = |kind, name: &str, namespace: Option<&str>| {
            let (name, uid) = name.split_once('#').map_or((name, None), |(name, uid)| (name, line(uid)));
            line(name).map(|name| Subject { kind, name, namespace: namespace.map(ToOwned::to_owned), uid })
        };
        match key {
            "nobody" => spec.subjects.clear(),
            "group" if spec.subjects.len() < MOST => spec.subjects.extend(subject(SubjectKind::Group, value, None)),
            "user" if spec.subjects.len() < MOST => spec.subjects.extend(subject(SubjectKind::User, value, None)),
            "sa" if spec.subjects.len() < MOST => {
                let (namespace, name) = value.split_once(':').unwrap_or(("ci", value));
                spec.subjects.extend(subject(SubjectKind::ServiceAccount, name, Some(namespace)));
            }
            "role" => {
                let (kind, name) = value.split_once(':').unwrap_or(("ClusterRole", value));
                spec.role_ref = RoleRef { kind: word(kind).unwrap_or(spec.role_ref.kind), name: name.to_owned() };
            }
            "names" => spec.namespaces.names = names(value),
            "label" => {
                let (key, value) = value.split_once(':').unwrap_or((value, ""));
                spec.namespaces.selector.get_or_insert_with(Selector::default).match_labels.insert(key.to_owned(), value.to_owned());
            }
            "without-label" => {
                let requirement = Requirement { key: value.to_owned(), operator: Operator::DoesNotExist, values: Vec::new() };
                spec.namespaces.selector.get_or_insert_with(Selector::default).match_expressions.push(requirement);
            }
            "default" => spec.default_duration = value.parse().ok(),
            "max" => spec.max_duration = value.parse().unwrap_or(spec.max_duration),
            "start" => spec.start_time = instant(value),
            "end" => spec.end_time = instant(value),
            "suspended" => spec.suspended = true,
            "service-accounts" => spec.allow_service_accounts = true,
            "accept" => spec.accept_risks = list(value, word::<RiskClass>),
            "why" => spec.justification = line(value),
            "policy" => value.clone_into(&mut spec.policy_ref.name),
            "uid" => value.clone_into(&mut object.uid),
            _ => {}
        }
    });
}

/// Changes the policy.
pub fn policy(case: &mut TestCase, text: &str) {
    looked_up(&mut case.snapshot.policy, text, |policy, key, value| {
        let spec = &mut Arc::make_mut(policy).spec;
        match key {
            "automatic" => spec.approval.automatic = Some(Automatic {}),
            // A stage requires approvers; `automatic` after it contradicts it.
            "stage" if spec.approval.stages.len() < MOST => {
                spec.approval.automatic = None;
                let (required, approvers) = value.split_once(':').unwrap_or(("1", value));
                let name = line(&format!("stage-{}", spec.approval.stages.len())).unwrap_or_default();
                spec.approval.stages.push(Stage { name, approvers: people(approvers), required: required.parse().ok() });
            }
            "timeout" => spec.approval.timeout = value.parse().ok(),
            "comment" => spec.approval.require_comment = true,
            "revokers" => spec.revokers = Some(people(value)),
            "window" if spec.windows.len() < MOST => spec.windows.extend(window(value)),
            "on-role-change" => spec.on_role_change = word(value),
            "retention" => spec.retention = value.parse().ok(),
            "emergency" => {
                let emergency = spec.emergency.get_or_insert_with(Emergency::default);
                (emergency.allowed, emergency.reviewers) = (true, Some(people(value)));
            }
            "emergency-max" => spec.emergency.get_or_insert_with(Emergency::default).max_duration = value.parse().ok(),
            "review-within" => spec.emergency.get_or_insert_with(Emergency::default).review_within = value.parse().ok(),
            "needs-end" => spec.eligibility.get_or_insert_with(EligibilityRules::default).require_end = value.parse().ok(),
            "eligible-for" => spec.eligibility.get_or_insert_with(EligibilityRules::default).max_duration = value.parse().ok(),
            "needs-why" => spec.eligibility.get_or_insert_with(EligibilityRules::default).require_justification = true,
            _ => {
                requires(spec, key, value);
                limits(spec.limits.get_or_insert_with(Limits::default), key, value);
            }
        }
    });
}

/// Replaces the rules of the role, or changes it.
pub fn role(case: &mut TestCase, text: &str) {
    let mut rules: Vec<Rule> = Vec::new();
    looked_up(&mut case.snapshot.role, text, |role, key, value| match key {
        "uid" => value.clone_into(&mut role.uid),
        "name" => value.clone_into(&mut role.name),
        "kind" => role.kind = word(value).unwrap_or(role.kind),
        "rule" if rules.len() < MOST => {
            // Parses `apps:deployments:get,list`, the core group as an empty word.
            let mut lists = value.split(':').map(|list| list.split(',').take(MOST).map(ToOwned::to_owned).collect::<Vec<_>>());
            let mut next = || lists.next().unwrap_or_default();
            rules.push(Rule { api_groups: next(), resources: next(), verbs: next(), resource_names: next(), ..Rule::default() });
            role.rules = Arc::new(Rules::new(rules.clone()));
        }
        _ => {}
    });
}

/// Changes the namespace.
pub fn namespace(case: &mut TestCase, text: &str) {
    looked_up(&mut case.snapshot.namespace, text, |namespace, key, value| match key {
        "uid" => value.clone_into(&mut namespace.uid),
        "terminating" => namespace.terminating = true,
        "unlabelled" => namespace.labels.clear(),
        "label" => {
            let (key, value) = value.split_once(':').unwrap_or((value, ""));
            namespace.labels.insert(key.to_owned(), value.to_owned());
        }
        _ => {}
    });
}

/// Parses `Mon,Tue/08:00/18:00/Europe/Oslo`, with the suffix `/ends` for windows that end a grant.
fn window(text: &str) -> Option<Window> {
    let (text, ends_grant) = text.strip_suffix("/ends").map_or((text, false), |text| (text, true));
    let mut parts = text.splitn(4, '/');
    let (days, from, to) = (parts.next()?, parts.next()?, parts.next()?);
    Some(Window { days: list(days, word), from: from.to_owned(), to: to.to_owned(), time_zone: line(parts.next()?)?, ends_grant })
}

fn limits(limits: &mut Limits, key: &str, value: &str) {
    let duration = value.parse().ok();
    match key {
        "min" => limits.min_duration = duration,
        "max" => limits.max_duration = duration,
        "total" => limits.max_total_duration = duration,
        "ahead" => limits.max_schedule_ahead = duration,
        "identity-age" => limits.max_identity_age = duration,
        "cooldown" => limits.cooldown = duration,
        "most-active" => limits.max_active_per_user = value.parse().ok(),
        "most-pending" => limits.max_pending_per_user = value.parse().ok(),
        _ => {}
    }
}

fn requires(spec: &mut ApprovalPolicySpec, key: &str, value: &str) {
    let rules = || api::policy::Requirements::default();
    match key {
        "justification" => {
            let (least, pattern) = value.split_once(':').unwrap_or((value, ""));
            let rule = JustificationRule { min_length: least.parse().ok(), pattern: line(pattern) };
            spec.requirements.get_or_insert_with(rules).justification = Some(rule);
        }
        "ticket" => {
            let (system, pattern) = value.split_once(':').unwrap_or(("", value));
            spec.requirements.get_or_insert_with(rules).ticket =
                Some(TicketRule { required: true, system: line(system), pattern: line(pattern) });
        }
        "claim" | "max-age" | "asked-of" => {
            let evidence = spec.requirements.get_or_insert_with(rules).authentication.get_or_insert_with(AuthenticationRule::default);
            let (name, words) = value.split_once(':').unwrap_or((value, ""));
            match (key, line(name)) {
                ("claim", Some(key)) if evidence.claims.len() < MOST => evidence.claims.push(Claim { key, any_of: list(words, line) }),
                ("max-age", Some(key)) => evidence.max_age = Some(MaxAge { key, duration: words.parse().unwrap_or_default() }),
                _ => evidence.applies_to = list(value, word),
            }
        }
        _ => {}
    }
}
