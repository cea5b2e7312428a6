//! `kubectl jit list`: requests of everybody.

use clap::Args;

use crate::{
    api::{State, selectors},
    plugin::{
        flags::Output,
        objects,
        problem::{Exit, Problem},
        read::{Scope, requester, state},
        rows,
        session::Session,
    },
};

/// Lists activation requests, newest first.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct Options {
    /// In all namespaces.
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Only your own.
    #[arg(long)]
    mine: bool,
    /// Only what is not decided yet.
    #[arg(long)]
    pending: bool,
    /// Only what is active.
    #[arg(long)]
    active: bool,
    /// Only those of this user.
    #[arg(long, value_name = "USER")]
    of_user: Option<String>,
    /// Only those under this eligibility.
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
    /// Only those with these labels, as kubectl takes them.
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<String>,
    #[command(flatten)]
    output: Output,
}

/// Lists them.
pub async fn run(options: &Options, session: &Session) -> Result<Exit, Problem> {
    let scope = Scope::of(session, options.all_namespaces);
    let wanted = |found: State| {
        let undecided = matches!(found, State::Pending | State::AwaitingApproval);
        !(options.pending || options.active) || (options.pending && undecided) || (options.active && found == State::Active)
    };
    let states = if options.pending || options.active { selectors::in_state(wanted) } else { String::new() };
    let under = options.role.as_deref().map(selectors::under_eligibility).unwrap_or_default();
    let fields = [states, under].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(",");
    if let Some(role) = &options.role {
        crate::plugin::session::valid_name("eligibility", role)?;
    }
    let labels = options.selector.as_deref().unwrap_or_default();
    let mut found = if options.mine {
        session.my_requests_with(&scope, &fields, labels).await?
    } else {
        session.requests_with(&scope, &fields, labels).await?
    };
    found.retain(|request| wanted(state(request)) && options.of_user.as_deref().is_none_or(|user| requester(request) == user));
    if objects::listed(&session.screen, &found, options.output.output)? {
        return Ok(Exit::Done);
    }
    let mut table = rows::table(scope.is_several());
    for request in &found {
        table.push(rows::row(request, scope.is_several(), &session.screen.times));
    }
    session.screen.table(&table, options.output.is_wide(), &format!("there are no such requests{}", scope.in_words()));
    Ok(Exit::Done)
}
