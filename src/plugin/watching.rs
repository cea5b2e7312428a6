//! Tables that are printed again whenever something changes.

use std::time::Duration;

use futures::{Stream, StreamExt};
use kube::{
    Api,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use tokio::time::{Instant, timeout_at};

use super::{
    problem::{Exit, Problem},
    session::Session,
};
use crate::api::RoleActivationRequest;

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

/// Runs `list` now and whenever a request anywhere changes, until it says that nothing is left or the person breaks off.
pub async fn again_and_again(session: &Session, list: impl AsyncFn() -> Result<Left, Problem>) -> Result<Exit, Problem> {
    tokio::select! {
        ended = until_nothing_is_left(session, list) => ended,
        _ = tokio::signal::ctrl_c() => Ok(Exit::Done),
    }
}

async fn until_nothing_is_left(session: &Session, list: impl AsyncFn() -> Result<Left, Problem>) -> Result<Exit, Problem> {
    let api: Api<RoleActivationRequest> = Api::all(session.client.clone());
    let mut changes = watcher(api, watcher::Config::default()).default_backoff().boxed();
    // The watch stands before the first list, so that nothing falls between the two. Who may not watch is told so by the list.
    while !matches!(changes.next().await, None | Some(Ok(Event::InitDone) | Err(_))) {}
    if list().await? == Left::Nothing {
        return Ok(Exit::Done);
    }
    while let Some(change) = changes.next().await {
        if matches!(change, Ok(Event::Apply(_) | Event::Delete(_) | Event::InitDone)) {
            settle(&mut changes).await;
            session.screen.data("");
            if list().await? == Left::Nothing {
                break;
            }
        }
    }
    Ok(Exit::Done)
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
