//! `kubectl jit approve NAME`: approves exactly the request that was shown.

use std::fmt::Write as _;

use clap::Args;
use kube::ResourceExt;

use crate::{
    decide,
    follow::follow_until,
    manifest,
    paint::Paint,
    problem::{Exit, Problem},
    prompt,
    read::{full_name, requester, state},
    screen::Screen,
    session::Session,
    table::cut,
    times::Times,
    words,
};
use api::{
    RoleActivationRequest, RoleEligibility, State, Verb,
    eligibility::{RoleKind, RoleStatus},
    text::printable,
};

/// How long to wait for the effect of an approval.
const SHOWS_WITHIN: std::time::Duration = std::time::Duration::from_secs(10);

/// Shows a request, asks for confirmation, and approves exactly what was shown.
///
/// If the request, its policy or its role changes meanwhile, the approval does not count.
#[derive(Debug, Args)]
pub struct Options {
    /// Names of requests, as NAME or NAMESPACE/NAME.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// A comment; it is recorded, and the requester can read it.
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// Approve for a shorter duration than requested.
    #[arg(short, long, value_name = "TIME")]
    duration: Option<api::Duration>,
    /// Show every rule of the role.
    #[arg(long)]
    show_rules: bool,
    /// Do not ask for confirmation.
    #[arg(short, long)]
    yes: bool,
}

/// Approves the requests, one after the other.
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
            "{name} cannot be approved yet, since the operator has not reported what it would grant: {}",
            words::waits_for(request, &session.screen.times)
        )));
    };
    let eligibility = session.eligibility(&request.spec.eligibility_ref.name).await?;
    let policy = match &eligibility {
        Some(eligibility) => session.policy(&eligibility.spec.policy_ref.name).await?,
        None => None,
    };
    let policy = policy.as_ref().map(|policy| &policy.spec);
    let message = options.message.as_deref().filter(|text| !text.trim().is_empty());
    let needs_comment = message.is_none() && policy.is_some_and(|policy| policy.approval.require_comment);
    let mut decision = manifest::decision(request, Verb::Approve, message.or(needs_comment.then_some("-")))?;
    decision.spec.digest = Some(digest);
    decision.spec.duration = options.duration;
    // A denial is reported before the approver reads and confirms.
    if !options.yes
        && let Err(problem) = decide::would_be_accepted(session, &decision).await
    {
        return decide::repeated(session, request, problem);
    }
    let asked = decide::shortened(session, request, words::asked(request, eligibility.as_ref(), policy)).await?;
    let card = Card { request, asked, shorter: options.duration.filter(|shorter| asked.is_none_or(|asked| *shorter < asked)) };
    // Without a prompt, --quiet omits the description.
    if !options.yes || !session.flags.quiet {
        let rules = rules(request, eligibility.as_ref())?;
        let size = session.screen.size_of_stderr().filter(|_| !options.show_rules);
        session.screen.present(&card.text(&session.screen, rules, size));
    }
    let otherwise = format!("stdin is not a terminal: pass --yes to approve {name}");
    if !options.yes && !prompt::confirm(&session.screen, &card.question(&session.screen.times), &otherwise)? {
        session.screen.info(&if options.names.len() > 1 {
            format!("Skipped; {name} was not approved.")
        } else {
            "Cancelled; nothing was approved.".to_owned()
        });
        return Ok(Exit::Failed);
    }
    if needs_comment {
        let comment = prompt::text(&session.screen, "Comment?", "the policy requires a comment from approvers", "-m/--message")?;
        decision.spec.comment = manifest::decision(request, Verb::Approve, Some(&comment))?.spec.comment;
    }
    if let Err(problem) = decide::create(session, &decision).await {
        return decide::repeated(session, request, problem);
    }
    report(session, request).await
}

/// Waits for the effect of the approval and prints it.
async fn report(session: &Session, request: &RoleActivationRequest) -> Result<Exit, Problem> {
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
    screen.data(&screen.on_stdout(&said, Paint::Good));
    Ok(Exit::Done)
}

