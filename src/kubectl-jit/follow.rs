//! Waiting for a request to come to something, with what happens meanwhile in one line that changes.

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

/// Follows a request until `goal`, and returns it as it was then. `seen` hears of it whenever it has changed.
///
/// # Errors
///
/// It took longer than `limit`, it was deleted, or the API server says no. A watch that breaks off goes on by itself.
pub async fn follow(
    session: &Session,
    place: (&str, &str),
    limit: Option<Duration>,
    goal: Goal,
    seen: impl FnMut(&Screen, &RoleActivationRequest),
) -> Result<RoleActivationRequest, Problem> {
    follow_until(session, place, limit, (words::goal(goal), |request| goal.reached(state(request))), seen).await
}

/// The same until something else holds, which is said in words for who waits in vain.
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
    // Since when the API server has not answered.
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
                Some(Ok(None)) => return Err(Problem::Absent(format!("request '{namespace}/{name}' is not there any more: somebody deleted it"))),
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
                // Nobody but the operator can bring it further then.
                let hint = if found == State::Pending { "; 'kubectl jit check' says whether jit-rbac works" } else { "" };
                let limit = limit.unwrap_or_default();
                return Err(Problem::TimedOut(format!(
                    "request '{namespace}/{name}' is not {what} after {}s: it is still {found}{why}{hint}",
                    limit.as_secs()
                )));
            }
        }
    }
}

/// Says once, and again only after it has answered, that the API server does not: who waits must not believe that nothing happens.
pub fn interrupted(screen: &Screen, silent: &mut Option<Instant>, error: &watcher::Error) {
    if silent.is_none() {
        *silent = Some(Instant::now());
        screen.warn(&format!("the API server does not say what happens, and is asked again and again: {}", why(error)));
    }
}

/// Why a watch is interrupted, on one line and without secrets.
fn why(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(error) => format!("cannot list: {}", one_line(error)),
        watcher::Error::WatchStartFailed(error) => format!("cannot watch: {}", one_line(error)),
        watcher::Error::WatchError(status) => one_line(&kube::Error::Api(status.clone())),
        watcher::Error::WatchFailed(error) => one_line(error),
        watcher::Error::NoResourceVersion => one_line(error),
    }
}

/// What no other attempt changes.
pub fn refused_for_good(error: &watcher::Error) -> Option<Problem> {
    let no = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status)) | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => {
            matches!(status.code, 401 | 403)
        }
        _ => false,
    };
    no.then(|| Problem::Forbidden(format!("cannot watch requests: {}", why(error))))
}

/// One line for a state that a request has come to, as it stands below `activate` and `wait`.
pub fn told(screen: &Screen, request: &RoleActivationRequest) {
    told_of(screen, request, "");
}

/// The same where several are waited for: it says of which.
pub fn told_of_several(screen: &Screen, request: &RoleActivationRequest) {
    told_of(screen, request, &format!("{}: ", full_name(request)));
}

fn told_of(screen: &Screen, request: &RoleActivationRequest, whose: &str) {
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
        let approval = screen.beside(&approval, Paint::Good);
        screen.say(&approval);
    }
    let line = screen.beside(&line, paint);
    screen.say(&line);
}

/// How a shell ends what Ctrl-C has ended.
const INTERRUPTED: u8 = 130;

/// Says what remains where somebody waits no longer: the requests stay, and approvers go on being asked.
pub async fn broken_off(session: &Session, requests: &[RoleActivationRequest]) -> Exit {
    session.screen.clear();
    for request in requests {
        let (namespace, name) = (request.namespace().unwrap_or_default(), request.name_any());
        let now = tokio::select! {
            now = session.request(&namespace, &name) => now.unwrap_or_else(|_| request.clone()),
            // Whoever says it twice does not wait for an answer.
            _ = tokio::signal::ctrl_c() => request.clone(),
        };
        let what = if state(&now) == State::Active { "deactivate it" } else { "withdraw it" };
        let line = format!("{} is still {}; to {what}: kubectl jit deactivate {name} -n {namespace}", full_name(&now), state(&now));
        let over = format!("{} has ended: {}", full_name(&now), words::outcome(&now, &session.screen.times));
        session.screen.say(if state(&now).is_terminal() { &over } else { &line });
    }
    Exit::Of(INTERRUPTED)
}

/// What a request came to, in a line.
pub fn result(session: &Session, request: &RoleActivationRequest) {
    let screen = &session.screen;
    let (mark, paint) = words::mark(state(request));
    let line = screen.beside(&format!("{mark} {}: {}", full_name(request), words::outcome(request, &screen.times)), paint);
    screen.say(&line);
}

/// The same, and the one command that comes next.
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
