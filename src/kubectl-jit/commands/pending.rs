//! `kubectl jit pending`: requests that wait for approval or review.

use clap::Args;
use kube::ResourceExt;

use crate::{
    decide,
    filter::{Filter, Found, Listed},
    flags::Output,
    objects,
    paint::Paint,
    problem::{Exit, Problem},
    read::{Scope, created, requester, state},
    session::Session,
    table::{Column, Table},
    times::short,
    watching::{self, Left},
    words,
};
use api::{Duration, RoleActivationRequest, Stamp, State, request::ReviewState, selectors};
use domain::person;

/// Lists requests that wait for approval or review.
///
/// Oldest first, in all namespaces or in those of -n.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// List all namespaces; the default without -n.
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    #[command(flatten)]
    filter: Filter,
    /// Only requests that wait for your decision.
    #[arg(long)]
    mine_to_decide: bool,
    /// Print the list again after each change, until Ctrl-C.
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
        return watching::watch(session, &options.scope(session), async || list(options, session).await).await;
    }
    list(options, session).await.map(|_| Exit::Done)
}

async fn list(options: &Options, session: &Session) -> Result<Left, Problem> {
    let scope = options.scope(session);
    let me = session.me().await?.stamp.clone();
    let awaiting = selectors::in_state(|state| state == State::AwaitingApproval);
    let (owed, overdue) = (selectors::in_review(ReviewState::Owed), selectors::in_review(ReviewState::Overdue));
    let listed = |fields| Listed { scope: &scope, fields, labels: "", mine: false, called: "request that waits for approval or review" };
    let kept = |request: &RoleActivationRequest| !options.mine_to_decide || may_decide(request, &me);
    let is_waiting = |request: &RoleActivationRequest| state(request) == State::AwaitingApproval && kept(request);
    let (waiting, owed, overdue) = tokio::join!(
        options.filter.requests(session, listed(&awaiting), is_waiting),
        options.filter.requests(session, listed(&owed), kept),
        options.filter.requests(session, listed(&overdue), kept)
    );
    let Found { requests: mut found, unmatched } = waiting?;
    found.extend(owed?.requests.into_iter().chain(overdue?.requests));
    found.sort_by_key(|request| (created(request), request.name_any()));
    let printed = objects::listed(&session.screen, &found, options.output.output)?;
    if let Some(problem) = unmatched.filter(|_| found.is_empty() && !options.watch) {
        return Err(problem);
    }
    if printed {
        return Ok(Left::Something);
    }
    let lengths = lengths(session, &found).await?;
    let mut table = Table::default();
    let times = &session.screen.times;
    for (request, length) in found.iter().zip(lengths) {
        let status = request.status.clone().unwrap_or_default();
        let role = status.role.clone().unwrap_or_default();
        let (needs, paint) = needs(request);
        table.push([
            Column::new("NAMESPACE").of(request.namespace().unwrap_or_default()),
            Column::new("NAME").of(request.name_any()),
            Column::new("USER").of(requester(request)),
            Column::new("ROLE").of(role.name),
            Column::new("FOR").of(length.map_or_else(|| "unknown".to_owned(), |length| length.to_string())),
            Column::new("WAITS").of(short(times.now().duration_since(created(request)))),
            Column::new("NEEDS").free().painted(needs, paint),
            Column::new("RISKS").wide().of(role.risk_summary),
            Column::new("DIGEST").wide().of(status.digest.unwrap_or_default().chars().take(23).collect::<String>()),
            Column::new("JUSTIFICATION").free().of(words::justification(request)),
        ]);
    }
    let whom = if options.mine_to_decide { "no request waits for your decision" } else { "no request waits for approval or review" };
    session.screen.table(&table, options.output.is_wide(), &format!("{whom}{}", scope.description()));
    if let Some(first) = found.iter().find(|request| may_decide(request, &me)) {
        let (name, namespace) = (first.name_any(), first.namespace().unwrap_or_default());
        let what = if state(first) == State::AwaitingApproval { "approve" } else { "review" };
        session.next(&format!("kubectl jit {what} {name} -n {namespace}"));
    }
    Ok(Left::Something)
}

