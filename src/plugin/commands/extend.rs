//! `kubectl jit extend NAME`: more time without a gap.

use clap::Args;
use kube::ResourceExt;

use super::activate::{self, Waiting};
use crate::{
    api::{self, RoleActivationRequest, State, request::Extends},
    plugin::{
        flags::Output,
        manifest,
        problem::{Exit, Problem},
        read::{Scope, full_name, placed, state},
        session::Session,
    },
};

/// Asks for more time for an activation of yours.
///
/// It is a request of its own under the same policy, and goes on where the other one ends; where approval is needed, the other one runs
/// meanwhile.
#[derive(Debug, Args)]
pub struct Options {
    /// Name of the request, as NAME or NAMESPACE/NAME; without one, your only active one in the namespace.
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// For how much longer; by default as the eligibility says.
    #[arg(short, long, value_name = "TIME")]
    duration: Option<api::Duration>,
    /// Why; by default as before.
    #[arg(short, long, value_name = "TEXT")]
    reason: Option<String>,
    /// The ticket; by default as before.
    #[arg(long, value_name = "TICKET")]
    ticket: Option<String>,
    #[command(flatten)]
    waiting: Waiting,
    #[command(flatten)]
    output: Output,
}

/// Asks for it.
pub async fn run(options: &Options, session: &mut Session) -> Result<Exit, Problem> {
    let base = match &options.name {
        Some(name) => {
            let (namespace, name) = placed(name, &session.namespace()?);
            session.request(&namespace, name).await?
        }
        None => only_active(session).await?,
    };
    let said = manifest::Said {
        duration: options.duration,
        reason: options.reason.clone(),
        ticket: options.ticket.clone(),
        ..manifest::Said::default()
    };
    let who = session.me().await?.name().to_owned();
    let mut next = manifest::request(&base.spec.eligibility_ref.name, &base.namespace().unwrap_or_default(), &who, &said)?;
    next.spec.extends = Some(Extends { name: base.name_any() });
    next.spec.justification = next.spec.justification.take().or_else(|| base.spec.justification.clone());
    next.spec.ticket = next.spec.ticket.take().or_else(|| base.spec.ticket.clone());
    let made = activate::create(session, &next, false).await?;
    activate::follow_up(session, &[made], options.waiting, options.output).await
}

async fn only_active(session: &Session) -> Result<RoleActivationRequest, Problem> {
    let scope = Scope::In(session.namespaces());
    let mut active = session.my_requests(&scope, &api::selectors::in_state(|state| state == State::Active)).await?;
    active.retain(|request| state(request) == State::Active);
    // The end of a chain is what can be prolonged.
    let prolonged: Vec<String> = active.iter().filter_map(|request| request.spec.base().map(ToOwned::to_owned)).collect();
    active.retain(|request| !prolonged.contains(&request.name_any()));
    match active.len() {
        1 => Ok(active.remove(0)),
        0 => Err(Problem::Absent(format!("nothing of yours is active{}", scope.in_words()))),
        _ => Err(Problem::Usage(format!("there are several: {}; name one", active.iter().map(full_name).collect::<Vec<_>>().join(", ")))),
    }
}
