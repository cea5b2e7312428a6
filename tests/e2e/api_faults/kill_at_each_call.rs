//! `kill -9` of the Lease holder at each call in the life of a grant: before the API server receives the call, and before the holder
//! receives the response (T33, T34, invariant 31).

use std::{sync::Arc, time::Duration};

use control_plane::{Fault, InForce, wait_for};
use jiff::SignedDuration;

use super::call_sequence::{Step, Way, bring, offer, proxied, standstill, steps};
use crate::{
    audit::{Calls, measured},
    ensure,
    env::{Env, Error, Outcome, SOON, Scene},
    faults::{holder, verify_final_state},
    grant_helpers::each,
};

/// The number of lives per kill, each at another call.
const AT_ONCE: usize = 14;
/// Latest end of a grant: the other replica runs all the time, and a busy machine also starts a process.
const LATEST: SignedDuration = SignedDuration::from_secs(3);
/// Two lives may have to wait for each other, since users share locks. If none has reached its call for this long, the rest wait for the
/// next kill.
const STANDSTILL: Duration = Duration::from_secs(2);

/// A call at which the holder dies: before it is forwarded, or after the response and before the holder receives it.
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
    /// The time to make the grant after the holder died before it.
    fn duration(&self) -> &'static str {
        if self.death.step.ends { "8s" } else { "40s" }
    }
}

/// The fault of the holder at its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    /// `kill -9`, and it is restarted at once.
    Again,
    /// `kill -9`, and the other replica takes over.
    Gone,
    /// It is paused for longer than it holds the Lease, and then continues where it was.
    Frozen,
}

pub async fn t33_t34_inv_31_kill_9_at_every_call_of_a_grant(env: Arc<Env>) -> Outcome {
    let (scene, _permit) = proxied(&env, "calls").await?;
    let mut deaths = Vec::new();
    for way in [Way::Automatic, Way::Approved] {
        for step in steps(&scene, way).await? {
            // The end is the same for every way of approval, and a read changes nothing.
            if way == Way::Approved && step.ends {
                continue;
            }
            deaths.push(Death { way, step: step.clone(), after: false });
            if step.writes() {
                deaths.push(Death { way, step, after: true });
            }
        }
    }
    die_at_each(&scene, deaths, &[Blow::Again, Blow::Gone]).await
}

pub async fn t40_inv_31_lease_holder_hangs_at_every_write_and_resumes_after_a_takeover(env: Arc<Env>) -> Outcome {
    let (scene, _permit) = proxied(&env, "hangs").await?;
    let writes = steps(&scene, Way::Approved).await?.into_iter().filter(Step::writes);
    let deaths = writes.flat_map(|step| [false, true].map(|after| Death { way: Way::Approved, step: step.clone(), after })).collect();
    die_at_each(&scene, deaths, &[Blow::Frozen]).await
}

/// Each of these, in a life of its own.
async fn die_at_each(scene: &Scene, mut left: Vec<Death>, blows: &[Blow]) -> Outcome {
    let all = left.len();
    // Events are created one after the other: while one is held, no other one reaches its call.
    let in_line = left.iter().filter(|death| death.step.resource == "events").count();
    let mut calls = Calls::from_now(scene)?;
    let mut count = 0;
    for (struck, blow) in blows.iter().cycle().enumerate() {
        // Calls of the same phase are killed together: before the grant, or at its end.
        left.sort_by_key(|death| death.step.ends);
        let Some(ends) = left.first().map(|death| death.step.ends) else {
            let late = verify_final_state(scene, &mut calls, LATEST).await?;
            ensure!(late.len() >= count, "only {} of {count} were granted", late.len());
            let worst = late.values().max().copied().unwrap_or_default();
            let blows = blows.iter().map(|blow| format!("{blow:?}")).collect::<Vec<_>>().join(" or ");
            measured(format!("latest end of {count} grants, the holder {blows} {struck} times, at each of {all} calls"), worst);
            return Ok(());
        };
        ensure!(struck < 4 + 2 * all / AT_ONCE + in_line, "after {struck} kills no holder has reached {left:?}");
        let together = left.iter().take_while(|death| death.step.ends == ends).count().min(AT_ONCE);
        let lives: Vec<Life> = left
            .drain(..together)
            .map(|death| {
                count += 1;
                Life { request: format!("life-{count:03}"), death }
            })
            .collect();
        for way in [Way::Automatic, Way::Approved] {
            let requests: Vec<String> = lives.iter().filter(|life| life.death.way == way).map(|life| life.request.clone()).collect();
            offer(scene, way, &requests).await?;
        }
        left.extend(strike(scene, lives, *blow).await?);
    }
    Ok(())
}

/// Kills the holder when these lives have reached their calls, and returns the lives that need another kill.
async fn strike(scene: &Scene, lives: Vec<Life>, blow: Blow) -> Result<Vec<Death>, Error> {
    let (fixture, proxy) = (&scene.fixture, scene.fixture.proxy()?);
    let number = holder(fixture).await?;
    let caller = format!("controller-{number}");
    let held = |life: &Life| {
        let fault = if life.death.after { Fault::HoldAnswer } else { Fault::Hold };
        proxy.place(life.death.step.rule(&caller, &life.request, fault))
    };
    let rules: Vec<InForce> = lives.iter().map(held).collect();
    let hits = || rules.iter().filter(|rule| rule.hits() > 0).count();
    let ends = lives.iter().any(|life| life.death.step.ends);
    let bringing = each(&lives, |life| bring(scene, life.death.way, &life.request, life.duration()));
    // All of them are killed before their grants, or all at their ends.
    if ends {
        bringing.await?;
        each(&lives, |life| scene.until_granted(&life.request)).await?;
        strike_at(scene, number, hits, blow).await?;
        each(&lives, |life| scene.ends_as(&life.request, "Expired", &["Expired"], SOON)).await?;
    } else {
        futures::try_join!(bringing, strike_at(scene, number, hits, blow))?;
        each(&lives, |life| scene.until_granted(&life.request)).await?;
    }
    let missed = lives.iter().zip(&rules).filter(|(_, rule)| rule.hits() == 0).map(|(life, _)| life.death.clone()).collect();
    // The delayed calls of a paused holder arrive only now.
    drop(rules);
    let struck = fixture.operator.controller(number)?;
    if blow == Blow::Frozen {
        struck.resume()?;
    }
    struck.start()?;
    struck.wait_until_ready(SOON).await?;
    Ok(missed)
}

/// Kills the holder when all reachable calls are reached.
async fn strike_at(scene: &Scene, number: usize, hits: impl Fn() -> usize, blow: Blow) -> Outcome {
    wait_for("the holder to reach a call", SOON, async || (hits() > 0).then_some(())).await?;
    standstill("the holder to reach its calls", STANDSTILL, hits).await?;
    let holder = scene.fixture.operator.controller(number)?;
    match blow {
        Blow::Again => holder.restart()?,
        Blow::Gone => holder.kill(),
        Blow::Frozen => holder.stop()?,
    }
    Ok(())
}
