//! Tests of the rules: tables for one rule each, with the exact messages, and properties over random scenarios.
//!
//! [`World`] is a small scenario in which `dev` of the group `devs` is granted every request. A test changes only what it is about.

mod approval;
mod bounded;
mod checked;
mod deleting;
mod digest;
mod door;
mod eligibility;
mod emergencies;
mod endings;
mod evident;
mod extensions;
mod guarded;

mod justification;
mod lasting;
mod limits;
mod live;
mod missing;
mod people;
mod policies;
mod random;
mod role_changes;
mod roles;
mod starts;
mod stored_binding;
mod usable;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::{
    Binding, BindingAction, BindingFacts, Deletion, Grant, Guards, Lookup, NamespaceFacts, Object, Peer, Record, RequestFacts, RoleFacts,
    Settings, Snapshot, Unread, Verdict, admit_decision, decide,
    digest::Digest,
    person::Identities,
    role::{Rule, Rules},
    settings::GuardedLabels,
};
use api::{
    ActivationDecisionSpec, ApprovalPolicySpec, Duration, Line, People, RoleActivationRequestSpec, RoleEligibilitySpec, Stamp, State,
    Subject, SubjectKind, Verb,
    decision::RequestRef,
    eligibility::{NameRef, Namespaces, RoleKind, RoleRef},
    policy::{Approval, Automatic, Stage},
    request::BindingRef,
};

const REQUEST_UID: &str = "0b9f5f6e-3f2a-4c7e-9f58-0f8f8f1b2c3d";
const BINDING: &str = "jit-0b9f5f6e-3f2a-4c7e-9f58-0f8f8f1b2c3d";

/// 256 cases, or the number in `PROPTEST_CASES`. A failure prints its scenario and writes no file.
fn config() -> proptest::test_runner::Config {
    proptest::test_runner::Config { failure_persistence: None, ..proptest::test_runner::Config::default() }
}

/// The instant so many seconds after the request's creation.
fn at(seconds: i64) -> Timestamp {
    "2026-11-02T10:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds)
}

fn line<const MAX: usize>(text: &str) -> Line<MAX> {
    Line::try_from(text.to_owned()).unwrap()
}

fn lasting(text: &str) -> Duration {
    text.parse().unwrap()
}

/// A user with groups.
fn person(username: &str, groups: &[&str]) -> Stamp {
    Stamp { username: line(username), groups: groups.iter().map(|g| line(g)).collect(), ..Stamp::default() }
}

/// `who` with a UID.
fn uid(who: Stamp, uid: &str) -> Stamp {
    Stamp { uid: Some(line(uid)), ..who }
}

fn dev() -> Stamp {
    person("dev", &["devs"])
}

fn lead(number: usize) -> Stamp {
    person(&format!("lead-{number}"), &["leads"])
}

/// People as `["lead-1", "group leads"]`.
fn people(words: &[&str]) -> People {
    let (groups, users): (Vec<&str>, Vec<&str>) = words.iter().partition(|w| w.starts_with("group "));
    People {
        users: users.iter().map(|u| line(u)).collect(),
        groups: groups.iter().filter_map(|g| g.strip_prefix("group ")).map(line).collect(),
    }
}

fn stage(name: &str, required: i32, approvers: &[&str]) -> Stage {
    Stage { name: line(name), approvers: people(approvers), required: Some(required) }
}

fn subject(kind: SubjectKind, name: &str) -> Subject {
    let namespace = (kind == SubjectKind::ServiceAccount).then(|| "ci".to_owned());
    Subject { kind, name: line(name), namespace, uid: None }
}

fn object<S>(name: &str, uid: &str, created: Timestamp, spec: S) -> Object<S> {
    Object { name: name.to_owned(), uid: uid.to_owned(), created, deleting: false, generation: 1, checked: None, owed: None, spec }
}

fn rule(verbs: &[&str], resources: &[&str]) -> Rule {
    let list = |words: &[&str]| words.iter().map(ToString::to_string).collect();
    Rule { api_groups: list(&["apps"]), resources: list(resources), verbs: list(verbs), ..Rule::default() }
}

