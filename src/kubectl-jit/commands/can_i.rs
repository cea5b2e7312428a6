//! `kubectl jit can-i ELIGIBILITY`: every rule, by the same code that the operator decides with, and nothing is created.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use clap::Args;
use kube::ResourceExt;
use serde_json::json;

use super::activate::{Start, start};
use crate::{
    flags::Output,
    manifest::{self, Asked},
    objects,
    paint::Paint,
    problem::{Exit, Problem},
    read::{Scope, eligibility_facts, policy_facts, request_facts},
    session::Session,
    suggest,
    table::{Cell, Column, Table},
    words,
};
use api::{ApprovalPolicySpec, RoleActivationRequest, RoleEligibility, RoleEligibilitySpec, Stamp, duration::LONGEST, policy::Party};
use domain::{
    Debt, Lookup, Object, Peer, Record, Refusal, RequestFacts, Settings, convert, duration, eligibility, emergency, evidence,
    instant::stamp,
    limits, namespace, one_live,
    peers::Beside,
    person::{Account, Identities},
    requirements,
    settings::GuardedLabels,
    start as term,
    usable::{self, Input},
    windows,
};

/// Checks, rule by rule, whether you could activate a role.
///
/// Now or at another time, by the code that the operator decides with; nothing is created. Exit code 5 says that a rule refuses it.
///
/// Where everything is given that the policy requires, the API server is asked too, by a dry run.
#[derive(Debug, Args)]
pub struct Options {
    /// Name of the eligibility.
    #[arg(value_name = "ELIGIBILITY")]
    name: String,
    #[command(flatten)]
    asked: Asked,
    /// As if it were asked for at another time: a time such as 2026-12-01T08:00:00Z, or how long from now, such as 2h.
    #[arg(long, value_name = "WHEN", value_parser = start)]
    at: Option<Start>,
    #[command(flatten)]
    output: Output,
}

/// What a rule says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    Pass(String),
    Fail(Refusal),
    Needs(String),
}

/// A rule and what it says.
struct Line {
    rule: &'static str,
    said: Answer,
}

/// Says it.
pub async fn run(options: &Options, session: &Session) -> Result<Exit, Problem> {
    let found = suggest::eligibility(session, &options.name).await?;
    let stored_policy = session.policy(&found.spec.policy_ref.name).await?;
    let (me, namespace, now) = (session.me().await?, session.namespace()?, session.screen.times.now());
    let at = options.at.map_or(now, |start| start.from(now));
    let said = options.asked.said(None);
    let wanted = manifest::request(&found.name_any(), &namespace, me.name(), &said)?;
    let Some(stored_policy) = stored_policy else {
        let refusal = Refusal::new(
            api::Reason::PolicyNotFound,
            format!("there is no policy '{}', so nothing can be activated", found.spec.policy_ref.name),
        );
        return report(options, session, &[Line { rule: "policy", said: Answer::Fail(refusal) }]);
    };
    let peers = peers(session, &found).await?;
    let case = Case {
        request: hypothetical(&wanted, &me.stamp, at),
        signed_in: now,
        who: me.stamp.clone(),
        stored: found.clone(),
        eligibility: eligibility_facts(&found),
        policy: policy_facts(&stored_policy),
        peers,
        settings: settings(),
        at,
    };
    let mut lines = case.lines();
    // The API server has the last word: it knows roles, namespaces and settings that a requester cannot read.
    let open = lines.iter().any(|line| !matches!(line.said, Answer::Pass(_)));
    if !open && options.at.is_none() {
        lines.push(Line { rule: "api server", said: asked(session, &wanted).await? });
    }
    report(options, session, &lines)
}

async fn asked(session: &Session, wanted: &RoleActivationRequest) -> Result<Answer, Problem> {
    let api = session.api::<RoleActivationRequest>(&wanted.namespace().unwrap_or_default())?;
    let how = kube::api::PostParams { dry_run: true, field_manager: Some(api::names::PLUGIN_FIELD_MANAGER.to_owned()) };
    match api.create(&how, wanted).await.map_err(|error| Problem::of("ask the API server", &error)) {
        Ok(_) => Ok(Answer::Pass("would accept the request (server dry run)".to_owned())),
        Err(Problem::Refused { reason, message }) => Ok(Answer::Fail(Refusal::new(reason.unwrap_or(api::Reason::InvalidField), message))),
        Err(other) => Err(other),
    }
}

