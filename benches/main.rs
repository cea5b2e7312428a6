//! Latency and throughput of the product, its scale, and memory leaks.
//!
//! Without a command the product is compared to the floor of a plain client (`make bench`); `scale` is `make bench-scale`, `leak` is
//! `make bench-leak`. Figures go to the screen and to `target/bench`.

mod baseline;
mod cluster_fixture;
mod common;
mod compare;
mod figures;
mod growth;
mod guarded;
mod history;
mod leak;
mod observed_events;
mod places;
mod plugin;
mod process;
mod product;
mod report;
mod scale;

use std::path::Path;

use clap::{Parser, Subcommand};

use common::Failure;

/// What is measured.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Options {
    /// Cargo passes it to every benchmark.
    #[arg(long, hide = true, global = true)]
    bench: bool,
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    compare: compare::Options,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The figures with a growing number of active grants; continues an interrupted run.
    Scale(scale::Options),
    /// The leader's memory after many grants have ended.
    Leak(leak::Options),
    /// Draws the figures that `scale` has measured.
    Plot(scale::plot::Options),
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let options = Options::parse();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
    let report = match &options.what {
        None => compare::run(&options.compare, &directory).await?,
        Some(What::Scale(options)) => scale::run(options, &directory).await?,
        Some(What::Leak(options)) => leak::run(options, &directory).await?,
        Some(What::Plot(options)) => return scale::plot::run(options, &directory),
    };
    report.print();
    if report.met() { Ok(()) } else { Err("a goal was missed".into()) }
}
