//! Decisions and the end of access: pending, approve, deny, revoke, review, deactivate, wait, history.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{ended, made, offers};
use crate::{
    ensure,
    env::{Env, Error, Outcome, SOON, Scene, TestCase, approved_by, automatic, eligibility},
    status_helpers::until,
    test_cases,
};

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![
        plugin_approve_shows_the_grant_and_sends_its_digest,
        plugin_approve_reports_quorum_and_late_approvals,
        plugin_deny_and_wait_exit_codes,
        plugin_wait_reports_requests_that_ended_unused,
        plugin_revokes_by_name_user_and_role,
        f25_plugin_filter_without_match_fails_and_lists_the_options,
        f31_plugin_pending_shows_the_duration_and_omits_own_decisions,
        plugin_reports_no_success_while_access_remains,
        plugin_review_completes_an_emergency,
        plugin_history_shows_completed_requests,
    ]
}

async fn asked(scene: &Scene, offer: &str) -> Result<String, Error> {
    let name =
        made(&ended(scene.jit("dev", &["activate", offer, "-d", "10m", "-r", "INC-7 look", "--no-wait", "-o", "name"]).await?, 0, &[])?)?;
    scene.until_state(&name, "AwaitingApproval", SOON).await?;
    Ok(name)
}

async fn plugin_approve_shows_the_grant_and_sends_its_digest(env: Arc<Env>) -> Outcome {
    let (scene, _, lead) = offers(&env, "approve").await?;
    let name = asked(&scene, &lead).await?;
    ended(
        scene.jit("lead-1", &["pending", "--mine-to-decide"]).await?,
        0,
        &[&name, "dev", "0/1 group leads", "INC-7 look", "kubectl jit approve"],
    )?;
    ended(scene.jit("dev", &["pending", "--mine-to-decide"]).await?, 0, &["no request waits for your decision"])?;
    ended(scene.jit("dev", &["pending"]).await?, 0, &[&name])?;
    ended(
        scene.jit("lead-1", &["approve", &name]).await?,
        2,
        &["pass --yes", "Who:", "dev", "ServiceAccountTokens", "create,delete", "sha256:", "INC-7 look"],
    )?;
    ended(scene.jit("outsider", &["approve", &name, "--yes"]).await?, 5, &["NotAnApprover"])?;
    ended(scene.jit("dev", &["approve", &name, "--yes"]).await?, 5, &["you cannot approve your own request"])?;
    ended(scene.jit("lead-1", &["approve", "no-such", "--yes"]).await?, 1, &["there is no request 'no-such'"])?;
    ensure!(scene.list("adec").await?.is_empty(), "there is a decision by a user who may not decide, or without confirmation");
    ended(
        scene.jit("lead-1", &["approve", &format!("{}/{name}", scene.name), "--yes", "-d", "5m", "-m", "be quick"]).await?,
        0,
        &["approved", "is active until"],
    )?;
    let decision = scene.list("adec").await?.pop().ok_or("there is no decision")?;
    let status = scene.status(&name).await?;
    ensure!(decision["spec"]["digest"] == status["digest"] && decision["spec"]["duration"] == "5m", "{decision}");
    ensure!(decision["spec"]["comment"] == "be quick", "{decision}");
    ended(
        scene.jit("dev", &["get", &name]).await?,
        0,
        &["ActivationDecision", "Approve for 5m by lead-1", "\"be quick\"", "RoleBinding jit-", "timeline", "└──"],
    )?;
    Ok(())
}

async fn plugin_approve_reports_quorum_and_late_approvals(env: Arc<Env>) -> Outcome {
    let scene = env.scene("quorum").await?;
    let offer = scene.offer("two", approved_by("leads", 2), eligibility("view")).await?;
    let name = asked(&scene, &offer).await?;
    ended(scene.jit("lead-1", &["approve", &name, "-y"]).await?, 0, &["1 of 2 needed in stage 'first'"])?;
    ended(scene.jit("lead-1", &["approve", &name, "-y"]).await?, 0, &["AlreadyApproved"])?;
    ended(scene.jit("lead-2", &["approve", &name, "-y"]).await?, 0, &["is active until"])?;
    ended(scene.jit("lead-2", &["approve", &name, "-y"]).await?, 5, &["RequestCompleted"])?;
    ended(scene.jit("dev", &["deactivate", &name]).await?, 0, &[])?;
    ended(scene.jit("lead-2", &["approve", &name, "-y"]).await?, 6, &["too late", "Deactivated"])?;
    let denied = asked(&scene, &offer).await?;
    ended(scene.jit("lead-1", &["deny", &denied, "-m", "no"]).await?, 0, &[])?;
    ended(scene.jit("lead-2", &["approve", &denied, "-y"]).await?, 3, &["too late", "DeniedByApprover"])?;
    Ok(())
}

