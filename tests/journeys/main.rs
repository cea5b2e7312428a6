//! Journeys of people, attackers and faults on a real API server, with the operator under exactly the RBAC that its chart renders.
//!
//! One control plane with two controllers and a webhook serves the journeys that leave it as it is; they run side by side, each in
//! namespaces and with names of its own. A journey that kills, removes or reconfigures something starts a plane for itself.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a journey that meets what it cannot use has failed")]
#![allow(clippy::wildcard_imports, reason = "a theme lists the journeys of its files")]

mod access;
mod approvals;
mod audit;
mod authors;
mod beyond;
mod bindings;
mod calls;
mod env;
mod evidence;
mod faults;
mod floor;
mod gate;
mod grants;
mod ground;
mod guards;
mod looks;
mod people;
mod refusals;
mod replicas;
mod retention;
mod settings;
mod ways;

use std::{process::ExitCode, sync::Arc};

use env::{Env, Journey};
use libtest_mimic::{Arguments, Failed, Trial};

/// Journeys mostly wait for deadlines, so more of them run at a time than there are cores; not so many that a busy machine misses them.
const AT_A_TIME: usize = 6;

fn main() -> ExitCode {
    if let Some(code) = faults::clock::replica() {
        return code;
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_A_TIME);
    let env = Arc::new(Env::new());
    let long = calls::long_journeys().into_iter().map(|(name, journey)| trial(&env, name, journey).with_ignored_flag(true));
    let trials = all().into_iter().map(|(name, journey)| trial(&env, name, journey)).chain(long).collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    env.end();
    // What can only be said once everything is over.
    let broken = audit::conclude();
    if broken { ExitCode::FAILURE } else { conclusion.exit_code() }
}

fn all() -> Vec<(&'static str, Journey)> {
    [
        access::journeys(),
        approvals::journeys(),
        audit::journeys(),
        authors::journeys(),
        beyond::journeys(),
        bindings::journeys(),
        calls::journeys(),
        evidence::journeys(),
        faults::journeys(),
        replicas::journeys(),
        retention::journeys(),
        floor::journeys(),
        grants::journeys(),
        guards::journeys(),
        people::journeys(),
        refusals::journeys(),
        settings::journeys(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn trial(env: &Arc<Env>, name: &'static str, journey: Journey) -> Trial {
    let env = env.clone();
    Trial::test(name, move || env.clone().run(name, journey).map_err(|error| Failed::from(format!("{name}: {error}"))))
}
