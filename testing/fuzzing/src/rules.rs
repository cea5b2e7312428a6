//! All rules together: one decision over any snapshot (invariants 3 to 14 and 26, api rules 1 to 14).

use std::collections::BTreeSet;

use api::{
    Duration, Line, Reason, RoleActivationRequestSpec, Stamp, State, SubjectKind, Verb, eligibility::RoleKind,
    identity::SERVICE_ACCOUNT_PREFIX, instant::whole_seconds, names::binding_name,
};
use domain::{
    Binding, BindingAction, Grant, GuardFacts, Guards, Lookup, Object, Snapshot, Verdict, admit_decision, duration, eligibility,
    guards::not_proven, person, policy, windows,
};
use jiff::SignedDuration;

use crate::{
    is_printable,
    scenario::{World, at, bound},
    text,
};

/// Verifies the properties of every decision.
pub fn check(data: &[u8]) {
    let world = World::read(&text(data));
    let verdict = world.decide();
    assert!(is_printable(&verdict.message), "{verdict:?}");
    assert!(verdict.grant.is_some() || verdict.binding != BindingAction::Create, "{verdict:?}");
    order_says_nothing(&world, &verdict);
    once_is_enough(&world, &verdict);
    nothing_absent_grants(&world);
    no_attacker_gains(&world, &verdict);
    no_stricter_rule_grants(&world);
    at_the_door(&world);
    let before = world.snapshot.request.record.state;
    if before.is_some_and(State::is_terminal) && !world.snapshot.request.object.deleting {
        assert_eq!(Some(verdict.state), before, "a completed request stays completed");
        assert_eq!(verdict.binding, BindingAction::Remove);
    }
    if let Some(at) = verdict.look_again {
        assert!(verdict.state.is_terminal() || at > world.now, "it would be requeued forever: {verdict:?} at {}", world.now);
    }
    if let Some(grant) = &verdict.grant {
        granted(&world, &verdict, grant);
    }
}

/// Start and duration of the access that would be granted.
fn gain(world: &World) -> Option<(jiff::Timestamp, SignedDuration)> {
    let verdict = world.decide();
    verdict
        .grant
        .filter(|_| verdict.binding == BindingAction::Create)
        .map(|grant| (grant.start, grant.deadline.duration_since(grant.start)))
}

/// Invariant 9: the order of the stored objects has no effect, except on which of several equal ones is named.
fn order_says_nothing(world: &World, verdict: &Verdict) {
    assert_eq!(&world.decide(), verdict, "the same snapshot, the same verdict");
    let turned = world.with(|w| w.snapshot.decisions.reverse());
    assert_eq!(&turned.decide(), verdict, "decisions in another order");
    let turned = world.with(|w| {
        w.snapshot.peers.reverse();
        let middle = w.snapshot.decisions.len() / 2;
        w.snapshot.decisions.rotate_left(middle);
    });
    let told = |mut verdict: Verdict| {
        verdict.message.clear();
        verdict.links.sort();
        verdict
    };
    assert_eq!(told(turned.decide()), told(verdict.clone()), "decisions and other requests in another order");
}

/// Invariant 9: an applied and reported decision is not applied again, and stays.
fn once_is_enough(world: &World, first: &Verdict) {
    if world.snapshot.request.object.deleting {
        return;
    }
    let once = world.with(|w| w.apply(first));
    let second = once.decide();
    // A request that is not active cannot be extended; a status that claims so ends the request that it names.
    if first.state == State::Active && second.reason == Reason::ExtendedRequestEnded {
        return;
    }
    assert_eq!((second.state, second.reason), (first.state, first.reason), "{first:?}, and then {second:?}");
    let gone = once.snapshot.binding == Binding::Absent;
    assert!(second.binding == BindingAction::Keep || (second.binding == BindingAction::Remove && gone), "{second:?}");
    let twice = once.with(|w| w.apply(&second));
    assert_eq!(twice.decide(), second);
    assert_eq!((&twice.snapshot.request.record, &twice.snapshot.binding), (&once.snapshot.request.record, &once.snapshot.binding));
}

