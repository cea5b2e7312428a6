//! Tests of evidence and tickets: tables with the exact messages.

use proptest::prelude::*;

use super::*;
use api::{policy::Requirements, request::Ticket};

fn line<const MAX: usize>(text: &str) -> Line<MAX> {
    Line::try_from(text.to_owned()).unwrap()
}

/// Creation time of the request: second 1,793,613,600.
fn made() -> Timestamp {
    "2026-11-02T10:00:00Z".parse().unwrap()
}

fn policy(authentication: Option<AuthenticationRule>, ticket: Option<TicketRule>) -> Object<ApprovalPolicySpec> {
    let requirements = Some(Requirements { ticket, authentication, ..Requirements::default() });
    let spec = ApprovalPolicySpec { requirements, ..ApprovalPolicySpec::default() };
    Object {
        name: "two-eyes".to_owned(),
        uid: "uid".to_owned(),
        created: made(),
        deleting: false,
        generation: 1,
        checked: None,
        owed: None,
        spec,
    }
}

fn claim(key: &str, any_of: &[&str]) -> Claim {
    Claim { key: line(key), any_of: any_of.iter().map(|value| line(value)).collect() }
}

fn age(duration: &str) -> MaxAge {
    MaxAge { key: line("jitrbac.dev/auth-time"), duration: duration.parse().unwrap() }
}

fn signed_in(username: &str, extra: &[(&str, &[&str])]) -> Stamp {
    let extra = extra.iter().map(|(key, values)| ((*key).to_owned(), values.iter().map(ToString::to_string).collect())).collect();
    Stamp { username: line(username), extra, ..Stamp::default() }
}

fn told(answer: Result<(), Refusal>) -> String {
    answer.err().map_or_else(String::new, |refusal| refusal.to_string())
}

#[test]
fn t09_every_claim_must_hold_by_any_of_its_values() {
    let rule = AuthenticationRule {
        claims: vec![claim("jitrbac.dev/amr", &["mfa", "hwk"]), claim("jitrbac.dev/acr", &["gold"])],
        ..AuthenticationRule::default()
    };
    let policy = policy(Some(rule), None);
    let missing = |key: &str, wanted: &str| {
        format!(
            "EvidenceMissing: the sign-in of 'dev' has no '{key}', and policy 'two-eyes' requires {wanted}; sign in again without \
             impersonation; if that does not help, ask an admin whether the cluster's authentication passes '{key}' on"
        )
    };
    let amr = || missing("jitrbac.dev/amr", "one of 'mfa', 'hwk'");
    let mismatch = |shown: &str| {
        format!(
            "EvidenceMismatch: the sign-in of 'dev' has 'jitrbac.dev/amr' with the value {shown}, and policy 'two-eyes' requires one of \
             'mfa', 'hwk' (spec.requirements.authentication.claims); sign in again to meet this requirement"
        )
    };
    for (amr_values, acr, answer) in [
        (Some(["pwd", "mfa"].as_slice()), Some(["gold"].as_slice()), String::new()),
        (Some(&["hwk"]), Some(&["gold", "silver"]), String::new()),
        (None, Some(&["gold"]), amr()),
        (Some(&[]), Some(&["gold"]), amr()),
        (Some(&["", ""]), Some(&["gold"]), amr()),
        (Some(&["pwd"]), Some(&["gold"]), mismatch("'pwd'")),
        (Some(&["MFA"]), Some(&["gold"]), mismatch("'MFA'")),
        (Some(&["mfa "]), Some(&["gold"]), mismatch("'mfa '")),
        (Some(&["pwd,mfa", "sms"]), Some(&["gold"]), mismatch("'pwd,mfa', 'sms'")),
        (Some(&["mfa"]), None, missing("jitrbac.dev/acr", "'gold'")),
    ] {
        let extra: Vec<(&str, &[&str])> =
            amr_values.map(|values| ("jitrbac.dev/amr", values)).into_iter().chain(acr.map(|values| ("jitrbac.dev/acr", values))).collect();
        assert_eq!(told(check(&signed_in("dev", &extra), Party::Requester, made(), &policy)), answer, "{extra:?}");
    }
    // The right values under other keys do not count.
    assert_eq!(told(check(&signed_in("dev", &[("amr", &["mfa"])]), Party::Requester, made(), &policy)), amr());
}

