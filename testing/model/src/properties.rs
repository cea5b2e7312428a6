//! The invariants, as properties of one state.
//!
//! Invariants 1, 8, 15, 16 and 24 are safety: no state may violate them. Invariant 31 is liveness. It is checked as safety too: time stops
//! only at the last tick, no replica lets time pass before its due work is done, and the number of failures is bounded. So "eventually"
//! means "in every quiet state at least X after the last disturbance". The checker's own `eventually` would miss a run that hangs in a
//! cycle.

use stateright::Property;

use crate::{
    faults::Fault,
    model::Protocol,
    rules::{self, Heard},
    setting::Setting,
    world::{BOTH, Binding, Decision, Request, State, Time, Verb, Who, World},
};

/// Invariant 1: a binding exists only for a request that has a right to it, until its deadline.
pub const INV_01: &str = "inv_01";
/// Invariant 8: after a decision against it, its recorded end or its deletion a request has no binding, and an end is final.
pub const INV_08: &str = "inv_08";
/// Invariant 15: at most one stored binding per request, and never one that is not the grant.
pub const INV_15: &str = "inv_15";
/// Invariant 16: no binding that still grants is treated as deleted.
pub const INV_16: &str = "inv_16";
/// Invariant 24: revocation needs no holder of the Lease and no webhook.
pub const INV_24: &str = "inv_24";
/// Invariant 31: after the last disturbance bindings and records reach the required state.
pub const INV_31: &str = "inv_31";
/// Not an invariant, but a check that the others are not vacuous: the last tick is reached.
pub const TIME_GOES_ON: &str = "time goes on";
/// The same: a request is granted.
pub const SOMEBODY_GRANTS: &str = "a request is granted";

/// Returns all of them.
#[must_use]
pub fn all() -> Vec<Property<Protocol>> {
    vec![
        Property::always(INV_01, |protocol: &Protocol, world: &World| {
            !world.faults.has(Fault::GrantedLate) && !outlived(protocol, world, over, |_| true)
        }),
        Property::always(INV_08, |protocol: &Protocol, world: &World| {
            let noted = [Fault::GrantedAgainst, Fault::EndChanged, Fault::GrantedAfterEnd].into_iter().any(|fault| world.faults.has(fault));
            !noted && !outlived(protocol, world, against, |_| true)
        }),
        Property::always(INV_15, |_, world: &World| {
            let ours = |request: &Request| world.bindings.iter().filter(|b| b.ours && b.grants() && b.request == request.uid).count();
            !world.faults.has(Fault::Adopted) && world.requests.iter().all(|request| ours(request) <= 1)
        }),
        Property::always(INV_16, |_, world: &World| !world.faults.has(Fault::TakenForGone)),
        Property::always(INV_24, |protocol: &Protocol, world: &World| {
            let alone = |world: &World| !world.webhook || !BOTH.into_iter().any(|who| world.leads(who) && world.replica(who).is_well());
            let ended = |protocol: &Protocol, world: &World, request: &Request| {
                [over(protocol, world, request), against(protocol, world, request)].into_iter().flatten().min()
            };
            !outlived(protocol, world, ended, alone)
        }),
        Property::always(INV_31, |protocol: &Protocol, world: &World| !protocol.is_quiet(world) || is_settled(protocol, world)),
        Property::sometimes(TIME_GOES_ON, |protocol: &Protocol, world: &World| world.now == protocol.0.horizon),
        Property::sometimes(SOMEBODY_GRANTS, |_, world: &World| world.bindings.iter().any(|binding| binding.ours)),
    ]
}

impl World {
    /// Returns the deadline of a request by all decisions that ever existed on it.
    #[must_use]
    pub fn deadline_of(&self, setting: &Setting, request: &Request) -> Option<Time> {
        let about: Vec<_> = self.decisions.iter().filter(|decision| decision.about == request.uid).collect();
        let approved = about.iter().find(|decision| decision.verb == Verb::Approve).map(|decision| decision.at);
        rules::deadline(setting, request, Heard { approved, against: None })
    }

    /// Returns since when a request has lost its right: by a decision, its deletion, its recorded end.
    #[must_use]
    pub fn speaks_against(&self, request: &Request) -> Option<Time> {
        let stored = self.request_of(request.uid)?;
        let no = |decision: &&Decision| decision.about == request.uid && decision.verb != Verb::Approve;
        let said = self.decisions.iter().filter(no).map(|decision| decision.at);
        said.chain(stored.gone).chain(stored.ended).min()
    }
}

/// Returns since when a request has no right to a binding by time and approval.
fn over(protocol: &Protocol, world: &World, request: &Request) -> Option<Time> {
    match world.deadline_of(&protocol.0, request) {
        None => Some(request.created),
        Some(deadline) => (deadline <= world.now).then_some(deadline),
    }
}

/// Returns since when a request has lost its right.
fn against(_: &Protocol, world: &World, request: &Request) -> Option<Time> {
    world.speaks_against(request)
}

/// Returns true when a managed binding still grants at X after its end, although a replica that was healthy all the time must have removed
/// it. X counts from the end, from the binding's creation, and from when that replica became healthy.
fn outlived(
    protocol: &Protocol,
    world: &World,
    end: impl Fn(&Protocol, &World, &Request) -> Option<Time>,
    counts: impl Fn(&World) -> bool,
) -> bool {
    let grace = protocol.0.grace;
    let since = |binding: &Binding| {
        let request = world.request_of(binding.request)?;
        end(protocol, world, request).map(|end| end.max(binding.made))
    };
    let well_for = |since: Time, who: Who| {
        let replica = world.replica(who);
        replica.is_well() && world.now > replica.well_since.max(since) + grace
    };
    let granting = || world.bindings.iter().filter(|binding| binding.ours && binding.grants());
    granting().filter_map(since).any(|since| BOTH.into_iter().any(|who| well_for(since, who))) && counts(world)
}

/// Returns true when bindings and record are in the required state, or when it is too early to require it.
fn is_settled(protocol: &Protocol, world: &World) -> bool {
    let grace = protocol.0.grace;
    let calm = |since: Time| world.now > since + grace;
    let holds = BOTH.into_iter().any(|who| world.leads(who) && world.replica(who).is_well() && calm(world.replica(who).well_since));
    if !(holds && calm(world.lease.since) && calm(world.stirred) && world.late.is_none()) {
        return true;
    }
    let grants = |request: &Request| world.bindings.iter().any(|b| b.ours && b.grants() && b.labelled && b.request == request.uid);
    // A binding that a foreign finalizer holds is emptied, and its end is not recorded: it is not deleted.
    let held = |request: &Request| world.bindings.iter().any(|b| b.there && b.deleting && !b.grants() && b.request == request.uid);
    world.requests.iter().all(|request| {
        let over = over(protocol, world, request).is_some_and(calm);
        let waits = world.deadline_of(&protocol.0, request).is_none();
        let ended = request.gone.is_some() || request.state.is_terminal();
        match request.state {
            _ if ended => !grants(request),
            State::Pending | State::Active if held(request) => true,
            // Approved, in time and without a decision against it: it must be granted by now.
            State::Pending => waits && against(protocol, world, request).is_none(),
            _ => grants(request) && !over && against(protocol, world, request).is_none(),
        }
    })
}