/// Invariants 12, 14 and 21: without any of the objects that a grant depends on there is none.
fn nothing_absent_grants(world: &World) {
    type Change = fn(&mut Snapshot);
    let changes: [Change; 12] = [
        |s| s.eligibility = Lookup::Absent,
        |s| s.eligibility = Lookup::Unreadable(String::new()),
        |s| s.policy = Lookup::Absent,
        |s| s.policy = Lookup::Unreadable(String::new()),
        |s| s.role = Lookup::Absent,
        |s| s.role = Lookup::Unreadable(String::new()),
        |s| s.namespace = Lookup::Absent,
        |s| s.namespace = Lookup::Unreadable(String::new()),
        |s| s.request.object.spec.requester = None,
        |s| s.request.object.deleting = true,
        |s| s.guards = Guards::Watched(GuardFacts { hold: Some(not_proven("a policy is gone")), ..GuardFacts::default() }),
        |s| "jit-system".clone_into(&mut s.request.namespace),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let poorer = world.with(|w| {
            "jit-system".clone_into(&mut w.settings.operator_namespace);
            change(&mut w.snapshot);
        });
        assert_eq!(gain(&poorer), None, "granted in spite of change {number}");
    }
}

/// Invariant 10: decisions by the requester, by users who are not listed, about other objects, duplicates and late ones cause no grant, no
/// earlier one and no longer one.
fn no_attacker_gains(world: &World, verdict: &Verdict) {
    let approve = |who: Option<&Stamp>, change: &dyn Fn(&mut World)| {
        let after = world.with(|w| {
            w.approve(who);
            change(w);
        });
        no_gain(world, &after);
    };
    let last = |w: &mut World, change: &dyn Fn(&mut Object<api::ActivationDecisionSpec>)| {
        w.snapshot.decisions.last_mut().into_iter().for_each(change);
    };
    let stages = world.snapshot.policy.found().map(|policy| policy.spec.approval.stages.clone()).unwrap_or_default();
    let listed: Option<Stamp> =
        stages.iter().flat_map(|stage| &stage.approvers.users).next().map(|name| Stamp { username: name.clone(), ..Stamp::default() });
    let requester = world.snapshot.request.object.spec.requester.clone();
    let everywhere: Vec<Line<256>> = stages.iter().flat_map(|stage| stage.approvers.groups.clone()).collect();
    let own_stamp = requester.map(|who| Stamp { groups: [who.groups.clone(), everywhere].concat(), ..who });
    approve(own_stamp.as_ref(), &|_| {});
    let stranger = Stamp { username: "stranger".to_owned().try_into().unwrap_or_default(), ..Stamp::default() };
    approve(Some(&stranger).filter(|who| !stages.iter().any(|stage| person::is_listed(who, &stage.approvers))), &|_| {});
    approve(None, &|_| {});
    approve(listed.as_ref(), &|w| last(w, &|said| said.spec.request_ref.uid = Some("another".to_owned())));
    approve(listed.as_ref(), &|w| last(w, &|said| said.spec.digest = Some(format!("sha256:{}", "0".repeat(64)))));
    approve(listed.as_ref(), &|w| last(w, &|said| said.spec.digest = None));
    let timeout = SignedDuration::from(policy::timeout(world.snapshot.policy.found().map(|policy| &policy.spec)));
    approve(listed.as_ref(), &|w| last(w, &|said| said.created = at(0) + timeout));
    for decision in &world.snapshot.decisions {
        let again = world.with(|w| {
            let mut again = decision.clone();
            again.uid.push_str("-again");
            // A decision that counts already may be repeated later; one that did not count may count at another time.
            let counts = verdict.counted.iter().any(|counted| Some(&counted.approver) == decision.spec.decider.as_ref());
            again.created += SignedDuration::from_secs(counts.into());
            w.snapshot.decisions.push(again);
        });
        no_gain(world, &again);
    }
}

fn no_gain(before: &World, after: &World) {
    if let Some((start, length)) = gain(after) {
        let was = gain(before);
        let said = after.snapshot.decisions.last();
        assert!(
            was.is_some_and(|(earlier, longer)| earlier <= start && length <= longer),
            "{start} for {length} instead of {was:?} by {said:?}"
        );
    }
}