#[test]
fn t09_a_sign_in_is_one_readable_time_and_not_too_old() {
    let policy = policy(Some(AuthenticationRule { max_age: Some(age("15m")), ..AuthenticationRule::default() }), None);
    let said = |values: &[&str]| told(check(&signed_in("dev", &[("jitrbac.dev/auth-time", values)]), Party::Requester, made(), &policy));
    let now = made().as_second();
    for after in [-900, -899, -1, 0, 1, 10] {
        assert_eq!(said(&[&(now + after).to_string()]), "", "{after}");
    }
    assert_eq!(
        said(&[&(now - 901).to_string()]),
        "EvidenceTooOld: 'dev' signed in at 2026-11-02T09:44:59Z, 15m1s before the request or decision was created, and policy 'two-eyes' allows at most 15m \
         (spec.requirements.authentication.maxAge); sign in again and retry"
    );
    assert!(
        said(&["0"])
            .starts_with("EvidenceTooOld: 'dev' signed in at 1970-01-01T00:00:00Z, 99999h before the request or decision was created"),
        "{}",
        said(&["0"])
    );
    let unreadable = |why: &str| {
        format!(
            "EvidenceUnreadable: the sign-in of 'dev' {why}, and policy 'two-eyes' requires one at most 15m old \
             (spec.requirements.authentication.maxAge); sign in again; if that does not help, ask an admin what the cluster's \
             authentication passes on"
        )
    };
    assert_eq!(said(&[&(now + 11).to_string()]), unreadable("is at 2026-11-02T10:00:11Z, in the future"));
    let twice = [now.to_string(), now.to_string()];
    assert_eq!(said(&[&twice[0], &twice[1]]), unreadable(&format!("has several times as 'jitrbac.dev/auth-time': '{now}', '{now}'")));
    let (plus, minus, exact) = (format!("+{now}"), format!("-{now}"), format!("{now}.0"));
    let odd = [
        "yesterday",
        "2026-11-02T10:00:00Z",
        "1.7936136e+09",
        " 1793613600",
        "١٧",
        &plus,
        &minus,
        &exact,
        "9223372036854775807",
        "99999999999999999999",
    ];
    for text in odd {
        let why = format!("has 'jitrbac.dev/auth-time' with the value '{text}', which is not a time in seconds since 1970");
        assert_eq!(said(&[text]), unreadable(&why));
    }
    for none in [[].as_slice(), &[""]] {
        let refusal = said(none);
        assert!(refusal.starts_with("EvidenceMissing: the sign-in of 'dev' has no 'jitrbac.dev/auth-time'"), "{refusal}");
        assert!(refusal.contains("requires a sign-in at most 15m old"), "{refusal}");
    }
}

#[test]
fn t09_it_is_asked_of_whom_the_policy_says_and_never_shown_by_a_service_account() {
    let of = |applies_to: &[Party]| {
        let claims = vec![claim("amr", &["mfa"])];
        policy(Some(AuthenticationRule { claims, applies_to: applies_to.to_vec(), ..AuthenticationRule::default() }), None)
    };
    let dev = signed_in("dev", &[]);
    for (applies_to, requester, approver) in [
        ([].as_slice(), true, false),
        (&[Party::Requester], true, false),
        (&[Party::Approver], false, true),
        (&[Party::Approver, Party::Requester], true, true),
    ] {
        assert_eq!(check(&dev, Party::Requester, made(), &of(applies_to)).is_err(), requester, "{applies_to:?}");
        assert_eq!(check(&dev, Party::Approver, made(), &of(applies_to)).is_err(), approver, "{applies_to:?}");
    }
    assert_eq!(
        told(check(&signed_in("system:serviceaccount:ci:robot", &[("amr", &["mfa"])]), Party::Requester, made(), &of(&[]))),
        "EvidenceMissing: 'system:serviceaccount:ci:robot' is a ServiceAccount, and policy 'two-eyes' requires evidence of how a person \
         signed in (spec.requirements.authentication); a person must do it"
    );
    assert!(check(&signed_in("system:admin", &[("amr", &["mfa"])]), Party::Requester, made(), &of(&[])).is_err());
    assert_eq!(check(&dev, Party::Requester, made(), &policy(None, None)), Ok(()));
}

#[test]
fn t49_a_rule_that_can_never_hold_or_asks_for_nothing_is_none() {
    let rule = |claims: Vec<Claim>, max_age| AuthenticationRule { claims, max_age, ..AuthenticationRule::default() };
    let said = |rule| told(check_rules(&policy(Some(rule), None).spec));
    let full = rule(vec![claim("amr", &["mfa"])], Some(age("15m")));
    assert_eq!(keys(&policy(Some(full.clone()), None).spec), BTreeSet::from(["amr", "jitrbac.dev/auth-time"]));
    assert_eq!(said(full), "");
    for (rule, why) in [
        (rule(vec![], None), " requires nothing: set `claims` or `maxAge`, or remove it"),
        (rule(vec![claim("amr", &["mfa"]), claim("acr", &[])], None), ".claims[1].anyOf has no value: no sign-in could match it"),
        (rule(vec![claim("amr", &[""])], None), ".claims[0].anyOf has no value: no sign-in could match it"),
        (rule(vec![claim("", &["mfa"])], None), ".claims[0].key is empty; set it to a key of userInfo.extra"),
        (rule(vec![], Some(age("0s"))), ".maxAge.duration must be greater than 0s"),
    ] {
        assert_eq!(said(rule.clone()), format!("InvalidField: spec.requirements.authentication{why}"));
        let shown = signed_in("dev", &[("amr", &["", "mfa"]), ("acr", &[""]), ("", &["mfa"]), ("jitrbac.dev/auth-time", &["1793613600"])]);
        assert!(check(&shown, Party::Requester, made(), &policy(Some(rule), None)).is_err(), "what is stored is asked again");
    }
}