/// Another request for the same eligibility and namespace, as a peer.
fn peer(name: &str, uid: &str, created: Timestamp, who: Stamp, state: Option<State>) -> Peer {
    let spec = RoleActivationRequestSpec {
        eligibility_ref: NameRef { name: "payments-oncall".to_owned() },
        requester: Some(who.clone()),
        ..RoleActivationRequestSpec::default()
    };
    Peer {
        namespace: "payments".to_owned(),
        object: object(name, uid, created, spec),
        requester: who,
        policy: Some("two-eyes".to_owned()),
        record: Record { state, ..Record::default() },
    }
}

/// The binding that a grant creates.
fn stored(grant: &Grant) -> BindingFacts {
    BindingFacts {
        uid: "binding-uid".to_owned(),
        managed: true,
        annotations: grant.annotations(),
        subjects: vec![grant.subject.clone()],
        role_kind: grant.role.kind.to_string(),
        role_name: grant.role.name.clone(),
    }
}

/// Everything that one decision rests on.
#[derive(Clone, Debug)]
struct World {
    snapshot: Snapshot,
    settings: Settings,
    now: Timestamp,
}

/// `dev` requests `edit` in `payments` for 45 minutes, and no approval is required.
fn world() -> World {
    let eligibility = RoleEligibilitySpec {
        subjects: vec![subject(SubjectKind::Group, "devs")],
        role_ref: RoleRef { kind: RoleKind::ClusterRole, name: "edit".to_owned() },
        namespaces: Namespaces { names: vec!["payments".to_owned()], selector: None },
        policy_ref: NameRef { name: "two-eyes".to_owned() },
        default_duration: None,
        max_duration: lasting("4h"),
        start_time: None,
        end_time: Some(at(30 * 86_400)),
        suspended: false,
        allow_service_accounts: false,
        accept_risks: Vec::new(),
        justification: None,
        description: None,
    };
    let policy =
        ApprovalPolicySpec { approval: Approval { automatic: Some(Automatic {}), ..Approval::default() }, ..ApprovalPolicySpec::default() };
    let request = RoleActivationRequestSpec {
        eligibility_ref: NameRef { name: "payments-oncall".to_owned() },
        duration: Some(lasting("45m")),
        justification: Some(line("INC-4711 checkout is slow")),
        requester: Some(dev()),
        ..RoleActivationRequestSpec::default()
    };
    let role = RoleFacts {
        kind: RoleKind::ClusterRole,
        name: "edit".to_owned(),
        uid: "role-uid".to_owned(),
        rules: Arc::new(Rules::new([rule(&["get", "patch"], &["deployments"]), rule(&["get"], &["statefulsets"])])),
    };
    World {
        snapshot: Snapshot {
            request: RequestFacts {
                namespace: "payments".to_owned(),
                object: object("inc-4711", REQUEST_UID, at(0), request),
                record: Record::default(),
            },
            namespace: Lookup::Found(NamespaceFacts {
                uid: "namespace-uid".to_owned(),
                labels: [("team".to_owned(), "payments".to_owned())].into(),
                labels_too_long: false,
                terminating: false,
            }),
            eligibility: Lookup::Found(Arc::new(object("payments-oncall", "eligibility-uid", at(-86_400), eligibility))),
            policy: Lookup::Found(Arc::new(object("two-eyes", "policy-uid", at(-86_400), policy))),
            role: Lookup::Found(role),
            decisions: Vec::new(),
            unread: Unread::default(),
            peers: Vec::new(),
            debts: Vec::new(),
            base: None,
            binding: Binding::Absent,
            guards: Guards::Unasked,
        },
        settings: Settings {
            operator_namespace: "jit-system".to_owned(),
            max_grant: lasting("24h"),
            identities: Identities::default(),
            system_namespaces: Vec::new(),
            guarded_labels: GuardedLabels::default(),
        },
        now: at(1),
    }
}

