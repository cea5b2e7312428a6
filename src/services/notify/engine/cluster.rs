//! What is known of the cluster, and the messages that follow from each change of it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use jiff::Timestamp;
use k8s_openapi::api::{coordination::v1::Lease, rbac::v1::RoleBinding};
use parking_lot::Mutex;

use super::{
    handle::{Handle, Handles},
    observe::{Fate, NotifyMetrics},
    queue::Item,
};
use crate::notify::Address;
use api::{
    ApprovalPolicy, NotificationReceiver, NotificationRule, RoleActivationRequest, RoleEligibility, conditions, names,
    request::ReviewState, stored::StoredNamespace,
};
use domain::{
    NamespaceFacts,
    activity::{self, Event},
    convert,
    guards::ledger::Ledger,
    namespace,
    notify::{
        self, Matter, Rule,
        addresses::Directory,
        assignment::Assignment,
        default_rules::{self, Setting},
        is_critical,
        occasion::{self, Occasion},
        text,
    },
};

/// What is kept of a request.
#[derive(Debug)]
struct Request {
    /// The id of its last event.
    last: String,
    /// The object, until nothing more can happen to it.
    open: Option<Arc<RoleActivationRequest>>,
}

/// What is kept of an eligibility or a policy.
#[derive(Debug)]
struct Authored<K> {
    object: Arc<K>,
    last: Option<String>,
}

#[derive(Debug, Default)]
struct Known {
    requests: HashMap<String, Request>,
    eligibilities: HashMap<String, Authored<RoleEligibility>>,
    policies: HashMap<String, Authored<ApprovalPolicy>>,
    namespaces: HashMap<String, NamespaceFacts>,
    assignments: HashSet<String>,
    guards: Option<String>,
    written: BTreeMap<String, Rule>,
    /// The rules of objects, and the default ones.
    rules: Arc<Vec<Rule>>,
    /// The reminders that were considered since they became due.
    reminded: HashSet<String>,
    /// Who is logged as unknown.
    unknown: BTreeSet<String>,
}

/// What is known of the cluster.
#[derive(Debug)]
pub struct Cluster {
    known: Mutex<Known>,
    handles: Arc<Handles>,
    directory: Directory,
    defaults: BTreeMap<String, Setting>,
    metrics: NotifyMetrics,
}

/// The largest number of names that are kept to log each once.
const MOST_UNKNOWN: usize = 1_000;

impl Cluster {
    /// Returns a cluster of which nothing is known yet.
    pub fn new(handles: Arc<Handles>, directory: Directory, defaults: BTreeMap<String, Setting>, metrics: NotifyMetrics) -> Self {
        Self { known: Mutex::default(), handles, directory, defaults, metrics }
    }

    /// Takes over a receiver. Returns its state if it is new.
    pub fn receiver(&self, stored: &NotificationReceiver) -> Option<Arc<Handle>> {
        let new = self.handles.apply(stored);
        self.renew(&mut self.known.lock());
        new
    }

    /// Removes a receiver.
    pub fn receiver_gone(&self, name: &str) {
        self.handles.remove(name);
        self.renew(&mut self.known.lock());
    }

    /// Takes over a rule.
    pub fn rule(&self, stored: &NotificationRule) {
        let name = stored.metadata.name.clone().unwrap_or_default();
        let since = stored.metadata.creation_timestamp.as_ref().map(conditions::from_time).unwrap_or_default();
        let mut known = self.known.lock();
        known.written.insert(name.clone(), Rule { name, spec: stored.spec.clone(), since });
        self.renew(&mut known);
    }

    /// Removes a rule.
    pub fn rule_gone(&self, name: &str) {
        let mut known = self.known.lock();
        known.written.remove(name);
        self.renew(&mut known);
    }

    /// Derives the rules in force.
    fn renew(&self, known: &mut Known) {
        let rules = default_rules::with(&self.defaults, known.written.values(), &self.handles.kinds());
        known.rules = Arc::new(rules);
        known.reminded.clear();
    }

    /// Takes over a request. `is_listed` is false for one that was just created or changed.
    pub fn request(&self, request: RoleActivationRequest, is_listed: bool) {
        let Some(uid) = request.metadata.uid.clone() else { return };
        let events = activity::of_request(&request);
        let Some(last) = events.last().map(|event| event.id.clone()) else { return };
        let is_done = request.status.as_ref().is_some_and(|status| {
            let reviewed = status.review.as_ref().is_none_or(|review| review.state == ReviewState::Done);
            status.state.is_some_and(api::State::is_terminal) && reviewed
        });
        let request = Arc::new(request);
        let mut known = self.known.lock();
        let before = known.requests.insert(uid, Request { last, open: (!is_done).then(|| Arc::clone(&request)) });
        let (news, is_new) = news(events, before.as_ref().map(|before| &before.last), is_listed);
        let eligibility = known.eligibilities.get(&request.spec.eligibility_ref.name).map(|found| Arc::clone(&found.object));
        let policy = policy_of(&known, eligibility.as_deref());
        let matter = Matter { request: Some(&request), eligibility: eligibility.as_deref(), policy: policy.as_deref() };
        for event in news {
            self.tell(&mut known, Occasion::of(event), matter, is_new);
        }
    }