fn report(options: &Options, session: &Session, lines: &[Line]) -> Result<Exit, Problem> {
    let failed = lines.iter().any(|line| matches!(line.said, Answer::Fail(_)));
    let exit = if failed { Exit::Refused } else { Exit::Done };
    if !options.output.is_table() {
        let value: Vec<_> = lines.iter().map(Line::data).collect();
        session
            .screen
            .data(&objects::data(&json!(value), options.output.output)?.unwrap_or_else(|| if failed { "no" } else { "yes" }.to_owned()));
        return Ok(exit);
    }
    let mut table = Table::new([Column::new("RULE"), Column::new("RESULT"), Column::new("WHY")]);
    for line in lines {
        let (word, paint, why) = line.shown();
        table.push([line.rule.into(), Cell::painted(word, paint), why.into()]);
    }
    session.screen.table(&table, false, "");
    let needs: Vec<&str> =
        lines.iter().filter_map(|line| if let Answer::Needs(what) = &line.said { Some(what.as_str()) } else { None }).collect();
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
        match &self.said {
            Answer::Pass(why) => ("pass", Paint::Good, why.clone()),
            Answer::Fail(refusal) => ("fail", Paint::Bad, refusal.to_string()),
            Answer::Needs(what) => ("needs", Paint::Waits, what.clone()),
        }
    }

    fn data(&self) -> serde_json::Value {
        let (word, _, why) = self.shown();
        let reason = if let Answer::Fail(refusal) = &self.said { Some(refusal.reason) } else { None };
        json!({"rule": self.rule, "result": word, "why": why, "reason": reason})
    }
}

/// What a requester can know of the chart's values: nothing. Each is as lenient as can be, and the API server's dry run says the rest.
fn settings() -> Settings {
    Settings {
        operator_namespace: String::new(),
        max_grant: LONGEST,
        identities: Identities::default(),
        system_namespaces: namespace::SYSTEM_NAMESPACES.map(str::to_owned).to_vec(),
        guarded_labels: GuardedLabels::default(),
    }
}

/// The request as if it were made at this time.
fn hypothetical(wanted: &RoleActivationRequest, who: &Stamp, at: DateTime<Utc>) -> RequestFacts {
    let mut facts = request_facts(wanted);
    facts.object.created = at;
    // After everything that exists.
    "~".clone_into(&mut facts.object.uid);
    facts.object.spec.requester = Some(who.clone());
    facts.record = Record::default();
    facts
}

/// The person's other requests, each under the policy that its eligibility names.
async fn peers(session: &Session, eligibility: &RoleEligibility) -> Result<Vec<Peer>, Problem> {
    let (mine, all) = tokio::join!(session.my_requests(&Scope::All, ""), session.eligibilities());
    let mut policies: std::collections::BTreeMap<String, String> =
        all?.into_iter().map(|one| (one.name_any(), one.spec.policy_ref.name)).collect();
    policies.insert(eligibility.name_any(), eligibility.spec.policy_ref.name.clone());
    Ok(mine?
        .iter()
        .filter_map(|request| convert::peer(request_facts(request), policies.get(&request.spec.eligibility_ref.name).cloned()))
        .collect())
}

/// Everything that the rules look at.
struct Case {
    request: RequestFacts,
    who: Stamp,
    stored: RoleEligibility,
    eligibility: Object<RoleEligibilitySpec>,
    policy: Object<ApprovalPolicySpec>,
    peers: Vec<Peer>,
    settings: Settings,
    at: DateTime<Utc>,
    /// When the sign-in is looked at: whoever asks later signs in again.
    signed_in: DateTime<Utc>,
}

fn said(outcome: Result<(), Refusal>, passes: impl Into<String>) -> Answer {
    outcome.map_or_else(Answer::Fail, |()| Answer::Pass(passes.into()))
}

