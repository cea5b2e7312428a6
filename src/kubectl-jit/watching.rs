//! Tables that are printed again whenever something changes.

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

/// Changes within this time are one.
const TOGETHER: Duration = Duration::from_millis(300);

/// Whether there is something left to watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// There is.
    Something,
    /// There is not.
    Nothing,
}

/// Runs `list` now and whenever a request of `scope` changes, until it says that nothing is left, nobody reads it any more or the person
/// breaks off.
pub async fn again_and_again(session: &Session, scope: &Scope, list: impl AsyncFn() -> Result<Left, Problem>) -> Result<Exit, Problem> {
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
    // The watches stand before the first list, so that nothing falls between the two.
    let mut standing = 0;
    while standing < watches {
        match changes.next().await {
            Some(Ok(Event::InitDone)) => standing += 1,
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                // Who may not even list is told so by the list, in its words.
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
                settle(&mut changes).await;
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

/// What is shown is of before, and whoever looks at it must know.
fn failed(session: &Session, silent: &mut Option<std::time::Instant>, error: &watcher::Error) -> Result<(), Problem> {
    follow::refused_for_good(error).map_or(Ok(()), Err)?;
    follow::interrupted(&session.screen, silent, error);
    Ok(())
}

/// Takes what comes close behind a change, which is printed with it. Where there is always something, that must not go on for ever.
async fn settle(changes: &mut (impl Stream + Unpin)) {
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
        tokio::time::timeout(Duration::from_mins(1), settle(&mut busy)).await.expect("an end");
        assert_eq!(begun.elapsed(), TOGETHER);
        settle(&mut futures::stream::empty::<()>()).await;
    }
}
