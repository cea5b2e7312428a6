//! Lists of requests and decisions, page by page, with only the fields of each object that the rules read.
//!
//! Users control how many objects there are and what labels these have. Memory must not depend on either (T45).

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ListMeta, ObjectMeta};
use kube::{
    Client,
    api::{ListParams, Request},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use api::{
    ActivationDecisionSpec, Line, RoleActivationRequestSpec, RoleActivationRequestStatus, Stamp, Verb, conditions,
    eligibility::NameRef,
    request::{Extends, ReviewStatus},
    text::printable,
};
use domain::{Object, RequestFacts, Unreadable, convert};
use kube_io::{
    call::{ReadError, read},
    consistency::Consistency,
};

/// The page size. Admission bounds the size of each object.
const PAGE: usize = 64;

/// A list that is read page by page.
pub struct Pages<'c> {
    client: &'c Client,
    path: String,
    what: String,
    /// The parameters of the next page; none after the last.
    next: Option<ListParams>,
    consistency: Consistency,
    fields: String,
}

/// One page of a list.
#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    metadata: ListMeta,
    #[serde(default)]
    items: Option<Vec<Stored>>,
}

impl<'c> Pages<'c> {
    /// Returns a list of what these fields select at `path`, of at least this version. `first` limits the first page.
    #[must_use]
    pub fn new(client: &'c Client, path: String, what: String, fields: &str, consistency: Consistency, first: Option<usize>) -> Self {
        let limit = u32::try_from(first.unwrap_or(PAGE)).unwrap_or(u32::MAX);
        let list = consistency.list(fields);
        // For a list of any version from its cache the API server ignores the limit, so none is sent.
        let next = Some(if consistency == Consistency::ANY { list } else { list.limit(limit) });
        Self { client, path, what, next, consistency, fields: fields.to_owned() }
    }

    /// Returns the next page, or none after the last.
    pub async fn next(&mut self) -> Result<Option<Vec<Stored>>, ReadError> {
        let Some(params) = self.next.take() else { return Ok(None) };
        let page = match self.page(&params).await {
            // The API server answers with a timeout if its data is older than what this process has observed, as after a restored copy of
            // its store. Then its current data counts.
            Err(error) if self.consistency != Consistency::Latest && params.continue_token.is_none() && error.code() == Some(504) => {
                let now = ListParams { limit: params.limit.or(u32::try_from(PAGE).ok()), ..Consistency::Latest.list(&self.fields) };
                self.page(&now).await?
            }
            answered => answered?,
        };
        let token = page.metadata.continue_.filter(|token| !token.is_empty());
        let limit = u32::try_from(PAGE).unwrap_or(u32::MAX);
        self.next = token.map(|token| ListParams::default().fields(&self.fields).limit(limit).continue_token(&token));
        Ok(Some(page.items.unwrap_or_default()))
    }

    async fn page(&self, params: &ListParams) -> Result<Page, ReadError> {
        let call = async {
            let request = Request::new(self.path.clone()).list(params).map_err(kube::Error::BuildRequest)?;
            self.client.request::<Page>(request).await
        };
        read(|| self.what.clone(), call).await
    }
}

/// A stored request or decision that is not parsed yet.
#[derive(Debug, Deserialize)]
pub struct Stored {
    #[serde(default)]
    metadata: Meta,
    #[serde(default)]
    spec: Value,
    #[serde(default)]
    status: Value,
}

/// The metadata that the rules read.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    creation_timestamp: Option<Timestamp>,
    deletion_timestamp: Option<Timestamp>,
    generation: Option<i64>,
}

impl Stored {
    /// Returns name and UID.
    #[must_use]
    pub fn identity(&self) -> (&str, &str) {
        (self.metadata.name.as_deref().unwrap_or_default(), self.metadata.uid.as_deref().unwrap_or_default())
    }

    /// Returns the UID of the request that a decision refers to.
    #[must_use]
    pub fn request_uid(&self) -> Option<&str> {
        self.spec.pointer("/requestRef/uid").and_then(Value::as_str)
    }

    /// Returns false for a decision that certainly refers to another request than the one with this UID.
    #[must_use]
    pub fn may_be_about(&self, uid: &str) -> bool {
        self.request_uid().is_none_or(|about| about == uid)
    }

    /// Parses the decision.
    pub fn decision(&self) -> Result<Object<ActivationDecisionSpec>, Unreadable> {
        match ActivationDecisionSpec::deserialize(&self.spec) {
            Ok(spec) => Ok(convert::object(&self.meta(), spec)),
            Err(error) => Err(Unreadable {
                name: printable(self.identity().0),
                decision: part::<Verb>(&self.spec, "decision"),
                why: printable(&error.to_string()),
            }),
        }
    }

