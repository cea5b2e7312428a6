//! A small scope: what may happen in it, how often and until when.

use crate::{
    guards::Guard,
    world::{Finalizer, Time, Who},
};

/// Something that may happen once in a setting, at any moment until [`Setting::acts_until`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    /// The user creates a request where none is; the first is there from the start.
    Recreate,
    /// An approver approves.
    Approve,
    /// An approver or revoker takes it away.
    Revoke,
    /// The requester gives it back.
    Deactivate,
    /// Somebody who may, deletes the request.
    DeleteRequest,
    /// An attacker takes the label off a binding.
    StripLabel,
    /// An attacker puts a finalizer on a binding.
    AddFinalizer(Finalizer),
    /// Somebody deletes a binding by hand.
    DeleteBinding,
    /// An attacker makes a binding of the request's name, with subjects and a deadline of his own.
    Squat,
    /// Somebody deletes the Lease: until the holder notices, two replicas believe to hold it.
    DeleteLease,
    /// From now on nobody can read or write the Lease.
    BreakLease,
    /// The webhook goes away; it may come back at any time.
    StopWebhook,
    /// A replica ends without notice; it may start again at any time.
    Crash(Who),
    /// A replica stands still, or is cut off; it may go on at any time.
    Pause(Who),
    /// A replica's watches hang, while its calls go through; they may go on at any time.
    Deafen(Who),
    /// A replica's watch of bindings is interrupted, and what it had not delivered is lost.
    LoseWatch(Who),
    /// A call is refused with an error.
    Error,
    /// A write is done, and its answer is lost.
    LoseAnswer,
    /// The creation of a binding is not done, and no answer comes.
    LoseCall,
    /// The creation of a binding gets no answer and is done later, at any time.
    Delay,
}

/// A scope.
#[derive(Clone, Debug)]
pub struct Setting {
    /// What may happen, each once; the order is free.
    pub acts: Vec<Act>,
    /// The last tick at which it may happen.
    pub acts_until: Time,
    /// The last tick.
    pub horizon: Time,
    /// How long a grant lasts, in ticks.
    pub duration: Time,
    /// A grant needs an Approve.
    pub approval: bool,
    /// By how many ticks the clocks of A and B are ahead of the API server's.
    pub skew: (i8, i8),
    /// X of the invariants: how long, in ticks, a binding may outlive what allowed it while a replica is well.
    pub grace: Time,
    /// There is no replica B.
    pub alone: bool,
    /// After how many ticks all bindings are looked through again; none: not within the horizon.
    pub sweep_every: Option<Time>,
    /// The guard that is taken out.
    pub without: Option<Guard>,
}

impl Setting {
    /// A scope in which these things may happen, with all guards in place.
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

    /// The same scope with a guard taken out.
    #[must_use]
    pub fn without(self, guard: Guard) -> Self {
        Self { without: Some(guard), ..self }
    }

    /// True while this guard is in place.
    #[must_use]
    pub fn has(&self, guard: Guard) -> bool {
        self.without != Some(guard)
    }

    /// The clock of a replica when the API server's says `now`.
    #[must_use]
    pub const fn clock(&self, who: Who, now: Time) -> i16 {
        let skew = match who {
            Who::A => self.skew.0,
            Who::B => self.skew.1,
        };
        now as i16 + skew as i16
    }

    /// The API server's time at which the clock of a replica says `at`.
    #[must_use]
    pub fn when(&self, who: Who, at: Time) -> Time {
        let skew = self.clock(who, 0);
        u8::try_from((i16::from(at) - skew).max(0)).unwrap_or(Time::MAX)
    }

    /// The most by which a clock is behind the API server's.
    #[must_use]
    pub fn behind(&self) -> Time {
        u8::try_from(-self.skew.0.min(self.skew.1).min(0)).unwrap_or_default()
    }
}
