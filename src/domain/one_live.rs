//! One live request per person, eligibility and namespace (api rule 12).

use super::{
    facts::{Peer, RequestFacts},
    person::Identities,
    refusal::Refusal,
};
use crate::api::{Reason, Stamp, State};

/// The refusal, if another live request of the same person goes before this one. A running grant is never displaced; otherwise the
/// one that was created first goes first, and the UID decides within one second (T51).
pub fn check(request: &RequestFacts, requester: &Stamp, peers: &[Peer], identities: &Identities) -> Result<(), Refusal> {
    let mine = (request.object.created, &request.object.uid);
    let before = |peer: &&Peer| {
        let granted = matches!(peer.state, Some(State::Active | State::Scheduled));
        granted || (peer.created, &peer.uid) < mine
    };
    let live = |peer: &&Peer| peer.uid != request.object.uid && !peer.state.is_some_and(State::is_terminal);
    match peers.iter().filter(live).filter(before).find(|peer| identities.same(&peer.requester, requester)) {
        None => Ok(()),
        Some(peer) => Err(Refusal::new(
            Reason::AlreadyRequested,
            format!(
                "'{}' already has the live request '{}' ({}) for this eligibility and namespace; wait for its end, or end it with a decision Deactivate",
                requester.username,
                peer.name,
                peer.state.unwrap_or_default(),
            ),
        )),
    }
}
