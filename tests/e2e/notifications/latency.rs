//! From the transition to the wire.

use std::{sync::Arc, time::Duration};

use control_plane::wait_for_ok;
use jiff::{SignedDuration, Timestamp};
use notify_tools::Authority;
use serde_json::json;

use super::{Hook, LIMIT, Told, scene};
use crate::{
    ensure,
    env::{Env, Error, Outcome, TestCase, automatic, eligibility},
    test_cases,
};

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![latency_from_the_transition_to_the_wire_is_below_two_seconds]
}

/// Events to measure.
const EVENTS: usize = 220;
/// Requests at a time.
const AT_A_TIME: usize = 4;

/// Returns the time from an event to its arrival. Times of events are whole seconds, rounded down, so it is up to a second too long.
pub fn delay(told: &Told) -> Result<SignedDuration, Error> {
    let at: Timestamp = told.event["time"].as_str().unwrap_or_default().parse()?;
    Ok(told.at.duration_since(at))
}

async fn latency_from_the_transition_to_the_wire_is_below_two_seconds(env: Arc<Env>) -> Outcome {
    let authority = Authority::default();
    let hook = Hook::accepting(&authority);
    let (scene, _permit) = scene(&env, "p99", json!({})).await?;
    scene.webhook("hook", &hook.url("/hook"), &authority).await?;
    scene.until_ready("hook", "True", "Ready").await?;
    let suffixes: Vec<String> = (0..EVENTS / 2).map(|number| format!("r{number}")).collect();
    let names: Vec<&str> = suffixes.iter().map(String::as_str).collect();
    for some in names.chunks(50) {
        scene.offers(some, &automatic(), &eligibility("view")).await?;
    }
    for some in names.chunks(AT_A_TIME) {
        let ask = |suffix: &'_ &str| {
            let (scene, suffix) = (&scene, (*suffix).to_owned());
            async move {
                scene.let_in("dev", "rar", &scene.request(&suffix, &scene.offered(&suffix), "10m")).await?;
                scene.until_granted(&suffix).await
            }
        };
        futures::future::try_join_all(some.iter().map(ask)).await?;
    }
    let activations = || hook.told("/hook").into_iter().filter(|told| told.kind().starts_with("activation")).collect::<Vec<_>>();
    wait_for_ok("every event to be told", Duration::from_mins(1), async || {
        let count = activations().len();
        if count >= EVENTS { Ok(()) } else { Err(format!("{count} are")) }
    })
    .await?;
    let mut delays = activations().iter().map(delay).collect::<Result<Vec<_>, _>>()?;
    delays.sort();
    let at = |part: usize| delays[(delays.len() * part / 100).min(delays.len() - 1)];
    println!("notifications: {} events to the wire, p50 {:?}, p99 {:?}, worst {:?}", delays.len(), at(50), at(99), at(100));
    ensure!(at(99) < SignedDuration::try_from(LIMIT)?, "p99 is {:?}", at(99));
    hook.verified()
}
