//! Where a question goes: by kind and operation to those who stamp and those who review.

use std::{collections::BTreeMap, sync::Arc};

use kube::{
    Client, Resource,
    core::{DynamicObject, admission::Operation},
};
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

use super::{
    answer::{Answer, Asked},
    class::Class,
    fair::{Fair, Permits},
    stamp,
};
use crate::{config::Config, gather::surroundings::World, http_server::Peer};
use api::{names, text::printable};
use domain::{
    Refusal, Settings,
    size::{self, Size},
};

/// Permits for what is read and examined at the same time; the others wait within their time (T26). An ordinary review takes one
/// permit, a large one more, so that all of them together have a bound in memory and not only in number. One address may have half of them.
const PERMITS: u32 = 128;
/// Permits for reviews of what admins write. They ask the API server about rights up to hundreds of times, so they have permits of their
/// own: whoever sends many of them keeps no request and no decision waiting.
const AUTHORS_PERMITS: u32 = 32;
/// Most permits that one review takes.
const MOST_PERMITS: u32 = 16;
/// Most questions about rights that are on their way to the API server at the same time, whoever writes.
pub(super) const QUESTIONS: usize = 16;

/// Lists of decisions that are read at the same time. Each of them is held until the answer is known.
const LISTS: usize = 8;

/// Which of the two webhooks asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The mutating one: what is to be written into the object?
    Mutate,
    /// The validating one: may the object be stored?
    Validate,
}

/// One of our kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Request,
    Decision,
    Eligibility,
    Policy,
}

impl Phase {
    /// The word for it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Mutate => "mutate",
            Self::Validate => "validate",
        }
    }
}

impl Kind {
    fn of(asked: &Asked) -> Option<Self> {
        if asked.resource.group != names::GROUP {
            return None;
        }
        match asked.resource.resource.as_str() {
            "roleactivationrequests" => Some(Self::Request),
            "activationdecisions" => Some(Self::Decision),
            "roleeligibilities" => Some(Self::Eligibility),
            "approvalpolicies" => Some(Self::Policy),
            _ => None,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "RoleActivationRequest",
            Self::Decision => "ActivationDecision",
            Self::Eligibility => "RoleEligibility",
            Self::Policy => "ApprovalPolicy",
        }
    }
}

/// The kind that a question is about, as one of a few words: who asks may write anything there.
pub(super) fn kind_of(asked: &Asked) -> &'static str {
    Kind::of(asked).map_or(UNKNOWN, Kind::as_str)
}

/// What is said of a kind that is none of ours or cannot be read.
pub(super) const UNKNOWN: &str = "Unknown";

/// Who answers: reads, asks the rules and writes nothing (invariant 18).
pub struct Desk {
    pub(super) client: Client,
    pub(super) world: Arc<World>,
    pub(super) settings: Settings,
    /// User name of the controller, whose right to bind a role counts.
    pub(super) operator: String,
    people: Fair,
    authors: Fair,
    /// One for each question about rights that is on its way.
    pub(super) questions: Semaphore,
    /// For lists of decisions, the longest that admission reads.
    pub(super) lists: Semaphore,
}

impl Desk {
    /// Answers by what `world` knows and what `client` reads.
    #[must_use]
    pub fn new(client: Client, world: Arc<World>, config: &Config) -> Self {
        Self {
            client,
            world,
            settings: config.settings(),
            operator: config.operator(),
            people: Fair::new(PERMITS, PERMITS / 2),
            authors: Fair::new(AUTHORS_PERMITS, AUTHORS_PERMITS / 2),
            questions: Semaphore::new(QUESTIONS),
            lists: Semaphore::new(LISTS),
        }
    }

