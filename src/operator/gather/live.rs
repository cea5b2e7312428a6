//! Reads from the API server without a cache of the operator: a request, its decisions, its peers, its binding.

use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::{Api, Client, Resource, core::DeserializeGuard};

use super::pages::Pages;
use api::{
    ActivationDecision, ActivationDecisionSpec, RoleActivationRequest, State, names,
    request::ReviewState,
    selectors::{in_state, live_states, of_requester, on_request, under_eligibility},
};
use domain::{Binding, Lookup, Object, RequestFacts, Unread, convert, fold::Fold};
use kube_io::{
    call::{ReadError, read},
    consistency::Consistency,
};

/// A stored request with its facts.
#[derive(Clone, Debug)]
pub struct StoredRequest {
    /// The object.
    pub stored: RoleActivationRequest,
    /// Its facts.
    pub facts: RequestFacts,
}

/// Reads one request.
pub async fn request(client: &Client, namespace: &str, name: &str) -> Result<Lookup<StoredRequest>, ReadError> {
    if !names::is_object_name(name) {
        return Ok(Lookup::Absent);
    }
    let api: Api<DeserializeGuard<RoleActivationRequest>> = Api::namespaced(client.clone(), namespace);
    let found = read(|| format!("request '{namespace}/{name}'"), api.get_opt(name)).await?;
    Ok(match found {
        None => Lookup::Absent,
        Some(DeserializeGuard(Ok(stored))) => Lookup::Found(StoredRequest { facts: convert::request(&stored), stored }),
        Some(DeserializeGuard(Err(invalid))) => Lookup::Unreadable(api::text::printable(&invalid.error)),
    })
}

/// Reads the decisions that name a request, as far as they can matter to it, page by page. Reads no more than `most`, if given.
pub async fn decisions(client: &Client, request: &RequestFacts, consistency: Consistency, most: Option<usize>) -> Result<Said, ReadError> {
    let (namespace, name) = (&request.namespace, &request.object.name);
    let mut fold = Fold::new(&request.object.uid);
    if !names::is_object_name(name) {
        return Ok(fold.done());
    }
    let mut pages = decision_pages(client, namespace, name, consistency, most.map(|most| most + 1));
    let mut read = 0;
    while let Some(page) = pages.next().await? {
        for stored in page {
            read += 1;
            if most.is_some_and(|most| read > most) {
                fold.more();
                return Ok(fold.done());
            }
            match stored.decision() {
                Ok(decision) => fold.add(decision),
                Err(unreadable) if stored.may_be_about(&request.object.uid) => fold.add_unreadable(unreadable),
                Err(_) => {}
            }
        }
    }
    Ok(fold.done())
}

/// The decisions that can matter, and a summary of those that are not among them.
pub type Said = (Vec<Object<ActivationDecisionSpec>>, Unread);

/// Returns the stored decisions that name a request, in pages.
#[must_use]
pub fn decision_pages<'c>(client: &'c Client, namespace: &str, request: &str, consistency: Consistency, first: Option<usize>) -> Pages<'c> {
    let path = ActivationDecision::url_path(&(), Some(namespace));
    Pages::new(client, path, format!("the decisions on '{namespace}/{request}'"), &on_request(request), consistency, first)
}

/// The selection of a list of requests.
#[derive(Clone, Copy, Debug)]
pub enum Wanted<'a> {
    /// The active and pending requests of one user name under one eligibility in one namespace.
    Live {
        /// The namespace.
        namespace: &'a str,
        /// The user name.
        username: &'a str,
        /// The eligibility.
        eligibility: &'a str,
    },
    /// The active and pending requests of one user name in all namespaces.
    LiveOf(&'a str),
    /// The requests under one eligibility in one namespace whose grant has ended.
    Ended {
        /// The namespace.
        namespace: &'a str,
        /// The eligibility.
        eligibility: &'a str,
    },
    /// The requests whose review is in this state, in all namespaces.
    Review(ReviewState),
}

impl Wanted<'_> {
    fn namespace(&self) -> Option<&str> {
        match self {
            Self::Live { namespace, .. } | Self::Ended { namespace, .. } => Some(namespace),
            Self::LiveOf(_) | Self::Review(_) => None,
        }
    }

    /// Returns the user name that all requests of the list share, if any.
    const fn username(&self) -> Option<&str> {
        match self {
            Self::Live { username, .. } | Self::LiveOf(username) => Some(username),
            Self::Ended { .. } | Self::Review(_) => None,
        }
    }

    /// Returns the eligibility that all requests of the list share, if any.
    const fn eligibility(&self) -> Option<&str> {
        match self {
            Self::Live { eligibility, .. } | Self::Ended { eligibility, .. } => Some(eligibility),
            Self::LiveOf(_) | Self::Review(_) => None,
        }
    }

    fn selector(&self) -> String {
        match self {
            Self::Live { username, eligibility, .. } => {
                format!("{},{},{}", under_eligibility(eligibility), live_states(), of_requester(username))
            }
            Self::LiveOf(username) => format!("{},{}", live_states(), of_requester(username)),
            Self::Ended { eligibility, .. } => {
                let granted = in_state(|state| matches!(state, State::Expired | State::Deactivated | State::Revoked));
                format!("{},{granted}", under_eligibility(eligibility))
            }
            Self::Review(state) => format!("status.review.state={}", state.as_str()),
        }
    }
}

/// Lists requests from the API server, page by page. Whatever cannot be parsed of a request counts against the requester.
pub async fn requests(client: &Client, wanted: Wanted<'_>, consistency: Consistency) -> Result<Vec<RequestFacts>, ReadError> {
    if let Wanted::Live { eligibility, .. } | Wanted::Ended { eligibility, .. } = wanted
        && !names::is_object_name(eligibility)
    {
        return Ok(Vec::new());
    }
    let path = RoleActivationRequest::url_path(&(), wanted.namespace());
    let mut pages = Pages::new(client, path, format!("the requests with {}", wanted.selector()), &wanted.selector(), consistency, None);
    let mut found = Vec::new();
    while let Some(page) = pages.next().await? {
        found.extend(page.into_iter().map(|stored| stored.request(wanted.username(), wanted.eligibility())));
    }
    Ok(found)
}

/// Reads the binding of this name.
pub async fn binding(client: &Client, namespace: &str, name: &str) -> Result<Binding, ReadError> {
    let api: Api<RoleBinding> = Api::namespaced(client.clone(), namespace);
    let found = read(|| format!("RoleBinding '{namespace}/{name}'"), api.get_opt(name)).await?;
    Ok(found.map_or(Binding::Absent, |stored| Binding::Present(convert::binding(&stored))))
}
