//! Random worlds.

use proptest::{
    prelude::*,
    sample::{select, subsequence},
    strategy::ValueTree,
};

use super::*;
use crate::{
    api::{
        eligibility::Selector,
        policy::{EligibilityRules, JustificationRule, Limits, Requirements},
    },
    domain::{Peer, binding::BindingSubject},
};

pub const ROBOT: &str = "system:serviceaccount:ci:bot";

fn maybe<S: Strategy>(weight: f64, some: S) -> impl Strategy<Value = Option<S::Value>> {
    prop::option::weighted(weight, some)
}

fn rarely() -> impl Strategy<Value = bool> {
    prop::bool::weighted(0.03)
}

fn length() -> impl Strategy<Value = Duration> {
    select(vec!["1s", "30s", "5m", "10m", "45m", "1h", "4h", "24h"]).prop_map(lasting)
}

/// Anybody: few names of fewer people.
pub fn anybody() -> impl Strategy<Value = Stamp> {
    let name = select(vec!["ann", "Ann", "oidc:ann", "ann-admin", "bob", "BOB", "carl", "oidc:carl", "dora", "eve", ROBOT, "system:admin"]);
    let uid = maybe(0.3, select(vec!["u1", "u2", "u3"]));
    (name, uid, subsequence(vec!["devs", "leads", "security"], 0..=3))
        .prop_map(|(name, uid, groups)| Stamp { uid: uid.map(line), ..person(name, &groups) })
}

/// Somebody who is rather an approver.
fn approver() -> impl Strategy<Value = Stamp> {
    let name = select(vec!["bob", "carl", "dora", "oidc:carl", "finn"]);
    (name, select(vec!["leads", "security"])).prop_map(|(name, group)| person(name, &[group]))
}

fn listed() -> impl Strategy<Value = People> {
    let users = subsequence(vec!["ann", "bob", "carl", "dora", "ann-admin", ROBOT], 0..=2);
    let groups = subsequence(vec!["group leads", "group security"], 0..=2);
    (users, groups).prop_map(|(users, groups)| people(&[users, groups].concat()))
}

fn stages() -> impl Strategy<Value = Vec<Stage>> {
    let stage = (listed(), select(vec![None, Some(1), Some(1), Some(2), Some(3)]));
    let number = prop_oneof![1 => Just(0), 6 => Just(1), 3 => Just(2), 1 => Just(3)];
    (prop::collection::vec(stage, 3), number).prop_map(|(mut stages, number)| {
        stages.truncate(number);
        let named = |(number, (approvers, required))| Stage { name: line(&format!("stage-{number}")), approvers, required };
        stages.into_iter().enumerate().map(named).collect()
    })
}

fn policy() -> impl Strategy<Value = ApprovalPolicySpec> {
    let approval = (prop::bool::weighted(0.2), rarely(), stages(), maybe(0.4, select(vec!["1s", "30s", "10m", "1h"]).prop_map(lasting)), prop::bool::weighted(0.15));
    let limits = (maybe(0.15, length()), maybe(0.15, length()));
    let justification = maybe(0.15, (select(vec![0, 5, 100]), select(vec!["", ".*", "INC-[0-9]+"])));
    let rules = maybe(0.3, (prop::option::of(any::<bool>()), maybe(0.2, length())));
    (approval, maybe(0.5, listed()), limits, justification, rules, rarely()).prop_map(
        |((automatic, both, stages, timeout, require_comment), revokers, (min_duration, max_duration), justification, rules, not_in_force)| {
            let automatic_only = automatic && !both;
            ApprovalPolicySpec {
                approval: Approval {
                    automatic: automatic.then_some(Automatic {}),
                    stages: if automatic_only { Vec::new() } else { stages },
                    timeout,
                    require_comment,
                },
                revokers,
                requirements: justification.map(|(least, pattern)| Requirements {
                    justification: Some(JustificationRule { min_length: Some(least), pattern: Some(line(pattern)) }),
                    ..Requirements::default()
                }),
                limits: Some(Limits { min_duration, max_duration, max_active_per_user: not_in_force.then_some(1), ..Limits::default() }),
                eligibility: rules.map(|(require_end, max_duration)| EligibilityRules { require_end, max_duration, require_justification: false }),
                ..ApprovalPolicySpec::default()
            }
        },
    )
}

