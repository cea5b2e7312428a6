//! Many grants expire while no replica holds the Lease (T33, invariant 24).

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{alone, holder, until};
use crate::{
    audit::{Calls, measured},
    ensure,
    env::{Env, Outcome, SOON, automatic, eligibility},
    grant_helpers::{Granted, each, stamp},
    replicas::BY_ANOTHER,
};

const PEOPLE: [&str; 3] = ["dev", "dev-2", "crowd"];
/// How long before their start they are requested.
const AHEAD: SignedDuration = SignedDuration::from_secs(35);

pub async fn t33_inv_24_grants_end_within_1500_ms_while_the_lease_holder_is_killed(env: Arc<Env>) -> Outcome {
    without_the_holder(&env, "many", 20, 4).await
}

/// More than a replica ends at a time: a new holder must not mistake its own work for that of the other replica.
pub async fn t33_inv_24_grants_of_one_second_end_within_1500_ms_while_the_lease_holder_is_killed(env: Arc<Env>) -> Outcome {
    without_the_holder(&env, "very-many", 50, 1).await
}

/// Each user has this many grants, whose ends are spread over this many seconds: fewer than the Lease lasts.
async fn without_the_holder(env: &Env, name: &str, each_has: i64, spread: i64) -> Outcome {
    let (scene, _permit) = alone(env, name).await?;
    let offers: Vec<String> = (0..each_has).map(|number| format!("offer-{number:02}")).collect();
    scene.offers(&offers.iter().map(String::as_str).collect::<Vec<_>>(), &automatic(), &eligibility("edit")).await?;
    let start = Timestamp::now() + AHEAD;
    let lanes: Vec<_> = PEOPLE.iter().flat_map(|person| (0..).zip(&offers).map(move |(number, offer)| (*person, number, offer))).collect();
    for lanes in lanes.chunks(5) {
        each(lanes, |(person, number, offer)| {
            let mut request = scene.request(&format!("{person}-{offer}"), &scene.offered(offer), "10s");
            request["spec"]["startTime"] = json!(stamp(start + SignedDuration::from_secs(number % spread)));
            let scene = &scene;
            async move { scene.let_in(person, "rar", &request).await }
        })
        .await?;
    }
    let granted: Vec<Granted> = each(&lanes, |(person, _, offer)| {
        let (scene, name) = (&scene, format!("{person}-{offer}"));
        async move {
            until(start).await?;
            scene.running(&name).await
        }
    })
    .await?;
    let first = granted.iter().map(|granted| granted.deadline).min().unwrap_or_default();
    ensure!(Timestamp::now() < first, "the machine is too busy: the first grants expired before all were made");
    let mut calls = Calls::from_now(&scene)?;
    until(first - SignedDuration::from_millis(300)).await?;
    let killed = holder(&scene.fixture).await?;
    scene.fixture.operator.controller(killed)?.kill();

    let mut late = Vec::new();
    for granted in &granted {
        scene.until_gone(&granted.binding, SOON).await?;
        late.push(calls.removed(&granted.binding).await?.duration_since(granted.deadline));
    }
    late.sort();
    let at = |percent: usize| late.get((late.len() * percent).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default();
    measured(format!("{} grants ended after their deadlines while the holder was dead, p50", late.len()), at(50));
    measured(format!("{} grants ended after their deadlines while the holder was dead, p99", late.len()), at(99));
    ensure!(late.first().is_some_and(|earliest| *earliest >= SignedDuration::ZERO), "a grant ended before its deadline: {late:?}");
    ensure!(at(99) < BY_ANOTHER, "at p99 they ended {} ms after their deadlines", at(99).as_millis());
    for granted in &granted {
        scene.ends_as(&granted.request, "Expired", &["Expired"], SOON).await?;
    }
    scene.fixture.operator.controller(killed)?.start()?;
    Ok(())
}
