//! One replica: its memory, the undelivered events of its watches, and its current work.

use crate::{
    guards::Guard,
    request::Work,
    revoker::Ending,
    setting::Setting,
    world::{Binding, BindingUid, Decision, Name, PATIENCE, Request, RequestUid, Time, Who, World},
};

/// The phase of a replica (`run` in `src/operator/controller/mod.rs`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// It does not run.
    Down,
    /// It runs and has not listed the bindings yet.
    Starting,
    /// It ends the overdue bindings of that list.
    Sweeping(Vec<BindingUid>),
    /// It does all of its work.
    Running,
}

/// The type of a watch event of a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Observation {
    /// ADDED or MODIFIED.
    Applied,
    /// DELETED, also for a binding that lost its label.
    Deleted,
}

/// An event of the watch of managed bindings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct News {
    /// The binding.
    pub uid: BindingUid,
    /// Its content.
    pub sight: Observation,
}

/// A binding in the index (`src/operator/revoker/index.rs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Known {
    /// UID.
    pub uid: BindingUid,
    /// Name.
    pub name: Name,
    /// Deadline.
    pub deadline: Time,
    /// The watch no longer has it, and the API server was not read yet.
    pub unverified: bool,
    /// An attempt in this tick did not complete.
    pub rests: bool,
}

/// The last state that the watches of requests and decisions delivered. Kept only where a guard is disabled whose absence makes the replica
/// read it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Cached {
    /// The request.
    pub request: Option<Request>,
    /// The decisions.
    pub decisions: Vec<Decision>,
}

/// A replica.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "each may be so whatever the others are")]
pub struct Replica {
    /// Its phase.
    pub phase: Phase,
    /// It is paused.
    pub paused: bool,
    /// Its watches deliver nothing.
    pub deaf: bool,
    /// Until when it believes that it holds the Lease.
    pub leads_until: Option<Time>,
    /// The bindings in its index.
    pub index: Vec<Known>,
    /// Undelivered events of the watch of bindings.
    pub news: Vec<News>,
    /// The watch of bindings has to list again.
    pub relist: bool,
    /// The watches of requests and decisions have an undelivered state.
    pub stirred: bool,
    /// The last state that those watches delivered.
    pub cached: Option<Cached>,
    /// The sweep of all bindings is due.
    pub sweeps: bool,
    /// When the request is due in the queue.
    pub look: Option<Time>,
    /// The binding whose next event is ignored (`expect` in `src/operator/revoker/mod.rs`).
    pub expected: Option<Name>,
    /// The current work of the worker on requests.
    pub work: Option<Work>,
    /// The current work of the worker on bindings.
    pub ending: Option<Ending>,
    /// Since when it runs, receives events and has had no error. Read by properties only.
    pub well_since: Time,
}

impl Replica {
    /// A replica that does not run.
    #[must_use]
    pub const fn down() -> Self {
        Self {
            phase: Phase::Down,
            paused: false,
            deaf: false,
            leads_until: None,
            index: Vec::new(),
            news: Vec::new(),
            relist: false,
            stirred: false,
            cached: None,
            sweeps: false,
            look: None,
            expected: None,
            work: None,
            ending: None,
            well_since: 0,
        }
    }

    /// A replica that starts.
    #[must_use]
    pub fn starting(setting: &Setting) -> Self {
        let reads = !setting.has(Guard::ReadRequest) || !setting.has(Guard::ReadDecisions);
        let phase = if setting.has(Guard::Sweep) { Phase::Starting } else { Phase::Running };
        Self { phase, relist: true, stirred: true, cached: reads.then(Cached::default), ..Self::down() }
    }

    /// A replica that has started in an empty cluster.
    #[must_use]
    pub fn running(setting: &Setting) -> Self {
        Self { phase: Phase::Running, relist: false, stirred: false, ..Self::starting(setting) }
    }

    /// Returns true while it runs, however slowly.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.phase != Phase::Down
    }

    /// Returns true while it can take a step.
    #[must_use]
    pub fn moves(&self) -> bool {
        self.is_up() && !self.paused
    }

    /// Returns true while it is healthy.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.phase == Phase::Running && !self.paused && !self.deaf
    }

    /// Queues the request for no later than this time (`add_at` in `src/operator/queue.rs`).
    pub fn look_at(&mut self, at: Time) {
        self.look = Some(self.look.map_or(at, |before| before.min(at)));
    }

    /// Returns true when a binding of this name is in its index.
    #[must_use]
    pub fn knows(&self, name: Name) -> bool {
        self.index.iter().any(|known| known.name == name)
    }

    /// Puts a binding into the index. The index is by name: the new binding replaces the old one of that name.
    pub fn note(&mut self, binding: Known) {
        self.index.retain(|known| known.name != binding.name);
        self.index.push(binding);
        self.index.sort_by_key(|known| known.uid.0);
    }

    /// Removes a deleted binding from the index, unless another one has its name by now (`forget` in `src/operator/revoker/index.rs`).
    pub fn forget(&mut self, uid: BindingUid) {
        self.index.retain(|known| known.uid != uid);
    }

    /// Returns the difference between the API server's list of managed bindings and the index of this replica.
    fn others(&self, listed: &[BindingUid]) -> Vec<Name> {
        self.index.iter().filter(|known| !listed.contains(&known.uid)).map(|known| known.name).collect()
    }
}

