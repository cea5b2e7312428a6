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
use test_cases::{Shown, TestCase, at, random::parts::Said, stored};

use crate::{is_printable, text};

/// Verifies the properties of every decision. The input is a scenario.
pub fn check(data: &[u8]) {
    holds(&TestCase::read(&text(data)));
}

/// Verifies them for a test case.
pub fn holds(case: &TestCase) {
    let verdict = case.decide();
    assert!(is_printable(&verdict.message), "{verdict:?}");
    assert!(verdict.grant.is_some() || verdict.binding != BindingAction::Create, "{verdict:?}");
    order_says_nothing(case, &verdict);
    once_is_enough(case, &verdict);
    nothing_absent_grants(case);
    no_attacker_gains(case, &verdict);
    no_stricter_rule_grants(case);
    at_the_door(case);
    let before = case.snapshot.request.record.state;
    if before.is_some_and(State::is_terminal) && !case.snapshot.request.object.deleting {
        assert_eq!(Some(verdict.state), before, "a completed request stays completed");
        assert_eq!(verdict.binding, BindingAction::Remove);
    }
    if let Some(at) = verdict.look_again {
        assert!(verdict.state.is_terminal() || at > case.now, "it would be requeued forever: {verdict:?} at {}", case.now);
    }
    if let Some(grant) = &verdict.grant {
        granted(case, &verdict, grant);
    }
}

/// Invariant 9: the order of the stored objects has no effect, except on which of several equal ones is named.
fn order_says_nothing(case: &TestCase, verdict: &Verdict) {
    assert_eq!(&case.decide(), verdict, "the same snapshot, the same verdict");
    let turned = case.clone().change(|c| c.snapshot.decisions.reverse());
    assert_eq!(&turned.decide(), verdict, "decisions in another order");
    let turned = case.clone().change(|c| {
        c.snapshot.peers.reverse();
        let middle = c.snapshot.decisions.len() / 2;
        c.snapshot.decisions.rotate_left(middle);
    });
    let told = |mut verdict: Verdict| {
        verdict.message.clear();
        verdict.links.sort();
        verdict
    };
    assert_eq!(told(turned.decide()), told(verdict.clone()), "decisions and other requests in another order");
}

/// Invariant 9: an applied and reported decision is not applied again, and stays.
fn once_is_enough(case: &TestCase, first: &Verdict) {
    if case.snapshot.request.object.deleting {
        return;
    }
    let once = case.clone().apply(first);
    let second = once.decide();
    // A request that is not active cannot be extended; a status that claims so ends the request that it names.
    if first.state == State::Active && second.reason == Reason::ExtendedRequestEnded {
        return;
    }
    assert_eq!((second.state, second.reason), (first.state, first.reason), "{first:?}, and then {second:?}");
    let gone = once.snapshot.binding == Binding::Absent;
    assert!(second.binding == BindingAction::Keep || (second.binding == BindingAction::Remove && gone), "{second:?}");
    let twice = once.clone().apply(&second);
    assert_eq!(twice.decide(), second);
    assert_eq!((&twice.snapshot.request.record, &twice.snapshot.binding), (&once.snapshot.request.record, &once.snapshot.binding));
}

/// Invariants 12, 14 and 21: without any of the objects that a grant depends on there is none.
fn nothing_absent_grants(case: &TestCase) {
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
        let poorer = case.clone().change(|c| {
            "jit-system".clone_into(&mut c.settings.operator_namespace);
            change(&mut c.snapshot);
        });
        assert_eq!(poorer.gain(), None, "granted in spite of change {number}");
    }
}

