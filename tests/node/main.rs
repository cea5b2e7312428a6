//! The product in pods on a real node: its image, its chart with Helm, and what happens to nodes and pods in the middle of a grant.
//!
//! `make test-node` runs the tests, one after the other on one cluster. `cargo test` alone ignores them: they need root and minutes of builds.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "an unexpected value fails the test")]

mod cluster_fixture;
mod installation;
mod interruptions;

use std::{
    process::ExitCode,
    sync::{Arc, OnceLock},
};

use cluster_fixture::{ClusterFixture, Error, TestCase};
pub(crate) use control_plane::ensure;
use libtest_mimic::{Arguments, Trial};
use node::{Run, Side};
use tokio::runtime::Runtime;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    if arguments.list || !(arguments.ignored || arguments.include_ignored) {
        return libtest_mimic::run(&arguments, trials(|_| Ok(()))).exit_code();
    }
    let run = match node::enter() {
        Ok(Side::Inside(run)) => run,
        Ok(Side::Outside(code)) => return code,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    arguments.test_threads = Some(1);
    let cluster = Cluster { runtime: Runtime::new().expect("a runtime can be built"), run, fixture: OnceLock::new() };
    let cluster = Arc::new(cluster);
    let conclusion = libtest_mimic::run(&arguments, trials(move |case| cluster.run(case)));
    conclusion.exit_code()
}

fn trials(run: impl Fn(TestCase) -> Result<(), Error> + Clone + Send + 'static) -> Vec<Trial> {
    let cases = [installation::test_cases(), interruptions::test_cases()].into_iter().flatten();
    let trial = |(name, case): (&'static str, TestCase)| {
        let run = run.clone();
        Trial::test(name, move || run(case).map_err(|error| error.to_string().into())).with_ignored_flag(true)
    };
    cases.map(trial).collect()
}

/// The one cluster, which the first test starts.
struct Cluster {
    runtime: Runtime,
    run: Run,
    fixture: OnceLock<Result<ClusterFixture, String>>,
}

impl Cluster {
    fn run(&self, case: TestCase) -> Result<(), Error> {
        let start = || self.runtime.block_on(ClusterFixture::start(&self.run)).map_err(|error| error.to_string());
        let fixture = self.fixture.get_or_init(start).as_ref().map_err(Clone::clone)?;
        self.runtime.block_on(async {
            match case(fixture).await {
                Ok(()) => Ok(()),
                Err(error) => Err(format!("{error}\n{}", fixture.node.describe().await).into()),
            }
        })
    }
}
