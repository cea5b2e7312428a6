//! The parts of random test cases: few users and few names, so that identities collide, and times that are close together.

use api::{
    ApprovalPolicySpec, Duration, People, RoleActivationRequestSpec, RoleEligibilitySpec, Stamp, State, Subject, SubjectKind, Verb,
    eligibility::{Namespaces, RoleKind, RoleRef, Selector},
    policy::{Approval, Automatic, EligibilityRules, JustificationRule, Limits, Requirements, Stage},
    request::BindingRef,
};
use domain::{
    BindingFacts, Deletion, Lookup, Peer, Record, Settings, binding::BindingSubject, person::Identities, settings::GuardedLabels,
};
use proptest::{
    prelude::*,
    sample::{select, subsequence},
};

use crate::{
    Shown,
    builders::{BINDING, at, lasting, line, people, person, subject},
    case,
};

/// A service account.
pub const ROBOT: &str = "system:serviceaccount:ci:bot";

/// Any value in this share of the cases, or none.
pub fn maybe<S: Strategy>(weight: f64, some: S) -> impl Strategy<Value = Option<S::Value>> {
    prop::option::weighted(weight, some)
}

/// `true` in 3 of 100 cases.
pub fn rarely() -> impl Strategy<Value = bool> {
    prop::bool::weighted(0.03)
}

/// Any duration.
pub fn length() -> impl Strategy<Value = Duration> {
    select(vec!["1s", "30s", "5m", "10m", "45m", "1h", "4h", "24h"]).prop_map(lasting)
}

/// Any user: few names of fewer people.
pub fn anybody() -> impl Strategy<Value = Stamp> {
    let name = select(vec!["ann", "Ann", "oidc:ann", "ann-admin", "bob", "BOB", "carl", "oidc:carl", "dora", "eve", ROBOT, "system:admin"]);
    let uid = maybe(0.3, select(vec!["u1", "u2", "u3"]));
    (name, uid, subsequence(vec!["devs", "leads", "security"], 0..=3))
        .prop_map(|(name, uid, groups)| Stamp { uid: uid.map(line), ..person(name, &groups) })
}

/// A user who is more often an approver.
pub fn approver() -> impl Strategy<Value = Stamp> {
    let name = select(vec!["bob", "carl", "dora", "oidc:carl", "finn"]);
    (name, select(vec!["leads", "security"])).prop_map(|(name, group)| person(name, &[group]))
}

/// Any approvers.
pub fn listed() -> impl Strategy<Value = People> {
    let users = subsequence(vec!["ann", "bob", "carl", "dora", "ann-admin", ROBOT], 0..=2);
    let groups = subsequence(vec!["group leads", "group security"], 0..=2);
    (users, groups).prop_map(|(users, groups)| people(&[users, groups].concat()))
}

/// Any stages of an approval.
pub fn stages() -> impl Strategy<Value = Vec<Stage>> {
    let stage = (listed(), select(vec![None, Some(1), Some(1), Some(2), Some(3)]));
    let number = prop_oneof![1 => Just(0), 6 => Just(1), 3 => Just(2), 1 => Just(3)];
    (prop::collection::vec(stage, 3), number).prop_map(|(mut stages, number)| {
        stages.truncate(number);
        let named = |(number, (approvers, required))| Stage { name: line(&format!("stage-{number}")), approvers, required };
        stages.into_iter().enumerate().map(named).collect()
    })
}