/// The duration of the grant for each of them.
async fn lengths(session: &Session, requests: &[RoleActivationRequest]) -> Result<Vec<Option<Duration>>, Problem> {
    if requests.is_empty() {
        return Ok(Vec::new());
    }
    let (eligibilities, policies) = tokio::join!(session.eligibilities(), session.policies());
    // Without the permission to read them, only the requests are used.
    let (eligibilities, policies) = (eligibilities.unwrap_or_default(), policies.unwrap_or_default());
    let mut lengths = Vec::new();
    for request in requests {
        let eligibility = eligibilities.iter().find(|one| one.name_any() == request.spec.eligibility_ref.name);
        let policy = eligibility.and_then(|one| policies.iter().find(|policy| policy.name_any() == one.spec.policy_ref.name));
        let asked = words::asked(request, eligibility, policy.map(|policy| &policy.spec));
        lengths.push(decide::shortened(session, request, asked).await?);
    }
    Ok(lengths)
}

/// The approval or review that a request waits for, for a column.
fn needs(request: &RoleActivationRequest) -> (String, Paint) {
    let status = request.status.clone().unwrap_or_default();
    if let Some(awaiting) = &status.awaiting {
        return (format!("{}/{} {}", awaiting.have, awaiting.required, person::describe(&awaiting.approvers)), Paint::Waits);
    }
    match &status.review {
        Some(review) if review.state == ReviewState::Overdue => {
            (format!("overdue review by {}", words::people(Some(&review.reviewers))), Paint::Bad)
        }
        Some(review) => (format!("review by {}", words::people(Some(&review.reviewers))), Paint::Waits),
        None => (String::new(), Paint::Plain),
    }
}

/// True for a request of another user that waits for this user's decision. A user whose approval counts already cannot approve again.
fn may_decide(request: &RoleActivationRequest, me: &Stamp) -> bool {
    let status = request.status.clone().unwrap_or_default();
    let asked = match (&status.awaiting, &status.review) {
        (Some(awaiting), _) => {
            let approved = status.approvals.iter().any(|approval| approval.approver.as_str() == me.username.as_str());
            !approved && person::is_listed(me, &awaiting.approvers)
        }
        (None, Some(review)) => person::is_listed(me, &review.reviewers),
        (None, None) => false,
    };
    asked && requester(request) != me.username.as_str()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn request(status: &Value) -> RoleActivationRequest {
        serde_json::from_value(json!({
            "apiVersion": "jitrbac.dev/v1alpha1", "kind": "RoleActivationRequest", "metadata": {"name": "x", "namespace": "shop"},
            "spec": {"eligibilityRef": {"name": "pay"}, "requester": {"username": "dev"}}, "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn f31_what_one_has_approved_waits_for_others() {
        let mut status = json!({"state": "AwaitingApproval", "awaiting": {
            "stage": "leads", "have": 0, "required": 2, "deadline": "2040-01-01T00:00:00Z", "approvers": {"users": ["lead-1", "lead-2", "dev"]}}});
        let as_user = |name: &str| serde_json::from_value::<Stamp>(json!({"username": name})).unwrap();
        let waits_for = |status: &Value, name: &str| may_decide(&request(status), &as_user(name));
        assert!(waits_for(&status, "lead-1") && waits_for(&status, "lead-2"));
        assert!(!waits_for(&status, "dev") && !waits_for(&status, "ann"), "it is their own, or they are not asked");
        status["approvals"] = json!([{"stage": "leads", "approver": "lead-1", "decision": "Approve", "time": "2030-01-01T00:00:00Z"}]);
        assert!(!waits_for(&status, "lead-1") && waits_for(&status, "lead-2"));
    }
}
