//! `kubectl jit status`: the user's active and pending requests.

use clap::Args;

use crate::{
    filter::{Filter, For, Found, Listed},
    flags::Output,
    objects,
    problem::{Exit, Problem},
    read::{Scope, state},
    rows,
    session::Session,
    watching::{self, Left},
    words,
};
use api::{State, selectors};

/// Shows your active and pending activations.
///
/// With the remaining time; in all namespaces or in those of -n.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Only this request, as NAME or NAMESPACE/NAME.
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// List all namespaces; the default without -n.
    #[arg(short = 'A', long, conflicts_with = "name")]
    all_namespaces: bool,
    #[command(flatten)]
    what: For,
    /// Print the list again after each change, until no request is left.
    #[arg(short, long)]
    watch: bool,
    #[command(flatten)]
    output: Output,
}

/// Shows the requests.
pub async fn run(options: &Options, session: &Session) -> Result<Exit, Problem> {
    if let Some(name) = &options.name {
        return super::get::one(session, name, options.watch, options.output).await;
    }
    if options.watch {
        return watching::watch(session, &scope(options, session), async || list(options, session).await).await;
    }
    list(options, session).await.map(|_| Exit::Done)
}

fn scope(options: &Options, session: &Session) -> Scope {
    if options.all_namespaces { Scope::All } else { Scope::wherever(session) }
}

async fn list(options: &Options, session: &Session) -> Result<Left, Problem> {
    let scope = scope(options, session);
    let live = selectors::live_states();
    let listed = Listed { scope: &scope, fields: &live, labels: "", mine: true, called: "active or pending request of yours" };
    let Found { requests: found, unmatched } = Filter::from(options.what.clone()).requests(session, listed, |_| true).await?;
    let left = if found.is_empty() { Left::Nothing } else { Left::Something };
    let printed = objects::listed(&session.screen, &found, options.output.output)?;
    // During a watch, an empty list is not an error.
    if let Some(problem) = unmatched.filter(|_| !options.watch) {
        return Err(problem);
    }
    if printed {
        return Ok(left);
    }
    let table = rows::table_of(&found, true, &session.screen.times);
    session.screen.table(&table, options.output.is_wide(), &format!("you have no active or pending request{}", scope.description()));
    let next = match found.iter().find(|request| state(request) == State::Active) {
        Some(active) => words::next(active),
        None if found.is_empty() => Some("kubectl jit roles".to_owned()),
        None => found.first().and_then(words::next),
    };
    if let Some(next) = next {
        session.next(&next);
    }
    Ok(left)
}