/// The rules in the request's digest: those of a Role are in the request's status, those of a `ClusterRole` in the eligibility's. The latter
/// can differ from the digest for a moment, and approvers must see the rules that they approve.
fn rules<'a>(request: &'a RoleActivationRequest, eligibility: Option<&'a RoleEligibility>) -> Result<Option<&'a RoleStatus>, Problem> {
    let Some(of_request) = request.status.as_ref().and_then(|status| status.role.as_ref()) else { return Ok(None) };
    if !of_request.rules.is_empty() {
        return Ok(Some(of_request));
    }
    let of_eligibility = eligibility.and_then(|eligibility| eligibility.status.as_ref()).and_then(|status| status.role.as_ref());
    match of_eligibility {
        Some(role) if role.rules_hash != of_request.rules_hash => Err(Problem::Api(format!(
            "the rules of {} '{}' have just changed, and {} does not show yet which rules it is for: retry in a moment",
            of_request.kind.unwrap_or(RoleKind::ClusterRole),
            printable(&of_request.name),
            full_name(request),
        ))),
        found => Ok(found),
    }
}

/// The description of a request for its approver.
struct Card<'a> {
    request: &'a RoleActivationRequest,
    /// The duration of the grant without this approval's duration.
    asked: Option<api::Duration>,
    /// The shorter duration of this approval.
    shorter: Option<api::Duration>,
}

/// The lines of the question, and one for the shell prompt.
const QUESTION: usize = 3;
/// The minimum number of shown rules.
const LEAST_RULES: usize = 3;

impl Card<'_> {
    /// The question: requester, role, namespace and duration are in the line that the approver answers.
    fn question(&self, times: &Times) -> String {
        let role = self.request.status.as_ref().and_then(|status| status.role.clone()).unwrap_or_default();
        let kind = role.kind.map(|kind| format!("{kind} ")).unwrap_or_default();
        let length = self.shorter.or(self.asked).map(|length| format!(" for {length}")).unwrap_or_default();
        let start = self.request.spec.start_time.map(|at| format!(" from {}", times.clock(at))).unwrap_or_default();
        format!(
            "Allow {} to use {kind}{} in namespace {}{length}{start}?",
            requester(self.request),
            role.name,
            self.request.namespace().unwrap_or_default()
        )
    }

    /// The description of the request, with the most important facts last, next to the question. On a terminal, only as many rules as fit are
    /// shown, the riskiest first; elsewhere all.
    fn text(&self, screen: &Screen, rules: Option<&RoleStatus>, size: Option<(usize, usize)>) -> String {
        let mut facts = String::new();
        for (title, text) in self.facts(&screen.times).iter().filter(|(_, text)| !text.is_empty()) {
            let paint = if *title == "Risks" { Paint::Bad } else { Paint::Plain };
            // Writing to a String cannot fail.
            let _ = write!(facts, "\n  {:<11}{}", format!("{title}:"), screen.on_stderr_indented(text, paint, 13));
        }
        let room = size.map(|(columns, lines)| (columns, lines.saturating_sub(facts.lines().count() + 1 + QUESTION).max(LEAST_RULES)));
        let mut shown = String::new();
        for line in rule_lines(rules, room) {
            let _ = write!(shown, "\n    {}", screen.on_stderr_indented(&line, Paint::Plain, 4));
        }
        format!("{}\n  Rules:{shown}{facts}", screen.on_stderr(&full_name(self.request), Paint::Strong))
    }

    fn facts(&self, times: &Times) -> Vec<(&'static str, String)> {
        let request = self.request;
        let (spec, status) = (&request.spec, request.status.clone().unwrap_or_default());
        let role = status.role.clone().unwrap_or_default();
        let ticket = spec.ticket.as_ref().map(|ticket| {
            let system = ticket.system.as_ref().map(|system| format!("{system} ")).unwrap_or_default();
            format!("{system}{}", ticket.number.as_ref().map(ToString::to_string).unwrap_or_default())
        });
        let starts = match (spec.start_time, spec.base()) {
            (Some(at), _) => times.clock(at),
            (None, Some(base)) => format!("when {base} ends"),
            (None, None) => "when it is approved".to_owned(),
        };
        let stamp = spec.requester.clone().unwrap_or_default();
        let evidence: Vec<String> = stamp.extra.iter().map(|(key, values)| format!("{key}={}", values.join(","))).collect();
        let kind = role.kind.map(|kind| format!("{kind} ")).unwrap_or_default();
        let unknown = || "unknown".to_owned();
        let asked = self.asked.map_or_else(unknown, |asked| asked.to_string());
        vec![
            ("Digest", status.digest.unwrap_or_default().chars().take(23).collect()),
            ("Evidence", evidence.join("; ")),
            ("Groups", stamp.groups.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
            ("Approval", words::waits_for(request, times)),
            ("Extends", spec.base().unwrap_or_default().to_owned()),
            ("Role", format!("{kind}{} (eligibility '{}')", role.name, spec.eligibility_ref.name)),
            ("Risks", role.risks.join(", ")),
            ("Ticket", ticket.unwrap_or_default()),
            ("Why", words::justification(request).to_owned()),
            ("Emergency", if spec.emergency { "yes".to_owned() } else { String::new() }),
            ("Who", requester(request).to_owned()),
            ("Namespace", request.namespace().unwrap_or_default()),
            ("Duration", self.shorter.map_or_else(|| asked.clone(), |shorter| format!("{shorter}, shortened from {asked}"))),
            ("Starts", starts),
        ]
    }
}

