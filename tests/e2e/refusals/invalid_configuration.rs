//! A process of the operator that starts with an invalid configuration.

use std::{
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use control_plane::{ADMIN, Cluster, Release, program, wait_for, wait_for_ok};
use kube_io::kubernetes;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
};

use super::Book;
use crate::{
    ensure,
    env::{Env, Error, Outcome, SOON, Scene, TestCase},
    test_cases,
};

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![refused_configurations_get_the_reason, refused_connections_are_logged_and_retried]
}

/// How long a process may take to exit before anything runs.
const END: Duration = Duration::from_secs(4);

/// A controller of its own, with its log.
struct Started {
    child: Child,
    log: PathBuf,
}

impl Started {
    fn new(directory: &Path, name: &str, config: &Path, kubeconfig: &Path) -> Result<Self, Error> {
        let log = directory.join(format!("{name}.log"));
        let mut command = Command::new(program("jit-rbac")?);
        command.args(["controller", "--health-address=127.0.0.1:0"]).arg(format!("--identity={name}")).arg("--config").arg(config);
        command.env("KUBECONFIG", kubeconfig).env_remove("RUST_LOG").kill_on_drop(true);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?).spawn()?;
        Ok(Self { child, log })
    }

    fn lines(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        // Without the time, which comes first.
        text.lines().map(|line| line.split_once(' ').map_or(line, |(_, rest)| rest.trim_start()).to_owned()).collect()
    }

    /// Returns the lines with errors, once there are this many.
    async fn complaints(&self, many: usize) -> Result<Vec<String>, Error> {
        let found = wait_for("the lines with errors", SOON, async || {
            let lines: Vec<String> =
                self.lines().into_iter().filter(|line| line.starts_with("WARN") || line.starts_with("ERROR")).collect();
            (lines.len() >= many).then_some(lines)
        });
        Ok(found.await?)
    }

    async fn get(&self, path: &str) -> Result<String, Error> {
        let address = |line: &String| line.strip_prefix("INFO listening address=")?.split(' ').next()?.parse().ok();
        let address: SocketAddr = wait_for("its health server", SOON, async || self.lines().iter().find_map(address)).await?;
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
        Ok(format!("{} {}", head.split(' ').nth(1).unwrap_or_default(), body.trim()))
    }

    /// Sends SIGTERM, and verifies that it exits successfully and soon.
    async fn end(mut self, within: Duration) -> Outcome {
        let pid = self.child.id().ok_or("it ended by itself")?;
        ensure!(Command::new("kill").args(["-TERM", &pid.to_string()]).status().await?.success(), "SIGTERM cannot be sent");
        let status = tokio::time::timeout(within, self.child.wait()).await.map_err(|_| format!("it did not end within {within:?}"))??;
        ensure!(status.code() == Some(0), "it ended with {status}");
        Ok(())
    }
}

fn directory(scene: &Scene) -> Result<PathBuf, Error> {
    let directory = scene.fixture.cluster().directory().join("start").join(&scene.name);
    std::fs::create_dir_all(&directory)?;
    Ok(directory)
}

fn config(cluster: &Cluster) -> PathBuf {
    cluster.directory().join("operator/config.json")
}

/// The controller's kubeconfig, changed.
fn kubeconfig(cluster: &Cluster, to: &Path, change: impl FnOnce(&mut Value)) -> Result<PathBuf, Error> {
    let mut value: Value = serde_json::from_slice(&std::fs::read(cluster.directory().join("kubeconfigs/jit-rbac-controller"))?)?;
    change(&mut value);
    std::fs::write(to, value.to_string())?;
    Ok(to.to_owned())
}

