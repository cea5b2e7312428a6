//! Creates decisions for exactly the request that was shown, and waits for their effect.

use clap::Args;
use kube::{Api, ResourceExt, api::PostParams};

use super::{
    follow::follow,
    goal::Goal,
    manifest,
    paint::Paint,
    problem::{Exit, Problem},
    prompt,
    read::{full_name, placed, state},
    session::Session,
    words,
};
use api::{ActivationDecision, Duration, Reason, RoleActivationRequest, State, Verb, names::PLUGIN_FIELD_MANAGER};

/// How long to wait for the effect of a decision before a warning.
const SHOWS_WITHIN: std::time::Duration = std::time::Duration::from_secs(20);

/// Creates a decision.
pub async fn create(session: &Session, decision: &ActivationDecision) -> Result<(), Problem> {
    send(session, decision, false).await
}

/// Checks with a server-side dry run whether a decision would be accepted, before the user is prompted.
pub async fn would_be_accepted(session: &Session, decision: &ActivationDecision) -> Result<(), Problem> {
    send(session, decision, true).await
}

async fn send(session: &Session, decision: &ActivationDecision, dry_run: bool) -> Result<(), Problem> {
    let namespace = decision.namespace().unwrap_or_default();
    let api: Api<ActivationDecision> = session.api(&namespace)?;
    let how = PostParams { dry_run, field_manager: Some(PLUGIN_FIELD_MANAGER.to_owned()) };
    let what = format!("{} '{namespace}/{}'", decision.spec.decision.as_str().to_lowercase(), decision.spec.request_ref.name);
    let stored = api.create(&how, decision).await.map_err(|error| Problem::of(&what, &error))?;
    manifest::is_stored_decision(decision, &stored)
}

/// Creates a decision. Succeeds as well if an earlier one has completed the request.
pub async fn create_unless_settled(session: &Session, decision: &ActivationDecision) -> Result<(), Problem> {
    match create(session, decision).await {
        Err(problem) if problem.reason() == Some(Reason::RequestCompleted) => {
            session.screen.info(&problem.to_string());
            Ok(())
        }
        created => created,
    }
}

/// Waits until a decision has ended the access. Returns None, after a warning, if it has not within a limit.
pub async fn until_ended(session: &Session, request: &RoleActivationRequest) -> Result<Option<RoleActivationRequest>, Problem> {
    let (namespace, name) = (request.namespace().unwrap_or_default(), request.name_any());
    let ended = match follow(session, (&namespace, &name), Some(SHOWS_WITHIN), Goal::Ended, |_, _| ()).await {
        Err(Problem::TimedOut(_)) => session.request(&namespace, &name).await?,
        ended => ended?,
    };
    if state(&ended).is_terminal() {
        return Ok(Some(ended));
    }
    session.screen.warn(&format!(
        "the decision on {} is stored, but the operator has not acted on it yet: the request is still {}; 'kubectl jit check' shows more",
        full_name(&ended),
        state(&ended)
    ));
    Ok(None)
}

/// Prints the final state of a request, and returns the exit code. A request that may still grant access is not a success: the decision is
/// stored, but a script must not continue as if it were in effect.
pub fn report(session: &Session, completed: Option<RoleActivationRequest>, verb: Verb) -> Exit {
    let Some(completed) = completed else { return Exit::TimedOut };
    let why = if verb == Verb::Revoke && state(&completed) == State::Denied { ", since it was not granted yet" } else { "" };
    line(session, &format!("{}{why}", words::completed(&completed)));
    Exit::Done
}

/// True for a completed request, which is reported: there is no access to end.
pub fn is_over(session: &Session, request: &RoleActivationRequest) -> bool {
    let over = state(request).is_terminal();
    if over {
        line(session, &format!("{} has already completed: {}", full_name(request), words::outcome(request, &session.screen.times)));
    }
    over
}

fn line(session: &Session, text: &str) {
    session.screen.data(&session.screen.on_stdout(text, Paint::Plain));
}

/// The duration of the grant: `asked`, or less if an approval that counts has shortened it.
pub async fn shortened(session: &Session, request: &RoleActivationRequest, asked: Option<Duration>) -> Result<Option<Duration>, Problem> {
    let Some(status) = request.status.as_ref().filter(|status| !status.approvals.is_empty()) else { return Ok(asked) };
    let decisions = session.decisions(&request.namespace().unwrap_or_default(), &request.name_any()).await?;
    let counts = |decision: &&ActivationDecision| {
        let who = decision.spec.decider.as_ref().map(|stamp| stamp.username.as_str());
        decision.spec.decision == Verb::Approve
            && decision.spec.request_ref.uid == request.uid()
            && status.approvals.iter().any(|approval| Some(approval.approver.as_str()) == who)
    };
    Ok(decisions.iter().filter(counts).filter_map(|decision| decision.spec.duration).chain(asked).min())
}

/// Treats a repeated approval as success; every other denial is an error.
pub fn repeated(session: &Session, request: &RoleActivationRequest, problem: Problem) -> Result<Exit, Problem> {
    match problem.reason() {
        Some(Reason::AlreadyApproved) => {
            session.screen.info(&format!("{}: {problem}", full_name(request)));
            Ok(Exit::Done)
        }
        _ => Err(problem),
    }
}

/// Requests, and the message of the decision on each of them.
#[derive(Debug, Args)]
pub struct Targets {
    /// Names of requests, as NAME or NAMESPACE/NAME.
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
    /// The reason or the finding; it is recorded, and the requester can read it.
    #[arg(short, long, value_name = "TEXT")]
    pub message: Option<String>,
}

/// The message of a decision: as given, or prompted for on a terminal. Required elsewhere.
pub fn message(session: &Session, given: Option<&str>, question: &str) -> Result<String, Problem> {
    match given.map(str::trim).filter(|text| !text.is_empty()) {
        Some(text) => Ok(text.to_owned()),
        None => prompt::text(&session.screen, question, "a message is required; the requester reads it", "-m/--message"),
    }
}

/// Decides on each request, one after the other. With several, a failure is reported and does not stop the others; it sets the exit code.
/// Cancelling stops all.
pub async fn about_each(
    session: &Session,
    requests: &[RoleActivationRequest],
    decide: impl AsyncFn(&RoleActivationRequest) -> Result<Exit, Problem>,
) -> Result<Exit, Problem> {
    let mut exit = Exit::Done;
    for request in requests {
        match decide(request).await {
            Ok(one) => exit = exit.and(one),
            Err(problem) if requests.len() > 1 && !matches!(problem, Problem::Cancelled) => {
                session.screen.error(&format!("{}: {problem}", full_name(request)));
                exit = exit.and(problem.exit());
            }
            Err(problem) => return Err(problem),
        }
    }
    Ok(exit)
}

/// Reads several requests by name. With several, a missing one is reported and does not stop the others; it sets the exit code.
pub async fn each(session: &Session, names: &[String]) -> Result<(Vec<RoleActivationRequest>, Exit), Problem> {
    let namespace = session.namespace()?;
    let (mut found, mut exit) = (Vec::new(), Exit::Done);
    let mut seen = std::collections::BTreeSet::new();
    for name in names {
        let (place, name) = placed(name, &namespace);
        // A repeated name is handled once.
        if !seen.insert((place.clone(), name.to_owned())) {
            continue;
        }
        match session.request(&place, name).await {
            Ok(request) => found.push(request),
            Err(problem) if names.len() > 1 => {
                session.screen.error(&problem.to_string());
                exit = exit.and(problem.exit());
            }
            Err(problem) => return Err(problem),
        }
    }
    Ok((found, exit))
}