    /// Parses the request. If it cannot be parsed as a whole, each part that can be parsed counts. In a list of the requests of `username`,
    /// or under `eligibility`, these values apply. A request without a state counts as undecided.
    #[must_use]
    pub fn request(&self, username: Option<&str>, eligibility: Option<&str>) -> RequestFacts {
        let meta = self.meta();
        let namespace = meta.namespace.clone().unwrap_or_default();
        let spec = RoleActivationRequestSpec::deserialize(&self.spec).unwrap_or_else(|_| self.spec_in_parts(username, eligibility));
        let status = if self.status.is_null() {
            RoleActivationRequestStatus::default()
        } else {
            RoleActivationRequestStatus::deserialize(&self.status).unwrap_or_else(|_| self.status_in_parts())
        };
        RequestFacts { namespace, object: convert::object(&meta, spec), record: convert::record(status) }
    }

    fn spec_in_parts(&self, username: Option<&str>, eligibility: Option<&str>) -> RoleActivationRequestSpec {
        let line = |text: &str| Line::try_from(text.to_owned()).ok();
        let stamp = part::<Stamp>(&self.spec, "requester").or_else(|| Some(Stamp { username: line(username?)?, ..Stamp::default() }));
        RoleActivationRequestSpec {
            eligibility_ref: part::<NameRef>(&self.spec, "eligibilityRef")
                .unwrap_or_else(|| NameRef { name: eligibility.unwrap_or_default().to_owned() }),
            extends: part::<Extends>(&self.spec, "extends"),
            requester: stamp,
            ..RoleActivationRequestSpec::default()
        }
    }

    fn status_in_parts(&self) -> RoleActivationRequestStatus {
        RoleActivationRequestStatus {
            state: part(&self.status, "state"),
            granted_at: part(&self.status, "grantedAt"),
            extends_from: part(&self.status, "extendsFrom"),
            started_at: part(&self.status, "startedAt"),
            expires_at: part(&self.status, "expiresAt"),
            ended_at: part(&self.status, "endedAt"),
            review: part::<ReviewStatus>(&self.status, "review"),
            ..RoleActivationRequestStatus::default()
        }
    }

    fn meta(&self) -> ObjectMeta {
        let meta = &self.metadata;
        ObjectMeta {
            name: meta.name.clone(),
            namespace: meta.namespace.clone(),
            uid: meta.uid.clone(),
            creation_timestamp: meta.creation_timestamp.map(conditions::to_time),
            deletion_timestamp: meta.deletion_timestamp.map(conditions::to_time),
            generation: meta.generation,
            ..ObjectMeta::default()
        }
    }
}

