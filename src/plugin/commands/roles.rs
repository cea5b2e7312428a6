//! `kubectl jit roles`: what I can activate.

use clap::Args;
use kube::ResourceExt;

use crate::{
    api::{ApprovalPolicy, RoleActivationRequest, RoleEligibility, State, eligibility::RoleKind, selectors},
    domain::{eligibility, person},
    plugin::{
        flags::Output,
        objects,
        paint::Paint,
        problem::{Exit, Problem},
        read::{Scope, eligibility_facts, state},
        session::{Me, Session},
        table::{Cell, Column, Table},
        words,
    },
};

/// Namespaces that a row names.
const NAMED: usize = 3;

/// Lists what you are eligible for.
///
/// Everything that names you or a group of yours; with -n only what can be activated there.
#[derive(Debug, Args)]
pub struct Options {
    /// Also what others are eligible for.
    #[arg(short = 'A', long)]
    all: bool,
    /// Print the rules of each role below it.
    #[arg(long)]
    show_rules: bool,
    #[command(flatten)]
    output: Output,
}

/// Lists them.
pub async fn run(options: &Options, session: &Session) -> Result<Exit, Problem> {
    let live = selectors::live_states();
    let (me, eligibilities, policies, mine) =
        tokio::join!(session.me(), session.eligibilities(), session.policies(), session.my_requests(&Scope::All, &live));
    // Who may not list requests may still see what he is eligible for.
    let (me, mut eligibilities, policies, mine) = (me?, eligibilities?, policies?, mine.unwrap_or_default());
    let wanted = session.flags.namespaces.clone();
    eligibilities.retain(|eligibility| (options.all || is_mine(me, eligibility)) && wanted.iter().all(|name| may_cover(eligibility, name)));
    if objects::listed(&session.screen, &eligibilities, options.output.output)? {
        return Ok(Exit::Done);
    }
    let mut table = Table::new([
        Column::new("NAME"),
        Column::new("ROLE"),
        Column::new("NAMESPACES").free(),
        Column::new("MAX"),
        Column::new("APPROVAL").free(),
        Column::new("REQUIRES"),
        Column::new("STATE"),
        Column::new("ENDS").wide(),
        Column::new("RISKS").wide(),
        Column::new("DESCRIPTION").wide().free(),
    ]);
    let now = session.screen.times.now();
    for eligibility in &eligibilities {
        let policy = policies.iter().find(|policy| policy.name_any() == eligibility.spec.policy_ref.name);
        let (said, paint) = standing(eligibility, policy, &mine, now);
        table.push([
            eligibility.name_any().into(),
            words::role_column(&eligibility.spec.role_ref).into(),
            words::scope(eligibility, NAMED).into(),
            words::longest(eligibility, policy.map(|policy| &policy.spec)).to_string().into(),
            policy.map(|policy| words::approval(&policy.spec)).unwrap_or_default().into(),
            policy.map(|policy| words::requires(&policy.spec)).unwrap_or_default().into(),
            Cell::painted(said, paint),
            eligibility.spec.end_time.map(|at| session.screen.times.clock(at)).unwrap_or_default().into(),
            eligibility
                .status
                .as_ref()
                .and_then(|status| status.role.as_ref())
                .map(|role| role.risk_summary.clone())
                .unwrap_or_default()
                .into(),
            eligibility.spec.description.as_ref().map(ToString::to_string).unwrap_or_default().into(),
        ]);
    }
    let whose = if options.all {
        "there are no eligibilities"
    } else {
        "you are eligible for nothing; 'kubectl jit roles -A' lists what others are eligible for"
    };
    let place = if wanted.is_empty() { String::new() } else { format!(" in namespace '{}'", wanted.join("', '")) };
    session.screen.table(&table, options.output.is_wide(), &format!("{whose}{place}"));
    if options.show_rules {
        for eligibility in &eligibilities {
            session.screen.data(&format!("\n{}", session.screen.on_data(&eligibility.name_any(), Paint::Strong)));
            rules(session, eligibility);
        }
    }
    Ok(Exit::Done)
}

/// True when I am one of its subjects.
#[must_use]
pub fn is_mine(me: &Me, eligibility: &RoleEligibility) -> bool {
    person::account(&me.stamp).is_ok_and(|account| person::is_subject(&me.stamp, &account, &eligibility.spec.subjects))
}

/// True when it can be activated in this namespace as far as its names and its status say.
#[must_use]
pub fn covers(eligibility: &RoleEligibility, namespace: &str) -> bool {
    let found = eligibility.status.as_ref().and_then(|status| status.namespaces.as_ref());
    eligibility.spec.namespaces.names.iter().chain(found.into_iter().flat_map(|found| &found.names)).any(|name| name == namespace)
}

/// False when it certainly cannot be activated in this namespace.
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

/// Whether it can be activated now, and what I have of it.
fn standing(
    eligibility: &RoleEligibility,
    policy: Option<&ApprovalPolicy>,
    mine: &[RoleActivationRequest],
    now: chrono::DateTime<chrono::Utc>,
) -> (String, Paint) {
    let name = eligibility.name_any();
    let under = || mine.iter().filter(|request| request.spec.eligibility_ref.name == name);
    if under().any(|request| state(request) == State::Active) {
        return ("Active".to_owned(), Paint::Good);
    }
    if let Some(waiting) = under().next() {
        return (state(waiting).to_string(), Paint::Waits);
    }
    if policy.is_none() {
        return ("PolicyNotFound".to_owned(), Paint::Bad);
    }
    if let Err(refusal) = eligibility::in_time(&eligibility_facts(eligibility), now) {
        return (refusal.reason.to_string(), Paint::Dim);
    }
    match words::ready(eligibility) {
        Some(condition) if condition.status == "False" => (condition.reason.clone(), Paint::Bad),
        _ => ("Eligible".to_owned(), Paint::Plain),
    }
}

/// The rules of an eligibility's role, a line each.
pub fn rules(session: &Session, eligibility: &RoleEligibility) {
    let role = eligibility.status.as_ref().and_then(|status| status.role.as_ref());
    match role {
        Some(role) if !role.rules.is_empty() => {
            for rule in &role.rules {
                session.screen.data(&session.screen.on_data(&format!("  {rule}"), Paint::Plain));
            }
            if role.truncated {
                session.screen.data("  ... and more than a status can hold");
            }
        }
        _ if eligibility.spec.role_ref.kind == RoleKind::Role => {
            session.screen.data("  those of the Role of this name in the namespace where it is activated");
        }
        _ => session.screen.data("  not known yet"),
    }
}
