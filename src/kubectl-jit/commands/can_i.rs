//! `kubectl jit can-i ELIGIBILITY`: evaluates each rule with the code of the operator, without creating a request.

use std::sync::Arc;

use clap::Args;
use jiff::Timestamp;
use kube::ResourceExt;
use serde_json::json;

use super::activate::start;
use crate::{
    flags::Output,
    manifest::{self, RequestFlags},
    objects,
    paint::Paint,
    problem::{Exit, Problem},
    read::{Scope, eligibility_facts},
    session::Session,
    suggest,
    table::{Column, Table},
    times::When,
    words,
};
use api::{ApprovalPolicySpec, RoleActivationRequest, RoleEligibility, RoleEligibilitySpec, Stamp, duration::LONGEST, policy::Party};
use domain::{
    Debt, Lookup, Object, Peer, Record, Refusal, RequestFacts, Settings, convert, duration, eligibility, emergency, evidence,
    instant::stamp,
    limits, namespace, one_live,
    peers::LimitsInput,
    person::{Account, Identities},
    requirements,
    settings::GuardedLabels,
    start as term,
    usable::{self, Input},
    windows,
};

/// Checks, rule by rule, whether you could activate a role.
///
/// Now or at another time, with the same code as the operator; nothing is created. Exit code 5 means that a rule denies it.
///
/// If all values that the policy requires are given, a server-side dry run is made too.
#[derive(Debug, Args)]
pub struct Options {
    /// Name of the eligibility.
    #[arg(value_name = "ELIGIBILITY")]
    name: String,
    #[command(flatten)]
    asked: RequestFlags,
    /// Check as if requested at another time: a time such as 2026-12-01T08:00:00Z, or a duration from now such as 2h.
    #[arg(long, value_name = "WHEN", value_parser = start)]
    at: Option<When>,
    #[command(flatten)]
    output: Output,
}

/// The result of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    Pass(String),
    Fail(Refusal),
    Needs(String),
}

