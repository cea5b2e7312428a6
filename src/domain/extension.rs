//! Prolonging a running activation (api rule 13): a request of its own, granted while its base is active, from the base's end on. The two
//! overlap, so that there is no gap; whatever ends one before its time ends the whole chain.

use chrono::{DateTime, Utc};

use super::{
    binding::Binding,
    facts::{Lookup, RequestFacts},
    peers::Peer,
    person::Identities,
    refusal::Refusal,
    snapshot::{Base, Snapshot},
};
use api::{Reason, Stamp, State, names::binding_name};

/// End and chain's start of what a request prolongs.
pub type Prolonged = (DateTime<Utc>, DateTime<Utc>);

/// What a request prolongs; none where it prolongs nothing.
///
/// The end is the earlier of what the base's binding and its record say, and counts only with both: the policies let nobody but the
/// operator write them. The chain's start stands on the binding; without it the base counts from its creation, which is never later.
pub fn base(snapshot: &Snapshot, requester: &Stamp, identities: &Identities, now: DateTime<Utc>) -> Result<Option<Prolonged>, Refusal> {
    let Some(name) = snapshot.request.object.spec.base() else { return Ok(None) };
    let refuse = |why: String| Err(Refusal::new(Reason::ExtendedRequestNotActive, format!("spec.extends names '{name}', {why}")));
    let base = match &snapshot.base {
        Some(Lookup::Found(base)) => base,
        Some(Lookup::Unreadable(why)) => return refuse(format!("which cannot be read: {why}")),
        Some(Lookup::Absent | Lookup::Deleting(_)) | None => {
            return refuse(format!("and there is no such request in namespace '{}'; ask for a new activation", snapshot.request.namespace));
        }
    };
    let Base { request, binding } = base.as_ref();
    if request.object.uid == snapshot.request.object.uid {
        return refuse("which is this request itself".to_owned());
    }
    if !request.object.spec.requester.as_ref().is_some_and(|other| identities.same(other, requester)) {
        return refuse("which is somebody else's; everybody prolongs his own activations only".to_owned());
    }
    if request.object.spec.eligibility_ref != snapshot.request.object.spec.eligibility_ref {
        return refuse(format!(
            "which is under eligibility '{}', not '{}'; name the same one in spec.eligibilityRef",
            request.object.spec.eligibility_ref.name, snapshot.request.object.spec.eligibility_ref.name
        ));
    }
    if request.record.state != Some(State::Active) || request.object.deleting {
        let state = request.record.state.unwrap_or_default();
        return refuse(format!("which is {state}: only an active one can be prolonged; ask for a new activation"));
    }
    let bound = match binding {
        Binding::Present(found) if found.managed => found.deadline().map(|end| (end, found.began())),
        // The webhook may not read bindings; the record says no later end than the binding, or the controller will see.
        Binding::Unread => request.record.expires_at.map(|end| (end, request.record.began.or(request.record.granted_at))),
        Binding::Present(_) | Binding::Absent => None,
    };
    let (Some((stored, began)), Some(recorded)) = (bound, request.record.expires_at) else {
        return refuse("whose end cannot be told; ask for a new activation".to_owned());
    };
    let end = stored.min(recorded);
    if now >= end {
        return refuse("whose time is up; ask for a new activation".to_owned());
    }
    Ok(Some((end, began.unwrap_or(request.object.created).min(end))))
}

/// How what runs ends, once the other end of its chain ended before its time: in the same state. What its requester gave back was not
/// revoked.
#[must_use]
pub fn broken(snapshot: &Snapshot, identities: &Identities, now: DateTime<Utc>) -> Option<(State, Refusal)> {
    let early = |state: Option<State>| state.filter(|state| matches!(state, State::Deactivated | State::Revoked));
    let ended = |state: State, name: &str, word: &str| {
        Some((state, Refusal::new(Reason::ExtendedRequestEnded, format!("'{name}', which {word}, ended before its time"))))
    };
    if let Some(name) = snapshot.request.object.spec.base() {
        let still_its_base = |base: &Base| is_link(&base.request, &snapshot.request, identities);
        match &snapshot.base {
            Some(Lookup::Found(base)) if still_its_base(base) => {
                if let Some(state) = early(base.request.record.state) {
                    return ended(state, name, "it prolongs");
                }
            }
            // Before its own time begins it stands on its base alone. Another request may have the name by now.
            Some(Lookup::Absent | Lookup::Deleting(_) | Lookup::Found(_))
                if snapshot.request.record.granted_at.is_none_or(|start| now < start) =>
            {
                return ended(State::Revoked, name, "it prolongs");
            }
            _ => {}
        }
    }
    prolonging(&snapshot.request, &snapshot.peers, identities)
        .find_map(|peer| early(peer.record.state).and_then(|state| ended(state, &peer.object.name, "prolongs it")))
}

/// The names of the other bindings of the chain, which end together with this one before its time.
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

/// True where `base` is what `later` was granted upon: of the same person under the same eligibility, and not younger. A request that has
/// taken the name of one that was deleted is another one, and maybe somebody else's.
fn is_link(base: &RequestFacts, later: &RequestFacts, identities: &Identities) -> bool {
    let (Some(his), Some(whose)) = (&base.object.spec.requester, &later.object.spec.requester) else { return false };
    base.object.created <= later.object.created
        && base.object.spec.eligibility_ref == later.object.spec.eligibility_ref
        && identities.same(his, whose)
}

fn prolonging<'a>(request: &'a RequestFacts, peers: &'a [Peer], identities: &'a Identities) -> impl Iterator<Item = &'a Peer> {
    let named = |peer: &&Peer| peer.namespace == request.namespace && peer.object.spec.base() == Some(request.object.name.as_str());
    peers.iter().filter(named).filter(move |peer| {
        // One that is older names another request, which had this name before.
        peer.object.created >= request.object.created
            && peer.object.uid != request.object.uid
            && peer.object.spec.eligibility_ref == request.object.spec.eligibility_ref
            && request.object.spec.requester.as_ref().is_some_and(|whose| identities.same(&peer.requester, whose))
    })
}
