//! The admission handler: routes reviews by kind and operation to the functions that stamp or validate.

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
use crate::{config::Config, gather::caches::Caches};
use api::{names, text::printable};
use domain::{
    Refusal, Settings,
    size::{self, Size},
};
use process::http_server::Peer;

/// Permits for reviews that are parsed and examined concurrently; further ones wait within their time limit (T26). An ordinary review takes
/// one permit, and a large one more, so that all of them together are limited in memory and not only in number. One address can have half
/// of the permits.
const PERMITS: u32 = 128;
/// Permits for reviews of the kinds that admins write. Each can need hundreds of access reviews. Separate permits ensure that many of them
/// delay no request and no decision.
const AUTHORS_PERMITS: u32 = 32;
/// Most permits that one review takes.
const MOST_PERMITS: u32 = 16;
/// Most concurrent access reviews, for all writes together.
pub(super) const QUESTIONS: usize = 16;

/// Most lists of decisions that are read concurrently. Each stays in memory until the response is known.
const LISTS: usize = 8;

/// The webhook that is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The mutating webhook: which fields must be written?
    Mutate,
    /// The validating webhook: may the object be stored?
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
    /// Returns the name of the webhook.
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

/// Returns the kind of a review as one of a fixed set of words, since its sender can write any text there.
pub(super) fn kind_of(asked: &Asked) -> &'static str {
    Kind::of(asked).map_or(UNKNOWN, Kind::as_str)
}

/// Returns every word that [`kind_of`] returns.
pub(super) fn kinds() -> [&'static str; 5] {
    let [request, decision, eligibility, policy] = [Kind::Request, Kind::Decision, Kind::Eligibility, Kind::Policy].map(Kind::as_str);
    [request, decision, eligibility, policy, UNKNOWN]
}

/// The word for a kind that is unknown or cannot be parsed.
pub(super) const UNKNOWN: &str = "Unknown";

/// The handler of reviews: it reads, evaluates the rules and writes nothing (invariant 18).
pub struct AdmissionHandler {
    pub(super) client: Client,
    pub(super) caches: Arc<Caches>,
    pub(super) settings: Settings,
    /// User name of the controller, whose right to bind a role is checked.
    pub(super) operator: String,
    people: Fair,
    authors: Fair,
    /// One permit for each concurrent access review.
    pub(super) questions: Semaphore,
    /// Permits for lists of decisions, the longest lists that admission reads.
    pub(super) lists: Semaphore,
}

impl AdmissionHandler {
    /// Returns a handler that uses the caches of `caches` and reads with `client`.
    #[must_use]
    pub fn new(client: Client, caches: Arc<Caches>, config: &Config) -> Self {
        Self {
            client,
            caches,
            settings: config.settings(),
            operator: config.operator(),
            people: Fair::new(PERMITS, PERMITS / 2),
            authors: Fair::new(AUTHORS_PERMITS, AUTHORS_PERMITS / 2),
            questions: Semaphore::new(QUESTIONS),
            lists: Semaphore::new(LISTS),
        }
    }

    /// Acquires the permits of a review of this class and size. They are held from before it is parsed until the response is known.
    pub(super) async fn permits(&self, class: Class, peer: Option<Peer>, permits: u32) -> Permits<'_> {
        let fair = match class {
            Class::People => &self.people,
            Class::Authors => &self.authors,
        };
        fair.acquire(peer, permits.min(MOST_PERMITS)).await
    }

    /// Returns the response to one review, after acquiring its permits. The duration depends on the API server; the caller limits it.
    pub async fn examine(&self, phase: Phase, asked: &Asked) -> Answer {
        let Some(kind) = Kind::of(asked) else {
            return Answer::Unexamined(format!(
                "jit-rbac's webhook does not handle '{}.{}'",
                asked.resource.resource, asked.resource.group
            ));
        };
        let main_resource = asked.sub_resource.as_ref().is_none_or(String::is_empty);
        let writes = matches!(asked.operation, Operation::Create | Operation::Update);
        if !main_resource || !writes {
            return Answer::allowed();
        }
        let Some(object) = &asked.object else {
            return Answer::Malformed("the review has no object".to_owned());
        };
        if asked.namespace.as_ref().is_some_and(|namespace| !namespace.is_empty() && !names::is_object_name(namespace)) {
            return Answer::Malformed("metadata.namespace is not a valid name".to_owned());
        }
        let write = match (&asked.operation, &asked.old_object) {
            (Operation::Update, None) => return Answer::Malformed("the review has no old object".to_owned()),
            (Operation::Update, Some(old)) => Write { asked, object, old: Some(old) },
            _ => Write { asked, object, old: None },
        };
        if let Err(refusal) = write.size(kind) {
            return refusal.into();
        }
        // Boxed, since each future contains several calls to the API server. An error is the answer to a write that is denied.
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
        answer.unwrap_or_else(std::convert::identity)
    }
}

/// A creation, or an update where there is an old object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Write<'a> {
    /// The admission request.
    pub asked: &'a Asked,
    /// The object as it would be stored.
    pub object: &'a DynamicObject,
    /// The object before the update.
    pub old: Option<&'a DynamicObject>,
}

impl<'a> Write<'a> {
    /// The namespace of the object.
    pub fn namespace(&self) -> &'a str {
        self.asked.namespace.as_deref().unwrap_or_default()
    }

    /// User name of the author of the write.
    pub fn username(&self) -> &'a str {
        self.asked.user_info.username.as_deref().unwrap_or_default()
    }

    /// Returns the object before an update that keeps the spec. Labels and storage migrations grant nothing.
    pub fn kept_spec(&self) -> Option<&'a DynamicObject> {
        self.old.filter(|old| stamp::same_spec(self.object, old))
    }

    /// Returns the refusal of an object that is too large for its kind.
    fn size(&self, kind: Kind) -> Result<(), Refusal> {
        let most = match kind {
            Kind::Request | Kind::Decision => size::OF_A_RECORD,
            Kind::Eligibility | Kind::Policy => size::OF_A_RULE,
        };
        let before = self.old.map(measured);
        measured(self.object).within(&most, before.as_ref(), kind.as_str())
    }

    /// Parses the object as its kind.
    pub fn typed<K: Resource + DeserializeOwned>(&self) -> Result<K, Answer> {
        self.object.clone().try_parse().map_err(|error| {
            let why = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            Answer::Malformed(format!("the object cannot be read: {}", printable(&why)))
        })
    }
}

/// Returns the size of an object, with all fields that the API server has set so far.
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

/// A writer that counts bytes.
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
