//! The product compared with the baseline of a plain client, on the same API server in the same run.

use std::path::Path;

use clap::Args;

use crate::{
    Failure, baseline,
    cluster_fixture::{ClusterFixture, Setting},
    common::AtOnce,
    figures::{self, Spread},
    guarded::{self, Guarded},
    history,
    places::{LIMITED, UNLIMITED},
    plugin, product,
    report::{Baseline, Goal, Report},
};

/// How much is measured.
#[derive(Debug, Args)]
#[group(skip)]
pub struct Options {
    /// Activations whose latency is measured, one after the other.
    #[arg(long, default_value_t = 400)]
    latency: usize,
    /// Grants whose ends are spread over half a minute.
    #[arg(long, default_value_t = 200)]
    spread: usize,
    /// Grants that end in the same second.
    #[arg(long, default_value_t = 1_000)]
    at_once: usize,
    /// Activations whose rate is measured, sixteen at once.
    #[arg(long, default_value_t = 2_000)]
    rate: usize,
    /// Numbers of active grants at which memory, CPU and start-up are measured.
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 5_000, 10_000])]
    active: Vec<usize>,
    /// Number of active grants during the start of a replica, while other grants end.
    #[arg(long, default_value_t = 25_000)]
    start_at: usize,
    /// Number of completed requests with which an activation is compared to one without any.
    #[arg(long, default_value_t = 100_000)]
    completed: usize,
}

/// Measures both, and writes the list to `report.json` in this directory.
pub async fn run(options: &Options, directory: &Path) -> Result<Report, Failure> {
    let mut report = Report::default();
    let mut fixture = ClusterFixture::start().await?;
    let floor = floors(&fixture, options).await?;
    eprintln!("guarded: a plain client under the policies");
    let guarded = guarded::measure(options.latency, options.rate, options.spread, options.at_once).await?;
    fixture.install(Setting::default()).await?;
    measure(&fixture, options, &floor, &guarded, &mut report).await?;
    beside_many(&fixture, options, &floor, &mut report).await?;
    report.write(&directory.join("report.json"))?;
    fixture.end();
    Ok(report)
}

/// The baseline's figures, measured before anything of the product is installed.
struct Floors {
    latency: Spread,
    create: Spread,
    spread: Spread,
    at_once: AtOnce,
    one_write: f64,
    three_writes: f64,
}

async fn floors(fixture: &ClusterFixture, options: &Options) -> Result<Floors, Failure> {
    eprintln!("floor: a plain client");
    // No figure includes connections, cold caches and the API server's own start.
    baseline::latency(fixture, "warm", 100).await?;
    let latency = baseline::latency(fixture, "latency", options.latency).await?;
    let create = baseline::creates(fixture, options.latency).await?;
    let one_write = baseline::rate_of_one_write(fixture, options.rate).await?;
    let three_writes = baseline::rate_of_three_writes(fixture, options.rate).await?;
    let spread = baseline::lateness(fixture, "spread", options.spread).await?;
    let at_once = baseline::at_once(fixture, "at-once", options.at_once).await?;
    baseline::clear(fixture).await?;
    Ok(Floors { latency, create, spread, at_once, one_write, three_writes })
}

