//! Explores the protocol: with all guards no property breaks, and without each guard the checker finds the broken ones.

mod guards;
mod time;
mod whole;
mod wide;

use std::collections::{BTreeMap, BTreeSet};

use protocol_model::{
    guards::Guard,
    model::Protocol,
    properties::{SOMEBODY_GRANTS, TIME_GOES_ON},
    setting::{Act, Setting},
};
use stateright::{Checker, HasDiscoveries, Model};

/// The acts that may happen, and the duration of a grant; otherwise as in [`Setting::of`].
fn scope(acts: &[Act], duration: u8) -> Setting {
    Setting { duration, horizon: duration + 4, ..Setting::of(acts) }
}

/// The invariants that break in a scope, each with the shortest path to it. The scope is explored completely, or until all `wanted` are
/// broken.
fn broken(setting: &Setting, wanted: &[&'static str]) -> BTreeMap<&'static str, Vec<String>> {
    let until = if wanted.is_empty() { HasDiscoveries::AnyFailures } else { HasDiscoveries::AllOf(wanted.iter().copied().collect()) };
    let what = format!("{:?} without {:?}", setting.acts, setting.without);
    let checker = Protocol(setting.clone()).checker().finish_when(until).spawn_bfs().join();
    println!("{what}: {} states, {} steps deep", checker.unique_state_count(), checker.max_depth());
    let mut found = checker.discoveries();
    let seen = [TIME_GOES_ON, SOMEBODY_GRANTS].map(|name| found.remove(name).is_some());
    // An act that never happens breaks no invariant and proves nothing.
    assert!(!found.is_empty() || seen == [true, true], "{what}: the scope is not explored to its end");
    let steps =
        |path: stateright::Path<_, protocol_model::model::Step>| path.into_actions().iter().map(|step| format!("{step:?}")).collect();
    found.into_iter().map(|(name, path)| (name, steps(path))).collect()
}

/// Verifies that no invariant breaks in this scope with all guards.
fn holds(setting: &Setting) {
    let found = broken(setting, &[]);
    assert!(found.is_empty(), "broken by {found:#?}");
}

/// Verifies that these invariants break in this scope without this guard, and none with it.
fn breaks(invariants: &[&'static str], guard: Guard, setting: &Setting) {
    let found = broken(&setting.clone().without(guard), invariants);
    for (name, steps) in &found {
        println!("without {guard:?} {name} breaks by {steps:#?}");
    }
    let names: BTreeSet<_> = found.keys().copied().collect();
    assert!(invariants.iter().all(|wanted| names.contains(wanted)), "without {guard:?} only {names:?} of {invariants:?} break");
    holds(setting);
}
