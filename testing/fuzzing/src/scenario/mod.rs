//! Snapshots as lines of words, so that a file of the corpus is readable and a mutation of it still has a meaning.
//!
//! A line is about one object: `now`, `settings`, `request`, `eligibility`, `policy`, `role`, `namespace`, `says` (a decision), `peer`,
//! `base`, `record`, `binding`, `guards`. The rest of it are `key=value` pairs and flags. By default, `dev` of the group `devs` requests
//! `edit` in `payments` for 45 minutes, and no approval is needed. Unknown words are ignored. Instants are seconds after the request's
//! creation, for example `+60` or `-3600`.

mod admins;
mod people;
mod stored;
mod words;

use std::sync::Arc;

use api::{
    ActivationDecisionSpec, ApprovalPolicySpec, Duration, Line, People, RoleActivationRequestSpec, RoleEligibilitySpec, Stamp, Subject,
    SubjectKind, Verb,
    decision::RequestRef,
    eligibility::{NameRef, Namespaces, RoleKind, RoleRef},
    instant::{self, whole_seconds},
    policy::{Approval, Automatic},
};
use domain::{
    Binding, Deletion, Guards, Lookup, NamespaceFacts, Object, Record, RequestFacts, RoleFacts, Settings, Snapshot, Unread, Verdict,
    decide,
    digest::Digest,
    person::Identities,
    role::{Rule, Rules},
    settings::GuardedLabels,
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};

pub use stored::bound;
pub use words::WORDS;

/// UID of the request.
const REQUEST_UID: &str = "0b9f5f6e-3f2a-4c7e-9f58-0f8f8f1b2c3d";

/// Maximum number of anything that can be repeated, so that the check stays fast.
const MOST: usize = 12;

/// The input of one decision.
#[derive(Clone, Debug)]
pub struct World {
    pub snapshot: Snapshot,
    pub settings: Settings,
    pub now: Timestamp,
}

/// Returns the instant this many seconds after the request's creation.
pub fn at(seconds: i64) -> Timestamp {
    let made = Timestamp::from_second(1_793_613_600).unwrap();
    made.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(made)
}

/// Parses `+60`, `-3600`, or an RFC 3339 instant. RFC 3339 ends with the year 9999, which no grant reaches.
fn instant(text: &str) -> Option<Timestamp> {
    let at = text.parse().map(at).ok().or_else(|| instant::parse(text));
    at.filter(|at| (1..9999).contains(&TimeZone::UTC.to_datetime(*at).year()))
}

/// Parses the text of a field; blanks are written as `_`.
fn line<const MAX: usize>(text: &str) -> Option<Line<MAX>> {
    text.replace('_', " ").try_into().ok()
}

fn list<T>(text: &str, one: impl Fn(&str) -> Option<T>) -> Vec<T> {
    text.split(',').filter(|word| !word.is_empty()).take(MOST).filter_map(one).collect()
}

/// Parses `leads,@security`: users by name, groups with an `@`.
fn people(text: &str) -> People {
    let mut people = People::default();
    for word in text.split(',').filter(|word| !word.is_empty()).take(MOST) {
        match word.strip_prefix('@') {
            Some(group) => people.groups.extend(line(group)),
            None => people.users.extend(line(word)),
        }
    }
    people
}

/// Parses a word of the API, such as a verb or a state.
fn word<T: serde::de::DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_value(text.into()).ok()
}

fn object<S>(name: &str, uid: &str, created: Timestamp, spec: S) -> Object<S> {
    Object { name: name.to_owned(), uid: uid.to_owned(), created, deleting: false, generation: 1, checked: None, owed: None, spec }
}

/// Returns the pairs of a line.
fn pairs(line: &str) -> impl Iterator<Item = (&str, &str)> {
    line.split_whitespace().skip(1).map(|word| word.split_once('=').unwrap_or((word, "")))
}

/// A decision before its request is known.
struct Said {
    spec: ActivationDecisionSpec,
    uid: String,
    seconds: Timestamp,
    shown: String,
}

impl World {
    /// Returns the snapshot that a text describes.
    pub fn read(text: &str) -> Self {
        let mut world = Self::usual();
        let (mut said, mut binding, mut record) = (Vec::new(), None, None);
        for line in text.lines().take(48) {
            match line.split_whitespace().next() {
                Some("now") => world.now = line.split_whitespace().nth(1).and_then(instant).unwrap_or(world.now),
                Some("settings") => world.settings(line),
                Some("request") => world.request(line),
                Some("eligibility") => world.eligibility(line),
                Some("policy") => world.policy(line),
                Some("role") => world.role(line),
                Some("namespace") => world.namespace(line),
                Some("says") if said.len() < MOST => said.push(people::said(line, said.len())),
                Some("peer") if world.snapshot.peers.len() < MOST => world.peer(line),
                Some("base") => world.base(line),
                Some("guards") => world.guards(line),
                Some("binding") => binding = Some(line),
                Some("record") => record = Some(line),
                _ => {}
            }
        }
        for said in said {
            world.hears(said);
        }
        // The access that was granted before, if any, so that binding and record can equal it or differ from it.
        let granted = world.decide();
        if let Some(line) = binding {
            world.binding(line, &granted);
        }
        if let Some(line) = record {
            world.record(line, &granted);
        }
        world
    }