/// Invariant 11: a stricter configuration grants nothing that was denied before.
fn no_stricter_rule_grants(world: &World) {
    let was = gain(world);
    let stricter = |change: &dyn Fn(&mut World)| {
        let after = gain(&world.with(change));
        assert!(after.is_none() || was.is_some(), "stricter, and granted: {after:?}");
    };
    let narrower = |change: fn(&mut api::RoleEligibilitySpec)| {
        stricter(&|w| {
            if let Lookup::Found(found) = &mut w.snapshot.eligibility {
                change(&mut std::sync::Arc::make_mut(found).spec);
            }
        });
    };
    narrower(|spec| spec.suspended = true);
    // A configuration that is invalid may become valid with fewer fields.
    if world.snapshot.eligibility.found().is_none_or(|found| eligibility::check(&found.spec, &world.settings).is_err()) {
        return;
    }
    narrower(|spec| drop(spec.subjects.pop()));
    narrower(|spec| spec.accept_risks.clear());
    // A request without a duration asks for less then, and may get it.
    if world.snapshot.request.object.spec.duration.is_some() {
        narrower(|spec| spec.max_duration = spec.max_duration.min(Duration::from_secs(60)));
    }
    stricter(&|w| w.settings.max_grant = w.settings.max_grant.min(Duration::from_secs(60)));
    stricter(&|w| w.settings.system_namespaces.clear());
}

/// Invariant 10: a decision that admission denies, but that is stored all the same, brings no request closer to a grant. The exception is a
/// decision that counts in its own stage, and for no more than was requested.
fn at_the_door(world: &World) {
    let now = whole_seconds(world.now);
    let before = world.with(|w| {
        // As admission evaluates it: the guards are in force, and no later decision is stored yet.
        (w.now, w.snapshot.guards) = (now, Guards::Unasked);
        w.snapshot.decisions.retain(|said| said.created <= now);
    });
    for decision in &world.snapshot.decisions {
        let said = Object { uid: "at-the-door".to_owned(), created: now, ..decision.clone() };
        let Err(refusal) = admit_decision::review(&before.snapshot, &said, &before.settings, now) else { continue };
        assert!(!refusal.message.is_empty());
        if !matches!(refusal.reason, Reason::StageNotOpen | Reason::DurationTooLong) {
            no_gain(&before, &before.with(|w| w.snapshot.decisions.push(said)));
        }
    }
}

/// Verifies the properties of a grant.
fn granted(world: &World, verdict: &Verdict, grant: &Grant) {
    let Snapshot { request, namespace, eligibility, policy, role, base, .. } = &world.snapshot;
    let (spec, created) = (&request.object.spec, request.object.created);
    let requester = spec.requester.as_ref().expect("a grant has a requester");
    let (Some(namespace), Some(eligibility), Some(policy), Some(role)) =
        (namespace.found(), eligibility.found(), policy.found(), role.found())
    else {
        panic!("granted without a required object: {verdict:?}");
    };
    assert_eq!((verdict.state, request.object.deleting, namespace.terminating), (State::Active, false, false));
    // Invariants 4 and 5: in this namespace, for the requester alone, this role, as it was approved.
    assert_eq!(
        (&grant.name, &grant.namespace, &grant.namespace_uid),
        (&binding_name(&request.object.uid), &request.namespace, &namespace.uid)
    );
    assert_eq!((&grant.role, Some(&grant.digest)), (&eligibility.spec.role_ref, world.digest().map(|digest| digest.to_string()).as_ref()));
    assert!(matches!(role.kind, RoleKind::ClusterRole | RoleKind::Role) && grant.namespace != world.settings.operator_namespace);
    one_subject(requester, grant);
    let names = |kind| eligibility.spec.subjects.iter().any(|subject| subject.kind == kind);
    assert!(
        names(SubjectKind::User)
            || names(SubjectKind::Group)
            || names(SubjectKind::ServiceAccount) && eligibility.spec.allow_service_accounts
    );
    assert!(!eligibility.spec.suspended);
    // Invariant 3: from stored times, never longer than requested and allowed, never past any end.
    let asked = duration::asked(spec, &eligibility.spec, &policy.spec, &world.settings);
    let limits = duration::limits(&policy.spec);
    let allowed = [Some(eligibility.spec.max_duration), limits.max_duration, Some(world.settings.max_grant)];
    assert!(allowed.into_iter().flatten().all(|longest| asked <= longest), "{asked} of {allowed:?}");
    let length = grant.deadline.duration_since(grant.start);
    assert!(
        length <= SignedDuration::from(asked) && length >= SignedDuration::from(limits.min_duration.unwrap_or(Duration::from_secs(1))),
        "{length} of {asked}"
    );
    let total = limits.max_total_duration.unwrap_or(world.settings.max_grant).min(world.settings.max_grant);
    assert!(grant.deadline.duration_since(grant.began) <= SignedDuration::from(total) && grant.began <= grant.start);
    assert!(world.now < grant.deadline && eligibility.spec.end_time.is_none_or(|end| grant.deadline <= end));
    assert_eq!(grant.deadline.subsec_nanosecond(), 0, "the deadline in the binding is in whole seconds");
    if spec.base().is_none() {
        assert!(grant.start >= created && grant.began == grant.start && spec.start_time.is_none_or(|start| grant.start >= start));
        assert!(spec.emergency || windows::is_open(&policy.spec.windows, grant.start), "outside the windows");
    } else {
        let ends = base.as_ref().and_then(Lookup::found).and_then(|base| base.request.record.expires_at);
        assert!(ends.is_some_and(|end| grant.start <= end), "it starts after the end of its base");
    }
    let stored = bound(grant);
    assert_eq!(
        (stored.deadline(), stored.began(), stored.difference(grant)),
        (Some(grant.deadline), Some(grant.began), None),
        "the binding has the same values"
    );
    approved(world, verdict, requester, spec);
}

