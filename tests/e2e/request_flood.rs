//! One eligible user floods the webhook and a request of their own. The memory stays within the chart's limit, and other users' calls are
//! answered in time (T45).

use std::{
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use control_plane::wait_for_ok;
use futures::future::join_all;
use kube::api::{DynamicObject, PostParams};
use serde_json::{Map, Value, json};

use crate::{
    ensure,
    env::{Env, Error, Outcome, SOON, Scene, TestCase, approved_by, automatic, eligibility},
    test_cases,
};

/// The number of concurrent calls of the flooding user that fill the webhook's memory, and of those that are answered.
const AT_A_TIME: usize = 16;
const ANSWERS: usize = 160;
/// The number of large bodies that admission reads at a time: more of them wait in the API server, and there are few processors here.
const BESIDE_OTHERS: usize = 4;
/// How soon a Revoke takes effect.
const IN_TIME: Duration = Duration::from_secs(2);

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![
        f01_f48_flood_of_decisions_and_large_bodies_exceeds_no_memory_limit_and_delays_no_revocation,
        f01_concurrent_denials_end_the_request_and_few_are_stored,
    ]
}

/// Maximum memory of a process of the chart, in KiB.
fn limit(process: &str) -> Result<u64, Error> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/jit-rbac/values.yaml");
    let values: Value = serde_saphyr::from_str(&std::fs::read_to_string(path)?)?;
    let said = values[process]["resources"]["limits"]["memory"].as_str().ok_or("the chart sets no limit")?.to_owned();
    Ok(said.strip_suffix("Mi").ok_or("the limit is not in Mi")?.parse::<u64>()? * 1024)
}

/// Returns the peak memory of a process, in KiB.
fn most_memory(pid: u32) -> Result<u64, Error> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse()?)
}

/// Bodies of up to 3 MB, the maximum of an API server, of every kind that a requester may create.
fn bodies(scene: &Scene, ended: &str, offer: &str) -> Vec<(&'static str, Value)> {
    let many = |number: usize, length: usize| -> Map<String, Value> {
        (0..number).map(|n| (format!("{}{n}", "k".repeat(60 - 6)), Value::from("v".repeat(length)))).collect()
    };
    let small = scene.decision(ended, "Deactivate", None);
    let with = |object: &Value, pointer: &str, value: Value| {
        let mut object = object.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap_or_default();
        if let Some(parent) = object.pointer_mut(parent) {
            parent[key] = value;
        }
        object
    };
    let mut request = scene.request("", offer, "10m");
    request["metadata"] = json!({"generateName": "flood-", "namespace": scene.name});
    let groups: Value = (0..19_000).map(|n| Value::from(format!("{}{n}", "g".repeat(140)))).collect();
    vec![
        ("activationdecisions", small.clone()),
        ("activationdecisions", with(&small, "/metadata/labels", many(3_200, 63).into())),
        ("activationdecisions", with(&small, "/metadata/annotations", many(4_000, 500).into())),
        ("activationdecisions", with(&small, "/spec/comment", Value::from("x".repeat(2_900_000)))),
        ("activationdecisions", with(&small, "/spec/decider", json!({"username": "dev", "groups": groups}))),
        ("roleactivationrequests", with(&request, "/metadata/labels", many(19_000, 63).into())),
        ("roleactivationrequests", with(&request, "/spec/justification", Value::from("x".repeat(2_900_000)))),
        ("roleactivationrequests", with(&request, "/spec/requester", json!({"username": "dev", "groups": groups}))),
    ]
}

