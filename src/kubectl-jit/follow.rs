//! Waits for a state of a request, and shows the progress in one line.

use std::time::{Duration, Instant};

use futures::StreamExt;
use kube::{
    ResourceExt,
    runtime::{WatchStreamExt, watcher},
};
use tokio::time::{MissedTickBehavior, interval};

use super::{
    goal::Goal,
    paint::Paint,
    problem::{Exit, Problem},
    read::{full_name, state},
    screen::Screen,
    session::Session,
    times::stopwatch,
    words,
};
use api::{RoleActivationRequest, State};
use kube_io::errors::one_line;

/// Follows a request until `goal` is reached, and returns it. Calls `seen` after each change.
///
/// # Errors
///
/// `limit` is exceeded, the request was deleted, or the API server denies the watch. An interrupted watch is retried.
pub async fn follow(
    session: &Session,
    place: (&str, &str),
    limit: Option<Duration>,
    goal: Goal,
    seen: impl FnMut(&Screen, &RoleActivationRequest),
) -> Result<RoleActivationRequest, Problem> {
    follow_until(session, place, limit, (words::goal(goal), |request| goal.reached(state(request))), seen).await
}

/// The same until a condition holds. `what` describes it in the error of a timeout.
pub async fn follow_until(
    session: &Session,
    (namespace, name): (&str, &str),
    limit: Option<Duration>,
    (what, reached): (&str, impl Fn(&RoleActivationRequest) -> bool),
    mut seen: impl FnMut(&Screen, &RoleActivationRequest),
) -> Result<RoleActivationRequest, Problem> {
    let api = session.api::<RoleActivationRequest>(namespace)?;
    let mut changes = watcher::watch_object(api, name).default_backoff().boxed();
    let begun = Instant::now();
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last: Option<RoleActivationRequest> = None;
    // Set while the API server does not answer.
    let mut silent = None;
    let over = tokio::time::sleep(limit.unwrap_or(Duration::MAX));
    tokio::pin!(over);
    loop {
        tokio::select! {
            biased;
            change = changes.next() => match change {
                Some(Ok(Some(request))) => {
                    silent = None;
                    if last.as_ref().is_none_or(|before| before.resource_version() != request.resource_version()) {
                        seen(&session.screen, &request);
                    }
                    if reached(&request) {
                        session.screen.clear();
                        return Ok(request);
                    }
                    last = Some(request);
                }
                Some(Ok(None)) => return Err(Problem::Absent(format!("request '{namespace}/{name}' no longer exists: it was deleted"))),
                Some(Err(error)) => {
                    refused_for_good(&error).map_or(Ok(()), Err)?;
                    interrupted(&session.screen, &mut silent, &error);
                }
                None => return Err(Problem::Api(format!("cannot watch request '{namespace}/{name}'"))),
            },
            _ = ticks.tick() => {
                let waits = match (&silent, &last) {
                    (Some(_), _) => "for the API server".to_owned(),
                    (None, Some(request)) => words::waits_for(request, &session.screen.times),
                    (None, None) => "for the operator".to_owned(),
                };
                session.screen.progress(&format!("  waiting   {} {waits}", stopwatch(begun.elapsed())));
            }
            () = &mut over => {
                session.screen.clear();
                let found = last.as_ref().map(state).unwrap_or_default();
                let why = last.as_ref().map(words::message).filter(|why| found == State::Pending && !why.is_empty()).map(|why| format!(" ({why})")).unwrap_or_default();
                // Only the operator can change this state.
                let hint = if found == State::Pending { "; 'kubectl jit check' shows whether jit-rbac is healthy" } else { "" };
                let limit = limit.unwrap_or_default();
                return Err(Problem::TimedOut(format!(
                    "request '{namespace}/{name}' is not {what} after {}s: it is still {found}{why}{hint}",
                    limit.as_secs()
                )));
            }
        }
    }
}

/// Warns once for each interruption: the user must not believe that nothing has changed.
pub fn interrupted(screen: &Screen, silent: &mut Option<Instant>, error: &watcher::Error) {
    if silent.is_none() {
        *silent = Some(Instant::now());
        screen.warn(&format!("lost connection to the API server, retrying: {}", why(error)));
    }
}

