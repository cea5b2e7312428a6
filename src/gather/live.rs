//! Reads from the API server and no cache of ours: a request, its decisions, the requests beside it, its binding.

use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::{Api, Client, core::DeserializeGuard};
use serde::de::DeserializeOwned;

use super::{GatherError, convert, horizon::AsOf, read};
use crate::{
    api::{
        ActivationDecision, ActivationDecisionSpec, RoleActivationRequest, State, names,
        request::ReviewState,
        selectors::{in_state, live_states, of_requester, on_request, under_eligibility},
    },
    domain::{Binding, Lookup, Object, RequestFacts},
};

/// A request as it is stored, with the facts of it.
#[derive(Clone, Debug)]
pub struct StoredRequest {
    /// The object.
    pub stored: RoleActivationRequest,
    /// Its facts.
    pub facts: RequestFacts,
}

/// One request.
pub async fn request(client: &Client, namespace: &str, name: &str) -> Result<Lookup<StoredRequest>, GatherError> {
    if !names::is_object_name(name) {
        return Ok(Lookup::Absent);
    }
    let api: Api<DeserializeGuard<RoleActivationRequest>> = Api::namespaced(client.clone(), namespace);
    let found = read(|| format!("request '{namespace}/{name}'"), api.get_opt(name)).await?;
    Ok(match found {
        None => Lookup::Absent,
        Some(DeserializeGuard(Ok(stored))) => Lookup::Found(StoredRequest { facts: convert::request(&stored), stored }),
        Some(DeserializeGuard(Err(invalid))) => Lookup::Unreadable(crate::api::text::printable(&invalid.error)),
    })
}

/// All decisions that name a request. One that cannot be understood says nothing and is left out.
pub async fn decisions(
    client: &Client,
    namespace: &str,
    request: &str,
    as_of: AsOf,
) -> Result<Vec<Object<ActivationDecisionSpec>>, GatherError> {
    if !names::is_object_name(request) {
        return Ok(Vec::new());
    }
    let api: Api<DeserializeGuard<ActivationDecision>> = Api::namespaced(client.clone(), namespace);
    let what = || format!("the decisions on '{namespace}/{request}'");
    let found = list(&api, what, &on_request(request), as_of).await?;
    let readable = found.into_iter().filter_map(|guard| guard.0.ok());
    Ok(readable.map(|decision| convert::object(&decision.metadata, decision.spec)).collect())
}

/// What a list of requests is limited to.
#[derive(Clone, Copy, Debug)]
pub enum Wanted<'a> {
    /// The live ones of one user name under one eligibility in one namespace.
    Live {
        /// The namespace.
        namespace: &'a str,
        /// The user name.
        username: &'a str,
        /// The eligibility.
        eligibility: &'a str,
    },
    /// The live ones of one user name, everywhere.
    LiveOf(&'a str),
    /// Those under one eligibility in one namespace whose grant has ended.
    Ended {
        /// The namespace.
        namespace: &'a str,
        /// The eligibility.
        eligibility: &'a str,
    },
    /// Those that owe a review in this state, everywhere.
    Review(ReviewState),
}

impl Wanted<'_> {
    fn namespace(&self) -> Option<&str> {
        match self {
            Self::Live { namespace, .. } | Self::Ended { namespace, .. } => Some(namespace),
            Self::LiveOf(_) | Self::Review(_) => None,
        }
    }

    fn selector(&self) -> String {
        match self {
            Self::Live { username, eligibility, .. } => format!("{},{}{}", under_eligibility(eligibility), live_states(), by(username)),
            Self::LiveOf(username) => format!("{}{}", live_states(), by(username)),
            Self::Ended { eligibility, .. } => {
                let granted = in_state(|state| matches!(state, State::Expired | State::Deactivated | State::Revoked));
                format!("{},{granted}", under_eligibility(eligibility))
            }
            Self::Review(state) => format!("status.review.state={}", state.as_str()),
        }
    }
}

/// What would end the value early cannot be part of a selector; then the requests of everybody are compared by the rules.
fn by(username: &str) -> String {
    of_requester(username).map(|selector| format!(",{selector}")).unwrap_or_default()
}

/// Requests as the API server lists them. One that cannot be understood is left out.
pub async fn requests(client: &Client, wanted: Wanted<'_>, as_of: AsOf) -> Result<Vec<RequestFacts>, GatherError> {
    if let Wanted::Live { eligibility, .. } | Wanted::Ended { eligibility, .. } = wanted
        && !names::is_object_name(eligibility)
    {
        return Ok(Vec::new());
    }
    let api: Api<DeserializeGuard<RoleActivationRequest>> = match wanted.namespace() {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let found = list(&api, || format!("the requests with {}", wanted.selector()), &wanted.selector(), as_of).await?;
    Ok(found.into_iter().filter_map(|guard| guard.0.ok()).map(|stored| convert::request(&stored)).collect())
}

/// What these fields select, so new. Where the API server is behind of what this process has seen, as after an old copy of its store
/// was put back, it says so after a while (504), and what it has counts.
async fn list<K>(api: &Api<K>, what: impl Fn() -> String, fields: &str, as_of: AsOf) -> Result<Vec<K>, GatherError>
where
    K: Clone + std::fmt::Debug + DeserializeOwned,
{
    let found = match read(&what, api.list(&as_of.list(fields))).await {
        Err(error) if as_of != AsOf::Now && error.code() == Some(504) => read(&what, api.list(&AsOf::Now.list(fields))).await,
        answered => answered,
    };
    Ok(found?.items)
}

/// The binding of this name.
pub async fn binding(client: &Client, namespace: &str, name: &str) -> Result<Binding, GatherError> {
    let api: Api<RoleBinding> = Api::namespaced(client.clone(), namespace);
    let found = read(|| format!("RoleBinding '{namespace}/{name}'"), api.get_opt(name)).await?;
    Ok(found.map_or(Binding::Absent, |stored| Binding::Present(convert::binding(&stored))))
}