async fn f01_f48_flood_of_decisions_and_large_bodies_exceeds_no_memory_limit_and_delays_no_revocation(env: Arc<Env>) -> Outcome {
    let (fixture, _permit) = env.own_fixture(Value::Null).await?;
    let scene = env.scene_on(&fixture, "flood").await?;
    let offer = scene.offer("edit", automatic(), eligibility("edit")).await?;
    // The request of the flood has ended; another user's grant is active.
    scene.apply("dev", &scene.request("done", &offer, "10m")).await?.ok()?;
    scene.until_state("done", "Active", SOON).await?;
    scene.create("dev", &scene.decision("done", "Deactivate", None)).await?.ok()?;
    scene.until_state("done", "Deactivated", SOON).await?;
    scene.apply("dev-2", &scene.request("runs", &offer, "10m")).await?.ok()?;
    scene.until_state("runs", "Active", SOON).await?;
    let binding = scene.bindings().await?.pop().ok_or("there is no binding")?["metadata"]["name"].as_str().unwrap_or_default().to_owned();

    let flooding = fixture.cluster().client("dev").await?;
    // Serialized once: CPU time of the test itself is not available to the others.
    let bodies: Vec<(String, Vec<u8>)> = bodies(&scene, "done", &offer)
        .into_iter()
        .map(|(kinds, body)| (format!("/apis/jitrbac.dev/v1alpha1/namespaces/{}/{kinds}", scene.name), body.to_string().into_bytes()))
        .collect();
    let (answers, taken, over) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    let flood = async |number: usize| {
        for turn in number.. {
            if over.load(Ordering::Relaxed) {
                return;
            }
            let (path, body) = &bodies[turn % bodies.len()];
            let call = http::Request::post(path).header("content-type", "application/json").body(body.clone());
            if flooding.request_text(call.expect("a request")).await.is_ok() {
                taken.fetch_add(1, Ordering::Relaxed);
            }
            answers.fetch_add(1, Ordering::Relaxed);
        }
    };
    // Runs a future while this many calls of the flood are open.
    let beside = async |calls: usize, work: Pin<&mut dyn Future<Output = Result<Duration, Error>>>| {
        over.store(false, Ordering::Relaxed);
        let work = async {
            let took = work.await;
            over.store(true, Ordering::Relaxed);
            took
        };
        tokio::join!(work, join_all((0..calls).map(&flood))).0
    };
    let answered = async |many: usize| {
        wait_for_ok("answers to the flood", Duration::from_mins(5), async || match answers.load(Ordering::Relaxed) {
            answered if answered >= many => Ok(()),
            answered => Err(format!("{answered} answers")),
        })
        .await
    };
    let filling = pin!(async {
        let start = Instant::now();
        answered(ANSWERS).await?;
        Ok(start.elapsed())
    });
    let filled = beside(AT_A_TIME, filling).await?;

    let api = scene.api_as(fixture.cluster().client("security").await?, "adec").ok_or("no such kind")?;
    let before = answers.load(Ordering::Relaxed);
    let revoking = pin!(async {
        let revoke: DynamicObject = serde_json::from_value(scene.decision("runs", "Revoke", None))?;
        answered(before + 2 * BESIDE_OTHERS).await?;
        let start = Instant::now();
        api.create(&PostParams::default(), &revoke).await?;
        let stored = start.elapsed();
        wait_for_ok("the grant to end", SOON, async || match scene.get("rolebinding", &binding).await {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err("the binding still exists".to_owned()),
            Err(error) => Err(error.to_string()),
        })
        .await?;
        println!("the Revoke was stored after {stored:?} and in effect after {:?}", start.elapsed());
        Ok(start.elapsed())
    });
    let took = beside(BESIDE_OTHERS, revoking).await?;
    let (most, limit) = (most_memory(fixture.operator.webhook().pid().ok_or("the webhook has ended")?)?, limit("webhook")?);
    println!(
        "{} answers to the flood, {ANSWERS} of them within {filled:?}; the webhook had {most} KiB at most",
        answers.load(Ordering::Relaxed)
    );
    ensure!(took < IN_TIME, "the Revoke took {took:?} to take effect");
    ensure!(most < limit, "the webhook had {most} KiB of memory, and the chart allows {limit}");
    ensure!(taken.load(Ordering::Relaxed) == 0, "{} of the flood were stored", taken.load(Ordering::Relaxed));
    let stored = scene.list("adec").await?.len();
    ensure!(stored == 2, "{stored} decisions are stored: the one that counted on each request is enough");
    fixture.operator.wait_until_ready().await?;
    Ok(())
}

async fn f01_concurrent_denials_end_the_request_and_few_are_stored(env: Arc<Env>) -> Outcome {
    /// The number of reviews that admission handles at a time: concurrent ones may not know of each other.
    const AT_ONCE: usize = 64;
    let scene = env.scene("words").await?;
    let offer = scene.offer("edit", approved_by("leads", 1), eligibility("edit")).await?;
    scene.apply("dev", &scene.request("now", &offer, "10m")).await?.ok()?;
    scene.until_state("now", "AwaitingApproval", SOON).await?;
    let api = scene.api_as(scene.fixture.cluster().client("dev").await?, "adec").ok_or("no such kind")?;
    let deactivate: DynamicObject = serde_json::from_value(scene.decision("now", "Deactivate", None))?;
    let say = async |_: usize| api.create(&PostParams::default(), &deactivate).await.is_ok();
    let mut taken = 0;
    for _ in 0..4 {
        taken += join_all((0..AT_ONCE).map(say)).await.into_iter().filter(|taken| *taken).count();
    }
    scene.until_state("now", "Withdrawn", SOON).await?;
    let stored = scene.list("adec").await?.len();
    ensure!((1..=AT_ONCE).contains(&stored) && stored == taken, "{taken} were accepted and {stored} are stored");
    Ok(())
}
