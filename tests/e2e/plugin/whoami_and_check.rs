//! The user's identity and the state of the installation: whoami, check, version, completion.

use std::sync::Arc;

use control_plane::ADMIN;
use serde_json::Value;

use super::{ended, made, offers, plugin};
use crate::{
    ensure,
    env::{Env, Outcome, TestCase},
    faults::alone,
    test_cases,
};

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![
        plugin_whoami_shows_identity_and_active_roles,
        plugin_check_reports_what_responds,
        f27_plugin_check_names_the_guard_that_blocks_grants,
        f34_plugin_lint_reads_directories_and_prints_file_and_line,
        plugin_completion_suggests_names_from_the_cluster,
        f24_plugin_explains_reasons_without_a_cluster,
        plugin_reports_invalid_flags_and_kubeconfigs,
    ]
}

async fn plugin_whoami_shows_identity_and_active_roles(env: Arc<Env>) -> Outcome {
    let (scene, own, _) = offers(&env, "whoami").await?;
    ended(scene.jit("outsider", &["whoami"]).await?, 0, &["outsider", "u-outsider", "Active:      nothing", "you may not read bindings"])?;
    ensure!(ended(scene.jit("outsider", &["whoami", "--prompt"]).await?, 0, &[])?.is_empty(), "there is a prompt without access");
    let name = made(&ended(scene.jit("dev", &["activate", &own, "-d", "50m", "--wait", "-o", "name"]).await?, 0, &[])?)?;
    ended(scene.jit("dev", &["whoami"]).await?, 0, &["Groups:", "devs", &name, "view is active until", "get,list,watch"])?;
    let prompt = ended(scene.jit("dev", &["whoami", "--prompt"]).await?, 0, &[])?;
    // Other tests activate roles for this user too; the first to end is shown.
    ensure!(prompt.lines().count() == 1 && prompt.starts_with("jit:") && prompt.contains('('), "the prompt is {prompt}");
    let who: Value = serde_json::from_str(&ended(scene.jit("dev", &["whoami", "-o", "json"]).await?, 0, &[])?)?;
    ensure!(who["user"]["username"] == "dev", "{who}");
    // A user who may read bindings sees the permanent ones.
    ended(
        scene.jit(ADMIN, &["whoami"]).await?,
        0,
        &["Permanent, cluster-wide", "ClusterRole cluster-admin by ClusterRoleBinding cluster-admin"],
    )?;
    Ok(())
}

async fn plugin_check_reports_what_responds(env: Arc<Env>) -> Outcome {
    let scene = env.scene("check").await?;
    ended(
        scene.jit("dev", &["check"]).await?,
        0,
        &[
            "api server",
            "agrees with the API server's",
            "is served",
            "you may create requests and decisions",
            "denies an invalid request",
            "needs permission to list Leases",
        ],
    )?;
    ended(scene.jit(ADMIN, &["check", "--wait=10s"]).await?, 0, &["holds the Lease", "valid for 6s", "verified for"])?;
    let stranger = scene.jit(ADMIN, &["check", "--as", "stranger"]).await?;
    ended(stranger, 1, &["you may not create roleactivationrequests", "chart jit-access"])?;
    ended(scene.jit("dev", &["version"]).await?, 0, &["client", "server   v1.", "operator unknown"])?;
    ended(scene.jit_anywhere("dev", &["version", "--client", "-o", "json"]).await?, 0, &["\"client\": \""])?;
    Ok(())
}

async fn f27_plugin_check_names_the_guard_that_blocks_grants(env: Arc<Env>) -> Outcome {
    let (scene, _permit) = alone(&env, "check-guards").await?;
    ended(scene.jit(ADMIN, &["check", "--wait=20s"]).await?, 0, &["verified for"])?;
    // Another component of the cluster adds a field to a webhook configuration (F61).
    let patch = r#"[{"op": "add", "path": "/webhooks/0/namespaceSelector", "value": {"matchLabels": {"added": "by-somebody"}}}]"#;
    let change = ["patch", "validatingwebhookconfiguration", "jit-rbac", "--type=json", "-p", patch];
    scene.kubectl(ADMIN, &change).await?.ok()?;
    let says = ["guards", "broken", "new grants are on hold", "ValidatingWebhookConfiguration jit-rbac", "namespaceSelector"];
    ended(scene.jit(ADMIN, &["check"]).await?, 1, &says)?;
    scene.kubectl(ADMIN, &["delete", "validatingadmissionpolicybinding", "jit-rbac-requests"]).await?.ok()?;
    ended(scene.jit(ADMIN, &["check"]).await?, 1, &["ValidatingAdmissionPolicyBinding jit-rbac-requests"])?;
    Ok(())
}

