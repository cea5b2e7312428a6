//! The guarantee of the reaper: no process outlives the program that started it, however that program ends.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use control_plane::{Reaper, on_interrupt, wait_for};

/// Set for the copy of this program that runs as the harness.
const DIRECTORY: &str = "REAPER_TEST_DIRECTORY";

/// Not a test: the harness that the tests below start and end.
#[test]
#[ignore = "only a part of the other tests"]
fn harness() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let reaper = Reaper::start(Some(&PathBuf::from(directory))).unwrap();
    on_interrupt(|| println!("\ncleaned")).unwrap();
    let mut child = Command::new("sleep").arg("600").process_group(0).spawn().unwrap();
    reaper.add(child.id());
    println!("\nstarted {}", child.id());
    child.wait().unwrap();
}

/// Starts the harness. Returns its process, the rest of its output, and its child.
fn start(directory: &Path) -> (Child, impl Iterator<Item = String>, u32) {
    let mut harness = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "harness", "--nocapture"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(harness.stdout.take().unwrap()).lines().map_while(Result::ok);
    let child = lines.find_map(|line| line.strip_prefix("started ")?.parse().ok()).unwrap();
    (harness, lines, child)
}

fn runs(pid: u32) -> bool {
    let output = Command::new("ps").args(["-o", "stat=", "-p", &pid.to_string()]).output().unwrap();
    let state = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    !state.is_empty() && !state.starts_with('Z')
}

#[tokio::test]
async fn a_child_ends_and_the_directory_goes_when_the_harness_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let inside = directory.path().join("plane");
    std::fs::create_dir(&inside).unwrap();
    let (mut harness, _lines, child) = start(&inside);
    assert!(runs(child) && inside.exists());
    harness.kill().unwrap();
    harness.wait().unwrap();
    let gone = async || (!runs(child) && !inside.exists()).then_some(());
    wait_for("child and directory to go", Duration::from_secs(5), gone).await.unwrap();
}

#[tokio::test]
async fn an_interrupt_cleans_up_first() {
    let directory = tempfile::tempdir().unwrap();
    let inside = directory.path().join("plane");
    std::fs::create_dir(&inside).unwrap();
    let (mut harness, mut lines, child) = start(&inside);
    let kill = Command::new("kill").args(["-INT", &harness.id().to_string()]).status().unwrap();
    assert!(kill.success());
    assert_eq!(harness.wait().unwrap().code(), Some(130));
    assert!(lines.any(|line| line == "cleaned"));
    let gone = async || (!runs(child) && !inside.exists()).then_some(());
    wait_for("child and directory to go", Duration::from_secs(5), gone).await.unwrap();
}

#[tokio::test]
async fn a_child_that_was_released_lives_on() {
    let mut child = Command::new("sleep").arg("600").spawn().unwrap();
    let reaper = Reaper::start(None).unwrap();
    reaper.add(child.id());
    reaper.release();
    drop(reaper);
    assert!(child.try_wait().unwrap().is_none());
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_child_that_was_removed_is_let_be() {
    let mut child = Command::new("sleep").arg("600").spawn().unwrap();
    let reaper = Reaper::start(None).unwrap();
    reaper.add(child.id());
    reaper.remove(child.id());
    reaper.end();
    assert!(child.try_wait().unwrap().is_none());
    child.kill().unwrap();
    child.wait().unwrap();
}