    /// Forgets a request.
    pub fn request_gone(&self, uid: &str) {
        self.known.lock().requests.remove(uid);
    }

    /// Forgets the requests that a list did not have.
    pub fn only_requests(&self, uids: &HashSet<String>) {
        self.known.lock().requests.retain(|uid, _| uids.contains(uid));
    }

    /// Returns a request to which something can still happen.
    pub fn open_request(&self, uid: &str) -> Option<Arc<RoleActivationRequest>> {
        self.known.lock().requests.get(uid)?.open.clone()
    }

    /// Returns an eligibility.
    pub fn eligibility_named(&self, name: &str) -> Option<Arc<RoleEligibility>> {
        self.known.lock().eligibilities.get(name).map(|found| Arc::clone(&found.object))
    }

    /// Takes over an eligibility.
    pub fn eligibility(&self, eligibility: RoleEligibility, is_listed: bool) {
        let name = eligibility.metadata.name.clone().unwrap_or_default();
        let events = activity::of_eligibility(&eligibility);
        let last = events.last().map(|event| event.id.clone());
        let object = Arc::new(eligibility);
        let mut known = self.known.lock();
        let before = known.eligibilities.insert(name, Authored { object: Arc::clone(&object), last });
        let (news, is_new) = news(events, before.and_then(|before| before.last).as_ref(), is_listed);
        let policy = policy_of(&known, Some(&object));
        let matter = Matter { request: None, eligibility: Some(&object), policy: policy.as_deref() };
        for event in news {
            self.tell(&mut known, Occasion::of(event), matter, is_new);
        }
    }

    /// Forgets an eligibility.
    pub fn eligibility_gone(&self, name: &str) {
        self.known.lock().eligibilities.remove(name);
    }

    /// Takes over a policy.
    pub fn policy(&self, policy: ApprovalPolicy, is_listed: bool) {
        let name = policy.metadata.name.clone().unwrap_or_default();
        let events = activity::of_policy(&policy);
        let last = events.last().map(|event| event.id.clone());
        let object = Arc::new(policy);
        let mut known = self.known.lock();
        let before = known.policies.insert(name, Authored { object: Arc::clone(&object), last });
        let (news, is_new) = news(events, before.and_then(|before| before.last).as_ref(), is_listed);
        let matter = Matter { request: None, eligibility: None, policy: Some(&object) };
        for event in news {
            self.tell(&mut known, Occasion::of(event), matter, is_new);
        }
    }

    /// Forgets a policy.
    pub fn policy_gone(&self, name: &str) {
        self.known.lock().policies.remove(name);
    }

    /// Takes over a namespace.
    pub fn namespace(&self, stored: StoredNamespace) {
        let name = stored.metadata.name.clone().unwrap_or_default();
        self.known.lock().namespaces.insert(name, convert::namespace(stored));
    }

    /// Forgets a namespace.
    pub fn namespace_gone(&self, name: &str) {
        self.known.lock().namespaces.remove(name);
    }

    /// Takes over a RoleBinding.
    pub fn binding(&self, binding: &RoleBinding, is_listed: bool) {
        let Some(assignment) = Assignment::of(binding) else { return };
        let mut known = self.known.lock();
        if !known.assignments.insert(assignment.subject.uid.clone()) {
            return;
        }
        let namespace = assignment.subject.namespace.clone().unwrap_or_default();
        let facts = known.namespaces.get(&namespace).cloned();
        let covers = |eligibility: &RoleEligibility| {
            let by_name = eligibility.spec.namespaces.names.contains(&namespace);
            by_name || facts.as_ref().is_some_and(|facts| namespace::covers(&eligibility.spec, &namespace, facts))
        };
        let eligible = |found: &&Authored<RoleEligibility>| assignment.is_eligible(&found.object) && covers(&found.object);
        let Some(eligibility) = known.eligibilities.values().find(eligible).map(|found| Arc::clone(&found.object)) else { return };
        let policy = policy_of(&known, Some(&eligibility));
        let matter = Matter { request: None, eligibility: Some(&eligibility), policy: policy.as_deref() };
        self.tell(&mut known, assignment.occasion(), matter, !is_listed);
    }

    /// Forgets a RoleBinding.
    pub fn binding_gone(&self, uid: &str) {
        self.known.lock().assignments.remove(uid);
    }

