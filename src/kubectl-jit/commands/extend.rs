//! `kubectl jit extend NAME`: extends an activation without a gap.

use clap::Args;
use kube::ResourceExt;

use super::activate::{self, Waiting};
use crate::{
    chains,
    flags::Output,
    manifest,
    problem::{Exit, Problem},
    read::{Scope, full_name, placed, state},
    session::Session,
};
use api::{RoleActivationRequest, State, request::Extends};

/// Extends one of your activations.
///
/// The extension is a separate request under the same policy. It starts when the extended one ends, which stays active while the extension
/// waits for approval.
#[derive(Debug, Args)]
pub struct Options {
    /// Name of the request, as NAME or NAMESPACE/NAME; without one, your only active one in the namespace.
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Additional duration; defaults to that of the eligibility.
    #[arg(short, long, value_name = "TIME")]
    duration: Option<api::Duration>,
    /// The justification; defaults to that of the extended request.
    #[arg(short, long, value_name = "TEXT")]
    reason: Option<String>,
    /// The ticket; defaults to that of the extended request.
    #[arg(long, value_name = "TICKET")]
    ticket: Option<String>,
    #[command(flatten)]
    waiting: Waiting,
    #[command(flatten)]
    output: Output,
}

/// Creates the extension.
pub async fn run(options: &Options, session: &mut Session) -> Result<Exit, Problem> {
    let base = match &options.name {
        Some(name) => {
            let (namespace, name) = placed(name, &session.namespace()?);
            last_of(session, session.request(&namespace, name).await?).await?
        }
        None => only_active(session).await?,
    };
    let values = manifest::RequestValues {
        duration: options.duration,
        reason: options.reason.clone(),
        ticket: options.ticket.clone(),
        ..manifest::RequestValues::default()
    };
    let who = session.me().await?.name().to_owned();
    let mut next = manifest::request(&base.spec.eligibility_ref.name, &base.namespace().unwrap_or_default(), &who, &values)?;
    next.spec.extends = Some(Extends { name: base.name_any() });
    next.spec.justification = next.spec.justification.take().or_else(|| base.spec.justification.clone());
    next.spec.ticket = next.spec.ticket.take().or_else(|| base.spec.ticket.clone());
    let made = activate::create(session, &next, false).await?;
    activate::follow_up(session, &[made], options.waiting, options.output).await
}

/// Only the last request of a chain can be extended: for a request that is already extended, its extension.
async fn last_of(session: &Session, named: RoleActivationRequest) -> Result<RoleActivationRequest, Problem> {
    let Some(last) = session.extensions_of(&named, true).await?.pop() else { return Ok(named) };
    session.screen.info(&format!("{} is already extended by {}; extending that one", full_name(&named), full_name(&last)));
    Ok(last)
}

async fn only_active(session: &Session) -> Result<RoleActivationRequest, Problem> {
    let scope = Scope::In(session.namespaces());
    let mut active = session.my_requests(&scope, &api::selectors::in_state(|state| state == State::Active)).await?;
    active.retain(|request| state(request) == State::Active);
    let mut chains = chains::folded(&active);
    match (chains.pop(), chains.is_empty()) {
        (Some(only), true) => Ok(only.last().clone()),
        (None, _) => Err(Problem::Absent(format!("you have no active request{}", scope.description()))),
        (Some(one), false) => {
            let names: Vec<String> = chains.iter().chain([&one]).map(|chain| full_name(chain.last())).collect();
            Err(Problem::Usage(format!("more than one is active: {}; name one", names.join(", "))))
        }
    }
}