async fn plugin_deny_and_wait_exit_codes(env: Arc<Env>) -> Outcome {
    let (scene, _, lead) = offers(&env, "deny").await?;
    let name = asked(&scene, &lead).await?;
    ended(scene.jit("lead-1", &["deny", &name]).await?, 2, &["--message"])?;
    ended(scene.jit("outsider", &["deny", &name, "-m", "no"]).await?, 5, &["NotAnApprover"])?;
    ended(scene.jit("dev", &["wait", &name, "--timeout", "1s"]).await?, 4, &["is not decided after 1s"])?;
    // A command waits while the request is denied.
    let wait = ["wait", name.as_str()];
    let waits = scene.jit("dev", &wait);
    let said_no = async {
        ended(scene.jit("lead-1", &["deny", &name, "-m", "not today"]).await?, 0, &[" denied"])?;
        Ok::<_, Error>(())
    };
    let (answer, denied) = tokio::join!(waits, said_no);
    denied?;
    ended(answer?, 3, &["Denied, DeniedByApprover", "not today"])?;
    ended(scene.jit("dev", &["wait", &name, "--for=active"]).await?, 3, &[])?;
    ended(scene.jit("dev", &["wait", "no-such"]).await?, 1, &["there is no request"])?;
    ended(scene.jit("dev", &["wait", &name, "--for=nothing"]).await?, 2, &["settled, active, ended"])?;
    Ok(())
}

async fn plugin_wait_reports_requests_that_ended_unused(env: Arc<Env>) -> Outcome {
    let (scene, own, lead) = offers(&env, "over").await?;
    let taken_back = asked(&scene, &lead).await?;
    ended(scene.jit("dev-2", &["withdraw", &taken_back]).await?, 5, &["NotTheRequester"])?;
    ended(scene.jit("dev", &["withdraw", &taken_back, "-m", "not needed"]).await?, 0, &["withdrawn"])?;
    ended(scene.jit("dev", &["wait", &taken_back]).await?, 6, &["Withdrawn"])?;
    ended(scene.jit("dev", &["wait", &taken_back, "--for=ended"]).await?, 0, &[])?;
    // It expired before a decision.
    let mut hurried = approved_by("leads", 1);
    hurried["approval"]["timeout"] = json!("2s");
    let hurried = scene.offer("hurried", hurried, eligibility("view")).await?;
    ended(scene.jit("dev", &["activate", &hurried, "--wait"]).await?, 6, &["TimedOut"])?;
    // A rule denies it only at a decision.
    let short = made(&ended(scene.jit("dev", &["activate", &own, "-d", "3s", "--no-wait", "-o", "name"]).await?, 0, &[])?)?;
    ended(scene.jit("dev", &["get", &short, "--watch"]).await?, 0, &["Expired", "removed at"])?;
    ended(scene.jit("dev", &["wait", &short]).await?, 6, &["Expired"])?;
    ended(scene.jit("dev", &["deactivate"]).await?, 0, &["you have no active"])?;
    Ok(())
}

