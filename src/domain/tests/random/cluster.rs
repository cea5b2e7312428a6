//! A small cluster: stored objects, and a controller that works on them as the real one does. It makes no assertions; [`super::model`]
//! does.

use std::collections::BTreeMap;

use super::*;
use api::{
    RoleActivationRequestSpec, RoleEligibilitySpec,
    policy::{Emergency, Limits, OnRoleChange},
    request::Extends,
};
use domain::{Base, GuardFacts, Guards, Peer, Refusal, Span, emergency};

/// A request and its decisions.
#[derive(Clone, Debug)]
pub struct Stored {
    pub facts: RequestFacts,
    pub decisions: Vec<Object<ActivationDecisionSpec>>,
}

/// All stored objects at one time.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// The API server's clock, in seconds since the beginning.
    pub now: i64,
    /// Offset of the operator's clock.
    pub skew: i64,
    pub settings: Settings,
    pub eligibilities: BTreeMap<String, Arc<Object<RoleEligibilitySpec>>>,
    pub policy: Option<Arc<Object<ApprovalPolicySpec>>>,
    pub role: Option<RoleFacts>,
    pub namespaces: BTreeMap<String, NamespaceFacts>,
    pub requests: Vec<Stored>,
    /// By namespace and name.
    pub bindings: BTreeMap<(String, String), BindingFacts>,
    /// Times at which the guards were proven.
    pub spans: Vec<Span>,
    pub held: bool,
    uids: u32,
}

/// The users. Two spellings of one user are one person.
pub const PEOPLE: [(&str, &str); 6] =
    [("ann", "devs"), ("ANN", "devs"), ("bob", "devs"), ("lea", "leads"), ("leo", "leads"), ("eve", "strangers")];

pub fn who(number: usize) -> Stamp {
    let (name, group) = PEOPLE[number % PEOPLE.len()];
    person(name, &[group])
}

fn policy_spec() -> ApprovalPolicySpec {
    ApprovalPolicySpec {
        approval: Approval { automatic: Some(Automatic {}), timeout: Some(lasting("10m")), ..Approval::default() },
        revokers: Some(people(&["eve"])),
        emergency: Some(Emergency {
            allowed: true,
            reviewers: Some(people(&["lea"])),
            review_within: Some(lasting("5m")),
            ..Emergency::default()
        }),
        limits: Some(Limits { max_active_per_user: Some(2), ..Limits::default() }),
        ..ApprovalPolicySpec::default()
    }
}

impl Cluster {
    pub fn new() -> Self {
        let case = case();
        let Lookup::Found(eligibility) = &case.snapshot.eligibility else { panic!("there is one") };
        let mut cluster = Self {
            now: 0,
            skew: 0,
            settings: case.settings.clone(),
            eligibilities: BTreeMap::new(),
            policy: Some(Arc::new(object("two-eyes", "policy-0", at(-9), policy_spec()))),
            role: case.snapshot.role.found().cloned(),
            namespaces: BTreeMap::new(),
            requests: Vec::new(),
            bindings: BTreeMap::new(),
            spans: vec![Span { from: at(-100), until: None }],
            held: false,
            uids: 0,
        };
        for name in ["edit", "more"] {
            let mut spec = eligibility.spec.clone();
            spec.namespaces = Namespaces { names: vec!["payments".to_owned(), "shop".to_owned()], selector: None };
            spec.max_duration = lasting("20m");
            cluster.eligibilities.insert(name.to_owned(), Arc::new(object(name, &format!("{name}-0"), at(-9), spec)));
        }
        for name in ["payments", "shop"] {
            let facts = NamespaceFacts { uid: format!("{name}-uid"), labels: BTreeMap::new(), labels_too_long: false, terminating: false };
            cluster.namespaces.insert(name.to_owned(), facts);
        }
        cluster
    }

    fn uid(&mut self) -> String {
        self.uids += 1;
        format!("00000000-0000-0000-0000-{:012x}", self.uids)
    }

    fn operators_now(&self) -> Timestamp {
        at(self.now + self.skew)
    }

    pub fn edit_policy(&mut self, change: impl FnOnce(&mut ApprovalPolicySpec)) {
        if let Some(policy) = &mut self.policy {
            change(&mut Arc::make_mut(policy).spec);
        }
    }

    pub fn edit_eligibility(&mut self, name: &str, change: impl FnOnce(&mut RoleEligibilitySpec)) {
        if let Some(eligibility) = self.eligibilities.get_mut(name) {
            change(&mut Arc::make_mut(eligibility).spec);
        }
    }

