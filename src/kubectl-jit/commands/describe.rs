//! `kubectl jit describe ELIGIBILITY`: what an eligibility grants and requires.

use std::fmt::Write as _;

use clap::Args;
use kube::ResourceExt;

use super::roles;
use crate::{
    flags::Output,
    objects,
    paint::Paint,
    problem::{Exit, Problem},
    session::Session,
    suggest, words,
};
use api::{ApprovalPolicySpec, RoleEligibility, policy::Party};
use domain::{emergency, evidence, person, policy as rules_of, windows};

/// Shows an eligibility: what it allows and what it requires.
///
/// The role with its rules and risks, the namespaces, the duration, the approvers, and the requirements.
#[derive(Debug, Args)]
pub struct Options {
    /// Name of the eligibility.
    #[arg(value_name = "ELIGIBILITY")]
    name: String,
    #[command(flatten)]
    output: Output,
}

/// Shows the eligibility.
pub async fn run(options: &Options, session: &Session) -> Result<Exit, Problem> {
    let eligibility = suggest::eligibility(session, &options.name).await?;
    if let Some(text) = objects::printed_one(&eligibility, options.output.output)? {
        session.screen.data(&text);
        return Ok(Exit::Done);
    }
    let policy = session.policy(&eligibility.spec.policy_ref.name).await?;
    let me = session.me().await?;
    let screen = &session.screen;
    let spec = &eligibility.spec;
    let longest = words::longest(&eligibility, policy.as_ref().map(|policy| &policy.spec));
    let mut lines = vec![
        ("Name", eligibility.name_any()),
        ("Role", words::role(&spec.role_ref)),
        ("Description", text(spec.description.as_ref())),
        ("Namespaces", words::scope(&eligibility, usize::MAX)),
        ("Eligible", format!("{} ({})", if roles::is_mine(me, &eligibility) { "yes" } else { "no" }, me.name())),
        ("Subjects", subjects(&eligibility)),
        ("Duration", format!("{} by default, {longest} at most", spec.default_duration.map_or(longest, |length| length.min(longest)))),
        ("From", spec.start_time.map(|at| screen.times.clock(at)).unwrap_or_default()),
        ("Until", spec.end_time.map(|at| screen.times.clock(at)).unwrap_or_default()),
        ("Suspended", if spec.suspended { "yes: nothing can be activated".to_owned() } else { String::new() }),
        ("Policy", spec.policy_ref.name.clone()),
    ];
    match &policy {
        Some(policy) => lines.extend(asked_by(&policy.spec)),
        None => lines.push(("", "the policy does not exist: nothing can be activated".to_owned())),
    }
    let risks = words::risks(&eligibility);
    lines.push(("Risks", if risks.is_empty() { "none known".to_owned() } else { risks.replace(',', ", ") }));
    let mut said = String::new();
    for (title, text) in lines.iter().filter(|(_, text)| !text.is_empty()) {
        // Writing to a String cannot fail.
        let _ = writeln!(
            said,
            "{:<13}{}",
            if title.is_empty() { String::new() } else { format!("{title}:") },
            screen.on_stdout(text, Paint::Plain)
        );
    }
    screen.data(&format!("{said}Rules:"));
    roles::rules(session, &eligibility);
    session.next(&format!("kubectl jit can-i {}", eligibility.name_any()));
    Ok(Exit::Done)
}

fn text<const MAX: usize>(line: Option<&api::Line<MAX>>) -> String {
    line.map(ToString::to_string).unwrap_or_default()
}

fn subjects(eligibility: &RoleEligibility) -> String {
    let one = |subject: &api::Subject| match &subject.namespace {
        Some(namespace) => format!("{:?} {namespace}/{}", subject.kind, subject.name),
        None => format!("{:?} {}", subject.kind, subject.name),
    };
    eligibility.spec.subjects.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The requirements of a policy, one per line.
fn asked_by(policy: &ApprovalPolicySpec) -> Vec<(&'static str, String)> {
    let limits = policy.limits.clone().unwrap_or_default();
    let requirements = policy.requirements.clone().unwrap_or_default();
    let mut lines = vec![("Approval", if rules_of::is_automatic(policy) { "automatic".to_owned() } else { String::new() })];
    for stage in &policy.approval.stages {
        lines
            .push(("Approval", format!("stage '{}': {} of {}", stage.name, rules_of::required(stage), person::describe(&stage.approvers))));
    }
    if !rules_of::is_automatic(policy) {
        lines.push(("Decided in", rules_of::timeout(Some(policy)).to_string()));
    }
    if let Some(rule) = &requirements.justification {
        let pattern = rule
            .pattern
            .as_ref()
            .filter(|pattern| !pattern.is_empty())
            .map(|pattern| format!(", matching '{pattern}'"))
            .unwrap_or_default();
        lines.push(("Needs", format!("a reason of at least {} characters{pattern} (-r)", rule.min_length.unwrap_or(1))));
    }
    if let Some(rule) = &requirements.ticket {
        let must = if rule.required { "a ticket" } else { "if a ticket is given, one" };
        let pattern =
            rule.pattern.as_ref().filter(|pattern| !pattern.is_empty()).map(|pattern| format!(" matching '{pattern}'")).unwrap_or_default();
        let system =
            rule.system.as_ref().filter(|system| !system.is_empty()).map(|system| format!(" of the system '{system}'")).unwrap_or_default();
        lines.push(("Needs", format!("{must}{pattern}{system} (--ticket)")));
    }
    if let Some(rule) = &requirements.authentication {
        let whom = if rule.applies_to.contains(&Party::Approver) { ", of approvers too" } else { "" };
        let age = rule.max_age.as_ref().map(|age| format!(", at most {} old", age.duration)).unwrap_or_default();
        let keys = evidence::keys(policy).into_iter().collect::<Vec<_>>().join(", ");
        lines.push(("Needs", format!("a sign-in that shows {keys}{age}{whom}")));
    }
    let bounds = [
        limits.min_duration.map(|least| format!("at least {least}")),
        limits.max_total_duration.map(|most| format!("{most} with extensions")),
        limits.max_active_per_user.map(|most| format!("{most} active at a time")),
        limits.max_pending_per_user.map(|most| format!("{most} undecided at a time")),
        limits.max_schedule_ahead.map(|most| format!("at most {most} ahead")),
        limits.cooldown.filter(|pause| !pause.is_zero()).map(|pause| format!("{pause} after an earlier grant")),
    ];
    lines.push(("Limits", bounds.into_iter().flatten().collect::<Vec<_>>().join(", ")));
    if !policy.windows.is_empty() {
        lines.push(("Hours", windows::describe(&policy.windows)));
    }
    if let Some(allowed) = emergency::allowed(policy) {
        let longest = allowed.max_duration.map(|longest| format!("at most {longest}, ")).unwrap_or_default();
        lines.push(("Emergency", format!("{longest}reviewed by {} (--emergency)", words::people(allowed.reviewers.as_ref()))));
    }
    lines.push(("Revoked by", policy.revokers.as_ref().map(person::describe).unwrap_or_default()));
    lines
}
