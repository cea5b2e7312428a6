//! The state of the model: the store of the API server, its clock, the Lease and the two replicas.
//!
//! Deleted objects stay listed, since the properties need them; nothing in the protocol reads them.

use crate::{
    faults::Faults,
    replica::{News, Observation, Replica},
    setting::Setting,
};

/// Time of the API server in ticks. A tick is about a second; the longer waits keep their order, not their length.
pub type Time = u8;

/// How long a holder believes that it holds the Lease (`RENEW_DEADLINE` in `src/operator/election/lease.rs`).
pub const BELIEVED: Time = 2;
/// How long the Lease must be unchanged before another replica takes it (`LEASE_DURATION` in `src/operator/election/lease.rs`).
pub const HELD: Time = 3;
/// How long a replica without the Lease leaves due work to the holder (`PATIENCE` in `src/operator/revoker/turn.rs`, `HOLDERS_TIME` in
/// `src/operator/controller/requests/mod.rs`).
pub const PATIENCE: Time = 1;

/// One of the two replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Who {
    /// The holder of the Lease at the start.
    A,
    /// The standby at the start.
    B,
}

/// Both replicas.
pub const BOTH: [Who; 2] = [Who::A, Who::B];

/// UID of a request. All requests of the model have one name, so a new one replaces one that was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestUid(pub u8);

/// UID of a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BindingUid(pub u8);

/// Name of a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Name {
    /// `jit-<request uid>`.
    Of(RequestUid),
    /// A name that does not follow from a UID. The product creates none.
    Random(u8),
}

/// The state in a request's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// No status yet, or pending.
    Pending,
    /// Granted.
    Active,
    /// Denied, by a decision before the grant.
    Denied,
    /// Withdrawn, by the requester before the grant.
    Withdrawn,
    /// It missed its own deadline.
    TimedOut,
    /// A binding of its name differed from the one to be granted.
    Failed,
    /// Expired.
    Expired,
    /// Deactivated by the requester.
    Deactivated,
    /// Revoked.
    Revoked,
}

impl State {
    /// Returns true for a final state.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        !matches!(self, Self::Pending | Self::Active)
    }
}

/// A `RoleActivationRequest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    /// UID.
    pub uid: RequestUid,
    /// When it was created.
    pub created: Time,
    /// When it was deleted.
    pub gone: Option<Time>,
    /// `resourceVersion`: the number of writes.
    pub version: u8,
    /// `status.state`.
    pub state: State,
    /// `status.expiresAt`.
    pub expires: Option<Time>,
    /// `status.bindingRef.uid`.
    pub binding: Option<BindingUid>,
    /// When its end was recorded. Read by properties only.
    pub ended: Option<Time>,
}

/// The kind of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Approve, by an approver.
    Approve,
    /// Revoke, by an approver or revoker; stands for Deny too.
    Revoke,
    /// Deactivate, by the requester.
    Deactivate,
}

/// An `ActivationDecision`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Decision {
    /// The stamped UID of the request that it is about.
    pub about: RequestUid,
    /// Its kind.
    pub verb: Verb,
    /// When it was created.
    pub at: Time,
    /// Deleted.
    pub gone: bool,
}

/// A foreign finalizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Finalizer {
    /// The operator may strip it.
    Loose,
    /// An admission rule denies its removal.
    Stubborn,
}

/// The subjects of a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subjects {
    /// The stamped requester.
    Requester,
    /// Another user.
    Others,
    /// None.
    Nobody,
}

/// A `RoleBinding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "each may be so whatever the others are")]
pub struct Binding {
    /// UID.
    pub uid: BindingUid,
    /// Name.
    pub name: Name,
    /// The request whose name and UID it bears.
    pub request: RequestUid,
    /// Its annotation `expires-at`.
    pub deadline: Time,
    /// Its label `managed`.
    pub labelled: bool,
    /// A foreign finalizer.
    pub finalizer: Option<Finalizer>,
    /// Subjects.
    pub subjects: Subjects,
    /// `deletionTimestamp` is set.
    pub deleting: bool,
    /// Stored. RBAC grants by the stored object, also while it is being deleted.
    pub there: bool,
    /// When it was created.
    pub made: Time,
    /// Created by the operator. Read by properties only.
    pub ours: bool,
}

impl Binding {
    /// Returns true while the binding grants a role to a subject.
    #[must_use]
    pub fn grants(&self) -> bool {
        self.there && self.subjects != Subjects::Nobody
    }
}

/// The Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    /// Its holder.
    pub holder: Option<Who>,
    /// When the holder last renewed it.
    pub renewed: Time,
    /// Since when this one holds it. Read by properties only.
    pub since: Time,
    /// It can be neither read nor written.
    pub broken: bool,
}

/// A call that its sender has given up and that reaches the API server later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Late {
    /// The binding to be created.
    pub binding: Binding,
    /// Its sender had begun when the request had lost its right already.
    pub known_no: bool,
}

/// The state of the model at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    /// Time of the API server.
    pub now: Time,
    /// All requests that ever existed; at most one is not deleted.
    pub requests: Vec<Request>,
    /// All decisions.
    pub decisions: Vec<Decision>,
    /// All bindings.
    pub bindings: Vec<Binding>,
    /// The Lease.
    pub lease: Lease,
    /// The webhook is up.
    pub webhook: bool,
    /// A delayed call.
    pub late: Option<Late>,
    /// Replica A.
    pub a: Replica,
    /// Replica B.
    pub b: Replica,
    /// The used acts of the setting, a bit each.
    pub used: u16,
    /// The time of the last act, or of the last recovery from one. Read by properties only.
    pub stirred: Time,
    /// Violations that cannot be observed afterwards. Read by properties only.
    pub faults: Faults,
}

