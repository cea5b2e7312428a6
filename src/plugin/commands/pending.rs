//! `kubectl jit pending`: what waits for people.

use clap::Args;
use kube::ResourceExt;

use crate::{
    api::{RoleActivationRequest, Stamp, State, request::ReviewState, selectors},
    domain::person,
    plugin::{
        flags::Output,
        objects,
        paint::Paint,
        problem::{Exit, Problem},
        read::{Scope, created, requester, state},
        session::{Me, Session},
        table::{Cell, Column, Table},
        times::short,
        watching::{self, Left},
        words,
    },
};

/// Lists what waits for approval or review.
///
/// Oldest first, in every namespace or in those of -n.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// In all namespaces, which is what happens without -n.
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Only what you may decide now.
    #[arg(long)]
    mine_to_decide: bool,
    /// Print it again whenever it changes, until Ctrl-C.
    #[arg(short, long)]
    watch: bool,
    #[command(flatten)]
    output: Output,
}

impl Options {
    fn scope(&self, session: &Session) -> Scope {
        if self.all_namespaces { Scope::All } else { Scope::wherever(session) }
    }
}

/// Lists them.
pub async fn run(options: &Options, session: &Session) -> Result<Exit, Problem> {
    if options.watch {
        return watching::again_and_again(session, &options.scope(session), async || list(options, session).await).await;
    }
    list(options, session).await.map(|_| Exit::Done)
}

async fn list(options: &Options, session: &Session) -> Result<Left, Problem> {
    let scope = options.scope(session);
    let awaiting = selectors::in_state(|state| state == State::AwaitingApproval);
    let owed = |review: ReviewState| format!("status.review.state={}", review.as_str());
    let (owed, overdue) = (owed(ReviewState::Owed), owed(ReviewState::Overdue));
    let (waiting, owed, overdue) =
        tokio::join!(session.requests(&scope, &awaiting), session.requests(&scope, &owed), session.requests(&scope, &overdue));
    let mut found: Vec<RoleActivationRequest> = waiting?.into_iter().filter(|request| state(request) == State::AwaitingApproval).collect();
    found.extend(owed?.into_iter().chain(overdue?));
    found.sort_by_key(|request| (created(request), request.name_any()));
    if options.mine_to_decide {
        let me = &session.me().await?.stamp;
        found.retain(|request| may_decide(request, me));
    }
    if objects::listed(&session.screen, &found, options.output.output)? {
        return Ok(Left::Something);
    }
    let mut table = Table::new([
        Column::new("NAMESPACE"),
        Column::new("NAME"),
        Column::new("USER"),
        Column::new("ROLE"),
        Column::new("FOR"),
        Column::new("WAITS"),
        Column::new("NEEDS").free(),
        Column::new("RISKS").wide(),
        Column::new("DIGEST").wide(),
        Column::new("JUSTIFICATION").free(),
    ]);
    let times = &session.screen.times;
    for request in &found {
        let status = request.status.clone().unwrap_or_default();
        let role = status.role.clone().unwrap_or_default();
        let (needs, paint) = needs(request);
        table.push([
            request.namespace().unwrap_or_default().into(),
            request.name_any().into(),
            requester(request).into(),
            role.name.into(),
            request.spec.duration.map_or_else(|| "default".to_owned(), |length| length.to_string()).into(),
            short(times.now().signed_duration_since(created(request))).into(),
            Cell::painted(needs, paint),
            role.risk_summary.into(),
            status.digest.unwrap_or_default().chars().take(23).collect::<String>().into(),
            words::justification(request).into(),
        ]);
    }
    let whom = if options.mine_to_decide { "nothing waits for you" } else { "nothing waits for anybody" };
    session.screen.table(&table, options.output.is_wide(), &format!("{whom}{}", scope.in_words()));
    // Nobody is asked about his own.
    let me = if found.is_empty() { None } else { session.me().await.ok().map(Me::name) };
    if let Some(first) = found.iter().find(|request| state(request) == State::AwaitingApproval && Some(requester(request)) != me) {
        session.next(&format!("kubectl jit approve {} -n {}", first.name_any(), first.namespace().unwrap_or_default()));
    }
    Ok(Left::Something)
}

/// What a request waits for, in a few words.
fn needs(request: &RoleActivationRequest) -> (String, Paint) {
    let status = request.status.clone().unwrap_or_default();
    if let Some(awaiting) = &status.awaiting {
        return (format!("{}/{} {}", awaiting.have, awaiting.required, person::in_words(&awaiting.approvers)), Paint::Waits);
    }
    match &status.review {
        Some(review) if review.state == ReviewState::Overdue => {
            (format!("overdue review by {}", words::people(Some(&review.reviewers))), Paint::Bad)
        }
        Some(review) => (format!("review by {}", words::people(Some(&review.reviewers))), Paint::Waits),
        None => (String::new(), Paint::Plain),
    }
}

/// True for somebody else's request that this person is asked about.
fn may_decide(request: &RoleActivationRequest, me: &Stamp) -> bool {
    let status = request.status.clone().unwrap_or_default();
    let asked = match (&status.awaiting, &status.review) {
        (Some(awaiting), _) => person::is_listed(me, &awaiting.approvers),
        (None, Some(review)) => person::is_listed(me, &review.reviewers),
        (None, None) => false,
    };
    asked && requester(request) != me.username.as_str()
}
