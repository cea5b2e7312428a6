//! The final check: every call of the operator on a control plane against its RBAC rules.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use control_plane::{AuditEvent, AuditLog, Cluster};
use jiff::Timestamp;
use kube::Client;

use super::{
    measurements,
    rbac_rules::{NAMESPACE, Rules},
};
use crate::env::Error;

/// Policies with which a test blocks the operator have this name prefix. The test caused their denials.
pub const STANDS_IN_THE_WAY: &str = "e2e-";
/// The two accounts, and the user agent that distinguishes their processes from other users of their tokens.
const ACCOUNTS: [&str; 2] = ["jit-rbac-controller", "jit-rbac-webhook"];

/// The findings on all control planes.
static FOUND: Mutex<Found> = Mutex::new(Found { calls: BTreeMap::new(), planes: 0, faults: Vec::new() });

struct Found {
    calls: BTreeMap<&'static str, usize>,
    planes: usize,
    faults: Vec<String>,
}

/// Inspects the audit log of one control plane after all tests.
pub struct Inspector {
    log: AuditLog,
    rules: BTreeMap<&'static str, Rules>,
    away: Mutex<Vec<(Timestamp, Timestamp)>>,
    finished: AtomicBool,
}

impl Inspector {
    /// Records the permissions of the operator.
    pub async fn new(client: &Client, cluster: &Cluster) -> Result<Self, Error> {
        let mut rules = BTreeMap::new();
        for account in ACCOUNTS {
            rules.insert(account, Rules::of(client, account).await?);
        }
        Ok(Self { log: cluster.audit(), rules, away: Mutex::default(), finished: AtomicBool::new(false) })
    }

    /// Records that the API server was restarted between these times: before it has loaded its own roles and policies it denies all users.
    pub fn apiserver_was_away(&self, from: Timestamp, until: Timestamp) {
        self.away.lock().expect("the lock is not poisoned").push((from, until));
    }

    /// Inspects once. [`conclude`] reports the findings.
    pub fn finish(&self) {
        if self.finished.swap(true, Ordering::Relaxed) {
            return;
        }
        let events = self.log.clone().read();
        let mut found = FOUND.lock().expect("the lock is not poisoned");
        found.planes += 1;
        match events {
            Ok(events) => events.iter().for_each(|event| self.look(event, &mut found)),
            Err(error) => found.faults.push(format!("the audit log cannot be read: {error}")),
        }
    }

    fn look(&self, event: &AuditEvent, found: &mut Found) {
        let Some(account) = ACCOUNTS.into_iter().find(|account| event.user_agent.starts_with(&format!("{account}/"))) else { return };
        *found.calls.entry(account).or_default() += 1;
        if let Some(fault) = self.rules.get(account).and_then(|rules| fault(event, account, rules)).filter(|_| !self.is_excused(event)) {
            let object = event.object_ref.as_ref().map(|o| format!("{}/{}", o.namespace, o.name)).unwrap_or_default();
            found.faults.push(format!("{account}: {} {} {object} ({}): {fault}", event.verb, event.resource(), event.code()));
        }
    }

    fn is_excused(&self, event: &AuditEvent) -> bool {
        let at = event.request_received_timestamp;
        event.code() == 403 && self.away.lock().expect("the lock is not poisoned").iter().any(|(from, until)| (*from..*until).contains(&at))
    }
}

