//! The guarantee of the namespaces: nothing of a run outlives the program that started it, however that program ends.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use control_plane::wait_for;
use node::{Side, enter};

/// Set for the copy of this program that runs as the harness: an argument by which its processes can be found.
const MARK: &str = "NODE_TEST_MARK";
/// The time limit of the clean-up.
const SOON: Duration = Duration::from_secs(10);

/// Not a test: the harness that the tests below start and end. Like a kubelet, it has a mount in its directory, and a child that is nobody's.
#[test]
#[ignore = "only a part of the other tests"]
fn harness() {
    let Some(mark) = env::var(MARK).ok() else { return };
    let Side::Inside(run) = enter().unwrap() else { return };
    let mount = run.directory().join("mount");
    fs::create_dir(&mount).unwrap();
    assert!(Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(&mount).status().unwrap().success());
    assert!(Command::new("setsid").args(["--fork", "sleep", &mark]).status().unwrap().success());
    let mut child = Command::new("sleep").arg(&mark).spawn().unwrap();
    println!("\nstarted {}", run.directory().display());
    child.wait().unwrap();
}

/// Starts the harness. Returns its process, its output from then on, and the directory of its run.
fn start(mark: &str) -> (Child, Lines<BufReader<ChildStdout>>, PathBuf) {
    let mut harness = Command::new(env::current_exe().unwrap())
        .args(["--ignored", "--exact", "harness", "--nocapture"])
        .env(MARK, mark)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(harness.stdout.take().unwrap()).lines();
    let directory = lines.by_ref().map_while(Result::ok).find_map(|line| Some(line.strip_prefix("started ")?.into())).unwrap();
    (harness, lines, directory)
}

/// Returns the number of processes with this argument.
fn processes(mark: &str) -> usize {
    let lines = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| fs::read_to_string(entry.path().join("cmdline")).ok());
    lines.filter(|line| line.split('\0').any(|word| word == mark)).count()
}

/// Returns the existing cgroups of a run.
fn cgroups(run: &Path) -> usize {
    let roots = fs::read_dir("/sys/fs/cgroup").unwrap().flatten().map(|entry| entry.path());
    let roots = roots.chain([PathBuf::from("/sys/fs/cgroup")]);
    roots.filter(|root| root.join(run.file_name().unwrap()).is_dir()).count()
}

async fn until_running(mark: &str) {
    wait_for("both processes of the harness", SOON, async || (processes(mark) == 2).then_some(())).await.unwrap();
}

async fn until_gone(mark: &str, directory: &Path) {
    let gone = async || (processes(mark) == 0 && !directory.exists()).then_some(());
    wait_for("processes and directory to go", SOON, gone).await.unwrap();
}

#[tokio::test]
#[ignore = "needs root: make test-node"]
async fn everything_goes_when_the_program_is_killed_and_its_cgroups_with_the_next_run() {
    let mark = format!("600.1{}", std::process::id());
    let (mut harness, _lines, directory) = start(&mark);
    until_running(&mark).await;
    assert!(directory.exists() && cgroups(&directory) > 0);
    harness.kill().unwrap();
    harness.wait().unwrap();
    until_gone(&mark, &directory).await;
    let (mut next, _lines, second) = start(&mark);
    assert_eq!(cgroups(&directory), 0, "cgroups of the first run are left");
    next.kill().unwrap();
    next.wait().unwrap();
    until_gone(&mark, &second).await;
}

#[tokio::test]
#[ignore = "needs root: make test-node"]
async fn an_interrupt_leaves_nothing_and_another_run_is_not_affected() {
    let (mark, other) = (format!("600.2{}", std::process::id()), format!("600.3{}", std::process::id()));
    let (mut harness, _lines, directory) = start(&mark);
    let (mut beside, _lines, stays) = start(&other);
    until_running(&mark).await;
    until_running(&other).await;
    assert!(Command::new("kill").args(["-TERM", &harness.id().to_string()]).status().unwrap().success());
    harness.wait().unwrap();
    until_gone(&mark, &directory).await;
    assert_eq!(cgroups(&directory), 0);
    assert!(processes(&other) == 2 && stays.exists() && cgroups(&stays) > 0, "the other run was affected");
    beside.kill().unwrap();
    beside.wait().unwrap();
    until_gone(&other, &stays).await;
}