    fn usual() -> Self {
        let eligibility = RoleEligibilitySpec {
            subjects: vec![Subject { kind: SubjectKind::Group, name: line("devs").unwrap(), namespace: None, uid: None }],
            role_ref: RoleRef { kind: RoleKind::ClusterRole, name: "edit".to_owned() },
            namespaces: Namespaces { names: vec!["payments".to_owned()], selector: None },
            policy_ref: NameRef { name: "two-eyes".to_owned() },
            default_duration: None,
            max_duration: Duration::from_hours(4),
            start_time: None,
            end_time: Some(at(30 * 86_400)),
            suspended: false,
            allow_service_accounts: false,
            accept_risks: Vec::new(),
            justification: None,
            description: None,
        };
        let approval = Approval { automatic: Some(Automatic {}), ..Approval::default() };
        let policy = ApprovalPolicySpec { approval, ..ApprovalPolicySpec::default() };
        let request = RoleActivationRequestSpec {
            eligibility_ref: NameRef { name: "payments-oncall".to_owned() },
            duration: Some(Duration::from_secs(45 * 60)),
            justification: line("INC-4711 checkout is slow"),
            requester: Some(Stamp { username: line("dev").unwrap(), groups: line("devs").into_iter().collect(), ..Stamp::default() }),
            ..RoleActivationRequestSpec::default()
        };
        let text = |word: &str| vec![word.to_owned()];
        let rule = Rule { api_groups: text("apps"), resources: text("deployments"), verbs: text("get"), ..Rule::default() };
        let rules = Arc::new(Rules::new([rule]));
        Self {
            snapshot: Snapshot {
                request: RequestFacts {
                    namespace: "payments".to_owned(),
                    object: object("inc-4711", REQUEST_UID, at(0), request),
                    record: Record::default(),
                },
                namespace: Lookup::Found(NamespaceFacts {
                    uid: "namespace-uid".to_owned(),
                    labels: [("team".to_owned(), "payments".to_owned())].into(),
                    labels_too_long: false,
                    terminating: false,
                }),
                eligibility: Lookup::Found(Arc::new(object("payments-oncall", "eligibility-uid", at(-86_400), eligibility))),
                policy: Lookup::Found(Arc::new(object("two-eyes", "policy-uid", at(-86_400), policy))),
                role: Lookup::Found(RoleFacts { kind: RoleKind::ClusterRole, name: "edit".to_owned(), uid: "role-uid".to_owned(), rules }),
                decisions: Vec::new(),
                unread: Unread::default(),
                peers: Vec::new(),
                debts: Vec::new(),
                base: None,
                binding: Binding::Absent,
                guards: Guards::Unasked,
            },
            settings: Settings {
                operator_namespace: "jit-system".to_owned(),
                max_grant: Duration::from_hours(24),
                identities: Identities::default(),
                system_namespaces: Vec::new(),
                guarded_labels: GuardedLabels::default(),
            },
            now: at(1),
        }
    }

    pub fn decide(&self) -> Verdict {
        decide(&self.snapshot, &self.settings, self.now)
    }

    /// Returns the same after a change.
    pub fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut other = self.clone();
        change(&mut other);
        other
    }

    /// Returns the digest of the access that would be granted; none where a part of it is missing.
    pub fn digest(&self) -> Option<Digest> {
        let Snapshot { request, namespace, eligibility, policy, role, .. } = &self.snapshot;
        Some(Digest::of(request, namespace.found()?, eligibility.found()?, policy.found()?, role.found()?))
    }

    /// Adds an Approve of the access that would be granted, just before now.
    pub fn approve(&mut self, who: Option<&Stamp>) {
        let mut said = people::said("says Approve", self.snapshot.decisions.len());
        (said.spec.decider, said.uid) = (who.cloned(), "approve".to_owned());
        self.hears(said);
    }

    fn hears(&mut self, Said { mut spec, uid, seconds, shown }: Said) {
        let present = || self.digest().map(|digest| digest.to_string());
        spec.digest = match shown.as_str() {
            "present" => present(),
            "short" => present().map(|digest| digest.chars().take(23).collect()),
            "stale" => Some(format!("sha256:{}", "0".repeat(64))),
            "none" => None,
            other => Some(other.to_owned()),
        };
        let request = &self.snapshot.request.object;
        if spec.request_ref.name.is_empty() {
            spec.request_ref.name.clone_from(&request.name);
        }
        spec.request_ref.uid.get_or_insert_with(|| request.uid.clone());
        // The API server's times are whole seconds.
        self.snapshot.decisions.push(object("said", &uid, whole_seconds(seconds), spec));
    }
}
