//! The binding with the request's name: absent, the grant's own, or another (api rules 8 and 10).

use super::*;

type Change = (&'static str, fn(&mut BindingFacts));

/// Every relevant difference of a binding, with the reported text.
fn differences() -> Vec<Change> {
    vec![
        ("its subjects", |b| b.subjects.clear()),
        ("its subjects", |b| b.subjects[0].name = "lead-1".to_owned()),
        ("its subjects", |b| b.subjects[0].kind = "Group".to_owned()),
        ("its subjects", |b| b.subjects[0].namespace = Some("payments".to_owned())),
        ("its subjects", |b| b.subjects.push(b.subjects[0].clone())),
        ("its roleRef", |b| b.role_name = "admin".to_owned()),
        ("its roleRef", |b| b.role_kind = "Role".to_owned()),
        ("its annotation jitrbac.dev/expires-at", |b| set(b, "expires-at", "2026-11-02T11:45:00Z")),
        ("its annotation jitrbac.dev/expires-at", |b| set(b, "expires-at", "2026-11-02T12:45:00+02:00")),
        ("its annotation jitrbac.dev/expires-at", |b| unset(b, "expires-at")),
        ("its annotation jitrbac.dev/request", |b| set(b, "request", "inc-4712")),
        ("its annotation jitrbac.dev/request", |b| unset(b, "request")),
        ("its annotation jitrbac.dev/digest", |b| set(b, "digest", "sha256:0")),
        ("its annotation jitrbac.dev/digest", |b| unset(b, "digest")),
        ("its annotation jitrbac.dev/requester", |b| set(b, "requester", "lead-1")),
        ("its annotation jitrbac.dev/requester", |b| unset(b, "requester")),
        ("its annotation jitrbac.dev/justification", |b| set(b, "justification", "something nicer")),
        ("its annotation jitrbac.dev/justification", |b| unset(b, "justification")),
        // The maximum duration of a chain counts from it.
        ("its annotation jitrbac.dev/started-at", |b| set(b, "started-at", "2026-11-02T10:30:00Z")),
        ("its annotation jitrbac.dev/started-at", |b| unset(b, "started-at")),
    ]
}

fn set(binding: &mut BindingFacts, key: &str, value: &str) {
    binding.annotations.insert(format!("jitrbac.dev/{key}"), value.to_owned());
}

fn unset(binding: &mut BindingFacts, key: &str) {
    binding.annotations.remove(&format!("jitrbac.dev/{key}"));
}

/// A crash between the creation of the binding and its record.
fn unrecorded(case: TestCase) -> TestCase {
    case.granted().record(|r| *r = Record::default())
}

#[test]
fn t34_a_binding_without_record_is_the_same_grant() {
    for case in [case(), two_eyes().approves(&lead(1), 5).now(5)] {
        let grant = case.grant();
        let crashed = unrecorded(case);
        let verdict = crashed.decide();
        assert_eq!((verdict.state, verdict.binding, verdict.grant), (State::Active, BindingAction::Keep, Some(grant)));
        assert_eq!(crashed.clone().now(9_999).decide().binding, BindingAction::Remove, "or none, if it has expired");
        // Foreign labels and annotations change nothing.
        let decorated = crashed.binding(|b| drop(b.annotations.insert("example.com/note".to_owned(), "x".to_owned())));
        assert_eq!(decorated.decide().binding, BindingAction::Keep);
    }
}

#[test]
fn t32_another_binding_is_never_adopted() {
    let conflict = |case: TestCase, difference: &str| {
        let message = format!("Failed BindingConflict: RoleBinding '{BINDING}' already exists and differs from the grant: {difference}");
        assert_eq!(case.told(), message);
        assert_eq!(case.decide().binding, BindingAction::Remove);
        assert_eq!(case.decide().grant, None);
    };
    for (what, change) in differences() {
        let are = if what.ends_with("subjects") { "differ" } else { "differs" };
        conflict(unrecorded(case()).binding(change), &format!("{what} {are}"));
    }
    conflict(unrecorded(case()).binding(|b| b.managed = false), "the label jitrbac.dev/managed is missing");
    conflict(unrecorded(case()).binding(|b| set(b, "namespace-uid", "another")), "its annotation jitrbac.dev/namespace-uid differs");
    // The same if something else would be granted now.
    conflict(
        unrecorded(case()).change(|c| {
            let Lookup::Found(role) = &mut c.snapshot.role else { panic!() };
            role.uid = "recreated".to_owned();
        }),
        "its annotation jitrbac.dev/digest differs",
    );
}

#[test]
fn t34_a_binding_that_nothing_would_be_granted_for_goes() {
    let left = |case: TestCase| {
        let stray = super::case().granted().snapshot.binding;
        case.change(|c| c.snapshot.binding = stray)
    };
    for (case, state) in [
        (left(two_eyes()), State::AwaitingApproval),
        (left(two_eyes()).now(90_000), State::TimedOut),
        (left(two_eyes()).says(Verb::Deny, &lead(1), 5), State::Denied),
        (left(case()).says(Verb::Deactivate, &dev(), 5), State::Withdrawn),
        (left(case()).eligibility(|e| e.suspended = true), State::Denied),
        (left(case()).change(|c| c.snapshot.policy = Lookup::Absent), State::Pending),
        (left(case()).change(|c| c.snapshot.role = Lookup::Unreadable(String::new())), State::Pending),
        (left(case()).record(|r| r.state = Some(State::Expired)), State::Expired),
    ] {
        let verdict = case.decide();
        assert_eq!((verdict.state, verdict.binding), (state, BindingAction::Remove), "{verdict:?}");
    }
}

#[test]
fn a_binding_that_nobody_looked_for_is_created() {
    for binding in [Binding::Absent, Binding::Unread] {
        assert_eq!(case().change(|c| c.snapshot.binding = binding).decide().binding, BindingAction::Create);
    }
}

#[test]
fn t27_an_altered_binding_ends_its_grant() {
    let altered = |case: TestCase, what: &str| {
        assert_eq!(case.told(), format!("Revoked BindingModified: RoleBinding '{BINDING}' was modified by another client: {what}"));
        assert_eq!(case.decide().binding, BindingAction::Remove);
    };
    for (what, change) in differences() {
        let were = if what.ends_with("subjects") { "were changed" } else { "was changed" };
        altered(case().granted().binding(change), &format!("{what} {were}"));
    }
    altered(case().granted().binding(|b| b.managed = false), "its label jitrbac.dev/managed was removed");
    altered(case().granted().binding(|b| b.uid = "another".to_owned()), "it was replaced by another of the same name");
    let decorated = case().granted().binding(|b| drop(b.annotations.insert("example.com/note".to_owned(), "x".to_owned())));
    assert_eq!(decorated.state(), State::Active, "foreign annotations are let be");
    let silent = case().request(|r| r.justification = None).granted();
    assert_eq!(silent.state(), State::Active, "no justification is an empty one");
}

#[test]
fn a_removed_binding_stays_removed() {
    let removed = case().granted().change(|c| c.snapshot.binding = Binding::Absent);
    assert_eq!(removed.told(), format!("Revoked BindingRemoved: RoleBinding '{BINDING}' was removed by another client before its end"));
    let recorded = removed.clone().apply(&removed.decide());
    assert_eq!((recorded.state(), recorded.decide().grant), (State::Revoked, None));
    assert_eq!(removed.now(2_700).state(), State::Expired, "at its time it would have gone anyway");
}

#[test]
fn t35_what_another_replica_ends_by_a_clock_that_is_a_moment_ahead_has_expired() {
    let gone = |seconds| case().granted().change(|c| c.snapshot.binding = Binding::Absent).now(seconds);
    assert_eq!(gone(2_694).state(), State::Revoked);
    let early = gone(2_695).decide();
    assert_eq!((early.state, early.binding, early.look_again), (State::Active, BindingAction::Keep, Some(at(2_700))));
    assert_eq!(gone(2_700).told(), "Expired Expired: expired at 2026-11-02T10:45:00Z");
}

#[test]
fn t33_a_deadline_reads_what_it_writes() {
    let deadline = |text: &str| {
        let annotations = [("jitrbac.dev/expires-at".to_owned(), text.to_owned())].into();
        domain::binding::deadline_of(&annotations)
    };
    assert_eq!(deadline("2026-11-02T10:45:00Z"), Some(at(2_700)));
    assert_eq!(deadline("2026-11-02T12:45:00+02:00"), Some(at(2_700)));
    for text in ["", "never", "2026-11-02", "2026-11-02T10:45:00", "1793616300", "2026-13-02T10:45:00Z"] {
        assert_eq!(deadline(text), None, "{text}");
    }
    assert_eq!(domain::binding::deadline_of(&std::collections::BTreeMap::new()), None);
}
