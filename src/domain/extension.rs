//! Extension of an active activation (api rule 13): a request of its own that is granted while its base is active and starts at the base's
//! end. The two bindings overlap, so that there is no gap. An early end of one ends the whole extension chain.

use jiff::Timestamp;

use super::{
    binding::Binding,
    facts::{Lookup, RequestFacts},
    peers::Peer,
    person::Identities,
    refusal::Refusal,
    snapshot::{Base, Snapshot},
};
use api::{Reason, Stamp, State, names::binding_name};

/// End of the extended activation, and start of its chain.
pub type Prolonged = (Timestamp, Timestamp);

/// Returns what a request extends. `None` if it is not an extension.
///
/// The end is the earlier of those in the base's binding and in its record, and both must exist: the policies let only the operator write
/// them. The binding carries the start of the chain. Without it the chain starts at the base's creation, which is never later.
pub fn base(snapshot: &Snapshot, requester: &Stamp, identities: &Identities, now: Timestamp) -> Result<Option<Prolonged>, Refusal> {
    let Some(name) = snapshot.request.object.spec.base() else { return Ok(None) };
    let refuse = |why: String| Err(Refusal::new(Reason::ExtendedRequestNotActive, format!("spec.extends names '{name}', {why}")));
    let base = match &snapshot.base {
        Some(Lookup::Found(base)) => base,
        Some(Lookup::Unreadable(why)) => return refuse(format!("which cannot be read: {why}")),
        Some(Lookup::Absent | Lookup::Deleting(_)) | None => {
            return refuse(format!("but there is no such request in namespace '{}'; request a new activation", snapshot.request.namespace));
        }
    };
    let Base { request, binding } = base.as_ref();
    if request.object.uid == snapshot.request.object.uid {
        return refuse("which is this request itself".to_owned());
    }
    if !request.object.spec.requester.as_ref().is_some_and(|other| identities.same(other, requester)) {
        return refuse("which belongs to another user; you can extend only your own activations".to_owned());
    }
    if request.object.spec.eligibility_ref != snapshot.request.object.spec.eligibility_ref {
        return refuse(format!(
            "which is under eligibility '{}', not '{}'; name the same one in spec.eligibilityRef",
            request.object.spec.eligibility_ref.name, snapshot.request.object.spec.eligibility_ref.name
        ));
    }
    if request.record.state != Some(State::Active) || request.object.deleting {
        let state = request.record.state.unwrap_or_default();
        return refuse(format!("which is {state}: only an active one can be extended; request a new activation"));
    }
    let bound = match binding {
        Binding::Present(found) if found.managed => found.deadline().map(|end| (end, found.began())),
        // The webhook may not read bindings. The record never has a later end than the binding, which the controller verifies.
        Binding::Unread => request.record.expires_at.map(|end| (end, request.record.began.or(request.record.granted_at))),
        Binding::Present(_) | Binding::Absent => None,
    };
    let (Some((stored, began)), Some(recorded)) = (bound, request.record.expires_at) else {
        return refuse("whose end is unknown; request a new activation".to_owned());
    };
    let end = stored.min(recorded);
    if now >= end {
        return refuse("which has expired; request a new activation".to_owned());
    }
    Ok(Some((end, began.unwrap_or(request.object.created).min(end))))
}

/// Returns how an active grant ends after an early end of the other part of its chain: in the same state. An activation that its requester
/// deactivated was not revoked.
#[must_use]
pub fn broken(snapshot: &Snapshot, identities: &Identities, now: Timestamp) -> Option<(State, Refusal)> {
    let early = |state: Option<State>| state.filter(|state| matches!(state, State::Deactivated | State::Revoked));
    let ended = |state: State, name: &str, word: &str| {
        Some((state, Refusal::new(Reason::ExtendedRequestEnded, format!("'{name}', which {word}, ended early"))))
    };
    if let Some(name) = snapshot.request.object.spec.base() {
        let still_its_base = |base: &Base| is_link(&base.request, &snapshot.request, identities);
        match &snapshot.base {
            Some(Lookup::Found(base)) if still_its_base(base) => {
                if let Some(state) = early(base.request.record.state) {
                    return ended(state, name, "it extends");
                }
            }
            // Before its own term begins it depends on its base alone. Another request may have reused the name.
            Some(Lookup::Absent | Lookup::Deleting(_) | Lookup::Found(_))
                if snapshot.request.record.granted_at.is_none_or(|start| now < start) =>
            {
                return ended(State::Revoked, name, "it extends");
            }
            _ => {}
        }
    }
    prolonging(&snapshot.request, &snapshot.peers, identities)
        .find_map(|peer| early(peer.record.state).and_then(|state| ended(state, &peer.object.name, "extends it")))
}

/// Returns the names of the chain's other bindings, which end together with this one if it ends early.
#[must_use]
pub fn links(snapshot: &Snapshot, identities: &Identities) -> Vec<String> {
    let live = |state: Option<State>| state == Some(State::Active);
    let base = match &snapshot.base {
        Some(Lookup::Found(base)) if live(base.request.record.state) && is_link(&base.request, &snapshot.request, identities) => {
            Some(binding_name(&base.request.object.uid))
        }
        _ => None,
    };
    let later = prolonging(&snapshot.request, &snapshot.peers, identities).filter(|peer| live(peer.record.state));
    base.into_iter().chain(later.map(|peer| binding_name(&peer.object.uid))).collect()
}

/// Returns true if `base` is what `later` extends: the same person and eligibility, and not younger. A request that reuses the name of a
/// deleted one is a different request, perhaps of another user.
fn is_link(base: &RequestFacts, later: &RequestFacts, identities: &Identities) -> bool {
    let (Some(extended), Some(whose)) = (&base.object.spec.requester, &later.object.spec.requester) else { return false };
    base.object.created <= later.object.created
        && base.object.spec.eligibility_ref == later.object.spec.eligibility_ref
        && identities.same(extended, whose)
}

fn prolonging<'a>(request: &'a RequestFacts, peers: &'a [Peer], identities: &'a Identities) -> impl Iterator<Item = &'a Peer> {
    let named = |peer: &&Peer| peer.namespace == request.namespace && peer.object.spec.base() == Some(request.object.name.as_str());
    peers.iter().filter(named).filter(move |peer| {
        // An older request names an earlier request of this name.
        peer.object.created >= request.object.created
            && peer.object.uid != request.object.uid
            && peer.object.spec.eligibility_ref == request.object.spec.eligibility_ref
            && request.object.spec.requester.as_ref().is_some_and(|whose| identities.same(&peer.requester, whose))
    })
}
