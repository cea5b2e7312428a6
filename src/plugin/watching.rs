//! Tables that are printed again whenever something changes.

use futures::StreamExt;
use kube::{
    Api,
    runtime::{WatchStreamExt, watcher},
};
use std::time::Duration;

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
    let api: Api<RoleActivationRequest> = Api::all(session.client.clone());
    let mut changes = watcher(api, watcher::Config::default()).default_backoff().boxed();
    if list().await? == Left::Nothing {
        return Ok(Exit::Done);
    }
    loop {
        tokio::select! {
            change = changes.next() => match change {
                Some(Ok(watcher::Event::Apply(_) | watcher::Event::Delete(_))) => {
                    // What comes close behind it is printed with it.
                    while let Ok(Some(_)) = tokio::time::timeout(TOGETHER, changes.next()).await {}
                    session.screen.data("");
                    if list().await? == Left::Nothing {
                        return Ok(Exit::Done);
                    }
                }
                Some(_) => {}
                None => return Ok(Exit::Done),
            },
            _ = tokio::signal::ctrl_c() => return Ok(Exit::Done),
        }
    }
}
