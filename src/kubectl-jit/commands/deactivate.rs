//! `kubectl jit deactivate`: deactivates access, or withdraws a request.

use clap::Args;

use crate::{
    chains, decide, manifest,
    problem::{Exit, Problem},
    read::{Scope, full_name},
    session::Session,
    words,
};
use api::{RoleActivationRequest, Verb, selectors};

/// Ends your access early, or withdraws a pending request.
///
/// It waits until the access is removed.
#[derive(Debug, Args)]
pub struct Options {
    /// Names of requests, as NAME or NAMESPACE/NAME; without one, your only active or pending one in the namespace.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// All your requests, in all namespaces or in those of -n.
    #[arg(long, conflicts_with = "names")]
    all: bool,
    /// A message to record, for example the finding.
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
}

/// The maximum number of listed requests in other namespaces.
const NAMED: usize = 5;

/// Deactivates or withdraws the requests.
pub async fn run(options: &Options, session: &Session) -> Result<Exit, Problem> {
    let (requests, missing) = if options.names.is_empty() {
        let scope = if options.all { Scope::wherever(session) } else { Scope::In(session.namespaces()) };
        let live = session.my_requests(&scope, &selectors::live_states()).await?;
        match live.as_slice() {
            [] => {
                session.screen.info(&format!(
                    "you have no active or pending request{}{}",
                    scope.description(),
                    elsewhere(session, &scope).await
                ));
                return Ok(Exit::Done);
            }
            [_, _, ..] if !options.all && chains::folded(&live).len() > 1 => {
                let names: Vec<String> = live.iter().map(full_name).collect();
                return Err(Problem::Usage(format!(
                    "more than one of your requests is active or pending: {}; name one, or use --all",
                    names.join(", ")
                )));
            }
            // The end of one request of a chain ends the whole chain.
            _ => (chains::folded(&live).iter().map(|chain| chain.last().clone()).collect(), Exit::Done),
        }
    } else {
        decide::each(session, &options.names).await?
    };
    let decided = decide::about_each(session, &requests, async |request| {
        if decide::is_over(session, request) {
            return Ok(Exit::Done);
        }
        Ok(decide::report(session, ended(session, request, options.message.as_deref()).await?, Verb::Deactivate))
    });
    decided.await.map(|exit| missing.and(exit))
}

/// The user's requests in other namespaces, in case the namespace is wrong.
async fn elsewhere(session: &Session, scope: &Scope) -> String {
    if *scope == Scope::All {
        return String::new();
    }
    let live = session.my_requests(&Scope::All, &selectors::live_states()).await.unwrap_or_default();
    let names: Vec<String> = live.iter().take(NAMED).map(full_name).collect();
    let more = live.len().saturating_sub(NAMED);
    match (names.is_empty(), more) {
        (true, _) => String::new(),
        (false, 0) => format!("; elsewhere: {}", names.join(", ")),
        (false, more) => format!("; elsewhere: {} and {more} more", names.join(", ")),
    }
}

/// Deactivates or withdraws a request, and waits for the end. Warns if it has not ended within a limit.
pub async fn deactivate(session: &Session, request: &RoleActivationRequest) -> Result<(), Problem> {
    if let Some(ended) = ended(session, request, None).await? {
        session.screen.info(&words::completed(&ended));
    }
    Ok(())
}

async fn ended(
    session: &Session,
    request: &RoleActivationRequest,
    message: Option<&str>,
) -> Result<Option<RoleActivationRequest>, Problem> {
    decide::create_unless_settled(session, &manifest::decision(request, Verb::Deactivate, message)?).await?;
    decide::until_ended(session, request).await
}
