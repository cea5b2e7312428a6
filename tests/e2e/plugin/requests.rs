//! Roles and requests: roles, describe, can-i, activate, run, unblock, extend.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{ended, made, nothing_asked, offers};
use crate::{
    ensure,
    env::{Env, Outcome, SOON, TestCase, automatic, eligibility},
    test_cases,
};

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![
        plugin_roles_and_describe_show_own_eligibilities,
        plugin_can_i_lists_each_rule_and_creates_nothing,
        plugin_activate_waits_and_prints_the_reason,
        plugin_activates_again_and_several_roles_at_once,
        plugin_activate_prompts_for_required_fields,
        plugin_run_deactivates_at_every_exit,
        plugin_extend_leaves_no_gap,
        plugin_unblock_finds_the_least_powerful_role,
        f32_plugin_unblock_suggests_a_namespaced_role_and_reports_unknowns,
        f66_plugin_activates_all_roles_or_none,
    ]
}

async fn plugin_roles_and_describe_show_own_eligibilities(env: Arc<Env>) -> Outcome {
    let (scene, own, lead) = offers(&env, "roles").await?;
    let said = ended(scene.jit("dev", &["roles"]).await?, 0, &[&own, &lead, "ClusterRole/view", "automatic", "first(1)", "Eligible"])?;
    ensure!(said.starts_with("NAME "), "there are no column titles: {said}");
    // Another test may make them eligible by labels, but not for this test's roles.
    let said = ended(scene.jit("outsider", &["roles"]).await?, 0, &[])?;
    ensure!(!said.contains(&own) && !said.contains(&lead), "dev has no eligibility here: {said}");
    ended(scene.jit("outsider", &["roles", "-A"]).await?, 0, &[&own])?;
    let listed = ended(scene.jit("dev", &["roles", "-o", "name"]).await?, 0, &[])?;
    ensure!(listed.lines().any(|line| line == format!("roleeligibility.jitrbac.dev/{own}")), "{listed}");
    let listed: Value = serde_json::from_str(&ended(scene.jit("dev", &["eligible", "-o", "json"]).await?, 0, &[])?)?;
    // Eligibilities of other tests by labels may exist, as long as it is unknown where they apply.
    let own_items = listed["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|item| item["metadata"]["name"].as_str().is_some_and(|name| name == own || name == lead));
    ensure!(listed["kind"] == "List" && own_items.count() == 2, "{listed}");
    ended(scene.jit("dev", &["roles", "--show-rules"]).await?, 0, &["get,list,watch"])?;
    ended(
        scene.jit("dev", &["describe", &lead]).await?,
        0,
        &[
            "ClusterRole edit",
            "Eligible:    yes (dev)",
            "stage 'first': 1 of group leads",
            "ServiceAccountTokens",
            "1h at most",
            "Group devs",
        ],
    )?;
    ended(scene.jit("outsider", &["describe", &lead]).await?, 0, &["Eligible:    no (outsider)"])?;
    // Users remember the name of the role; a similar name is never used instead.
    ended(scene.jit("dev", &["describe", "edit"]).await?, 5, &["EligibilityNotFound", "did you mean", &lead])?;
    ended(scene.jit("dev", &["describe", "../secrets"]).await?, 5, &["EligibilityNotFound"])?;
    Ok(())
}

async fn plugin_can_i_lists_each_rule_and_creates_nothing(env: Arc<Env>) -> Outcome {
    let (scene, own, _) = offers(&env, "can-i").await?;
    let mut strict = automatic();
    strict["requirements"] = json!({"justification": {"minLength": 10}, "ticket": {"required": true, "pattern": "INC-[0-9]+"}});
    strict["windows"] = json!([{"days": ["Mon"], "from": "08:00", "to": "09:00", "timeZone": "Europe/Oslo"}]);
    let strict = scene.offer("strict", strict, eligibility("view")).await?;
    let said = ended(scene.jit("dev", &["can-i", &own]).await?, 0, &["eligible", "pass", "server dry run", "automatic"])?;
    ensure!(said.trim_end().ends_with("yes"), "{said}");
    ended(scene.jit("outsider", &["can-i", &own]).await?, 5, &["NotEligible: 'outsider' is not among the subjects"])?;
    ended(
        scene.jit("dev", &["can-i", &own, "-d", "3h"]).await?,
        5,
        &["DurationTooLong: duration 3h was requested, at most 1h is allowed"],
    )?;
    ended(
        scene.jit("dev", &["can-i", &strict, "--at", "2030-01-07T07:30:00Z"]).await?,
        0,
        &["a reason (-r)", "a ticket (--ticket)", "yes, with"],
    )?;
    ended(
        scene.jit("dev", &["can-i", &strict, "--at", "2030-01-08T07:30:00Z", "-r", "short", "--ticket", "x"]).await?,
        5,
        &["JustificationTooShort", "TicketMismatch", "OutsideWindow"],
    )?;
    let answers: Value = serde_json::from_str(&ended(scene.jit("dev", &["can-i", &own, "-o", "json"]).await?, 0, &[])?)?;
    ensure!(answers.as_array().is_some_and(|rules| rules.iter().all(|rule| rule["result"] == "pass")), "{answers}");
    // Impersonation needs its permission.
    ended(scene.jit("dev", &["can-i", &own, "--as", "outsider"]).await?, 1, &["cannot impersonate"])?;
    ended(
        scene
            .jit(control_plane::ADMIN, &["can-i", &own, "--as", "ann", "--as-group", "devs", "--as-group", "system:authenticated"])
            .await?,
        0,
        &["'ann' is a subject"],
    )?;
    nothing_asked(&scene).await
}

async fn plugin_activate_waits_and_prints_the_reason(env: Arc<Env>) -> Outcome {
    let (scene, own, lead) = offers(&env, "activate").await?;
    ended(scene.jit("dev", &["activate", &own, "--dry-run=server"]).await?, 0, &["would be created (server dry run)"])?;
    ended(scene.jit("dev", &["activate", &own, "-d", "5h"]).await?, 5, &["DurationTooLong", "kubectl jit explain DurationTooLong"])?;
    ended(scene.jit("outsider", &["activate", &own]).await?, 5, &["NotEligible"])?;
    ended(scene.jit("dev", &["activate"]).await?, 2, &["name what to activate"])?;
    ended(scene.jit("dev", &["activate", &own, "-d", "soon"]).await?, 2, &["is not a valid duration"])?;
    ended(scene.jit("dev", &["activate", &own, "-r", "two\u{1b}[2Jlines"]).await?, 2, &["U+001B"])?;
    nothing_asked(&scene).await?;
    // Plain kubectl accepts the output.
    let manifest = ended(
        scene.jit("dev", &["activate", &own, "-d", "10m", "-r", "INC-1", "--dry-run=client"]).await?,
        0,
        &["generateName", "kind: RoleActivationRequest"],
    )?;
    nothing_asked(&scene).await?;
    scene.fixture.cluster().run_with("dev", &["create", "-f", "-"], &manifest).await?.ok()?;
    let first = scene.list("rar").await?.pop().ok_or("kubectl created nothing")?;
    let first = first["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    scene.until_state(&first, "Active", SOON).await?;
    ended(scene.jit("dev", &["activate", &own]).await?, 5, &["AlreadyRequested", &first])?;
    ended(scene.jit("dev", &["deactivate"]).await?, 0, &["deactivated"])?;
    let name = made(&ended(
        scene.jit("dev", &["activate", &own, "-d", "10m", "--wait", "-o", "name"]).await?,
        0,
        &["until", "kubectl jit deactivate"],
    )?)?;
    ensure!(scene.can("dev", "list", "configmaps").await?, "it returned before the access was active");
    ended(scene.jit("dev", &["wait", &name]).await?, 0, &["is active until"])?;
    // Without a decision it reports its time-out, and the request stays.
    ended(scene.jit("dev", &["activate", &lead, "--timeout", "2s"]).await?, 4, &["is not decided after 2s: it is still AwaitingApproval"])?;
    let waits = made(&ended(scene.jit("dev", &["status", "-o", "name"]).await?, 0, &[])?)?;
    ensure!(waits.starts_with(&lead) || waits == name, "{waits}");
    Ok(())
}

async fn plugin_activates_again_and_several_roles_at_once(env: Arc<Env>) -> Outcome {
    let scene = env.scene("again").await?;
    let other = format!("{}-b", scene.name);
    scene.create_namespace(&other).await?;
    let mut wide = eligibility("view");
    wide["namespaces"] = json!({"names": [scene.name, other]});
    let one = scene.offer("one", automatic(), wide.clone()).await?;
    let two = scene.offer("two", automatic(), wide).await?;
    let sets = scene.fixture.cluster().directory().join(format!("{}-profiles.yaml", scene.name));
    let jit = async |args: &[&str]| {
        let mut command = scene.fixture.cluster().program("dev", super::plugin())?;
        command.env("KUBECTL_JIT_PROFILES", &sets).args(args).args(["-n", &scene.name, "-n", &other]).kill_on_drop(true);
        Ok::<_, crate::env::Error>(command.output().await?)
    };
    let said =
        jit(&["activate", &one, &two, "-d", "10m", "-r", "both at once", "--save-profile", "morning", "-o", "name", "--wait"]).await?;
    let names = String::from_utf8_lossy(&said.stdout).lines().filter(|line| line.starts_with("roleactivationrequest")).count();
    ensure!(said.status.success() && names == 4, "two roles in two namespaces are {names}: {}", String::from_utf8_lossy(&said.stderr));
    ended(scene.jit("dev", &["list", "--mine", "--active", "-n", &other]).await?, 0, &[&one, &two, &other])?;
    ended(scene.jit("dev", &["deactivate"]).await?, 2, &["more than one of your requests", "--all"])?;
    ended(scene.jit_anywhere("dev", &["deactivate", "--all", "-n", &scene.name, "-n", &other]).await?, 0, &["deactivated"])?;
    let again = jit(&["activate", "--profile", "morning", "-r", "again", "--wait"]).await?;
    ensure!(again.status.success(), "the profile is not accepted: {}", String::from_utf8_lossy(&again.stderr));
    ended(scene.jit_anywhere("dev", &["deactivate", "--all", "-n", &scene.name, "-n", &other]).await?, 0, &[])?;
    let unknown = jit(&["activate", "--profile", "evening"]).await?;
    ensure!(
        unknown.status.code() == Some(2) && String::from_utf8_lossy(&unknown.stderr).contains("saved profiles: morning"),
        "an unknown profile is accepted"
    );
    // The last request again, with its reason and duration.
    let last = ended(scene.jit("dev", &["activate", "-", "-o", "json", "--wait"]).await?, 0, &["repeating "])?;
    let last: Value = serde_json::from_str(&last)?;
    ensure!(last["spec"]["justification"] == "again" && last["spec"]["duration"] == "10m", "{last}");
    ended(scene.jit("dev", &["deactivate"]).await?, 0, &[])?;
    // A manifest that was applied once, under a new name.
    let manifest = scene.request("applied", &one, "5m").to_string();
    let fresh = made(&ended(scene.jit_reading("dev", &["activate", "-f", "-", "-o", "name", "--wait"], Some(&manifest)).await?, 0, &[])?)?;
    ensure!(fresh.starts_with("applied-") && fresh != "applied-", "it is called {fresh}");
    ended(scene.jit_reading("dev", &["activate", "-f", "-"], Some("kind: Pod")).await?, 2, &["has no RoleActivationRequest"])?;
    ended(scene.jit_anywhere("dev", &["deactivate", "--all", "-n", &scene.name]).await?, 0, &[])?;
    // Of several, a request that times out does not hide another one: all are named, and the other one is active.
    let slow = scene.offer("slow", crate::env::approved_by("leads", 1), eligibility("edit")).await?;
    let said = scene.jit("dev", &["activate", &slow, &one, "-d", "10m", "--timeout", "5s", "-o", "name"]).await?;
    let text = format!("{}{}", said.stdout, said.stderr);
    let names = said.stdout.lines().filter(|line| line.starts_with("roleactivationrequest")).count();
    ensure!(said.status.code() == Some(4) && names == 2 && text.contains("is active until"), "{text}");
    ensure!(text.matches("created").count() == 2 && text.contains("is not decided after 5s"), "{text}");
    ended(scene.jit_anywhere("dev", &["deactivate", "--all", "-n", &scene.name]).await?, 0, &["withdrawn", "deactivated"])?;
    Ok(())
}

async fn plugin_activate_prompts_for_required_fields(env: Arc<Env>) -> Outcome {
    let scene = env.scene("asks").await?;
    let mut policy = automatic();
    policy["requirements"] =
        json!({"justification": {"minLength": 10}, "ticket": {"required": true, "system": "jira", "pattern": "INC-[0-9]+"}});
    let offer = scene.offer("strict", policy, eligibility("view")).await?;
    ended(scene.jit("dev", &["activate", &offer]).await?, 2, &["requires a reason of at least 10 characters", "-r/--reason"])?;
    ended(scene.jit("dev", &["activate", &offer, "-r", "long enough a reason"]).await?, 2, &["requires a ticket", "--ticket"])?;
    ended(scene.jit("dev", &["activate", &offer, "-r", "long enough a reason", "--ticket", "INC-1"]).await?, 5, &["TicketMismatch"])?;
    nothing_asked(&scene).await?;
    ended(scene.jit("dev", &["activate", &offer, "-r", "long enough a reason", "--ticket", "jira:INC-1", "--wait"]).await?, 0, &[])?;
    Ok(())
}

async fn plugin_run_deactivates_at_every_exit(env: Arc<Env>) -> Outcome {
    let (scene, own, lead) = offers(&env, "run").await?;
    let look = ["run", own.as_str(), "-d", "10m", "--", "kubectl", "auth", "can-i", "list", "configmaps", "-n", scene.name.as_str()];
    let said = ended(scene.jit("dev", &look).await?, 0, &["deactivated"])?;
    ensure!(said.trim() == "yes", "the command had no access: {said}");
    ensure!(!scene.can("dev", "list", "configmaps").await?, "the access remains after the command");
    ended(scene.jit("dev", &["run", &own, "--", "sh", "-c", "test -n \"$JIT_REQUEST\" && exit 7"]).await?, 7, &["deactivated"])?;
    // The exit code of a shell, and no access is requested for a program that cannot be run.
    ended(
        scene.jit("dev", &["run", &own, "--", "no-such-program"]).await?,
        127,
        &["cannot run 'no-such-program'", "nothing was requested"],
    )?;
    ended(scene.jit("outsider", &["run", &own, "--", "true"]).await?, 5, &["NotEligible"])?;
    ended(scene.jit("dev", &["run", &own]).await?, 2, &["COMMAND"])?;
    // It withdraws a request that times out.
    ended(scene.jit("dev", &["run", &lead, "--timeout", "2s", "--", "true"]).await?, 4, &["withdrawn"])?;
    // An end of the command also ends the access.
    let mut command = scene.fixture.cluster().program("dev", super::plugin())?;
    let mut child = command.args(["run", &own, "-n", &scene.name, "--", "sleep", "600"]).stderr(std::process::Stdio::null()).spawn()?;
    let what = "the access of `run`";
    control_plane::wait_for(what, SOON, async || scene.can("dev", "list", "configmaps").await.unwrap_or(false).then_some(())).await?;
    let pid = child.id().ok_or("it has ended")?.to_string();
    ensure!(std::process::Command::new("kill").args(["-TERM", &pid]).status()?.success(), "it cannot be ended");
    let status = child.wait().await?;
    ensure!(status.code() == Some(128 + 15), "it ended as {status}, and its command may clean up");
    ensure!(!scene.can("dev", "list", "configmaps").await?, "the access remains after `run`");
    Ok(())
}

async fn plugin_extend_leaves_no_gap(env: Arc<Env>) -> Outcome {
    let (scene, own, _) = offers(&env, "extend").await?;
    ended(scene.jit("dev", &["extend"]).await?, 1, &["you have no active"])?;
    let base = made(&ended(scene.jit("dev", &["activate", &own, "-d", "10m", "-r", "INC-9", "--wait", "-o", "name"]).await?, 0, &[])?)?;
    ended(scene.jit("dev-2", &["extend", &base]).await?, 5, &["ExtendedRequestNotActive", "belongs to another user"])?;
    let next: Value = serde_json::from_str(&ended(scene.jit("dev", &["extend", "-d", "5m", "--wait", "-o", "json"]).await?, 0, &[])?)?;
    ensure!(next["spec"]["extends"]["name"] == base.as_str() && next["spec"]["justification"] == "INC-9", "{next}");
    ensure!(next["status"]["extendsFrom"] == scene.status(&base).await?["expiresAt"], "there is a gap: {next}");
    ensure!(next["status"]["grantedAt"].as_str() < next["status"]["extendsFrom"].as_str(), "it was not granted then: {next}");
    // The end of the chain is extended next.
    let third: Value = serde_json::from_str(&ended(scene.jit("dev", &["extend", "-d", "5m", "--wait", "-o", "json"]).await?, 0, &[])?)?;
    ensure!(third["spec"]["extends"]["name"] == next["metadata"]["name"], "{third}");
    Ok(())
}

async fn plugin_unblock_finds_the_least_powerful_role(env: Arc<Env>) -> Outcome {
    let (scene, own, lead) = offers(&env, "unblock").await?;
    let error = scene.kubectl("dev", &["get", "configmaps", "-n", &scene.name]).await?.refused()?;
    let said = ended(scene.jit_reading("dev", &["unblock"], Some(&error)).await?, 0, &[&own, &lead, "kubectl jit activate"])?;
    let position = |name: &str| said.find(name).ok_or_else(|| format!("{name} is not offered: {said}"));
    ensure!(position(&own)? < position(&lead)?, "the more powerful role comes first: {said}");
    let writes = scene.kubectl("dev", &["delete", "configmap", "x", "-n", &scene.name]).await?.refused()?;
    let said = ended(scene.jit_reading("dev", &["unblock"], Some(&writes)).await?, 0, &[&lead])?;
    ensure!(!said.contains(&own), "view deletes nothing: {said}");
    ended(scene.jit("dev", &["unblock", "--", "get", "configmaps", "-n", &scene.name]).await?, 0, &["is forbidden", &own])?;
    // kubectl gets the plugin's global flags too, but not the program that kubectl runs.
    let here = format!("in the namespace \"{}\"", scene.name);
    ended(scene.jit("dev", &["unblock", "--", "exec", "pod/x", "--", "get", "pods"]).await?, 0, &["cannot get resource \"pods\"", &here])?;
    ended(
        scene.jit("outsider", &["unblock", "--", "get", "configmaps", "-n", &scene.name]).await?,
        5,
        &["no eligibility of yours in namespace"],
    )?;
    let cluster = scene.kubectl("dev", &["get", "nodes"]).await?.refused()?;
    ended(scene.jit_reading("dev", &["unblock"], Some(&cluster)).await?, 5, &["whole cluster"])?;
    ended(scene.jit_reading("dev", &["unblock"], Some("connection refused")).await?, 2, &["no Forbidden error"])?;
    ended(scene.jit("dev", &["unblock", "--", "version", "--client"]).await?, 0, &[])?;
    Ok(())
}

async fn f32_plugin_unblock_suggests_a_namespaced_role_and_reports_unknowns(env: Arc<Env>) -> Outcome {
    let (scene, own, _) = offers(&env, "least").await?;
    let mut debug = eligibility("debug");
    debug["roleRef"]["kind"] = json!("Role");
    let debug = scene.offer("debug", automatic(), debug).await?;
    let error = scene.kubectl("dev", &["get", "pods", "-n", &scene.name]).await?.refused()?;
    let said = ended(scene.jit_reading("dev", &["unblock"], Some(&error)).await?, 0, &[&format!("kubectl jit activate {own} ")])?;
    let row = |said: &str, name: &str| said.lines().find(|line| line.starts_with(name)).map(ToOwned::to_owned).unwrap_or_default();
    ensure!(row(&said, &debug).matches("unknown").count() == 2, "an unknown value is reported as none: {said}");
    let wide = ended(scene.jit("dev", &["roles", "-o", "wide"]).await?, 0, &[])?;
    ensure!(row(&wide, &debug).contains("unknown"), "{wide}");
    // A user who may read the Role learns that it is sufficient.
    let reads = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "reads-roles", "namespace": scene.name},
        "rules": [{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"], "verbs": ["get"]}],
    });
    let bound = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "reads-roles", "namespace": scene.name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reads-roles"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "dev"}],
    });
    scene.admin(&[reads, bound]).await?;
    control_plane::wait_for("the right to read roles", SOON, async || {
        scene.can("dev", "get", "roles").await.unwrap_or(false).then_some(())
    })
    .await?;
    let said = ended(scene.jit_reading("dev", &["unblock"], Some(&error)).await?, 0, &[&format!("kubectl jit activate {debug} ")])?;
    ensure!(row(&said, &debug).contains(" yes ") && !row(&said, &debug).contains("unknown"), "{said}");
    ensure!(said.find(&debug) < said.find(&own), "the least powerful does not come first: {said}");
    Ok(())
}

async fn f66_plugin_activates_all_roles_or_none(env: Arc<Env>) -> Outcome {
    let (scene, own, lead) = offers(&env, "together").await?;
    // The duration is too long for one of the two.
    let mut brief = eligibility("view");
    brief["maxDuration"] = json!("5m");
    let brief = scene.offer("brief", automatic(), brief).await?;
    let both = ["activate", own.as_str(), brief.as_str(), "-d", "10m", "--no-wait"];
    let says = [format!("{brief} in {}: DurationTooLong", scene.name), "nothing was requested, since 1 of 2".to_owned()];
    let says: Vec<&str> = says.iter().map(String::as_str).collect();
    ended(scene.jit("dev", &both).await?, 5, &says)?;
    nothing_asked(&scene).await?;
    let says = [format!("requesting {own} in {0}, {lead} in {0}", scene.name)];
    ended(scene.jit("dev", &["activate", &own, &lead, "-d", "10m", "--no-wait"]).await?, 0, &[&says[0], "created"])?;
    ensure!(scene.list("rar").await?.len() == 2, "not both were requested");
    Ok(())
}
