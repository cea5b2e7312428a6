//! `kubectl jit check`: whether everything that an activation needs answers.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api,
    api::{ListParams, PostParams},
    client::Body,
};
use serde_json::json;

use crate::{
    api::{Reason, conditions, names::GROUP, text::printable},
    domain::{Refusal, author::Question},
    gather::access::{self, Access},
    kubernetes,
    plugin::{
        flags::Output,
        manifest::{self, Said},
        objects,
        paint::Paint,
        problem::{Exit, Problem},
        session::Session,
        table::{Cell, Column, Table},
        times::short,
    },
};

/// A clock that differs by more than this is told.
const SKEW: TimeDelta = TimeDelta::seconds(5);
/// A Lease that nobody has renewed for so long has no holder.
const STALE: TimeDelta = TimeDelta::seconds(15);
/// Pause between two looks with --wait.
const PAUSE: Duration = Duration::from_secs(2);

/// Looks whether everything that an activation needs answers.
///
/// The API server, the four kinds, your rights, the webhook, the operator; and whether clocks agree.
#[derive(Debug, Args)]
pub struct Options {
    /// Look again until everything is well, for at most so long; without a time, two minutes.
    #[arg(long, value_name = "TIME", value_parser = crate::plugin::flags::patience, num_args = 0..=1, default_missing_value = "2m", require_equals = true)]
    wait: Option<Duration>,
    #[command(flatten)]
    output: Output,
}

/// How one part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Well,
    /// It cannot be told with the rights of this person.
    Unknown,
    Broken,
}

struct Finding {
    what: &'static str,
    health: Health,
    said: String,
}

/// Looks.
pub async fn run(options: &Options, session: &Session) -> Result<Exit, Problem> {
    let begun = std::time::Instant::now();
    loop {
        let findings = look(session).await;
        let broken = findings.iter().any(|finding| finding.health == Health::Broken);
        if !broken || options.wait.is_none_or(|limit| begun.elapsed() >= limit) {
            print(options, session, &findings)?;
            return Ok(match (broken, options.wait) {
                (false, _) => Exit::Done,
                (true, Some(_)) => Exit::TimedOut,
                (true, None) => Exit::Failed,
            });
        }
        let first =
            findings.iter().find(|finding| finding.health == Health::Broken).map(|finding| format!("{}: {}", finding.what, finding.said));
        session.screen.progress(&format!("  waiting   {}", first.unwrap_or_default()));
        tokio::time::sleep(PAUSE).await;
    }
}

fn print(options: &Options, session: &Session, findings: &[Finding]) -> Result<(), Problem> {
    let word = |health| match health {
        Health::Well => ("ok", Paint::Good),
        Health::Unknown => ("unknown", Paint::Waits),
        Health::Broken => ("broken", Paint::Bad),
    };
    if !options.output.is_table() {
        let value: Vec<_> =
            findings.iter().map(|finding| json!({"what": finding.what, "health": word(finding.health).0, "says": finding.said})).collect();
        session.screen.data(&objects::data(&json!(value), options.output.output)?.unwrap_or_default());
        return Ok(());
    }
    let mut table = Table::new([Column::new("WHAT"), Column::new("HEALTH"), Column::new("SAYS")]);
    for finding in findings {
        let (text, paint) = word(finding.health);
        table.push([finding.what.into(), Cell::painted(text, paint), finding.said.as_str().into()]);
    }
    session.screen.table(&table, false, "");
    Ok(())
}

async fn look(session: &Session) -> Vec<Finding> {
    let (server, ahead) = api_server(session).await;
    // Without it nothing else says anything.
    if server.iter().any(|finding| finding.health == Health::Broken) {
        return server;
    }
    let (kinds, rights, webhook, lease) = tokio::join!(kinds(session), rights(session), webhook(session), leader(session, ahead));
    server.into_iter().chain([kinds, rights, webhook, lease]).collect()
}

