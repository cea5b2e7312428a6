//! `kill -9` at random moments, while many short grants begin and end (T34).

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use super::{
    exclusive_scene,
    process_lifetimes::{Lifetimes, Random},
    start_all, verify_final_state_with,
};
use crate::{
    audit::{Calls, measured},
    ensure,
    env::{ClusterFixture, Env, Error, Outcome, SOON, Scene, automatic, eligibility},
    grant_helpers::each,
    replicas::BY_ANOTHER,
};

/// How long processes are killed at least: until every lane has had a grant.
const KILLING: SignedDuration = SignedDuration::from_secs(15);
/// The maximum: a replica that is killed before it acquires the Lease grants nothing, which is a matter of luck.
const KILLING_AT_MOST: SignedDuration = SignedDuration::from_secs(90);
/// The longest time without a running process.
const AWAY: u64 = 700;
/// Latest end of a grant, counted from its deadline or the start of a process, in the first life of a process that lasts this long.
const IN_A_LIFE: SignedDuration = BY_ANOTHER;
/// Users who make requests again and again.
const PEOPLE: [&str; 3] = ["dev", "dev-2", "crowd"];
const OFFERS: [&str; 4] = ["a", "b", "c", "d"];

pub async fn t34_kill_9_at_random_moments(env: Arc<Env>) -> Outcome {
    let (scene, _permit) = exclusive_scene(&env, "random").await?;
    scene.offers(&OFFERS, &automatic(), &eligibility("edit")).await?;
    let mut calls = Calls::from_now(&scene)?;
    let seed = Random::seed();
    let killing = Killing::with_lanes(PEOPLE.len() * OFFERS.len());
    let lanes: Vec<_> = PEOPLE.iter().flat_map(|person| OFFERS.iter().map(move |offer| (*person, *offer))).collect();
    let asking = each(&lanes, |(person, offer)| ask_meanwhile(&scene, person, offer, &killing));
    let (asked, lifetimes) = futures::try_join!(asking, kill_meanwhile(&scene.fixture, Random::new(seed), &killing))?;
    start_all(&scene.fixture).await?;
    let (asked, kills) = (asked.into_iter().sum::<usize>(), lifetimes.ended());
    let latest = |deadline| lifetimes.latest_end(deadline, IN_A_LIFE).duration_since(deadline);
    let late = verify_final_state_with(&scene, &mut calls, latest).await.map_err(|error| format!("with the seed {seed}: {error}"))?;
    ensure!(late.len() >= killing.lanes, "only {} of {asked} requests were granted under {kills} kills", late.len());
    let worst = late.values().max().copied().unwrap_or_default();
    measured(format!("latest end of {} grants under {kills} kills, after its deadline", late.len()), worst);
    Ok(())
}

/// How long the load runs.
struct Killing {
    from: Timestamp,
    /// The number of concurrent lanes.
    lanes: usize,
    /// The number of lanes that have had a grant.
    granted: AtomicUsize,
}

impl Killing {
    fn with_lanes(lanes: usize) -> Self {
        Self { from: Timestamp::now(), lanes, granted: AtomicUsize::new(0) }
    }

    fn goes_on(&self) -> bool {
        let enough = self.granted.load(Ordering::Relaxed) >= self.lanes;
        Timestamp::now() < self.from + if enough { KILLING } else { KILLING_AT_MOST }
    }
}

/// One user requests the same access again and again, as soon as the previous request is completed.
async fn ask_meanwhile(scene: &Scene, person: &str, offer: &str, killing: &Killing) -> Result<usize, Error> {
    let (mut asked, mut granted) = (0, false);
    while killing.goes_on() {
        asked += 1;
        let name = format!("{person}-{offer}-{asked}");
        scene.let_in(person, "rar", &scene.request(&name, &scene.offered(offer), "2s")).await?;
        let status = scene.until_completed(&name, Duration::try_from(KILLING_AT_MOST)? + SOON).await?;
        if !granted && !status["grantedAt"].is_null() {
            granted = true;
            killing.granted.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(asked)
}

/// Kills one controller or all, waits, and starts them again, repeatedly.
async fn kill_meanwhile(fixture: &ClusterFixture, mut random: Random, killing: &Killing) -> Result<Lifetimes, Error> {
    let controllers = fixture.operator.controllers();
    let mut lifetimes = Lifetimes::default();
    (0..controllers.len()).for_each(|number| lifetimes.started(number));
    while killing.goes_on() {
        // The random times are part of the fault.
        tokio::time::sleep(Duration::from_millis(random.below(1_500))).await;
        let spared = usize::try_from(random.below(3))?;
        for (number, controller) in controllers.iter().enumerate().filter(|(number, _)| *number != spared) {
            lifetimes.killed(number);
            controller.kill();
        }
        tokio::time::sleep(Duration::from_millis(random.below(AWAY))).await;
        for (number, controller) in controllers.iter().enumerate() {
            controller.start()?;
            lifetimes.started(number);
        }
    }
    Ok(lifetimes)
}