/// Any policy, also one that contradicts itself.
pub fn policy() -> impl Strategy<Value = ApprovalPolicySpec> {
    let approval = (
        prop::bool::weighted(0.2),
        rarely(),
        stages(),
        maybe(0.4, select(vec!["1s", "30s", "10m", "1h"]).prop_map(lasting)),
        prop::bool::weighted(0.15),
    );
    let limits = (maybe(0.15, length()), maybe(0.15, length()));
    let justification = maybe(0.15, (select(vec![0, 5, 100]), select(vec!["", ".*", "INC-[0-9]+"])));
    let rules = maybe(0.3, (prop::option::of(any::<bool>()), maybe(0.2, length())));
    (approval, maybe(0.5, listed()), limits, justification, rules, rarely()).prop_map(
        |(
            (automatic, both, stages, timeout, require_comment),
            revokers,
            (min_duration, max_duration),
            justification,
            rules,
            not_in_force,
        )| {
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
                eligibility: rules.map(|(require_end, max_duration)| EligibilityRules {
                    require_end,
                    max_duration,
                    require_justification: false,
                }),
                ..ApprovalPolicySpec::default()
            }
        },
    )
}

/// Any eligibility.
pub fn eligibility() -> impl Strategy<Value = RoleEligibilitySpec> {
    let subjects = subsequence(
        vec![(SubjectKind::Group, "devs"), (SubjectKind::User, "ann"), (SubjectKind::User, "bob"), (SubjectKind::ServiceAccount, "bot")],
        1..=3,
    );
    let names = subsequence(vec!["payments", "shop"], 1..=2);
    let selected = prop::bool::weighted(0.3);
    let times = (maybe(0.1, -100..200_i64), maybe(0.9, prop_oneof![1 => 0..5_000_i64, 4 => Just(86_400_i64)]));
    (
        subjects,
        maybe(0.1, select(vec!["u1", "u2"])),
        names,
        selected,
        select(vec!["edit", "view"]),
        length(),
        maybe(0.2, length()),
        times,
        rarely(),
        any::<bool>(),
    )
        .prop_map(|(subjects, pin, names, selected, role, max_duration, default, (start, end), suspended, allow_service_accounts)| {
            let Lookup::Found(usual) = case().snapshot.eligibility else { panic!() };
            let pinned = |(kind, name)| Subject { uid: pin.filter(|_| kind != SubjectKind::Group).map(line), ..subject(kind, name) };
            RoleEligibilitySpec {
                subjects: subjects
                    .into_iter()
                    .filter(|(kind, _)| allow_service_accounts || *kind != SubjectKind::ServiceAccount)
                    .map(pinned)
                    .collect(),
                role_ref: RoleRef { kind: RoleKind::ClusterRole, name: role.to_owned() },
                namespaces: Namespaces {
                    names: names.into_iter().map(ToOwned::to_owned).collect(),
                    selector: selected
                        .then(|| Selector { match_labels: [("team".to_owned(), "payments".to_owned())].into(), ..Selector::default() }),
                },
                max_duration,
                default_duration: default.map(|d| d.min(max_duration)),
                start_time: start.map(at),
                end_time: end.map(at),
                suspended,
                allow_service_accounts,
                ..usual.spec.clone()
            }
        })
}

/// An object that is there, or rarely not.
pub fn lookup<S: Strategy>(found: S) -> impl Strategy<Value = Lookup<S::Value>> {
    (found, 0..100_u8).prop_map(|(found, dice)| match dice {
        0 => Lookup::Absent,
        1 => Lookup::Unreadable("bad field".to_owned()),
        2 => Lookup::Deleting(Deletion::held_by(&["example.com/keep".to_owned()])),
        _ => Lookup::Found(found),
    })
}

/// A decision without its request.
#[derive(Clone, Debug)]
pub struct Said {
    /// The decision.
    pub verb: Verb,
    /// Its author; none if it has no stamp.
    pub who: Option<Stamp>,
    /// Its creation, in seconds after that of the request.
    pub seconds: i64,
    /// The digest.
    pub shown: Shown,
    /// Another request: `no-uid`, `another-uid` or `another-name`.
    pub about: Option<&'static str>,
    /// The duration that it shortens the access to.
    pub duration: Option<Duration>,
    /// The comment.
    pub comment: Option<&'static str>,
    /// The first letter of its UID, so that UIDs come in any order.
    pub letter: char,
}

