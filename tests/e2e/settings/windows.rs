//! Time windows in which an activation may start. Unit tests cover time zones and changes of the UTC offset; these tests cover what users
//! see.

use std::sync::Arc;

use control_plane::ADMIN;
use jiff::{RoundMode, SignedDuration, Timestamp, TimestampRound, Unit};
use serde_json::{Value, json};

use super::{comes_to, edit, set, term, with};
use crate::{
    ensure,
    env::{Env, Error, Outcome, SOON, TestCase, approved_by, automatic, eligibility},
    grant_helpers::stamp,
    status_helpers::{refused, until},
    test_cases,
};

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![
        windows_deny_outside_and_report_the_next_start,
        windows_admit_and_end_grants,
        windows_apply_to_approvals,
        windows_with_an_unknown_time_zone_are_denied,
    ]
}

/// A daily window between two numbers of minutes from now, both truncated to whole minutes; with the instants of both.
pub(super) fn window(from: i64, to: i64) -> Result<(Value, Timestamp, Timestamp), Error> {
    let whole = TimestampRound::new().smallest(Unit::Minute).mode(RoundMode::Trunc);
    let at = |minutes| (Timestamp::now() + SignedDuration::from_mins(minutes)).round(whole);
    let (from, to) = (at(from)?, at(to)?);
    let clock = |at: Timestamp| at.strftime("%H:%M").to_string();
    Ok((json!({"from": clock(from), "to": clock(to), "timeZone": "UTC"}), from, to))
}

async fn windows_deny_outside_and_report_the_next_start(env: Arc<Env>) -> Outcome {
    let scene = env.scene("closed").await?;
    let (hours, begins, ends) = window(120, 180)?;
    let offer = scene.offer("view", set(automatic(), &json!({"windows": [hours]})), eligibility("view")).await?;
    let shown = format!("every day {} to {} UTC", begins.strftime("%H:%M"), ends.strftime("%H:%M"));
    let told = format!(
        "is outside the windows of policy '{offer}' (spec.windows), {shown}; the next one starts at {}: request then, or request now with \
         that time in spec.startTime",
        stamp(begins)
    );
    refused(scene.create("dev", &scene.request("now", &offer, "10m")).await?, &["OutsideWindow: a start at 2", &told])?;
    // The advice of the denial works.
    let at = |at: Timestamp| with(scene.request("then", &offer, "10m"), &json!({"startTime": stamp(at)}));
    refused(scene.create("dev", &at(begins - SignedDuration::from_secs(1))).await?, &["OutsideWindow: "])?;
    refused(scene.create("dev", &at(ends)).await?, &["OutsideWindow: "])?;
    comes_to(&scene, "dev", &at(begins), "Scheduled").await.map(drop)
}

async fn windows_admit_and_end_grants(env: Arc<Env>) -> Outcome {
    let scene = env.scene("open").await?;
    let (hours, _, ends) = window(-60, 20)?;
    let mut ending = hours.clone();
    ending["endsGrant"] = json!(true);
    let free = scene.offer("free", set(automatic(), &json!({"windows": [hours]})), eligibility("view")).await?;
    let cut = scene.offer("cut", set(automatic(), &json!({"windows": [ending.clone()]})), eligibility("view")).await?;
    let demanding = json!({"windows": [ending], "limits": {"minDuration": "30m"}});
    let demanding = scene.offer("demanding", set(automatic(), &demanding), eligibility("view")).await?;
    let (start, end) = term(&comes_to(&scene, "dev", &scene.request("free", &free, "1h"), "Active").await?)?;
    ensure!(
        end.duration_since(start) == SignedDuration::from_hours(1),
        "a window that does not end grants made it last {}",
        end.duration_since(start)
    );
    let (_, end) = term(&comes_to(&scene, "dev", &scene.request("cut", &cut, "1h"), "Active").await?)?;
    ensure!(end == ends, "it ends at {end}, and the window at {ends}");
    let expires = scene.bindings().await?.into_iter().map(|b| b["metadata"]["annotations"]["jitrbac.dev/expires-at"].clone());
    ensure!(expires.into_iter().any(|at| at == stamp(ends)), "no binding ends with the window");
    let told = format!("; the windows of policy '{demanding}' end before that (spec.windows)");
    refused(
        scene.create("dev", &scene.request("short", &demanding, "1h")).await?,
        &["DurationTooShort: ", "at least 30m is required by policy", &told],
    )
}

async fn windows_apply_to_approvals(env: Arc<Env>) -> Outcome {
    let scene = env.scene("late").await?;
    let (closed, begins, _) = window(120, 180)?;
    let offer = scene.offer("view", set(approved_by("leads", 1), &json!({"windows": [closed]})), eligibility("view")).await?;
    let before = comes_to(&scene, "dev", &scene.request("now", &offer, "10m"), "AwaitingApproval").await?;
    let told = [
        "OutsideWindow: with this approval, request 'now' would be Denied: a start at 2",
        &format!("the next one starts at {}", stamp(begins)),
    ];
    let approve = scene.create("lead-1", &scene.decision("now", "Approve", before["digest"].as_str())).await?;
    refused(approve, &told)?;
    // It stays pending, and an approval within the window counts.
    let after = scene.status("now").await?;
    ensure!(after["state"] == "AwaitingApproval" && after["awaiting"]["have"] == 0 && after["digest"] == before["digest"], "it is {after}");
    ensure!(scene.list("adec").await?.is_empty() && scene.bindings().await?.is_empty(), "a denied approval had an effect");
    let (open, _, _) = window(-60, 60)?;
    edit(&scene, "approvalpolicy", &offer, &json!({"windows": [open]})).await?;
    until(&scene, "now", "another digest", |status| status["digest"] != before["digest"]).await?;
    scene.approve("lead-1", "now").await?;
    scene.until_state("now", "Active", SOON).await.map(drop)
}

async fn windows_with_an_unknown_time_zone_are_denied(env: Arc<Env>) -> Outcome {
    let scene = env.scene("zone").await?;
    for (zone, offered) in [("Europe/Olso", " (did you mean Europe/Oslo?)"), ("Etc/Unknown", ""), ("../etc/passwd", ""), ("CEST", "")] {
        let spec = set(automatic(), &json!({"windows": [{"from": "08:00", "to": "18:00", "timeZone": zone}]}));
        let name = format!("{}-zone", scene.name);
        let policy = json!({"apiVersion": "jitrbac.dev/v1alpha1", "kind": "ApprovalPolicy", "metadata": {"name": name}, "spec": spec});
        let told = format!("InvalidField: spec.windows[0].timeZone '{zone}' is not a time zone of the IANA database{offered}");
        refused(scene.create(ADMIN, &policy).await?, &[&told, "; use one such as Europe/Oslo, or UTC"])?;
    }
    Ok(())
}