/// How it answers, and by how much its clock is ahead of this machine's.
async fn api_server(session: &Session) -> (Vec<Finding>, TimeDelta) {
    let before = session.screen.times.now();
    let version = session.client.apiserver_version().await;
    let version = match version {
        Ok(version) => version,
        Err(error) => {
            let said = Problem::of(&format!("reach {}", session.server()), &error).to_string();
            return (vec![Finding { what: "api server", health: Health::Broken, said }], TimeDelta::zero());
        }
    };
    let (health, said) = match kubernetes::doubt(&version) {
        None => (Health::Well, format!("{} at {}", version.git_version, session.server())),
        Some(why) => (Health::Unknown, format!("{}: {why}", version.git_version)),
    };
    let (clock, ahead) = clock(session, before).await;
    (vec![Finding { what: "api server", health, said }, clock], ahead)
}

/// The API server's clock against this machine's: `--start` and the time left are shown by ours, and decided by its.
async fn clock(session: &Session, before: DateTime<Utc>) -> (Finding, TimeDelta) {
    let unknown = |said: &str| (Finding { what: "clock", health: Health::Unknown, said: said.to_owned() }, TimeDelta::zero());
    let Ok(request) = http::Request::get("/version").body(Body::empty()) else { return unknown("cannot be asked") };
    let Ok(answer) = session.client.send(request).await else { return unknown("cannot be asked") };
    let after = session.screen.times.now();
    let Some(theirs) = kubernetes::time_of_answer(answer.headers()) else {
        return unknown("the API server does not say what time it is");
    };
    // Its second began at some time within the call.
    let ahead = if theirs > after {
        theirs - after
    } else if theirs < before - TimeDelta::seconds(1) {
        theirs - before
    } else {
        TimeDelta::zero()
    };
    if ahead.abs() <= SKEW {
        return (Finding { what: "clock", health: Health::Well, said: "agrees with the API server's".to_owned() }, ahead);
    }
    let said = format!("differs from the API server's by {}: times that are left are shown wrong here", short(ahead.abs()));
    (Finding { what: "clock", health: Health::Unknown, said }, ahead)
}

async fn kinds(session: &Session) -> Finding {
    let what = "kinds";
    match session.client.list_api_group_resources(&format!("{GROUP}/v1alpha1")).await {
        Ok(found) => {
            let wanted = ["roleeligibilities", "approvalpolicies", "roleactivationrequests", "activationdecisions"];
            let missing: Vec<&str> =
                wanted.into_iter().filter(|plural| !found.resources.iter().any(|resource| resource.name == *plural)).collect();
            if missing.is_empty() {
                Finding { what, health: Health::Well, said: format!("{GROUP}/v1alpha1 is served") }
            } else {
                Finding {
                    what,
                    health: Health::Broken,
                    said: format!("{GROUP} lacks {}: are the CRDs of the chart installed?", missing.join(", ")),
                }
            }
        }
        Err(kube::Error::Api(status)) if status.code == 404 => {
            Finding { what, health: Health::Broken, said: format!("{GROUP} is not served: jit-rbac is not installed in this cluster") }
        }
        Err(error) => Finding { what, health: Health::Broken, said: Problem::of("ask for the kinds", &error).to_string() },
    }
}

/// Whether this person may do what a requester does.
async fn rights(session: &Session) -> Finding {
    let what = "your rights";
    let namespace = match session.namespace() {
        Ok(namespace) => namespace,
        Err(problem) => return Finding { what, health: Health::Unknown, said: problem.to_string() },
    };
    let asked = [
        ("create", "roleactivationrequests", Some(namespace.as_str())),
        ("create", "activationdecisions", Some(namespace.as_str())),
        ("list", "roleactivationrequests", None),
        ("watch", "roleactivationrequests", Some(namespace.as_str())),
        ("list", "roleeligibilities", None),
        ("list", "approvalpolicies", None),
    ];
    let mut missing = Vec::new();
    for (verb, resource, namespace) in asked {
        let question = Question { verb, group: GROUP, resource, name: "", namespace };
        match access::ask_of_us(&session.client, || format!("whether you may {verb} {resource}"), &question).await {
            Ok(Access::Yes) => {}
            Ok(Access::No) => missing.push(format!("{verb} {resource}")),
            Ok(Access::Unclear(why)) => return Finding { what, health: Health::Unknown, said: printable(&why) },
            Err(error) => return Finding { what, health: Health::Broken, said: error.to_string() },
        }
    }
    if missing.is_empty() {
        return Finding { what, health: Health::Well, said: format!("you may ask and decide in namespace '{namespace}'") };
    }
    let missing = missing.join(", ");
    // Who defines eligibilities need not be eligible for anything himself.
    let defines = Question { verb: "update", group: GROUP, resource: "roleeligibilities", name: "", namespace: None };
    if let Ok(Access::Yes) = access::ask_of_us(&session.client, || "whether you may update roleeligibilities".to_owned(), &defines).await {
        return Finding { what, health: Health::Unknown, said: format!("as an admin; to activate something yourself you lack: {missing}") };
    }
    let said = format!("you may not {missing}: an admin must bind you to the ClusterRole for requesters (chart jit-access)");
    Finding { what, health: Health::Broken, said }
}

