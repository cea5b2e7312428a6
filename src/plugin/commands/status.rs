//! `kubectl jit status`: what I have and wait for.

use clap::Args;

use crate::{
    api::{State, selectors},
    plugin::{
        flags::Output,
        objects,
        problem::{Exit, Problem},
        read::{Scope, state},
        rows,
        session::Session,
        watching::{self, Left},
        words,
    },
};

/// Shows what of yours is active or asked for.
///
/// With the time that is left; in every namespace or in those of -n.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Only this request, as NAME or NAMESPACE/NAME.
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Print it again whenever it changes; ends when nothing is left.
    #[arg(short, long)]
    watch: bool,
    #[command(flatten)]
    output: Output,
}

/// Shows it.
pub async fn run(options: &Options, session: &Session) -> Result<Exit, Problem> {
    if let Some(name) = &options.name {
        return super::get::one(session, name, options.watch, options.output).await;
    }
    if options.watch {
        return watching::again_and_again(session, &Scope::wherever(session), async || list(options, session).await).await;
    }
    list(options, session).await.map(|_| Exit::Done)
}

async fn list(options: &Options, session: &Session) -> Result<Left, Problem> {
    let scope = Scope::wherever(session);
    let found = session.my_requests(&scope, &selectors::live_states()).await?;
    let left = if found.is_empty() { Left::Nothing } else { Left::Something };
    if objects::listed(&session.screen, &found, options.output.output)? {
        return Ok(left);
    }
    let mut table = rows::table(true);
    for request in &found {
        table.push(rows::row(request, true, &session.screen.times));
    }
    session.screen.table(&table, options.output.is_wide(), &format!("nothing of yours is active or asked for{}", scope.in_words()));
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
