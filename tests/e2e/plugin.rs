//! `kubectl jit`: each command as the right user and as a wrong one, with only the permissions of a requester.

mod credentials;
mod decisions;
mod namespaced_rights;
mod output;
mod requests;
mod run;
mod sign_in;
mod small_terminal;
mod watch;
mod whoami_and_check;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
};

use control_plane::{Said, program};

use crate::{
    ensure,
    env::{Env, Error, Outcome, Scene, TestCase},
};

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    [
        requests::test_cases(),
        credentials::test_cases(),
        decisions::test_cases(),
        namespaced_rights::test_cases(),
        whoami_and_check::test_cases(),
        run::test_cases(),
        output::test_cases(),
        sign_in::test_cases(),
        small_terminal::test_cases(),
        watch::test_cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The plugin's binary in the build directory of the operator.
fn plugin() -> &'static Path {
    static PLUGIN: LazyLock<PathBuf> = LazyLock::new(|| program("kubectl-jit").expect("the plugin is built"));
    &PLUGIN
}

impl Scene {
    /// Runs `kubectl jit` as a user, in the scene's namespace, without a terminal.
    pub async fn jit(&self, user: &str, args: &[&str]) -> Result<Said, Error> {
        self.jit_reading(user, args, None).await
    }

    /// The same with standard input.
    async fn jit_reading(&self, user: &str, args: &[&str], input: Option<&str>) -> Result<Said, Error> {
        let (before, after) = args.split_at(args.iter().position(|arg| *arg == "--").unwrap_or(args.len()));
        let all: Vec<&str> = before.iter().copied().chain(["-n", &self.name]).chain(after.iter().copied()).collect();
        Ok(self.fixture.cluster().run_program(user, plugin(), &all, input).await?)
    }

    /// The same in any namespace.
    async fn jit_anywhere(&self, user: &str, args: &[&str]) -> Result<Said, Error> {
        Ok(self.fixture.cluster().run_program(user, plugin(), args, None).await?)
    }
}

/// Verifies the exit code and that all of these texts are on either stream.
fn ended(said: Said, code: i32, texts: &[&str]) -> Result<String, Error> {
    let all = format!("{}{}", said.stdout, said.stderr);
    ensure!(said.status.code() == Some(code), "it ended with {:?} instead of {code}: {all}", said.status.code());
    for text in texts {
        ensure!(all.contains(text), "it does not say '{text}': {all}");
    }
    Ok(said.stdout)
}

/// Creates the common objects of the tests here: an eligibility without approval, and one that leads approve.
async fn offers(env: &Arc<Env>, name: &str) -> Result<(Scene, String, String), Error> {
    use crate::env::{approved_by, automatic, eligibility};
    let scene = env.scene(name).await?;
    let own = scene.offer("self", automatic(), eligibility("view")).await?;
    let lead = scene.offer("lead", approved_by("leads", 1), eligibility("edit")).await?;
    Ok((scene, own, lead))
}

/// Returns the name of the request that `-o name` printed.
fn made(stdout: &str) -> Result<String, Error> {
    let name = stdout.lines().find_map(|line| line.strip_prefix("roleactivationrequest.jitrbac.dev/"));
    Ok(name.ok_or_else(|| format!("no request was printed: {stdout}"))?.trim().to_owned())
}

/// Verifies that no unexpected object exists.
async fn nothing_asked(scene: &Scene) -> Outcome {
    let found = scene.list("rar").await?;
    ensure!(found.is_empty(), "something was created: {found:?}");
    Ok(())
}