async fn f34_plugin_lint_reads_directories_and_prints_file_and_line(env: Arc<Env>) -> Outcome {
    let scene = env.scene("lint").await?;
    let access = scene.fixture.cluster().directory().join(format!("{}-access", scene.name));
    let below = access.join("eligibilities");
    std::fs::create_dir_all(&below)?;
    let text = "apiVersion: jitrbac.dev/v1alpha1\nkind: RoleEligibility\nmetadata: {name: pay}\nspec:\n  subjects:\n  - {kind: Grup, name: devs}\n  \
        roleRef: {kind: ClusterRole, name: edit}\n  namespaces: {names: [pay]}\n  policyRef: {name: p}\n  maxDuration: 3 hours\n";
    std::fs::write(below.join("pay.yaml"), text)?;
    let lint = async |path: &str, more: &[&str]| {
        let args: Vec<&str> = ["lint", "-f", path].iter().chain(more).copied().collect();
        scene.jit_anywhere("dev", &args).await
    };
    let directory = access.display().to_string();
    ended(lint(&directory, &[]).await?, 1, &["nothing was checked", "-R", "eligibilities"])?;
    let says = [
        "pay.yaml:6: RoleEligibility 'pay': error: spec.subjects[0].kind: 'Grup' is not one of",
        "pay.yaml:10: RoleEligibility 'pay': error: spec.maxDuration: '3 hours'",
        "errors: 2",
    ];
    ended(lint(&directory, &["-R"]).await?, 5, &says)?;
    std::fs::write(below.join("broken.yaml"), "a\t: b: c\n")?;
    let said = ended(lint(&directory, &["-R"]).await?, 5, &["broken.yaml: error: ", "line 1", "errors: 3"])?;
    ensure!(!said.contains('\u{fffd}'), "{said}");
    Ok(())
}

async fn plugin_completion_suggests_names_from_the_cluster(env: Arc<Env>) -> Outcome {
    let (scene, own, lead) = offers(&env, "complete").await?;
    let complete = async |user: &str, words: &[&str]| {
        let all: Vec<&str> = ["__complete"].into_iter().chain(words.iter().copied()).collect();
        ended(scene.jit_anywhere(user, &all).await?, 0, &[])
    };
    let said = complete("dev", &["activate", "-n", &scene.name, &scene.name]).await?;
    ensure!(said.contains(&format!("{own}\tClusterRole view")) && said.contains(&lead) && said.ends_with(":4\n"), "{said}");
    let said = complete("outsider", &["activate", ""]).await?;
    ensure!(!said.contains(&own) && said.ends_with(":4\n"), "{said}");
    let said = complete("dev", &["act"]).await?;
    ensure!(said.starts_with("activate\t"), "{said}");
    let said = complete("dev", &["activate", "--dur"]).await?;
    ensure!(said.starts_with("--duration\t"), "{said}");
    ensure!(complete("dev", &["list", "-o", "w"]).await?.starts_with("wide\t"), "no values of a flag");
    ensure!(complete("dev", &["roles", "-n", &scene.name]).await?.contains(&scene.name), "no namespaces");
    ensure!(complete("dev", &["lint", "-f", ""]).await? == ":0\n", "no files");
    let name = made(&ended(scene.jit("dev", &["activate", &lead, "--no-wait", "-o", "name"]).await?, 0, &[])?)?;
    scene.until_state(&name, "AwaitingApproval", crate::env::SOON).await?;
    ensure!(
        complete("lead-1", &["approve", "-n", &scene.name, ""]).await?.contains(&format!("{name}\tdev, AwaitingApproval")),
        "nothing to approve"
    );
    ensure!(!complete("dev", &["approve", "-n", &scene.name, ""]).await?.contains(&name), "their own request is suggested");
    // The shim, through kubectl itself.
    let bin = scene.fixture.cluster().directory().join(format!("{}-bin", scene.name));
    std::fs::create_dir_all(&bin)?;
    let directory = bin.display().to_string();
    ended(
        scene.jit_anywhere("dev", &["completion", "install", "--directory", &directory]).await?,
        0,
        &["wrote ", "kubectl_complete-jit", "is not on the PATH"],
    )?;
    let kubectl = scene.fixture.cluster().binaries().kubectl.clone();
    let mut command = scene.fixture.cluster().program("dev", plugin())?;
    let path = command
        .as_std()
        .get_envs()
        .find(|(name, _)| *name == "PATH")
        .and_then(|(_, value)| value)
        .map(|path| path.to_string_lossy().into_owned())
        .unwrap_or_default();
    drop(command);
    command = scene.fixture.cluster().program("dev", &kubectl)?;
    let said =
        command.env("PATH", format!("{directory}:{path}")).args(["__complete", "jit", "activate", "-n", &scene.name, ""]).output().await?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    ensure!(said.contains(&own), "kubectl does not complete: {said}");
    Ok(())
}

