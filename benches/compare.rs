//! The product beside the floor of a plain client, on the same API server in the same run.

use std::path::Path;

use clap::Args;

use crate::{
    Failure,
    figures::{self, Spread},
    floor,
    ground::{Ground, Setting},
    ours, plugin,
    report::{Goal, Report},
};

/// How much is measured.
#[derive(Debug, Args)]
pub struct Options {
    /// Activations of which the latency is taken, one after the other.
    #[arg(long, default_value_t = 400)]
    latency: usize,
    /// Grants whose ends are spread over half a minute.
    #[arg(long, default_value_t = 200)]
    spread: usize,
    /// Grants that end in the same second.
    #[arg(long, default_value_t = 1_000)]
    at_once: usize,
    /// Activations of which the rate is taken, sixteen at once.
    #[arg(long, default_value_t = 2_000)]
    rate: usize,
    /// Numbers of active grants at which memory, CPU and start-up are looked at.
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 5_000, 10_000])]
    active: Vec<usize>,
}

/// Measures both, and writes the list to `report.json` in this directory.
pub async fn run(options: &Options, directory: &Path) -> Result<Report, Failure> {
    let mut report = Report::default();
    let mut ground = Ground::start().await?;
    let floor = floors(&ground, options).await?;
    ground.install(Setting::default()).await?;
    measure(&ground, options, &floor, &mut report).await?;
    report.write(&directory.join("report.json"))?;
    ground.end();
    Ok(report)
}

/// The floor's figures, taken before anything of the product is installed.
struct Floors {
    latency: Spread,
    create: Spread,
    spread: Spread,
    at_once: ours::AtOnce,
    one_write: f64,
    three_writes: f64,
}

async fn floors(ground: &Ground, options: &Options) -> Result<Floors, Failure> {
    eprintln!("floor: a plain client");
    // Connections, caches and the API server's own start are nobody's figure.
    floor::latency(ground, "warm", 100).await?;
    let latency = floor::latency(ground, "latency", options.latency).await?;
    let create = floor::creates(ground, options.latency).await?;
    let one_write = floor::rate_of_one_write(ground, options.rate).await?;
    let three_writes = floor::rate_of_three_writes(ground, options.rate).await?;
    let spread = floor::lateness(ground, "spread", options.spread).await?;
    let at_once = floor::at_once(ground, "at-once", options.at_once).await?;
    floor::clear(ground).await?;
    Ok(Floors { latency, create, spread, at_once, one_write, three_writes })
}

async fn measure(ground: &Ground, options: &Options, floor: &Floors, report: &mut Report) -> Result<(), Failure> {
    let most = |ratio| Goal::AtMostFloor(ratio);
    report.add("memory of the leader, nothing active", "MiB", None, ground.memory().await?, Goal::None);

    eprintln!("ours: latency");
    let automatic = ours::automatic(ground, options.latency).await?;
    for (q, goal) in [(0.5, most(4.0)), (0.99, most(10.0))] {
        let name = format!("request created to binding seen, {}", figures::name(q));
        report.add(&name, "ms", Some(floor.latency.at(q)), automatic.created_to_seen.at(q), goal);
    }
    for q in [0.5, 0.99] {
        let name = format!("the same from the call that creates it, {}", figures::name(q));
        report.add(&name, "ms", Some(floor.latency.at(q)), automatic.asked_to_seen.at(q), Goal::None);
    }
    for q in [0.5, 0.99] {
        let name = format!("creation of a request, with admission, {}", figures::name(q));
        report.add(&name, "ms", Some(floor.create.at(q)), automatic.create.at(q), Goal::None);
    }
    let approved = ours::approved(ground, options.latency).await?;
    for q in [0.5, 0.99] {
        let name = format!("approval created to binding seen, {}", figures::name(q));
        report.add(&name, "ms", Some(floor.latency.at(q)), approved.at(q), Goal::None);
    }

    eprintln!("ours: rate and writes");
    let rate = ours::rate(ground, options.rate).await?;
    report.add("activations per second, 16 at once", "1/s", Some(floor.three_writes), rate.a_second, Goal::AtLeast(150.0, 0.6));
    report.add("the same, beside one write each", "1/s", Some(floor.one_write), rate.a_second, Goal::None);

    eprintln!("ours: ends");
    let spread = ours::lateness(ground, options.spread).await?;
    for q in [0.5, 0.99] {
        let name = format!("deadline to binding gone, spread, {}", figures::name(q));
        report.add(&name, "ms", Some(floor.spread.at(q)), spread.at(q), most(1.2));
    }
    // What of it is the API server's own under policies, which a plain client's deletes go through as well, once nothing is recorded any more.
    ground.idle().await?;
    let guarded = floor::lateness(ground, "spread-guarded", options.spread).await?;
    for q in [0.5, 0.99] {
        let name = format!("the same of a plain client under the policies, {}", figures::name(q));
        report.add(&name, "ms", Some(floor.spread.at(q)), guarded.at(q), Goal::None);
    }
    let plain = floor::at_once(ground, "at-once-guarded", options.at_once).await?;
    let at_once = ours::at_once(ground, options.at_once).await?;
    let name = format!("{} grants end in one second: first to last gone", options.at_once);
    report.add(&name, "ms", Some(floor.at_once.first_to_last), at_once.first_to_last, most(1.2));
    report.add("the same: deadline to last gone", "ms", Some(floor.at_once.to_last), at_once.to_last, Goal::None);
    let name = "the same of a plain client under the policies: first to last gone";
    report.add(name, "ms", Some(floor.at_once.first_to_last), plain.first_to_last, Goal::None);

    for (number, active) in options.active.iter().enumerate() {
        eprintln!("ours: {active} active");
        ours::fill(ground, *active).await?;
        let idle = ground.idle().await?;
        let goals = match active {
            5_000 => (Goal::AtMost(60.0), Goal::AtMost(1.0)),
            _ => (Goal::None, Goal::None),
        };
        report.add(&format!("memory of the leader, {active} active"), "MiB", None, ground.memory().await?, goals.0);
        report.add(&format!("CPU of the leader, idle, {active} active"), "%", None, idle, goals.1);
        if number + 1 == options.active.len() {
            let floor = floor::list(ground).await?;
            let ours = ground.start_up().await?.took;
            report.add(&format!("start to the last timer armed, {active} active"), "ms", Some(floor), ours, Goal::None);
        }
    }
    eprintln!("ours: the plugin");
    let (plain, with_plugin) = plugin::roles(ground).await?;
    let name = format!("kubectl jit roles over {} eligibilities; the floor is kubectl get", plugin::ELIGIBILITIES);
    report.add(&name, "ms", Some(plain.at(0.5)), with_plugin.at(0.5), most(2.0));

    report.add("writes per automatic grant", "calls", None, rate.writes, Goal::AtMost(4.0));
    report.add("events per automatic grant", "calls", None, rate.events, Goal::None);
    Ok(())
}
