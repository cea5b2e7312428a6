//! A memory leak test: the leader's memory after some grants whose requests are deleted, and after many more.

use std::path::Path;

use api::RoleActivationRequest;
use clap::Args;
use jiff::Timestamp;
use kube::{Api, core::PartialObjectMeta, runtime::watcher};

use crate::{
    Failure,
    cluster_fixture::{ClusterFixture, Setting},
    figures, growth,
    observed_events::Sightings,
    product,
    report::{Baseline, Goal, Report},
};

/// How many grants run before the next batch begins, so that none waits long for its deletion.
const BATCH: usize = 2_000;
/// The maximum growth of memory at the end.
const MORE: f64 = 1.1;

/// How many grants are created and end.
#[derive(Debug, Args)]
pub struct Options {
    /// The numbers of grants after which memory is measured; each is compared to the first.
    #[arg(long, value_delimiter = ',', default_values_t = [10_000, 100_000])]
    came_and_went: Vec<usize>,
}

/// Runs the grants, and writes the list to `leak.json` in this directory.
pub async fn run(options: &Options, directory: &Path) -> Result<Report, Failure> {
    let mut report = Report::default();
    let mut fixture = ClusterFixture::start().await?;
    // The operator deletes the requests itself, so this is the whole life of a grant.
    fixture.install(Setting { retention: Some("1s"), ..Setting::default() }).await?;
    let stored = Api::<PartialObjectMeta<RoleActivationRequest>>::all(fixture.admin.clone());
    let stored = Sightings::follow(stored, watcher::Config::default());
    let (leader, start) = (fixture.leader().await?, Timestamp::now());
    let (mut gone, mut first, mut samples, mut before) = (0, None, Vec::new(), Vec::new());
    for after in &options.came_and_went {
        while gone < *after {
            let batch = BATCH.min(after - gone);
            let passed = product::pass(&fixture, batch).await?;
            // The operator deletes a few at a time, and the next batch begins meanwhile.
            all_gone(&stored, std::mem::replace(&mut before, passed)).await?;
            gone += batch;
            let memory = fixture.memory().await?;
            eprintln!("  {gone} came and went: {memory:.1} MiB");
            if first.is_some() {
                samples.push((thousands(gone), memory * 1_024.0));
            }
        }
        all_gone(&stored, std::mem::take(&mut before)).await?;
        fixture.idle().await?;
        if fixture.leader().await? != leader {
            return Err("another replica is the leader now, so the memory of the first one cannot be compared".into());
        }
        let goal = if first.is_some() { Goal::AtMostFloor(MORE) } else { Goal::None };
        let memory = fixture.memory().await?;
        report.add(
            &format!("memory of the leader after {after} that came and went"),
            "MiB",
            first.map_or(Baseline::NONE, Baseline::floor),
            memory,
            goal,
        );
        report.add("the same: minutes since the start", "min", Baseline::NONE, figures::since(start) / 60_000.0, Goal::None);
        first.get_or_insert(memory);
    }
    if let Some(line) = growth::line(&samples) {
        report.add("memory of the leader for a thousand more of them", "KiB", Baseline::NONE, line.slope, Goal::None);
    }
    report.write(&directory.join("leak.json"))?;
    stored.end();
    fixture.end();
    Ok(report)
}

async fn all_gone(stored: &Sightings, requests: Vec<String>) -> Result<(), Failure> {
    for request in requests {
        stored.goes(&request).await?;
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "some thousands")]
fn thousands(number: usize) -> f64 {
    number as f64 / 1_000.0
}
