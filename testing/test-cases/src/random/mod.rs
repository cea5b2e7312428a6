//! Random test cases, for properties.

pub mod parts;

use std::sync::Arc;

use api::{
    ActivationDecisionSpec, SubjectKind,
    decision::RequestRef,
    eligibility::{RoleKind, RoleRef},
    policy::Automatic,
};
use domain::{Binding, Lookup, Record, RoleFacts, role::Rules};
use proptest::{prelude::*, sample::select};

use self::parts::{Said, alteration, eligibility, lookup, maybe, peers, policy, rarely, record, requests, said, settings};
use crate::{
    TestCase,
    builders::{at, lasting, line, object, stored, subject},
    case,
};

impl TestCase {
    /// Adds several decisions, all for the digest that is known before them.
    pub fn hears_all(self, all: &[Said]) -> Self {
        let digest = self.digest_if_known();
        all.iter().fold(self, |case, said| {
            let request = &case.snapshot.request.object;
            let request_ref = RequestRef {
                name: if said.about == Some("another-name") { "other".to_owned() } else { request.name.clone() },
                uid: match said.about {
                    Some("no-uid") => None,
                    Some("another-uid") => Some("another".to_owned()),
                    _ => Some(request.uid.clone()),
                },
                requester: None,
            };
            let spec = ActivationDecisionSpec {
                request_ref,
                decision: said.verb,
                digest: said.shown.digest(digest.as_ref()),
                duration: said.duration,
                comment: said.comment.map(line),
                decider: said.who.clone(),
            };
            let number = case.snapshot.decisions.len();
            case.said(object("said", &format!("{}-{number}", said.letter), at(said.seconds), spec))
        })
    }

    /// Adds one decision.
    pub fn hears(self, said: &Said) -> Self {
        self.hears_all(std::slice::from_ref(said))
    }

    /// Returns the same without record and binding.
    pub fn fresh(self) -> Self {
        self.record(|r| *r = Record::default()).change(|c| c.snapshot.binding = Binding::Absent)
    }
}

/// Any scenario, with any record and any binding.
pub fn cases() -> impl Strategy<Value = TestCase> {
    let around = (lookup(eligibility()), lookup(policy()), lookup(Just(())), lookup(rarely()));
    let now = prop_oneof![9 => 1..10_i64, 1 => 0..5_000_i64, 1 => select(vec![30_i64, 600, 2_700, 86_399, 86_400])];
    let now = (now, prop::bool::weighted(0.85));
    let binding = (0..12_u8, maybe(0.4, alteration()));
    (settings(), around, requests(), prop::collection::vec(said(), 0..=8), record(), binding, peers(), now).prop_map(
        |(
            settings,
            (eligibility, policy, role, terminating),
            (request, namespace, deleting),
            decisions,
            record,
            (dice, alteration),
            peers,
            (now, is_sound),
        )| {
            let stored_as = |name: &str| (name.to_owned(), format!("{name}-uid"));
            let mut case = case();
            let usual = case.grant();
            case.settings = settings;
            let snapshot = &mut case.snapshot;
            let role_ref = eligibility
                .found()
                .map_or_else(|| RoleRef { kind: RoleKind::ClusterRole, name: "edit".to_owned() }, |e| e.role_ref.clone());
            snapshot.eligibility =
                map(eligibility, |spec| Arc::new(object("payments-oncall", &stored_as("eligibility").1, at(-3_600), spec)));
            snapshot.policy = map(policy, |spec| Arc::new(object("two-eyes", &stored_as("policy").1, at(-3_600), spec)));
            snapshot.role = map(role, |()| RoleFacts {
                kind: role_ref.kind,
                name: role_ref.name,
                uid: "role-uid".to_owned(),
                rules: Arc::new(Rules::new([])),
            });
            if let Lookup::Found(facts) = &mut snapshot.namespace
                && let Lookup::Found(true) = terminating
            {
                facts.terminating = true;
            }
            if !matches!(terminating, Lookup::Found(_)) {
                snapshot.namespace = map(terminating, |_| panic!("it is not there"));
            }
            snapshot.request.object.spec = request;
            snapshot.request.object.deleting = deleting;
            snapshot.request.namespace = namespace;
            snapshot.peers = peers;
            case.now = at(now);
            if is_sound {
                case = sound(case);
            }
            let mut case = case.hears_all(&decisions);
            // In half of them the record and the binding are those of the grant, if there was one. In the others they are arbitrary.
            let verdict = case.clone().fresh().decide();
            let lived = dice > 5 && verdict.grant.is_some();
            if lived {
                case = case.fresh().apply(&verdict);
            } else {
                let digest = verdict.digest.as_ref().filter(|_| record.digest.as_deref() == Some("right")).map(ToString::to_string);
                case = case.record(|r| *r = Record { digest: digest.or(record.digest.clone()), ..record });
                case.snapshot.binding = match dice {
                    0 => Binding::Unread,
                    1 | 2 => Binding::Absent,
                    _ => Binding::Present(stored(verdict.grant.as_ref().unwrap_or(&usual))),
                };
            }
            if let (Binding::Present(found), Some(alter)) = (&mut case.snapshot.binding, alteration) {
                alter(found);
            }
            case
        },
    )
}