async fn f24_plugin_explains_reasons_without_a_cluster(env: Arc<Env>) -> Outcome {
    let scene = env.scene("explain").await?;
    let explain = async |args: &[&str]| {
        let args: Vec<&str> = ["explain", "--kubeconfig", "/no/such/file"].iter().chain(args).copied().collect();
        scene.jit_anywhere("dev", &args).await
    };
    let said = ended(explain(&["DurationTooLong"]).await?, 0, &["What you can do", "What an admin can do"])?;
    ensure!(said.starts_with("DurationTooLong\n") && !said.contains("```") && !said.contains("]("), "{said}");
    ended(explain(&["NotAnApprover: 'dev' may not approve"]).await?, 0, &["NotAnApprover"])?;
    ended(explain(&["DuratoinTooLong"]).await?, 2, &["unknown reason 'DuratoinTooLong'", "did you mean 'DurationTooLong'?"])?;
    ended(explain(&[]).await?, 0, &["REASON", "DurationTooLong", "GuardsNotVerified"])?;
    let data: Value = serde_json::from_str(&ended(explain(&["SelfApprovalNotAllowed", "-o", "json"]).await?, 0, &[])?)?;
    ensure!(data[0]["reason"] == "SelfApprovalNotAllowed" && data[0]["sections"].as_array().is_some_and(|all| all.len() > 3), "{data}");
    Ok(())
}

async fn plugin_reports_invalid_flags_and_kubeconfigs(env: Arc<Env>) -> Outcome {
    let scene = env.scene("kubeconfig").await?;
    ended(scene.jit("dev", &["roles", "--kubeconfig", "/no/such/file"]).await?, 1, &["cannot use the kubeconfig", "/no/such/file"])?;
    ended(scene.jit("dev", &["roles", "--context", "nobody"]).await?, 1, &["cannot use the kubeconfig", "nobody"])?;
    ended(scene.jit("dev", &["roles", "--server", "https://127.0.0.1:1"]).await?, 1, &["cannot"])?;
    ended(scene.jit("dev", &["roles", "--token", "wrong"]).await?, 1, &["sign in again"])?;
    ended(scene.jit("dev", &["roles", "--as-group", "x"]).await?, 2, &["--as"])?;
    ended(scene.jit("dev", &["activate", "x", "-n", "../y"]).await?, 5, &["EligibilityNotFound"])?;
    ended(scene.jit_anywhere("dev", &["list", "-n", "../y"]).await?, 2, &["invalid namespace name"])?;
    ended(scene.jit_anywhere("dev", &["no-such-command"]).await?, 2, &["unrecognized subcommand"])?;
    ended(scene.jit_anywhere("dev", &["--help"]).await?, 0, &["kubectl jit", "activate"])?;
    Ok(())
}
