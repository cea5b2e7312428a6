//! `kubectl jit approve NAME`: says yes to exactly what was shown.

use std::fmt::Write as _;

use clap::Args;
use kube::ResourceExt;

use crate::{
    api::{
        self, RoleActivationRequest, RoleEligibility, State, Verb,
        eligibility::{RoleKind, RoleStatus},
        text::printable,
    },
    plugin::{
        decide,
        follow::follow_until,
        manifest,
        paint::Paint,
        problem::{Exit, Problem},
        prompt,
        read::{full_name, requester, state},
        session::Session,
        words,
    },
};

/// How long it is waited until an approval shows.
const SHOWS_WITHIN: std::time::Duration = std::time::Duration::from_secs(10);

/// Shows what would be granted, asks, and approves exactly that.
///
/// If request, policy or role change meanwhile, the approval does not count.
#[derive(Debug, Args)]
pub struct Options {
    /// Names of requests, as NAME or NAMESPACE/NAME.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Said to the requester and kept.
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// Approve for a shorter time than was asked for.
    #[arg(short, long, value_name = "TIME")]
    duration: Option<api::Duration>,
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
}

/// Approves them, one after the other.
pub async fn run(options: &Options, session: &Session) -> Result<Exit, Problem> {
    let (requests, missing) = decide::each(session, &options.names).await?;
    decide::about_each(session, &requests, async |request| one(options, session, request).await).await.map(|exit| missing.and(exit))
}

async fn one(options: &Options, session: &Session, request: &RoleActivationRequest) -> Result<Exit, Problem> {
    let name = full_name(request);
    if state(request).is_terminal() {
        session.screen.error(&format!("too late: {name} is {}", words::outcome(request, &session.screen.times)));
        return Ok(Exit::of_state(state(request), request.status.as_ref().and_then(|status| status.reason)));
    }
    let Some(digest) = request.status.as_ref().and_then(|status| status.digest.clone()) else {
        return Err(Problem::Api(format!(
            "{name} has no digest yet, so there is nothing exact to approve: {}",
            words::waits_for(request, &session.screen.times)
        )));
    };
    // What nobody is asked about need not be shown to who wants no words.
    if !options.yes || !session.flags.quiet {
        let eligibility = session.eligibility(&request.spec.eligibility_ref.name).await?;
        let rules = rules(request, eligibility.as_ref())?;
        session.screen.present(&shown(session, request, eligibility.as_ref(), rules, options.duration));
    }
    let question = format!("Approve {name}?");
    if !options.yes && !prompt::agree(&session.screen, &question, &format!("nobody can be asked whether to approve {name}: say --yes"))? {
        return Err(Problem::BrokenOff);
    }
    let mut decision = manifest::decision(request, Verb::Approve, options.message.as_deref())?;
    decision.spec.digest = Some(digest);
    decision.spec.duration = options.duration;
    if let Err(problem) = decide::create(session, &decision).await {
        return decide::said_before(session, request, problem);
    }
    tell(session, request).await
}

/// Waits until the approval shows, and says what it came to.
async fn tell(session: &Session, request: &RoleActivationRequest) -> Result<Exit, Problem> {
    let me = session.me().await?.name().to_owned();
    let (namespace, name) = (request.namespace().unwrap_or_default(), request.name_any());
    let counts = |request: &RoleActivationRequest| {
        request.status.iter().flat_map(|status| &status.approvals).any(|approval| approval.approver.as_str() == me)
            || state(request) != State::AwaitingApproval
    };
    let after = match follow_until(session, (&namespace, &name), Some(SHOWS_WITHIN), ("approved", counts), |_, _| ()).await {
        Err(Problem::TimedOut(_)) => session.request(&namespace, &name).await?,
        shows => shows?,
    };
    let screen = &session.screen;
    let full = full_name(&after);
    let said = match state(&after) {
        State::AwaitingApproval if counts(&after) => format!("approved {full}: {}", words::waits_for(&after, &screen.times)),
        State::AwaitingApproval => {
            screen.warn(&format!("the approval of {full} does not count yet: {}", words::message(&after)));
            return Ok(Exit::Done);
        }
        State::Active | State::Scheduled => format!("approved {full}: {}", words::outcome(&after, &screen.times)),
        _ => {
            screen.warn(&format!("the approval of {full} came too late: {}", words::outcome(&after, &screen.times)));
            return Ok(Exit::of_state(state(&after), after.status.as_ref().and_then(|status| status.reason)));
        }
    };
    screen.data(&screen.on_data(&said, Paint::Good));
    Ok(Exit::Done)
}

/// The rules that the request's digest is about: of a Role they stand on the request, of a `ClusterRole` on the eligibility. There they may be
/// older or newer than the digest for a moment, and nobody is shown other rules than he approves.
fn rules<'a>(request: &'a RoleActivationRequest, eligibility: Option<&'a RoleEligibility>) -> Result<Option<&'a RoleStatus>, Problem> {
    let Some(of_request) = request.status.as_ref().and_then(|status| status.role.as_ref()) else { return Ok(None) };
    if !of_request.rules.is_empty() {
        return Ok(Some(of_request));
    }
    let of_eligibility = eligibility.and_then(|eligibility| eligibility.status.as_ref()).and_then(|status| status.role.as_ref());
    match of_eligibility {
        Some(role) if role.rules_hash != of_request.rules_hash => Err(Problem::Api(format!(
            "the rules of {} '{}' have just changed, and {} does not show yet which it is about: look again in a moment",
            of_request.kind.unwrap_or(RoleKind::ClusterRole),
            printable(&of_request.name),
            full_name(request),
        ))),
        found => Ok(found),
    }
}

