//! One decision of the rules with everything that it rests on.

use std::sync::Arc;

use api::{
    ActivationDecisionSpec, ApprovalPolicySpec, RoleActivationRequestSpec, RoleEligibilitySpec, Stamp, State, SubjectKind, Verb,
    decision::RequestRef,
    eligibility::{NameRef, Namespaces, RoleKind, RoleRef},
    names::binding_name,
    policy::{Approval, Automatic, Stage},
    request::BindingRef,
};
use domain::{
    Binding, BindingAction, BindingFacts, Grant, Guards, Lookup, NamespaceFacts, Object, Record, RequestFacts, RoleFacts, Settings,
    Snapshot, Unread, Verdict, admit_decision, decide, digest::Digest, person::Identities, role::Rules, settings::GuardedLabels,
};
use jiff::Timestamp;

use crate::builders::{REQUEST_UID, at, dev, lasting, line, object, rule, stage, stored, subject};

/// The input of one decision.
#[derive(Clone, Debug)]
pub struct TestCase {
    /// What was read from the API server.
    pub snapshot: Snapshot,
    /// The values of the chart.
    pub settings: Settings,
    /// The time of the decision.
    pub now: Timestamp,
}

/// `dev` requests `edit` in `payments` for 45 minutes, and no approval is required.
pub fn case() -> TestCase {
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
    TestCase {
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
pub fn two_eyes() -> TestCase {
    case().stages(vec![stage("lead", 1, &["group leads"])])
}

impl TestCase {
    /// Changes anything.
    pub fn change(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Changes the eligibility's spec, if there is one.
    pub fn eligibility(self, change: impl FnOnce(&mut RoleEligibilitySpec)) -> Self {
        self.change(|c| {
            if let Lookup::Found(eligibility) = &mut c.snapshot.eligibility {
                change(&mut Arc::make_mut(eligibility).spec);
            }
        })
    }

    /// Changes the policy's spec, if there is one.
    pub fn policy(self, change: impl FnOnce(&mut ApprovalPolicySpec)) -> Self {
        self.change(|c| {
            if let Lookup::Found(policy) = &mut c.snapshot.policy {
                change(&mut Arc::make_mut(policy).spec);
            }
        })
    }

    /// Changes the request's spec.
    pub fn request(self, change: impl FnOnce(&mut RoleActivationRequestSpec)) -> Self {
        self.change(|c| change(&mut c.snapshot.request.object.spec))
    }

    /// Changes the namespace, if there is one.
    pub fn namespace(self, change: impl FnOnce(&mut NamespaceFacts)) -> Self {
        self.change(|c| {
            if let Lookup::Found(namespace) = &mut c.snapshot.namespace {
                change(namespace);
            }
        })
    }

    /// Changes what the request's status records.
    pub fn record(self, change: impl FnOnce(&mut Record)) -> Self {
        self.change(|c| change(&mut c.snapshot.request.record))
    }

    /// Changes the stored binding.
    pub fn binding(self, change: impl FnOnce(&mut BindingFacts)) -> Self {
        self.change(|c| match &mut c.snapshot.binding {
            Binding::Present(found) => change(found),
            Binding::Absent | Binding::Unread => panic!("there is no binding"),
        })
    }

    /// Replaces the requester.
    pub fn requester(self, who: Stamp) -> Self {
        self.request(|r| r.requester = Some(who))
    }

    /// Replaces the approval by stages.
    pub fn stages(self, stages: Vec<Stage>) -> Self {
        self.policy(|p| p.approval = Approval { automatic: None, stages, ..p.approval.clone() })
    }

    /// Decides so many seconds after the request's creation.
    pub fn now(self, seconds: i64) -> Self {
        self.change(|c| c.now = at(seconds))
    }

    /// Adds a decision as stored.
    pub fn said(self, decision: Object<ActivationDecisionSpec>) -> Self {
        self.change(|c| c.snapshot.decisions.push(decision))
    }

    /// Adds a decision, so many seconds after the request's creation.
    pub fn says(self, verb: Verb, who: &Stamp, seconds: i64) -> Self {
        let decision = self.decision(verb, who, seconds);
        self.said(decision)
    }

    /// Adds an Approve of what would be granted now.
    pub fn approves(self, who: &Stamp, seconds: i64) -> Self {
        self.says(Verb::Approve, who, seconds)
    }

    /// Creates and records the grant.
    pub fn granted(self) -> Self {
        let verdict = self.decide();
        assert_eq!(verdict.binding, BindingAction::Create, "{verdict:?}");
        self.apply(&verdict)
    }

    /// Applies a verdict, and records it.
    pub fn apply(self, verdict: &Verdict) -> Self {
        self.change(|c| {
            match (verdict.binding, &verdict.grant) {
                (BindingAction::Create, Some(grant)) => c.snapshot.binding = Binding::Present(stored(grant)),
                (BindingAction::Remove, _) => c.snapshot.binding = Binding::Absent,
                (BindingAction::Create | BindingAction::Keep, _) => {}
            }
            let name = binding_name(&c.snapshot.request.object.uid);
            let bound = match &c.snapshot.binding {
                Binding::Present(found) => Some(BindingRef { name, uid: found.uid.clone() }),
                Binding::Absent | Binding::Unread => None,
            };
            report(&mut c.snapshot.request.record, verdict, c.snapshot.role.found(), bound);
        })
    }

    /// Returns a decision on the request, with the digest of what would be granted now.
    pub fn decision(&self, verb: Verb, who: &Stamp, seconds: i64) -> Object<ActivationDecisionSpec> {
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
    pub fn digest(&self) -> Digest {
        self.digest_if_known().unwrap()
    }

    /// Returns the same digest; none if a part of the access is missing.
    pub fn digest_if_known(&self) -> Option<Digest> {
        let Snapshot { request, namespace, eligibility, policy, role, .. } = &self.snapshot;
        Some(Digest::of(request, namespace.found()?, eligibility.found()?, policy.found()?, role.found()?))
    }

    /// Decides.
    pub fn decide(&self) -> Verdict {
        decide(&self.snapshot, &self.settings, self.now)
    }

    /// Returns the state that is decided.
    pub fn state(&self) -> State {
        self.decide().state
    }

    /// Returns the message to a requester whose request is refused.
    pub fn refusal(&self) -> String {
        let verdict = self.decide();
        verdict.refusal().map_or_else(|| panic!("not refused: {verdict:?}"), |refusal| refusal.to_string())
    }

    /// Returns state, reason and message in one line.
    pub fn told(&self) -> String {
        let verdict = self.decide();
        format!("{} {}: {}", verdict.state, verdict.reason, verdict.message)
    }

    /// Returns what would be granted now.
    pub fn grant(&self) -> Grant {
        let verdict = self.decide();
        verdict.grant.clone().unwrap_or_else(|| panic!("no grant: {verdict:?}"))
    }

    /// Reviews a decision as admission does; returns the message to an author whose decision is refused.
    pub fn admits(&self, decision: &Object<ActivationDecisionSpec>) -> Result<(), String> {
        admit_decision::review(&self.snapshot, decision, &self.settings, decision.created).map_err(|refusal| refusal.to_string())
    }
}

/// Records a verdict and the binding that is stored now, as the controller does in the status.
pub fn report(record: &mut Record, verdict: &Verdict, role: Option<&RoleFacts>, binding: Option<BindingRef>) {
    record.state = Some(verdict.state);
    record.reason = Some(verdict.reason);
    record.review = verdict.review.clone().or(record.review.take());
    if !verdict.counted.is_empty() {
        record.approvers = verdict.counted.iter().map(|counted| counted.approver.username.clone()).collect();
    }
    if let Some(digest) = &verdict.digest {
        record.digest = Some(digest.to_string());
    }
    if let Some(grant) = &verdict.grant {
        record.digest = Some(grant.digest.clone());
        record.rules_hash = role.map(|role| role.rules.hash().to_owned());
        record.access_hash = role.map(|role| role.rules.access_hash().to_owned());
        record.granted_at = Some(grant.start);
        record.began = (grant.began < grant.start).then_some(grant.began);
        record.expires_at = Some(grant.deadline);
        record.role = Some(grant.role.clone());
        record.binding = binding;
    }
}
