//! `run` until its access ends and after that, and how extension chains are shown.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::{ended, made, nothing_asked, offers};
use crate::{
    ensure,
    env::{Env, Error, Outcome, SOON, Scene, TestCase, automatic, eligibility},
    test_cases,
};

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![
        f42_plugin_run_withdraws_a_request_that_can_no_longer_be_granted,
        f42_plugin_run_with_unknown_command_creates_no_request,
        f42_plugin_interrupted_wait_prints_what_remains,
        f43_plugin_run_reports_the_end_of_its_access,
        f43_plugin_run_continues_with_an_extension,
        f35_plugin_shows_an_extension_chain_as_one_access,
    ]
}

async fn f42_plugin_run_withdraws_a_request_that_can_no_longer_be_granted(env: Arc<Env>) -> Outcome {
    // No decision is made: the controllers are stopped.
    let (fixture, _permit) = env.own_fixture(json!({})).await?;
    let scene = env.scene_on(&fixture, "f42").await?;
    let own = scene.offer("self", automatic(), eligibility("view")).await?;
    fixture.operator.controllers().iter().try_for_each(|controller| controller.stop())?;
    // Its deadline counts from its creation, so after some seconds it can no longer be granted.
    let said = scene.jit("dev", &["run", &own, "-d", "2s", "-r", "INC-42", "--", "true"]).await;
    let found = scene.list("adec").await;
    fixture.operator.controllers().iter().try_for_each(|controller| controller.resume())?;
    ended(said?, 6, &["can no longer be granted: its time ended at", "it is Pending", "the decision on"])?;
    ensure!(found?.iter().any(|decision| decision["spec"]["decision"] == "Deactivate"), "it was not withdrawn");
    nothing_granted(&scene).await
}