/// Returns what is wrong with a call of the operator, if anything.
fn fault(event: &AuditEvent, account: &str, rules: &Rules) -> Option<String> {
    let message = event.response_status.as_ref().map_or("", |status| status.message.as_str());
    if event.code() == 401 && event.user.username.is_empty() {
        // Caused by a test: a process with an invalid token.
        return None;
    }
    let own_name = format!("system:serviceaccount:{NAMESPACE}:{account}");
    if event.user.username != own_name {
        return Some(format!("it was made as '{}'", event.user.username));
    }
    if !rules.allow(event) {
        return Some("no rule of the chart allows it".to_owned());
    }
    let refused = event.code() == 403;
    // A create in a terminating namespace is denied to all users, and so is a grant whose deadline passes while the call is in flight. The
    // operator cannot know either in time.
    let excused = [
        "because it is being terminated",
        "must end after that and within",
        &format!("ValidatingAdmissionPolicy '{STANDS_IN_THE_WAY}"),
        &format!("exceeded quota: {STANDS_IN_THE_WAY}"),
    ];
    let excused = excused.iter().any(|why| message.contains(*why));
    // These denials prove that the policies are in force.
    let probe = event.request_uri.contains("dryRun=All") && message.contains("the label jitrbac.dev/probe asks the policy");
    if refused && !excused && !probe {
        return Some(format!("it was refused: {message}"));
    }
    (account == "jit-rbac-webhook" && event.is_write() && !may_be_written_by_the_webhook(event))
        .then(|| "the webhook does not write this".to_owned())
}

/// Invariant 18: nothing except reads, its certificate and its CA.
fn may_be_written_by_the_webhook(event: &AuditEvent) -> bool {
    let name = event.object_ref.as_ref().map_or("", |object| object.name.as_str());
    match event.resource().as_str() {
        "subjectaccessreviews" => true,
        "secrets" => name == "jit-rbac-webhook-tls",
        "mutatingwebhookconfigurations" | "validatingwebhookconfigurations" => name == "jit-rbac",
        _ => false,
    }
}

/// Prints the findings on all control planes and the measurements; returns true if there is a finding.
pub fn conclude() -> bool {
    let found = FOUND.lock().expect("the lock is not poisoned");
    if found.planes == 0 {
        return false;
    }
    for (what, took) in measurements::all() {
        println!("measured: {what}: {} ms", took.as_millis());
    }
    let calls = found.calls.iter().map(|(account, calls)| format!("{calls} of {account}")).collect::<Vec<_>>().join(", ");
    let silent = ACCOUNTS.iter().filter(|account| !found.calls.contains_key(*account));
    let faults: Vec<String> =
        silent.map(|account| format!("{account} made no call: nothing was inspected")).chain(found.faults.iter().cloned()).collect();
    let name = "inv_28_inv_18_every_call_of_the_operator_is_in_its_rules_and_none_is_refused";
    let outcome = if faults.is_empty() { "ok" } else { "FAILED" };
    println!("{name}: {outcome} ({calls}; {} control planes)", found.planes);
    let mut told = BTreeSet::new();
    for fault in faults.iter().filter(|fault| told.insert(*fault)) {
        println!("FAILED {name}: {fault}");
    }
    !faults.is_empty()
}

/// Records a correct call.
type Change = fn(&mut AuditEvent);

/// The inspection itself, on invented calls.
pub fn detects_violations(rules: &Rules, allowed: &AuditEvent) -> Result<(), Error> {
    let changed = |change: Change| {
        let mut event = allowed.clone();
        change(&mut event);
        fault(&event, "jit-rbac-controller", rules)
    };
    let cases: [(&str, Change, bool); 6] = [
        ("a call within the rules", |_| {}, false),
        ("another verb", |e| "update".clone_into(&mut e.verb), true),
        ("another resource", |e| "secrets".clone_into(&mut e.object_ref.get_or_insert_default().resource), true),
        ("another group", |e| "apps".clone_into(&mut e.object_ref.get_or_insert_default().api_group), true),
        ("a subresource", |e| "status".clone_into(&mut e.object_ref.get_or_insert_default().subresource), true),
        ("a refusal", |e| e.response_status.get_or_insert_default().code = 403, true),
    ];
    match cases.into_iter().find(|(_, change, wrong)| changed(*change).is_some() != *wrong) {
        None => Ok(()),
        Some((what, _, wrong)) => Err(format!("{what} is {}", if wrong { "not reported" } else { "reported" }).into()),
    }
}
