//! `kubectl jit deny NAME`: denies a request.

use clap::Args;

use crate::{
    decide::{self, Targets},
    manifest,
    problem::{Exit, Problem},
    read::full_name,
    session::Session,
};
use api::Verb;

/// Denies requests.
///
/// An active request is revoked.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    targets: Targets,
}

/// Denies the requests.
pub async fn run(options: &Options, session: &Session) -> Result<Exit, Problem> {
    let Targets { names, message } = &options.targets;
    let (requests, missing) = decide::each(session, names).await?;
    let decided = decide::about_each(session, &requests, async |request| {
        if decide::is_over(session, request) {
            return Ok(Exit::Done);
        }
        let message = decide::message(session, message.as_deref(), &format!("Why is {} denied?", full_name(request)))?;
        decide::create_unless_settled(session, &manifest::decision(request, Verb::Deny, Some(&message))?).await?;
        Ok(decide::report(session, decide::until_ended(session, request).await?, Verb::Deny))
    });
    decided.await.map(|exit| missing.and(exit))
}
