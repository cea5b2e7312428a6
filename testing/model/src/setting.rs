//! A small scope: the acts that may happen in it, how often and until when.

use crate::{
    guards::Guard,
    world::{Finalizer, Time, Who},
};

/// An act that may happen once in a setting, at any moment until [`Setting::acts_until`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    /// The user creates a request where none exists; the first exists from the start.
    Recreate,
    /// An approver approves.
    Approve,
    /// An approver or revoker revokes it.
    Revoke,
    /// The requester deactivates it.
    Deactivate,
    /// An authorized user deletes the request.
    DeleteRequest,
    /// An attacker removes the label of a binding.
    StripLabel,
    /// An attacker adds a finalizer to a binding.
    AddFinalizer(Finalizer),
    /// A user deletes a binding by hand.
    DeleteBinding,
    /// An attacker creates a binding of the request's name, with other subjects and another deadline.
    Squat,
    /// A user deletes the Lease: until the holder notices, two replicas believe to hold it.
    DeleteLease,
    /// From now on the Lease can be neither read nor written.
    BreakLease,
    /// The webhook is down; it may recover at any time.
    StopWebhook,
    /// A replica ends without notice; it may start again at any time.
    Crash(Who),
    /// A replica is paused, or partitioned; it may continue at any time.
    Pause(Who),
    /// A replica's watches deliver nothing, while its calls succeed; they may continue at any time.
    Deafen(Who),
    /// A replica's watch of bindings is interrupted, and its undelivered events are lost.
    LoseWatch(Who),
    /// A call fails with an error.
    Error,
    /// A write is executed, and its response is lost.
    LoseAnswer,
    /// The create of a binding is not executed, and no response arrives.
    LoseCall,
    /// The create of a binding gets no response and is executed later, at any time.
    Delay,
}

/// A scope.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The acts that may happen, each once, in any order.
    pub acts: Vec<Act>,
    /// The last tick at which an act may happen.
    pub acts_until: Time,
    /// The last tick.
    pub horizon: Time,
    /// How long a grant lasts, in ticks.
    pub duration: Time,
    /// A grant needs an Approve.
    pub approval: bool,
    /// The offsets of the clocks of A and B from the API server's, in ticks.
    pub skew: (i8, i8),
    /// X of the invariants: how long, in ticks, a binding may exist after its right ended while a replica is healthy.
    pub grace: Time,
    /// There is no replica B.
    pub alone: bool,
    /// The sweep interval in ticks; none: no sweep before the last tick.
    pub sweep_every: Option<Time>,
    /// The disabled guard.
    pub without: Option<Guard>,
}

impl Setting {
    /// A scope in which these acts may happen, with all guards enabled.
    #[must_use]
    pub fn of(acts: &[Act]) -> Self {
        Self {
            acts: acts.to_vec(),
            acts_until: 2,
            horizon: 7,
            duration: 2,
            approval: false,
            skew: (0, 0),
            grace: 1,
            alone: false,
            sweep_every: None,
            without: None,
        }
    }

    /// The same scope with a guard disabled.
    #[must_use]
    pub fn without(self, guard: Guard) -> Self {
        Self { without: Some(guard), ..self }
    }

    /// Returns true while this guard is enabled.
    #[must_use]
    pub fn has(&self, guard: Guard) -> bool {
        self.without != Some(guard)
    }

    /// Returns the clock of a replica when the API server's clock shows `now`.
    #[must_use]
    pub const fn clock(&self, who: Who, now: Time) -> i16 {
        let skew = match who {
            Who::A => self.skew.0,
            Who::B => self.skew.1,
        };
        now as i16 + skew as i16
    }

    /// Returns the API server's time at which the clock of a replica shows `at`.
    #[must_use]
    pub fn when(&self, who: Who, at: Time) -> Time {
        let skew = self.clock(who, 0);
        u8::try_from((i16::from(at) - skew).max(0)).unwrap_or(Time::MAX)
    }

    /// Returns the largest lag of a clock behind the API server's.
    #[must_use]
    pub fn behind(&self) -> Time {
        u8::try_from(-self.skew.0.min(self.skew.1).min(0)).unwrap_or_default()
    }
}