impl World {
    /// The start: one request was just created, A holds the Lease, both replicas run and have swept.
    #[must_use]
    pub fn new(setting: &Setting) -> Self {
        let mut world = Self {
            now: 0,
            requests: Vec::new(),
            decisions: Vec::new(),
            bindings: Vec::new(),
            lease: Lease { holder: Some(Who::A), renewed: 0, since: 0, broken: false },
            webhook: true,
            late: None,
            a: Replica::running(setting),
            b: if setting.alone { Replica::down() } else { Replica::running(setting) },
            used: 0,
            stirred: 0,
            faults: Faults::default(),
        };
        world.a.leads_until = Some(BELIEVED);
        world.create_request();
        world
    }

    /// Returns a replica.
    #[must_use]
    pub const fn replica(&self, who: Who) -> &Replica {
        match who {
            Who::A => &self.a,
            Who::B => &self.b,
        }
    }

    /// Returns a replica, to change it.
    pub const fn replica_mut(&mut self, who: Who) -> &mut Replica {
        match who {
            Who::A => &mut self.a,
            Who::B => &mut self.b,
        }
    }

    /// Returns true while this replica believes that it holds the Lease (`Leadership::held`).
    #[must_use]
    pub fn leads(&self, who: Who) -> bool {
        self.replica(who).leads_until.is_some_and(|until| self.now < until)
    }

    /// GET of the request.
    #[must_use]
    pub fn request(&self) -> Option<&Request> {
        self.requests.iter().find(|request| request.gone.is_none())
    }

    /// Returns the request with this UID, also a deleted one.
    #[must_use]
    pub fn request_of(&self, uid: RequestUid) -> Option<&Request> {
        self.requests.iter().find(|request| request.uid == uid)
    }

    /// GET of a binding by name.
    #[must_use]
    pub fn binding(&self, name: Name) -> Option<&Binding> {
        self.bindings.iter().find(|binding| binding.there && binding.name == name)
    }

    /// Returns true while the binding with this UID is stored.
    #[must_use]
    pub fn is_there(&self, uid: BindingUid) -> bool {
        self.bindings.iter().any(|binding| binding.there && binding.uid == uid)
    }

    /// POST of a request.
    pub fn create_request(&mut self) {
        let uid = RequestUid(u8::try_from(self.requests.len()).unwrap_or(u8::MAX));
        let (created, state) = (self.now, State::Pending);
        self.requests.push(Request { uid, created, gone: None, version: 0, state, expires: None, binding: None, ended: None });
        self.stir();
    }

    /// DELETE of the request.
    pub fn delete_request(&mut self) {
        let now = self.now;
        if let Some(request) = self.requests.iter_mut().find(|request| request.gone.is_none()) {
            request.gone = Some(now);
            self.stir();
        }
    }

    /// POST of a decision; admission stamps the UID of the existing request.
    pub fn decide(&mut self, verb: Verb) {
        let Some(about) = self.request().map(|request| request.uid) else { return };
        self.decisions.push(Decision { about, verb, at: self.now, gone: false });
        self.stir();
    }

    /// POST of a binding; returns false if the name exists.
    pub fn create_binding(&mut self, binding: Binding) -> bool {
        if self.binding(binding.name).is_some() {
            return false;
        }
        let uid = BindingUid(u8::try_from(self.bindings.len()).unwrap_or(u8::MAX));
        self.bindings.push(Binding { uid, there: true, made: self.now, ..binding });
        if binding.labelled {
            self.tell(uid, Observation::Applied);
        }
        true
    }

    /// Changes a stored binding and sends the event to the watches of managed bindings.
    pub fn change_binding(&mut self, uid: BindingUid, change: impl FnOnce(&mut Binding)) {
        let Some(binding) = self.bindings.iter_mut().find(|binding| binding.there && binding.uid == uid) else { return };
        let before = *binding;
        change(binding);
        // On removal of the last finalizer the API server removes an object that was deleted before.
        if binding.deleting && binding.finalizer.is_none() {
            *binding = Binding { there: false, labelled: false, subjects: Subjects::Nobody, ..*binding };
        }
        let now = *binding;
        if now == before || !before.labelled {
            return;
        }
        self.tell(uid, if now.there && now.labelled { Observation::Applied } else { Observation::Deleted });
    }

    /// DELETE of a binding.
    pub fn delete_binding(&mut self, uid: BindingUid) {
        self.change_binding(uid, |binding| binding.deleting = true);
    }

    /// Marks the request as changed for its watches.
    pub fn stir(&mut self) {
        for replica in [&mut self.a, &mut self.b] {
            replica.stirred |= replica.is_up();
        }
    }

    fn tell(&mut self, uid: BindingUid, sight: Observation) {
        for replica in [&mut self.a, &mut self.b] {
            let told = replica.news.last().is_some_and(|last| *last == News { uid, sight });
            // Two equal states in a row give a watcher no new information.
            if replica.is_up() && !told {
                replica.news.push(News { uid, sight });
            }
        }
    }
}
