//! The notify process is killed while it sends, and receivers that do not answer.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use control_plane::wait_for_ok;
use jiff::{SignedDuration, Timestamp};
use notify_tools::Authority;
use serde_json::json;
use tokio::net::TcpListener;

use super::{HOST, Hook, scene};
use crate::{
    ensure,
    env::{Env, Outcome, TestCase, automatic, eligibility},
    test_cases,
};

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![killed_while_sending_it_repeats_seconds_with_the_same_ids, a_hanging_receiver_delays_no_other_and_no_grant]
}

/// Requests of a run.
const REQUESTS: usize = 30;
/// How often the process is killed.
const KILLS: usize = 8;
/// How long a message may be on its way when its sender is killed.
const ON_ITS_WAY: SignedDuration = SignedDuration::from_secs(2);

async fn killed_while_sending_it_repeats_seconds_with_the_same_ids(env: Arc<Env>) -> Outcome {
    let authority = Authority::default();
    let hook = Hook::accepting(&authority);
    let (scene, _permit) = scene(&env, "kill", json!({})).await?;
    scene.webhook("hook", &hook.url("/hook"), &authority).await?;
    scene.until_ready("hook", "True", "Ready").await?;
    let suffixes: Vec<String> = (0..REQUESTS).map(|number| format!("r{number}")).collect();
    let names: Vec<&str> = suffixes.iter().map(String::as_str).collect();
    scene.offers(&names, &automatic(), &eligibility("view")).await?;
    let mut kills = Vec::new();
    for (number, suffix) in names.iter().enumerate() {
        scene.let_in("dev", "rar", &scene.request(suffix, &scene.offered(suffix), "10m")).await?;
        if number % (REQUESTS / KILLS) == 1 {
            // At another point of the way from the event to the status each time.
            tokio::time::sleep(Duration::from_millis(70 * kills.len() as u64)).await;
            scene.notify()?.kill();
            kills.push(Timestamp::now());
            scene.notify()?.start()?;
        }
    }
    for suffix in &names {
        scene.until_granted(suffix).await?;
    }
    let wanted = |told: &[super::Told]| {
        let granted = told.iter().filter(|told| told.kind() == "activation.granted").map(|told| told.id.clone()).collect::<BTreeSet<_>>();
        granted.len()
    };
    wait_for_ok("every grant to be told", Duration::from_mins(1), async || {
        let count = wanted(&hook.told("/hook"));
        if count == REQUESTS { Ok(()) } else { Err(format!("{count} are")) }
    })
    .await?;
    let told = hook.told("/hook");
    let mut by_id: BTreeMap<&str, Vec<&super::Told>> = BTreeMap::new();
    for told in &told {
        by_id.entry(&told.id).or_default().push(told);
    }
    let mut repeated = 0;
    for calls in by_id.values().filter(|calls| calls.len() > 1) {
        repeated += calls.len() - 1;
        for pair in calls.windows(2) {
            let (first, second) = (pair[0].at, pair[1].at);
            // What was on its way at a kill is recorded shortly after it.
            let kill = kills.iter().find(|kill| **kill + ON_ITS_WAY >= first && **kill <= second);
            let kill = kill.ok_or_else(|| format!("{} was sent twice without a kill in between", pair[0].id))?;
            let age = kill.duration_since(first);
            ensure!(age.as_secs() < 8, "{} was sent again although it was sent {age:?} before the kill", pair[0].id);
        }
    }
    // The first delivery of each event is in order for each request.
    let mut last: BTreeMap<String, (String, Timestamp)> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for told in told.iter().filter(|told| told.kind().starts_with("activation.") && seen.insert(told.id.clone())) {
        let uid = told.event["data"]["uid"].as_str().unwrap_or_default().to_owned();
        let at: Timestamp = told.event["time"].as_str().unwrap_or_default().parse()?;
        if let Some((kind, before)) = last.insert(uid.clone(), (told.kind().to_owned(), at)) {
            ensure!(before <= at, "{uid} received {kind} of {before} before {} of {at}", told.kind());
        }
    }
    println!("notifications: {KILLS} kills, {} messages, {repeated} repeated with the same ids", by_id.len());
    hook.verified()
}

async fn a_hanging_receiver_delays_no_other_and_no_grant(env: Arc<Env>) -> Outcome {
    let authority = Authority::default();
    let hook = Hook::accepting(&authority);
    // It accepts connections, and never says anything.
    let hanging = TcpListener::bind((HOST, 0)).await?;
    let address = format!("https://{}/hook", hanging.local_addr()?);
    let holds = tokio::spawn(async move {
        let mut all = Vec::new();
        while let Ok((stream, _)) = hanging.accept().await {
            all.push(stream);
        }
    });
    let (scene, _permit) = scene(&env, "hang", json!({})).await?;
    scene.webhook("good", &hook.url("/good"), &authority).await?;
    scene.webhook("hanging", &address, &authority).await?;
    scene.until_ready("good", "True", "Ready").await?;
    let suffixes: Vec<String> = (0..REQUESTS).map(|number| format!("r{number}")).collect();
    let names: Vec<&str> = suffixes.iter().map(String::as_str).collect();
    scene.offers(&names, &automatic(), &eligibility("view")).await?;
    let mut grants = Vec::new();
    for suffix in &names {
        let asked = Timestamp::now();
        scene.let_in("dev", "rar", &scene.request(suffix, &scene.offered(suffix), "10m")).await?;
        scene.until_granted(suffix).await?;
        grants.push(Timestamp::now().duration_since(asked));
    }
    grants.sort();
    let worst = *grants.last().ok_or("there are grants")?;
    ensure!(worst.as_secs() < 5, "a grant took {worst:?} while a receiver hangs");
    let last = names.last().ok_or("there are requests")?;
    hook.until("/good", "of the last grant", |told| told.kind() == "activation.granted" && told.event["data"]["name"] == **last).await?;
    let mut delays: Vec<_> = hook
        .told("/good")
        .iter()
        .filter(|told| told.kind().starts_with("activation"))
        .map(super::latency::delay)
        .collect::<Result<_, _>>()?;
    delays.sort();
    let worst_delay = *delays.last().ok_or("there are messages")?;
    ensure!(worst_delay.as_secs() < 4, "a message took {worst_delay:?} while another receiver hangs");
    scene.until_ready("hanging", "False", "Retrying").await?;
    println!(
        "notifications: with a hanging receiver, worst grant {worst:?} of {}, worst message {worst_delay:?} of {}",
        grants.len(),
        delays.len()
    );
    holds.abort();
    Ok(())
}
