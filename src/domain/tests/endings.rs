//! What ends a request or its grant, and what does not (api rules 5, 10 and 11).

use super::*;

fn with_revokers() -> TestCase {
    two_eyes().policy(|p| p.revokers = Some(people(&["group security"])))
}

fn security() -> Stamp {
    person("sec-1", &["security"])
}

/// The scenario ends with this result, without a binding.
fn ends(case: &TestCase, told: &str) {
    assert_eq!(case.told(), told);
    let verdict = case.decide();
    assert!(verdict.state.is_terminal());
    assert_eq!((verdict.binding, verdict.grant), (BindingAction::Remove, None));
}

#[test]
fn before_the_grant() {
    for verb in [Verb::Deny, Verb::Revoke] {
        ends(&with_revokers().says(verb, &lead(1), 5), "Denied DeniedByApprover: denied by lead-1");
    }
    ends(&with_revokers().says(Verb::Revoke, &security(), 5), "Denied DeniedByApprover: denied by sec-1");
    ends(&with_revokers().says(Verb::Deactivate, &dev(), 5), "Withdrawn WithdrawnByRequester: withdrawn by dev");
    let mut said = with_revokers().says(Verb::Deny, &lead(1), 5);
    said.snapshot.decisions[0].spec.comment = Some(line("not today"));
    ends(&said, "Denied DeniedByApprover: denied by lead-1: \"not today\"");
    assert_eq!(said.decide().actor.as_deref(), Some("lead-1"));
    // One denial suffices, however many approvals there are, and whenever they come.
    ends(&with_revokers().approves(&lead(1), 5).says(Verb::Deny, &lead(2), 6), "Denied DeniedByApprover: denied by lead-2");
    ends(&with_revokers().says(Verb::Deny, &lead(2), 4).approves(&lead(1), 5), "Denied DeniedByApprover: denied by lead-2");
    // Even without a usable eligibility, and with any digest.
    ends(
        &with_revokers().says(Verb::Deny, &lead(1), 5).change(|c| c.snapshot.role = Lookup::Absent),
        "Denied DeniedByApprover: denied by lead-1",
    );
    ends(
        &with_revokers().says(Verb::Deactivate, &dev(), 5).change(|c| c.snapshot.policy = Lookup::Absent),
        "Withdrawn WithdrawnByRequester: withdrawn by dev",
    );
}

#[test]
fn from_the_grant_on() {
    let running = || with_revokers().approves(&lead(1), 5).now(5).granted();
    assert_eq!(running().told(), "Active Granted: ClusterRole 'edit' in namespace 'payments' until 2026-11-02T10:45:05Z");
    ends(&running().says(Verb::Deny, &lead(2), 9), "Revoked RevokedByUser: revoked by lead-2");
    ends(&running().says(Verb::Revoke, &lead(1), 9), "Revoked RevokedByUser: revoked by lead-1");
    ends(&running().says(Verb::Revoke, &security(), 9), "Revoked RevokedByUser: revoked by sec-1");
    ends(&running().says(Verb::Deactivate, &dev(), 9), "Deactivated DeactivatedByRequester: deactivated by dev");
    ends(&running().says(Verb::Deactivate, &person("Dev", &[]), 9), "Deactivated DeactivatedByRequester: deactivated by Dev");
    ends(&running().now(5 + 2_700), "Expired Expired: expired at 2026-11-02T10:45:05Z");
    assert_eq!(running().now(5 + 2_699).state(), State::Active);
}

#[test]
fn t40_the_first_word_is_the_one_that_is_told() {
    let case = with_revokers().says(Verb::Revoke, &security(), 9).says(Verb::Deny, &lead(2), 7).says(Verb::Deny, &lead(1), 8);
    ends(&case, "Denied DeniedByApprover: denied by lead-2");
    let mut same_second = with_revokers().says(Verb::Deny, &lead(2), 7).says(Verb::Deny, &lead(1), 7);
    ends(&same_second, "Denied DeniedByApprover: denied by lead-2");
    same_second.snapshot.decisions.reverse();
    ends(&same_second, "Denied DeniedByApprover: denied by lead-2");
}

#[test]
fn t03_words_of_others_and_about_others_end_nothing() {
    for running in [false, true] {
        let case = || {
            let approved = with_revokers().approves(&lead(1), 5).now(5);
            if running { approved.granted() } else { approved }
        };
        let outsider = person("mallory", &["devs"]);
        for (verb, who) in [
            (Verb::Deny, outsider.clone()),
            (Verb::Deny, security()),
            (Verb::Revoke, outsider.clone()),
            (Verb::Deactivate, outsider),
            (Verb::Deactivate, lead(1)),
            (Verb::Review, lead(1)),
        ] {
            assert_eq!(case().says(verb, &who, 6).state(), State::Active, "{verb} by {}", who.username);
        }
        let changes: [fn(&mut ActivationDecisionSpec); 4] = [
            |d| d.request_ref.uid = Some("earlier-uid".to_owned()),
            |d| d.request_ref.uid = None,
            |d| d.request_ref.name = "other".to_owned(),
            |d| d.decider = None,
        ];
        for change in changes {
            let mut case = case().says(Verb::Deny, &lead(2), 6);
            change(&mut case.snapshot.decisions[1].spec);
            assert_eq!(case.state(), State::Active);
        }
    }
}

