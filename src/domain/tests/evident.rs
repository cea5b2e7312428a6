//! Evidence and tickets that the decision requires (T9).

use super::*;
use api::policy::{AuthenticationRule, Claim, Party, Requirements, TicketRule};

fn shows(who: Stamp, values: &[&str]) -> Stamp {
    let extra = [("jitrbac.dev/amr".to_owned(), values.iter().map(ToString::to_string).collect())].into();
    Stamp { extra, ..who }
}

fn asking(case: TestCase, applies_to: &[Party]) -> TestCase {
    let claims = vec![Claim { key: line("jitrbac.dev/amr"), any_of: vec![line("mfa")] }];
    let rule = AuthenticationRule { claims, applies_to: applies_to.to_vec(), ..AuthenticationRule::default() };
    case.policy(|p| p.requirements = Some(Requirements { authentication: Some(rule), ..Requirements::default() }))
}

#[test]
fn t09_the_requester_shows_how_he_signed_in() {
    assert!(asking(case(), &[]).refusal().starts_with("EvidenceMissing: the sign-in of 'dev' has no 'jitrbac.dev/amr'"));
    assert!(asking(case(), &[]).requester(shows(dev(), &["pwd"])).refusal().starts_with("EvidenceMismatch: "));
    assert_eq!(asking(case(), &[]).requester(shows(dev(), &["pwd", "mfa"])).state(), State::Active);
    assert_eq!(asking(case(), &[Party::Approver]).state(), State::Active, "the requester needs none");
}

#[test]
fn t09_inv_07_an_approval_without_evidence_does_not_count() {
    let case = || asking(two_eyes(), &[Party::Approver]);
    assert_eq!(case().approves(&lead(1), 5).now(6).state(), State::AwaitingApproval);
    assert_eq!(case().approves(&shows(lead(1), &["mfa"]), 5).now(6).state(), State::Active);
    let bare = case().decision(Verb::Approve, &lead(1), 5);
    assert!(case().admits(&bare).unwrap_err().starts_with("EvidenceMissing: the sign-in of 'lead-1' has no 'jitrbac.dev/amr'"));
    assert_eq!(case().says(Verb::Deny, &lead(1), 5).state(), State::Denied, "a no needs none");
    let both = asking(two_eyes(), &[Party::Requester, Party::Approver]).requester(shows(dev(), &["mfa"]));
    assert_eq!(both.clone().approves(&shows(lead(1), &["mfa"]), 5).now(6).state(), State::Active);
    assert_eq!(both.approves(&lead(1), 5).now(6).state(), State::AwaitingApproval);
}

#[test]
fn t14_a_ticket_is_asked_for() {
    let rule = TicketRule { required: true, system: None, pattern: Some(line("INC-[0-9]+")) };
    let case = case().policy(|p| p.requirements = Some(Requirements { ticket: Some(rule), ..Requirements::default() }));
    assert!(case.refusal().starts_with("TicketMissing: "));
    let with = |number: &str| case.clone().request(|r| r.ticket = Some(api::request::Ticket { system: None, number: Some(line(number)) }));
    assert_eq!(with("INC-1").state(), State::Active);
    assert!(with("see INC-1").refusal().starts_with("TicketMismatch: "));
}