/// The rules of a role, the riskiest first, and the number of hidden ones. With a size in columns and lines, each is cut to one line.
fn rule_lines(role: Option<&RoleStatus>, room: Option<(usize, usize)>) -> Vec<String> {
    let Some(role) = role.filter(|role| !role.rules.is_empty()) else {
        return vec!["unknown: ask an admin before you approve".to_owned()];
    };
    let ordered = words::riskiest_first(&role.rules);
    let known = usize::try_from(role.rule_count).unwrap_or(0).max(ordered.len());
    // The last line has the number of hidden rules.
    let most = match room {
        Some((_, lines)) if known > lines => lines.saturating_sub(1),
        _ => ordered.len(),
    };
    let mut lines: Vec<String> = ordered
        .iter()
        .take(most)
        .map(|rule| room.map_or_else(|| (*rule).to_owned(), |(columns, _)| cut(&printable(rule), columns.saturating_sub(5))))
        .collect();
    let here = ordered.len().saturating_sub(lines.len());
    let elsewhere = known.saturating_sub(ordered.len());
    let mut rest = Vec::new();
    if here > 0 {
        rest.push(format!("{here} more, less risky: --show-rules"));
    }
    if elsewhere > 0 {
        rest.push(format!("{elsewhere} more that a status cannot hold: ask an admin"));
    } else if role.truncated && role.rule_count == 0 {
        rest.push("more that a status cannot hold: ask an admin".to_owned());
    } else if role.truncated {
        rest.push("some rules are cut: ask an admin".to_owned());
    }
    if !rest.is_empty() {
        lines.push(format!("... and {}", rest.join("; ")));
    }
    lines
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
        assert!(problem.contains("ClusterRole 'edit' have just changed") && problem.contains("retry in a moment"), "{problem}");

        let of_a_role = request(&json!({"kind": "Role", "name": "debug", "rulesHash": "h3", "rules": ["get pods/log"]}));
        assert_eq!(rules(&of_a_role, Some(&changed)).unwrap().unwrap().rules, ["get pods/log"]);
        assert!(rules(&asked, None).unwrap().is_none(), "then it says that nobody knows");
    }

    /// A request for `admin` with everything that a person can write, as its approver gets it.
    fn full() -> RoleActivationRequest {
        let mut asked =
            request(&json!({"kind": "ClusterRole", "name": "admin", "rulesHash": "h1", "risks": ["Escalation", "Impersonation",
            "ServiceAccountTokens", "Secrets", "WorkloadExec", "WorkloadCreate"]}));
        asked.spec = serde_json::from_value(json!({
            "eligibilityRef": {"name": "payments-admin"}, "justification": "INC-4711 the checkout is down and nobody knows why",
            "ticket": {"system": "jira", "number": "INC-4711"},
            "requester": {"username": "dev", "groups": ["devs", "oncall"], "extra": {"jitrbac.dev/amr": ["mfa"]}},
        }))
        .unwrap();
        let status = asked.status.as_mut().unwrap();
        status.digest = Some(format!("sha256:{}", "a".repeat(64)));
        status.awaiting = serde_json::from_value(json!({
            "stage": "leads", "have": 0, "required": 2, "deadline": "2040-01-01T00:00:00Z", "approvers": {"groups": ["leads"]},
        }))
        .unwrap();
        asked
    }

    fn admin() -> RoleStatus {
        let harmless = (0..60).map(|i| format!("get,list,watch things{i}.example.org"));
        let rules: Vec<String> = harmless.chain(["impersonate serviceaccounts".to_owned(), "* *.*".to_owned()]).collect();
        RoleStatus { rule_count: 75, truncated: true, rules, ..RoleStatus::default() }
    }

    #[test]
    fn f30_who_what_where_and_why_stand_beside_the_question_on_a_small_terminal() {
        let (asked, role, screen) = (full(), admin(), Screen::new(crate::screen::OutputSettings { utc: true, ..Default::default() }));
        let card = Card { request: &asked, asked: Some("2h".parse().unwrap()), shorter: None };
        let text = card.text(&screen, Some(&role), Some((80, 24)));
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.len() + QUESTION <= 24, "{text}");
        let place = |part: &str| lines.iter().position(|line| line.contains(part)).unwrap_or_else(|| panic!("no {part}: {text}"));
        let order =
            ["Rules:", "* *.*", "impersonate serviceaccounts", "Digest:", "Role:", "Risks:", "Why:", "Who:", "Namespace:", "Duration:"];
        let places: Vec<usize> = order.into_iter().map(place).collect();
        assert!(places.is_sorted(), "{text}");
        assert_eq!(card.question(&screen.times), "Allow dev to use ClusterRole admin in namespace shop for 2h?");
    }

    #[test]
    fn f30_shortened_is_said_only_of_what_is_shorter() {
        let (asked, screen) = (full(), Screen::new(crate::screen::OutputSettings::default()));
        let with = |shorter: Option<&str>| Card {
            request: &asked,
            asked: Some("2h".parse().unwrap()),
            shorter: shorter.map(|it| it.parse().unwrap()),
        };
        let shorter = with(Some("30m"));
        assert!(
            shorter.text(&screen, None, None).contains("30m, shortened from 2h") && shorter.question(&screen.times).contains("for 30m?")
        );
        assert!(!with(None).text(&screen, None, None).contains("shortened"));
    }

    #[test]
    fn f77_rules_that_are_not_shown_are_counted() {
        let role = admin();
        let lines = rule_lines(Some(&role), Some((80, 6)));
        assert_eq!(lines.len(), 6);
        assert_eq!(lines[..2], ["* *.*", "impersonate serviceaccounts"]);
        assert_eq!(lines[5], "... and 57 more, less risky: --show-rules; 13 more that a status cannot hold: ask an admin");
        let all = rule_lines(Some(&role), None);
        assert_eq!((all.len(), all[62].as_str()), (63, "... and 13 more that a status cannot hold: ask an admin"));
        // Of an operator that does not count them yet.
        let before = RoleStatus { rule_count: 0, ..admin() };
        assert_eq!(rule_lines(Some(&before), None)[62], "... and more that a status cannot hold: ask an admin");
        assert_eq!(rule_lines(None, None), ["unknown: ask an admin before you approve"]);
        let few = RoleStatus { rules: vec!["get pods".to_owned()], ..RoleStatus::default() };
        assert_eq!(rule_lines(Some(&few), Some((80, 6))), ["get pods"]);
    }
}
