//! Time advances: no run ends before the last tick, and no state recurs.
//!
//! So every run is finite, and a property of every quiet state holds eventually.

use std::collections::HashMap;

use protocol_model::{
    model::Protocol,
    setting::{Act, Setting},
    world::{Finalizer, Who, World},
};
use stateright::Model;

use super::scope;

/// Visits all states depth first; true marks the completed ones.
fn walk(setting: Setting) {
    let protocol = Protocol(setting);
    let mut done: HashMap<World, bool> = HashMap::new();
    let mut open: Vec<World> = protocol.init_states();
    while let Some(world) = open.last().cloned() {
        if let Some(left) = done.get_mut(&world) {
            *left = true;
            open.pop();
            continue;
        }
        let next = protocol.next_states(&world);
        assert!(!next.is_empty() || world.now == protocol.0.horizon, "nothing happens any more: {world:?}");
        done.insert(world, false);
        for next in next {
            let left = done.get(&next);
            assert_ne!(left, Some(&false), "a state recurs: {next:?}");
            if left.is_none() {
                open.push(next);
            }
        }
    }
    assert!(done.len() > 1_000, "{} states are too few", done.len());
}

#[test]
fn inv_31_no_world_comes_back() {
    walk(scope(&[Act::Crash(Who::A), Act::Error], 2));
    walk(scope(&[Act::Pause(Who::A), Act::LoseAnswer], 2));
    walk(scope(&[Act::AddFinalizer(Finalizer::Stubborn), Act::Revoke], 2));
}