/// Returns a member of an object, where it can be parsed.
fn part<T: DeserializeOwned>(object: &Value, name: &str) -> Option<T> {
    object.get(name).and_then(|value| T::deserialize(value).ok())
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, sync::Arc};

    use http::{Request as HttpRequest, Response};
    use kube::client::Body;
    use parking_lot::Mutex;
    use serde_json::json;
    use tower::service_fn;

    use super::*;
    use crate::gather::live::{self, Wanted};
    use api::State;

    /// A fake API server with these objects, which records the calls.
    #[derive(Clone)]
    struct Server {
        items: Arc<Vec<Value>>,
        asked: Arc<Mutex<Vec<String>>>,
    }

    impl Server {
        fn new(items: impl IntoIterator<Item = Value>) -> Self {
            Self { items: Arc::new(items.into_iter().collect()), asked: Arc::default() }
        }

        fn client(&self) -> Client {
            let server = self.clone();
            let service = service_fn(move |request: HttpRequest<Body>| {
                let server = server.clone();
                async move {
                    let query = request.uri().query().unwrap_or_default().to_owned();
                    let number = |name: &str| {
                        let mut parts = query.split('&').filter_map(|part| part.split_once('='));
                        parts.find(|(found, _)| *found == name).and_then(|(_, value)| value.parse::<usize>().ok())
                    };
                    let (from, limit) = (number("continue").unwrap_or(0), number("limit").unwrap_or(usize::MAX));
                    let to = from.saturating_add(limit).min(server.items.len());
                    let token = if to < server.items.len() { to.to_string() } else { String::new() };
                    let list =
                        json!({"kind": "List", "apiVersion": "v1", "metadata": {"continue": token}, "items": server.items[from..to]});
                    server.asked.lock().push(query);
                    Ok::<_, Infallible>(Response::new(axum::body::Body::from(list.to_string())))
                }
            });
            Client::new(service, "default")
        }

        fn asked(&self) -> usize {
            self.asked.lock().len()
        }
    }

    fn request() -> RequestFacts {
        let spec = RoleActivationRequestSpec::default();
        let meta = ObjectMeta { name: Some("inc-1".to_owned()), uid: Some("r-1".to_owned()), ..ObjectMeta::default() };
        RequestFacts {
            namespace: "shop".to_owned(),
            object: convert::object(&meta, spec),
            record: convert::record(api::RoleActivationRequestStatus::default()),
        }
    }

    fn decision(number: usize, spec: &Value) -> Value {
        let mut object = json!({
            "metadata": {"name": format!("d-{number}"), "uid": format!("u-{number}"), "creationTimestamp": "2026-11-02T10:00:00Z", "labels": {"a": "b"}},
            "spec": {"requestRef": {"name": "inc-1", "uid": "r-1"}, "decision": "Approve", "decider": {"username": format!("lead-{number}")}},
        });
        spec.as_object().unwrap().iter().for_each(|(name, value)| object["spec"][name] = value.clone());
        object
    }

    #[tokio::test]
    async fn f01_f49_however_many_decisions_there_are_admission_reads_a_bounded_number_of_them_at_once() {
        for stored in [0, 1, 64, 65, 700, 10_000] {
            let server = Server::new((0..stored).map(|number| decision(number, &json!({}))));
            let (said, unread) = live::decisions(&server.client(), &request(), Consistency::Latest, Some(64)).await.unwrap();
            assert_eq!((said.len(), unread.more, server.asked()), (stored.min(64), stored > 64, 1), "{stored}");
        }
    }

    #[tokio::test]
    async fn f01_the_controller_reads_all_of_them_and_keeps_what_can_matter() {
        let flood = (0..5_000).map(|number| decision(number, &json!({"decision": "Deactivate", "decider": {"username": "dev"}})));
        let last = [decision(5_000, &json!({"decision": "Revoke", "decider": {"username": "security"}}))];
        let server = Server::new(flood.chain(last));
        let (said, unread) = live::decisions(&server.client(), &request(), Consistency::Latest, None).await.unwrap();
        assert_eq!((said.len(), unread), (17, domain::Unread::default()));
        assert!(said.iter().any(|decision| decision.spec.decision == Verb::Revoke), "decisions that revoke are found in any flood");
        assert_eq!(server.asked(), 5_001_usize.div_ceil(PAGE));
    }

    #[tokio::test]
    async fn f12_a_decision_that_cannot_be_read_is_not_left_out() {
        let server = Server::new([
            decision(1, &json!({"duration": 7})),
            decision(2, &json!({"decision": "Deny", "comment": ["not", "today"]})),
            decision(3, &json!({"decision": "Annul"})),
            decision(4, &json!({"decision": "Deny", "comment": 7, "requestRef": {"name": "inc-1", "uid": "another"}})),
            decision(5, &json!({"requestRef": "inc-1"})),
            json!({"metadata": {"name": "d-6"}, "spec": null}),
        ]);
        let (said, unread) = live::decisions(&server.client(), &request(), Consistency::Latest, None).await.unwrap();
        let found: Vec<_> = unread.unreadable.iter().map(|unread| (unread.name.as_str(), unread.decision)).collect();
        // Decisions that may be against the request come first, and a few are enough.
        assert_eq!(found, [("d-2", Some(Verb::Deny)), ("d-1", Some(Verb::Approve)), ("d-3", None), ("d-5", Some(Verb::Approve))]);
        assert!(said.is_empty());
    }

    #[tokio::test]
    async fn f12_a_peer_that_cannot_be_read_counts_with_what_can_be_read_of_it() {
        let peer = |spec: Value, status: Value| json!({"metadata": {"name": "r", "namespace": "shop", "uid": "u"}, "spec": spec, "status": status});
        let readable = json!({"eligibilityRef": {"name": "edit"}, "requester": {"username": "dev"}});
        let server = Server::new([
            peer(json!({"eligibilityRef": {"name": "edit"}, "duration": 7, "requester": {"username": "dev"}}), json!({"state": "Active"})),
            peer(readable.clone(), json!({"state": "Active", "approvals": 7})),
            peer(readable, json!({"state": "Novel"})),
            peer(json!("?"), Value::Null),
        ]);
        let found = live::requests(&server.client(), Wanted::LiveOf("dev"), Consistency::Latest).await.unwrap();
        let read: Vec<_> = found
            .iter()
            .map(|request| {
                let spec = &request.object.spec;
                (spec.eligibility_ref.name.as_str(), spec.requester.as_ref().map(|who| who.username.as_str()), request.record.state)
            })
            .collect();
        let dev = Some("dev");
        assert_eq!(read, [("edit", dev, Some(State::Active)), ("edit", dev, Some(State::Active)), ("edit", dev, None), ("", dev, None)]);
        let list = server.asked.lock().concat();
        assert!(list.contains("spec.requester.username%3Ddev"), "{list}");
    }
}
