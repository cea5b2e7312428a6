//! End-to-end tests of users, attackers and faults on a real API server, with the operator under exactly the RBAC that its chart renders.
//!
//! One control plane with two controllers and a webhook serves the tests that do not change it; they run concurrently, each in namespaces
//! and with names of its own. A test that kills, removes or reconfigures a component starts a control plane of its own.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "an unexpected value fails the test")]
#![allow(clippy::wildcard_imports, reason = "a subject lists the test cases of its files")]

mod admission_policies;
mod alerts;
mod api_faults;
mod approvals;
mod audit;
mod authors;
mod bindings;
mod blocking_webhook;
mod cluster_fixture;
mod env;
mod evidence;
mod faults;
mod gitops;
mod grant_helpers;
mod grants;
mod guards;
mod identity;
mod installation;
mod jit_access_chart;
mod known_limits;
mod notifications;
mod overload;
mod plugin;
mod record;
mod refusals;
mod replicas;
mod request_flood;
mod retention;
mod settings;
mod soak;
mod status_helpers;
mod transcripts;
mod uninstall;
mod upgrade;

use std::{
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
};

pub(crate) use control_plane::ensure;
use env::{Env, TestCase};
use libtest_mimic::{Arguments, Failed, Trial};

/// Tests mostly wait for deadlines, so more of them run at a time than there are cores.
const AT_A_TIME: usize = 6;
/// Tests with time limits run after the others, as many at a time as there are control planes for them. They must measure the delay of the
/// operator, not the load of the machine by other tests.
const AGAINST_TIME_AT_A_TIME: usize = env::OWN_PLANES;

/// Failures are repeated at the end, where a reader of a long log finds them.
static FAILED: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn main() -> ExitCode {
    if let Some(code) = faults::clock_skew::replica() {
        return code;
    }
    let arguments = Arguments::from_args();
    let at_most =
        |threads: usize| Arguments { test_threads: Some(arguments.test_threads.unwrap_or(threads).min(threads)), ..arguments.clone() };
    let env = Arc::new(Env::new());
    let trials = |cases: Vec<(&'static str, TestCase)>| cases.into_iter().map(|(name, case)| trial(&env, name, case)).collect::<Vec<_>>();
    let long =
        trials([api_faults::long_test_cases(), alerts::long_test_cases()].concat()).into_iter().map(|trial| trial.with_ignored_flag(true));
    let against_time = trials(against_time()).into_iter().chain(long).collect();
    let conclusions =
        [libtest_mimic::run(&at_most(AT_A_TIME), trials(all())), libtest_mimic::run(&at_most(AGAINST_TIME_AT_A_TIME), against_time)];
    env.end();
    // The checks after all tests.
    let broken = audit::conclude();
    for failure in FAILED.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        println!("FAILED {failure}");
    }
    if broken || conclusions.iter().any(libtest_mimic::Conclusion::has_failed) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn all() -> Vec<(&'static str, TestCase)> {
    [
        jit_access_chart::test_cases(),
        approvals::test_cases(),
        audit::test_cases(),
        authors::test_cases(),
        known_limits::test_cases(),
        bindings::test_cases(),
        evidence::test_cases(),
        retention::test_cases(),
        admission_policies::test_cases(),
        grants::test_cases(),
        identity::test_cases(),
        plugin::test_cases(),
        refusals::test_cases(),
        settings::test_cases(),
        transcripts::test_cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Tests with time limits.
fn against_time() -> Vec<(&'static str, TestCase)> {
    [
        bindings::against_time(),
        admission_policies::against_time(),
        api_faults::test_cases(),
        guards::test_cases(),
        installation::test_cases(),
        replicas::test_cases(),
        faults::test_cases(),
        request_flood::test_cases(),
        gitops::test_cases(),
        notifications::test_cases(),
        overload::test_cases(),
        record::test_cases(),
        uninstall::test_cases(),
        upgrade::test_cases(),
        soak::test_cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn trial(env: &Arc<Env>, name: &'static str, case: TestCase) -> Trial {
    let env = env.clone();
    Trial::test(name, move || {
        env.clone().run(name, case).map_err(|error| {
            let failure = format!("{name}: {error}");
            FAILED.lock().unwrap_or_else(PoisonError::into_inner).push(failure.clone());
            Failed::from(failure)
        })
    })
}
