//! `kill -9` of the holder at every single call of a grant's life: before the API server hears of it, and before the holder hears of
//! the answer (T33, T34, invariant 31).

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use control_plane::{Fault, InForce, wait_for};

use super::steps::{Step, Way, bring, offer, proxied, standstill, steps};
use crate::{
    audit::{Calls, measured},
    ensure,
    env::{Env, Error, Outcome, SOON, Scene},
    faults::{holder, nothing_lasts},
    ways::each,
};

/// How many lives one kill finds, each at another call.
const AT_ONCE: usize = 14;
/// Latest end of a grant: the other replica runs all the time.
const LATEST: TimeDelta = TimeDelta::milliseconds(1_500);
/// Two lives may have to wait for each other, since people share locks. If nobody has come to his call for so long, the rest come to
/// theirs with the next kill.
const STANDSTILL: Duration = Duration::from_secs(2);

/// A call at which the holder dies: before it is forwarded, or after it was answered and before the answer is heard.
#[derive(Clone, Debug)]
struct Death {
    way: Way,
    step: Step,
    after: bool,
}

/// A life, and its call.
struct Life {
    request: String,
    death: Death,
}

impl Life {
    /// Who dies before the grant leaves time for it to be made.
    fn duration(&self) -> &'static str {
        if self.death.step.ends { "8s" } else { "40s" }
    }
}

pub async fn t33_t34_inv_31_kill_9_at_every_call_of_a_grant(env: Arc<Env>) -> Outcome {
    let (scene, _permit) = proxied(&env, "calls").await?;
    let mut left = Vec::new();
    for way in [Way::Automatic, Way::Approved] {
        for step in steps(&scene, way).await? {
            // The end is the same, however a grant was approved; and to have read something changes nothing.
            if way == Way::Approved && step.ends {
                continue;
            }
            left.push(Death { way, step: step.clone(), after: false });
            if step.writes() {
                left.push(Death { way, step, after: true });
            }
        }
    }
    let all = left.len();
    let mut calls = Calls::from_now(&scene)?;
    let (mut lived, mut kills) = (0, 0);
    while !left.is_empty() {
        ensure!(kills < 4 * all / AT_ONCE, "after {kills} kills nobody has come to {left:?}");
        // What belongs together by its time dies together: in the way of a grant, or of its end.
        left.sort_by_key(|death| death.step.ends);
        let ends = left.first().is_some_and(|death| death.step.ends);
        let together = left.iter().take_while(|death| death.step.ends == ends).count().min(AT_ONCE);
        let lives: Vec<Life> = left
            .drain(..together)
            .map(|death| {
                lived += 1;
                Life { request: format!("life-{lived:03}"), death }
            })
            .collect();
        for way in [Way::Automatic, Way::Approved] {
            let requests: Vec<String> = lives.iter().filter(|life| life.death.way == way).map(|life| life.request.clone()).collect();
            offer(&scene, way, &requests).await?;
        }
        // In turns somebody starts it again, and the other one takes over.
        left.extend(kill_in(&scene, lives, kills % 2 == 0).await?);
        kills += 1;
    }
    let late = nothing_lasts(&scene, &mut calls, LATEST).await?;
    ensure!(late.len() >= lived, "only {} of {lived} were granted", late.len());
    let worst = late.values().max().copied().unwrap_or_default();
    measured(format!("latest end of {lived} grants, the holder killed {kills} times, at each of {all} calls, after its deadline"), worst);
    Ok(())
}

/// Kills the holder when these lives have come to their calls, and returns what must come with another kill.
async fn kill_in(scene: &Scene, lives: Vec<Life>, again: bool) -> Result<Vec<Death>, Error> {
    let (ground, proxy) = (&scene.ground, scene.ground.proxy()?);
    let number = holder(ground).await?;
    let caller = format!("controller-{number}");
    let held = |life: &Life| {
        let fault = if life.death.after { Fault::HoldAnswer } else { Fault::Hold };
        proxy.place(life.death.step.rule(&caller, &life.request, fault))
    };
    let rules: Vec<InForce> = lives.iter().map(held).collect();
    let hits = || rules.iter().filter(|rule| rule.hits() > 0).count();
    let bringing = each(&lives, |life| bring(scene, life.death.way, &life.request, life.duration()));
    // All of them die on the way to their grants, or all at their ends.
    if lives.iter().any(|life| life.death.step.ends) {
        bringing.await?;
        each(&lives, |life| scene.until_granted(&life.request)).await?;
        kill_at(scene, number, hits, again).await?;
    } else {
        futures::try_join!(bringing, kill_at(scene, number, hits, again))?;
    }
    let missed = lives.iter().zip(&rules).filter(|(_, rule)| rule.hits() == 0).map(|(life, _)| life.death.clone()).collect();
    each(&lives, |life| scene.until_granted(&life.request)).await?;
    drop(rules);
    ground.operator.controller(number)?.start()?;
    ground.operator.controller(number)?.wait_until_ready(SOON).await?;
    Ok(missed)
}

/// Kills the holder when it has come to all calls that it comes to.
async fn kill_at(scene: &Scene, number: usize, hits: impl Fn() -> usize, again: bool) -> Outcome {
    wait_for("the holder to come to a call", SOON, async || (hits() > 0).then_some(())).await?;
    standstill("the holder to come to its calls", STANDSTILL, hits).await?;
    let holder = scene.ground.operator.controller(number)?;
    holder.kill();
    if again {
        holder.start()?;
    }
    Ok(())
}
