//! Extension chains: an activation and the requests that extend it.

use std::collections::{HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::{
    problem::Problem,
    read::{Scope, created, requester, state},
    session::Session,
};
use api::{Reason, RoleActivationRequest, State, selectors};

/// The requests of one access, the oldest first; each extends the previous one.
#[derive(Clone, Debug, PartialEq)]
pub struct Chain {
    /// The first request.
    pub first: RoleActivationRequest,
    /// The requests that extend it.
    pub extensions: Vec<RoleActivationRequest>,
}

impl Chain {
    /// The newest request: it can be extended next, and it ends last.
    #[must_use]
    pub fn last(&self) -> &RoleActivationRequest {
        self.extensions.last().unwrap_or(&self.first)
    }

    fn links(&self) -> impl DoubleEndedIterator<Item = &RoleActivationRequest> {
        std::iter::once(&self.first).chain(&self.extensions)
    }

    /// The request with the cause of the end: the newest that did not end only because the extended request ended.
    #[must_use]
    pub fn deciding(&self) -> &RoleActivationRequest {
        let followed = |request: &&RoleActivationRequest| reason(request) == Some(Reason::ExtendedRequestEnded);
        self.links().rev().find(|request| !followed(request)).unwrap_or_else(|| self.last())
    }

    /// The planned end of the access.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.links().filter_map(|request| request.status.as_ref()?.expires_at).max()
    }

    /// When the last binding was removed.
    #[must_use]
    pub fn ended_at(&self) -> Option<Timestamp> {
        self.links().filter_map(|request| request.status.as_ref()?.ended_at).max()
    }

    /// How long the access was held, from the first grant until the removal of the last binding.
    #[must_use]
    pub fn held(&self) -> Option<SignedDuration> {
        let granted = self.links().filter_map(|request| request.status.as_ref()?.granted_at).min()?;
        Some(self.ended_at()?.duration_since(granted).max(SignedDuration::ZERO))
    }
}

fn reason(request: &RoleActivationRequest) -> Option<Reason> {
    request.status.as_ref().and_then(|status| status.reason)
}

fn was_granted(request: &RoleActivationRequest) -> bool {
    request.status.as_ref().is_some_and(|status| status.granted_at.is_some())
}

/// True if `later` extends `base`. A new request with the name of a deleted one does not count.
#[must_use]
pub fn extends(later: &RoleActivationRequest, base: &RoleActivationRequest) -> bool {
    later.spec.base().is_some_and(|name| name == base.name_any())
        && later.namespace() == base.namespace()
        && requester(later) == requester(base)
        && later.spec.eligibility_ref == base.spec.eligibility_ref
        && created(base) <= created(later)
        && later.uid() != base.uid()
}

/// Groups requests into chains, in their order. A request that was never granted extends nothing.
#[must_use]
pub fn folded(requests: &[RoleActivationRequest]) -> Vec<Chain> {
    let place = |request: &RoleActivationRequest, name: String| (request.namespace().unwrap_or_default(), name);
    let by_name: HashMap<_, usize> = requests.iter().enumerate().map(|(i, request)| (place(request, request.name_any()), i)).collect();
    let base_of = |request: &RoleActivationRequest| {
        let base = *by_name.get(&place(request, request.spec.base()?.to_owned()))?;
        requests.get(base).filter(|base| was_granted(request) && was_granted(base) && extends(request, base)).map(|_| base)
    };
    let next: HashMap<usize, usize> = requests.iter().enumerate().filter_map(|(i, request)| Some((base_of(request)?, i))).collect();
    let later: HashSet<usize> = next.values().copied().collect();
    let mut chains = Vec::new();
    for (i, first) in requests.iter().enumerate().filter(|(i, _)| !later.contains(i)) {
        let mut chain = Chain { first: first.clone(), extensions: Vec::new() };
        let mut at = i;
        while let Some((&i, request)) = next.get(&at).and_then(|i| Some((i, requests.get(*i)?))) {
            chain.extensions.push(request.clone());
            at = i;
        }
        chains.push(chain);
    }
    chains
}