async fn plugin_revokes_by_name_user_and_role(env: Arc<Env>) -> Outcome {
    let (scene, own, lead) = offers(&env, "revoke").await?;
    let name = made(&ended(scene.jit("dev", &["activate", &own, "--wait", "-o", "name"]).await?, 0, &[])?)?;
    ended(scene.jit("dev-2", &["revoke", &name, "-m", "mine"]).await?, 5, &["NotARevoker"])?;
    ended(scene.jit("security", &["revoke", &name]).await?, 2, &["--message"])?;
    ended(scene.jit("security", &["revoke", "-m", "x"]).await?, 2, &[])?;
    ended(scene.jit("security", &["revoke", &name, "-m", "incident"]).await?, 0, &[" revoked"])?;
    ended(scene.jit("dev", &["wait", &name]).await?, 3, &["RevokedByUser", "incident"])?;
    // An expired activation is reported as expired, and not as revoked by a user.
    let again = ended(scene.jit("security", &["revoke", &name, "-m", "once more"]).await?, 0, &["has already completed: Revoked"])?;
    ensure!(!again.contains(" revoked\n"), "{again}");
    ended(scene.jit("lead-1", &["deny", &name, "-m", "once more"]).await?, 0, &["has already completed: Revoked"])?;
    // An invalid name does not prevent the revocation of another one.
    let another = made(&ended(scene.jit("dev", &["activate", &own, "--wait", "-o", "name"]).await?, 0, &[])?)?;
    let full_name = format!("{}/{another}", scene.name);
    let said = scene.jit("security", &["revoke", "no-such", &full_name, "-m", "both"]).await?;
    ended(said, 1, &["there is no request 'no-such'", &format!("{full_name} revoked")])?;
    // All active and pending requests of a user, or of an eligibility.
    ended(scene.jit("dev", &["activate", &own, "--wait"]).await?, 0, &[])?;
    asked(&scene, &lead).await?;
    ended(scene.jit("dev-2", &["activate", &own, "--wait"]).await?, 0, &[])?;
    ended(scene.jit("security", &["revoke", "--of-user", "dev", "-m", "left"]).await?, 2, &["pass --yes"])?;
    ended(scene.jit("security", &["revoke", "--of-user", "dev", "-m", "left", "-y"]).await?, 0, &["revoked"])?;
    let left = ended(scene.jit("security", &["list", "--active"]).await?, 0, &["dev-2"])?;
    ensure!(left.lines().count() == 2, "more is left than dev-2 has: {left}");
    let all_of = ["revoke", "--eligibility", own.as_str(), "-m", "role is broken", "--yes"];
    ended(scene.jit("security", &all_of).await?, 0, &["revoked"])?;
    let none = format!("no active or pending request under eligibility '{own}' in namespace '{}'; there is no", scene.name);
    ended(scene.jit("security", &all_of).await?, 1, &[&none])?;
    scene.until_no_binding(SOON).await
}

/// The two columns of the tables have the names of the two flags, everywhere; a mistyped name never looks like "all is revoked".
async fn f25_plugin_filter_without_match_fails_and_lists_the_options(env: Arc<Env>) -> Outcome {
    let (scene, own, lead) = offers(&env, "filters").await?;
    ended(scene.jit("dev", &["activate", &own, "--wait"]).await?, 0, &[])?;
    let waits = asked(&scene, &lead).await?;
    let security = async |args: &[&str]| scene.jit("security", args).await;
    // The column ROLE shows `view`; the eligibility has another name.
    let says = ["no active or pending request for role 'edti'", "'edit' (1)", "'view' (1)"];
    ended(security(&["revoke", "--role", "edti", "-m", "incident", "--yes"]).await?, 1, &says)?;
    ended(security(&["revoke", "--of-user", "Dev", "-m", "incident", "--yes"]).await?, 1, &["of user 'Dev'", "'dev' (2)"])?;
    let hint = format!("--eligibility {own}");
    ended(security(&["revoke", "--role", &own, "-m", "incident", "--yes"]).await?, 1, &["for role", &hint])?;
    ended(security(&["revoke", "--eligibility", "view", "-m", "incident", "--yes"]).await?, 1, &["--role view"])?;
    ensure!(scene.list("adec").await?.is_empty(), "something was revoked");
    // The same for all elements of that list.
    for command in [vec!["list"], vec!["pending"], vec!["list", "--active"]] {
        let with = |flag, value| [command.as_slice(), &[flag, value]].concat();
        ended(security(&with("--role", "edti")).await?, 1, &["for role 'edti' in namespace", "; there are: "])?;
        ended(security(&with("--of-user", "Dev")).await?, 1, &["of user 'Dev' in namespace", "; there are: 'dev'"])?;
        let empty: Value = serde_json::from_str(&ended(security(&with("--role=edti", "-ojson")).await?, 1, &[])?)?;
        ensure!(empty["items"] == json!([]), "programs get {empty}");
    }
    ended(scene.jit("dev", &["status", "--role", "edti"]).await?, 1, &["for role 'edti'"])?;
    let status = ended(scene.jit("dev", &["status", "--role", "edit"]).await?, 0, &[&waits])?;
    ensure!(status.lines().count() == 2, "{status}");
    let listed = ended(security(&["list", "--role", "ClusterRole/view"]).await?, 0, &[&own])?;
    ensure!(listed.lines().count() == 2, "{listed}");
    // Where a request is named, the role, the eligibility and the requester identify it.
    for word in ["edit", lead.as_str()] {
        ended(scene.jit("lead-1", &["deny", word, "-m", "no"]).await?, 1, &["there is no request", &format!("did you mean '{waits}'?")])?;
    }
    ended(security(&["revoke", "--role", "edit", "--of-user", "dev", "-m", "incident", "--yes"]).await?, 0, &[&waits])?;
    ended(security(&["revoke", "--role", "view", "-m", "incident", "--yes"]).await?, 0, &[" revoked"])?;
    scene.until_no_binding(SOON).await
}

