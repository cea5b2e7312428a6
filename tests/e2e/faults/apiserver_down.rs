//! The API server is down during a grant, and while a process of the operator starts.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use control_plane::{program, wait_for, wait_for_ok};
use jiff::{SignedDuration, Timestamp};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::Child,
};

use super::{alone, by_hand, until, without};
use crate::{
    audit::{Calls, measured},
    ensure,
    env::{ClusterFixture, Env, Error, Outcome, SOON, Scene, automatic, eligibility},
};

/// Latest end of a grant that expired while the API server was down, after it served again.
const AFTER_ITS_RETURN: SignedDuration = SignedDuration::from_secs(4);
const ON_TIME: SignedDuration = SignedDuration::from_millis(1_000);

pub async fn api_server_is_down_during_a_grant_and_at_startup(env: Arc<Env>) -> Outcome {
    let (scene, _permit) = alone(&env, "outage").await?;
    during_a_grant(&scene).await?;
    at_a_start(&scene).await
}

async fn during_a_grant(scene: &Scene) -> Outcome {
    let fixture = &scene.fixture;
    scene.offers(&["meanwhile", "later", "after"], &automatic(), &eligibility("edit")).await?;
    let mut calls = Calls::from_now(scene)?;
    let meanwhile = scene.granted("dev", "meanwhile", "4s").await?;
    let later = scene.granted("dev", "later", "20s").await?;
    let back =
        without(fixture, &[fixture.plane.apiserver()], async || until(meanwhile.deadline + SignedDuration::from_secs(1)).await).await?;

    scene.until_gone(&meanwhile.binding, SOON).await?;
    let removed = calls.removed(&meanwhile.binding).await?;
    measured(
        "grant that expired while the API server was down, ended after it served again",
        removed.duration_since(back).max(SignedDuration::ZERO),
    );
    ensure!(
        removed.duration_since(back) < AFTER_ITS_RETURN,
        "it ended {} ms after the API server served again",
        removed.duration_since(back).as_millis()
    );
    scene.ends_as("meanwhile", "Expired", &["Expired"], SOON).await?;
    // No grant was revoked because it could not be read, and the next end is on time.
    scene.ends_as("later", "Expired", &["Expired"], Duration::from_secs(30)).await?;
    calls
        .ended_on_time(
            &later.binding,
            later.deadline,
            ON_TIME,
            "grant ended after its deadline, with an outage of the API server before it",
        )
        .await?;
    let granted = Timestamp::now();
    scene.granted("dev", "after", "5m").await?;
    let took = Timestamp::now().duration_since(granted);
    measured("grant after an outage of the API server, from request to status", took);
    ensure!(
        took < SignedDuration::from_secs(6),
        "the first grant after the outage took {} ms: the watches are restored too late",
        took.as_millis()
    );
    Ok(())
}

/// A controller that a user starts by hand.
struct Started {
    _child: Child,
    log: PathBuf,
}

impl Started {
    fn new(fixture: &ClusterFixture, kubeconfig: &Path) -> Result<Self, Error> {
        let directory = fixture.cluster().directory();
        let log = directory.join("by-hand.log");
        let child = by_hand(fixture, program("jit-rbac")?, kubeconfig, &log)?
            .args(["controller", "--identity=by-hand", "--health-address=127.0.0.1:0", "--log-format=text"])
            .arg(format!("--config={}", directory.join("operator/config.json").display()))
            .spawn()?;
        Ok(Self { _child: child, log })
    }

    fn lines(&self, about: &str) -> Result<Vec<String>, Error> {
        let log = std::fs::read_to_string(&self.log)?;
        Ok(log.lines().filter(|line| line.contains(about)).map(str::to_owned).collect())
    }

    /// Waits for a new line with this text, after the given number of earlier ones.
    async fn says(&self, about: &str, what: &str) -> Result<String, Error> {
        let line = format!("a line about {what}");
        let looked = wait_for_ok(&line, Duration::from_secs(30), async || {
            let lines = self.lines(about).map_err(|error| error.to_string())?;
            lines.iter().find(|line| line.contains(what)).cloned().ok_or_else(|| lines.join("\n"))
        });
        Ok(looked.await?)
    }

    /// Returns the response of `/readyz`, status line and text.
    async fn readyz(&self) -> Result<String, Error> {
        let address = wait_for("the health server's address", SOON, async || {
            let line = self.lines("what=\"health\"").ok()?.into_iter().next()?;
            Some(line.split("address=").nth(1)?.split(' ').next()?.to_owned())
        });
        let mut stream = TcpStream::connect(address.await?).await?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }
}

async fn at_a_start(scene: &Scene) -> Outcome {
    const CANNOT: &str = "cannot reach the API server";
    let fixture = &scene.fixture;
    let good = std::fs::read_to_string(fixture.cluster().directory().join("kubeconfigs/jit-rbac-controller"))?;
    let kubeconfig = fixture.cluster().directory().join("kubeconfigs/by-hand");

    let started = Started::new(fixture, &kubeconfig)?;
    started.says(CANNOT, "by-hand").await?;
    let answer = started.readyz().await?;
    ensure!(answer.starts_with("HTTP/1.1 503") && answer.contains("api-server"), "readyz says {answer}");
    // First no process listens there; then a server denies the token; then it is correct.
    std::fs::write(&kubeconfig, good.replace(fixture.cluster().server(), "https://127.0.0.1:1"))?;
    started.says(CANNOT, "https://127.0.0.1:1").await?;
    let token = good.split("\"token\": \"").nth(1).and_then(|rest| rest.split('"').next()).ok_or("the kubeconfig has a token")?;
    std::fs::write(&kubeconfig, good.replace(token, "nonsense"))?;
    started.says(CANNOT, "nauthorized").await?;
    ensure!(started.readyz().await?.starts_with("HTTP/1.1 503"), "it is ready without an API server");
    let attempts = started.lines(CANNOT)?;
    let delays: Vec<u64> = attempts.iter().filter_map(|line| line.split("again_in_ms=").nth(1)?.split(' ').next()?.parse().ok()).collect();
    ensure!(
        delays.len() == attempts.len() && delays.windows(2).all(|d| d[1] >= d[0]) && delays.first() < delays.last(),
        "the delays are {delays:?}"
    );
    std::fs::write(&kubeconfig, &good)?;
    let limit = Duration::from_millis(delays.last().copied().unwrap_or_default() * 2) + SOON;
    wait_for_ok("the controller to be ready", limit, async || match started.readyz().await {
        Ok(answer) if answer.starts_with("HTTP/1.1 200") => Ok(()),
        Ok(answer) => Err(answer),
        Err(error) => Err(error.to_string()),
    })
    .await?;
    drop(started);

    // The same with an API server that is down.
    let controller = fixture.operator.controller(0)?;
    let back = without(fixture, &[fixture.plane.apiserver()], async || {
        controller.restart()?;
        let said = wait_for_ok("a line about the API server", SOON, async || {
            let log = controller.log_of_this_start().map_err(|error| error.to_string())?;
            if log.matches(CANNOT).count() > 1 { Ok(()) } else { Err(log) }
        });
        said.await?;
        ensure!(controller.ready().await.is_err(), "it is ready without an API server");
        ensure!(controller.alive().await.is_ok(), "its liveness check fails");
        Ok(())
    })
    .await?;
    controller.wait_until_ready(Duration::from_secs(20)).await?;
    measured("controller ready after the API server served again", Timestamp::now().duration_since(back));
    Ok(())
}