async fn measure(
    fixture: &ClusterFixture,
    options: &Options,
    floor: &Floors,
    guarded: &Guarded,
    report: &mut Report,
) -> Result<(), Failure> {
    let most = Goal::AtMostFloor;
    report.add("memory of the leader, nothing active", "MiB", Baseline::NONE, fixture.memory().await?, Goal::None);

    eprintln!("product: latency");
    let automatic = product::automatic(fixture, options.latency).await?;
    let binding = |q| Baseline::both(floor.latency.at(q), guarded.latency.at(q));
    for (q, goal) in [(0.5, most(4.0)), (0.99, most(10.0))] {
        let name = format!("request created to binding observed, {}", figures::name(q));
        report.add(&name, "ms", binding(q), automatic.created_to_seen.at(q), goal);
    }
    for q in [0.5, 0.99] {
        let name = format!("the same from the call that creates it, {}", figures::name(q));
        report.add(&name, "ms", binding(q), automatic.asked_to_seen.at(q), Goal::None);
    }
    for (q, goal) in [(0.5, most(2.5)), (0.99, Goal::None)] {
        let name = format!("creation of a request, with admission, {}", figures::name(q));
        report.add(&name, "ms", Baseline::both(floor.create.at(q), guarded.create.at(q)), automatic.create.at(q), goal);
    }
    let approved = product::approved(fixture, options.latency).await?;
    for q in [0.5, 0.99] {
        let name = format!("approval created to binding observed, {}", figures::name(q));
        report.add(&name, "ms", binding(q), approved.at(q), Goal::None);
    }

    eprintln!("product: rate and writes");
    let rate = product::rate(fixture, options.rate).await?;
    let name = "activations per second, 16 at once";
    report.add(name, "1/s", Baseline::both(floor.three_writes, guarded.rate), rate.a_second, Goal::AtLeastGuarded(0.6));
    report.add("the same, compared to one write each", "1/s", Baseline::floor(floor.one_write), rate.a_second, Goal::None);
    writes("16 at once", &rate.cost, report);

    eprintln!("product: ends");
    let spread = product::lateness(fixture, options.spread).await?;
    for q in [0.5, 0.99] {
        let name = format!("deadline to binding gone, ten a second, {}", figures::name(q));
        report.add(&name, "ms", Baseline::both(floor.spread.at(q), guarded.spread.at(q)), spread.at(q), Goal::AtMostGuarded(1.3));
    }
    let at_once = product::at_once(fixture, options.at_once).await?;
    let name = format!("{} grants end in one second: first to last gone", options.at_once);
    let baseline = Baseline::both(floor.at_once.first_to_last, guarded.at_once.first_to_last);
    report.add(&name, "ms", baseline, at_once.ends.first_to_last, Goal::AtMostGuarded(1.3));
    let baseline = Baseline::both(floor.at_once.to_last, guarded.at_once.to_last);
    report.add("the same: deadline to last gone", "ms", baseline, at_once.ends.to_last, Goal::None);
    writes("all ending in one second", &at_once.cost, report);

    for (number, active) in options.active.iter().enumerate() {
        eprintln!("product: {active} active");
        product::fill(fixture, *active).await?;
        let idle = fixture.idle().await?;
        let goals = match active {
            5_000 => (Goal::AtMost(60.0), Goal::AtMost(1.0)),
            _ => (Goal::None, Goal::None),
        };
        report.add(&format!("memory of the leader, {active} active"), "MiB", Baseline::NONE, fixture.memory().await?, goals.0);
        report.add(&format!("CPU of the leader, idle, {active} active"), "%", Baseline::NONE, idle, goals.1);
        if number + 1 == options.active.len() {
            let list = baseline::list(fixture).await?;
            let ours = fixture.start_up().await?.took;
            report.add(&format!("start to the last timer armed, {active} active"), "ms", Baseline::floor(list), ours, Goal::None);
            let cost = product::cost_of(fixture, options.spread).await?;
            writes(&format!("with {active} active"), &cost, report);
        }
    }
    eprintln!("product: the plugin");
    let (plain, with_plugin) = plugin::roles(fixture).await?;
    let name = format!("kubectl jit roles over {} eligibilities; the floor is kubectl get", plugin::ELIGIBILITIES);
    report.add(&name, "ms", Baseline::floor(plain.at(0.5)), with_plugin.at(0.5), most(2.0));
    Ok(())
}

/// An automatic grant and its end need four writes and one Event.
fn writes(when: &str, cost: &product::Cost, report: &mut Report) {
    report.add(&format!("writes per automatic grant and its end, {when}"), "calls", Baseline::NONE, cost.writes, Goal::AtMost(4.0));
    report.add(&format!("Events per automatic grant and its end, {when}"), "calls", Baseline::NONE, cost.events, Goal::AtMost(1.0));
}

/// Two latencies that must not grow: of an activation with the number of completed requests, of an end with the number of active grants.
async fn beside_many(fixture: &ClusterFixture, options: &Options, floor: &Floors, report: &mut Report) -> Result<(), Failure> {
    eprintln!("product: {} completed requests", options.completed);
    let offers = [("automatic", UNLIMITED), ("with limits and a cooldown", LIMITED)];
    let mut before = Vec::new();
    for (_, offer) in &offers {
        before.push(product::under(fixture, options.latency, offer).await?);
    }
    history::add(fixture, options.completed).await?;
    fixture.calm().await?;
    for ((name, offer), before) in offers.iter().zip(before) {
        let after = product::under(fixture, options.latency, offer).await?;
        let name = format!("call to binding observed, {name}, {} completed, p50; the floor is none", options.completed);
        report.add(&name, "ms", Baseline::floor(before.asked_to_seen.at(0.5)), after.asked_to_seen.at(0.5), Goal::AtMostFloor(1.3));
    }

    eprintln!("product: {} active", options.start_at);
    product::fill(fixture, options.start_at).await?;
    fixture.settle().await?;
    let (ends, start) = tokio::join!(product::lateness(fixture, options.spread), fixture.start_up());
    start?;
    let name = format!("latest end while a replica starts with {} active; the floor is p99", options.start_at);
    report.add(&name, "ms", Baseline::floor(floor.spread.at(0.99)), ends?.at(1.0), Goal::AtMostFloor(2.0));
    Ok(())
}