async fn f31_plugin_pending_shows_the_duration_and_omits_own_decisions(env: Arc<Env>) -> Outcome {
    let scene = env.scene("mine-to-decide").await?;
    let mut policy = approved_by("leads", 2);
    policy["approval"]["requireComment"] = json!(true);
    let offer = scene.offer("two", policy, eligibility("view")).await?;
    let name = made(&ended(scene.jit("dev", &["activate", &offer, "--no-wait", "-o", "name"]).await?, 0, &[])?)?;
    scene.until_state(&name, "AwaitingApproval", SOON).await?;
    // Without a duration it is that of the eligibility.
    let listed = ended(scene.jit("lead-1", &["pending", "--mine-to-decide"]).await?, 0, &[&format!("kubectl jit approve {name}")])?;
    ensure!(listed.contains(" 1h ") && !listed.contains("default"), "{listed}");
    // A denied input is reported before anything is shown and asked.
    let refused = scene.jit("lead-1", &["approve", &name, "-d", "3h"]).await?;
    ensure!(!refused.stderr.contains("Who:"), "{}", refused.stderr);
    ended(refused, 5, &["DurationTooLong", "kubectl jit explain DurationTooLong"])?;
    let refused = scene.jit("dev", &["approve", &name]).await?;
    ensure!(!refused.stderr.contains("Who:"), "{}", refused.stderr);
    ended(refused, 5, &["approve"])?;
    ended(scene.jit("lead-1", &["approve", &name, "--yes"]).await?, 2, &["requires a comment", "-m/--message"])?;
    ensure!(scene.list("adec").await?.is_empty(), "something was decided");
    ended(scene.jit("lead-1", &["approve", &name, "--yes", "-d", "20m", "-m", "ok"]).await?, 0, &["20m, shortened from 1h", "1 of 2"])?;
    ended(scene.jit("lead-1", &["pending", "--mine-to-decide"]).await?, 0, &["no request waits for your decision"])?;
    let said = scene.jit("lead-1", &["pending"]).await?;
    ensure!(said.stdout.contains(" 20m ") && !said.stderr.contains("kubectl jit approve"), "{}{}", said.stdout, said.stderr);
    ended(scene.jit("lead-2", &["pending", "--mine-to-decide"]).await?, 0, &[&name])?;
    // A start in the future is shown where requests are listed.
    let own = scene.offer("self", automatic(), eligibility("view")).await?;
    let later = made(&ended(scene.jit("dev", &["activate", &own, "--start", "2h", "--no-wait", "-o", "name"]).await?, 0, &[])?)?;
    scene.until_state(&later, "Scheduled", SOON).await?;
    for args in [vec!["status"], vec!["list"], vec!["status", "-A"]] {
        ended(scene.jit("dev", &args).await?, 0, &["STARTS"])?;
    }
    // Roles of others are not listed as the user's own, and requests in other namespaces are reported to be there.
    let all = ended(scene.jit("outsider", &["roles", "--all"]).await?, 0, &[&own])?;
    let own_rows = all.lines().filter(|line| line.starts_with(&own));
    ensure!(own_rows.clone().count() == 1 && own_rows.clone().all(|line| line.contains("NotEligible")), "{all}");
    let mut here = eligibility("view");
    here["subjects"] = json!([{"kind": "User", "name": "only-here"}]);
    scene.offer("here", automatic(), here).await?;
    let roles = ["roles", "-n", "no-such-place", "--as", "only-here", "--as-group", "leads"];
    ended(scene.jit_anywhere(control_plane::ADMIN, &roles).await?, 0, &["in namespace 'no-such-place'; elsewhere: "])?;
    Ok(())
}

