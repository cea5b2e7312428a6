//! `kubectl jit wait NAME`: waits until a request is decided; the exit code is the outcome.

use std::time::Duration;

use clap::Args;
use kube::ResourceExt;

use crate::{
    flags::{Output, patience},
    follow::{self, follow},
    goal::Goal,
    objects,
    problem::{Exit, Problem},
    read::{placed, state},
    session::Session,
};

/// Waits until a request is decided.
///
/// It returns on every outcome; the exit code tells which.
#[derive(Debug, Args)]
pub struct Options {
    /// Name of the request, as NAME or NAMESPACE/NAME.
    #[arg(value_name = "NAME")]
    name: String,
    /// The state to wait for.
    #[arg(long = "for", value_enum, default_value_t = Goal::Settled, value_name = "WHAT")]
    goal: Goal,
    /// How long to wait, for example 10m; without a limit by default.
    #[arg(long, value_name = "TIME", value_parser = patience)]
    timeout: Option<Duration>,
    #[command(flatten)]
    output: Output,
}

/// Waits for it.
pub async fn run(options: &Options, session: &Session) -> Result<Exit, Problem> {
    let (namespace, name) = placed(&options.name, &session.namespace()?);
    // An unknown name is an error at once.
    let request = session.request(&namespace, name).await?;
    let name = request.name_any();
    let ended = if options.goal.reached(state(&request)) {
        request
    } else {
        tokio::select! {
            ended = follow(session, (&namespace, &name), options.timeout, options.goal, follow::report) => ended?,
            _ = tokio::signal::ctrl_c() => return Ok(follow::cancelled(session, &[request]).await),
        }
    };
    if let Some(text) = objects::printed_one(&ended, options.output.output)? {
        session.screen.data(&text);
    } else {
        follow::outcome(session, &ended);
    }
    Ok(options.goal.exit(&ended))
}
