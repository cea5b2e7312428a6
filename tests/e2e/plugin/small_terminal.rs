//! Interactive prompts on a terminal of 80 columns and 24 lines.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::OwnedFd,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
};

use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};
use serde_json::json;
use tokio::process::Child;

use super::{ended, made, plugin};
use crate::{
    ensure,
    env::{Env, Error, Outcome, SOON, Scene, TestCase, approved_by, eligibility},
    test_cases,
};

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![f30_plugin_prompts_fit_a_small_terminal]
}

/// A terminal on which the plugin runs.
struct Terminal {
    child: Child,
    keys: File,
    /// The output so far.
    printed: Arc<Mutex<String>>,
}

impl Terminal {
    fn start(scene: &Scene, user: &str, args: &[&str]) -> Result<Self, Error> {
        let keys = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        grantpt(&keys)?;
        unlockpt(&keys)?;
        let path = ptsname(&keys, Vec::new())?.into_string()?;
        let screen: OwnedFd = File::options().read(true).write(true).open(path)?.into();
        tcsetwinsize(&screen, Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 })?;
        let mut command = scene.fixture.cluster().program(user, plugin())?;
        command.args(args).args(["-n", &scene.name]).env("TERM", "xterm").env("NO_COLOR", "1").kill_on_drop(true);
        command.stdin(Stdio::from(screen.try_clone()?)).stdout(Stdio::from(screen.try_clone()?)).stderr(Stdio::from(screen));
        let child = command.spawn()?;
        drop(command);
        let keys = File::from(keys);
        let (mut reader, printed) = (keys.try_clone()?, Arc::new(Mutex::new(String::new())));
        let into = Arc::clone(&printed);
        // It ends with the terminal: a read fails once no process has it open.
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                let text = String::from_utf8_lossy(bytes.get(..count).unwrap_or_default()).into_owned();
                into.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text);
            }
        });
        Ok(Self { child, keys, printed })
    }

    fn printed(&self) -> String {
        self.printed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for a text.
    async fn until(&self, part: &str) -> Result<String, Error> {
        let shows = async || Some(self.printed()).filter(|all| all.contains(part));
        control_plane::wait_for(&format!("'{part}' on the terminal"), SOON, shows)
            .await
            .map_err(|error| format!("{error}: {}", self.printed()).into())
    }

    fn types(&mut self, text: &str) -> Outcome {
        self.keys.write_all(text.as_bytes())?;
        Ok(())
    }

    async fn code(mut self) -> Result<Option<i32>, Error> {
        Ok(tokio::time::timeout(SOON, self.child.wait()).await.map_err(|_| format!("it goes on: {}", self.printed()))??.code())
    }
}

async fn f30_plugin_prompts_fit_a_small_terminal(env: Arc<Env>) -> Outcome {
    let scene = env.scene("terminal").await?;
    let mut policy = approved_by("leads", 1);
    policy["approval"]["requireComment"] = json!(true);
    let offer = scene.offer("lead", policy, eligibility("edit")).await?;
    let asked = ["activate", offer.as_str(), "-d", "20m", "-r", "INC-4711 checkout is slow", "--no-wait", "-o", "name"];
    let name = made(&ended(scene.jit("dev", &asked).await?, 0, &[])?)?;
    scene.until_state(&name, "AwaitingApproval", SOON).await?;

    let question = format!("Allow dev to use ClusterRole edit in namespace {} for 20m?", scene.name);
    let mut terminal = Terminal::start(&scene, "lead-1", &["approve", &name])?;
    let shown = terminal.until("(y/N)").await?;
    ensure!(shown.lines().count() <= 24, "it scrolls out of view: {shown}");
    // The terminal wraps the question.
    let run = |text: &str| text.split_whitespace().collect::<String>();
    ensure!(run(&shown).contains(&run(&question)), "{shown}");
    for part in ["INC-4711 checkout is slow", "Rules:", "more, less risky: --show-rules", "Risks:", "ServiceAccountTokens"] {
        ensure!(shown.contains(part), "no '{part}': {shown}");
    }
    terminal.types("n\r")?;
    let shown = terminal.until("Cancelled; nothing was approved.").await?;
    ensure!(!shown.contains("error:"), "{shown}");
    ensure!(terminal.code().await? == Some(1), "an answer of no must not be a success");
    ensure!(scene.list("adec").await?.is_empty(), "it was approved");

    // The prompts cover the policy's requirements.
    let mut terminal = Terminal::start(&scene, "lead-1", &["approve", &name, "-d", "10m"])?;
    terminal.until("(y/N)").await?;
    ensure!(terminal.printed().contains("10m, shortened from 20m"), "{}", terminal.printed());
    terminal.types("y\r")?;
    terminal.until("Comment?").await?;
    terminal.types("go ahead\r")?;
    terminal.until("is active until").await?;
    ensure!(terminal.code().await? == Some(0), "it is approved");
    let decision = scene.list("adec").await?.pop().ok_or("there is no decision")?;
    ensure!(decision["spec"]["comment"] == "go ahead" && decision["spec"]["duration"] == "10m", "{decision}");

    // A completed request is denied before any prompt.
    let terminal = Terminal::start(&scene, "lead-1", &["approve", &name])?;
    let shown = terminal.until("RequestCompleted").await?;
    ensure!(!shown.contains("(y/N)") && !shown.contains("Who:"), "{shown}");
    ensure!(terminal.code().await? == Some(5), "it is refused");

    // `revoke` asks for a reason, and a "no" to its question revokes nothing.
    let mut terminal = Terminal::start(&scene, "security", &["revoke", "--of-user", "dev"])?;
    terminal.until("Why are they revoked?").await?;
    terminal.types("incident\r")?;
    terminal.until("Revoke this request?").await?;
    terminal.types("n\r")?;
    terminal.until("Cancelled; nothing was revoked.").await?;
    ensure!(terminal.code().await? == Some(1), "nothing was revoked");
    ended(scene.jit("dev", &["wait", &name]).await?, 0, &["is active until"])?;
    Ok(())
}