/// The cause of an interrupted watch, on one line and without secrets.
fn why(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(error) => format!("cannot list: {}", one_line(error)),
        watcher::Error::WatchStartFailed(error) => format!("cannot watch: {}", one_line(error)),
        watcher::Error::WatchError(status) => one_line(&kube::Error::Api(status.clone())),
        watcher::Error::WatchFailed(error) => one_line(error),
        watcher::Error::NoResourceVersion => one_line(error),
    }
}

/// The error of a watch for which a retry is useless.
pub fn refused_for_good(error: &watcher::Error) -> Option<Problem> {
    let no = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status)) | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => {
            matches!(status.code, 401 | 403)
        }
        _ => false,
    };
    no.then(|| Problem::Forbidden(format!("cannot watch requests: {}", why(error))))
}

/// Prints the state of a request, below `activate` and `wait`.
pub fn report(screen: &Screen, request: &RoleActivationRequest) {
    report_as(screen, request, "");
}

/// The same with the name of the request, for several requests.
pub fn report_named(screen: &Screen, request: &RoleActivationRequest) {
    report_as(screen, request, &format!("{}: ", full_name(request)));
}

fn report_as(screen: &Screen, request: &RoleActivationRequest, whose: &str) {
    let Some(status) = &request.status else { return };
    let (mark, paint) = words::mark(state(request));
    let line = match state(request) {
        State::Pending => format!("  {mark} pending   {whose}{}", screen.times.sentence(&words::message(request))),
        State::AwaitingApproval => format!("  {mark} approval  {whose}{}", words::waits_for(request, &screen.times)),
        State::Scheduled => format!("  {mark} scheduled {whose}{}", screen.times.sentence(&words::message(request))),
        _ => return,
    };
    let approvals = status.approvals.iter().map(|approval| {
        let comment = approval.comment.as_ref().map(|comment| format!(": \"{comment}\"")).unwrap_or_default();
        format!("  ✔ {whose}approved by {}{comment}", approval.approver)
    });
    for approval in approvals {
        let approval = screen.on_stderr(&approval, Paint::Good);
        screen.info(&approval);
    }
    let line = screen.on_stderr(&line, paint);
    screen.info(&line);
}

/// The exit code of a shell for a command that Ctrl-C has ended.
const INTERRUPTED: u8 = 130;

/// Prints the requests that remain after the user stopped waiting: they are not withdrawn.
pub async fn cancelled(session: &Session, requests: &[RoleActivationRequest]) -> Exit {
    session.screen.clear();
    for request in requests {
        let (namespace, name) = (request.namespace().unwrap_or_default(), request.name_any());
        let now = tokio::select! {
            now = session.request(&namespace, &name) => now.unwrap_or_else(|_| request.clone()),
            // The second Ctrl-C ends the command at once.
            _ = tokio::signal::ctrl_c() => request.clone(),
        };
        let what = if state(&now) == State::Active { "deactivate it" } else { "withdraw it" };
        let line = format!("{} is still {}; to {what}: kubectl jit deactivate {name} -n {namespace}", full_name(&now), state(&now));
        let over = format!("{} has ended: {}", full_name(&now), words::outcome(&now, &session.screen.times));
        session.screen.info(if state(&now).is_terminal() { &over } else { &line });
    }
    Exit::Of(INTERRUPTED)
}

/// Prints the outcome of a request.
pub fn result(session: &Session, request: &RoleActivationRequest) {
    let screen = &session.screen;
    let (mark, paint) = words::mark(state(request));
    let line = screen.on_stderr(&format!("{mark} {}: {}", full_name(request), words::outcome(request, &screen.times)), paint);
    screen.info(&line);
}

/// The same with the next command.
pub fn outcome(session: &Session, request: &RoleActivationRequest) {
    result(session, request);
    if let Some(next) = words::next(request) {
        session.next(&next);
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn an_interruption_is_one_line() {
        let answer = || Box::new(Status::failure("roles is forbidden\nfor you", "Forbidden").with_code(403));
        let listed = watcher::Error::InitialListFailed(kube::Error::Api(answer()));
        assert_eq!(why(&listed), "cannot list: roles is forbidden\u{fffd}for you (403)");
        assert_eq!(why(&watcher::Error::WatchError(answer())), "roles is forbidden\u{fffd}for you (403)");
    }
}
