//! `kubectl jit roles`: the user's eligibilities.

use clap::Args;
use kube::ResourceExt;

use crate::{
    flags::Output,
    objects,
    paint::Paint,
    problem::{Exit, Problem},
    read::{Scope, eligibility_facts, state},
    session::{Me, Session},
    table::{Column, Table},
    words,
};
use api::{ApprovalPolicy, Reason, RoleActivationRequest, RoleEligibility, State, eligibility::RoleKind, selectors};
use domain::{eligibility, person};

/// The maximum number of namespaces in a row.
const NAMED: usize = 3;

/// Lists your eligibilities.
///
/// All that name you or one of your groups; with -n only those that can be activated there.
#[derive(Debug, Args)]
pub struct Options {
    /// Include eligibilities of others; their STATE is NotEligible.
    #[arg(short = 'A', long)]
    all: bool,
    /// Print the rules of each role below it.
    #[arg(long)]
    show_rules: bool,
    #[command(flatten)]
    output: Output,
}

/// Lists the eligibilities.
pub async fn run(options: &Options, session: &Session) -> Result<Exit, Problem> {
    let (me, eligibilities, policies, mine) =
        tokio::join!(session.me(), session.eligibilities(), session.policies(), requests_of_mine(options, session));
    let (me, mut eligibilities, policies) = (me?, eligibilities?, policies?);
    let wanted = session.flags.namespaces.clone();
    eligibilities.retain(|eligibility| options.all || is_mine(me, eligibility));
    let (mut eligibilities, elsewhere): (Vec<_>, Vec<_>) =
        eligibilities.into_iter().partition(|eligibility| wanted.iter().all(|name| may_cover(eligibility, name)));
    eligibilities.sort_by_key(ResourceExt::name_any);
    if objects::listed(&session.screen, &eligibilities, options.output.output)? {
        return Ok(Exit::Done);
    }
    let mut table = Table::default();
    let now = session.screen.times.now();
    for eligibility in &eligibilities {
        let spec = &eligibility.spec;
        let policy = policies.iter().find(|policy| policy.name_any() == spec.policy_ref.name);
        let (said, paint) = standing(me, eligibility, policy, &mine, now);
        table.push([
            Column::new("NAME").of(eligibility.name_any()),
            Column::new("ROLE").of(words::role_column(&spec.role_ref)),
            Column::new("NAMESPACES").free().of(words::scope(eligibility, NAMED)),
            Column::new("MAX").of(words::longest(eligibility, policy.map(|policy| &policy.spec)).to_string()),
            Column::new("APPROVAL").free().of(policy.map(|policy| words::approval(&policy.spec)).unwrap_or_default()),
            Column::new("REQUIRES").of(policy.map(|policy| words::requires(&policy.spec)).unwrap_or_default()),
            Column::new("STATE").painted(said, paint),
            Column::new("ENDS").wide().of(spec.end_time.map(|at| session.screen.times.clock(at)).unwrap_or_default()),
            Column::new("RISKS").wide().of(words::risks(eligibility)),
            Column::new("DESCRIPTION").wide().free().of(spec.description.as_ref().map(ToString::to_string).unwrap_or_default()),
        ]);
    }
    session.screen.table(&table, options.output.is_wide(), &nothing(options, &wanted, &elsewhere));
    if options.show_rules {
        for eligibility in &eligibilities {
            session.screen.data(&format!("\n{}", session.screen.on_stdout(&eligibility.name_any(), Paint::Strong)));
            rules(session, eligibility);
        }
    }
    Ok(Exit::Done)
}

/// The requests for the column STATE. A user who may not list requests still sees the eligibilities.
async fn requests_of_mine(options: &Options, session: &Session) -> Vec<RoleActivationRequest> {
    if !options.output.is_table() {
        return Vec::new();
    }
    session.my_requests(&Scope::All, &selectors::live_states()).await.unwrap_or_else(|problem| {
        session.screen.warn(&format!("STATE leaves out your requests: {problem}"));
        Vec::new()
    })
}

/// True if the user is a subject of the eligibility.
#[must_use]
pub fn is_mine(me: &Me, eligibility: &RoleEligibility) -> bool {
    person::account(&me.stamp).is_ok_and(|account| person::is_subject(&me.stamp, &account, &eligibility.spec.subjects))
}