/// A typical scenario: eligibility and policy are valid, and the requester is eligible.
fn sound(case: TestCase) -> TestCase {
    let max_grant = case.settings.max_grant;
    let (mut shortest, mut longest) = (None, None);
    let case = case.policy(|p| {
        if p.approval.stages.is_empty() {
            p.approval.automatic = Some(Automatic {});
        } else {
            p.approval.automatic = None;
        }
        for stage in &mut p.approval.stages {
            stage.required = stage.required.map(|required| required.min(2));
            if stage.approvers.groups.is_empty() {
                stage.approvers.groups.push(line("leads"));
            }
        }
        let limits = p.limits.get_or_insert_default();
        limits.max_active_per_user = None;
        limits.max_duration = limits.max_duration.map(|d| d.min(max_grant));
        limits.min_duration = limits.min_duration.filter(|d| *d <= limits.max_duration.unwrap_or(lasting("10m")) && *d <= lasting("10m"));
        (shortest, longest) = (limits.min_duration, limits.max_duration);
        if let Some(rules) = &mut p.eligibility {
            rules.max_duration = None;
        }
    });
    let automatic = case.snapshot.policy.found().is_some_and(|p| p.spec.approval.automatic.is_some());
    case.eligibility(|e| {
        e.max_duration = e.max_duration.max(shortest.unwrap_or_default()).min(max_grant);
        e.default_duration = e.default_duration.map(|d| d.min(e.max_duration));
        e.end_time = e.end_time.or(Some(at(86_400)));
        e.start_time = e.start_time.map(|start| start.min(at(5)));
        longest = Some(e.max_duration.min(longest.unwrap_or(e.max_duration)));
        e.namespaces.names.push("payments".to_owned());
        e.suspended = false;
        e.allow_service_accounts &= !automatic;
        e.subjects.retain(|s| s.kind != SubjectKind::ServiceAccount || !automatic);
        e.subjects.push(subject(SubjectKind::Group, "devs"));
    })
    .request(|r| {
        r.emergency = false;
        r.duration = r.duration.or(longest).map(|d| d.max(shortest.unwrap_or_default()).min(longest.unwrap_or(d)));
    })
}

fn map<A, B>(lookup: Lookup<A>, found: impl FnOnce(A) -> B) -> Lookup<B> {
    match lookup {
        Lookup::Found(a) => Lookup::Found(found(a)),
        Lookup::Absent => Lookup::Absent,
        Lookup::Deleting(deletion) => Lookup::Deleting(deletion),
        Lookup::Unreadable(why) => Lookup::Unreadable(why),
    }
}

/// Any scenario in which nothing was reported or granted yet.
pub fn fresh_cases() -> impl Strategy<Value = TestCase> {
    cases().prop_map(TestCase::fresh)
}