fn eligibility() -> impl Strategy<Value = RoleEligibilitySpec> {
    let subjects = subsequence(vec![(SubjectKind::Group, "devs"), (SubjectKind::User, "ann"), (SubjectKind::User, "bob"), (SubjectKind::ServiceAccount, "bot")], 1..=3);
    let names = subsequence(vec!["payments", "shop"], 1..=2);
    let selected = prop::bool::weighted(0.3);
    let times = (maybe(0.1, -100..200_i64), maybe(0.9, prop_oneof![1 => 0..5_000_i64, 4 => Just(86_400_i64)]));
    (subjects, maybe(0.1, select(vec!["u1", "u2"])), names, selected, select(vec!["edit", "view"]), length(), maybe(0.2, length()), times, rarely(), any::<bool>()).prop_map(
        |(subjects, pin, names, selected, role, max_duration, default, (start, end), suspended, allow_service_accounts)| {
            let Lookup::Found(usual) = world().snapshot.eligibility else { panic!() };
            let pinned = |(kind, name)| Subject { uid: pin.filter(|_| kind != SubjectKind::Group).map(line), ..subject(kind, name) };
            RoleEligibilitySpec {
                subjects: subjects.into_iter().filter(|(kind, _)| allow_service_accounts || *kind != SubjectKind::ServiceAccount).map(pinned).collect(),
                role_ref: RoleRef { kind: RoleKind::ClusterRole, name: role.to_owned() },
                namespaces: Namespaces {
                    names: names.into_iter().map(ToOwned::to_owned).collect(),
                    selector: selected.then(|| Selector { match_labels: [("team".to_owned(), "payments".to_owned())].into(), ..Selector::default() }),
                },
                max_duration,
                default_duration: default.map(|d| d.min(max_duration)),
                start_time: start.map(at),
                end_time: end.map(at),
                suspended,
                allow_service_accounts,
                ..usual.spec.clone()
            }
        },
    )
}

fn lookup<S: Strategy>(found: S) -> impl Strategy<Value = Lookup<S::Value>> {
    (found, 0..100_u8).prop_map(|(found, dice)| match dice {
        0 => Lookup::Absent,
        1 => Lookup::Unreadable("bad field".to_owned()),
        _ => Lookup::Found(found),
    })
}

/// What a decision shows as the digest that it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    Present,
    Short,
    Stale,
    Nothing,
}

/// A decision before it is known what it is about.
#[derive(Clone, Debug)]
pub struct Said {
    pub verb: Verb,
    pub who: Option<Stamp>,
    pub seconds: i64,
    pub shown: Shown,
    pub about: Option<&'static str>,
    pub duration: Option<Duration>,
    pub comment: Option<&'static str>,
    /// The first letter of its UID, so that UIDs come in any order.
    pub letter: char,
}

/// Anything that anybody could say.
pub fn said() -> impl Strategy<Value = Said> {
    let verb = prop_oneof![50 => Just(Verb::Approve), 1 => Just(Verb::Deny), 1 => Just(Verb::Revoke), 1 => Just(Verb::Deactivate), 1 => Just(Verb::Review)];
    let who = maybe(0.97, prop_oneof![2 => approver(), 1 => anybody()]);
    let shown = prop_oneof![8 => Just(Shown::Present), 1 => Just(Shown::Short), 1 => Just(Shown::Stale), 1 => Just(Shown::Nothing)];
    let about = prop_oneof![15 => Just(None), 1 => Just(Some("no-uid")), 1 => Just(Some("another-uid")), 1 => Just(Some("another-name"))];
    let seconds = prop_oneof![6 => 0..8_i64, 1 => -2..5_000_i64];
    (verb, who, seconds, shown, about, maybe(0.2, length()), maybe(0.4, select(vec!["", "go"])), prop::char::range('a', 'f'))
        .prop_map(|(verb, who, seconds, shown, about, duration, comment, letter)| Said { verb, who, seconds, shown, about, duration, comment, letter })
}

/// Any report.
pub fn record() -> impl Strategy<Value = Record> {
    let state = maybe(0.8, prop_oneof![1 => select(State::ALL.to_vec()), 2 => Just(State::Active)]);
    let time = || maybe(0.8, prop_oneof![Just(0_i64), Just(2_700_i64), -100..9_000_i64].prop_map(at));
    let uid = maybe(0.7, select(vec!["binding-uid", "another-uid"]));
    (state, time(), time(), maybe(0.7, any::<bool>()), uid, maybe(0.7, select(vec!["edit", "view"]))).prop_map(
        |(state, granted_at, expires_at, digest, uid, role)| Record {
            state,
            granted_at,
            expires_at,
            digest: digest.map(|right| if right { "right".to_owned() } else { "sha256:0".to_owned() }),
            binding: uid.map(|uid| BindingRef { name: BINDING.to_owned(), uid: uid.to_owned() }),
            role: role.map(|name| RoleRef { kind: RoleKind::ClusterRole, name: name.to_owned() }),
            reason: None,
        },
    )
}

