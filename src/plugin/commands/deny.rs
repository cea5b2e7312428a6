//! `kubectl jit deny NAME`: says no.

use clap::Args;

use crate::{
    api::Verb,
    plugin::{
        decide, manifest,
        problem::{Exit, Problem},
        read::full_name,
        session::Session,
    },
};

/// Denies requests.
///
/// One that is active already is revoked.
#[derive(Debug, Args)]
pub struct Options {
    /// Names of requests, as NAME or NAMESPACE/NAME.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Why: said to the requester and kept.
    #[arg(short, long, required = true, value_name = "TEXT")]
    message: String,
}

/// Denies them.
pub async fn run(options: &Options, session: &Session) -> Result<Exit, Problem> {
    let mut exit = Exit::Done;
    for request in decide::each(session, &options.names).await? {
        let decided = decide::create(session, &manifest::decision(&request, Verb::Deny, Some(&options.message))?).await;
        match decided {
            Ok(()) => decide::told(session, &decide::until_ended(session, &request).await?, "denied"),
            Err(problem) if options.names.len() > 1 => {
                session.screen.error(&format!("{}: {problem}", full_name(&request)));
                exit = exit.and(problem.exit());
            }
            Err(problem) => return Err(problem),
        }
    }
    Ok(exit)
}
