//! `kubectl jit list`: requests of everybody.

use clap::Args;

use crate::{
    filter::{Filter, Found, Listed},
    flags::Output,
    objects,
    problem::{Exit, Problem},
    read::{Scope, state},
    rows,
    session::Session,
};
use api::{RoleActivationRequest, State, selectors};

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
    /// Only requests that are not decided yet.
    #[arg(long)]
    pending: bool,
    /// Only requests that are active.
    #[arg(long)]
    active: bool,
    #[command(flatten)]
    filter: Filter,
    /// Only requests with these labels, as kubectl takes them.
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<String>,
    #[command(flatten)]
    output: Output,
}

impl Options {
    /// What a request of the list is called.
    const fn called(&self) -> &'static str {
        match (self.pending, self.active) {
            (true, true) => "active or pending request",
            (true, false) => "pending request",
            (false, true) => "active request",
            (false, false) => "request",
        }
    }
}

/// Lists them.
pub async fn run(options: &Options, session: &Session) -> Result<Exit, Problem> {
    let scope = Scope::of(session, options.all_namespaces);
    let wanted = |found: State| {
        let undecided = matches!(found, State::Pending | State::AwaitingApproval);
        !(options.pending || options.active) || (options.pending && undecided) || (options.active && found == State::Active)
    };
    let listed = Listed {
        scope: &scope,
        fields: &if options.pending || options.active { selectors::in_state(wanted) } else { String::new() },
        labels: options.selector.as_deref().unwrap_or_default(),
        mine: options.mine,
        called: options.called(),
    };
    let kept = |request: &RoleActivationRequest| wanted(state(request));
    let Found { requests, unmatched } = options.filter.requests(session, listed, kept).await?;
    // Programs get their empty list all the same.
    let printed = objects::listed(&session.screen, &requests, options.output.output)?;
    if let Some(problem) = unmatched {
        return Err(problem);
    }
    if !printed {
        let nothing = format!("there is no {}{}", options.called(), scope.in_words());
        session.screen.table(&rows::table_of(&requests, scope.is_several(), &session.screen.times), options.output.is_wide(), &nothing);
    }
    Ok(Exit::Done)
}