/// Verifies that the requester is the only subject.
fn one_subject(requester: &Stamp, grant: &Grant) {
    let username = requester.username.as_str();
    assert_eq!(grant.requester, username);
    let subject = &grant.subject;
    let spelled = match (subject.kind.as_str(), &subject.namespace) {
        ("User", None) => subject.name.clone(),
        ("ServiceAccount", Some(namespace)) => format!("{SERVICE_ACCOUNT_PREFIX}{namespace}:{}", subject.name),
        other => panic!("{other:?} is not a valid subject"),
    };
    assert_eq!(spelled, username);
    assert!(subject.kind == "ServiceAccount" || !username.starts_with("system:") && !username.trim().is_empty(), "{username:?}");
}

/// Invariants 6 and 7: enough different users approved, none of them the requester, each for the access that is granted.
fn approved(world: &World, verdict: &Verdict, requester: &Stamp, spec: &RoleActivationRequestSpec) {
    let Some(policy) = world.snapshot.policy.found() else { return };
    let identities = &world.settings.identities;
    if spec.emergency {
        let allowed = policy.spec.emergency.as_ref().filter(|emergency| emergency.allowed).expect("the policy allows emergencies");
        assert!(allowed.reviewers.as_ref().is_some_and(|people| !people.is_empty()) && verdict.review.is_some(), "a review is required");
        return;
    }
    if policy::is_automatic(&policy.spec) {
        return;
    }
    let digest = world.digest().expect("what is granted has a digest");
    let until = world.snapshot.request.object.created + SignedDuration::from(policy::timeout(Some(&policy.spec)));
    for (number, stage) in policy.spec.approval.stages.iter().enumerate() {
        let counted: Vec<_> = verdict.counted.iter().filter(|counted| counted.stage == number).collect();
        let people: BTreeSet<String> = counted.iter().map(|counted| identities.normalise(counted.approver.username.as_str())).collect();
        assert!(people.len() == counted.len() && counted.len() >= policy::required(stage), "{counted:?}");
        assert!(
            counted
                .iter()
                .all(|counted| person::is_listed(&counted.approver, &stage.approvers) && !identities.same(&counted.approver, requester))
        );
    }
    assert!(!policy.spec.approval.stages.is_empty() && verdict.counted.len() >= policy.spec.approval.stages.len());
    for counted in &verdict.counted {
        let said = world.snapshot.decisions.iter().find(|said| {
            said.spec.decider.as_ref() == Some(&counted.approver)
                && said.created == counted.at
                && said.spec.decision == Verb::Approve
                && said.created < until
        });
        let said = said.expect("a counted decision was created in time");
        assert!(
            said.spec.digest.as_deref().is_some_and(|shown| digest.is_shown_as(shown))
                && said.spec.request_ref.name == world.snapshot.request.object.name
        );
    }
}