/// Invariant 10: decisions by the requester, by users who are not listed, about other objects, duplicates and late ones cause no grant, no
/// earlier one and no longer one.
fn no_attacker_gains(case: &TestCase, verdict: &Verdict) {
    let approve = |who: Option<&Stamp>, change: &dyn Fn(&mut TestCase)| {
        let said = Said {
            verb: Verb::Approve,
            who: who.cloned(),
            seconds: 1,
            shown: Shown::Present,
            about: None,
            duration: None,
            comment: None,
            letter: 'a',
        };
        no_gain(case, &case.clone().hears(&said).change(change));
    };
    let last = |c: &mut TestCase, change: &dyn Fn(&mut Object<api::ActivationDecisionSpec>)| {
        c.snapshot.decisions.last_mut().into_iter().for_each(change);
    };
    let stages = case.snapshot.policy.found().map(|policy| policy.spec.approval.stages.clone()).unwrap_or_default();
    let listed: Option<Stamp> =
        stages.iter().flat_map(|stage| &stage.approvers.users).next().map(|name| Stamp { username: name.clone(), ..Stamp::default() });
    let requester = case.snapshot.request.object.spec.requester.clone();
    let everywhere: Vec<Line<256>> = stages.iter().flat_map(|stage| stage.approvers.groups.clone()).collect();
    let own_stamp = requester.map(|who| Stamp { groups: [who.groups.clone(), everywhere].concat(), ..who });
    approve(own_stamp.as_ref(), &|_| {});
    let stranger = Stamp { username: "stranger".to_owned().try_into().unwrap_or_default(), ..Stamp::default() };
    approve(Some(&stranger).filter(|who| !stages.iter().any(|stage| person::is_listed(who, &stage.approvers))), &|_| {});
    approve(None, &|_| {});
    approve(listed.as_ref(), &|c| last(c, &|said| said.spec.request_ref.uid = Some("another".to_owned())));
    approve(listed.as_ref(), &|c| last(c, &|said| said.spec.digest = Some(format!("sha256:{}", "0".repeat(64)))));
    approve(listed.as_ref(), &|c| last(c, &|said| said.spec.digest = None));
    let timeout = SignedDuration::from(policy::timeout(case.snapshot.policy.found().map(|policy| &policy.spec)));
    approve(listed.as_ref(), &|c| last(c, &|said| said.created = at(0) + timeout));
    for decision in &case.snapshot.decisions {
        let again = case.clone().change(|c| {
            let mut again = decision.clone();
            again.uid.push_str("-again");
            // A decision that counts already may be repeated later; one that did not count may count at another time.
            let counts = verdict.counted.iter().any(|counted| Some(&counted.approver) == decision.spec.decider.as_ref());
            again.created += SignedDuration::from_secs(counts.into());
            c.snapshot.decisions.push(again);
        });
        no_gain(case, &again);
    }
}

fn no_gain(before: &TestCase, after: &TestCase) {
    let gained = before.gained(after);
    assert!(gained.is_none(), "{gained:?}");
}

/// Invariant 11: a stricter configuration grants nothing that was denied before.
fn no_stricter_rule_grants(case: &TestCase) {
    let was = case.gain();
    let stricter = |change: &dyn Fn(&mut TestCase)| {
        let after = case.clone().change(change).gain();
        assert!(after.is_none() || was.is_some(), "stricter, and granted: {after:?}");
    };
    let narrower = |change: fn(&mut api::RoleEligibilitySpec)| {
        stricter(&|c| {
            if let Lookup::Found(found) = &mut c.snapshot.eligibility {
                change(&mut std::sync::Arc::make_mut(found).spec);
            }
        });
    };
    narrower(|spec| spec.suspended = true);
    // A configuration that is invalid may become valid with fewer fields.
    if case.snapshot.eligibility.found().is_none_or(|found| eligibility::check(&found.spec, &case.settings).is_err()) {
        return;
    }
    narrower(|spec| drop(spec.subjects.pop()));
    narrower(|spec| spec.accept_risks.clear());
    // A request without a duration asks for less then, and may get it.
    if case.snapshot.request.object.spec.duration.is_some() {
        narrower(|spec| spec.max_duration = spec.max_duration.min(Duration::from_secs(60)));
    }
    stricter(&|c| c.settings.max_grant = c.settings.max_grant.min(Duration::from_secs(60)));
    stricter(&|c| c.settings.system_namespaces.clear());
}

/// Invariant 10: a decision that admission denies, but that is stored all the same, brings no request closer to a grant. The exception is a
/// decision that counts in its own stage, and for no more than was requested.
fn at_the_door(case: &TestCase) {
    let now = whole_seconds(case.now);
    let before = case.clone().change(|c| {
        // As admission evaluates it: the guards are in force, and no later decision is stored yet.
        (c.now, c.snapshot.guards) = (now, Guards::Unasked);
        c.snapshot.decisions.retain(|said| said.created <= now);
    });
    for decision in &case.snapshot.decisions {
        let said = Object { uid: "at-the-door".to_owned(), created: now, ..decision.clone() };
        let Err(refusal) = admit_decision::review(&before.snapshot, &said, &before.settings, now) else { continue };
        assert!(!refusal.message.is_empty());
        if !before.counts_if_stored(&said, refusal.reason) {
            no_gain(&before, &before.clone().change(|c| c.snapshot.decisions.push(said)));
        }
    }
}