/// True if its names or its status include this namespace.
#[must_use]
pub fn covers(eligibility: &RoleEligibility, namespace: &str) -> bool {
    let found = eligibility.status.as_ref().and_then(|status| status.namespaces.as_ref());
    eligibility.spec.namespaces.names.iter().chain(found.into_iter().flat_map(|found| &found.names)).any(|name| name == namespace)
}

/// False if it certainly cannot be activated in this namespace.
#[must_use]
pub fn may_cover(eligibility: &RoleEligibility, namespace: &str) -> bool {
    if covers(eligibility, namespace) {
        return true;
    }
    if eligibility.spec.namespaces.selector.is_none() {
        return false;
    }
    let Some(found) = eligibility.status.as_ref().and_then(|status| status.namespaces.as_ref()) else { return true };
    let complete = usize::try_from(found.count).is_ok_and(|count| count <= found.names.len());
    !complete
}

/// The message for an empty list: eligibilities in other namespaces, or a hint.
fn nothing(options: &Options, wanted: &[String], elsewhere: &[RoleEligibility]) -> String {
    let whose = if options.all { "there is no eligibility" } else { "you have no eligibility" };
    let place = if wanted.is_empty() { String::new() } else { format!(" in namespace '{}'", wanted.join("', '")) };
    if elsewhere.is_empty() {
        let hint = if options.all { "" } else { "; 'kubectl jit roles --all' lists those of others" };
        return format!("{whose}{place}{hint}");
    }
    let one = |eligibility: &RoleEligibility| format!("'{}' ({})", eligibility.name_any(), words::scope(eligibility, NAMED));
    format!("{whose}{place}; elsewhere: {}", words::first(elsewhere.iter().map(one), NAMED))
}

/// The column STATE: whether it can be activated now, or the state of the user's request.
fn standing(
    me: &Me,
    eligibility: &RoleEligibility,
    policy: Option<&ApprovalPolicy>,
    mine: &[RoleActivationRequest],
    now: jiff::Timestamp,
) -> (String, Paint) {
    let name = eligibility.name_any();
    let under = || mine.iter().filter(|request| request.spec.eligibility_ref.name == name);
    if under().any(|request| state(request) == State::Active) {
        return ("Active".to_owned(), Paint::Good);
    }
    if let Some(waiting) = under().next() {
        return (state(waiting).to_string(), Paint::Waits);
    }
    if !is_mine(me, eligibility) {
        return (Reason::NotEligible.to_string(), Paint::Dim);
    }
    if policy.is_none() {
        return (Reason::PolicyNotFound.to_string(), Paint::Bad);
    }
    if let Err(refusal) = eligibility::in_time(&eligibility_facts(eligibility), now) {
        return (refusal.reason.to_string(), Paint::Dim);
    }
    match words::ready(eligibility) {
        Some(condition) if condition.status == "False" => (condition.reason.clone(), Paint::Bad),
        _ => ("Eligible".to_owned(), Paint::Plain),
    }
}

/// Prints the rules of an eligibility's role, one per line.
pub fn rules(session: &Session, eligibility: &RoleEligibility) {
    let role = eligibility.status.as_ref().and_then(|status| status.role.as_ref());
    match role {
        Some(role) if !role.rules.is_empty() => {
            for rule in words::riskiest_first(&role.rules) {
                session.screen.data(&session.screen.on_stdout(&format!("  {rule}"), Paint::Plain));
            }
            let more = usize::try_from(role.rule_count).unwrap_or(0).saturating_sub(role.rules.len());
            match (more, role.truncated) {
                (0, false) => {}
                (0, true) => session.screen.data("  ... and more or longer rules than a status can hold"),
                (more, _) => session.screen.data(&format!("  ... and {more} more that a status cannot hold")),
            }
        }
        _ if eligibility.spec.role_ref.kind == RoleKind::Role => {
            session.screen.data("  those of the Role of this name in the namespace where it is activated");
        }
        _ => session.screen.data("  unknown: the operator has not reported them yet"),
    }
}
