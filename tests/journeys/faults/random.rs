//! `kill -9` at moments that nobody chose, while many short grants come and go (T34).

use std::{sync::Arc, time::Duration};

use chrono::{TimeDelta, Utc};

use super::{alone, nothing_lasts, start_all};
use crate::{
    audit::{Calls, measured},
    ensure,
    env::{Env, Ground, Outcome, Scene, automatic, eligibility},
    ways::each,
};

/// For how long processes are killed.
const KILLING: TimeDelta = TimeDelta::seconds(15);
/// The longest that nothing runs.
const AWAY: u64 = 700;
/// Latest end of a grant: nothing ran, a process started, on a busy machine.
const LATEST: TimeDelta = TimeDelta::milliseconds(3_000);
/// People who ask again and again.
const PEOPLE: [&str; 3] = ["dev", "dev-2", "crowd"];
const OFFERS: [&str; 4] = ["a", "b", "c", "d"];

/// Numbers that nobody chose, from a seed that can be told.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

pub async fn t34_kill_9_at_random_moments(env: Arc<Env>) -> Outcome {
    let (scene, _permit) = alone(&env, "random").await?;
    scene.offers(&OFFERS, &automatic(), &eligibility("edit")).await?;
    let mut calls = Calls::from_now(&scene)?;
    let seed = u64::try_from(Utc::now().timestamp_micros()).unwrap_or(1) | 1;
    let until = Utc::now() + KILLING;
    let lanes: Vec<_> = PEOPLE.iter().flat_map(|person| OFFERS.iter().map(move |offer| (*person, *offer))).collect();
    let asking = each(&lanes, |(person, offer)| ask_until(&scene, person, offer, until));
    let (asked, kills) = futures::try_join!(asking, kill_until(&scene.ground, Random(seed), until))?;
    start_all(&scene.ground).await?;
    let asked: usize = asked.into_iter().sum();
    let late = nothing_lasts(&scene, &mut calls, LATEST).await.map_err(|error| format!("with the seed {seed}: {error}"))?;
    ensure!(late.len() > OFFERS.len(), "only {} of {asked} requests were granted under {kills} kills", late.len());
    let worst = late.values().max().copied().unwrap_or_default();
    measured(format!("latest end of {} grants under {kills} kills, after its deadline", late.len()), worst);
    Ok(())
}

/// One person asks for one thing again and again, as soon as the one before is over.
async fn ask_until(scene: &Scene, person: &str, offer: &str, until: chrono::DateTime<Utc>) -> Result<usize, crate::env::Error> {
    let mut asked = 0;
    while Utc::now() < until {
        asked += 1;
        let name = format!("{person}-{offer}-{asked}");
        scene.write(person, "rar", &scene.request(&name, &scene.offered(offer), "2s")).await?;
        scene.over(&name, Duration::from_secs(20)).await?;
    }
    Ok(asked)
}

/// Kills one controller or all, waits, and starts them again, over and over.
async fn kill_until(ground: &Ground, mut random: Random, until: chrono::DateTime<Utc>) -> Result<usize, crate::env::Error> {
    let controllers = ground.operator.controllers();
    let mut kills = 0;
    while Utc::now() < until {
        // The moments are the fault itself.
        tokio::time::sleep(Duration::from_millis(random.below(1_500))).await;
        let spared = random.below(3);
        for (number, controller) in (0..).zip(controllers) {
            if number != spared {
                controller.kill();
                kills += 1;
            }
        }
        tokio::time::sleep(Duration::from_millis(random.below(AWAY))).await;
        controllers.iter().try_for_each(|controller| controller.start())?;
    }
    Ok(kills)
}
