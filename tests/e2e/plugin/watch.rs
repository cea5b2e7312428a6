//! Output that is printed again on each change: `status -w` until nothing is left, `pending -w` until Ctrl-C.

use std::{process::Stdio, sync::Arc};

use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

use super::{ended, made, offers, plugin};
use crate::{
    ensure,
    env::{Env, Error, Outcome, SOON, Scene, TestCase},
    test_cases,
};

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![plugin_status_watch_ends_with_the_last_grant, plugin_pending_watch_runs_until_ctrl_c]
}

/// A running `kubectl jit`, with all of its output.
pub(super) struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    pub fn start(scene: &Scene, user: &str, args: &[&str]) -> Result<Self, Error> {
        let mut command = scene.fixture.cluster().program(user, "sh".as_ref())?;
        command.args(["-c", "exec \"$0\" \"$@\" 2>&1"]).arg(plugin()).args(args).args(["-n", &scene.name]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let lines = BufReader::new(child.stdout.take().ok_or("there is nothing to read")?).lines();
        Ok(Self { child, lines })
    }

    /// Reads until a line with this text.
    pub async fn until(&mut self, part: &str) -> Result<String, Error> {
        let found = async {
            while let Some(line) = self.lines.next_line().await? {
                if line.contains(part) {
                    return Ok(line);
                }
            }
            Err(Error::from(format!("it ended without '{part}'")))
        };
        timeout(SOON, found).await.map_err(|_| format!("it did not print '{part}'"))?
    }

    /// Waits for its exit.
    pub async fn code(mut self) -> Result<Option<i32>, Error> {
        Ok(timeout(SOON, self.child.wait()).await.map_err(|_| "it goes on")??.code())
    }
}

async fn plugin_status_watch_ends_with_the_last_grant(env: Arc<Env>) -> Outcome {
    let (scene, own, _) = offers(&env, "watch-status").await?;
    let name = made(&ended(scene.jit("dev", &["activate", &own, "--wait", "-o", "name"]).await?, 0, &[])?)?;
    let mut status = Running::start(&scene, "dev", &["status", "-w"])?;
    status.until(&name).await?;
    ended(scene.jit("dev", &["deactivate", &name]).await?, 0, &[])?;
    status.until("you have no active").await?;
    let code = status.code().await?;
    ensure!(code == Some(0), "it ended with {code:?}");
    Ok(())
}

async fn plugin_pending_watch_runs_until_ctrl_c(env: Arc<Env>) -> Outcome {
    let (scene, _, lead) = offers(&env, "watch-pending").await?;
    let mut pending = Running::start(&scene, "lead-1", &["pending", "-w"])?;
    pending.until("no request waits").await?;
    let name = made(&ended(scene.jit("dev", &["activate", &lead, "--no-wait", "-o", "name"]).await?, 0, &[])?)?;
    pending.until(&name).await?;
    let process = pending.child.id().ok_or("it has ended")?.to_string();
    let sent = Command::new("kill").args(["-INT", &process]).status().await?;
    ensure!(sent.success(), "no signal was sent");
    let code = pending.code().await?;
    ensure!(code == Some(0), "Ctrl-C ended it with {code:?}");
    Ok(())
}
