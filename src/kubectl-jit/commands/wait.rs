//! `kubectl jit wait NAME`: returns when a request has come to something, and says in its exit code to what.

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

/// Waits until a request has come to something.
///
/// It returns on every outcome, and the exit code says which.
#[derive(Debug, Args)]
pub struct Options {
    /// Name of the request, as NAME or NAMESPACE/NAME.
    #[arg(value_name = "NAME")]
    name: String,
    /// What to wait for.
    #[arg(long = "for", value_enum, default_value_t = Goal::Settled, value_name = "WHAT")]
    goal: Goal,
    /// How long to wait, such as 10m; by default as long as it takes.
    #[arg(long, value_name = "TIME", value_parser = patience)]
    timeout: Option<Duration>,
    #[command(flatten)]
    output: Output,
}

/// Waits for it.
pub async fn run(options: &Options, session: &Session) -> Result<Exit, Problem> {
    let (namespace, name) = placed(&options.name, &session.namespace()?);
    // A name that is none is told at once, and not waited for.
    let request = session.request(&namespace, name).await?;
    let name = request.name_any();
    let ended = if options.goal.reached(state(&request)) {
        request
    } else {
        tokio::select! {
            ended = follow(session, (&namespace, &name), options.timeout, options.goal, follow::told) => ended?,
            _ = tokio::signal::ctrl_c() => return Ok(follow::broken_off(session, &[request]).await),
        }
    };
    if let Some(text) = objects::printed_one(&ended, options.output.output)? {
        session.screen.data(&text);
    } else {
        follow::outcome(session, &ended);
    }
    Ok(options.goal.exit(&ended))
}
