//! `cluster`: builds, starts and ends a cluster of one node, with the product in pods.
//!
//! What a shell should read (`export KUBECONFIG=...`) goes to standard output, everything else to standard error.

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use control_plane::{
    Binaries, Error, Held, NodeBinaries, Process, ProcessRecord, Reaper, Result, Spec, State, checkout, exit_code, free_port, playground,
    wait_for,
};
use node::{Node, Options, Run, Side};
use serde::{Deserialize, Serialize};
use serde_json::json;

const NAME: &str = env!("CARGO_BIN_NAME");

const COMMANDS: &str = "
  check    print what this machine lacks for a node, one line each
  build    find or build the programs of the cluster
  up       start a cluster with the product and the examples, and leave it running
  down     stop the running cluster and remove its files
";

/// The time limit for the cluster to be up, without builds.
const UP: Duration = Duration::from_mins(5);
/// The time limit for the cluster to end.
const DOWN: Duration = Duration::from_secs(20);

/// A cluster that outlives the command that started it.
#[derive(Serialize, Deserialize)]
struct Running {
    supervisor: ProcessRecord,
    kubeconfig: PathBuf,
    kubectl: PathBuf,
}

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let words: Vec<_> = words.iter().filter_map(|word| word.to_str()).collect();
    let done = match *words.as_slice() {
        ["check"] => check(),
        ["build"] => build(),
        ["up"] => within(up()),
        ["down"] => within(down()),
        ["supervise", ready] => supervise(ready),
        ["run", port, ready] => match node::enter() {
            Ok(Side::Inside(run)) => within(inside(&run, port, Path::new(ready))),
            Ok(Side::Outside(code)) => return code,
            Err(error) => Err(error),
        },
        _ => {
            eprint!("usage: {NAME} <command>\n{COMMANDS}");
            return ExitCode::from(2);
        }
    };
    exit_code(NAME, done)
}

fn within(work: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Error::io("start a runtime"))?;
    runtime.block_on(work)
}

fn check() -> Result<()> {
    let missing = node::missing();
    for line in &missing {
        eprintln!("{line}");
    }
    if missing.is_empty() { Ok(()) } else { Err(Error::State("this machine cannot run a node".to_owned())) }
}

/// Finds or builds the programs. The builds report their progress.
fn build() -> Result<()> {
    Binaries::find()?;
    NodeBinaries::find().map(drop)
}

async fn up() -> Result<()> {
    let held = State::hold()?;
    if let Some(running) = load(&held)? {
        if running.supervisor.runs() {
            eprintln!("A cluster is already running; `make down` stops it.");
            print_export(&running);
            return Ok(());
        }
        eprintln!("The earlier cluster has ended; starting a new one.");
    }
    check()?;
    node::image()?;
    // The build reports its progress here, and not in the log of the cluster.
    tokio::task::spawn_blocking(build).await.map_err(|error| Error::State(format!("cannot find the programs: {error}")))??;
    let ready = tempfile::tempdir().map_err(Error::io("create a temporary directory"))?;
    let ready = ready.path().join("ready.json");
    let log = file(&held).with_extension("log");
    let program = std::env::current_exe().map_err(Error::io("find the running program"))?;
    let args = vec!["supervise".into(), ready.clone().into()];
    let reaper = Arc::new(Reaper::start(None)?);
    eprintln!("Starting a cluster of one node, and installing charts/jit-rbac.");
    let supervisor = Process::spawn(Spec { name: NAME.to_owned(), program, args, env: Vec::new(), log }, &reaper)?;
    let started = wait_for("the cluster to be up", UP, async || match supervisor.check() {
        Err(error) => Some(Err(error)),
        Ok(()) => fs::read_to_string(&ready).ok().and_then(|text| serde_json::from_str::<(PathBuf, PathBuf)>(&text).ok()).map(Ok),
    });
    let (kubeconfig, kubectl) = started.await??;
    let running = Running { supervisor: supervisor.record()?, kubeconfig, kubectl };
    fs::write(file(&held), serde_json::to_string(&running)?).map_err(Error::path("write", &file(&held)))?;
    reaper.release();
    supervisor.detach();
    let files = running.kubeconfig.ancestors().nth(2).unwrap_or(Path::new("/"));
    eprintln!("The cluster is running. Logs are in {}; `make down` stops it.", files.display());
    print_export(&running);
    Ok(())
}

async fn down() -> Result<()> {
    let held = State::hold()?;
    let Some(running) = load(&held)? else { return Ok(()) };
    running.supervisor.end(DOWN).await?;
    for path in [file(&held), file(&held).with_extension("log")] {
        fs::remove_file(&path).map_err(Error::path("remove", &path))?;
    }
    eprintln!("The cluster has stopped.");
    Ok(())
}

/// Runs the cluster in namespaces of its own until this process ends, with the API server on loopback of the machine.
fn supervise(ready: &str) -> Result<()> {
    let port = free_port()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(Error::io("listen on 127.0.0.1"))?;
    let arguments = vec!["run".into(), port.to_string().into(), ready.into()];
    match node::enter_with(arguments, Some(listener))? {
        Side::Outside(code) if code == ExitCode::SUCCESS => Ok(()),
        _ => Err(Error::State("the cluster has ended".to_owned())),
    }
}

async fn inside(run: &Run, port: &str, ready: &Path) -> Result<()> {
    let port = port.parse().map_err(|_| Error::State(format!("{port} is not a port")))?;
    let node = Node::start(run, Options { apiserver_port: Some(port) }).await?;
    playground::namespaces(node.cluster()).await?;
    playground::requesters(node.cluster()).await?;
    node.install(&json!({"bindableRoles": {"clusterRoles": ["view", "edit", "admin"], "roles": ["debug"]}})).await?;
    playground::examples(node.cluster(), &checkout()?.join("examples")).await?;
    let text = serde_json::to_string(&(node.cluster().kubeconfig(), &node.cluster().binaries().kubectl))?;
    fs::write(ready, text).map_err(Error::path("write", ready))?;
    node::forward(port).await
}

/// The file about the running cluster.
fn file(held: &Held) -> PathBuf {
    held.directory().with_file_name("cluster.json")
}

fn load(held: &Held) -> Result<Option<Running>> {
    match fs::read(file(held)) {
        Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::path("read", &file(held))(error)),
    }
}

/// Prints the one line for the shell: `eval "$(make cluster)"` works.
fn print_export(running: &Running) {
    let this = std::env::current_exe().unwrap_or_default();
    let directories = [running.kubectl.as_path(), this.as_path()].into_iter().filter_map(Path::parent);
    let path: Vec<_> = directories.map(|directory| directory.display().to_string()).collect();
    println!("export KUBECONFIG={} PATH=\"$PATH\":{}", running.kubeconfig.display(), path.join(":"));
}
