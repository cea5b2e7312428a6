//! Random scenarios.

use proptest::{prelude::*, sample::select, strategy::ValueTree};

use super::{parts::*, *};

/// Methods for random scenarios only.
pub trait Chance: Sized {
    /// Adds several decisions.
    fn hears_all(self, said: &[Said]) -> Self;
    /// Adds one decision.
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

/// Any scenario, with any record and any binding.
pub fn worlds() -> impl Strategy<Value = World> {
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
            let usual = world().grant();
            let mut world = world();
            world.settings = settings;
            let snapshot = &mut world.snapshot;
            let role_ref = eligibility
                .found()
                .map_or_else(|| RoleRef { kind: RoleKind::ClusterRole, name: "edit".to_owned() }, |e| e.role_ref.clone());
            snapshot.eligibility =
                map(eligibility, |spec| Arc::new(object("payments-oncall", &stored_as("eligibility").1, at(-3_600), spec)));
            snapshot.policy = map(policy, |spec| Arc::new(object("two-eyes", &stored_as("policy").1, at(-3_600), spec)));
            snapshot.role =
                map(role, |()| RoleFacts { kind: role_ref.kind, name: role_ref.name, uid: "role-uid".to_owned(), rules: Arc::default() });
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
            world.now = at(now);
            if is_sound {
                world = sound(world);
            }
            let mut world = world.hears_all(&decisions);
            // In half of them the record and the binding are those of the grant, if there was one. In the others they are arbitrary.
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

/// A typical scenario: eligibility and policy are valid, and the requester is eligible.
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
        Lookup::Deleting(deletion) => Lookup::Deleting(deletion),
        Lookup::Unreadable(why) => Lookup::Unreadable(why),
    }
}

/// Any scenario in which nothing was reported or granted yet.
pub fn fresh_worlds() -> impl Strategy<Value = World> {
    worlds().prop_map(Chance::fresh)
}

/// The properties prove nothing about scenarios that are never generated.
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
