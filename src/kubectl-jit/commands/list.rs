//! `kubectl jit list`: requests of all users.

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
    /// List all namespaces.
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Only your own requests.
    #[arg(long)]
    mine: bool,
    /// Only pending requests.
    #[arg(long)]
    pending: bool,
    /// Only active requests.
    #[arg(long)]
    active: bool,
    #[command(flatten)]
    filter: Filter,
    /// Only requests that match this label selector.
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<String>,
    #[command(flatten)]
    output: Output,
}

impl Options {
    /// The noun for messages.
    const fn called(&self) -> &'static str {
        match (self.pending, self.active) {
            (true, true) => "active or pending request",
            (true, false) => "pending request",
            (false, true) => "active request",
            (false, false) => "request",
        }
    }
}

/// Lists the requests.
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
    // Machine-readable formats print an empty list too.
    let printed = objects::listed(&session.screen, &requests, options.output.output)?;
    if let Some(problem) = unmatched {
        return Err(problem);
    }
    if !printed {
        let nothing = format!("there is no {}{}", options.called(), scope.description());
        session.screen.table(&rows::table_of(&requests, scope.is_several(), &session.screen.times), options.output.is_wide(), &nothing);
    }
    Ok(Exit::Done)
}
