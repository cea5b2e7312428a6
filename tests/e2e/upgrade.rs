//! An upgrade from an earlier commit and a rollback, with grants running: `make test-upgrade`.
//!
//! It runs only where `UPGRADE_FROM` names a directory with the earlier program `jit-rbac` and its chart, `charts/jit-rbac`.

use std::{collections::BTreeMap, env, path::PathBuf, sync::Arc, time::Duration};

use control_plane::{ADMIN, Change, Operator, OperatorOptions, wait_for_ok};
use futures::future::try_join_all;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::{
    audit::{Calls, measured},
    ensure,
    env::{AGGREGATED, Env, Error, GAINING, Outcome, SOON, Scene, Setting, TestCase, approved_by, automatic, eligibility},
    faults::verify_final_state,
    grant_helpers::{each, text},
    replicas::BY_ANOTHER,
    test_cases,
};

const PEOPLE: [&str; 4] = ["dev", "dev-2", "crowd", "lead-1"];
/// The grants of each person, all with different ends.
const EACH: i64 = 50;
/// When the first of them ends after its request, in seconds; the others end in the two minutes after that.
const FIRST: i64 = 60;
const SPREAD: i64 = 120;
/// How many of all grants have ended before the upgrade, and before the rollback.
const BEFORE_UPGRADE: usize = 20;
const BEFORE_ROLLBACK: usize = 110;

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    if earlier().is_some() { test_cases![upgrade_and_rollback_with_200_grants_lose_delay_and_double_none] } else { Vec::new() }
}

fn earlier() -> Option<PathBuf> {
    env::var_os("UPGRADE_FROM").map(PathBuf::from).filter(|path| path.is_absolute())
}

async fn upgrade_and_rollback_with_200_grants_lose_delay_and_double_none(env: Arc<Env>) -> Outcome {
    let earlier = earlier().ok_or("UPGRADE_FROM is not set")?;
    let (binary, chart) = (earlier.join("jit-rbac"), earlier.join("charts/jit-rbac"));
    let setting = Setting { earlier: Some((binary.clone(), chart.clone())), ..Setting::default() };
    let (fixture, _permit) = env.fixture_with(setting).await?;
    let scene = env.scene_on(&fixture, "upgrade").await?;
    let offers: Vec<String> = (0..EACH).map(|number| format!("offer-{number:02}")).collect();
    let mut open = eligibility("edit");
    open["subjects"] = PEOPLE.iter().map(|name| json!({"kind": "User", "name": name})).collect();
    scene.offers(&offers.iter().map(String::as_str).collect::<Vec<_>>(), &automatic(), &open).await?;
    scene.offers(&["new", "old"], &automatic(), &eligibility("edit")).await?;
    scene.offers(&["approved-by-new", "approved-by-old"], &approved_by("leads", 1), &eligibility("edit")).await?;
    let mut calls = Calls::from_now(&scene)?;

    let lanes: Vec<_> = (0..EACH)
        .zip(&offers)
        .flat_map(|(number, offer)| PEOPLE.iter().zip(0..).map(move |(person, nth)| (*person, number, nth, offer)))
        .collect();
    let total = lanes.len();
    for lanes in lanes.chunks(10) {
        each(lanes, |(person, number, nth, offer)| {
            let seconds = FIRST + (number * 4 + nth) * SPREAD / (EACH * 4);
            let request = scene.request(&format!("{person}-{offer}"), &scene.offered(offer), &format!("{seconds}s"));
            let scene = &scene;
            async move { scene.let_in(person, "rar", &request).await }
        })
        .await?;
    }
    for (name, duration) in [("approved-by-new", "40s"), ("approved-by-old", "40s")] {
        scene.ask("dev", name, duration).await?;
    }
    let active = try_join_all(lanes.iter().map(async |(person, _, _, offer)| scene.running(&format!("{person}-{offer}")).await));
    let active = active.await?;
    ensure!(active.len() == total && scene.bindings().await?.len() == total, "the machine is too busy: grants ended before all were made");

    ended(&scene, total, BEFORE_UPGRADE).await?;
    let stored = all(&scene).await?;
    let mut phases = Vec::new();
    let upgrade = async {
        let from = Timestamp::now();
        let options = checkout()?;
        let new = fixture.operator.replace(fixture.cluster(), Change::Upgrade, options).await?;
        Ok::<_, Error>((new, from, Timestamp::now()))
    };
    let (new, from, until) = upgrade.await?;
    phases.push(("upgrade", from, until));
    measured("upgrade of the chart and all processes", until.duration_since(from));
    unchanged(&scene, &stored).await?;
    rewritten(&scene).await?;
    works(&scene, "new", "approved-by-new").await?;

    ended(&scene, total, BEFORE_ROLLBACK).await?;
    let stored = all(&scene).await?;
    let from = Timestamp::now();
    let old = new.replace(fixture.cluster(), Change::RollBack, OperatorOptions::new(binary, chart)).await?;
    let until = Timestamp::now();
    phases.push(("rollback", from, until));
    measured("rollback of the chart and all processes", until.duration_since(from));
    unchanged(&scene, &stored).await?;
    rewritten(&scene).await?;
    works(&scene, "old", "approved-by-old").await?;

    scene.until_no_binding(Duration::from_mins(4)).await?;
    let late = verify_final_state(&scene, &mut calls, BY_ANOTHER).await?;
    ensure!(late.len() == total + 4, "{} of {} requests were granted", late.len(), total + 4);
    for request in scene.list("rar").await? {
        let (name, status) = (text(&request["metadata"]["name"]), &request["status"]);
        ensure!(status["state"] == "Expired" && status["reason"] == "Expired", "{name} ended as {}: {}", status["state"], status["reason"]);
    }
    report(&mut calls, &active.iter().map(|granted| granted.binding.as_str()).collect::<Vec<_>>(), &phases).await?;
    let mut late: Vec<_> = late.into_values().collect();
    late.sort();
    for (what, at) in [("p50", late.len() / 2), ("maximum", late.len() - 1)] {
        measured(format!("end of {} grants over an upgrade and a rollback, {what}", late.len()), late.get(at).copied().unwrap_or_default());
    }
    drop::<Operator>(old);
    Ok(())
}

