//! The end of one binding (`src/operator/revoker/`), call by call, and the bindings that a replica ends on its own.

use crate::{
    call::{Call, Kind},
    faults::Fault,
    guards::Guard,
    replica::{Known, Phase},
    setting::Setting,
    world::{Binding, BindingUid, Finalizer, Name, PATIENCE, Subjects, Time, Who, World},
};

/// The next call of `end` in `src/operator/revoker/end.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Next {
    /// GET by name only, since the watch reports it as deleted (`look` in `src/operator/revoker/mod.rs`).
    Look,
    /// DELETE with the UID.
    Delete,
    /// GET by name.
    Get,
    /// PATCH that strips the finalizers.
    Strip,
    /// GET after that.
    GetStripped,
    /// PATCH that empties the subjects.
    Empty,
    /// GET after that.
    GetEmptied,
}

/// A binding that is being ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ending {
    /// Its UID.
    pub uid: BindingUid,
    /// Its name.
    pub name: Name,
    /// The delete was denied.
    pub refused: bool,
    /// The caller that records the end verifies that it is deleted (`Proof` in `src/operator/revoker/end.rs`).
    pub proven_by_record: bool,
    /// The next call.
    pub next: Next,
}

/// The result of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There is more to do.
    Goes(Ending),
    /// It is deleted.
    Gone,
    /// It exists and was only read.
    There,
    /// It exists without subjects, and cannot be removed.
    Emptied,
    /// A call failed: retry.
    Failed,
    /// Nothing more can be done in this tick.
    Stuck,
}

impl Ending {
    /// The end of a binding whose end is about to be recorded.
    #[must_use]
    pub const fn of(uid: BindingUid, name: Name) -> Self {
        Self { uid, name, refused: false, proven_by_record: false, next: Next::Delete }
    }

    /// The end of a binding whose deadline has passed.
    const fn of_due(uid: BindingUid, name: Name) -> Self {
        Self { proven_by_record: true, ..Self::of(uid, name) }
    }

    /// Returns the kind of its next call.
    #[must_use]
    pub const fn kind(self) -> Kind {
        match self.next {
            Next::Look | Next::Get | Next::GetStripped | Next::GetEmptied => Kind::Read,
            Next::Delete | Next::Strip | Next::Empty => Kind::Write,
        }
    }

    const fn then(self, next: Next) -> Outcome {
        Outcome::Goes(Self { next, ..self })
    }

    /// `present` in `src/operator/revoker/end.rs`: GET by name, only for this UID.
    fn present(self, world: &World) -> Option<Binding> {
        world.binding(self.name).filter(|binding| binding.uid == self.uid).copied()
    }

    /// Makes the next call.
    pub fn step(self, world: &mut World, setting: &Setting, call: Call) -> Outcome {
        let failed = call == Call::Refused;
        match self.next {
            Next::Look | Next::Get | Next::GetStripped | Next::GetEmptied if failed => Outcome::Failed,
            Next::Look => {
                if self.present(world).is_some() {
                    Outcome::There
                } else {
                    Outcome::Gone
                }
            }
            Next::Delete => {
                let found = world.binding(self.name).filter(|found| found.uid == self.uid || !setting.has(Guard::DeleteByUid)).copied();
                if let Some(found) = found.filter(|_| !failed) {
                    world.delete_binding(found.uid);
                }
                // A denial is not final. For an object that a finalizer holds, the API server returns the object.
                let refused = call != Call::Done;
                let removed =
                    self.proven_by_record && found.is_some_and(|found| !world.bindings.iter().any(|b| b.uid == found.uid && b.there));
                if refused || (setting.has(Guard::LookAfterDelete) && !removed) {
                    Self { refused, ..self }.then(Next::Get)
                } else {
                    Outcome::Gone
                }
            }
            Next::Get => match self.present(world) {
                None => Outcome::Gone,
                Some(_) if !setting.has(Guard::StripOrEmpty) => Outcome::Stuck,
                Some(held) if held.finalizer.is_some() => self.then(Next::Strip),
                Some(_) => self.then(Next::Empty),
            },
            Next::Strip => {
                let loose = self.present(world).is_some_and(|held| held.finalizer == Some(Finalizer::Loose));
                if loose && !failed {
                    world.change_binding(self.uid, |binding| binding.finalizer = None);
                }
                self.then(if loose && call == Call::Done { Next::GetStripped } else { Next::Empty })
            }
            Next::GetStripped => match self.present(world) {
                None => Outcome::Gone,
                Some(_) => self.then(Next::Empty),
            },
            Next::Empty => {
                if self.present(world).is_some() && !failed {
                    world.change_binding(self.uid, |binding| binding.subjects = Subjects::Nobody);
                }
                if call == Call::Done { self.then(Next::GetEmptied) } else { Outcome::Failed }
            }
            Next::GetEmptied => match self.present(world) {
                None => Outcome::Gone,
                Some(_) if self.refused => Outcome::Failed,
                Some(_) => Outcome::Emptied,
            },
        }
    }
}