/// A rule and its result.
struct Line(&'static str, Answer);

/// Checks and prints all rules.
pub async fn run(options: &Options, session: &Session) -> Result<Exit, Problem> {
    let found = suggest::eligibility(session, &options.name).await?;
    let stored_policy = session.policy(&found.spec.policy_ref.name).await?;
    let (me, namespace, now) = (session.me().await?, session.namespace()?, session.screen.times.now());
    let at = options.at.map_or(now, |start| start.after(now));
    let values = options.asked.values(None);
    let wanted = manifest::request(&found.name_any(), &namespace, me.name(), &values)?;
    let Some(stored_policy) = stored_policy else {
        let refusal = Refusal::new(
            api::Reason::PolicyNotFound,
            format!("there is no policy '{}', so nothing can be activated", found.spec.policy_ref.name),
        );
        return report(options, session, &[Line("policy", Answer::Fail(refusal))]);
    };
    let peers = peers(session, &found).await?;
    let case = Case {
        request: hypothetical(&wanted, &me.stamp, at),
        signed_in: now,
        who: me.stamp.clone(),
        stored: found.clone(),
        eligibility: eligibility_facts(&found),
        policy: convert::policy(&stored_policy),
        peers,
        settings: settings(),
        at,
    };
    let mut lines = case.lines();
    // The API server decides: it knows roles, namespaces and settings that a requester cannot read.
    let open = lines.iter().any(|line| !matches!(line.1, Answer::Pass(_)));
    if !open && options.at.is_none() {
        lines.push(Line("api server", asked(session, &wanted).await?));
    }
    report(options, session, &lines)
}

async fn asked(session: &Session, wanted: &RoleActivationRequest) -> Result<Answer, Problem> {
    let api = session.api::<RoleActivationRequest>(&wanted.namespace().unwrap_or_default())?;
    let how = kube::api::PostParams { dry_run: true, field_manager: Some(api::names::PLUGIN_FIELD_MANAGER.to_owned()) };
    match api.create(&how, wanted).await.map_err(|error| Problem::of("make a server-side dry run", &error)) {
        Ok(_) => Ok(Answer::Pass("would accept the request (server dry run)".to_owned())),
        Err(Problem::Refused { reason, message }) => Ok(Answer::Fail(Refusal::new(reason.unwrap_or(api::Reason::InvalidField), message))),
        Err(other) => Err(other),
    }
}

fn report(options: &Options, session: &Session, lines: &[Line]) -> Result<Exit, Problem> {
    let failed = lines.iter().any(|line| matches!(line.1, Answer::Fail(_)));
    let exit = if failed { Exit::Refused } else { Exit::Done };
    if !options.output.is_table() {
        let value: Vec<_> = lines.iter().map(Line::data).collect();
        let word = || if failed { "no" } else { "yes" }.to_owned();
        session.screen.data(&objects::data(&json!(value), options.output.output)?.unwrap_or_else(word));
        return Ok(exit);
    }
    let mut table = Table::default();
    for line in lines {
        let (word, paint, why) = line.shown();
        table.push([Column::new("RULE").of(line.0), Column::new("RESULT").painted(word, paint), Column::new("WHY").of(why)]);
    }
    session.screen.table(&table, false, "");
    let needs: Vec<&str> =
        lines.iter().filter_map(|line| if let Answer::Needs(what) = &line.1 { Some(what.as_str()) } else { None }).collect();
    let verdict = match (failed, needs.is_empty()) {
        (true, _) => "no".to_owned(),
        (false, true) => "yes".to_owned(),
        (false, false) => format!("yes, with {}", needs.join(" and ")),
    };
    session.screen.data(&verdict);
    Ok(exit)
}

impl Line {
    fn shown(&self) -> (&'static str, Paint, String) {
        match &self.1 {
            Answer::Pass(why) => ("pass", Paint::Good, why.clone()),
            Answer::Fail(refusal) => ("fail", Paint::Bad, refusal.to_string()),
            Answer::Needs(what) => ("needs", Paint::Waits, what.clone()),
        }
    }

    fn data(&self) -> serde_json::Value {
        let (word, _, why) = self.shown();
        let reason = if let Answer::Fail(refusal) = &self.1 { Some(refusal.reason) } else { None };
        json!({"rule": self.0, "result": word, "why": why, "reason": reason})
    }
}

/// The chart's values, which a requester cannot read: each is as lenient as possible, and the server-side dry run checks the rest.
fn settings() -> Settings {
    Settings {
        operator_namespace: String::new(),
        max_grant: LONGEST,
        identities: Identities::default(),
        system_namespaces: namespace::SYSTEM_NAMESPACES.map(str::to_owned).to_vec(),
        guarded_labels: GuardedLabels::default(),
    }
}

/// The request as if it were created at this time.
fn hypothetical(wanted: &RoleActivationRequest, who: &Stamp, at: Timestamp) -> RequestFacts {
    let mut facts = convert::request(wanted);
    facts.object.created = at;
    // Sorts after all existing requests.
    "~".clone_into(&mut facts.object.uid);
    facts.object.spec.requester = Some(who.clone());
    facts.record = Record::default();
    facts
}

/// The user's other requests, each with the policy of its eligibility.
async fn peers(session: &Session, eligibility: &RoleEligibility) -> Result<Vec<Peer>, Problem> {
    let (mine, all) = tokio::join!(session.my_requests(&Scope::All, ""), session.eligibilities());
    let mut policies: std::collections::BTreeMap<String, String> =
        all?.into_iter().map(|one| (one.name_any(), one.spec.policy_ref.name)).collect();
    policies.insert(eligibility.name_any(), eligibility.spec.policy_ref.name.clone());
    Ok(mine?
        .iter()
        .filter_map(|request| convert::peer(convert::request(request), policies.get(&request.spec.eligibility_ref.name).cloned()))
        .collect())
}

/// The input of the rules.
struct Case {
    request: RequestFacts,
    who: Stamp,
    stored: RoleEligibility,
    eligibility: Object<RoleEligibilitySpec>,
    policy: Object<ApprovalPolicySpec>,
    peers: Vec<Peer>,
    settings: Settings,
    at: Timestamp,
    /// The time for the check of the sign-in: a later request would have a new one.
    signed_in: Timestamp,
}

fn result_of(outcome: Result<(), Refusal>, passes: impl Into<String>) -> Answer {
    outcome.map_or_else(Answer::Fail, |()| Answer::Pass(passes.into()))
}

impl Case {
    fn lines(&self) -> Vec<Line> {
        let spec = &self.request.object.spec;
        let account = eligibility::subject(&self.who, &self.eligibility);
        // Reviews under other policies are left to the server-side dry run.
        let owed = self.policy.owed.iter().flat_map(|owed| &owed.reviews);
        let debts: Vec<Debt> = owed.map(|review| Debt { policy: self.policy.name.clone(), review: review.clone() }).collect();
        let input = LimitsInput {
            request: &self.request,
            requester: &self.who,
            policy: &self.policy,
            peers: &self.peers,
            debts: &debts,
            identities: &self.settings.identities,
        };
        let skips = emergency::skips(spec, &self.policy.spec);
        let asked = duration::check(spec, &self.eligibility, &self.policy, &self.settings);
        let limits = self.policy.spec.limits.clone().unwrap_or_default();
        let ends = self.eligibility.spec.end_time;
        let ends = ends.map_or_else(|| "the eligibility has no end".to_owned(), |end| format!("until {}", stamp(end)));
        let is_subject = format!("'{}' is a subject of '{}'", self.who.username, self.eligibility.name);
        let only = one_live::check(&self.request, &self.who, &self.peers, &self.settings.identities);
        let mut lines = vec![
            Line("policy", self.usable()),
            Line("eligible", result_of(account.clone().map(drop), is_subject)),
            Line("namespace", result_of(self.covered(), format!("'{}' is covered", self.request.namespace))),
            Line("time", result_of(eligibility::in_time(&self.eligibility, self.at), ends)),
            Line("role", self.ready()),
            Line("duration", asked.clone().map_or_else(Answer::Fail, |length| Answer::Pass(length.to_string()))),
            Line("reason", self.reason()),
            Line("ticket", self.ticket()),
            Line("sign-in", self.evidence()),
            Line("one at a time", result_of(only, "no other request of yours for this role and namespace")),
        ];
        if let Ok(account) = &account {
            lines.push(Line("identity", result_of(self.identity(account), "group membership is recent enough")));
            if spec.emergency {
                let asked = asked.unwrap_or(self.eligibility.spec.max_duration);
                lines.push(Line("emergency", result_of(emergency::check(input, account, asked), "allowed; a review follows")));
            }
        }
        if limits.max_active_per_user.is_some()
            || limits.max_pending_per_user.is_some()
            || limits.max_schedule_ahead.is_some()
            || spec.start_time.is_some()
        {
            let within =
                limits::ahead(&self.request, &self.policy).and_then(|()| limits::pending(input)).and_then(|()| limits::active(input));
            lines.push(Line("limits", result_of(within, "within the limits")));
        }
        if limits.cooldown.is_some_and(|pause| !pause.is_zero()) && !skips {
            lines.push(Line("cooldown", result_of(limits::cooldown(input, self.at), "has passed")));
        }
        if !self.policy.spec.windows.is_empty() && !skips {
            let open = windows::describe(&self.policy.spec.windows);
            lines.push(Line("windows", result_of(windows::start(&self.policy, self.at), open)));
        }
        let approval = if skips { "skipped in an emergency".to_owned() } else { words::approval(&self.policy.spec) };
        lines.push(Line("approval", Answer::Pass(approval)));
        lines
    }

    fn usable(&self) -> Answer {
        let policy = Lookup::Found(Arc::new(self.policy.clone()));
        let usable = usable::usable(&Input { policy: Some(&policy), ..Input::new(&self.eligibility, &self.settings) });
        result_of(usable.map_err(|failed| failed.refusal), format!("'{}'", self.policy.name))
    }

    /// By name, or by the status, which has the matches of the selector.
    fn covered(&self) -> Result<(), Refusal> {
        let name = &self.request.namespace;
        namespace::protected(&self.eligibility.spec, name, &self.settings)?;
        if super::roles::may_cover(&self.stored, name) { Ok(()) } else { Err(eligibility::not_covered(&self.eligibility, name)) }
    }

    /// The operator's report on the role, since a requester cannot read roles.
    fn ready(&self) -> Answer {
        let role = words::role(&self.eligibility.spec.role_ref);
        match words::ready(&self.stored) {
            Some(condition) if condition.status == "False" => {
                let reason = api::Reason::ALL.iter().find(|reason| reason.as_str() == condition.reason).copied();
                Answer::Fail(Refusal::new(reason.unwrap_or(api::Reason::EligibilityNotReady), condition.message.clone()))
            }
            _ => Answer::Pass(role),
        }
    }

    fn reason(&self) -> Answer {
        let spec = &self.request.object.spec;
        match requirements::justification(spec, &self.policy) {
            Err(_) if spec.justification.is_none() => Answer::Needs("a reason (-r)".to_owned()),
            outcome => result_of(outcome, if spec.justification.is_some() { "valid" } else { "not required" }),
        }
    }

    fn ticket(&self) -> Answer {
        let spec = &self.request.object.spec;
        match evidence::ticket(spec, &self.policy) {
            Err(_) if spec.ticket.is_none() => Answer::Needs("a ticket (--ticket)".to_owned()),
            outcome => result_of(outcome, if spec.ticket.is_some() { "valid" } else { "not required" }),
        }
    }

    fn evidence(&self) -> Answer {
        let asked = self.policy.spec.requirements.as_ref().is_some_and(|rules| rules.authentication.is_some());
        result_of(
            evidence::check(&self.who, Party::Requester, self.signed_in, &self.policy),
            if asked { "shows the required values" } else { "not required" },
        )
    }

    fn identity(&self, account: &Account) -> Result<(), Refusal> {
        let (request, made) = (&self.request, self.request.object.created);
        term::identity(&self.who, account, made, term::planned(request), &self.eligibility, &self.policy)
    }
}
