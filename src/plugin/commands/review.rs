//! `kubectl jit review NAME`: looks at an emergency afterwards.

use clap::Args;
use kube::ResourceExt;

use crate::{
    api::{Verb, request::ReviewState},
    domain::emergency,
    plugin::{
        decide,
        follow::follow_until,
        manifest,
        problem::{Exit, Problem},
        read::full_name,
        session::Session,
    },
};

const SHOWS_WITHIN: std::time::Duration = std::time::Duration::from_secs(10);

/// Says that an emergency was looked at.
///
/// Until somebody does, its requester gets no other emergency once the review is overdue.
#[derive(Debug, Args)]
pub struct Options {
    /// Names of requests, as NAME or NAMESPACE/NAME.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// What was found; kept with the request.
    #[arg(short, long, required = true, value_name = "TEXT")]
    message: String,
}

/// Reviews them.
pub async fn run(options: &Options, session: &Session) -> Result<Exit, Problem> {
    for request in decide::each(session, &options.names).await? {
        decide::create(session, &manifest::decision(&request, Verb::Review, Some(&options.message))?).await?;
        let (namespace, name) = (request.namespace().unwrap_or_default(), request.name_any());
        let done = |request: &crate::api::RoleActivationRequest| {
            let review = request.status.as_ref().and_then(|status| status.review.as_ref());
            review.is_some_and(|review| review.state == ReviewState::Done)
        };
        let after = follow_until(session, (&namespace, &name), Some(SHOWS_WITHIN), ("reviewed", done), |_, _| ()).await?;
        let review = after.status.as_ref().and_then(|status| status.review.as_ref()).map(emergency::in_words).unwrap_or_default();
        session.screen.data(&session.screen.on_data(&format!("{}: {review}", full_name(&after)), crate::plugin::paint::Paint::Plain));
    }
    Ok(Exit::Done)
}
