//! One active or pending request per person, eligibility and namespace (api rule 12).

use super::{facts::RequestFacts, peers::Peer, person::Identities, refusal::Refusal};
use api::{Reason, Stamp, State};

/// Refuses if another active or pending request of the same person has precedence. An existing grant always has precedence, then the
/// request that was created first. The UID decides within one second (T51).
pub fn check(request: &RequestFacts, requester: &Stamp, peers: &[Peer], identities: &Identities) -> Result<(), Refusal> {
    let mine = (request.object.created, &request.object.uid);
    let spec = &request.object.spec;
    let before = |peer: &&Peer| {
        let granted = matches!(peer.record.state, Some(State::Active | State::Scheduled));
        granted || (peer.object.created, &peer.object.uid) < mine
    };
    // An extension may exist while its base is active, one at a time. Once active, the extension is the activation.
    let competes = |peer: &Peer| {
        let runs = peer.record.state == Some(State::Active);
        peer.object.spec.base() == spec.base() || (spec.base().is_none() && runs)
    };
    let live = |peer: &&Peer| {
        peer.object.uid != request.object.uid
            && peer.namespace == request.namespace
            && peer.object.spec.eligibility_ref == spec.eligibility_ref
            && !peer.record.state.is_some_and(State::is_terminal)
            && competes(peer)
    };
    match peers.iter().filter(live).filter(before).find(|peer| identities.same(&peer.requester, requester)) {
        None => Ok(()),
        Some(peer) => Err(Refusal::new(
            Reason::AlreadyRequested,
            format!(
                "'{}' already has the request '{}' ({}) for this eligibility and namespace; wait for its end, or end it with a decision \
                 Deactivate",
                requester.username,
                peer.object.name,
                peer.record.state.unwrap_or_default(),
            ),
        )),
    }
}
