//! The reviews that a person owes, as the policies record them. These records outlive the requests, which are removed with their
//! namespaces.

use kube::Client;

use super::{
    caches::{Caches, DecisionContext},
    live, peers,
};
use api::{ApprovalPolicySpec, names};
use domain::{Debt, Lookup, Object, Peer, RequestFacts, person::Identities};
use kube_io::call::ReadError;

/// Returns the reviews that policies record as owed by the requester of an emergency. No other request needs them.
///
/// A reviewed request that is not in `peers` is read, and if it still exists it becomes a peer. Then its own status shows whether it was
/// reviewed, because the policy's status may lag behind.
pub async fn of_requester(
    client: &Client,
    caches: &Caches,
    identities: &Identities,
    facts: &RequestFacts,
    around: &DecisionContext,
    peers: &mut Vec<Peer>,
) -> Result<Vec<Debt>, ReadError> {
    let spec = &facts.object.spec;
    let Some(requester) = spec.requester.as_ref().filter(|_| spec.emergency) else { return Ok(Vec::new()) };
    let own = |policy: &Object<ApprovalPolicySpec>| {
        let all = policy.owed.iter().flat_map(|owed| &owed.reviews);
        let theirs = all.filter(|owed| identities.same(&owed.requester.stamp(), requester));
        theirs.map(|owed| Debt { policy: policy.name.clone(), review: owed.clone() }).collect::<Vec<_>>()
    };
    // The deciding policy was read for the decision. The others come from the cache, because their due reviews were recorded long ago.
    let decides = around.policy.found();
    let is_other = |policy: &Object<ApprovalPolicySpec>| decides.is_none_or(|decides| decides.name != policy.name);
    let others = caches.policies.pick(|_, found| found.found().filter(|policy| is_other(policy)).map(|policy| own(policy)));
    let debts: Vec<Debt> = decides.map(|policy| own(policy)).into_iter().chain(others).flatten().collect();
    let mut there = Vec::new();
    for Debt { review, .. } in &debts {
        let uid = &review.request_uid;
        if *uid == facts.object.uid || peers.iter().any(|peer| peer.object.uid == *uid) {
            continue;
        }
        if let Some(found) = request(client, &review.request).await?.filter(|found| found.object.uid == *uid) {
            there.push(found);
        }
    }
    peers.extend(peers::peers(caches, there, facts));
    Ok(debts)
}

/// Returns the request that a policy's status names as namespace/name. None where none exists, or none that can be read.
pub async fn request(client: &Client, named: &str) -> Result<Option<RequestFacts>, ReadError> {
    let Some((namespace, name)) = named.split_once('/').filter(|(namespace, _)| names::is_object_name(namespace)) else { return Ok(None) };
    Ok(match live::request(client, namespace, name).await? {
        Lookup::Found(found) => Some(found.facts),
        Lookup::Absent | Lookup::Deleting(_) | Lookup::Unreadable(_) => None,
    })
}