/// No controller executes the decision: then it is no success, whatever the command ends.
async fn plugin_reports_no_success_while_access_remains(env: Arc<Env>) -> Outcome {
    let (fixture, _permit) = env.own_fixture(json!({})).await?;
    let scene = env.scene_on(&fixture, "kept").await?;
    let own = scene.offer("self", automatic(), eligibility("view")).await?;
    let name = made(&ended(scene.jit("dev", &["activate", &own, "-d", "10m", "--wait", "-o", "name"]).await?, 0, &[])?)?;
    for controller in 0..2 {
        fixture.operator.controller(controller)?.kill();
    }
    let says = [format!("the decision on {}/{name} is stored", scene.name), "the request is still Active".to_owned()];
    let says: Vec<&str> = says.iter().map(String::as_str).collect();
    let (deactivate, revoke) = (["deactivate", name.as_str()], ["revoke", name.as_str(), "-m", "incident"]);
    let (back, taken) = tokio::join!(scene.jit("dev", &deactivate), scene.jit("security", &revoke));
    for said in [back?, taken?] {
        let said = ended(said, 4, &says)?;
        ensure!(said.is_empty(), "it says that it is done: {said}");
    }
    for controller in 0..2 {
        fixture.operator.controller(controller)?.start()?;
    }
    // The decision is stored, and the next controller executes it.
    scene.until_no_binding(SOON).await
}

async fn plugin_review_completes_an_emergency(env: Arc<Env>) -> Outcome {
    let scene = env.scene("review").await?;
    let mut policy = approved_by("leads", 1);
    policy["emergency"] = json!({"allowed": true, "reviewers": {"groups": ["security"]}});
    let offer = scene.offer("urgent", policy, eligibility("view")).await?;
    ended(scene.jit("dev", &["activate", &offer, "--emergency"]).await?, 2, &["requires a reason"])?;
    let name = made(&ended(
        scene.jit("dev", &["activate", &offer, "--emergency", "-r", "INC-1 all down", "--wait", "-o", "name"]).await?,
        0,
        &[],
    )?)?;
    ended(scene.jit("security", &["pending", "--mine-to-decide"]).await?, 0, &[&name, "review by group security"])?;
    ended(scene.jit("lead-1", &["review", &name, "-m", "fine"]).await?, 5, &["NotAReviewer"])?;
    ended(scene.jit("security", &["review", &name]).await?, 2, &["--message"])?;
    ended(scene.jit("security", &["review", &name, "-m", "was right"]).await?, 0, &["reviewed by security: was right"])?;
    ended(scene.jit("security", &["pending", "--mine-to-decide"]).await?, 0, &["no request waits for your decision"])?;
    Ok(())
}

async fn plugin_history_shows_completed_requests(env: Arc<Env>) -> Outcome {
    let scene = env.scene("history").await?;
    let offer = scene.offer("self", automatic(), eligibility("view")).await?;
    ended(scene.jit("dev", &["history"]).await?, 0, &["no request has completed"])?;
    let name = made(&ended(scene.jit("dev", &["activate", &offer, "-r", "=1+1, \"quoted\"", "--wait", "-o", "name"]).await?, 0, &[])?)?;
    ended(scene.jit("dev", &["deactivate", &name]).await?, 0, &[])?;
    until(&scene, &name, "its end", |status| status["endedAt"].is_string()).await?;
    ended(scene.jit("lead-1", &["history"]).await?, 0, &[&name, "dev", "Deactivated", "retention"])?;
    ended(scene.jit("lead-1", &["history", "--of-user", "lead-1"]).await?, 1, &["of user 'lead-1'", "there are: 'dev' (1)"])?;
    ended(scene.jit("lead-1", &["history", "--until", "1h"]).await?, 0, &["no request has completed"])?;
    let csv = ended(scene.jit("lead-1", &["history", "--since", "1h", "--eligibility", &offer, "-o", "csv"]).await?, 0, &[])?;
    ensure!(csv.lines().count() == 2 && csv.contains("\"'=1+1, \"\"quoted\"\"\""), "{csv}");
    let json: Value = serde_json::from_str(&ended(scene.jit("lead-1", &["history", "-o", "json"]).await?, 0, &[])?)?;
    ensure!(json["kind"] == "List" && json["items"][0]["metadata"]["name"] == name.as_str(), "one is no list: {json}");
    let second = made(&ended(scene.jit("dev", &["activate", &offer, "--wait", "-o", "name"]).await?, 0, &[])?)?;
    ended(scene.jit("dev", &["deactivate", &second]).await?, 0, &[])?;
    until(&scene, &second, "its end", |status| status["endedAt"].is_string()).await?;
    let one = ended(scene.jit("lead-1", &["history", "--limit", "1"]).await?, 0, &["and 1 older", "--limit 0"])?;
    ensure!(one.contains(&second) != one.contains(&name), "{one}");
    ended(scene.jit("lead-1", &["history", "--limit", "0"]).await?, 0, &[&name, &second])?;
    ended(scene.jit("lead-1", &["history", "--since", "yesterday"]).await?, 2, &["neither a time"])?;
    Ok(())
}
