//! What an installation needs around the operator: `helm test`, and objects that the API server accepts.

use std::{path::Path, process::Stdio, sync::Arc};

use control_plane::{ADMIN, program};
use tokio::process::Command;

use crate::{
    ensure,
    env::{ClusterFixture, Env, Error, Outcome, TestCase},
    test_cases,
};

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![helm_test_fails_with_the_part_that_does_not_work]
}

/// Returns what Helm renders of the operator's chart with these arguments.
async fn rendered(fixture: &ClusterFixture, args: &[&str]) -> Result<String, Error> {
    let mut command = fixture.cluster().helm()?;
    command.args(["template", "jit-rbac"]).arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/jit-rbac"));
    let output = command.args(["--namespace", "jit-system"]).args(args).output().await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// Without nodes, the test starts the process of the pod itself, as its ServiceAccount.
async fn helm_test_fails_with_the_part_that_does_not_work(env: Arc<Env>) -> Outcome {
    let (fixture, _permit) = env.own_fixture(serde_json::Value::Null).await?;
    let cluster = fixture.cluster();
    let objects = rendered(&fixture, &["--show-only", "templates/tests/check.yaml"]).await?;
    cluster.run_with(ADMIN, &["apply", "-f", "-"], &objects).await?.ok()?;
    let token = cluster.run(ADMIN, &["create", "token", "jit-rbac-test", "-n", "jit-system"]).await?.ok()?;
    let kubeconfig = cluster.kubeconfig_for_token("helm-test", token.trim())?;
    let check = async |timeout: &str| -> Result<(bool, String), Error> {
        let mut command = Command::new(program("jit-rbac")?);
        command.args(["check", "--timeout", timeout, "--config"]).arg(cluster.directory().join("operator/config.json"));
        let output = command.env("KUBECONFIG", &kubeconfig).stdin(Stdio::null()).output().await?;
        Ok((output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned()))
    };
    let (passed, said) = check("30s").await?;
    ensure!(passed && said.contains("the webhook answers") && said.contains("the admission guards are verified"), "{said}");
    let stored = cluster.run(ADMIN, &["get", "rar", "-n", "jit-system", "-o", "name"]).await?.ok()?;
    ensure!(stored.is_empty(), "it stored {stored}");

    fixture.operator.webhook().kill();
    let (passed, said) = check("1s").await?;
    ensure!(!passed && said.contains("the webhook did not answer a dry run"), "{said}");
    fixture.operator.webhook().start()?;
    fixture.operator.webhook().wait_until_ready(crate::env::SOON).await?;

    cluster.run(ADMIN, &["delete", "validatingadmissionpolicybinding", "jit-rbac-status"]).await?.ok()?;
    control_plane::wait_for_ok("the check to fail", crate::env::SOON, async || match check("1s").await {
        Ok((false, said)) if said.contains("the admission guards are not verified") => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await?;
    Ok(())
}