impl World {
    /// A replica treats a binding as deleted (`gone` in `src/operator/revoker/mod.rs`, `revoke` there).
    pub fn gone(&mut self, who: Who, uid: BindingUid) {
        self.believe_gone(uid);
        self.replica_mut(who).forget(uid);
        self.hint(who);
    }

    /// It is not read again.
    pub fn believe_gone(&mut self, uid: BindingUid) {
        if self.bindings.iter().any(|binding| binding.uid == uid && binding.grants()) {
            self.faults.note(Fault::TakenForGone);
        }
    }

    /// Returns the work that the worker on bindings of a replica would begin now: bindings to verify, and overdue ones that it may
    /// end now (`work` in `src/operator/revoker/mod.rs`, `wait` in `src/operator/revoker/turn.rs`).
    #[must_use]
    pub fn due(&self, setting: &Setting, who: Who) -> Option<Ending> {
        let replica = self.replica(who);
        if let Phase::Sweeping(overdue) = &replica.phase {
            let first = overdue.first()?;
            return self.bindings.iter().find(|binding| binding.uid == *first).map(|binding| Ending::of_due(binding.uid, binding.name));
        }
        let clock = setting.clock(who, self.now);
        let turn = |deadline: Time| {
            let due = i16::from(deadline);
            self.leads(who) && clock >= due || setting.has(Guard::StandbyEnds) && clock >= due + i16::from(PATIENCE)
        };
        let begin = |known: &Known| {
            let ending = Ending::of_due(known.uid, known.name);
            match (known.unverified, clock >= i16::from(known.deadline)) {
                (_, true) if !turn(known.deadline) => None,
                (true, _) => Some(Ending { next: Next::Look, ..ending }),
                (false, due) => due.then_some(ending),
            }
        };
        replica.index.iter().filter(|known| !known.rests).find_map(begin)
    }

    /// Makes the next call of the worker on bindings.
    pub fn work_on_binding(&mut self, setting: &Setting, who: Who, call: Call) {
        let Some(ending) = self.replica_mut(who).ending.take().or_else(|| self.due(setting, who)) else { return };
        let outcome = ending.step(self, setting, call);
        let mut rests = false;
        match outcome {
            Outcome::Goes(ending) => {
                self.replica_mut(who).ending = Some(ending);
                return;
            }
            Outcome::Gone => {
                // `gone` withdraws the expectation of its next event.
                self.replica_mut(who).expected.take_if(|name| *name == ending.name);
                self.gone(who, ending.uid);
            }
            Outcome::There => self.hint(who),
            Outcome::Failed => {}
            Outcome::Emptied | Outcome::Stuck => rests = true,
        }
        for known in self.replica_mut(who).index.iter_mut().filter(|known| known.uid == ending.uid) {
            known.unverified &= outcome == Outcome::Failed;
            known.rests = rests;
        }
        self.swept(who, Some(ending.uid));
    }

    /// A sweep lists all bindings: the managed ones, and those without the label that have a managed name and a deadline (`sweep` in
    /// `src/operator/revoker/sweep.rs`).
    pub fn sweep(&mut self, setting: &Setting, who: Who, call: Call) {
        if call == Call::Refused {
            return;
        }
        let listed: Vec<_> = self.bindings.iter().filter(|binding| binding.there).copied().collect();
        for binding in &listed {
            self.see(who, binding.uid);
        }
        // Later sweeps leave overdue bindings to the worker.
        if std::mem::take(&mut self.replica_mut(who).sweeps) {
            return;
        }
        let clock = setting.clock(who, self.now);
        let overdue = listed.iter().filter(|binding| i16::from(binding.deadline) <= clock).map(|binding| binding.uid).collect();
        self.replica_mut(who).phase = Phase::Sweeping(overdue);
        self.swept(who, None);
    }

    /// Overdue bindings were tried once: then all other work begins.
    fn swept(&mut self, who: Who, tried: Option<BindingUid>) {
        let now = self.now;
        let replica = self.replica_mut(who);
        let Phase::Sweeping(overdue) = &mut replica.phase else { return };
        overdue.retain(|uid| Some(*uid) != tried);
        if overdue.is_empty() {
            replica.phase = Phase::Running;
            replica.well_since = now;
            self.stirred = now;
        }
    }
}