    /// The permits of a review of this class and size, from before it is read until it is answered.
    pub(super) async fn permits(&self, class: Class, peer: Option<Peer>, permits: u32) -> Permits<'_> {
        let fair = match class {
            Class::People => &self.people,
            Class::Authors => &self.authors,
        };
        fair.acquire(peer, permits.min(MOST_PERMITS)).await
    }

    /// The answer to one question, when it is its turn. It takes as long as the API server does; the caller bounds it.
    pub async fn examine(&self, phase: Phase, asked: &Asked) -> Answer {
        let Some(kind) = Kind::of(asked) else {
            return Answer::Unexamined(format!("jit-rbac's webhook does not know '{}.{}'", asked.resource.resource, asked.resource.group));
        };
        let main_resource = asked.sub_resource.as_ref().is_none_or(String::is_empty);
        let writes = matches!(asked.operation, Operation::Create | Operation::Update);
        if !main_resource || !writes {
            return Answer::allowed();
        }
        let Some(object) = &asked.object else {
            return Answer::Malformed("there is no object".to_owned());
        };
        if asked.namespace.as_ref().is_some_and(|namespace| !namespace.is_empty() && !names::is_object_name(namespace)) {
            return Answer::Malformed("metadata.namespace is no name".to_owned());
        }
        let write = match (&asked.operation, &asked.old_object) {
            (Operation::Update, None) => return Answer::Malformed("there is no object before the change".to_owned()),
            (Operation::Update, Some(old)) => Write { asked, object, old: Some(old) },
            _ => Write { asked, object, old: None },
        };
        if let Err(refusal) = write.size(kind) {
            return refusal.into();
        }
        // On the heap: each of them holds several calls to the API server at once.
        let answer = match (phase, kind) {
            (Phase::Mutate, Kind::Request) => Box::pin(self.stamp_request(&write)).await,
            (Phase::Mutate, Kind::Decision) => Box::pin(self.stamp_decision(&write)).await,
            (Phase::Mutate, Kind::Eligibility) => Box::pin(self.stamp_author_of_eligibility(&write)).await,
            (Phase::Mutate, Kind::Policy) => Box::pin(self.stamp_author_of_policy(&write)).await,
            (Phase::Validate, Kind::Request) => Box::pin(self.review_request(&write)).await,
            (Phase::Validate, Kind::Decision) => Box::pin(self.review_decision(&write)).await,
            (Phase::Validate, Kind::Eligibility) => Box::pin(self.review_eligibility(&write)).await,
            (Phase::Validate, Kind::Policy) => Box::pin(self.review_policy(&write)).await,
        };
        answer.unwrap_or_else(Answer::from)
    }
}

/// A creation, or a change where there is an old object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Write<'a> {
    /// The question.
    pub asked: &'a Asked,
    /// The object as it would be stored.
    pub object: &'a DynamicObject,
    /// The object before the change.
    pub old: Option<&'a DynamicObject>,
}

impl<'a> Write<'a> {
    /// The namespace of the object.
    pub fn namespace(&self) -> &'a str {
        self.asked.namespace.as_deref().unwrap_or_default()
    }

    /// User name of whoever writes.
    pub fn username(&self) -> &'a str {
        self.asked.user_info.username.as_deref().unwrap_or_default()
    }

    /// The object before an update that leaves the spec alone: labels and migrations of storage are nobody's grant.
    pub fn kept_spec(&self) -> Option<&'a DynamicObject> {
        self.old.filter(|old| stamp::same_spec(self.object, old))
    }

    /// The refusal of an object that is too large for its kind.
    fn size(&self, kind: Kind) -> Result<(), Refusal> {
        let most = match kind {
            Kind::Request | Kind::Decision => size::OF_A_RECORD,
            Kind::Eligibility | Kind::Policy => size::OF_A_RULE,
        };
        let before = self.old.map(measured);
        measured(self.object).within(&most, before.as_ref(), kind.as_str())
    }

    /// The object as one of its kind.
    pub fn typed<K: Resource + DeserializeOwned>(&self) -> Result<K, Answer> {
        self.object.clone().try_parse().map_err(|error| {
            let why = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            Answer::Malformed(format!("the object cannot be read: {}", printable(&why)))
        })
    }
}

/// What an object takes, with all that the API server has written into it so far.
fn measured(object: &DynamicObject) -> Size {
    let meta = &object.metadata;
    let annotations = meta.annotations.iter().flatten();
    let mut bytes = Counter::default();
    // Counting cannot fail.
    let _ = serde_json::to_writer(&mut bytes, object);
    Size {
        labels: meta.labels.as_ref().map_or(0, BTreeMap::len),
        annotations: meta.annotations.as_ref().map_or(0, BTreeMap::len),
        annotation_text: annotations.map(|(_, value)| value.chars().count()).sum(),
        owners: meta.owner_references.as_ref().map_or(0, Vec::len),
        finalizers: meta.finalizers.as_ref().map_or(0, Vec::len),
        managers: meta.managed_fields.as_ref().map_or(0, Vec::len),
        bytes: bytes.0,
    }
}

/// Counts what is written to it.
#[derive(Default)]
struct Counter(usize);

impl std::io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
