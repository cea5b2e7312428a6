//! Effects of a status and a stored binding: invariants 13, 15, 16 and 17.

use proptest::prelude::*;

use super::*;
use api::Reason;

/// Returns until when access continues by this verdict, if it does.
fn goes_on_until(case: &TestCase, verdict: &Verdict) -> Option<Timestamp> {
    match (verdict.binding, &case.snapshot.binding) {
        (BindingAction::Create, _) => verdict.grant.as_ref().map(|g| g.deadline),
        (BindingAction::Keep, Binding::Present(found)) => found.deadline().or(Some(Timestamp::MAX)),
        (BindingAction::Keep | BindingAction::Remove, _) => None,
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn inv_13_a_status_widens_nothing(case in cases(), other in prop::option::of(parts::record())) {
        let case = case.record(|r| *r = other.unwrap_or(r.clone()));
        let blank = case.clone().record(|r| *r = Record::default());
        let (verdict, mut without) = (case.decide(), blank.decide());
        // A scheduled grant is revoked, and not denied: another word for the same.
        if case.snapshot.request.record.state == Some(State::Scheduled) && without.state == State::Denied {
            without.state = State::Revoked;
            if without.reason == Reason::DeniedByApprover {
                (without.reason, without.message) = (Reason::RevokedByUser, without.message.replacen("denied", "revoked", 1));
            }
            // An object that existed at the scheduling is now reported as removed, and not as missing.
            if case.snapshot.eligibility.found().is_none() && verdict.reason == Reason::EligibilityRemoved {
                (without.reason, without.message) = (verdict.reason, verdict.message.clone());
            }
        }
        if verdict.binding == BindingAction::Create {
            prop_assert_eq!(&verdict, &without, "a grant is decided as if nothing had been reported");
        }
        // A record can keep a binding that would not be created again now, but never past the binding's own end.
        if let (Some(until), Binding::Present(found)) = (goes_on_until(&case, &verdict), &case.snapshot.binding) {
            prop_assert!(case.now < until);
            prop_assert_eq!(Some(until), found.deadline());
            prop_assert!(verdict.look_again.is_some_and(|at| at <= until), "{verdict:?}");
        }
        // The states that are neither terminal nor active have the same effect as none.
        let state = case.snapshot.request.record.state;
        if state != Some(State::Active) && !state.is_some_and(State::is_terminal) {
            prop_assert_eq!(verdict, without);
        }
    }

    #[test]
    fn inv_15_what_differs_from_its_record_goes(case in fresh_cases(), alter in parts::alteration(), recorded in any::<bool>(), uid in any::<bool>()) {
        let verdict = case.decide();
        if verdict.binding != BindingAction::Create {
            return Ok(());
        }
        let mut running = case.apply(&verdict);
        if !recorded {
            running = running.record(|r| *r = Record::default());
        }
        prop_assert_eq!(running.decide().binding, BindingAction::Keep);
        let altered = running.clone().binding(alter).decide();
        prop_assert_eq!(altered.binding, BindingAction::Remove);
        prop_assert!(altered.state.is_terminal() && altered.grant.is_none(), "{altered:?}");
        // Foreign annotations are ignored.
        let decorated = running.clone().binding(|b| drop(b.annotations.insert("example.com/note".to_owned(), "x".to_owned())));
        prop_assert_eq!(decorated.decide(), running.decide());
        if recorded && uid {
            let replaced = running.binding(|b| b.uid = "another".to_owned()).decide();
            prop_assert_eq!((replaced.state, replaced.binding), (State::Revoked, BindingAction::Remove));
        }
    }

    #[test]
    fn inv_15_one_binding_at_most(case in cases()) {
        let verdict = case.decide();
        match &case.snapshot.binding {
            // Nothing is created in addition to it or instead of it.
            Binding::Present(_) => prop_assert_ne!(verdict.binding, BindingAction::Create),
            Binding::Absent => prop_assert!(verdict.state != State::Active || verdict.binding == BindingAction::Create),
            Binding::Unread => {}
        }
        prop_assert_eq!(verdict.binding == BindingAction::Create, verdict.grant.is_some() && verdict.binding != BindingAction::Keep);
        prop_assert!(verdict.grant.is_none() || verdict.state == State::Active);
    }

    #[test]
    fn inv_16_gone_is_what_the_api_server_says_is_gone(case in cases()) {
        let verdict = case.decide();
        let recorded = case.snapshot.request.record.reason;
        if verdict.reason == Reason::BindingRemoved && recorded != Some(Reason::BindingRemoved) {
            prop_assert_eq!(&case.snapshot.binding, &Binding::Absent);
        }
        if verdict.reason == Reason::BindingModified || verdict.reason == Reason::BindingConflict {
            prop_assert!(matches!(case.snapshot.binding, Binding::Present(_)));
        }
        // A terminal state is final only once the binding is removed, so the verdict requires the removal.
        prop_assert!(!verdict.state.is_terminal() || verdict.binding == BindingAction::Remove);
        prop_assert!(verdict.state == State::Active || verdict.binding != BindingAction::Keep || !matches!(case.snapshot.binding, Binding::Present(_)));
    }

    #[test]
    fn inv_17_taking_something_away_lengthens_nothing(case in fresh_cases(), which in 0..6_u8, later in 0..9_000_i64) {
        let verdict = case.decide();
        if verdict.binding != BindingAction::Create {
            return Ok(());
        }
        let end = verdict.grant.as_ref().unwrap().deadline;
        let stripped = case.apply(&verdict).now(later).change(|c| {
            let record = &mut c.snapshot.request.record;
            match which {
                0 => *record = Record::default(),
                1 => record.expires_at = None,
                2 => record.granted_at = None,
                3 => record.binding = None,
                4 => record.role = None,
                _ => record.digest = None,
            }
        });
        let before = goes_on_until(&stripped, &stripped.decide());
        prop_assert!(before.is_none_or(|until| until <= end && stripped.now < end));
        // The same for the content of the binding, with the record unchanged or missing.
        for key in ["jitrbac.dev/expires-at", "jitrbac.dev/digest", "jitrbac.dev/request"] {
            let bare = stripped.clone().binding(|b| drop(b.annotations.remove(key)));
            let after = goes_on_until(&bare, &bare.decide());
            prop_assert!(after.is_none_or(|until| until <= end && bare.now < end));
        }
    }
}