impl Session {
    /// The requests that extend this one directly or indirectly, the oldest first: the active ones, or all granted ones.
    pub async fn extensions_of(&self, request: &RoleActivationRequest, only_active: bool) -> Result<Vec<RoleActivationRequest>, Problem> {
        let scope = Scope::In(vec![request.namespace().unwrap_or_default()]);
        let mut fields = vec![selectors::under_eligibility(&request.spec.eligibility_ref.name)];
        fields.push(selectors::of_requester(requester(request)));
        let all = self.requests(&scope, &fields.join(",")).await?;
        let counts = |later: &RoleActivationRequest| was_granted(later) && (!only_active || state(later) == State::Active);
        let mut found: Vec<RoleActivationRequest> = Vec::new();
        loop {
            let base = found.last().unwrap_or(request);
            let Some(next) = all.iter().find(|later| counts(later) && extends(later, base)) else { return Ok(found) };
            if found.len() > all.len() {
                return Ok(found);
            }
            found.push(next.clone());
        }
    }

    /// The active request that ends last: this one, or one that extends it. None if none of them is active.
    pub async fn still_active(&self, request: &RoleActivationRequest) -> Result<Option<RoleActivationRequest>, Problem> {
        if let Some(last) = self.extensions_of(request, true).await?.pop() {
            return Ok(Some(last));
        }
        let now = self.request(&request.namespace().unwrap_or_default(), &request.name_any()).await?;
        Ok((state(&now) == State::Active).then_some(now))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(name: &str, extends: Option<&str>, status: &serde_json::Value) -> RoleActivationRequest {
        let minute = name.trim_start_matches('r');
        serde_json::from_value(json!({
            "apiVersion": "jitrbac.dev/v1alpha1", "kind": "RoleActivationRequest",
            "metadata": {"name": name, "namespace": "shop", "uid": name, "creationTimestamp": format!("2026-11-02T10:0{minute}:00Z")},
            "spec": {"eligibilityRef": {"name": "edit"}, "extends": extends.map(|name| json!({ "name": name })),
                "requester": {"username": "dev", "groups": []}},
            "status": status,
        }))
        .unwrap()
    }

    fn ended(name: &str, extends: Option<&str>, state: &str, reason: &str, times: [&str; 3]) -> RoleActivationRequest {
        let at = |time: &str| format!("2026-11-02T{time}Z");
        let [granted, expires, ended] = times;
        request(
            name,
            extends,
            &json!({"state": state, "reason": reason, "grantedAt": at(granted), "expiresAt": at(expires), "endedAt": at(ended)}),
        )
    }

    #[test]
    fn f35_a_chain_is_one_access_with_its_real_end() {
        let given_back = vec![
            ended("r2", Some("r1"), "Deactivated", "ExtendedRequestEnded", ["10:02:00", "10:30:00", "10:05:00"]),
            ended("r1", None, "Deactivated", "DeactivatedByRequester", ["10:01:00", "10:20:00", "10:04:59"]),
            ended("r0", None, "Expired", "Expired", ["10:00:00", "10:00:30", "10:00:30"]),
        ];
        let chains = folded(&given_back);
        assert_eq!(
            chains.iter().map(|chain| (chain.first.name_any(), chain.extensions.len())).collect::<Vec<_>>(),
            [("r1".into(), 1), ("r0".into(), 0)]
        );
        let [chain, alone] = chains.as_slice() else { panic!("{chains:?}") };
        assert_eq!((chain.deciding().name_any().as_str(), chain.held()), ("r1", Some(SignedDuration::from_mins(4))));
        assert_eq!(chain.expires_at(), Some("2026-11-02T10:30:00Z".parse().unwrap()));
        assert_eq!(alone.held(), Some(SignedDuration::from_secs(30)));
    }

    #[test]
    fn f35_only_what_was_granted_to_the_same_person_extends() {
        let denied = request("r2", Some("r1"), &json!({"state": "Denied"}));
        let base = ended("r1", None, "Expired", "Expired", ["10:01:00", "10:20:00", "10:20:00"]);
        assert_eq!(folded(&[denied, base.clone()]).len(), 2);
        let mut another = ended("r3", Some("r1"), "Expired", "Expired", ["10:03:00", "10:20:00", "10:20:00"]);
        another.metadata.namespace = Some("other".to_owned());
        assert_eq!(folded(&[another, base.clone()]).len(), 2);
        // Whatever a record says, it ends.
        let own = ended("r4", Some("r4"), "Expired", "Expired", ["10:03:00", "10:20:00", "10:20:00"]);
        assert_eq!(folded(&[own]).len(), 1);
        // What was written before: granted after its end.
        let old = ended("r5", None, "Revoked", "ExtendedRequestEnded", ["10:20:00", "10:30:00", "10:05:00"]);
        assert_eq!(folded(&[old]).first().and_then(Chain::held), Some(SignedDuration::ZERO));
    }
}
