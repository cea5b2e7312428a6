//! `kubectl jit revoke`: ends the access of others.

use clap::Args;

use crate::{
    decide,
    filter::{Filter, Found, Listed},
    manifest,
    paint::Paint,
    problem::{Exit, Problem},
    prompt,
    read::{Scope, full_name, requester, state},
    session::Session,
    words,
};
use api::{RoleActivationRequest, Verb, selectors};

/// Revokes the access of others.
///
/// Active, scheduled or pending requests: by name, or all of a user, under an eligibility or for a role, in all namespaces or in those of
/// -n. With several filters, all must match.
#[derive(Debug, Args)]
pub struct Options {
    /// Names of requests, as NAME or NAMESPACE/NAME.
    #[arg(value_name = "NAME", required_unless_present_any = FILTERS, conflicts_with_all = FILTERS)]
    names: Vec<String>,
    /// The reason; it is recorded, and the requester can read it.
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    #[command(flatten)]
    filter: Filter,
    /// Do not ask for confirmation if no names are given.
    #[arg(short, long)]
    yes: bool,
}

/// The flags that can replace names.
const FILTERS: [&str; 3] = ["of_user", "eligibility", "role"];

/// Revokes the requests. A failure does not stop the others.
pub async fn run(options: &Options, session: &Session) -> Result<Exit, Problem> {
    let (mut requests, missing) =
        if options.names.is_empty() { (of(options, session).await?, Exit::Done) } else { decide::each(session, &options.names).await? };
    requests.retain(|request| !decide::is_over(session, request));
    if requests.is_empty() {
        session.screen.info("there is nothing to revoke");
        return Ok(missing);
    }
    let message = decide::message(session, options.message.as_deref(), "Why are they revoked?")?;
    if options.names.is_empty() && !options.yes {
        let line = |request: &RoleActivationRequest| {
            format!("{}: {}, {}, {}", full_name(request), requester(request), words::role_name(request), state(request))
        };
        let lines: Vec<String> = requests.iter().map(|request| session.screen.on_stderr(&line(request), Paint::Plain)).collect();
        session.screen.present(&format!("  {}", lines.join("\n  ")));
        let count = requests.len();
        let them = if count == 1 { "this request".to_owned() } else { format!("these {count} requests") };
        let otherwise = format!("stdin is not a terminal: pass --yes to revoke {them}");
        if !prompt::confirm(&session.screen, &format!("Revoke {them}?"), &otherwise)? {
            session.screen.info("Cancelled; nothing was revoked.");
            return Ok(Exit::Failed);
        }
    }
    // All decisions are created first, so that none waits for the end of another request.
    let said = session.each(requests, async |request| (revoke(&message, session, &request).await, request)).await;
    let ended = session.each(said, async |(said, request)| match said {
        Ok(()) => (decide::until_ended(session, &request).await, request),
        Err(problem) => (Err(problem), request),
    });
    let mut exit = missing;
    for (ended, request) in ended.await {
        exit = exit.and(match ended {
            Ok(ended) => decide::report(session, ended, Verb::Revoke),
            Err(problem) => {
                session.screen.error(&format!("{}: {problem}", full_name(&request)));
                problem.exit()
            }
        });
    }
    Ok(exit)
}

async fn revoke(message: &str, session: &Session, request: &RoleActivationRequest) -> Result<(), Problem> {
    decide::create_unless_settled(session, &manifest::decision(request, Verb::Revoke, Some(message))?).await
}

/// The requests that match the filters. No match is an error: with a mistyped name the user could believe that access has ended.
async fn of(options: &Options, session: &Session) -> Result<Vec<RoleActivationRequest>, Problem> {
    let (scope, live) = (Scope::wherever(session), selectors::live_states());
    let listed = Listed { scope: &scope, fields: &live, labels: "", mine: false, called: "active or pending request" };
    let Found { requests, unmatched } = options.filter.requests(session, listed, |request| !state(request).is_terminal()).await?;
    unmatched.map_or(Ok(requests), Err)
}