    /// Stores a request if admission accepts it or is not in force.
    pub fn ask(&mut self, who: usize, wish: Wish, through_the_door: bool) {
        let uid = self.uid();
        let spec = RoleActivationRequestSpec {
            eligibility_ref: NameRef { name: if wish.more { "more" } else { "edit" }.to_owned() },
            duration: Some(Duration::from_secs(wish.seconds)),
            start_time: (wish.ahead > 0).then(|| at(self.now + wish.ahead)),
            extends: wish.extends.map(|number| Extends { name: format!("r-{number}") }),
            emergency: wish.emergency,
            justification: Some(line("because")),
            requester: Some(self::who(who)),
            ..RoleActivationRequestSpec::default()
        };
        let namespace = if wish.shop { "shop" } else { "payments" };
        let name = format!("r-{}", self.requests.len());
        let facts =
            RequestFacts { namespace: namespace.to_owned(), object: object(&name, &uid, at(self.now), spec), record: Record::default() };
        let snapshot = Snapshot { guards: Guards::Unasked, ..self.snapshot(&Stored { facts: facts.clone(), decisions: Vec::new() }) };
        if !through_the_door || decide(&snapshot, &self.settings, at(self.now)).refusal().is_none() {
            self.requests.push(Stored { facts, decisions: Vec::new() });
        }
    }

    /// Stores a decision on a request, with the present digest or none, if admission accepts it or is not in force.
    pub fn say(&mut self, number: usize, who: usize, verb: Verb, stale: bool, through_the_door: bool) {
        let Some(stored) = self.requests.get(number % self.requests.len().max(1)).cloned() else { return };
        let uid = self.uid();
        let snapshot = Snapshot { guards: Guards::Unasked, ..self.snapshot(&stored) };
        let digest = self.digest(&stored).filter(|_| !stale).unwrap_or_else(|| format!("sha256:{}", "0".repeat(64)));
        let request = &stored.facts.object;
        let spec = ActivationDecisionSpec {
            request_ref: RequestRef { name: request.name.clone(), uid: Some(request.uid.clone()), requester: None },
            decision: verb,
            digest: (verb == Verb::Approve).then_some(digest),
            duration: None,
            comment: None,
            decider: Some(self::who(who)),
        };
        let decision = object("said", &uid, at(self.now), spec);
        let taken = !through_the_door || admit_decision::review(&snapshot, &decision, &self.settings, decision.created).is_ok();
        if let Some(found) = self.requests.iter_mut().find(|other| taken && other.facts.object.uid == request.uid) {
            found.decisions.push(decision);
        }
    }

    pub fn digest(&self, stored: &Stored) -> Option<String> {
        let facts = &stored.facts;
        let eligibility = self.eligibilities.get(&facts.object.spec.eligibility_ref.name)?;
        let namespace = self.namespaces.get(&facts.namespace)?;
        Some(Digest::of(facts, namespace, eligibility, self.policy.as_ref()?, self.role.as_ref()?).to_string())
    }

    fn binding(&self, facts: &RequestFacts) -> Binding {
        let key = (facts.namespace.clone(), format!("jit-{}", facts.object.uid));
        self.bindings.get(&key).map_or(Binding::Absent, |found| Binding::Present(found.clone()))
    }

    pub fn snapshot(&self, stored: &Stored) -> Snapshot {
        let facts = &stored.facts;
        let found = |lookup: Option<_>| lookup.map_or(Lookup::Absent, Lookup::Found);
        let eligibility = self.eligibilities.get(&facts.object.spec.eligibility_ref.name).cloned();
        let base = facts.object.spec.base().map(|name| {
            let base = self.requests.iter().find(|other| other.facts.namespace == facts.namespace && other.facts.object.name == name);
            base.map_or(Lookup::Absent, |base| {
                Lookup::Found(Box::new(Base { request: base.facts.clone(), binding: self.binding(&base.facts) }))
            })
        });
        let peers = self.requests.iter().filter(|other| other.facts.object.uid != facts.object.uid).map(|other| Peer {
            namespace: other.facts.namespace.clone(),
            object: other.facts.object.clone(),
            requester: other.facts.object.spec.requester.clone().expect("all are stamped"),
            policy: Some("two-eyes".to_owned()),
            record: other.facts.record.clone(),
        });
        let hold = self.held.then(|| Refusal::new(api::Reason::GuardsNotVerified, "a guard is missing"));
        Snapshot {
            request: facts.clone(),
            namespace: self.namespaces.get(&facts.namespace).cloned().map_or(Lookup::Absent, Lookup::Found),
            policy: if eligibility.is_some() { found(self.policy.clone()) } else { Lookup::Absent },
            role: self.role.clone().filter(|_| eligibility.is_some()).map_or(Lookup::Absent, Lookup::Found),
            eligibility: eligibility.map_or(Lookup::Absent, Lookup::Found),
            decisions: stored.decisions.clone(),
            unread: Unread::default(),
            peers: peers.collect(),
            debts: Vec::new(),
            base,
            binding: self.binding(facts),
            guards: Guards::Watched(GuardFacts { hold, proven: self.spans.clone(), ..GuardFacts::default() }),
        }
    }

