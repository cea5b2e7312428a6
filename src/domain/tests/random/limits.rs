//! Effects of tightening and absence: invariants 11 and 12, and that nothing panics.

use proptest::{prelude::*, sample::Index};

use super::*;
use api::{
    Reason,
    duration::LONGEST,
    policy::{JustificationRule, Limits},
    text::is_forbidden,
};
use domain::{admit_decision, duration, eligibility, policy};

#[derive(Clone, Copy, Debug)]
enum Tightening {
    Quorum,
    RemoveApprover,
    Timeout,
    Comment,
    Justification,
    PolicyMaximum,
    RemoveRevokers,
    Maximum,
    End,
    Begin,
    Suspend,
    RemoveSubject,
    RemoveNamespace,
    NoServiceAccounts,
}

fn tightening() -> impl Strategy<Value = Tightening> {
    use Tightening::*;
    prop::sample::select(vec![
        Quorum,
        RemoveApprover,
        Timeout,
        Comment,
        Justification,
        PolicyMaximum,
        RemoveRevokers,
        Maximum,
        End,
        Begin,
        Suspend,
        RemoveSubject,
        RemoveNamespace,
        NoServiceAccounts,
    ])
}

fn shorter(duration: Duration, seconds: u32) -> Duration {
    duration.min(Duration::from_secs(seconds))
}

fn tighten(case: TestCase, how: Tightening, which: Index, seconds: u32) -> TestCase {
    fn drop_one<T>(list: &mut Vec<T>, which: Index) {
        if !list.is_empty() {
            list.remove(which.index(list.len()));
        }
    }
    let stage = |p: &mut ApprovalPolicySpec, change: &dyn Fn(&mut Stage)| {
        let stages = &mut p.approval.stages;
        if !stages.is_empty() {
            let i = which.index(stages.len());
            change(&mut stages[i]);
        }
    };
    let instant = at(i64::from(seconds));
    match how {
        Tightening::Quorum => case.policy(|p| stage(p, &|s| s.required = Some(s.required.unwrap_or(1) + 1))),
        Tightening::RemoveApprover => case.policy(|p| {
            stage(p, &|s| {
                drop_one(&mut s.approvers.groups, which);
                drop_one(&mut s.approvers.users, which);
            });
        }),
        Tightening::Timeout => case.policy(|p| p.approval.timeout = Some(shorter(policy::timeout(Some(p)), seconds))),
        Tightening::Comment => case.policy(|p| p.approval.require_comment = true),
        Tightening::Justification => case.policy(|p| {
            let rule = p.requirements.get_or_insert_default().justification.get_or_insert_default();
            *rule = JustificationRule { min_length: Some(rule.min_length.unwrap_or(1) + 5), pattern: rule.pattern.take() };
        }),
        Tightening::PolicyMaximum => case.policy(|p| {
            let limits = p.limits.get_or_insert_default();
            *limits = Limits { max_duration: Some(shorter(limits.max_duration.unwrap_or(LONGEST), seconds)), ..limits.clone() };
        }),
        Tightening::RemoveRevokers => case.policy(|p| p.revokers = None),
        Tightening::Maximum => case.eligibility(|e| e.max_duration = shorter(e.max_duration, seconds)),
        Tightening::End => case.eligibility(|e| e.end_time = Some(e.end_time.map_or(instant, |end| end.min(instant)))),
        Tightening::Begin => case.eligibility(|e| e.start_time = Some(e.start_time.map_or(instant, |start| start.max(instant)))),
        Tightening::Suspend => case.eligibility(|e| e.suspended = true),
        Tightening::RemoveSubject => case.eligibility(|e| drop_one(&mut e.subjects, which)),
        Tightening::RemoveNamespace => case.eligibility(|e| {
            e.namespaces.selector = None;
            drop_one(&mut e.namespaces.names, which);
        }),
        Tightening::NoServiceAccounts => case.eligibility(|e| e.allow_service_accounts = false),
    }
}

/// Tightening can also repair an invalid object (an end, a maximum above the chart's), which is not a loophole.
fn is_usable(case: &TestCase) -> bool {
    let (Some(eligibility), Some(policy)) = (case.snapshot.eligibility.found(), case.snapshot.policy.found()) else { return false };
    eligibility::check(&eligibility.spec, &case.settings).is_ok()
        && policy::check(&policy.spec, &case.settings).is_ok()
        && policy::check_eligibility(eligibility, policy).is_ok()
}

