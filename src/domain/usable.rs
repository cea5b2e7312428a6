//! Whether an eligibility can be used: one chain of checks for the grant, the eligibility's status, admission and the plugin.
//!
//! Add every new rule about an eligibility, its policy or its role to `CHECKS`. The checks do not depend on the requester, the time or
//! the request.

use std::sync::Arc;

use super::{
    checked, eligibility,
    facts::{Lookup, NamespaceFacts, Object, RoleFacts},
    policy,
    refusal::Refusal,
    risks,
    settings::Settings,
};
use api::{ApprovalPolicySpec, Reason, RoleEligibilitySpec};

/// The name of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// The eligibility is valid as written.
    Written,
    /// Its policy exists and can be read.
    PolicyFound,
    /// The policy is valid as written.
    PolicyWritten,
    /// The policy allows this eligibility.
    PolicyAllows,
    /// The namespace exists, can be read and is not being deleted.
    NamespaceFound,
    /// The checks of the authors hold for this namespace.
    AuthorsChecked,
    /// The role exists and can be read.
    RoleFound,
    /// The author of the eligibility accepts the risks of the role.
    RisksAccepted,
}

/// The input of the checks. The checks of a value that the caller leaves out pass.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The eligibility.
    pub eligibility: &'a Object<RoleEligibilitySpec>,
    /// The policy that it names.
    pub policy: Option<&'a Lookup<Arc<Object<ApprovalPolicySpec>>>>,
    /// The name of one namespace, and its stored state.
    pub namespace: Option<(&'a str, &'a Lookup<NamespaceFacts>)>,
    /// The role that it names, in that namespace.
    pub role: Option<&'a Lookup<RoleFacts>>,
    /// The chart's values.
    pub settings: &'a Settings,
}

/// A check that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Which one.
    pub check: Check,
    /// Why.
    pub refusal: Refusal,
}

/// Returns why a check fails, if it does.
type Run = fn(&Input<'_>) -> Option<Refusal>;

/// The checks, in the order in which they are reported.
const CHECKS: [(Check, Run); 8] = [
    (Check::Written, written),
    (Check::PolicyFound, policy_found),
    (Check::PolicyWritten, policy_written),
    (Check::PolicyAllows, policy_allows),
    (Check::NamespaceFound, namespace_found),
    (Check::AuthorsChecked, authors_checked),
    (Check::RoleFound, role_found),
    (Check::RisksAccepted, risks_accepted),
];

/// Returns the first check that fails, if one does.
pub fn usable(input: &Input<'_>) -> Result<(), Failed> {
    failures(input).next().map_or(Ok(()), Err)
}

/// Returns all checks that fail.
pub fn failures<'a>(input: &'a Input<'a>) -> impl Iterator<Item = Failed> + 'a {
    CHECKS.into_iter().filter_map(move |(check, run)| run(input).map(|refusal| Failed { check, refusal }))
}

impl<'a> Input<'a> {
    /// Returns the input with the eligibility alone.
    #[must_use]
    pub const fn new(eligibility: &'a Object<RoleEligibilitySpec>, settings: &'a Settings) -> Self {
        Self { eligibility, policy: None, namespace: None, role: None, settings }
    }

    fn found_policy(&self) -> Option<&'a Object<ApprovalPolicySpec>> {
        Some(self.policy?.found()?.as_ref())
    }
}

fn written(input: &Input<'_>) -> Option<Refusal> {
    eligibility::check(&input.eligibility.spec, input.settings).err()
}

fn policy_found(input: &Input<'_>) -> Option<Refusal> {
    found(Reason::PolicyNotFound, &format!("policy '{}'", input.eligibility.spec.policy_ref.name), input.policy?)
}

fn policy_written(input: &Input<'_>) -> Option<Refusal> {
    policy::check(&input.found_policy()?.spec, input.settings).err()
}

fn policy_allows(input: &Input<'_>) -> Option<Refusal> {
    policy::check_eligibility(input.eligibility, input.found_policy()?).err()
}

fn namespace_found(input: &Input<'_>) -> Option<Refusal> {
    let (name, namespace) = input.namespace?;
    match namespace {
        Lookup::Found(namespace) if !namespace.terminating => None,
        Lookup::Found(_) | Lookup::Absent | Lookup::Deleting(_) => {
            Some(Refusal::new(Reason::NamespaceTerminating, format!("namespace '{name}' is terminating: nothing can be activated in it")))
        }
        Lookup::Unreadable(why) => Some(Refusal::new(Reason::Unreadable, format!("namespace '{name}' cannot be read: {why}"))),
    }
}

fn authors_checked(input: &Input<'_>) -> Option<Refusal> {
    let (name, namespace) = input.namespace?;
    checked::stands(input.eligibility, input.found_policy()?, name, namespace.found()?).err()
}

fn role_found(input: &Input<'_>) -> Option<Refusal> {
    let role = &input.eligibility.spec.role_ref;
    found(Reason::RoleNotFound, &format!("{} '{}'", role.kind, role.name), input.role?)
}

fn risks_accepted(input: &Input<'_>) -> Option<Refusal> {
    let spec = &input.eligibility.spec;
    risks::check(&spec.role_ref, &input.role?.found()?.rules, &spec.accept_risks).err()
}

fn found<T>(reason: Reason, what: &str, lookup: &Lookup<T>) -> Option<Refusal> {
    match lookup {
        Lookup::Found(_) => None,
        Lookup::Absent => Some(Refusal::new(reason, format!("{what} does not exist"))),
        Lookup::Deleting(deletion) => Some(Refusal::new(reason, format!("{what} {deletion}"))),
        Lookup::Unreadable(why) => Some(Refusal::new(Reason::Unreadable, format!("{what} cannot be read: {why}"))),
    }
}

/// The refusal of an eligibility whose policy is not valid.
#[must_use]
pub fn policy_not_ready(eligibility: &RoleEligibilitySpec, refusal: &Refusal) -> Refusal {
    Refusal::new(Reason::PolicyNotReady, format!("policy '{}' cannot be used: {refusal}", eligibility.policy_ref.name))
}