async fn refused_configurations_get_the_reason(env: Arc<Env>) -> Outcome {
    let scene = env.scene("start").await?;
    let directory = directory(&scene)?;
    let mut book = Book::new(&scene, "Start")?;
    std::fs::write(directory.join("config.json"), r#"{"maxGrants": "24h"}"#)?;
    for (title, args, says) in [
        (
            "A missing configuration",
            ["--config", "nosuch.json"],
            "jit-rbac: cannot read the configuration nosuch.json: No such file or directory (os error 2)\n",
        ),
        (
            "A configuration with an unknown field",
            ["--config", "config.json"],
            "jit-rbac: the configuration config.json cannot be used: unknown field `maxGrants`, expected one of `operatorNamespace`, `controller`, `webhook`, `maxGrant`, `identity`, `systemNamespaces`, `guardedLabels`, `guards`, `record` at line 1 column 12\n",
        ),
    ] {
        let output = Command::new(program("jit-rbac")?).current_dir(&directory).arg("controller").args(args).output().await?;
        let stderr = String::from_utf8(output.stderr)?;
        ensure!(output.status.code() == Some(1) && stderr == says, "{title}: it ended with {} and said {stderr}", output.status);
        book.write(title, "", &format!("jit-rbac controller {}", args.join(" ")), &[], &stderr);
    }
    book.close()
}

async fn refused_connections_are_logged_and_retried(env: Arc<Env>) -> Outcome {
    let scene = env.scene("waits").await?;
    let (cluster, directory) = (scene.fixture.cluster(), directory(&scene)?);
    let mut book = Book::new(&scene, "Start without API server")?;
    let port = free_port().await?;
    let nosuch = directory.join("nosuch");
    let broken = directory.join("broken");
    std::fs::write(&broken, "clusters: [\n")?;
    let stranger = kubeconfig(cluster, &directory.join("stranger"), |all| all["users"][0]["user"]["token"] = json!("wrong"))?;
    let away = kubeconfig(cluster, &directory.join("away"), |all| {
        all["clusters"][0]["cluster"]["server"] = json!(format!("https://127.0.0.1:{port}"));
    })?;
    let rows = [
        ("No kubeconfig", "nosuch", &nosuch, format!("there is no kubeconfig ({}), and this is no pod", nosuch.display())),
        ("An invalid kubeconfig", "broken", &broken, format!("'{}' is not a kubeconfig (line 1, column 11)", broken.display())),
        ("An unknown token", "stranger", &stranger, format!("{}/: Unauthorized (401)", cluster.server())),
        (
            "A refused connection",
            "away",
            &away,
            format!(
                "the connection to the server https://127.0.0.1:{port} was refused: is it the right address, and is the server running?"
            ),
        ),
    ];
    for (title, name, kubeconfig, why) in rows {
        let process = Started::new(&directory, name, &config(cluster), kubeconfig)?;
        let complaints = process.complaints(3).await?;
        for (line, pause) in complaints.iter().zip([250, 500, 1000]) {
            let expected = format!("WARN cannot reach the API server why=\"{why}\" again_in_ms={pause}");
            ensure!(*line == expected, "{title}: it says {line}\ninstead of {expected}");
        }
        let (alive, ready) = (process.get("/livez").await?, process.get("/readyz").await?);
        ensure!(
            alive == "200 ok" && ready == "503 not ready, missing: api-server, caches, guards, sweep, watches",
            "{title}: it is {alive}, {ready}"
        );
        let shown = complaints.join("\n") + "\n";
        let shown = shown
            .replace(&directory.display().to_string(), "/home/me")
            .replace(cluster.server(), "https://10.96.0.1:443")
            .replace(&format!("https://127.0.0.1:{port}"), "https://10.96.0.1:443");
        book.write(title, "", "jit-rbac controller", &[format!("# KUBECONFIG={name}")], &shown);
        if name == "away" {
            ready_once_it_answers(&process, port, cluster).await?;
            process.end(SOON).await?;
        } else {
            process.end(END).await?;
        }
    }
    book.close()
}

/// Lets the API server answer on a port, and verifies that the process becomes ready then and no sooner.
async fn ready_once_it_answers(process: &Started, port: u16, cluster: &Cluster) -> Outcome {
    let server = cluster.server().strip_prefix("https://").ok_or("the API server has no address")?.to_owned();
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    tokio::spawn(async move {
        while let Ok((mut here, _)) = listener.accept().await {
            let server = server.clone();
            tokio::spawn(async move {
                if let Ok(mut there) = TcpStream::connect(&server).await {
                    // The side that closes the connection ends it.
                    let _ = copy_bidirectional(&mut here, &mut there).await;
                }
            });
        }
    });
    let ready = wait_for_ok("it to be ready", SOON, async || match process.get("/readyz").await {
        Ok(answer) if answer == "200 ok" => Ok(()),
        Ok(answer) => Err(answer),
        Err(error) => Err(error.to_string()),
    });
    ready.await?;
    let lines = process.lines();
    let at = |text: &str| lines.iter().position(|line| line.contains(text)).ok_or(format!("it does not say {text:?}: {lines:?}"));
    let answers = at("INFO the API server answers")?;
    let needs = [at("need=\"api-server\" there=true")?, at("need=\"sweep\" there=true")?, at("need=\"caches\" there=true")?];
    ensure!(answers < needs[0] && needs.is_sorted(), "its lines are in another order: {lines:?}");
    says_which_kubernetes(&lines, cluster).await
}

/// Verifies that it logs the API server's version, and warns only about an untested one.
async fn says_which_kubernetes(lines: &[String], cluster: &Cluster) -> Outcome {
    let version = cluster.client(ADMIN).await?.apiserver_version().await?;
    let chosen = Release::chosen()?.map(|release| release.minor().to_string());
    ensure!(chosen.is_none_or(|minor| version.minor == minor), "it runs on {version:?}");
    let said = format!("version=\"{}\"", version.git_version);
    ensure!(lines.iter().any(|line| line.contains("the API server answers") && line.contains(&said)), "it does not say {said}: {lines:?}");
    let warned = lines.iter().any(|line| line.contains("not tested with this version of Kubernetes"));
    ensure!(warned == kubernetes::doubt(&version).is_some(), "on {version:?} it says {lines:?}");
    Ok(())
}

async fn free_port() -> Result<u16, Error> {
    Ok(TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port())
}