fn extreme() -> impl Strategy<Value = Timestamp> {
    let edges = vec![Timestamp::MIN, Timestamp::MAX, Timestamp::UNIX_EPOCH, at(0), at(2_700)];
    let near = -90_000..90_000_i64;
    (prop::sample::select(edges), near).prop_map(|(edge, seconds)| edge.checked_add(SignedDuration::from_millis(seconds)).unwrap_or(edge))
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn inv_11_tightening_grants_nothing(case in fresh_cases(), how in tightening(), which in any::<Index>(), seconds in 0..5_000_u32) {
        if !is_usable(&case) {
            return Ok(());
        }
        // A request without a duration uses the eligibility's own, which can come to lie within the policy's limits.
        let (eligibility, policy) = (case.snapshot.eligibility.found(), case.snapshot.policy.found());
        let spec = &case.snapshot.request.object.spec;
        let asked = eligibility.zip(policy).map(|(e, p)| duration::asked(spec, &e.spec, &p.spec, &case.settings));
        let case = case.request(|r| r.duration = asked);
        let before = case.decide();
        let tightened = tighten(case.clone(), how, which, seconds);
        // A decision by a former revoker no longer counts, unless it was recorded. The rules cannot know that.
        let unheard = matches!(how, Tightening::RemoveRevokers) && before.reason == Reason::DeniedByApprover;
        let allowed = case.gain().is_some() || unheard;
        prop_assert!(allowed || tightened.gain().is_none(), "{how:?}: {before:?}");
        // It grants nothing either if every decision is made again for the present digest: an approval can only be later. Two changes
        // cannot be compared like this. A user who is removed from a stage may count in the next, and a required comment changes the
        // decision.
        if !matches!(how, Tightening::RemoveApprover | Tightening::Comment) && before.reason != Reason::DeadlineExceeded {
            let (old, new) = (case.digest_if_known(), tightened.digest_if_known());
            let said_again = tightened.change(|c| {
                for decision in &mut c.snapshot.decisions {
                    if decision.spec.digest.as_deref().is_some_and(|shown| old.as_ref().is_some_and(|old| old.is_shown_as(shown))) {
                        decision.spec.digest = new.as_ref().map(ToString::to_string);
                    }
                }
            });
            prop_assert!(allowed || said_again.gain().is_none(), "{how:?}: {before:?}");
        }
    }

    #[test]
    fn inv_12_nothing_is_granted_by_absence(case in cases(), which in 0..4_u8, gone in any::<bool>()) {
        fn without<T>(gone: bool) -> Lookup<T> {
            if gone { Lookup::Absent } else { Lookup::Unreadable("bad field".to_owned()) }
        }
        let missing = case.clone().change(|c| match which {
            0 => c.snapshot.eligibility = without(gone),
            1 => c.snapshot.policy = without(gone),
            2 => c.snapshot.role = without(gone),
            _ => c.snapshot.namespace = without(gone),
        });
        let verdict = missing.decide();
        prop_assert!(verdict.grant.is_none() && verdict.binding != BindingAction::Create, "{verdict:?}");
        // A running grant ends if an object is certainly absent, and continues if it cannot be read.
        let before = case.decide();
        if case.snapshot.request.record.state == Some(State::Active) && before.state == State::Active && !case.snapshot.request.object.deleting {
            let sure = gone && case.snapshot.eligibility.found().is_some();
            let decided = sure && (which == 0 || case.snapshot.namespace.found().is_some());
            prop_assert!(!decided || verdict.state == State::Revoked, "{verdict:?}");
            prop_assert!(gone || verdict.state == State::Active, "{verdict:?}");
        }
        prop_assert!(missing.request(|r| r.requester = None).decide().grant.is_none());
    }

    #[test]
    fn inv_26_what_is_said_is_one_visible_line(
        case in cases(),
        names in prop::collection::vec("[a\\u{1b}\\u{202e}\\u{200b}\n\u{2028}é]{1,8}", 4),
        said in said(),
    ) {
        let case = case
            .hears(&said)
            .request(|r| r.eligibility_ref.name.clone_from(&names[0]))
            .eligibility(|e| {
                e.role_ref.name.clone_from(&names[1]);
                e.policy_ref.name.clone_from(&names[2]);
                e.namespaces.names.push(names[3].clone());
            });
        let visible = |text: &str| !text.is_empty() && !text.chars().any(is_forbidden);
        let verdict = case.decide();
        prop_assert!(visible(&verdict.message), "{}", verdict.message);
        for decision in &case.snapshot.decisions {
            match admit_decision::review(&case.snapshot, decision, &case.settings, case.now) {
                 Ok(()) => {}
                Err(refusal) => prop_assert!(visible(&refusal.message)),
            }
        }
    }

    #[test]
    fn nothing_panics(
        case in cases(),
        times in prop::collection::vec(extreme(), 8),
        durations in prop::collection::vec(prop::sample::select(vec![Duration::default(), Duration::from_secs(1), LONGEST]), 5),
        forever in any::<bool>(),
    ) {
        let mut case = case
            .eligibility(|e| {
                (e.start_time, e.end_time) = (Some(times[0]), Some(times[1]).filter(|_| !forever));
                e.max_duration = durations[0];
            })
            .policy(|p| {
                p.approval.timeout = Some(durations[1]);
                p.eligibility.get_or_insert_default().max_duration = Some(durations[2]);
                p.eligibility.get_or_insert_default().require_end = Some(false);
            })
            .request(|r| r.duration = Some(durations[3]))
            .record(|r| (r.granted_at, r.expires_at) = (Some(times[2]), Some(times[3])));
        case.settings.max_grant = LONGEST;
        case.snapshot.request.object.created = times[4];
        case.now = times[5];
        let digest = case.digest_if_known();
        for (i, decision) in case.snapshot.decisions.iter_mut().enumerate() {
            decision.created = times[5 + i % 3];
            decision.spec.duration = Some(durations[4]);
            decision.spec.digest = digest.as_ref().map(ToString::to_string);
        }
        let verdict = case.decide();
        for decision in &case.snapshot.decisions {
            let _ = admit_decision::review(&case.snapshot, decision, &case.settings, case.now);
        }
        if let Some(grant) = &verdict.grant {
            prop_assert!(grant.start < grant.deadline && case.now < grant.deadline);
            prop_assert!(grant.deadline.duration_since(grant.start) <= SignedDuration::from(case.settings.max_grant));
        }
        let after = case.apply(&verdict);
        prop_assert_eq!(after.decide().state, verdict.state);
    }
}
