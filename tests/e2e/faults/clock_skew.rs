//! A replica whose clock is ten minutes ahead or behind (T35, invariants 3, 24 and 31).
//!
//! The product reads the machine's clock and no other. This test program therefore runs the library's controllers itself, with a skewed
//! clock.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use control_plane::wait_for_ok;
use jiff::{SignedDuration, Timestamp};
use jit_rbac::{config::Config, controller, guards};
use kube_io::{clock::Clock, connect::AskAgain};
use process::{
    connect,
    health::Health,
    logs::{self, Format},
    metrics::Metrics,
};
use tokio::process::Child;
use tokio_util::sync::CancellationToken;

use super::{by_hand, in_the_lease};
use crate::{
    audit::Calls,
    ensure,
    env::{ClusterFixture, Env, Error, Outcome, SOON, Setting, automatic, eligibility},
    grant_helpers::each,
    replicas::{BY_ANOTHER, TAKEN_OVER},
};

/// The first argument that makes this program such a replica; the seconds and the configuration follow.
const ARGUMENT: &str = "replica-with-another-clock";
/// Its name in the Lease.
const IDENTITY: &str = "another-clock";

/// Runs the replica, if this program was started as one.
pub fn replica() -> Option<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next()? != ARGUMENT {
        return None;
    }
    let (ahead, config) = (arguments.next()?.parse().ok()?, PathBuf::from(arguments.next()?));
    logs::start(Format::Text);
    let expected = guards::expected::read(&config).expect("the guards can be read");
    let config = Config::read(&config).expect("the configuration can be read");
    rustls::crypto::ring::default_provider().install_default().expect("there is no other provider");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime can be built");
    let stop = CancellationToken::new();
    runtime.block_on(async {
        tokio::spawn(connect::stop_on_signal(stop.clone()));
        let health = Health::needing(&[&controller::NEEDS[..], &[connect::NEED]].concat());
        let metrics = Metrics::of("controller");
        tokio::spawn(health.clone().serve(([127, 0, 0, 1], 0).into(), metrics.clone()));
        let clock = Clock::from(move || Timestamp::now() + SignedDuration::from_secs(ahead));
        let Some(client) = connect::client("controller", AskAgain::Caller, &clock, &health, &metrics, &stop).await else { return };
        let setup = controller::Setup { config, expected, identity: IDENTITY.to_owned(), clock, health, metrics };
        Box::pin(controller::run(client, setup, stop)).await.expect("the store is not restored");
    });
    Some(ExitCode::SUCCESS)
}

/// The process of the replica. Dropping it kills it.
pub struct Replica {
    _child: Child,
    log: PathBuf,
}

impl Replica {
    /// Starts it, and waits until it may become the leader.
    pub async fn start(fixture: &ClusterFixture, ahead: SignedDuration) -> Result<Self, Error> {
        let directory = fixture.cluster().directory();
        let log = directory.join("another-clock.log");
        let child = by_hand(fixture, std::env::current_exe()?, &directory.join("kubeconfigs/jit-rbac-controller"), &log)?
            .args([ARGUMENT, &ahead.as_secs().to_string()])
            .arg(directory.join("operator/config.json"))
            .spawn()?;
        let replica = Self { _child: child, log };
        replica.until_it_says("need=\"caches\" there=true").await?;
        Ok(replica)
    }

    /// Returns the address of its health server, once it has logged it.
    pub async fn health(&self) -> Result<SocketAddr, Error> {
        health_address(&self.log).await
    }

    async fn until_it_says(&self, what: &str) -> Outcome {
        let waited_for = format!("the other replica to say '{what}'");
        let said = wait_for_ok(&waited_for, SOON, async || {
            let log = std::fs::read_to_string(&self.log).map_err(|error| error.to_string())?;
            if log.contains(what) { Ok(()) } else { Err(log.lines().last().unwrap_or_default().to_owned()) }
        });
        Ok(said.await?)
    }
}

/// Returns the address of the health server of a process that was started by hand, once its log has it.
pub async fn health_address(log: &Path) -> Result<SocketAddr, Error> {
    let found = wait_for_ok("the address of the health server", SOON, async || {
        let text = std::fs::read_to_string(log).map_err(|error| error.to_string())?;
        let line = text.lines().find(|line| line.contains("listening") && line.contains("what=\"health\""));
        let address = line.and_then(|line| line.split_whitespace().find_map(|word| word.strip_prefix("address=")?.parse().ok()));
        address.ok_or(text)
    });
    Ok(found.await?)
}

async fn until_held_by(fixture: &ClusterFixture, who: &str) -> Outcome {
    let what = format!("{who} to hold the Lease");
    let held = wait_for_ok(&what, TAKEN_OVER, async || {
        let holder = in_the_lease(fixture).await.map_err(|error| error.to_string())?;
        if holder == who { Ok(()) } else { Err(holder) }
    });
    Ok(held.await?)
}

pub async fn t35_inv_24_a_replica_whose_clock_is_ten_minutes_ahead(env: Arc<Env>) -> Outcome {
    with_a_clock(&env, "ahead", SignedDuration::from_mins(10)).await
}

pub async fn t35_inv_24_a_replica_whose_clock_is_ten_minutes_behind(env: Arc<Env>) -> Outcome {
    with_a_clock(&env, "behind", SignedDuration::from_mins(-10)).await
}

async fn with_a_clock(env: &Env, name: &str, ahead: SignedDuration) -> Outcome {
    let (fixture, _permit) = env.fixture_with(Setting { replicas: Some(1), ..Setting::default() }).await?;
    let scene = env.scene_on(&fixture, name).await?;
    let mut calls = Calls::from_now(&scene)?;
    let (standing_by, holding) = (["a", "b", "c"], ["d", "e", "f"]);
    scene.offers(&[&standing_by[..], &holding, &["held-back"]].concat(), &automatic(), &eligibility("edit")).await?;
    let honest = fixture.operator.controller(0)?;

    // As a standby it has no visible effect.
    let replica = Replica::start(&fixture, ahead).await?;
    let granted = each(&standing_by, |name| scene.granted("dev", name, "8s")).await?;
    for granted in &granted {
        scene.ends_as(&granted.request, "Expired", &["Expired"], SOON).await?;
        let what = format!("grant ended after its deadline, the clock of the other replica is ten minutes {name}");
        calls.ended_on_time(&granted.binding, granted.deadline, BY_ANOTHER, &what).await?;
    }

    // It becomes the holder: nothing new is granted, and active grants end on time.
    let granted = each(&holding, |name| scene.granted("dev", name, "25s")).await?;
    honest.terminate(SOON).await?;
    until_held_by(&fixture, IDENTITY).await?;
    honest.start()?;
    replica.until_it_says("reason=ClockSkewed").await?;
    scene.ask("dev", "held-back", "10m").await?;
    let status = scene.until_state("held-back", "Pending", SOON).await?;
    ensure!(status["reason"] == "ClockSkewed", "it is {status}");
    for granted in &granted {
        scene.until_gone(&granted.binding, SOON).await?;
        let what = format!("grant ended after its deadline, the holder's clock is ten minutes {name}");
        calls.ended_on_time(&granted.binding, granted.deadline, BY_ANOTHER, &what).await?;
    }

    // Without it everything works again, and the record has the reason.
    drop(replica);
    scene.running("held-back").await?;
    for granted in &granted {
        scene.ends_as(&granted.request, "Expired", &["Expired"], SOON).await?;
    }
    Ok(())
}