    /// Runs the controller for one request and returns the new grant, if there is one. `recorded` is false if the controller stops before
    /// it writes the status.
    pub fn work(&mut self, number: usize, recorded: bool) -> Option<(Stored, Grant)> {
        let stored = self.requests.get(number)?.clone();
        let snapshot = self.snapshot(&stored);
        let now = self.operators_now();
        if stored.facts.record.state.is_some_and(State::is_terminal) {
            self.bindings.remove(&(stored.facts.namespace.clone(), format!("jit-{}", stored.facts.object.uid)));
            let policy = self.policy.as_ref().map(|policy| &policy.spec);
            let at = stored.facts.record.granted_at;
            let review = emergency::review(&stored.facts, at, policy, &stored.decisions, &self.settings.identities, now);
            self.requests.get_mut(number)?.facts.record.review = review;
            return None;
        }
        let verdict = decide(&snapshot, &self.settings, now);
        let key = (stored.facts.namespace.clone(), format!("jit-{}", stored.facts.object.uid));
        let mut made = None;
        match (verdict.binding, &verdict.grant) {
            (BindingAction::Create, Some(grant)) => {
                let uid = self.uid();
                self.bindings.insert(key.clone(), BindingFacts { uid, ..super::stored(grant) });
                made = Some((stored.clone(), grant.clone()));
            }
            (BindingAction::Remove, _) => {
                self.bindings.remove(&key);
                for link in &verdict.links {
                    self.bindings.remove(&(stored.facts.namespace.clone(), link.clone()));
                }
            }
            (BindingAction::Create | BindingAction::Keep, _) => {}
        }
        let bound = self.bindings.get(&key).map(|found| BindingRef { name: key.1.clone(), uid: found.uid.clone() });
        let record = &mut self.requests.get_mut(number)?.facts.record;
        if recorded {
            report(record, &verdict, self.role.as_ref(), bound);
            record.ended_at = verdict.state.is_terminal().then_some(now);
        }
        made
    }

    /// Runs the revoker: bindings after their deadline are removed in any case.
    pub fn sweep(&mut self) {
        let now = self.operators_now();
        self.bindings.retain(|_, binding| binding.deadline().is_some_and(|deadline| now < deadline));
        // A binding without its request is removed too.
        let uids: Vec<String> = self.requests.iter().map(|stored| format!("jit-{}", stored.facts.object.uid)).collect();
        self.bindings.retain(|(_, name), _| uids.contains(name));
    }
}

/// The content of a request.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    pub more: bool,
    pub shop: bool,
    pub seconds: u32,
    pub ahead: i64,
    pub extends: Option<usize>,
    pub emergency: bool,
}

/// A change by an admin.
#[derive(Clone, Copy, Debug)]
pub enum Edit {
    Stages(i32),
    Automatic,
    Retitle,
    Suspend(bool),
    OnlyBob,
    Everybody,
    Shorter,
    RemoveEligibility,
    RemovePolicy,
    WidenRole,
    RemoveRole,
    Terminate,
    RevokeOnRoleChange,
    Cooldown(u32),
}

impl Cluster {
    pub fn edit(&mut self, edit: Edit) {
        match edit {
            Edit::Stages(required) => self.edit_policy(|p| {
                p.approval.automatic = None;
                p.approval.stages = vec![stage("lead", required, &["group leads", "ann"])];
            }),
            Edit::Automatic => self.edit_policy(|p| {
                p.approval.stages = Vec::new();
                p.approval.automatic = Some(Automatic {});
            }),
            Edit::Retitle => self.edit_eligibility("edit", |e| e.description = Some(line("another"))),
            Edit::Suspend(suspended) => self.edit_eligibility("edit", |e| e.suspended = suspended),
            Edit::OnlyBob => self.edit_eligibility("edit", |e| e.subjects = vec![subject(SubjectKind::User, "bob")]),
            Edit::Everybody => self.edit_eligibility("edit", |e| e.subjects = vec![subject(SubjectKind::Group, "devs")]),
            Edit::Shorter => self.edit_eligibility("edit", |e| e.max_duration = lasting("3m")),
            Edit::RemoveEligibility => drop(self.eligibilities.remove("more")),
            Edit::RemovePolicy => self.policy = None,
            Edit::WidenRole => {
                if let Some(role) = &mut self.role {
                    let more = rule(&["delete"], &["deployments"]);
                    role.rules = Arc::new(Rules::new(role.rules.rules().iter().cloned().chain([more])));
                }
            }
            Edit::RemoveRole => self.role = None,
            Edit::Terminate => self.namespaces.values_mut().take(1).for_each(|namespace| namespace.terminating = true),
            Edit::RevokeOnRoleChange => self.edit_policy(|p| p.on_role_change = Some(OnRoleChange::Revoke)),
            Edit::Cooldown(seconds) => self.edit_policy(|p| {
                let limits = p.limits.get_or_insert_default();
                limits.cooldown = Some(Duration::from_secs(seconds));
            }),
        }
    }
}
