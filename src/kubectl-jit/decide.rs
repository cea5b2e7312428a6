//! Decisions: made for exactly the request that was looked at, and followed until they show.

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

/// How long a decision may take to show before somebody is told that it does not.
const SHOWS_WITHIN: std::time::Duration = std::time::Duration::from_secs(20);

/// Creates a decision.
pub async fn create(session: &Session, decision: &ActivationDecision) -> Result<(), Problem> {
    send(session, decision, false).await
}

/// Whether a decision would be accepted, by a server-side dry run: nobody is asked about what is refused afterwards.
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

/// Creates a decision unless an earlier one has the same effect: then it only remains to wait for that.
pub async fn create_unless_settled(session: &Session, decision: &ActivationDecision) -> Result<(), Problem> {
    match create(session, decision).await {
        Err(problem) if problem.reason() == Some(Reason::RequestCompleted) => {
            session.screen.say(&problem.to_string());
            Ok(())
        }
        created => created,
    }
}

/// Waits until a decision that takes access away is carried out. None, and a warning, where it is not after a while.
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
        "the decision on {} is made, and the operator has not carried it out yet: it is still {}; 'kubectl jit check' says more",
        full_name(&ended),
        state(&ended)
    ));
    Ok(None)
}

/// Tells in a line what a request has become, and how the command ends. What may still grant access is no success: the decision
/// stands, but a script must not go on as if it were carried out.
pub fn told(session: &Session, ended: Option<RoleActivationRequest>, done: &str) -> Exit {
    let Some(ended) = ended else { return Exit::TimedOut };
    let why = if done == "revoked" && state(&ended) == State::Denied { ", since it was not granted yet" } else { "" };
    line(session, &format!("{} {done}: {}{why}", full_name(&ended), state(&ended)));
    Exit::Done
}

/// True for a request that is at an end already, which is said: there is nothing to take away.
pub fn is_over(session: &Session, request: &RoleActivationRequest) -> bool {
    let over = state(request).is_terminal();
    if over {
        line(session, &format!("{} is over already: {}", full_name(request), words::outcome(request, &session.screen.times)));
    }
    over
}

fn line(session: &Session, text: &str) {
    session.screen.data(&session.screen.on_data(text, Paint::Plain));
}

/// For how long a request would be granted: `asked`, or less where somebody whose approval counts has shortened it.
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

/// What saying it twice comes to: the same thing again is done already, and anything else about what is decided is an error.
pub fn said_before(session: &Session, request: &RoleActivationRequest, problem: Problem) -> Result<Exit, Problem> {
    match problem.reason() {
        Some(Reason::AlreadyApproved) => {
            session.screen.say(&format!("{}: {problem}", full_name(request)));
            Ok(Exit::Done)
        }
        _ => Err(problem),
    }
}

/// Requests, and the word that is said to each of them.
#[derive(Debug, Args)]
pub struct Word {
    /// Names of requests, as NAME or NAMESPACE/NAME.
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
    /// Why, or what was found; the requester reads it, and it is kept.
    #[arg(short, long, value_name = "TEXT")]
    pub message: Option<String>,
}

/// What is said beside a decision: as given, or as somebody at a terminal answers. Elsewhere it must be given.
pub fn message(session: &Session, given: Option<&str>, question: &str) -> Result<String, Problem> {
    match given.map(str::trim).filter(|text| !text.is_empty()) {
        Some(text) => Ok(text.to_owned()),
        None => prompt::text(&session.screen, question, "a message is required; the requester reads it", "-m/--message"),
    }
}

/// Decides about each, one after the other. Of several, one about which it fails is told and keeps no other one; the exit code says so.
/// Who breaks off breaks off with all of them.
pub async fn about_each(
    session: &Session,
    requests: &[RoleActivationRequest],
    decide: impl AsyncFn(&RoleActivationRequest) -> Result<Exit, Problem>,
) -> Result<Exit, Problem> {
    let mut exit = Exit::Done;
    for request in requests {
        match decide(request).await {
            Ok(one) => exit = exit.and(one),
            Err(problem) if requests.len() > 1 && !matches!(problem, Problem::BrokenOff) => {
                session.screen.error(&format!("{}: {problem}", full_name(request)));
                exit = exit.and(problem.exit());
            }
            Err(problem) => return Err(problem),
        }
    }
    Ok(exit)
}

/// Several requests by name. Of several, one that is not found is told and keeps no other one; the exit code says so.
pub async fn each(session: &Session, names: &[String]) -> Result<(Vec<RoleActivationRequest>, Exit), Problem> {
    let namespace = session.namespace()?;
    let (mut found, mut exit) = (Vec::new(), Exit::Done);
    let mut seen = std::collections::BTreeSet::new();
    for name in names {
        let (place, name) = placed(name, &namespace);
        // A name that is given twice is decided about once.
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
