//! A random mixed load with random faults, for any duration: `make soak`. During the run and at its end, only bindings exist that the rules
//! allow.
//!
//! It runs only where `SOAK_SECONDS` sets its duration. `SOAK_SEED` repeats the same users and faults, as far as a machine does.

mod binding_monitor;
mod fault_injection;
mod load;

use std::{
    collections::HashMap,
    env,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use crate::{
    api_faults::proxied,
    audit::measured,
    ensure,
    env::{Env, Outcome, Scene, TestCase, approved_by, automatic, eligibility},
    faults::{
        process_lifetimes::{Lifetimes, Random},
        start_all,
    },
    test_cases,
};

/// The number of concurrent users.
const LANES: u64 = 8;

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    if seconds().is_some() { test_cases![inv_01_inv_08_inv_15_under_a_mixed_load_with_faults] } else { Vec::new() }
}

/// The duration of the run; none: no run.
pub fn seconds() -> Option<u64> {
    number("SOAK_SECONDS")
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok()?.parse().ok()
}

/// One request, its state, and the states that it may have.
#[derive(Clone, Debug, Default)]
struct Life {
    /// It may be approved, or needs no approval.
    may_run: bool,
    /// It may be ended before its deadline.
    may_end: bool,
    /// Since when its end is certain.
    taken: Option<Timestamp>,
    /// UID and deadline of its binding, as first observed.
    binding: Option<(String, Timestamp)>,
    /// When its binding was first observed as absent.
    gone: Option<Timestamp>,
}

/// All requests by name, and when a process ran that could end them.
#[derive(Default)]
struct Book {
    requests: Mutex<HashMap<String, Life>>,
    lifetimes: Mutex<Lifetimes>,
}

impl Book {
    fn requests(&self) -> MutexGuard<'_, HashMap<String, Life>> {
        self.requests.lock().expect("the lock is not poisoned")
    }

    fn lifetimes(&self) -> MutexGuard<'_, Lifetimes> {
        self.lifetimes.lock().expect("the lock is not poisoned")
    }

    fn note(&self, request: &str, note: impl FnOnce(&mut Life)) {
        note(self.requests().entry(request.to_owned()).or_default());
    }
}

async fn inv_01_inv_08_inv_15_under_a_mixed_load_with_faults(env: Arc<Env>) -> Outcome {
    let seconds = seconds().ok_or("SOAK_SECONDS is a number")?;
    let seed = number("SOAK_SEED").unwrap_or_else(Random::seed);
    eprintln!("soak: {seconds} s with SOAK_SEED={seed}");
    run(&env, Duration::from_secs(seconds), seed).await.map_err(|error| format!("with SOAK_SEED={seed}: {error}").into())
}

async fn run(env: &Env, time: Duration, seed: u64) -> Outcome {
    let (scene, _permit) = proxied(env, "soak").await?;
    let lanes: Vec<u64> = (0..LANES).collect();
    let offers: Vec<String> = lanes.iter().flat_map(|lane| load::WAYS.map(|way| load::offer_of(*lane, way))).collect();
    let of = |approved: bool| offers.iter().filter(|offer| load::is_approved(offer) == approved).map(String::as_str).collect::<Vec<_>>();
    scene.offers(&of(false), &automatic(), &eligibility("edit")).await?;
    scene.offers(&of(true), &approved_by("leads", 1), &eligibility("edit")).await?;
    let book = Book::default();
    (0..scene.fixture.operator.controllers().len()).for_each(|number| book.lifetimes().started(number));

    let until = Timestamp::now() + SignedDuration::try_from(time)?;
    let work = async {
        let asking = crate::grant_helpers::each(&lanes, |lane| {
            load::lane(&scene, &book, *lane, Random::new(seed.wrapping_add(*lane * 0x9E37_79B9)), until)
        });
        let (asked, faults) = futures::try_join!(asking, fault_injection::until(&scene, &book, Random::new(seed), until))?;
        start_all(&scene.fixture).await?;
        scene.until_all_completed(load::BROKEN).await?;
        scene.until_no_binding(load::BROKEN).await?;
        Ok::<_, crate::env::Error>((asked.into_iter().sum::<usize>(), faults))
    };
    let (asked, faults) = tokio::select! {
        done = work => done?,
        broken = binding_monitor::forever(&scene, &book) => return Err(broken),
    };
    conclude(&scene, &book, asked, faults).await
}

async fn conclude(scene: &Scene, book: &Book, asked: usize, faults: usize) -> Outcome {
    binding_monitor::look(scene, book).await?.ok_or("the bindings cannot be listed")?;
    for request in scene.list("rar").await? {
        ensure!(request["status"]["state"] != "Failed", "{} failed: {}", request["metadata"]["name"], request["status"]);
    }
    let ran: Vec<Life> = book.requests().values().filter(|life| life.binding.is_some()).cloned().collect();
    ensure!(ran.len() > asked / 4, "only {} of {asked} requests ran", ran.len());
    let late = |life: &Life| {
        let due = life.taken.into_iter().chain(life.binding.iter().map(|(_, deadline)| *deadline)).min()?;
        Some(life.gone?.duration_since(due).max(SignedDuration::ZERO))
    };
    let mut late: Vec<SignedDuration> = ran.iter().filter_map(late).collect();
    late.sort();
    for (name, at) in
        [("half of them at most", late.len() / 2), ("99 of 100", late.len() * 99 / 100), ("all", late.len().saturating_sub(1))]
    {
        measured(
            format!("soak: {} grants of {asked} requests under {faults} faults, delay of their end, {name}", ran.len()),
            late.get(at).copied().unwrap_or_default(),
        );
    }
    Ok(())
}
