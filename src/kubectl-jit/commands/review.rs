//! `kubectl jit review NAME`: records the review of an emergency activation.

use clap::Args;
use kube::ResourceExt;

use crate::{
    decide::{self, Targets},
    follow::follow_until,
    manifest,
    paint::Paint,
    problem::{Exit, Problem},
    read::full_name,
    session::Session,
};
use api::{
    RoleActivationRequest, Verb,
    request::{ReviewState, ReviewStatus},
};
use domain::emergency;

const SHOWS_WITHIN: std::time::Duration = std::time::Duration::from_secs(10);

/// Records the review of an emergency activation.
///
/// While a review is overdue, its requester cannot make another emergency request.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    targets: Targets,
}

/// Records the reviews.
pub async fn run(options: &Options, session: &Session) -> Result<Exit, Problem> {
    let Targets { names, message } = &options.targets;
    let (requests, missing) = decide::each(session, names).await?;
    let reviewed = decide::about_each(session, &requests, async |request| {
        let message = decide::message(session, message.as_deref(), &format!("What did the review of {} find?", full_name(request)))?;
        decide::create_unless_settled(session, &manifest::decision(request, Verb::Review, Some(&message))?).await?;
        let (namespace, name) = (request.namespace().unwrap_or_default(), request.name_any());
        let after = follow_until(session, (&namespace, &name), Some(SHOWS_WITHIN), ("reviewed", is_done), |_, _| ()).await?;
        let review = review(&after).map(emergency::describe).unwrap_or_default();
        session.screen.data(&session.screen.on_stdout(&format!("{}: {review}", full_name(&after)), Paint::Plain));
        Ok(Exit::Done)
    });
    reviewed.await.map(|exit| missing.and(exit))
}

fn review(request: &RoleActivationRequest) -> Option<&ReviewStatus> {
    request.status.as_ref()?.review.as_ref()
}

fn is_done(request: &RoleActivationRequest) -> bool {
    review(request).is_some_and(|review| review.state == ReviewState::Done)
}
