//! Each call in the life of a grant is lost, duplicated, delayed, denied or never answered, one per grant (T34, invariants 15 and 31).

use std::{sync::Arc, time::Duration};

use control_plane::{Fault, Refusal};
use futures::{StreamExt, TryStreamExt};
use jiff::{SignedDuration, Timestamp};

use super::call_sequence::{Step, Way, bring, calling, offer, proxied, steps};
use crate::{
    audit::{Calls, measured},
    ensure,
    env::{Env, Error, Outcome, SOON, Scene},
    faults::{until, verify_final_state},
    grant_helpers::time,
};

/// The number of concurrent lives.
const AT_ONCE: usize = 12;
/// Latest end of a grant, whatever happens to one call of the holder: the other replica ends it.
const LATEST: SignedDuration = SignedDuration::from_millis(1_500);
/// The temporary error of a call.
const PAUSE: Duration = Duration::from_secs(2);

/// The disturbances of a life before the grant, and at its end.
struct Life {
    request: String,
    duration: &'static str,
    grant: Option<(Step, Fault)>,
    end: Option<(Step, Fault)>,
}

/// Each of these faults at each of the steps, as far as it has an effect there.
fn fault_at_each_step(steps: &[Step], faults: &[Fault]) -> Vec<(Step, Fault)> {
    let differs = |step: &Step, fault: &Fault| match fault {
        // A read changes nothing, so the fate of its response has no effect.
        Fault::HoldAnswer | Fault::LoseAnswer | Fault::Twice => step.writes(),
        Fault::Answer(Refusal { code: 409, reason, .. }) => step.writes() && (*reason == "AlreadyExists") == (step.verb == "create"),
        _ => true,
    };
    steps.iter().flat_map(|step| faults.iter().filter(|fault| differs(step, fault)).map(|fault| (step.clone(), fault.clone()))).collect()
}

fn lives(name: &str, steps: &[Step], faults: &[Fault], duration: &'static str) -> Vec<Life> {
    let (ends, grants): (Vec<Step>, Vec<Step>) = steps.iter().cloned().partition(|step| step.ends);
    let (mut grants, mut ends) = (fault_at_each_step(&grants, faults).into_iter(), fault_at_each_step(&ends, faults).into_iter());
    let both = std::iter::from_fn(|| Some((grants.next(), ends.next())).filter(|(grant, end)| grant.is_some() || end.is_some()));
    both.enumerate().map(|(number, (grant, end))| Life { request: format!("{name}-{number:03}"), duration, grant, end }).collect()
}

pub async fn t34_inv_15_inv_31_each_call_of_a_grant_is_lost_duplicated_delayed_or_denied(env: Arc<Env>) -> Outcome {
    let (scene, _permit) = proxied(&env, "answers").await?;
    let steps = steps(&scene, Way::Approved).await?;
    let passing = [
        Fault::Delay(PAUSE),
        Fault::Lose,
        Fault::LoseAnswer,
        Fault::Twice,
        Fault::Answer(Refusal::CONFLICT),
        Fault::Answer(Refusal::ALREADY_EXISTS),
        Fault::Answer(Refusal::TOO_MANY),
        Fault::Answer(Refusal::INTERNAL),
    ];
    let mut calls = Calls::from_now(&scene)?;
    all(&scene, lives("passing", &steps, &passing, "12s"), "one call lost, duplicated, denied or delayed by 2 s").await?;
    // A call that is never answered times out after ten seconds, and requests that share a lock wait for each other.
    all(&scene, lives("silent", &steps, &[Fault::Hold, Fault::HoldAnswer], "30s"), "one call never answered").await?;
    let late = verify_final_state(&scene, &mut calls, LATEST).await?;
    let worst = late.values().max().copied().unwrap_or_default();
    measured(format!("latest end of {} grants with one call that went wrong before and after, after its deadline", late.len()), worst);
    Ok(())
}

async fn all(scene: &Scene, lives: Vec<Life>, what: &str) -> Outcome {
    let requests: Vec<String> = lives.iter().map(|life| life.request.clone()).collect();
    offer(scene, Way::Approved, &requests).await?;
    let caller = calling(&scene.fixture).await?;
    let living = futures::stream::iter(&lives).map(|life| live_through(scene, &caller, life)).buffer_unordered(AT_ONCE);
    let took: Vec<SignedDuration> = living.try_collect().await?;
    measured(format!("slowest of {} grants from the request on, {what}", took.len()), took.into_iter().max().unwrap_or_default());
    Ok(())
}

/// Runs one life, and returns the time until the grant.
async fn live_through(scene: &Scene, caller: &str, life: &Life) -> Result<SignedDuration, Error> {
    let (request, proxy) = (&life.request, scene.fixture.proxy()?);
    let asked = Timestamp::now();
    let on_the_way = life.grant.as_ref().map(|(step, fault)| proxy.place(step.rule(caller, request, fault.clone())));
    bring(scene, Way::Approved, request, life.duration).await?;
    scene.until_granted(request).await.map_err(|error| -> Error { format!("with {:?}: {error}", life.grant).into() })?;
    let took = Timestamp::now().duration_since(asked);
    let deadline = time(&scene.status(request).await?["expiresAt"])?;
    until(deadline - SignedDuration::from_millis(300)).await?;
    let at_the_end = life.end.as_ref().map(|(step, fault)| proxy.place(step.rule_at_end(caller, request, fault.clone())));
    let status = scene.until_completed(request, SOON).await?;
    ensure!(
        status["state"] == "Expired" && status["reason"] == "Expired",
        "{request} with {:?} and {:?} is {status}",
        life.grant,
        life.end
    );
    for (rule, what) in [(on_the_way, &life.grant), (at_the_end, &life.end)] {
        if let Some(rule) = rule {
            rule.until_hit(SOON).await.map_err(|error| -> Error { format!("{request}, {what:?}: {error}").into() })?;
        }
    }
    Ok(took)
}