/// The same with one stage, in which one member of the group `leads` must approve.
fn two_eyes() -> World {
    world().stages(vec![stage("lead", 1, &["group leads"])])
}

impl World {
    fn change(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn eligibility(self, change: impl FnOnce(&mut RoleEligibilitySpec)) -> Self {
        self.change(|w| {
            if let Lookup::Found(eligibility) = &mut w.snapshot.eligibility {
                change(&mut Arc::make_mut(eligibility).spec);
            }
        })
    }

    fn policy(self, change: impl FnOnce(&mut ApprovalPolicySpec)) -> Self {
        self.change(|w| {
            if let Lookup::Found(policy) = &mut w.snapshot.policy {
                change(&mut Arc::make_mut(policy).spec);
            }
        })
    }

    fn request(self, change: impl FnOnce(&mut RoleActivationRequestSpec)) -> Self {
        self.change(|w| change(&mut w.snapshot.request.object.spec))
    }

    fn namespace(self, change: impl FnOnce(&mut NamespaceFacts)) -> Self {
        self.change(|w| {
            if let Lookup::Found(namespace) = &mut w.snapshot.namespace {
                change(namespace);
            }
        })
    }

    fn record(self, change: impl FnOnce(&mut Record)) -> Self {
        self.change(|w| change(&mut w.snapshot.request.record))
    }

    /// Changes the stored binding.
    fn binding(self, change: impl FnOnce(&mut BindingFacts)) -> Self {
        self.change(|w| match &mut w.snapshot.binding {
            Binding::Present(found) => change(found),
            Binding::Absent | Binding::Unread => panic!("there is no binding"),
        })
    }

    fn requester(self, who: Stamp) -> Self {
        self.request(|r| r.requester = Some(who))
    }

    fn stages(self, stages: Vec<Stage>) -> Self {
        self.policy(|p| p.approval = Approval { automatic: None, stages, ..p.approval.clone() })
    }

    fn now(self, seconds: i64) -> Self {
        self.change(|w| w.now = at(seconds))
    }

    /// Adds a decision as stored.
    fn said(self, decision: Object<ActivationDecisionSpec>) -> Self {
        self.change(|w| w.snapshot.decisions.push(decision))
    }

    /// Adds a decision, so many seconds after the request's creation.
    fn says(self, verb: Verb, who: &Stamp, seconds: i64) -> Self {
        let decision = self.decision(verb, who, seconds);
        self.said(decision)
    }

    /// Adds an Approve of what would be granted now.
    fn approves(self, who: &Stamp, seconds: i64) -> Self {
        self.says(Verb::Approve, who, seconds)
    }

    /// Creates and records the grant.
    fn granted(self) -> Self {
        let verdict = self.decide();
        assert_eq!(verdict.binding, BindingAction::Create, "{verdict:?}");
        self.apply(&verdict)
    }

    /// Applies a verdict.
    fn apply(self, verdict: &Verdict) -> Self {
        let world = match (verdict.binding, &verdict.grant) {
            (BindingAction::Create, Some(grant)) => self.change(|w| w.snapshot.binding = Binding::Present(stored(grant))),
            (BindingAction::Remove, _) => self.change(|w| w.snapshot.binding = Binding::Absent),
            (BindingAction::Create | BindingAction::Keep, _) => self,
        };
        let bound = match &world.snapshot.binding {
            Binding::Present(found) => Some(BindingRef { name: BINDING.to_owned(), uid: found.uid.clone() }),
            Binding::Absent | Binding::Unread => None,
        };
        let rules = world.snapshot.role.found().map(|role| role.rules.hash().to_owned());
        let access = world.snapshot.role.found().map(|role| role.rules.access_hash().to_owned());
        world.record(|r| {
            r.state = Some(verdict.state);
            r.reason = Some(verdict.reason);
            if !verdict.counted.is_empty() {
                r.approvers = verdict.counted.iter().map(|counted| counted.approver.username.clone()).collect();
            }
            if let Some(digest) = &verdict.digest {
                r.digest = Some(digest.to_string());
            }
            if let Some(grant) = &verdict.grant {
                r.rules_hash = rules.clone();
                r.access_hash = access.clone();
                r.granted_at = Some(grant.start);
                r.began = (grant.began < grant.start).then_some(grant.began);
                r.expires_at = Some(grant.deadline);
                r.role = Some(grant.role.clone());
                r.binding = bound;
            }
        })
    }

    /// Returns a decision on the request, with the digest of what would be granted now.
    fn decision(&self, verb: Verb, who: &Stamp, seconds: i64) -> Object<ActivationDecisionSpec> {
        let request = &self.snapshot.request.object;
        let spec = ActivationDecisionSpec {
            request_ref: RequestRef {
                name: request.name.clone(),
                uid: Some(request.uid.clone()),
                requester: request.spec.requester.as_ref().map(|r| r.username.clone()),
            },
            decision: verb,
            digest: (verb == Verb::Approve).then(|| self.digest().to_string()),
            duration: None,
            comment: None,
            decider: Some(who.clone()),
        };
        object("decision", &format!("decision-{}", self.snapshot.decisions.len()), at(seconds), spec)
    }

    /// Returns the digest of what would be granted now.
    fn digest(&self) -> Digest {
        self.digest_if_known().unwrap()
    }

    fn digest_if_known(&self) -> Option<Digest> {
        let Snapshot { request, namespace, eligibility, policy, role, .. } = &self.snapshot;
        Some(Digest::of(request, namespace.found()?, eligibility.found()?, policy.found()?, role.found()?))
    }

    fn decide(&self) -> Verdict {
        decide(&self.snapshot, &self.settings, self.now)
    }

    fn state(&self) -> State {
        self.decide().state
    }

    /// Returns the message to a requester whose request is refused.
    fn refusal(&self) -> String {
        let verdict = self.decide();
        verdict.refusal().map_or_else(|| panic!("not refused: {verdict:?}"), |refusal| refusal.to_string())
    }

    /// Returns state, reason and message in one line.
    fn told(&self) -> String {
        let verdict = self.decide();
        format!("{} {}: {}", verdict.state, verdict.reason, verdict.message)
    }

    /// Returns what would be granted now.
    fn grant(&self) -> Grant {
        let verdict = self.decide();
        verdict.grant.clone().unwrap_or_else(|| panic!("no grant: {verdict:?}"))
    }

    /// Returns the message to an author whose decision is refused.
    fn door(&self, decision: &Object<ActivationDecisionSpec>) -> Result<(), String> {
        admit_decision::review(&self.snapshot, decision, &self.settings, decision.created).map_err(|refusal| refusal.to_string())
    }
}

#[test]
fn t11_t21_what_is_granted() {
    let grant = world().grant();
    assert_eq!(grant.name, BINDING);
    assert_eq!((grant.namespace.as_str(), grant.namespace_uid.as_str()), ("payments", "namespace-uid"));
    assert_eq!((grant.start, grant.deadline), (at(0), at(45 * 60)));
    assert_eq!((grant.subject.kind.as_str(), grant.subject.name.as_str()), ("User", "dev"), "one person, never their group");
    assert_eq!(
        grant.annotations().into_iter().collect::<Vec<_>>(),
        [
            ("jitrbac.dev/digest", world().digest().as_str()),
            ("jitrbac.dev/expires-at", "2026-11-02T10:45:00Z"),
            ("jitrbac.dev/justification", "INC-4711 checkout is slow"),
            ("jitrbac.dev/namespace-uid", "namespace-uid"),
            ("jitrbac.dev/request", "inc-4711"),
            ("jitrbac.dev/requester", "dev"),
            ("jitrbac.dev/started-at", "2026-11-02T10:00:00Z"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
    );
    assert_eq!(world().told(), "Active Granted: ClusterRole 'edit' in namespace 'payments' until 2026-11-02T10:45:00Z");
}