/// Who gets what, where, until when, why and on what evidence.
fn shown(
    session: &Session,
    request: &RoleActivationRequest,
    eligibility: Option<&RoleEligibility>,
    rules: Option<&RoleStatus>,
    shorter: Option<api::Duration>,
) -> String {
    let screen = &session.screen;
    let (spec, status) = (&request.spec, request.status.clone().unwrap_or_default());
    let role = status.role.clone().unwrap_or_default();
    let (rules, truncated) = rules.map(|role| (role.rules.as_slice(), role.truncated)).unwrap_or_default();
    let asked = spec
        .duration
        .or_else(|| eligibility.and_then(|eligibility| eligibility.spec.default_duration.or(Some(eligibility.spec.max_duration))));
    let asked = asked.map(|asked| asked.to_string()).unwrap_or_default();
    let shorter = shorter.map(|shorter| format!(", shortened to {shorter}")).unwrap_or_default();
    let ticket = spec.ticket.as_ref().map(|ticket| {
        let system = ticket.system.as_ref().map(|system| format!("{system} ")).unwrap_or_default();
        format!("{system}{}", ticket.number.as_ref().map(ToString::to_string).unwrap_or_default())
    });
    let starts = match (spec.start_time, spec.base()) {
        (Some(at), _) => screen.times.clock(at),
        (None, Some(base)) => format!("when {base} ends"),
        (None, None) => "when it is approved".to_owned(),
    };
    let stamp = spec.requester.clone().unwrap_or_default();
    let evidence: Vec<String> = stamp.extra.iter().map(|(key, values)| format!("{key}={}", values.join(","))).collect();
    let kind = role.kind.map(|kind| format!("{kind} ")).unwrap_or_default();
    let lines = [
        ("Who", requester(request).to_owned()),
        ("Groups", stamp.groups.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
        ("Evidence", evidence.join("; ")),
        ("Role", format!("{kind}{} (eligibility '{}')", role.name, spec.eligibility_ref.name)),
        ("Namespace", request.namespace().unwrap_or_default()),
        ("Duration", format!("{asked}{shorter}")),
        ("Starts", starts),
        ("Extends", spec.base().unwrap_or_default().to_owned()),
        ("Why", words::justification(request).to_owned()),
        ("Ticket", ticket.unwrap_or_default()),
        ("Approval", words::waits_for(request, &screen.times)),
        ("Risks", role.risks.join(", ")),
        ("Digest", status.digest.unwrap_or_default()),
    ];
    let mut said = format!("{}\n", screen.beside(&full_name(request), Paint::Strong));
    for (title, text) in lines.iter().filter(|(_, text)| !text.is_empty()) {
        let paint = if *title == "Risks" { Paint::Bad } else { Paint::Plain };
        // Writing to a String cannot fail.
        let _ = writeln!(said, "  {:<11}{}", format!("{title}:"), screen.beside_indented(text, paint, 13));
    }
    let _ = write!(said, "  Rules:");
    for rule in rules {
        let _ = write!(said, "\n    {}", screen.beside_indented(rule, Paint::Plain, 6));
    }
    if truncated || rules.is_empty() {
        let _ = write!(
            said,
            "\n    {}",
            if rules.is_empty() { "not known: ask an admin before you approve" } else { "... and more than a status can hold" }
        );
    }
    said
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn request(role: &Value) -> RoleActivationRequest {
        serde_json::from_value(json!({
            "apiVersion": "jitrbac.dev/v1alpha1", "kind": "RoleActivationRequest", "metadata": {"name": "inc-1", "namespace": "shop"},
            "spec": {"eligibilityRef": {"name": "edit"}}, "status": {"role": role},
        }))
        .unwrap()
    }

    fn eligibility(role: &Value) -> RoleEligibility {
        serde_json::from_value(json!({
            "apiVersion": "jitrbac.dev/v1alpha1", "kind": "RoleEligibility", "metadata": {"name": "edit"},
            "spec": {
                "subjects": [{"kind": "Group", "name": "devs"}], "roleRef": {"kind": "ClusterRole", "name": "edit"},
                "namespaces": {"names": ["shop"]}, "policyRef": {"name": "lead"}, "maxDuration": "1h",
            },
            "status": {"role": role},
        }))
        .unwrap()
    }

    #[test]
    fn what_is_shown_are_the_rules_that_the_digest_is_about() {
        let cluster_role = |hash: &str, rules: &[&str]| json!({"kind": "ClusterRole", "name": "edit", "rulesHash": hash, "rules": rules});
        let asked = request(&cluster_role("h1", &[]));
        let offered = eligibility(&cluster_role("h1", &["get pods"]));
        assert_eq!(rules(&asked, Some(&offered)).unwrap().unwrap().rules, ["get pods"]);

        // The role was changed: the one status has the new rules, the other still the old ones.
        let changed = eligibility(&cluster_role("h2", &["get pods", "* *"]));
        let problem = rules(&asked, Some(&changed)).unwrap_err().to_string();
        assert!(problem.contains("ClusterRole 'edit' have just changed") && problem.contains("look again"), "{problem}");

        let of_a_role = request(&json!({"kind": "Role", "name": "debug", "rulesHash": "h3", "rules": ["get pods/log"]}));
        assert_eq!(rules(&of_a_role, Some(&changed)).unwrap().unwrap().rules, ["get pods/log"]);
        assert!(rules(&asked, None).unwrap().is_none(), "then it says that nobody knows");
    }
}