/// Whether the webhook answers: a request for an eligibility that cannot exist is refused by it, in a dry run.
async fn webhook(session: &Session) -> Finding {
    let what = "webhook";
    let asked = async {
        let namespace = session.namespace()?;
        let mut nobody = manifest::request("-", &namespace, "check", &Said::default())?;
        "jit-check-".clone_into(nobody.metadata.generate_name.get_or_insert_default());
        let api = session.api::<crate::api::RoleActivationRequest>(&namespace)?;
        let how = PostParams { dry_run: true, field_manager: Some(super::FIELD_MANAGER.to_owned()) };
        api.create(&how, &nobody).await.map_err(|error| Problem::of("ask the webhook", &error))
    };
    match asked.await {
        Err(Problem::Refused { reason: Some(reason), message }) => {
            let well = reason == Reason::EligibilityNotFound;
            let said = if well { "answers, and refuses what it should".to_owned() } else { Refusal::new(reason, message).to_string() };
            Finding { what, health: if well { Health::Well } else { Health::Unknown }, said }
        }
        Err(Problem::Forbidden(why)) => Finding { what, health: Health::Unknown, said: why },
        Err(problem) => Finding { what, health: Health::Broken, said: problem.to_string() },
        Ok(_) => Finding {
            what,
            health: Health::Broken,
            said: "let through what it must refuse: is the webhook configuration in place?".to_owned(),
        },
    }
}

/// Who holds the Lease, where that may be read; the API server's clock is `ahead` of ours.
async fn leader(session: &Session, ahead: TimeDelta) -> Finding {
    let what = "operator";
    let api: Api<Lease> = Api::all(session.client.clone());
    let leases = match api.list(&ListParams::default()).await.map_err(|error| Problem::of("read its Lease", &error)) {
        Ok(leases) => leases,
        Err(Problem::Forbidden(_)) => {
            let said = "you may not read its Lease; a cluster-admin may, or who may list Leases".to_owned();
            return Finding { what, health: Health::Unknown, said };
        }
        Err(problem) => return Finding { what, health: Health::Unknown, said: problem.to_string() },
    };
    // The one that holds the record of the guards.
    let ours =
        leases.items.into_iter().find(|lease| lease.metadata.annotations.iter().flatten().any(|(key, _)| key == crate::api::names::GUARDS));
    let Some(spec) = ours.and_then(|lease| lease.spec) else {
        return Finding { what, health: Health::Broken, said: "there is no Lease of it: has it ever run?".to_owned() };
    };
    let holder = spec.holder_identity.unwrap_or_default();
    let renewed = spec.renew_time.map(|time| conditions::from_time(&k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(time.0)));
    let silent = renewed.map_or(TimeDelta::MAX, |at| (session.screen.times.now() + ahead).signed_duration_since(at));
    if holder.is_empty() || silent > STALE {
        return Finding {
            what,
            health: Health::Broken,
            said: format!(
                "no replica holds the Lease, for {}: nothing is granted; what ends is still ended by any replica that runs",
                short(silent.min(TimeDelta::days(3650)))
            ),
        };
    }
    Finding { what, health: Health::Well, said: format!("'{holder}' holds the Lease") }
}