    /// Takes over the record of the guards.
    pub fn lease(&self, lease: &Lease, is_listed: bool) {
        let record = lease.metadata.annotations.as_ref().and_then(|all| all.get(names::GUARDS));
        let Some(ledger) = record.and_then(|record| Ledger::read(Some(record))) else { return };
        let events = activity::of_guards(lease.metadata.uid.as_deref().unwrap_or_default(), &ledger.spans());
        let mut known = self.known.lock();
        let last = events.last().map(|event| event.id.clone());
        let before = std::mem::replace(&mut known.guards, last);
        let (news, is_new) = news(events, before.as_ref(), is_listed);
        for event in news {
            self.tell(&mut known, Occasion::of(event), Matter::default(), is_new);
        }
    }

    /// Sends the reminders that are due.
    pub fn remind(&self, now: Timestamp) {
        let mut known = self.known.lock();
        let rules = Arc::clone(&known.rules);
        if rules.iter().all(|rule| rule.spec.reminders.is_none()) {
            return;
        }
        let requests: Vec<_> = known.requests.values().filter_map(|request| request.open.clone()).collect();
        let eligibilities: Vec<_> = known.eligibilities.values().map(|found| Arc::clone(&found.object)).collect();
        let mut due = HashSet::new();
        let mut send =
            |known: &mut Known, occasion: Occasion, request: Option<&RoleActivationRequest>, eligibility: Option<&RoleEligibility>| {
                if occasion.event.at > now || !occasion.is_still_true(request, eligibility) {
                    return;
                }
                let id = occasion.event.id.clone();
                if !known.reminded.contains(&id) {
                    let policy = policy_of(known, eligibility);
                    self.tell(known, occasion, Matter { request, eligibility, policy: policy.as_deref() }, false);
                }
                due.insert(id);
            };
        for request in requests {
            let eligibility = known.eligibilities.get(&request.spec.eligibility_ref.name).map(|found| Arc::clone(&found.object));
            for occasion in occasion::of_request(&request, &activity::of_request(&request), &rules) {
                send(&mut known, occasion, Some(&request), eligibility.as_deref());
            }
        }
        for eligibility in eligibilities {
            for occasion in occasion::of_eligibility(&eligibility, &rules) {
                send(&mut known, occasion, None, Some(&eligibility));
            }
        }
        known.reminded = due;
    }

    fn tell(&self, known: &mut Known, occasion: Occasion, matter: Matter<'_>, is_new: bool) {
        let plan = notify::plan(&occasion, matter, &known.rules, &self.handles.kinds(), &self.directory);
        self.handles.consider(occasion.event.at);
        if is_new {
            self.metrics.unknown(plan.unknown.len());
            for name in &plan.unknown {
                if known.unknown.len() < MOST_UNKNOWN && known.unknown.insert(name.clone()) {
                    tracing::warn!(name, "no address is known: they receive nothing (chart value notify.addresses)");
                }
            }
        }
        if plan.deliveries.is_empty() {
            return;
        }
        let text = Arc::new(text::of(&occasion, matter));
        let is_critical = is_critical(&occasion);
        let occasion = Arc::new(occasion);
        for (name, delivery) in plan.deliveries {
            let Some(handle) = self.handles.get(&name) else { continue };
            let recipients = delivery.to.into_iter().map(|email| Address { name: None, email }).collect();
            let item = Item { occasion: Arc::clone(&occasion), text: Arc::clone(&text), recipients, is_critical };
            let mut state = handle.state.lock();
            if state.offer(item, is_new).is_some() {
                self.metrics.count(state.kind, Fate::Dropped);
                if state.unreported == 1 {
                    tracing::warn!(receiver = name, "the queue is full: the oldest messages are dropped");
                }
                state.error("QueueFull", "the queue was full: the oldest messages were dropped", Timestamp::now());
                handle.changed.notify_one();
            }
            drop(state);
            handle.wake.notify_one();
        }
    }
}

fn policy_of(known: &Known, eligibility: Option<&RoleEligibility>) -> Option<Arc<ApprovalPolicy>> {
    known.policies.get(&eligibility?.spec.policy_ref.name).map(|found| Arc::clone(&found.object))
}

/// Returns the events after the last known one, and whether they are certainly new. Of an object that is read for the first time, the position
/// of each receiver tells which events were sent.
fn news(events: Vec<Event>, last: Option<&String>, is_listed: bool) -> (Vec<Event>, bool) {
    let known = last.and_then(|last| events.iter().position(|event| event.id == *last));
    match known {
        Some(place) => (events.into_iter().skip(place + 1).collect(), true),
        // The timeline of an eligibility keeps its last entries only.
        None => (events, !is_listed && last.is_none()),
    }
}