impl World {
    /// Queues the request: at once on the holder of the Lease, on another replica after the holder had time for it (`request` of `Queues`
    /// in `src/operator/controller/mod.rs`).
    pub fn hint(&mut self, who: Who) {
        let at = self.now + if self.leads(who) { 0 } else { PATIENCE };
        self.replica_mut(who).look_at(at);
    }

    /// Handles an observed binding (`seen` in `src/operator/revoker/mod.rs`, `note` in `src/operator/revoker/index.rs`).
    pub fn see(&mut self, who: Who, uid: BindingUid) {
        let Some(binding) = self.bindings.iter().find(|binding| binding.uid == uid).copied() else { return };
        let replica = self.replica_mut(who);
        let Binding { name, deadline, .. } = binding;
        replica.note(Known { uid, name, deadline, unverified: false, rests: false });
        if replica.expected == Some(binding.name) {
            replica.expected = None;
        } else {
            self.hint(who);
        }
    }

    /// Handles a DELETED event of a binding (`doubt` in `src/operator/revoker/mod.rs`).
    fn mark_unverified(&mut self, setting: &Setting, who: Who, name: Name) {
        if setting.has(Guard::LookAfterDeleted) {
            for known in self.replica_mut(who).index.iter_mut().filter(|known| known.name == name) {
                known.unverified = true;
            }
        } else if let Some(uid) = self.replica(who).index.iter().find(|known| known.name == name).map(|known| known.uid) {
            self.gone(who, uid);
        }
    }

    /// Delivers the next event of the watch of bindings (`follow` in `src/operator/revoker/mod.rs`).
    pub fn deliver(&mut self, setting: &Setting, who: Who) {
        let replica = self.replica_mut(who);
        if replica.news.is_empty() {
            return;
        }
        let News { uid, sight } = replica.news.remove(0);
        match sight {
            Observation::Applied => self.see(who, uid),
            Observation::Deleted => {
                if let Some(name) = self.bindings.iter().find(|binding| binding.uid == uid).map(|binding| binding.name) {
                    self.mark_unverified(setting, who, name);
                }
            }
        }
    }

    /// The watch of bindings lists again (`Init` to `InitDone` of `follow` in `src/operator/revoker/mod.rs`).
    pub fn relist(&mut self, setting: &Setting, who: Who) {
        let replica = self.replica_mut(who);
        replica.relist = false;
        replica.news.clear();
        let listed: Vec<_> = self.bindings.iter().filter(|binding| binding.there && binding.labelled).map(|binding| binding.uid).collect();
        for uid in &listed {
            self.see(who, *uid);
        }
        for name in self.replica(who).others(&listed) {
            self.mark_unverified(setting, who, name);
        }
    }

    /// Delivers the state of the watches of requests and decisions (`Follower` in `src/operator/controller/follower.rs`).
    pub fn deliver_request(&mut self, who: Who) {
        let cached = Cached {
            request: self.request().copied(),
            decisions: self.decisions.iter().filter(|decision| !decision.gone).copied().collect(),
        };
        let replica = self.replica_mut(who);
        replica.stirred = false;
        if let Some(before) = replica.cached.as_mut() {
            *before = cached;
        }
        self.hint(who);
    }

    /// Returns true when a replica may write the Lease now and does not hold it (`next_step` in `src/operator/election/lease.rs`).
    #[must_use]
    pub fn may_take_lease(&self, who: Who) -> bool {
        let replica = self.replica(who);
        let free = match self.lease.holder {
            None => true,
            Some(holder) if holder == who => true,
            Some(_) => self.now >= self.lease.renewed + crate::world::HELD,
        };
        free && !self.lease.broken && replica.phase == Phase::Running && replica.moves() && !self.leads(who)
    }

    /// A replica acquires the Lease, and requeues everything (`round` in `src/operator/election/lease.rs`, `leadership` in
    /// `src/operator/controller/follower.rs`).
    pub fn take_lease(&mut self, setting: &Setting, who: Who) {
        if self.lease.holder != Some(who) {
            self.lease.since = self.now;
        }
        self.lease.holder = Some(who);
        self.lease.renewed = self.now;
        self.believe(who);
        if setting.has(Guard::LookAtTakeover) {
            self.hint(who);
        }
    }

    fn believe(&mut self, who: Who) {
        let until = self.now + crate::world::BELIEVED;
        self.replica_mut(who).leads_until = Some(until);
    }

    /// The rounds of the electors at the start of a tick: the holder renews, a former holder notices its loss.
    pub fn renew(&mut self, who: Who) {
        let replica = self.replica(who);
        let looks = replica.phase == Phase::Running && replica.moves() && !self.lease.broken;
        if looks && self.lease.holder != Some(who) {
            self.replica_mut(who).leads_until = None;
        } else if looks && replica.leads_until.is_some() {
            self.lease.renewed = self.now;
            self.believe(who);
        }
        // An expired belief counts as none.
        if !self.leads(who) {
            self.replica_mut(who).leads_until = None;
        }
    }

    /// Returns the bindings in a replica's index that name the request: all, since there is one name (`of_request` in
    /// `src/operator/revoker/index.rs`).
    #[must_use]
    pub fn known(&self, who: Who) -> Vec<(BindingUid, Name)> {
        self.replica(who).index.iter().map(|known| (known.uid, known.name)).collect()
    }

    /// Returns the request that a binding was made for.
    #[must_use]
    pub fn request_of_binding(&self, uid: BindingUid) -> Option<RequestUid> {
        self.bindings.iter().find(|binding| binding.uid == uid).map(|binding| binding.request)
    }
}
