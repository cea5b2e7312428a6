//! The model: the possible steps in a state, and their results.

use stateright::{Model, Property};

use crate::{
    call::{Call, Kind},
    guards::Guard,
    properties,
    replica::Phase,
    setting::{Act, Setting},
    world::{BOTH, Who, World},
};

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A tick passes, after all replicas that can have done their due work.
    Tick,
    /// The act of this number happens.
    Act(usize, Act),
    /// A replica that ended starts again.
    Restart(Who),
    /// A replica that was paused continues.
    Resume(Who),
    /// The watches of a replica continue.
    Hear(Who),
    /// The webhook answers again.
    WebhookBack,
    /// A call that its sender gave up is executed.
    Arrives,
    /// A replica takes the Lease.
    TakeLease(Who),
    /// The next event of a replica's watch of bindings arrives.
    Deliver(Who),
    /// A replica's watch of bindings lists again.
    Relist(Who),
    /// A replica's watches of requests and decisions deliver.
    DeliverRequest(Who),
    /// A replica lists all bindings.
    Sweep(Who, Call),
    /// A replica's worker on requests takes its next step.
    Request(Who, Call),
    /// A replica's worker on bindings takes its next step.
    Binding(Who, Call),
}

/// The protocol in one setting.
#[derive(Clone, Debug)]
pub struct Protocol(pub Setting);

impl Protocol {
    /// Returns what a replica can do now, and must do before time passes.
    fn due(&self, world: &World, who: Who, steps: &mut Vec<Step>) {
        let replica = world.replica(who);
        if !replica.moves() {
            return;
        }
        if !replica.deaf {
            if replica.relist {
                steps.push(Step::Relist(who));
            } else if !replica.news.is_empty() {
                steps.push(Step::Deliver(who));
            }
            if replica.stirred {
                steps.push(Step::DeliverRequest(who));
            }
        }
        if world.may_take_lease(who) {
            steps.push(Step::TakeLease(who));
        }
        let mut calls = |kind: Kind, step: fn(Who, Call) -> Step| {
            let possible = |call: &&Call| call.act().is_none_or(|wanted| world.left(&self.0).iter().any(|(_, act)| *act == wanted));
            steps.extend(kind.calls().iter().filter(possible).map(|call| step(who, *call)));
        };
        if replica.phase == Phase::Starting {
            calls(Kind::Read, Step::Sweep);
            return;
        }
        if replica.sweeps {
            calls(Kind::Read, Step::Sweep);
        }
        if world.request_is_due(who) {
            calls(world.next_call(who), Step::Request);
        }
        if let Some(ending) = replica.ending.or_else(|| world.due(&self.0, who)) {
            calls(ending.kind(), Step::Binding);
        }
    }

    /// Returns true when no step but the passing of time is left.
    #[must_use]
    pub fn is_quiet(&self, world: &World) -> bool {
        let mut steps = Vec::new();
        for who in BOTH {
            self.due(world, who, &mut steps);
        }
        steps.is_empty()
    }

    /// A call that fails uses up the act that makes it fail.
    fn spend(&self, world: &mut World, who: Who, call: Call) {
        let Some(wanted) = call.act() else { return };
        if let Some((number, _)) = world.left(&self.0).into_iter().find(|(_, act)| *act == wanted) {
            world.use_up(number);
        }
        let now = world.now;
        world.replica_mut(who).well_since = now;
    }
}

impl Model for Protocol {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(&self.0)]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        for who in BOTH {
            self.due(world, who, steps);
        }
        if steps.is_empty() && world.now < self.0.horizon {
            steps.push(Step::Tick);
        }
        let acts = world.left(&self.0).into_iter().filter(|(_, act)| world.can(*act));
        steps.extend(acts.map(|(number, act)| Step::Act(number, act)));
        for who in BOTH {
            let replica = world.replica(who);
            let exists = who == Who::A || !self.0.alone;
            if exists && !replica.is_up() {
                steps.push(Step::Restart(who));
            }
            if replica.paused {
                steps.push(Step::Resume(who));
            }
            if replica.deaf {
                steps.push(Step::Hear(who));
            }
        }
        if !world.webhook {
            steps.push(Step::WebhookBack);
        }
        if world.late.is_some() {
            steps.push(Step::Arrives);
        }
    }

    fn next_state(&self, before: &World, step: Step) -> Option<World> {
        let setting = &self.0;
        let mut world = before.clone();
        match step {
            Step::Tick => {
                world.now += 1;
                let sweeps = setting.has(Guard::Sweep) && setting.sweep_every.is_some_and(|every| world.now.is_multiple_of(every));
                for who in BOTH {
                    world.renew(who);
                    let replica = world.replica_mut(who);
                    replica.index.iter_mut().for_each(|known| known.rests = false);
                    replica.sweeps |= sweeps && replica.phase == Phase::Running;
                }
            }
            Step::Act(number, act) => world.act(setting, number, act),
            Step::Restart(who) => world.restart(setting, who),
            Step::Resume(who) => world.resume(who),
            Step::Hear(who) => world.hear(who),
            Step::WebhookBack => world.webhook = true,
            Step::Arrives => {
                if let Some(late) = world.late.take() {
                    world.stirred = world.now;
                    world.make(setting, late, false);
                }
            }
            Step::TakeLease(who) => world.take_lease(setting, who),
            Step::Deliver(who) => world.deliver(setting, who),
            Step::Relist(who) => world.relist(setting, who),
            Step::DeliverRequest(who) => world.deliver_request(who),
            Step::Sweep(who, call) => {
                self.spend(&mut world, who, call);
                world.sweep(setting, who, call);
            }
            Step::Request(who, call) => {
                self.spend(&mut world, who, call);
                world.work_on_request(setting, who, call);
            }
            Step::Binding(who, call) => {
                self.spend(&mut world, who, call);
                world.work_on_binding(setting, who, call);
            }
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}
