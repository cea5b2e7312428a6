//! Who has approved, and whether the approvals suffice (api rules 4 and 5).

use super::*;
use domain::approval::{Progress, progress};

fn counted(case: &TestCase) -> Progress {
    let Snapshot { request, policy, decisions, .. } = &case.snapshot;
    let requester = request.object.spec.requester.as_ref().unwrap();
    progress(request, requester, policy.found().unwrap(), decisions, &case.digest(), &case.settings.identities)
}

/// Names of the approvers who count, and when the approval was complete.
fn who(case: &TestCase) -> (Vec<String>, Option<Timestamp>) {
    let progress = counted(case);
    (progress.counted.iter().map(|c| c.approver.username.to_string()).collect(), progress.complete_at)
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

fn of_two() -> TestCase {
    case().stages(vec![stage("lead", 2, &["group leads"])])
}

fn two_stages() -> TestCase {
    case().stages(vec![stage("lead", 1, &["group leads"]), stage("security", 1, &["sec-1", "group security"])])
}

#[test]
fn automatic_is_approved_when_it_was_made() {
    let case = case();
    let progress = counted(&case);
    assert_eq!((progress.complete_at, progress.counted.len(), progress.awaiting), (Some(at(0)), 0, None));
}

#[test]
fn a_stage_waits_for_its_people() {
    let waiting = of_two();
    assert_eq!(
        waiting.told(),
        "AwaitingApproval WaitingForApproval: waiting for approval in stage 'lead': 0 of 2 (approvers: group leads), expires at \
         2026-11-03T10:00:00Z"
    );
    let verdict = waiting.clone().approves(&lead(1), 10).decide();
    let awaiting = verdict.awaiting.unwrap();
    assert_eq!((awaiting.stage.as_str(), awaiting.have, awaiting.required, awaiting.deadline), ("lead", 1, 2, at(86_400)));
    assert_eq!(awaiting.approvers, people(&["group leads"]));
    assert_eq!(verdict.look_again, Some(at(86_400)));
    let approved = waiting.approves(&lead(1), 10).approves(&lead(2), 20).now(21);
    assert_eq!(approved.grant().start, at(20), "the last of them started it");
    assert_eq!(approved.decide().awaiting, None);
    let records: Vec<_> =
        approved.decide().counted.into_iter().map(|c| (c.record.stage.to_string(), c.record.approver.to_string(), c.record.time)).collect();
    assert_eq!(records, [("lead".to_owned(), "lead-1".to_owned(), at(10)), ("lead".to_owned(), "lead-2".to_owned(), at(20))]);
}

#[test]
fn stages_one_after_the_other() {
    let case = two_stages().approves(&lead(1), 10);
    assert_eq!(
        case.told(),
        "AwaitingApproval WaitingForApproval: waiting for approval in stage 'security': 0 of 1 (approvers: sec-1, group security), expires \
         at 2026-11-03T10:00:00Z"
    );
    assert_eq!(case.approves(&person("sec-1", &[]), 20).now(20).grant().start, at(20));
    // Refused at admission. If stored, it counts once the stage before it is complete.
    let early = two_stages().approves(&person("sec-1", &[]), 10);
    assert_eq!(early.decide().awaiting.unwrap().stage.as_str(), "lead");
    assert_eq!(early.approves(&lead(1), 30).now(30).grant().start, at(30));
}

#[test]
fn t05_a_person_counts_once_and_only_in_his_first_stage() {
    let twice = of_two().approves(&lead(1), 10).approves(&lead(1), 20).approves(&lead(1), 30);
    assert_eq!(who(&twice), (names(&["lead-1"]), None));
    let both = person("sec-1", &["leads"]);
    let alone = two_stages().approves(&both, 10).approves(&both, 20);
    assert_eq!(who(&alone), (names(&["sec-1"]), None));
    assert_eq!(alone.decide().awaiting.unwrap().stage.as_str(), "security");
    // Two user names of one person, each listed in another stage.
    let mut aliased = two_stages();
    aliased.settings.identities = Identities::new(&[], &[("sec-1".to_owned(), "lead-1".to_owned())].into());
    let aliased = aliased.approves(&person("sec-1", &[]), 5).approves(&lead(1), 10);
    assert_eq!(who(&aliased), (names(&["lead-1"]), None));
    assert_eq!(who(&aliased.approves(&person("sec-2", &["security"]), 20)), (names(&["lead-1", "sec-2"]), Some(at(20))));
}

#[test]
fn t06_whoever_is_not_listed_does_not_count() {
    for outsider in [
        person("mallory", &[]),
        person("mallory", &["lead"]),
        person("leads", &[]),
        person("group leads", &[]),
        person("system:admin", &["leads"]),
        person("system:anonymous", &["leads"]),
        person("", &["leads"]),
    ] {
        assert_eq!(who(&two_eyes().approves(&outsider, 10)), (Vec::new(), None), "{outsider:?}");
    }
    let mut nobody = two_eyes().approves(&lead(1), 10);
    nobody.snapshot.decisions[0].spec.decider = None;
    assert_eq!(who(&nobody), (Vec::new(), None));
    assert_eq!(who(&two_eyes().stages(Vec::new()).approves(&lead(1), 10)), (Vec::new(), None), "no stage is no approval");
}

#[test]
fn t04_service_accounts_approve_only_by_name() {
    let bot = person("system:serviceaccount:ci:bot", &["leads"]);
    assert_eq!(who(&two_eyes().approves(&bot, 10)), (Vec::new(), None), "not by a group");
    let listed = case().stages(vec![stage("lead", 1, &["system:serviceaccount:ci:bot"])]);
    assert_eq!(who(&listed.approves(&bot, 10)).1, Some(at(10)));
}

#[test]
fn t04_nobody_approves_his_own_request() {
    let identities = Identities::new(&["oidc:".to_owned(), "cert:".to_owned()], &[("dev-admin".to_owned(), "dev".to_owned())].into());
    let is_requester = |requester: &Stamp, approver: &Stamp| {
        let mut case = two_eyes().requester(requester.clone());
        case.settings.identities = identities.clone();
        who(&case.approves(approver, 10)).1.is_none()
    };
    let plain = dev();
    for (requester, approver) in [
        (plain.clone(), person("dev", &["leads"])),
        (plain.clone(), person("DEV", &["leads"])),
        (plain.clone(), person("oidc:dev", &["leads"])),
        (person("oidc:dev", &["devs"]), person("cert:Dev", &["leads"])),
        (plain.clone(), person("dev-admin", &["leads"])),
        (plain.clone(), person("cert:DEV-Admin", &["leads"])),
        (plain.clone(), person("\u{ff44}\u{ff45}\u{ff56}", &["leads"])),
        (uid(plain.clone(), "u1"), uid(person("lead-1", &["leads"]), "u1")),
    ] {
        assert!(is_requester(&requester, &approver), "{requester:?} {approver:?}");
    }
    assert!(!is_requester(&uid(plain.clone(), "u1"), &uid(lead(1), "u2")));
    assert!(!is_requester(&uid(plain.clone(), ""), &uid(lead(1), "")), "an empty UID is none");
    assert!(!is_requester(&plain, &person("developer", &["leads"])));
    // dev (u1) is oidc:dev (u2) by name, who is lead-1 (u2) by UID.
    let mut chain = two_eyes().requester(uid(plain, "u1"));
    chain.settings.identities = identities;
    let linked = chain.approves(&uid(person("oidc:dev", &[]), "u2"), 10).approves(&uid(lead(1), "u2"), 10);
    assert_eq!(who(&linked), (Vec::new(), None));
    assert_eq!(who(&linked.approves(&lead(2), 20)), (names(&["lead-2"]), Some(at(20))));
}

#[test]
fn t05_two_identities_of_one_approver_are_one() {
    for (first, second) in
        [(lead(1), person("LEAD-1", &["leads"])), (uid(lead(1), "u1"), uid(lead(2), "u1")), (lead(1), person("ｌｅａｄ-1", &["leads"]))]
    {
        let case = of_two().approves(&first, 10).approves(&second, 20);
        assert_eq!(who(&case).1, None, "{first:?} {second:?}");
    }
    // lead-1 (u1), LEAD-1 (u2) and lead-2 (u2) are one person, and lead-3 is the second.
    let chain =
        of_two().approves(&uid(lead(1), "u1"), 10).approves(&uid(lead(2), "u2"), 20).approves(&uid(person("LEAD-1", &["leads"]), "u2"), 20);
    assert_eq!(who(&chain), (names(&["lead-1"]), None));
    assert_eq!(who(&chain.approves(&lead(3), 30)).1, Some(at(30)));
}

#[test]
fn f15_t02_t03_an_approve_is_for_one_object_as_it_was_seen() {
    let with = |change: &dyn Fn(&mut ActivationDecisionSpec)| {
        let mut case = two_eyes().approves(&lead(1), 10);
        change(&mut case.snapshot.decisions[0].spec);
        counted(&case)
    };
    let digest = two_eyes().digest().to_string();
    let hex = digest.strip_prefix("sha256:").unwrap();
    for shown in [digest.as_str(), hex] {
        assert!(with(&|d| d.digest = Some(shown.to_owned())).complete_at.is_some(), "{shown}");
    }
    let other = case().digest().to_string();
    for shown in [
        "",
        "sha256:",
        &hex[..15],
        &hex[..16],
        &digest[..23],
        &hex[..63],
        &digest[..70],
        &hex[1..],
        &format!("{hex}0"),
        &other,
        &hex.to_uppercase(),
        &format!("sha256:{digest}"),
    ] {
        let progress = with(&|d| d.digest = Some(shown.to_owned()));
        assert!(progress.complete_at.is_none() && progress.stale, "{shown}");
    }
    assert!(with(&|d| d.digest = None).complete_at.is_none());
    assert!(with(&|d| d.request_ref.uid = None).complete_at.is_none());
    assert!(with(&|d| d.request_ref.uid = Some("another".to_owned())).complete_at.is_none());
    assert!(with(&|d| d.request_ref.name = "another".to_owned()).complete_at.is_none());
    assert!(with(&|d| d.decision = Verb::Review).complete_at.is_none());
}

#[test]
fn t16_an_edited_policy_makes_approvals_stale_and_they_can_be_given_again() {
    let stale = two_eyes().approves(&lead(1), 10).policy(|p| p.revokers = Some(people(&["sec-1"]))).now(20);
    assert_eq!(
        stale.told(),
        "AwaitingApproval WaitingForApproval: waiting for approval in stage 'lead': 0 of 1 (approvers: group leads), expires at \
         2026-11-03T10:00:00Z; an earlier approval no longer counts because what it approved has changed"
    );
    let again = stale.approves(&lead(1), 30).now(31);
    assert_eq!(again.grant().start, at(30));
}

#[test]
fn timeout_at_the_second() {
    let case = |timeout: Option<&str>| two_eyes().policy(|p| p.approval.timeout = timeout.map(lasting));
    assert_eq!(case(Some("1h")).now(3_599).state(), State::AwaitingApproval);
    assert_eq!(case(Some("1h")).now(3_600).told(), "TimedOut ApprovalTimedOut: the approval timed out at 2026-11-02T11:00:00Z");
    assert_eq!(case(None).now(86_399).state(), State::AwaitingApproval, "absent is a day");
    assert_eq!(case(None).now(86_400).state(), State::TimedOut);
    // An approval in time counts, however late it is evaluated. A later approval never counts.
    let approved = |seconds: i64| case(Some("1h")).approves(&lead(1), seconds).now(3_650).decide();
    assert_eq!(approved(3_599).grant.map(|g| (g.start, g.deadline)), Some((at(3_599), at(3_599 + 2_700))));
    assert_eq!(approved(3_600).state, State::TimedOut);
    assert_eq!(approved(3_601).state, State::TimedOut);
}

#[test]
fn approvers_shorten_and_the_least_holds() {
    let shorter = |case: TestCase, who: &Stamp, seconds: i64, duration: &str| {
        let mut decision = case.decision(Verb::Approve, who, seconds);
        decision.spec.duration = Some(lasting(duration));
        case.said(decision)
    };
    let least = |case: &TestCase| {
        let grant = case.clone().now(60).grant();
        grant.deadline.duration_since(grant.start)
    };
    let case = shorter(of_two(), &lead(1), 10, "30m");
    assert_eq!(least(&case.clone().approves(&lead(2), 20)), SignedDuration::from_mins(30));
    assert_eq!(least(&shorter(case.clone(), &lead(2), 20, "20m")), SignedDuration::from_mins(20));
    assert_eq!(least(&shorter(case.clone(), &lead(2), 20, "40m")), SignedDuration::from_mins(30));
    // The lower value came earlier.
    assert_eq!(least(&shorter(shorter(case.clone(), &lead(1), 15, "10m"), &lead(2), 20, "40m")), SignedDuration::from_mins(10));
    // A decision after the complete approval changes nothing: a grant that is made again is the same.
    let complete = case.approves(&lead(2), 20);
    for who in [lead(1), lead(2), lead(3)] {
        assert_eq!(least(&shorter(complete.clone(), &who, 21, "10m")), SignedDuration::from_mins(30), "{who:?}");
    }
    assert_eq!(
        least(&shorter(of_two().approves(&lead(1), 1), &lead(2), 2, "2h")),
        SignedDuration::from_mins(45),
        "longer is no longer than asked"
    );
    // An approval that shortens below the policy's minimum does not count.
    let bounded = of_two().policy(|p| p.limits.get_or_insert_default().min_duration = Some(lasting("5m")));
    assert_eq!(who(&shorter(bounded.clone(), &lead(1), 10, "4m59s")), (Vec::new(), None));
    assert_eq!(who(&shorter(bounded, &lead(1), 10, "5m")).0, names(&["lead-1"]));
    assert_eq!(who(&shorter(of_two(), &lead(1), 10, "0s")), (Vec::new(), None));
}

#[test]
fn t34_what_is_said_later_moves_no_start_and_no_end() {
    // lead-1 is listed in the second stage under another name. That approval completed the second stage.
    let mut case = two_stages();
    case.settings.identities = Identities::new(&[], &[("sec-1".to_owned(), "lead-1".to_owned())].into());
    let complete = case.approves(&person("sec-1", &[]), 10).approves(&lead(2), 20);
    let grant = complete.clone().now(20).grant();
    // If lead-1 moved to the first stage now, the second would be complete only at 40, and the end later.
    let more = complete.approves(&lead(1), 30).approves(&person("sec-2", &["security"]), 40).now(50);
    assert_eq!(more.grant(), grant);
}

#[test]
fn a_comment_where_the_policy_asks_for_one() {
    let with = |comment: Option<&str>| {
        let mut case = two_eyes().policy(|p| p.approval.require_comment = true).approves(&lead(1), 10);
        case.snapshot.decisions[0].spec.comment = comment.map(line);
        who(&case).1
    };
    assert_eq!((with(None), with(Some("")), with(Some("  "))), (None, None, None));
    assert_eq!(with(Some("go ahead")), Some(at(10)));
}

#[test]
fn order_of_the_list_does_not_matter() {
    let mut case = of_two().approves(&lead(2), 20).approves(&lead(1), 10).approves(&lead(3), 30).approves(&lead(1), 10);
    case.snapshot.decisions[3].spec.comment = Some(line("said twice in one second"));
    let told = case.decide();
    assert_eq!(who(&case), (names(&["lead-1", "lead-2"]), Some(at(20))));
    case.snapshot.decisions.reverse();
    assert_eq!(case.decide(), told);
}