fn checkout() -> Result<OperatorOptions, Error> {
    let mut options = OperatorOptions::of_checkout(std::path::Path::new(env!("CARGO_MANIFEST_DIR")))?;
    options.cluster_roles.extend([AGGREGATED, GAINING].map(str::to_owned));
    Ok(options)
}

/// Waits until this many of the grants have ended.
async fn ended(scene: &Scene, total: usize, many: usize) -> Outcome {
    let what = format!("{many} of {total} grants to end");
    let ended = wait_for_ok(&what, Duration::from_mins(4), async || {
        let left = scene.bindings().await.map_err(|error| error.to_string())?.len();
        if total - left.min(total) >= many { Ok(()) } else { Err(format!("{left} are left")) }
    });
    Ok(ended.await?)
}

/// Fails unless grants ended before, during and after each phase: otherwise the test shows nothing.
async fn report(calls: &mut Calls, bindings: &[&str], phases: &[(&str, Timestamp, Timestamp)]) -> Outcome {
    let mut removed = Vec::new();
    for binding in bindings {
        removed.push(calls.was_removed(binding).await?);
    }
    for (phase, from, until) in phases {
        let during = removed.iter().filter(|at| (from..until).contains(at)).count();
        let (before, after) = (removed.iter().filter(|at| *at < from).count(), removed.iter().filter(|at| *at >= until).count());
        println!("{phase}: {before} grants ended before it, {during} during it and {after} after it");
        ensure!(before > 0 && during > 0 && after > 0, "{phase}: {before} ended before it, {during} during it and {after} after it");
    }
    Ok(())
}

/// The kinds of the product.
const KINDS: [&str; 4] = ["roleeligibilities", "approvalpolicies", "roleactivationrequests", "activationdecisions"];

/// Returns spec and identity of every stored object, by kind and name.
async fn all(scene: &Scene) -> Result<BTreeMap<String, Value>, Error> {
    let mut found = BTreeMap::new();
    for kind in KINDS {
        let said = scene.kubectl(ADMIN, &["get", kind, "-A", "-o", "json"]).await?.ok()?;
        let list: Value = serde_json::from_str(&said)?;
        for object in list["items"].as_array().into_iter().flatten() {
            let meta = &object["metadata"];
            found.insert(
                format!("{kind} {}", text(&meta["name"])),
                json!({"uid": meta["uid"], "spec": object["spec"], "annotations": meta["annotations"]}),
            );
        }
    }
    Ok(found)
}

/// Every object that was stored before is as it was, and one version is stored.
async fn unchanged(scene: &Scene, before: &BTreeMap<String, Value>) -> Outcome {
    let now = all(scene).await?;
    for (name, object) in before {
        ensure!(now.get(name) == Some(object), "{name} was {object}, and is {:?}", now.get(name));
    }
    for kind in KINDS {
        let args = ["get", "crd", &format!("{kind}.jitrbac.dev"), "-o", "jsonpath={.status.storedVersions[*]}"];
        let stored = scene.kubectl(ADMIN, &args).await?.ok()?;
        ensure!(stored == "v1alpha1", "of {kind} these versions are stored: {stored}");
    }
    Ok(())
}

/// Every stored object can be written again unchanged, as a migration of the storage version does.
async fn rewritten(scene: &Scene) -> Outcome {
    for kind in KINDS {
        let what = format!("all {kind} to be rewritten");
        let rewritten = wait_for_ok(&what, SOON, async || {
            let list = scene
                .kubectl(ADMIN, &["get", kind, "-A", "-o", "json"])
                .await
                .and_then(|said| Ok(said.ok()?))
                .map_err(|e| e.to_string())?;
            let said = scene.fixture.cluster().run_with(ADMIN, &["replace", "-f", "-"], &list).await.map_err(|e| e.to_string())?;
            match said.stderr.lines().find(|line| !line.contains("the object has been modified") && !line.contains("NotFound")) {
                // The operator wrote it meanwhile.
                None => Ok(()),
                Some(line) => Err(line.to_owned()),
            }
        });
        rewritten.await?;
    }
    Ok(())
}

/// This version grants new requests and accepts an approval of a request from before.
async fn works(scene: &Scene, new: &str, approved: &str) -> Outcome {
    let from = Timestamp::now();
    scene.let_in("dev", "rar", &scene.request(new, &scene.offered(new), "30s")).await?;
    scene.until_granted(new).await?;
    measured("grant after a change of the version", Timestamp::now().duration_since(from));
    let approval =
        wait_for_ok("the approval to be accepted", SOON, async || scene.approve("lead-1", approved).await.map_err(|e| e.to_string()));
    approval.await?;
    scene.until_granted(approved).await?;
    ensure!(Timestamp::now().duration_since(from) < SignedDuration::from_secs(60), "the new version needed a minute");
    Ok(())
}
