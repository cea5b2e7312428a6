//! Tables that are printed again after each change.

use std::time::Duration;

use futures::{Stream, StreamExt, stream::BoxStream};
use kube::{
    Api,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use tokio::time::{Instant, timeout_at};

use super::{
    follow,
    problem::{Exit, Problem},
    read::Scope,
    session::Session,
};
use api::RoleActivationRequest;

/// Changes within this time are combined.
const TOGETHER: Duration = Duration::from_millis(300);

/// Whether requests remain to watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Some remain.
    Something,
    /// None remain.
    Nothing,
}

/// Runs `list` now and after each change of a request of `scope`, until nothing is left, the output is closed or the user presses Ctrl-C.
pub async fn watch(session: &Session, scope: &Scope, list: impl AsyncFn() -> Result<Left, Problem>) -> Result<Exit, Problem> {
    let scope = Box::pin(session.narrowed(scope)).await?;
    let changes = match &scope {
        Scope::All => watched(Api::all(session.client.clone())),
        Scope::In(names) => {
            let watches = names.iter().map(|name| Ok(watched(session.api(name)?))).collect::<Result<Vec<_>, Problem>>()?;
            futures::stream::select_all(watches).boxed()
        }
    };
    tokio::select! {
        ended = until_nothing_is_left(session, changes, scope.places(), list) => ended,
        _ = tokio::signal::ctrl_c() => Ok(Exit::Done),
    }
}

type Changes = BoxStream<'static, watcher::Result<Event<RoleActivationRequest>>>;

fn watched(api: Api<RoleActivationRequest>) -> Changes {
    watcher(api, watcher::Config::default()).default_backoff().boxed()
}

async fn until_nothing_is_left(
    session: &Session,
    mut changes: Changes,
    watches: usize,
    list: impl AsyncFn() -> Result<Left, Problem>,
) -> Result<Exit, Problem> {
    let mut silent = None;
    // All watches are open before the first list, so that no change is missed.
    let mut open = 0;
    while open < watches {
        match changes.next().await {
            Some(Ok(Event::InitDone)) => open += 1,
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                // Without the permission to list, the list returns the better error.
                if follow::refused_for_good(&error).is_some() {
                    list().await?;
                }
                failed(session, &mut silent, &error)?;
            }
            None => break,
        }
    }
    if list().await? == Left::Nothing {
        return Ok(Exit::Done);
    }
    while let Some(change) = changes.next().await {
        match change {
            Ok(Event::Apply(_) | Event::Delete(_) | Event::InitDone) => {
                silent = None;
                collect(&mut changes).await;
                session.screen.data("");
                if list().await? == Left::Nothing || !session.screen.is_read() {
                    break;
                }
            }
            Ok(_) => silent = None,
            Err(error) => failed(session, &mut silent, &error)?,
        }
    }
    Ok(Exit::Done)
}

/// Warns that the shown table may be outdated.
fn failed(session: &Session, silent: &mut Option<std::time::Instant>, error: &watcher::Error) -> Result<(), Problem> {
    follow::refused_for_good(error).map_or(Ok(()), Err)?;
    follow::interrupted(&session.screen, silent, error);
    Ok(())
}

/// Collects further changes for a moment, so that they are printed together. The limit keeps constant changes from blocking the output.
async fn collect(changes: &mut (impl Stream + Unpin)) {
    let until = Instant::now() + TOGETHER;
    while let Ok(Some(_)) = timeout_at(until, changes.next()).await {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn changes_that_never_rest_are_printed_all_the_same() {
        let mut busy = futures::stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Some(((), ()))
        })
        .boxed();
        let begun = Instant::now();
        tokio::time::timeout(Duration::from_mins(1), collect(&mut busy)).await.expect("an end");
        assert_eq!(begun.elapsed(), TOGETHER);
        collect(&mut futures::stream::empty::<()>()).await;
    }
}