fn asked(required: bool, system: &str, pattern: &str) -> Object<ApprovalPolicySpec> {
    policy(None, Some(TicketRule { required, system: Some(line(system)), pattern: Some(line(pattern)) }))
}

#[test]
fn t14_a_ticket_is_there_and_of_the_system_and_form() {
    let missing = |what: &str| format!("TicketMissing: no ticket was given; policy 'two-eyes' requires {what} in spec.ticket");
    let full = "one of the system 'jira' whose number matches 'INC-[0-9]+'";
    let other = |said: &str| format!("TicketMismatch: the ticket 'INC-1' {said}; policy 'two-eyes' requires 'jira' in spec.ticket.system");
    let mismatch = |number: &str| {
        format!(
            "TicketMismatch: the ticket '{number}' does not match 'INC-[0-9]+|X', which policy 'two-eyes' requires for spec.ticket.number \
             (the whole text must match)"
        )
    };
    for (required, only, pattern, system, number, answer) in [
        (false, "", "", None, None, String::new()),
        (true, "", "", None, None, missing("one")),
        (true, "jira", "INC-[0-9]+", None, None, missing(full)),
        (true, "jira", "INC-[0-9]+", Some("jira"), Some(""), missing(full)),
        (true, "", "", Some("jira"), Some("   "), missing("one")),
        (false, "", "", Some("jira"), None, missing("one")),
        (false, "", "", Some(""), Some(" "), String::new()),
        (true, "", "", None, Some("INC-1"), String::new()),
        (true, "jira", "INC-[0-9]+", Some("jira"), Some("INC-4711"), String::new()),
        (true, "jira", "", Some("snow"), Some("INC-1"), other("is of the system 'snow'")),
        (false, "jira", "", Some("Jira"), Some("INC-1"), other("is of the system 'Jira'")),
        (true, "jira", "", None, Some("INC-1"), other("names no system")),
        (true, "", "INC-[0-9]+|X", None, Some("X"), String::new()),
        (true, "", "INC-[0-9]+|X", None, Some("INC-1X"), mismatch("INC-1X")),
        (false, "", "INC-[0-9]+|X", None, Some("see INC-1"), mismatch("see INC-1")),
        (false, "", "INC-[0-9]+|X", None, Some("INC-1 "), mismatch("INC-1 ")),
    ] {
        let given = Ticket { system: system.map(line), number: number.map(line) };
        let case = format!("{required} {only:?} {pattern:?} {given:?}");
        let request = RoleActivationRequestSpec { ticket: Some(given), ..RoleActivationRequestSpec::default() };
        assert_eq!(told(ticket(&request, &asked(required, only, pattern))), answer, "{case}");
    }
    assert_eq!(ticket(&RoleActivationRequestSpec::default(), &policy(None, None)), Ok(()));
    assert!(ticket(&RoleActivationRequestSpec::default(), &asked(true, "", "")).is_err(), "no ticket at all");
}

#[test]
fn t14_a_pattern_of_tickets_that_cannot_be_used_is_refused_under_its_own_name() {
    assert_eq!(
        told(check_rules(&asked(false, "", "a)|(?:b").spec)),
        "InvalidField: spec.requirements.ticket.pattern 'a)|(?:b' cannot be used: unopened group"
    );
    assert_eq!(check_rules(&asked(false, "", "INC-[0-9]+").spec), Ok(()));
    assert_eq!(check_rules(&policy(None, None).spec), Ok(()));
}

proptest! {
    #[test]
    fn t09_nothing_stamped_makes_it_panic_and_only_a_time_within_bounds_passes(text in any::<String>(), near in "[0-9+-]{0,21}", off in -2000_i64..2000) {
        let policy = policy(Some(AuthenticationRule { max_age: Some(age("15m")), ..AuthenticationRule::default() }), None);
        let passes = |text: &str| check(&signed_in("dev", &[("jitrbac.dev/auth-time", &[text])]), Party::Requester, made(), &policy).is_ok();
        prop_assert!(!passes(&text));
        prop_assert!(!passes(&near) || near.parse::<i64>().is_ok_and(|at| (made().as_second() - 900..=made().as_second() + 10).contains(&at)));
        prop_assert_eq!(passes(&(made().as_second() + off).to_string()), (-900..=10).contains(&off));
    }
}
