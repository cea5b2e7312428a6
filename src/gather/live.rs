//! Reads that no cache may answer: a request, its decisions, the requests beside it, its binding.

use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::{Api, Client, api::ListParams, core::DeserializeGuard};

use super::{GatherError, convert, read};
use crate::{
    api::{ActivationDecision, ActivationDecisionSpec, RoleActivationRequest, State, names},
    domain::{Binding, Lookup, Object, RequestFacts},
};

/// Selects the requests that are not at an end.
#[must_use]
pub fn live_states() -> String {
    let ended = State::ALL.iter().filter(|state| state.is_terminal());
    ended.map(|state| format!("status.state!={state}")).collect::<Vec<_>>().join(",")
}

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
pub async fn decisions(client: &Client, namespace: &str, request: &str) -> Result<Vec<Object<ActivationDecisionSpec>>, GatherError> {
    if !names::is_object_name(request) {
        return Ok(Vec::new());
    }
    let api: Api<DeserializeGuard<ActivationDecision>> = Api::namespaced(client.clone(), namespace);
    let selector = ListParams::default().fields(&format!("spec.requestRef.name={request}"));
    let list = read(|| format!("the decisions on '{namespace}/{request}'"), api.list(&selector)).await?;
    let readable = list.items.into_iter().filter_map(|guard| guard.0.ok());
    Ok(readable.map(|decision| convert::object(&decision.metadata, decision.spec)).collect())
}

/// The live requests of one user name under one eligibility in one namespace.
pub async fn live_requests(client: &Client, namespace: &str, username: &str, eligibility: &str) -> Result<Vec<RequestFacts>, GatherError> {
    let api: Api<DeserializeGuard<RoleActivationRequest>> = Api::namespaced(client.clone(), namespace);
    if !names::is_object_name(eligibility) {
        return Ok(Vec::new());
    }
    // What would end the value early cannot be part of a selector; then the requests of everybody are compared by the rules.
    let by = if username.contains([',', '=', '!', '\\']) { String::new() } else { format!(",spec.requester.username={username}") };
    let selector = format!("spec.eligibilityRef.name={eligibility},{}{by}", live_states());
    let list = read(|| format!("the live requests in '{namespace}'"), api.list(&ListParams::default().fields(&selector))).await?;
    Ok(list.items.into_iter().filter_map(|guard| guard.0.ok()).map(|stored| convert::request(&stored)).collect())
}

/// The binding of this name.
pub async fn binding(client: &Client, namespace: &str, name: &str) -> Result<Binding, GatherError> {
    let api: Api<RoleBinding> = Api::namespaced(client.clone(), namespace);
    let found = read(|| format!("RoleBinding '{namespace}/{name}'"), api.get_opt(name)).await?;
    Ok(found.map_or(Binding::Absent, |stored| Binding::Present(convert::binding(&stored))))
}