impl Case {
    fn lines(&self) -> Vec<Line> {
        let spec = &self.request.object.spec;
        let account = eligibility::subject(&self.who, &self.eligibility);
        // Of other policies the API server's dry run knows.
        let owed = self.policy.owed.iter().flat_map(|owed| &owed.reviews);
        let debts: Vec<Debt> = owed.map(|review| Debt { policy: self.policy.name.clone(), review: review.clone() }).collect();
        let beside = Beside {
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
        let mut lines = vec![
            Line { rule: "policy", said: self.usable() },
            Line {
                rule: "eligible",
                said: said(account.clone().map(|_| ()), format!("'{}' is a subject of '{}'", self.who.username, self.eligibility.name)),
            },
            Line { rule: "namespace", said: said(self.covered(), format!("'{}' is covered", self.request.namespace)) },
            Line {
                rule: "time",
                said: said(
                    eligibility::in_time(&self.eligibility, self.at),
                    self.eligibility
                        .spec
                        .end_time
                        .map_or_else(|| "the eligibility has no end".to_owned(), |end| format!("until {}", stamp(end))),
                ),
            },
            Line { rule: "role", said: self.ready() },
            Line {
                rule: "duration",
                said: match &asked {
                    Ok(length) => Answer::Pass(length.to_string()),
                    Err(refusal) => Answer::Fail(refusal.clone()),
                },
            },
            Line { rule: "reason", said: self.reason() },
            Line { rule: "ticket", said: self.ticket() },
            Line { rule: "sign-in", said: self.evidence() },
            Line {
                rule: "one at a time",
                said: said(
                    one_live::check(&self.request, &self.who, &self.peers, &self.settings.identities),
                    "no other request of yours for this role and namespace",
                ),
            },
        ];
        if let Ok(account) = &account {
            lines.push(Line { rule: "identity", said: said(self.identity(account), "group membership is recent enough") });
            if spec.emergency {
                let asked = asked.unwrap_or(self.eligibility.spec.max_duration);
                lines.push(Line { rule: "emergency", said: said(emergency::check(beside, account, asked), "allowed; a review follows") });
            }
        }
        if limits.max_active_per_user.is_some()
            || limits.max_pending_per_user.is_some()
            || limits.max_schedule_ahead.is_some()
            || spec.start_time.is_some()
        {
            let within =
                limits::ahead(&self.request, &self.policy).and_then(|()| limits::pending(beside)).and_then(|()| limits::active(beside));
            lines.push(Line { rule: "limits", said: said(within, "within the limits") });
        }
        if limits.cooldown.is_some_and(|pause| !pause.is_zero()) && !skips {
            lines.push(Line { rule: "cooldown", said: said(limits::cooldown(beside, self.at), "over") });
        }
        if !self.policy.spec.windows.is_empty() && !skips {
            lines.push(Line {
                rule: "hours",
                said: said(windows::start(&self.policy, self.at), windows::in_words(&self.policy.spec.windows)),
            });
        }
        let approval = if skips { "skipped in an emergency".to_owned() } else { words::approval(&self.policy.spec) };
        lines.push(Line { rule: "approval", said: Answer::Pass(approval) });
        lines
    }

    fn usable(&self) -> Answer {
        let policy = Lookup::Found(Arc::new(self.policy.clone()));
        let usable = usable::usable(&Input { policy: Some(&policy), ..Input::new(&self.eligibility, &self.settings) });
        said(usable.map_err(|failed| failed.refusal), format!("'{}'", self.policy.name))
    }

    /// By name, or as the operator has found it by labels.
    fn covered(&self) -> Result<(), Refusal> {
        let name = &self.request.namespace;
        namespace::protected(&self.eligibility.spec, name, &self.settings)?;
        if super::roles::may_cover(&self.stored, name) { Ok(()) } else { Err(eligibility::not_covered(&self.eligibility, name)) }
    }

    /// What the operator says of the role: a requester can read none.
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
            outcome => said(outcome, if spec.justification.is_some() { "fits" } else { "not asked for" }),
        }
    }

    fn ticket(&self) -> Answer {
        let spec = &self.request.object.spec;
        match evidence::ticket(spec, &self.policy) {
            Err(_) if spec.ticket.is_none() => Answer::Needs("a ticket (--ticket)".to_owned()),
            outcome => said(outcome, if spec.ticket.is_some() { "fits" } else { "not asked for" }),
        }
    }

    fn evidence(&self) -> Answer {
        let asked = self.policy.spec.requirements.as_ref().is_some_and(|rules| rules.authentication.is_some());
        said(
            evidence::check(&self.who, Party::Requester, self.signed_in, &self.policy),
            if asked { "shows what is asked for" } else { "not asked for" },
        )
    }

    fn identity(&self, account: &Account) -> Result<(), Refusal> {
        let (request, made) = (&self.request, self.request.object.created);
        term::identity(&self.who, account, made, term::planned(request), &self.eligibility, &self.policy)
    }
}
