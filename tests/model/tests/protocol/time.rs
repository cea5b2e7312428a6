//! Time goes on: no world is at its end before the horizon, and none comes back.
//!
//! So every run is finite, and what holds in every quiet world holds eventually.

use std::collections::HashMap;

use protocol_model::{
    model::Protocol,
    setting::{Act, Setting},
    world::{Finalizer, Who, World},
};
use stateright::Model;

use super::scope;

/// Goes through all worlds depth first; true marks those whose successors are all known.
fn walk(setting: Setting) {
    let protocol = Protocol(setting);
    let mut done: HashMap<World, bool> = HashMap::new();
    let mut open: Vec<World> = protocol.init_states();
    while let Some(world) = open.last().cloned() {
        if done.contains_key(&world) {
            open.pop();
            done.insert(world, true);
            continue;
        }
        let next = protocol.next_states(&world);
        assert!(!next.is_empty() || world.now == protocol.0.horizon, "nothing happens any more: {world:?}");
        done.insert(world, false);
        for next in next {
            match done.get(&next) {
                None => open.push(next),
                Some(true) => {}
                Some(false) => panic!("a world comes back: {next:?}"),
            }
        }
    }
    assert!(done.len() > 1_000, "{} worlds are too few", done.len());
}

#[test]
fn inv_31_no_world_comes_back() {
    walk(scope(&[Act::Crash(Who::A), Act::Error], 2));
    walk(scope(&[Act::Pause(Who::A), Act::LoseAnswer], 2));
    walk(scope(&[Act::AddFinalizer(Finalizer::Stubborn), Act::Revoke], 2));
}