/// Ways to alter a binding.
pub fn alteration() -> impl Strategy<Value = fn(&mut BindingFacts)> {
    let changes: Vec<fn(&mut BindingFacts)> = vec![
        |b| b.managed = false,
        |b| b.subjects.clear(),
        |b| b.subjects.push(b.subjects.first().cloned().unwrap_or(BindingSubject { kind: "User".to_owned(), name: "eve".to_owned(), namespace: None })),
        |b| b.subjects.iter_mut().for_each(|s| s.kind = "Group".to_owned()),
        |b| b.subjects.iter_mut().for_each(|s| s.name.push('x')),
        |b| b.role_name.push('x'),
        |b| b.role_kind.push('x'),
        |b| drop(b.annotations.insert("jitrbac.dev/expires-at".to_owned(), "2026-11-02T18:00:00Z".to_owned())),
        |b| drop(b.annotations.remove("jitrbac.dev/expires-at")),
        |b| drop(b.annotations.remove("jitrbac.dev/request")),
        |b| drop(b.annotations.insert("jitrbac.dev/namespace-uid".to_owned(), "another".to_owned())),
        |b| drop(b.annotations.insert("jitrbac.dev/digest".to_owned(), "another".to_owned())),
        |b| drop(b.annotations.remove("jitrbac.dev/requester")),
        |b| drop(b.annotations.insert("jitrbac.dev/justification".to_owned(), "nicer".to_owned())),
    ];
    select(changes)
}

fn peers() -> impl Strategy<Value = Vec<Peer>> {
    let peer = (anybody(), -1..2_i64, select(vec!["0a", "0c"]), maybe(0.7, select(State::ALL.to_vec())));
    let peer = peer.prop_map(|(requester, seconds, uid, state)| Peer { name: "other".to_owned(), uid: uid.to_owned(), created: at(seconds), requester, state });
    prop_oneof![4 => Just(Vec::new()), 1 => prop::collection::vec(peer, 1..=2)]
}

fn requests() -> impl Strategy<Value = (RoleActivationRequestSpec, String, bool)> {
    let requester = maybe(0.97, prop_oneof![4 => select(vec!["ann", "bob", "oidc:ann"]).prop_map(|name| person(name, &["devs"])), 1 => anybody()]);
    let namespace = prop_oneof![40 => Just("payments"), 2 => Just("shop"), 1 => Just("jit-system"), 1 => Just("kube-system")];
    let said = maybe(0.8, select(vec!["INC-4711", "x", ""]));
    (requester, namespace, maybe(0.7, length()), said, rarely(), rarely()).prop_map(|(requester, namespace, duration, said, emergency, deleting)| {
        let usual = world().snapshot.request.object.spec;
        (RoleActivationRequestSpec { requester, duration, justification: said.map(line), emergency, ..usual }, namespace.to_owned(), deleting)
    })
}

fn settings() -> impl Strategy<Value = Settings> {
    (any::<bool>(), prop_oneof![1 => Just("10m"), 9 => Just("24h")]).prop_map(|(linked, max_grant)| Settings {
        operator_namespace: "jit-system".to_owned(),
        max_grant: lasting(max_grant),
        identities: if linked {
            Identities { prefixes: vec!["oidc:".to_owned()], aliases: [("ann-admin".to_owned(), "ann".to_owned())].into() }
        } else {
            Identities::default()
        },
    })
}

/// What only worlds of chance need.
pub trait Chance: Sized {
    /// Adds what several people say.
    fn hears_all(self, said: &[Said]) -> Self;
    /// Adds what somebody says.
    fn hears(self, said: &Said) -> Self {
        self.hears_all(std::slice::from_ref(said))
    }
    /// The same without record and binding.
    fn fresh(self) -> Self;
}

impl Chance for World {
    fn hears_all(self, all: &[Said]) -> Self {
        let digest = self.digest_if_known().map_or_else(|| "sha256:unknown".to_owned(), |d| d.to_string());
        all.iter().fold(self, |world, said| {
            let request = &world.snapshot.request.object;
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
                digest: match said.shown {
                    Shown::Present => Some(digest.clone()),
                    Shown::Short => Some(digest.chars().take(23).collect()),
                    Shown::Stale => Some(format!("sha256:{}", "0".repeat(64))),
                    Shown::Nothing => None,
                },
                duration: said.duration,
                comment: said.comment.map(line),
                decider: said.who.clone(),
            };
            let number = world.snapshot.decisions.len();
            world.said(object("said", &format!("{}-{number}", said.letter), at(said.seconds), spec))
        })
    }

    fn fresh(self) -> Self {
        self.record(|r| *r = Record::default()).change(|w| w.snapshot.binding = Binding::Absent)
    }
}