#[test]
fn what_admins_take_away() {
    let running = || case().granted();
    for (case, told) in [
        (
            running().eligibility(|e| e.suspended = true),
            "Revoked EligibilitySuspended: eligibility 'payments-oncall' is suspended (spec.suspended)",
        ),
        (
            running().eligibility(|e| e.end_time = Some(at(1))),
            "Revoked EligibilityExpired: eligibility 'payments-oncall' is not valid at 2026-11-02T10:00:01Z: it ends at 2026-11-02T10:00:01Z (spec.endTime)",
        ),
        (
            running().eligibility(|e| e.subjects = vec![subject(SubjectKind::User, "somebody")]),
            "Revoked NotEligible: 'dev' is not among the subjects of eligibility 'payments-oncall', neither by name nor by a group; ask an admin, or see \
             'kubectl get roleeligibilities'",
        ),
        (
            running().eligibility(|e| e.namespaces.names = vec!["shop".to_owned()]),
            "Revoked NamespaceNotCovered: namespace 'payments' is not covered by eligibility 'payments-oncall', which is for shop",
        ),
        (
            running().eligibility(|e| e.role_ref.name = "view".to_owned()),
            "Revoked RoleNotCovered: eligibility 'payments-oncall' now refers to ClusterRole 'view'",
        ),
        (
            running().eligibility(|e| e.role_ref.name = "view".to_owned()).record(|r| r.role = None),
            "Revoked RoleNotCovered: eligibility 'payments-oncall' now refers to ClusterRole 'view'",
        ),
        (
            running().eligibility(|e| e.max_duration = lasting("44m59s")),
            "Revoked DurationNoLongerAllowed: it was granted for 45m, but at most 44m59s is now allowed by eligibility 'payments-oncall' (spec.maxDuration)",
        ),
        (
            running().policy(|p| p.limits.get_or_insert_default().max_duration = Some(lasting("30m"))),
            "Revoked DurationNoLongerAllowed: it was granted for 45m, but at most 30m is now allowed by policy 'two-eyes' (spec.limits.maxDuration)",
        ),
    ] {
        ends(&case, told);
    }
    for case in [
        running().eligibility(|e| e.max_duration = lasting("45m")),
        running().policy(|p| p.limits.get_or_insert_default().max_duration = Some(lasting("45m"))),
        // A change that requires more approvals applies to the next request.
        running().stages(vec![stage("lead", 1, &["group leads"])]),
        running().eligibility(|e| e.end_time = None),
        running().change(|c| {
            let Lookup::Found(role) = &mut c.snapshot.role else { panic!() };
            role.rules = Arc::new(Rules::new([rule(&["*"], &["*"])]));
        }),
    ] {
        assert_eq!(case.state(), State::Active, "{:?}", case.decide());
    }
}

#[test]
fn inv_17_a_lost_start_does_not_keep_what_is_no_longer_allowed() {
    let shorter = || case().granted().eligibility(|e| e.max_duration = lasting("30m"));
    for granted_at in [None, Some(at(2_600)), Some(at(2_700)), Some(at(9_999)), Some(at(-9_999))] {
        let plausible = granted_at == Some(at(2_600));
        let began = granted_at.filter(|_| plausible).unwrap_or(at(0));
        let case = shorter()
            .record(|r| r.granted_at = granted_at)
            .binding(|b| drop(b.annotations.insert("jitrbac.dev/started-at".to_owned(), domain::instant::stamp(began))));
        assert_eq!(case.state() == State::Active, plausible, "{granted_at:?}");
    }
}

#[test]
fn t33_whichever_end_is_earlier_is_believed() {
    let running = || case().granted();
    let both = |recorded: Option<i64>, annotated: Option<&str>, now: i64| {
        let case = running().record(|r| r.expires_at = recorded.map(at)).binding(|b| {
            b.annotations.remove("jitrbac.dev/expires-at");
            b.annotations.extend(annotated.map(|text| ("jitrbac.dev/expires-at".to_owned(), text.to_owned())));
        });
        case.now(now).decide().reason.to_string()
    };
    assert_eq!(both(Some(100), Some("2026-11-02T10:45:00Z"), 100), "Expired");
    assert_eq!(both(Some(9_000), Some("2026-11-02T10:01:40Z"), 100), "Expired");
    assert_eq!(both(None, Some("2026-11-02T10:01:40Z"), 100), "Expired");
    assert_eq!(both(Some(100), None, 100), "Expired");
    assert_eq!(both(Some(100), Some("no time"), 100), "Expired");
    // Before that, a difference means an altered binding.
    assert_eq!(both(Some(100), Some("2026-11-02T10:45:00Z"), 99), "BindingModified");
    assert_eq!(both(None, Some("2026-11-02T10:45:00Z"), 99), "BindingModified");
    let neither = running().record(|r| r.expires_at = None).binding(|b| b.annotations.clear());
    ends(&neither, "Expired Expired: the grant has no readable end");
    // The binding of an active grant was not read. Its record suffices to end it.
    let unread = running().change(|c| c.snapshot.binding = Binding::Unread);
    assert_eq!((unread.state(), unread.clone().now(2_700).state()), (State::Active, State::Expired));
}

#[test]
fn inv_08_the_end_is_the_end() {
    for state in State::ALL.into_iter().filter(|s| s.is_terminal()) {
        let over = case().granted().record(|r| r.state = Some(state));
        let verdict = over.decide();
        assert_eq!((verdict.state, verdict.binding, verdict.grant), (state, BindingAction::Remove, None));
        assert!(over.decide().refusal().is_some());
    }
    for state in State::ALL.into_iter().filter(|s| !s.is_terminal()) {
        assert_eq!(case().record(|r| r.state = Some(state)).decide().grant.is_some(), state != State::Active, "{state}");
    }
}