/// Verifies the properties of a grant.
fn granted(case: &TestCase, verdict: &Verdict, grant: &Grant) {
    let Snapshot { request, namespace, eligibility, policy, role, base, .. } = &case.snapshot;
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
    assert_eq!(
        (&grant.role, Some(&grant.digest)),
        (&eligibility.spec.role_ref, case.digest_if_known().map(|digest| digest.to_string()).as_ref())
    );
    assert!(matches!(role.kind, RoleKind::ClusterRole | RoleKind::Role) && grant.namespace != case.settings.operator_namespace);
    one_subject(requester, grant);
    let names = |kind| eligibility.spec.subjects.iter().any(|subject| subject.kind == kind);
    assert!(
        names(SubjectKind::User)
            || names(SubjectKind::Group)
            || names(SubjectKind::ServiceAccount) && eligibility.spec.allow_service_accounts
    );
    assert!(!eligibility.spec.suspended);
    // Invariant 3: from stored times, never longer than requested and allowed, never past any end.
    let asked = duration::asked(spec, &eligibility.spec, &policy.spec, &case.settings);
    let limits = duration::limits(&policy.spec);
    let allowed = [Some(eligibility.spec.max_duration), limits.max_duration, Some(case.settings.max_grant)];
    assert!(allowed.into_iter().flatten().all(|longest| asked <= longest), "{asked} of {allowed:?}");
    let length = grant.deadline.duration_since(grant.start);
    assert!(
        length <= SignedDuration::from(asked) && length >= SignedDuration::from(limits.min_duration.unwrap_or(Duration::from_secs(1))),
        "{length} of {asked}"
    );
    let total = limits.max_total_duration.unwrap_or(case.settings.max_grant).min(case.settings.max_grant);
    assert!(grant.deadline.duration_since(grant.began) <= SignedDuration::from(total) && grant.began <= grant.start);
    assert!(case.now < grant.deadline && eligibility.spec.end_time.is_none_or(|end| grant.deadline <= end));
    assert_eq!(grant.deadline.subsec_nanosecond(), 0, "the deadline in the binding is in whole seconds");
    if spec.base().is_none() {
        assert!(grant.start >= created && grant.began == grant.start && spec.start_time.is_none_or(|start| grant.start >= start));
        assert!(spec.emergency || windows::is_open(&policy.spec.windows, grant.start), "outside the windows");
    } else {
        let ends = base.as_ref().and_then(Lookup::found).and_then(|base| base.request.record.expires_at);
        assert!(ends.is_some_and(|end| grant.start <= end), "it starts after the end of its base");
    }
    let stored = stored(grant);
    assert_eq!(
        (stored.deadline(), stored.began(), stored.difference(grant)),
        (Some(grant.deadline), Some(grant.began), None),
        "the binding has the same values"
    );
    approved(case, verdict, requester, spec);
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
fn approved(case: &TestCase, verdict: &Verdict, requester: &Stamp, spec: &RoleActivationRequestSpec) {
    let Some(policy) = case.snapshot.policy.found() else { return };
    let identities = &case.settings.identities;
    if spec.emergency {
        let allowed = policy.spec.emergency.as_ref().filter(|emergency| emergency.allowed).expect("the policy allows emergencies");
        assert!(allowed.reviewers.as_ref().is_some_and(|people| !people.is_empty()) && verdict.review.is_some(), "a review is required");
        return;
    }
    if policy::is_automatic(&policy.spec) {
        return;
    }
    let digest = case.digest_if_known().expect("what is granted has a digest");
    let until = case.snapshot.request.object.created + SignedDuration::from(policy::timeout(Some(&policy.spec)));
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
        // One person may have written several at the same moment; one of them must be for exactly this access.
        let said = case.snapshot.decisions.iter().any(|said| {
            said.spec.decider.as_ref() == Some(&counted.approver)
                && said.created == counted.at
                && said.spec.decision == Verb::Approve
                && said.created < until
                && said.spec.digest.as_deref().is_some_and(|shown| digest.is_shown_as(shown))
                && said.spec.request_ref.name == case.snapshot.request.object.name
        });
        assert!(said, "a counted decision was created in time, for the access that is granted: {counted:?}");
    }
}
