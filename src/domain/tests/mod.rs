//! Tests of the rules: tables for one rule each, with the exact messages, and properties over random test cases.
//!
//! They are tests of the crate's public items, so that they and the fuzz targets have their test cases from one crate, `test_cases`, which
//! depends on this one.

#![allow(
    clippy::assigning_clones,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_imports,
    reason = "all of it is a test"
)]

mod approval;
mod audit;
mod bounded;
mod checked;
mod deleting;
mod digest;
mod door;
mod eligibility;
mod emergencies;
mod endings;
mod evident;
mod extensions;
mod guarded;
mod justification;
mod lasting;
mod limits;
mod live;
mod missing;
mod notify;
mod people;
mod policies;
mod random;
mod role_changes;
mod roles;
mod stored_binding;
mod timelines;
mod usable;

use std::sync::Arc;

use api::{
    ActivationDecisionSpec, ApprovalPolicySpec, Duration, People, RoleActivationRequestSpec, RoleEligibilitySpec, Stamp, State, Subject,
    SubjectKind, Verb,
    decision::RequestRef,
    eligibility::{NameRef, Namespaces, RoleKind, RoleRef},
    policy::{Approval, Automatic, Stage},
    request::BindingRef,
};
use domain::{
    Binding, BindingAction, BindingFacts, Deletion, Grant, Guards, Lookup, NamespaceFacts, Object, Peer, Record, RequestFacts, RoleFacts,
    Settings, Snapshot, Unread, Verdict, admit_decision, decide,
    digest::Digest,
    person::Identities,
    role::{Rule, Rules},
};
use jiff::{SignedDuration, Timestamp};
use test_cases::{
    BINDING, REQUEST_UID, Shown, TestCase, at, case, dev, lasting, lead, line, object, peer, people, person, report, rule, stage, stored,
    subject, two_eyes, uid,
};

/// 256 cases, or the number in `PROPTEST_CASES`. A failure prints its scenario and writes no file.
fn config() -> proptest::test_runner::Config {
    proptest::test_runner::Config { failure_persistence: None, ..proptest::test_runner::Config::default() }
}

#[test]
fn t11_t21_what_is_granted() {
    let grant = case().grant();
    assert_eq!(grant.name, BINDING);
    assert_eq!((grant.namespace.as_str(), grant.namespace_uid.as_str()), ("payments", "namespace-uid"));
    assert_eq!((grant.start, grant.deadline), (at(0), at(45 * 60)));
    assert_eq!((grant.subject.kind.as_str(), grant.subject.name.as_str()), ("User", "dev"), "one person, never their group");
    assert_eq!(
        grant.annotations().into_iter().collect::<Vec<_>>(),
        [
            ("jitrbac.dev/digest", case().digest().as_str()),
            ("jitrbac.dev/expires-at", "2026-11-02T10:45:00Z"),
            ("jitrbac.dev/justification", "INC-4711 checkout is slow"),
            ("jitrbac.dev/namespace-uid", "namespace-uid"),
            ("jitrbac.dev/request", "inc-4711"),
            ("jitrbac.dev/requester", "dev"),
            ("jitrbac.dev/started-at", "2026-11-02T10:00:00Z"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
    );
    assert_eq!(case().told(), "Active Granted: ClusterRole 'edit' in namespace 'payments' until 2026-11-02T10:45:00Z");
}
