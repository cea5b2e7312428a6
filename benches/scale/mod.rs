//! The cost of a growing number of active grants, with a hundred thousand completed requests.
//!
//! The control plane stays in `target/bench/scale`, and every figure is stored as soon as it is measured. An interrupted run therefore
//! continues where it stopped.

mod measures;
pub mod plot;
mod record;
mod step;

use std::path::Path;

use api::selectors;
use clap::Args;

use self::{
    measures::Measure,
    record::{Held, Step, points},
    step::{CHUNK, lasting},
};
use crate::{
    Failure,
    cluster_fixture::{ClusterFixture, Setting},
    growth, product,
    report::{Baseline, Goal, Report},
};

/// The step that has a memory goal: this many active grants, and at least this many completed requests.
const GOAL_AT: (usize, usize) = (10_000, 100_000);
/// The goal, in MiB.
const GOAL: f64 = 150.0;

/// How much is measured.
#[derive(Debug, Args)]
pub struct Options {
    /// Numbers of active grants at which everything is measured.
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 5_000, 10_000, 25_000, 50_000])]
    active: Vec<usize>,
    /// The number of completed requests.
    #[arg(long, default_value_t = 100_000)]
    ended: usize,
    /// The number of activations, one after the other, and of ends, ten per second, whose latency is measured at each step.
    #[arg(long, default_value_t = 200)]
    latency: usize,
}

/// Measures what is not measured yet, and writes the list to `scale.json` and the picture to `scale.svg` in this directory.
pub async fn run(options: &Options, directory: &Path) -> Result<Report, Failure> {
    let mut held = Held::open(&directory.join("scale"))?;
    let mut active = options.active.clone();
    active.sort_unstable();
    let missing: Vec<usize> = active.iter().copied().filter(|active| !held.step(*active, options.ended).is_complete()).collect();
    if !missing.is_empty() {
        let fixture = begin(&mut held, options.ended).await?;
        for active in missing {
            step::measure(&fixture, &mut held, active, options.ended, options.latency).await?;
        }
        fixture.end();
    }
    let steps: Vec<Step> = active.iter().map(|active| held.step(*active, options.ended)).collect();
    plot::draw(&steps, &directory.join("scale.svg"))?;
    let report = report(&steps);
    report.write(&directory.join("scale.json"))?;
    Ok(report)
}

/// The control plane with everything that earlier runs stored, and this many completed requests.
async fn begin(held: &mut Held, ended: usize) -> Result<ClusterFixture, Failure> {
    let mut fixture = ClusterFixture::resume(held.plane()).await?;
    fixture.install(Setting { webhook_port: held.webhook_port(), ..Setting::default() }).await?;
    held.set_webhook_port(fixture.webhook_port())?;
    fixture.active()?.complete().await?;
    fixture.bindings.complete().await?;
    let mut live = Vec::new();
    fixture.each_request(&selectors::live_states(), |request| live.push(request)).await?;
    fixture.places.take(live);
    let mut there = 0;
    fixture.each_request(&selectors::ended_states(), |_| there += 1).await?;
    eprintln!("{} are active, {there} are completed", lasting(&fixture)?);
    while there < ended {
        there += product::pass(&fixture, CHUNK.min(ended - there)).await?.len();
        eprintln!("{there} are completed");
    }
    held.begun(lasting(&fixture)?);
    Ok(fixture)
}

#[expect(clippy::cast_precision_loss, reason = "some hundreds of thousands")]
fn report(steps: &[Step]) -> Report {
    let mut report = Report::default();
    if let Some(step) = steps.first() {
        report.list("completed requests, at least", "", Baseline::NONE, step.ended as f64, Goal::None);
    }
    for measure in Measure::ALL {
        let name = measure.name();
        for step in steps {
            let Some(figure) = step.figures.get(&measure) else { continue };
            let Step { active, ended, .. } = step;
            let has_goal = measure == Measure::LeaderMemory && *active == GOAL_AT.0 && *ended >= GOAL_AT.1;
            let goal = if has_goal { Goal::AtMost(GOAL) } else { Goal::None };
            report.list(&format!("{name}, {active} active"), measure.unit(), Baseline::NONE, *figure, goal);
        }
        let points = points(steps, measure);
        if let Some(power) = growth::power(&points) {
            report.list(&format!("growth of {name}: exponent"), "", Baseline::NONE, power.slope, Goal::None);
            report.list(&format!("growth of {name}: r²"), "", Baseline::NONE, power.r2, Goal::None);
        }
        if let Some(line) = growth::line(&points).filter(|_| measure.unit() == "MiB") {
            report.list(&format!("{name}, for a thousand more"), "MiB", Baseline::NONE, line.slope * 1_000.0, Goal::None);
        }
    }
    report
}
