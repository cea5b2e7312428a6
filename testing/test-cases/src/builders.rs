//! The parts of a test case: objects, users and times. They are total for what tests pass, and panic for text that no field accepts.

use api::{Duration, Line, People, RoleActivationRequestSpec, Stamp, State, Subject, SubjectKind, eligibility::NameRef, policy::Stage};
use domain::{BindingFacts, Grant, Object, Peer, Record, digest::Digest, role::Rule};
use jiff::{SignedDuration, Timestamp};

/// The UID of the request.
pub const REQUEST_UID: &str = "0b9f5f6e-3f2a-4c7e-9f58-0f8f8f1b2c3d";
/// The name of its binding.
pub const BINDING: &str = "jit-0b9f5f6e-3f2a-4c7e-9f58-0f8f8f1b2c3d";
/// The creation time of the request: 2026-11-02T10:00:00Z.
const CREATED: i64 = 1_793_613_600;

/// The instant so many seconds after the request's creation, or its creation if no clock reaches that instant.
pub fn at(seconds: i64) -> Timestamp {
    let created = Timestamp::from_second(CREATED).unwrap();
    created.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(created)
}

/// The text of a field.
pub fn line<const MAX: usize>(text: &str) -> Line<MAX> {
    Line::try_from(text.to_owned()).unwrap()
}

/// A duration, for example `45m`.
pub fn lasting(text: &str) -> Duration {
    text.parse().unwrap()
}

/// A user with groups.
pub fn person(username: &str, groups: &[&str]) -> Stamp {
    Stamp { username: line(username), groups: groups.iter().map(|g| line(g)).collect(), ..Stamp::default() }
}

/// `who` with a UID.
pub fn uid(who: Stamp, uid: &str) -> Stamp {
    Stamp { uid: Some(line(uid)), ..who }
}

/// The requester of the default test case.
pub fn dev() -> Stamp {
    person("dev", &["devs"])
}

/// An approver of [`two_eyes`](crate::two_eyes), by number.
pub fn lead(number: usize) -> Stamp {
    person(&format!("lead-{number}"), &["leads"])
}

/// People as `["lead-1", "group leads"]`.
pub fn people(words: &[&str]) -> People {
    let (groups, users): (Vec<&str>, Vec<&str>) = words.iter().partition(|word| word.starts_with("group "));
    People {
        users: users.iter().map(|u| line(u)).collect(),
        groups: groups.iter().filter_map(|g| g.strip_prefix("group ")).map(line).collect(),
    }
}

/// A stage of an approval, with approvers as in [`people`].
pub fn stage(name: &str, required: i32, approvers: &[&str]) -> Stage {
    Stage { name: line(name), approvers: people(approvers), required: Some(required) }
}

/// A subject of an eligibility; service accounts are in the namespace `ci`.
pub fn subject(kind: SubjectKind, name: &str) -> Subject {
    let namespace = (kind == SubjectKind::ServiceAccount).then(|| "ci".to_owned());
    Subject { kind, name: line(name), namespace, uid: None }
}

/// A stored object.
pub fn object<S>(name: &str, uid: &str, created: Timestamp, spec: S) -> Object<S> {
    Object { name: name.to_owned(), uid: uid.to_owned(), created, deleting: false, generation: 1, checked: None, owed: None, spec }
}

/// A rule of a role, for the API group `apps`.
pub fn rule(verbs: &[&str], resources: &[&str]) -> Rule {
    let list = |words: &[&str]| words.iter().map(ToString::to_string).collect();
    Rule { api_groups: list(&["apps"]), resources: list(resources), verbs: list(verbs), ..Rule::default() }
}

/// Another request for the same eligibility and namespace, as a peer.
pub fn peer(name: &str, uid: &str, created: Timestamp, who: Stamp, state: Option<State>) -> Peer {
    let spec = RoleActivationRequestSpec {
        eligibility_ref: NameRef { name: "payments-oncall".to_owned() },
        requester: Some(who.clone()),
        ..RoleActivationRequestSpec::default()
    };
    Peer {
        namespace: "payments".to_owned(),
        object: object(name, uid, created, spec),
        requester: who,
        policy: Some("two-eyes".to_owned()),
        record: Record { state, ..Record::default() },
    }
}

/// The binding that a grant creates.
pub fn stored(grant: &Grant) -> BindingFacts {
    BindingFacts {
        uid: "binding-uid".to_owned(),
        managed: true,
        annotations: grant.annotations(),
        subjects: vec![grant.subject.clone()],
        role_kind: grant.role.kind.to_string(),
        role_name: grant.role.name.clone(),
    }
}

/// The digest that a decision names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// That of the access that would be granted.
    Present,
    /// The beginning of it.
    Short,
    /// That of another access.
    Stale,
    /// None.
    Nothing,
    /// Any text.
    Text(String),
}

impl Shown {
    /// Returns the digest that is named; `present` is that of the access that would be granted.
    pub fn digest(&self, present: Option<&Digest>) -> Option<String> {
        match self {
            Self::Present => present.map(ToString::to_string),
            Self::Short => present.map(|digest| digest.as_str().chars().take(23).collect()),
            Self::Stale => Some(format!("sha256:{}", "0".repeat(64))),
            Self::Nothing => None,
            Self::Text(text) => Some(text.clone()),
        }
    }
}
