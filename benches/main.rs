//! How fast the product is, how much of it there can be, and whether it stays as small as it is.
//!
//! Without a command it is held against the floor of a plain client (`make bench`); `scale` is `make bench-scale`, `leak` is `make bench-leak`.
//! Figures go to the screen and to `target/bench`.

mod baseline;
mod cluster_fixture;
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

use std::{error::Error, path::Path};

use clap::{Parser, Subcommand};

/// Why a measurement could not be made.
type Failure = Box<dyn Error + Send + Sync>;

/// What is measured.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Options {
    /// Cargo gives it to every benchmark.
    #[arg(long, hide = true, global = true)]
    bench: bool,
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    compare: compare::Options,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The figures beside more and more active grants; goes on where an earlier run was interrupted.
    Scale(scale::Options),
    /// The leader's memory after grants that came and went.
    Leak(leak::Options),
    /// Draws what `scale` has measured.
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
