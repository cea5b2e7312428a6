//! `kubectl jit deactivate`: gives access back, or takes a request back.

use clap::Args;

use crate::{
    chains, decide, manifest,
    problem::{Exit, Problem},
    read::{Scope, full_name},
    session::Session,
};
use api::{RoleActivationRequest, Verb, selectors};

/// Ends your access early, or withdraws a pending request.
///
/// It waits until the access is gone.
#[derive(Debug, Args)]
pub struct Options {
    /// Names of requests, as NAME or NAMESPACE/NAME; without one, your only active or pending one in the namespace.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// All that are yours, in every namespace or in those of -n.
    #[arg(long, conflicts_with = "names")]
    all: bool,
    /// Said beside it, such as what was found.
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
}

/// Most requests in other namespaces that are named.
const NAMED: usize = 5;

/// Gives them back.
pub async fn run(options: &Options, session: &Session) -> Result<Exit, Problem> {
    let (requests, missing) = if options.names.is_empty() {
        let scope = if options.all { Scope::wherever(session) } else { Scope::In(session.namespaces()) };
        let live = session.my_requests(&scope, &selectors::live_states()).await?;
        match live.as_slice() {
            [] => {
                session.screen.say(&format!(
                    "nothing of yours is active or pending{}{}",
                    scope.in_words(),
                    elsewhere(session, &scope).await
                ));
                return Ok(Exit::Done);
            }
            [_, _, ..] if !options.all && chains::folded(&live).len() > 1 => {
                let names: Vec<String> = live.iter().map(full_name).collect();
                return Err(Problem::Usage(format!(
                    "there are several active or pending requests of yours: {}; name one, or use --all",
                    names.join(", ")
                )));
            }
            // What ends one request of a chain ends all of it.
            _ => (chains::folded(&live).iter().map(|chain| chain.last().clone()).collect(), Exit::Done),
        }
    } else {
        decide::each(session, &options.names).await?
    };
    let given = decide::about_each(session, &requests, async |request| {
        if decide::is_over(session, request) {
            return Ok(Exit::Done);
        }
        Ok(decide::told(session, ended(session, request, options.message.as_deref()).await?, "given back"))
    });
    given.await.map(|exit| missing.and(exit))
}

/// What the person has in other namespaces, for who looks into the wrong one.
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

/// Gives a request back, and returns when it is gone, or when it should be and is not, of which it warns.
pub async fn give_back(session: &Session, request: &RoleActivationRequest) -> Result<(), Problem> {
    if let Some(ended) = ended(session, request, None).await? {
        session.screen.say(&format!("{} given back", full_name(&ended)));
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
