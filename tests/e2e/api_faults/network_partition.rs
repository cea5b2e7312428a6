//! One replica, or all of them, cannot reach the API server, or receive only errors from it (T40, invariants 24 and 31).

use std::{sync::Arc, time::Duration};

use control_plane::{Fault, Refusal, Rule};
use jiff::{SignedDuration, Timestamp};

use super::{call_sequence::proxied, disturbed_watches::WATCHED};
use crate::{
    audit::{Calls, measured},
    ensure,
    env::{Env, Error, Outcome, SOON, Scene, automatic, eligibility},
    faults::{holder, until, verify_final_state},
    grant_helpers::{Granted, each},
    replicas::{BY_ANOTHER, TAKEN_OVER, another_holder},
};

/// Latest end of a grant that expired while the API server returned errors, after the last error.
const AFTER_REFUSALS: SignedDuration = SignedDuration::from_secs(4);
/// How long after the last deadline it returns errors.
const REFUSING: SignedDuration = SignedDuration::from_secs(3);
/// The delay of every call when calls are slow.
const SLOW: Duration = Duration::from_millis(300);

pub async fn t40_inv_24_inv_31_partitioned_lease_holder_is_replaced_and_failed_calls_are_retried(env: Arc<Env>) -> Outcome {
    let (scene, _permit) = proxied(&env, "network").await?;
    let mut calls = Calls::from_now(&scene)?;
    cut_off(&scene, &mut calls, "lost", Fault::Lose).await?;
    cut_off(&scene, &mut calls, "silent", Fault::Hold).await?;
    refused(&scene, &mut calls, "too-many", Refusal::TOO_MANY).await?;
    refused(&scene, &mut calls, "internal", Refusal::INTERNAL).await?;
    slow(&scene, &mut calls).await?;
    verify_final_state(&scene, &mut calls, REFUSING + AFTER_REFUSALS + SignedDuration::from_secs(3)).await?;
    Ok(())
}

async fn grants(scene: &Scene, name: &str, duration: &str) -> Result<Vec<Granted>, Error> {
    let names = ["a", "b", "c"].map(|suffix| format!("{name}-{suffix}"));
    scene.offers(&names.each_ref().map(String::as_str), &automatic(), &eligibility("edit")).await?;
    each(&names, |name| scene.granted("dev", name, duration)).await
}

fn first(granted: &[Granted]) -> Timestamp {
    granted.iter().map(|granted| granted.deadline).min().unwrap_or_default()
}

/// Each ends no earlier than its deadline, and no later than this long after its deadline, or after `from` if that is later.
async fn end(scene: &Scene, calls: &mut Calls, granted: &[Granted], from: Timestamp, latest: SignedDuration, what: &str) -> Outcome {
    for granted in granted {
        scene.until_gone(&granted.binding, SOON).await?;
        let removed = calls.removed(&granted.binding).await?;
        let late = removed.duration_since(granted.deadline.max(from));
        measured(format!("grant ended, {what}"), late);
        ensure!(removed >= granted.deadline, "{} ended before its deadline", granted.request);
        ensure!(late < latest, "{} ended {} ms late: {what}", granted.request, late.as_millis());
    }
    Ok(())
}

/// The holder alone is partitioned: its calls fail, or get no response.
async fn cut_off(scene: &Scene, calls: &mut Calls, name: &str, fault: Fault) -> Outcome {
    let (fixture, proxy) = (&scene.fixture, scene.fixture.proxy()?);
    let meanwhile = format!("{name}-meanwhile");
    scene.offers(&[meanwhile.as_str()], &automatic(), &eligibility("edit")).await?;
    let granted = grants(scene, name, "8s").await?;
    let cut = holder(fixture).await?;
    until(first(&granted) - SignedDuration::from_millis(300)).await?;
    let rule = proxy.place(Rule::every(fault).of(&format!("controller-{cut}")));
    for resource in WATCHED {
        proxy.cut(resource);
    }
    end(scene, calls, &granted, Timestamp::UNIX_EPOCH, BY_ANOTHER, &format!("the holder's calls were {name}")).await?;
    let asked = Timestamp::now();
    scene.granted("dev", &meanwhile, "20s").await?;
    measured(format!("grant from the request on, the holder's calls were {name}"), Timestamp::now().duration_since(asked));
    another_holder(fixture, cut, TAKEN_OVER).await?;
    ensure!(rule.hits() > 0, "no call was {name}");
    drop(rule);
    Ok(fixture.operator.controller(cut)?.wait_until_ready(SOON).await?)
}

/// All calls of all replicas fail, for longer than they hold the Lease.
async fn refused(scene: &Scene, calls: &mut Calls, name: &str, refusal: Refusal) -> Outcome {
    let granted = grants(scene, name, "6s").await?;
    until(first(&granted) - SignedDuration::from_millis(300)).await?;
    let rule = scene.fixture.proxy()?.place(Rule::every(Fault::Answer(refusal)));
    let last = granted.iter().map(|granted| granted.deadline).max().unwrap_or_default();
    until(last + REFUSING).await?;
    drop(rule);
    let back = Timestamp::now();
    end(scene, calls, &granted, back, AFTER_REFUSALS, &format!("after everything was answered with {}", refusal.code)).await?;
    for granted in &granted {
        scene.ends_as(&granted.request, "Expired", &["Expired"], SOON).await?;
    }
    Ok(())
}

/// Every call is slow.
async fn slow(scene: &Scene, calls: &mut Calls) -> Outcome {
    let rule = scene.fixture.proxy()?.place(Rule::every(Fault::Delay(SLOW)));
    let granted = grants(scene, "slow", "10s").await?;
    end(scene, calls, &granted, Timestamp::UNIX_EPOCH, BY_ANOTHER, "every call delayed by 300 ms").await?;
    for granted in &granted {
        scene.ends_as(&granted.request, "Expired", &["Expired"], SOON).await?;
    }
    drop(rule);
    Ok(())
}
