//! `kubectl jit revoke`: takes access away.

use clap::Args;

use crate::{
    api::{RoleActivationRequest, Verb, selectors},
    plugin::{
        decide, manifest,
        paint::Paint,
        problem::{Exit, Problem},
        prompt,
        read::{Scope, full_name, requester},
        session::Session,
    },
};

/// Takes access away.
///
/// What is active, scheduled or waiting: by name, or everything of a user or an eligibility.
#[derive(Debug, Args)]
pub struct Options {
    /// Names of requests, as NAME or NAMESPACE/NAME.
    #[arg(value_name = "NAME", required_unless_present_any = ["of_user", "role"])]
    names: Vec<String>,
    /// Why: said to the requester and kept.
    #[arg(short, long, required = true, value_name = "TEXT")]
    message: String,
    /// Everything of this user, in every namespace or in those of -n. Beside --role: what is of both.
    #[arg(long, value_name = "USER", conflicts_with = "names")]
    of_user: Option<String>,
    /// Everything under this eligibility, in every namespace or in those of -n.
    #[arg(long, value_name = "ROLE", conflicts_with = "names")]
    role: Option<String>,
    /// Do not ask, where names were not given.
    #[arg(short, long)]
    yes: bool,
}

/// Revokes them. One that cannot be revoked keeps no other one.
pub async fn run(options: &Options, session: &Session) -> Result<Exit, Problem> {
    let (mut requests, missing) =
        if options.names.is_empty() { (of(options, session).await?, Exit::Done) } else { decide::each(session, &options.names).await? };
    requests.retain(|request| !decide::is_over(session, request));
    if requests.is_empty() {
        session.screen.say("there is nothing to revoke");
        return Ok(missing);
    }
    if options.names.is_empty() && !options.yes {
        let names: Vec<String> = requests.iter().map(|request| format!("{} of {}", full_name(request), requester(request))).collect();
        let names: Vec<String> = names.iter().map(|name| session.screen.beside(name, Paint::Plain)).collect();
        session.screen.present(&format!("  {}", names.join("\n  ")));
        if !prompt::agree(
            &session.screen,
            &format!("Revoke these {}?", names.len()),
            "nobody can be asked whether to revoke them: say --yes",
        )? {
            return Err(Problem::BrokenOff);
        }
    }
    // Everything is said first, so that nothing waits for the end of something else.
    let said = session.each(requests, async |request| (revoke(options, session, &request).await, request)).await;
    let ended = session.each(said, async |(said, request)| match said {
        Ok(()) => (decide::until_ended(session, &request).await, request),
        Err(problem) => (Err(problem), request),
    });
    let mut exit = missing;
    for (ended, request) in ended.await {
        exit = exit.and(match ended {
            Ok(ended) => decide::told(session, ended, "revoked"),
            Err(problem) => {
                session.screen.error(&format!("{}: {problem}", full_name(&request)));
                problem.exit()
            }
        });
    }
    Ok(exit)
}

async fn revoke(options: &Options, session: &Session, request: &RoleActivationRequest) -> Result<(), Problem> {
    decide::create(session, &manifest::decision(request, Verb::Revoke, Some(&options.message))?).await
}

async fn of(options: &Options, session: &Session) -> Result<Vec<RoleActivationRequest>, Problem> {
    let mut live = session.requests(&Scope::wherever(session), &selectors::live_states()).await?;
    live.retain(|request| options.of_user.as_deref().is_none_or(|user| requester(request) == user));
    live.retain(|request| options.role.as_ref().is_none_or(|role| request.spec.eligibility_ref.name == *role));
    Ok(live)
}