async fn nothing_granted(scene: &Scene) -> Outcome {
    let found = scene.list("rar").await?.pop().ok_or("there is no request")?;
    let name = found["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let status = scene.until_completed(&name, SOON).await?;
    ensure!(status["bindingRef"].is_null(), "it was granted: {status}");
    Ok(())
}

async fn f42_plugin_run_with_unknown_command_creates_no_request(env: Arc<Env>) -> Outcome {
    let (scene, own, _) = offers(&env, "f42-absent").await?;
    ended(scene.jit("dev", &["run", &own, "--", "no-such-program"]).await?, 127, &["cannot run 'no-such-program': it is not on the PATH"])?;
    ended(scene.jit("dev", &["run", &own, "--", "/no/such/program"]).await?, 127, &["there is no such file", "nothing was requested"])?;
    ended(scene.jit("dev", &["run", &own, "--", "/etc/passwd"]).await?, 126, &["it is not an executable file"])?;
    nothing_asked(&scene).await
}

async fn f42_plugin_interrupted_wait_prints_what_remains(env: Arc<Env>) -> Outcome {
    let (scene, _, lead) = offers(&env, "f42-ctrl-c").await?;
    let interrupted = async |args: &[&str]| {
        let mut command = scene.fixture.cluster().program("dev", super::plugin())?;
        let mut child = command.args(args).args(["-n", &scene.name]).stderr(std::process::Stdio::piped()).spawn()?;
        let pid = child.id().ok_or("it has ended")?.to_string();
        let mut lines = BufReader::new(child.stderr.take().ok_or("it has no standard error")?).lines();
        let mut said = String::new();
        // Once it prints what it waits for, it waits.
        while let Some(line) = lines.next_line().await? {
            said += &line;
            if line.contains("needed in stage") {
                ensure!(std::process::Command::new("kill").args(["-INT", &pid]).status()?.success(), "it cannot be interrupted");
            }
        }
        Ok::<_, Error>((child.wait().await?.code(), said))
    };
    let activate = ["activate", lead.as_str(), "-d", "10m", "-r", "INC-7 look", "--no-wait", "-o", "name"];
    let name = made(&ended(scene.jit("dev", &activate).await?, 0, &[])?)?;
    scene.until_state(&name, "AwaitingApproval", SOON).await?;
    let (code, said) = interrupted(&["wait", &name]).await?;
    ensure!(
        code == Some(130) && said.contains(&format!("is still AwaitingApproval; to withdraw it: kubectl jit deactivate {name}")),
        "{code:?}: {said}"
    );
    ended(scene.jit("dev", &["deactivate"]).await?, 0, &["withdrawn"])?;
    Ok(())
}

async fn f43_plugin_run_reports_the_end_of_its_access(env: Arc<Env>) -> Outcome {
    let (scene, own, _) = offers(&env, "f43").await?;
    let script = "test -n \"$JIT_EXPIRES_AT\" && echo \"until $JIT_EXPIRES_AT\"; sleep 10";
    let said = scene.jit("dev", &["run", &own, "-d", "6s", "--warn-before", "2s", "-r", "INC-43", "--", "sh", "-c", script]).await?;
    let (told, all) = (said.stderr.clone(), format!("{}{}", said.stdout, said.stderr));
    let data = ended(said, 0, &["until 20"])?;
    ensure!(data.trim().starts_with("until ") && data.trim().ends_with('Z'), "the command did not receive its end: {data}");
    let position = |text: &str| told.find(text).ok_or_else(|| format!("it does not say '{text}': {all}"));
    let (before, at_end, last) = (position(" ends at ")?, position("has ended")?, position(" had ended")?);
    ensure!(before < at_end && at_end < last, "not in this order: {told}");
    position("kubectl jit extend ")?;
    position("'sh' continues without it")?;
    ensure!(!told.contains("cannot deactivate") && !told.contains("at its deadline"), "the last sentence is wrong: {told}");
    ensure!(!told.contains("next: "), "it deactivates by itself: {told}");
    // A user who disables notices gets only that of the end.
    let said = scene.jit("dev", &["run", &own, "-d", "5s", "--warn-before", "0", "-r", "INC-43", "--", "true"]).await?;
    ensure!(!said.stderr.contains(" ends at "), "{}", said.stderr);
    ended(said, 0, &["deactivated"])?;
    // A revocation is reported at once.
    let mut command = scene.fixture.cluster().program("dev", super::plugin())?;
    let run = ["run", own.as_str(), "-d", "10m", "-r", "INC-43", "-n", scene.name.as_str(), "--", "sleep", "6"];
    let child = command.args(run).stderr(std::process::Stdio::piped()).spawn()?;
    let active = control_plane::wait_for("an active request", SOON, async || {
        let found = scene.list("rar").await.ok()?;
        found
            .into_iter()
            .find(|request| request["status"]["state"] == "Active")
            .and_then(|request| Some(request["metadata"]["name"].as_str()?.to_owned()))
    });
    let name = active.await?;
    ended(scene.jit("security", &["revoke", &name, "-m", "incident over", "--yes"]).await?, 0, &[])?;
    let output = child.wait_with_output().await?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(said.contains("has ended (Revoked") && said.contains(" had ended"), "{said}");
    Ok(())
}

async fn f43_plugin_run_continues_with_an_extension(env: Arc<Env>) -> Outcome {
    let (scene, own, _) = offers(&env, "f43-extended").await?;
    let mut command = scene.fixture.cluster().program("dev", super::plugin())?;
    let run = ["run", own.as_str(), "-d", "8s", "--warn-before", "0", "-r", "INC-43", "-n", scene.name.as_str(), "--", "sleep", "12"];
    let child = command.args(run).stderr(std::process::Stdio::piped()).spawn()?;
    control_plane::wait_for("the access of `run`", SOON, async || {
        scene.can("dev", "list", "configmaps").await.unwrap_or(false).then_some(())
    })
    .await?;
    ended(scene.jit("dev", &["extend", "-d", "10m", "--wait"]).await?, 0, &["is active until"])?;
    let output = child.wait_with_output().await?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(!said.contains("has ended") && said.contains("deactivated"), "{said}");
    ensure!(!scene.can("dev", "list", "configmaps").await?, "the extension remains after `run`");
    Ok(())
}

async fn f35_plugin_shows_an_extension_chain_as_one_access(env: Arc<Env>) -> Outcome {
    let (scene, own, _) = offers(&env, "f35").await?;
    let activate = ["activate", own.as_str(), "-d", "10m", "-r", "INC-35", "--wait", "-o", "name"];
    let base = made(&ended(scene.jit("dev", &activate).await?, 0, &[])?)?;
    let next = made(&ended(scene.jit("dev", &["extend", &base, "-d", "20m", "--wait", "-o", "name"]).await?, 0, &[])?)?;
    // The name of the extended request identifies its extension.
    let said = scene.jit("dev", &["extend", &base, "-d", "30m", "--wait", "-o", "name"]).await?;
    let last = made(&ended(said, 0, &[&format!("{base} is already extended by")])?)?;
    ensure!(scene.get("rar", &last).await?.ok_or("it is gone")?["spec"]["extends"]["name"] == next.as_str(), "{last} extends another one");
    let prompt = ended(scene.jit_anywhere("dev", &["whoami", "--prompt"]).await?, 0, &[])?;
    let mine = format!("jit:view@{}(", scene.name);
    let left = prompt.trim().strip_prefix(&mine).ok_or_else(|| format!("'{prompt}' shows another access"));
    if let Ok(left) = left {
        ensure!(left.starts_with("59m") || left.starts_with("60m"), "the whole access lasts longer: {prompt}");
    }
    ended(
        scene.jit("dev", &["get", &base]).await?,
        0,
        &[", with its extension until", &format!("extended by {next}"), &format!("extended by {last}")],
    )?;
    ended(scene.jit("dev", &["get", &last]).await?, 0, &[&format!("extends {next}")])?;
    // One access is deactivated, whatever its chain consists of.
    ended(scene.jit("dev", &["deactivate", "-m", "done"]).await?, 0, &[&format!("{last} deactivated")])?;
    for name in [&base, &next, &last] {
        let status = scene.ends_as(name, "Deactivated", &["DeactivatedByRequester", "ExtendedRequestEnded"], SOON).await?;
        ensure!(status["grantedAt"].as_str() <= status["endedAt"].as_str(), "{name} was granted after its end: {status}");
    }
    let history = ended(scene.jit("dev", &["history", "--of-user", "dev"]).await?, 0, &[&base, "Deactivated"])?;
    ensure!(!history.contains(&next) && !history.contains(&last) && !history.contains("Revoked"), "one access is one row: {history}");
    let csv = ended(scene.jit("dev", &["history", "-o", "csv"]).await?, 0, &[&base, &next, &last])?;
    ensure!(csv.lines().count() == 4 && csv.contains(",ended_by,"), "{csv}");
    let records: Value = serde_json::from_str(&ended(scene.jit("dev", &["history", "-o", "json"]).await?, 0, &[])?)?;
    let items = records["items"].as_array().ok_or("no list was printed")?;
    let extensions = items.iter().filter(|item| !item["status"]["extendsFrom"].is_null()).count();
    ensure!((items.len(), extensions) == (3, 2), "{records}");
    Ok(())
}
