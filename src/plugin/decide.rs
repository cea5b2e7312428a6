//! Decisions: made for exactly the request that was looked at, and followed until they show.

use std::time::Duration;

use clap::Args;
use kube::{Api, ResourceExt, api::PostParams};

use super::{
    commands::FIELD_MANAGER,
    follow::{Goal, follow},
    problem::{Exit, Problem},
    read::{full_name, state},
    session::Session,
};
use crate::api::{ActivationDecision, Reason, RoleActivationRequest};

/// How long a decision may take to show before somebody is told that it does not.
const SHOWS_WITHIN: Duration = Duration::from_secs(20);

/// Creates a decision.
pub async fn create(session: &Session, decision: &ActivationDecision) -> Result<(), Problem> {
    let namespace = decision.namespace().unwrap_or_default();
    let api: Api<ActivationDecision> = session.api(&namespace)?;
    let how = PostParams { dry_run: false, field_manager: Some(FIELD_MANAGER.to_owned()) };
    let what = format!("{} '{namespace}/{}'", decision.spec.decision.as_str().to_lowercase(), decision.spec.request_ref.name);
    api.create(&how, decision).await.map(|_| ()).map_err(|error| Problem::of(&what, &error))
}

/// Waits until a request is at its end. That it takes longer than usual is said, and is no failure: the decision stands.
pub async fn until_ended(session: &Session, request: &RoleActivationRequest) -> Result<RoleActivationRequest, Problem> {
    let (namespace, name) = (request.namespace().unwrap_or_default(), request.name_any());
    let ended = follow(session, (&namespace, &name), Some(SHOWS_WITHIN), Goal::Ended, |_, _| ()).await;
    match ended {
        Err(Problem::TimedOut(_)) => {
            session.screen.warn(&format!(
                "the decision on {} is made, and the operator has not carried it out yet: 'kubectl jit check' says more",
                full_name(request)
            ));
            session.request(&namespace, &name).await
        }
        ended => ended,
    }
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
    #[arg(short, long, required = true, value_name = "TEXT")]
    pub message: String,
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

/// Several requests by name.
pub async fn each(session: &Session, names: &[String]) -> Result<Vec<RoleActivationRequest>, Problem> {
    let namespace = session.namespace()?;
    let mut found = Vec::new();
    for name in names {
        // As tables and messages name it.
        let (place, name) = match name.split_once('/') {
            Some((place, name)) if super::read::plain_name(&format!("{place}/{name}")).contains('/') => (place.to_owned(), name),
            _ => (namespace.clone(), name.as_str()),
        };
        found.push(session.request(&place, name).await?);
    }
    Ok(found)
}

/// Tells in a line what a request has become.
pub fn told(session: &Session, request: &RoleActivationRequest, done: &str) {
    session.screen.data(&session.screen.on_data(&format!("{} {done}: {}", full_name(request), state(request)), super::paint::Paint::Plain));
}