/// Any world, with any record and any binding.
pub fn worlds() -> impl Strategy<Value = World> {
    let around = (lookup(eligibility()), lookup(policy()), lookup(Just(())), lookup(rarely()));
    let now = prop_oneof![9 => 1..10_i64, 1 => 0..5_000_i64, 1 => select(vec![30_i64, 600, 2_700, 86_399, 86_400])];
    let now = (now, prop::bool::weighted(0.85));
    let binding = (0..12_u8, maybe(0.4, alteration()));
    (settings(), around, requests(), prop::collection::vec(said(), 0..=8), record(), binding, peers(), now).prop_map(
        |(settings, (eligibility, policy, role, terminating), (request, namespace, deleting), decisions, record, (dice, alteration), peers, (now, is_sound))| {
            let stored_as = |name: &str| (name.to_owned(), format!("{name}-uid"));
            let usual = world().grant();
            let mut world = world();
            world.settings = settings;
            let snapshot = &mut world.snapshot;
            let role_ref = eligibility.found().map_or_else(|| RoleRef { kind: RoleKind::ClusterRole, name: "edit".to_owned() }, |e| e.role_ref.clone());
            snapshot.eligibility = map(eligibility, |spec| Arc::new(object("payments-oncall", &stored_as("eligibility").1, at(-3_600), spec)));
            snapshot.policy = map(policy, |spec| Arc::new(object("two-eyes", &stored_as("policy").1, at(-3_600), spec)));
            snapshot.role = map(role, |()| RoleFacts { kind: role_ref.kind, name: role_ref.name, uid: "role-uid".to_owned(), rules: Arc::default() });
            if let Lookup::Found(facts) = &mut snapshot.namespace
                && let Lookup::Found(true) = terminating
            {
                facts.terminating = true;
            }
            if matches!(terminating, Lookup::Absent | Lookup::Unreadable(_)) {
                snapshot.namespace = map(terminating, |_| panic!("it is not there"));
            }
            snapshot.request.object.spec = request;
            snapshot.request.object.deleting = deleting;
            snapshot.request.namespace = namespace;
            snapshot.peers = peers;
            world.now = at(now);
            if is_sound {
                world = sound(world);
            }
            let mut world = world.hears_all(&decisions);
            // Half of them lived up to their grant, if there was one; of the others record and binding are anything.
            let verdict = world.clone().fresh().decide();
            let lived = dice > 5 && verdict.grant.is_some();
            if lived {
                world = world.fresh().apply(&verdict);
            } else {
                let digest = verdict.digest.as_ref().filter(|_| record.digest.as_deref() == Some("right")).map(ToString::to_string);
                world = world.record(|r| *r = Record { digest: digest.or(record.digest.clone()), ..record });
                world.snapshot.binding = match dice {
                    0 => Binding::Unread,
                    1 | 2 => Binding::Absent,
                    _ => Binding::Present(stored(verdict.grant.as_ref().unwrap_or(&usual))),
                };
            }
            if let (Binding::Present(found), Some(alter)) = (&mut world.snapshot.binding, alteration) {
                alter(found);
            }
            world
        },
    )
}

/// What most worlds are like: eligibility and policy can be used, and the requester is eligible.
fn sound(world: World) -> World {
    let max_grant = world.settings.max_grant;
    let (mut shortest, mut longest) = (None, None);
    let world = world.policy(|p| {
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
    let automatic = world.snapshot.policy.found().is_some_and(|p| p.spec.approval.automatic.is_some());
    world
        .eligibility(|e| {
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
        Lookup::Unreadable(why) => Lookup::Unreadable(why),
    }
}

/// Any world in which nothing was reported or granted yet.
pub fn fresh_worlds() -> impl Strategy<Value = World> {
    worlds().prop_map(Chance::fresh)
}

/// The properties say nothing about worlds that never come.
#[test]
fn every_state_comes_often_enough() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen = std::collections::BTreeMap::<String, usize>::new();
    let any = worlds();
    for _ in 0..1_000 {
        let world = any.new_tree(&mut runner).unwrap().current();
        let fresh = world.clone().fresh().decide();
        *seen.entry(format!("fresh {}", fresh.state)).or_default() += 1;
        *seen.entry(format!("any {} {:?}", world.state(), world.decide().binding)).or_default() += 1;
        let staged = world.snapshot.policy.found().is_some_and(|p| !p.spec.approval.stages.is_empty());
        if staged && fresh.grant.is_some() {
            *seen.entry("approved by people".to_owned()).or_default() += 1;
        }
    }
    for (state, least) in [
        ("fresh Active", 80),
        ("approved by people", 30),
        ("fresh AwaitingApproval", 100),
        ("fresh Denied", 100),
        ("fresh TimedOut", 30),
        ("fresh Withdrawn", 3),
        ("fresh Pending", 50),
        ("any Active Keep", 30),
        ("any Active Create", 3),
        ("any Revoked Remove", 100),
        ("any Expired Remove", 50),
        ("any Failed Remove", 10),
        ("any Deactivated Remove", 10),
    ] {
        assert!(seen.get(state).copied().unwrap_or_default() >= least, "{state}: {seen:#?}");
    }
}