/// Any decision by any user.
pub fn said() -> impl Strategy<Value = Said> {
    let verb = prop_oneof![50 => Just(Verb::Approve), 1 => Just(Verb::Deny), 1 => Just(Verb::Revoke), 1 => Just(Verb::Deactivate), 1 => Just(Verb::Review)];
    let who = maybe(0.97, prop_oneof![2 => approver(), 1 => anybody()]);
    let shown = prop_oneof![8 => Just(Shown::Present), 1 => Just(Shown::Short), 1 => Just(Shown::Stale), 1 => Just(Shown::Nothing)];
    let about = prop_oneof![15 => Just(None), 1 => Just(Some("no-uid")), 1 => Just(Some("another-uid")), 1 => Just(Some("another-name"))];
    let seconds = prop_oneof![6 => 0..8_i64, 1 => -2..5_000_i64];
    (verb, who, seconds, shown, about, maybe(0.2, length()), maybe(0.4, select(vec!["", "go"])), prop::char::range('a', 'f')).prop_map(
        |(verb, who, seconds, shown, about, duration, comment, letter)| Said {
            verb,
            who,
            seconds,
            shown,
            about,
            duration,
            comment,
            letter,
        },
    )
}

/// Any recorded status.
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
            ..Record::default()
        },
    )
}

/// Ways to alter a binding.
pub fn alteration() -> impl Strategy<Value = fn(&mut BindingFacts)> {
    let changes: Vec<fn(&mut BindingFacts)> = vec![
        |b| b.managed = false,
        |b| b.subjects.clear(),
        |b| {
            let eve = BindingSubject { kind: "User".to_owned(), name: "eve".to_owned(), namespace: None };
            b.subjects.push(b.subjects.first().cloned().unwrap_or(eve));
        },
        |b| b.subjects.iter_mut().for_each(|s| "Group".clone_into(&mut s.kind)),
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

/// Any other requests.
pub fn peers() -> impl Strategy<Value = Vec<Peer>> {
    let peer = (anybody(), -1..2_i64, select(vec!["0a", "0c"]), maybe(0.7, select(State::ALL.to_vec())));
    let peer = peer.prop_map(|(requester, seconds, uid, state)| crate::peer("other", uid, at(seconds), requester, state));
    prop_oneof![4 => Just(Vec::new()), 1 => prop::collection::vec(peer, 1..=2)]
}

/// Any request: its spec, its namespace, and whether it is being deleted.
pub fn requests() -> impl Strategy<Value = (RoleActivationRequestSpec, String, bool)> {
    let requester =
        maybe(0.97, prop_oneof![4 => select(vec!["ann", "bob", "oidc:ann"]).prop_map(|name| person(name, &["devs"])), 1 => anybody()]);
    let namespace = prop_oneof![40 => Just("payments"), 2 => Just("shop"), 1 => Just("jit-system"), 1 => Just("kube-system")];
    let said = maybe(0.8, select(vec!["INC-4711", "x", ""]));
    (requester, namespace, maybe(0.7, length()), said, rarely(), rarely()).prop_map(
        |(requester, namespace, duration, said, emergency, deleting)| {
            let usual = case().snapshot.request.object.spec;
            (
                RoleActivationRequestSpec { requester, duration, justification: said.map(line), emergency, ..usual },
                namespace.to_owned(),
                deleting,
            )
        },
    )
}

/// Any values of the chart.
pub fn settings() -> impl Strategy<Value = Settings> {
    (any::<bool>(), prop_oneof![1 => Just("10m"), 9 => Just("24h")]).prop_map(|(linked, max_grant)| Settings {
        operator_namespace: "jit-system".to_owned(),
        max_grant: lasting(max_grant),
        identities: if linked {
            Identities::new(&["oidc:".to_owned()], &[("ann-admin".to_owned(), "ann".to_owned())].into())
        } else {
            Identities::default()
        },
        system_namespaces: Vec::new(),
        guarded_labels: GuardedLabels::default(),
    })
}
