//! The acts of users, attackers, the network and the machines.

use crate::{
    guards::Guard,
    replica::Replica,
    setting::{Act, Setting},
    world::{Binding, BindingUid, Finalizer, Name, State, Subjects, Time, Verb, Who, World},
};

impl World {
    /// Returns the acts that are not used up; of two equal ones only the first.
    #[must_use]
    pub fn left(&self, setting: &Setting) -> Vec<(usize, Act)> {
        let mut left: Vec<(usize, Act)> = Vec::new();
        if self.now > setting.acts_until {
            return left;
        }
        for (number, act) in setting.acts.iter().enumerate() {
            if self.used & (1 << number) == 0 && !left.iter().any(|(_, other)| other == act) {
                left.push((number, *act));
            }
        }
        left
    }

    /// Returns true when the Lease was deleted by hand, or a call outlived it.
    #[must_use]
    pub fn lease_was_deleted(&self, setting: &Setting) -> bool {
        setting.acts.iter().enumerate().any(|(number, act)| *act == Act::DeleteLease && self.used & (1 << number) != 0)
    }

    /// Returns the binding that an attacker acts on: the newest that is stored.
    fn newest(&self) -> Option<&Binding> {
        self.bindings.iter().rev().find(|binding| binding.there)
    }

    /// Returns true when an act would change the state now. Failed calls are not acts of their own: they happen with a call.
    #[must_use]
    pub fn can(&self, act: Act) -> bool {
        let live = self.request();
        // Admission reviews the writes of users, and fails closed.
        let writes = self.webhook;
        match act {
            Act::Recreate => live.is_none() && writes,
            Act::Approve => live.is_some_and(|request| request.state == State::Pending) && writes,
            Act::Revoke | Act::Deactivate => live.is_some_and(|request| !request.state.is_terminal()) && writes,
            Act::DeleteRequest => live.is_some(),
            Act::StripLabel => self.newest().is_some_and(|binding| binding.labelled),
            Act::AddFinalizer(_) => self.newest().is_some_and(|binding| binding.finalizer.is_none() && !binding.deleting),
            Act::DeleteBinding => self.newest().is_some_and(|binding| !binding.deleting),
            Act::Squat => live.is_some_and(|request| self.binding(Name::Of(request.uid)).is_none()),
            Act::DeleteLease => self.lease.holder.is_some(),
            Act::BreakLease => !self.lease.broken,
            Act::StopWebhook => self.webhook,
            Act::Crash(who) => self.replica(who).is_up(),
            Act::Pause(who) => self.replica(who).moves(),
            Act::Deafen(who) => self.replica(who).is_well(),
            Act::LoseWatch(who) => self.replica(who).is_up() && !self.replica(who).news.is_empty(),
            Act::Error | Act::LoseAnswer | Act::LoseCall | Act::Delay => false,
        }
    }

    /// Applies an act.
    pub fn act(&mut self, setting: &Setting, number: usize, act: Act) {
        self.use_up(number);
        let newest = self.newest().map(|binding| binding.uid);
        let change = |world: &mut Self, change: fn(&mut Binding)| {
            if let Some(uid) = newest {
                world.change_binding(uid, change);
            }
        };
        match act {
            Act::Recreate => self.create_request(),
            Act::Approve => self.decide(Verb::Approve),
            Act::Revoke => self.decide(Verb::Revoke),
            Act::Deactivate => self.decide(Verb::Deactivate),
            Act::DeleteRequest => self.delete_request(),
            Act::StripLabel => change(self, |binding| binding.labelled = false),
            Act::AddFinalizer(Finalizer::Loose) => change(self, |binding| binding.finalizer = Some(Finalizer::Loose)),
            Act::AddFinalizer(Finalizer::Stubborn) => change(self, |binding| binding.finalizer = Some(Finalizer::Stubborn)),
            Act::DeleteBinding => change(self, |binding| binding.deleting = true),
            Act::Squat => self.squat(setting.horizon),
            Act::DeleteLease => self.lease.holder = None,
            Act::BreakLease => self.lease.broken = true,
            Act::StopWebhook => self.webhook = false,
            Act::Crash(who) => *self.replica_mut(who) = Replica::down(),
            Act::Pause(who) => self.replica_mut(who).paused = true,
            Act::Deafen(who) => self.replica_mut(who).deaf = true,
            Act::LoseWatch(who) => {
                let replica = self.replica_mut(who);
                replica.news.clear();
                replica.relist = setting.has(Guard::Relist);
            }
            Act::Error | Act::LoseAnswer | Act::LoseCall | Act::Delay => {}
        }
    }

    /// Marks one of the acts as used up, by itself or with a call.
    pub const fn use_up(&mut self, number: usize) {
        self.used |= 1 << number;
        self.stirred = self.now;
    }

    fn squat(&mut self, deadline: Time) {
        let Some(request) = self.request().copied() else { return };
        self.create_binding(Binding {
            uid: BindingUid(0),
            name: Name::Of(request.uid),
            request: request.uid,
            deadline,
            labelled: true,
            finalizer: None,
            subjects: Subjects::Others,
            deleting: false,
            there: true,
            made: self.now,
            ours: false,
        });
    }

    /// Starts a replica that ended.
    pub fn restart(&mut self, setting: &Setting, who: Who) {
        *self.replica_mut(who) = Replica { well_since: self.now, ..Replica::starting(setting) };
        self.stirred = self.now;
    }

    /// Continues a replica that was paused, where it was.
    pub const fn resume(&mut self, who: Who) {
        let now = self.now;
        let replica = self.replica_mut(who);
        replica.paused = false;
        replica.well_since = now;
        self.stirred = now;
    }

    /// Continues the watches of a replica.
    pub const fn hear(&mut self, who: Who) {
        let now = self.now;
        let replica = self.replica_mut(who);
        replica.deaf = false;
        replica.well_since = now;
        self.stirred = now;
    }
}
