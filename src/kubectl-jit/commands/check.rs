//! `kubectl jit check`: checks the health of jit-rbac.

use std::time::Duration;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    coordination::v1::{Lease, LeaseSpec},
    core::v1::{ConfigMap, Event},
};
use kube::{
    Api,
    api::{DynamicObject, ListParams, PostParams},
    client::Body,
};
use serde_json::json;

use crate::{
    flags::Output,
    manifest::{self, RequestValues},
    objects,
    paint::Paint,
    problem::{Exit, Problem},
    read::{Scope, full_name},
    session::Session,
    table::{Column, Table},
    times::short,
    words,
};
use api::{
    Reason, State,
    names::{self, GROUP},
    text::printable,
};
use domain::{
    Refusal,
    author::Question,
    convert::attributes,
    guards::{DIFFERS, compare, cure, expected::Expected, ledger::Ledger},
};
use kube_io::{
    access::{self, Access},
    call::ReadError,
    kubernetes,
    lease::LeaseState,
};

/// A larger difference of clocks is reported.
const SKEW: SignedDuration = SignedDuration::from_secs(5);
/// The maximum age of the last verification of the guards: the leader verifies them every ten seconds, and stops granting after thirty
/// seconds without success.
const VERIFIED_WITHIN: SignedDuration = SignedDuration::from_secs(60);
/// The maximum number of listed guards, and of listed unused objects.
const NAMED: usize = 5;
/// The interval of checks with --wait.
const PAUSE: Duration = Duration::from_secs(2);

/// Checks that jit-rbac is healthy.
///
/// It checks the API server and its clock, the four kinds, your permissions, the webhook, the operator, and the admission guards, without
/// which nothing is granted. Parts that you may not read are unknown. Exit code 1 means that a part is broken.
#[derive(Debug, Args)]
pub struct Options {
    /// Check again until no part is broken, at most for this time; defaults to two minutes.
    #[arg(long, value_name = "TIME", value_parser = crate::flags::patience, num_args = 0..=1, default_missing_value = "2m", require_equals = true)]
    wait: Option<Duration>,
    #[command(flatten)]
    output: Output,
}

/// The health of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Ok,
    /// The permissions of the user are not sufficient.
    Unknown,
    Broken,
}

impl Health {
    fn of(self, what: &'static str, message: impl Into<String>) -> Finding {
        Finding { what, health: self, message: message.into() }
    }
}

struct Finding {
    what: &'static str,
    health: Health,
    message: String,
}

/// Checks all parts.
pub async fn run(options: &Options, session: &Session) -> Result<Exit, Problem> {
    let begun = std::time::Instant::now();
    loop {
        let findings = check_all(session).await;
        let broken = findings.iter().any(|finding| finding.health == Health::Broken);
        if !broken || options.wait.is_none_or(|limit| begun.elapsed() >= limit) {
            print(options, session, &findings)?;
            return Ok(match (broken, options.wait) {
                (false, _) => Exit::Done,
                (true, Some(_)) => Exit::TimedOut,
                (true, None) => Exit::Failed,
            });
        }
        let first = findings
            .iter()
            .find(|finding| finding.health == Health::Broken)
            .map(|finding| format!("{}: {}", finding.what, finding.message));
        session.screen.progress(&format!("  waiting   {}", first.unwrap_or_default()));
        tokio::time::sleep(PAUSE).await;
    }
}

fn print(options: &Options, session: &Session, findings: &[Finding]) -> Result<(), Problem> {
    let word = |health| match health {
        Health::Ok => ("ok", Paint::Good),
        Health::Unknown => ("unknown", Paint::Waits),
        Health::Broken => ("broken", Paint::Bad),
    };
    if !options.output.is_table() {
        let value: Vec<_> = findings
            .iter()
            .map(|finding| json!({"what": finding.what, "health": word(finding.health).0, "says": finding.message}))
            .collect();
        // `-o name` lists the parts that are not ok.
        let names =
            || findings.iter().filter(|finding| finding.health != Health::Ok).map(|finding| finding.what).collect::<Vec<_>>().join("\n");
        let text = objects::data(&json!(value), options.output.output)?.unwrap_or_else(names);
        if !text.is_empty() {
            session.screen.data(&text);
        }
        return Ok(());
    }
    let mut table = Table::default();
    for finding in findings {
        let (text, paint) = word(finding.health);
        let (what, says) = (Column::new("WHAT").of(finding.what), Column::new("SAYS").of(&finding.message));
        table.push([what, Column::new("HEALTH").painted(text, paint), says]);
    }
    session.screen.table(&table, false, "");
    Ok(())
}

async fn check_all(session: &Session) -> Vec<Finding> {
    let (server, ahead) = api_server(session).await;
    // Without the API server, nothing else can be checked.
    if server.iter().any(|finding| finding.health == Health::Broken) {
        return server;
    }
    let (kinds, rights, webhook, operator) = tokio::join!(kinds(session), rights(session), webhook(session), operator(session, ahead));
    server.into_iter().chain([kinds, rights, webhook]).chain(operator).collect()
}

/// Checks the API server, and returns by how much its clock is ahead of the local one.
async fn api_server(session: &Session) -> (Vec<Finding>, SignedDuration) {
    let before = session.screen.times.now();
    let version = session.client.apiserver_version().await;
    let version = match version {
        Ok(version) => version,
        Err(error) => {
            let message = Problem::of(&format!("reach {}", session.server()), &error).to_string();
            return (vec![Health::Broken.of("api server", message)], SignedDuration::ZERO);
        }
    };
    let (health, message) = match kubernetes::doubt(&version) {
        None => (Health::Ok, format!("{} at {}", version.git_version, session.server())),
        Some(why) => (Health::Unknown, format!("{}: {why}", version.git_version)),
    };
    let (clock, ahead) = clock(session, before).await;
    (vec![health.of("api server", message), clock], ahead)
}

/// Compares the API server's clock with the local one: `--start` and the remaining time are shown by the local clock, and decided by the
/// other.
async fn clock(session: &Session, before: Timestamp) -> (Finding, SignedDuration) {
    let unknown = |message: &str| (Health::Unknown.of("clock", message), SignedDuration::ZERO);
    let Ok(request) = http::Request::get("/version").body(Body::empty()) else { return unknown("cannot be read") };
    let Ok(answer) = session.client.send(request).await else { return unknown("cannot be read") };
    let after = session.screen.times.now();
    let Some(theirs) = kubernetes::time_of_answer(answer.headers()) else {
        return unknown("the API server's answer has no time");
    };
    // The second of the response started at some time within the call.
    let ahead = if theirs > after {
        theirs.duration_since(after)
    } else if theirs.duration_since(before) < SignedDuration::from_secs(-1) {
        theirs.duration_since(before)
    } else {
        SignedDuration::ZERO
    };
    if ahead.abs() <= SKEW {
        return (Health::Ok.of("clock", "agrees with the API server's"), ahead);
    }
    let message = format!("differs from the API server's by {}: remaining times shown here are wrong", short(ahead.abs()));
    (Health::Unknown.of("clock", message), ahead)
}

async fn kinds(session: &Session) -> Finding {
    let what = "kinds";
    match session.client.list_api_group_resources(&format!("{GROUP}/v1alpha1")).await {
        Ok(found) => {
            let wanted = ["roleeligibilities", "approvalpolicies", "roleactivationrequests", "activationdecisions"];
            let missing: Vec<&str> =
                wanted.into_iter().filter(|plural| !found.resources.iter().any(|resource| resource.name == *plural)).collect();
            if missing.is_empty() {
                Health::Ok.of(what, format!("{GROUP}/v1alpha1 is served"))
            } else {
                Health::Broken.of(what, format!("{GROUP} lacks {}: are the CRDs of the chart installed?", missing.join(", ")))
            }
        }
        Err(kube::Error::Api(status)) if status.code == 404 => {
            Health::Broken.of(what, format!("{GROUP} is not served: jit-rbac is not installed in this cluster"))
        }
        Err(error) => Health::Broken.of(what, Problem::of("list the API resources", &error).to_string()),
    }
}

/// Checks the permissions of a requester.
async fn rights(session: &Session) -> Finding {
    let what = "your rights";
    let namespace = match session.namespace() {
        Ok(namespace) => namespace,
        Err(problem) => return Health::Unknown.of(what, problem.to_string()),
    };
    let asked = [
        ("create", "roleactivationrequests", Some(namespace.as_str())),
        ("create", "activationdecisions", Some(namespace.as_str())),
        ("list", "roleactivationrequests", Some(namespace.as_str())),
        ("watch", "roleactivationrequests", Some(namespace.as_str())),
        ("list", "roleeligibilities", None),
        ("list", "approvalpolicies", None),
    ];
    let mut missing = Vec::new();
    for (verb, resource, namespace) in asked {
        match may(session, verb, resource, namespace).await {
            Ok(Access::Yes) => {}
            Ok(Access::No) => missing.push(format!("{verb} {resource}")),
            Ok(Access::Unclear(why)) => return Health::Unknown.of(what, printable(&why)),
            Err(error) => return Health::Broken.of(what, error.to_string()),
        }
    }
    if missing.is_empty() {
        let everywhere = may(session, "list", "roleactivationrequests", None).await;
        // With bindings in single namespaces this is expected.
        let narrow = if let Ok(Access::No) = everywhere { ", and list requests in your namespaces only" } else { "" };
        return Health::Ok.of(what, format!("you may create requests and decisions in namespace '{namespace}'{narrow}"));
    }
    let missing = missing.join(", ");
    // An author of eligibilities need not be a requester.
    if let Ok(Access::Yes) = may(session, "update", "roleeligibilities", None).await {
        return Health::Unknown.of(what, format!("you are an admin; to activate a role yourself you need: {missing}"));
    }
    let message = format!("you may not {missing}: an admin must bind you to the ClusterRole for requesters (chart jit-access)");
    Health::Broken.of(what, message)
}

async fn may(session: &Session, verb: &'static str, resource: &'static str, namespace: Option<&str>) -> Result<Access, ReadError> {
    let question = Question { verb, group: GROUP, resource, name: "", namespace };
    access::ask_of_us(&session.client, || format!("whether you may {verb} {resource}"), attributes(&question)).await
}

/// Checks the webhook: in a dry run, it must deny a request for an eligibility that cannot exist.
async fn webhook(session: &Session) -> Finding {
    let what = "webhook";
    let asked = async {
        let namespace = session.namespace()?;
        let mut nobody = manifest::request("-", &namespace, "check", &RequestValues::default())?;
        "jit-check-".clone_into(nobody.metadata.generate_name.get_or_insert_default());
        let api = session.api::<api::RoleActivationRequest>(&namespace)?;
        let how = PostParams { dry_run: true, field_manager: Some(api::names::PLUGIN_FIELD_MANAGER.to_owned()) };
        api.create(&how, &nobody).await.map_err(|error| Problem::of("call the webhook", &error))
    };
    match asked.await {
        Err(Problem::Refused { reason: Some(reason), message }) => {
            if reason == Reason::EligibilityNotFound {
                Health::Ok.of(what, "answers, and denies an invalid request")
            } else {
                Health::Unknown.of(what, Refusal::new(reason, message).to_string())
            }
        }
        Err(Problem::Forbidden(why)) => Health::Unknown.of(what, why),
        Err(problem) => Health::Broken.of(what, problem.to_string()),
        Ok(_) => Health::Broken.of(what, "accepted a request that it must deny: is the webhook configuration installed?"),
    }
}

/// Checks the operator and its guards by the Lease, if it can be read; the API server's clock is `ahead` of the local one.
async fn operator(session: &Session, ahead: SignedDuration) -> Vec<Finding> {
    let api: Api<Lease> = Api::all(session.client.clone());
    let leases = match api.list(&ListParams::default()).await.map_err(|error| Problem::of("read its Lease", &error)) {
        Ok(leases) => leases,
        Err(problem) => {
            let message = match problem {
                Problem::Forbidden(_) => "needs permission to list Leases (ask a cluster admin)".to_owned(),
                other => other.to_string(),
            };
            let guards = held_back(session).await.unwrap_or_else(|| Health::Unknown.of("guards", message.clone()));
            return vec![Health::Unknown.of("operator", message), guards];
        }
    };
    // The Lease with the record of the guards.
    let record = |lease: &Lease| lease.metadata.annotations.as_ref().and_then(|all| all.get(names::GUARDS)).cloned();
    let Some(lease) = leases.items.into_iter().find(|lease| record(lease).is_some()) else {
        let message = "no controller has ever run: there is no Lease with the record of its guards".to_owned();
        return vec![Health::Broken.of("operator", message)];
    };
    let now = session.screen.times.now();
    let now = now.checked_add(ahead).unwrap_or(now);
    let spec = lease.spec.clone().unwrap_or_default();
    let last_event = last_event(session, &lease).await;
    let altered = altered(session, lease.metadata.namespace.as_deref().unwrap_or_default()).await;
    vec![leader(&spec, now), guards(record(&lease).as_deref(), now, last_event, &altered)]
}

/// Checks the holder and the validity of the Lease.
fn leader(spec: &LeaseSpec, now: Timestamp) -> Finding {
    let what = "operator";
    let LeaseState { holder, silent, valid } = LeaseState::at(spec, now);
    let Some(holder) = holder else {
        let silent = short(silent.min(SignedDuration::from_hours(24 * 3650)));
        let message = format!(
            "no controller has held the Lease for {silent}: new grants are on hold; expired grants are still removed by any running replica"
        );
        return Health::Broken.of(what, message);
    };
    Health::Ok.of(what, format!("'{holder}' holds the Lease, which is valid for {} at a time", short(valid)))
}

/// Checks that the guards are verified, by the record on the Lease. `last_event` is the last Event about them; `altered` are those that differ from
/// what the chart renders.
fn guards(record: Option<&str>, now: Timestamp, last_event: Option<(Reason, String)>, altered: &[String]) -> Finding {
    let what = "guards";
    let broken = |why: String| {
        let more = if altered.is_empty() { String::new() } else { format!("; different from what the chart renders: {}", listed(altered)) };
        Health::Broken.of(what, format!("new grants are on hold: {why}{more}"))
    };
    let Some(ledger) = Ledger::read(record) else {
        return broken("their record on the Lease cannot be read; was it written by another version?".to_owned());
    };
    let held = last_event.filter(|(reason, _)| *reason != Reason::GuardsVerified);
    let Some(since) = ledger.spans().last().filter(|_| ledger.lasts()).map(|span| span.from) else {
        let why = held.map_or_else(
            || {
                "the admission guards are not verified; the controller's log has the cause, and 'kubectl jit explain GuardsNotVerified' the remedy"
                    .to_owned()
            },
            |(_, message)| message,
        );
        return broken(why);
    };
    if let Some((Reason::ClockSkewed, message)) = held {
        return broken(message);
    }
    // The current span is certain until the second before the last verification.
    let last = ledger.certain().last().and_then(|span| span.until).unwrap_or(since);
    let ago = now.duration_since(last);
    if ago > VERIFIED_WITHIN {
        return broken(format!("the admission guards were last verified {} ago", short(ago)));
    }
    if !altered.is_empty() {
        return broken("the admission guards have changed and are being verified".to_owned());
    }
    let unused: Vec<String> = ledger.quarantined().iter().map(|one| format!("{:?} '{}'", one.kind, one.name)).collect();
    if !unused.is_empty() {
        let message = format!(
            "verified, but these objects are not used because they were written while the guards were not verified: {}; 'kubectl jit explain WrittenUnguarded' has the remedy",
            listed(&unused)
        );
        return Health::Broken.of(what, message);
    }
    Health::Ok.of(what, format!("verified for {}", short(now.duration_since(since))))
}

/// The first ones, and the number of others.
fn listed(all: &[String]) -> String {
    words::first(all.iter().map(|one| printable(one)), NAMED)
}

/// The last Event of the controller on its Lease; none if it has expired or cannot be read.
async fn last_event(session: &Session, lease: &Lease) -> Option<(Reason, String)> {
    let (namespace, name) = (lease.metadata.namespace.as_deref()?, lease.metadata.name.as_deref()?);
    let about = ListParams::default().fields(&format!("involvedObject.kind=Lease,involvedObject.name={name}")).limit(500);
    let events = session.api::<Event>(namespace).ok()?.list(&about).await.ok()?;
    let at = |event: &Event| event.event_time.as_ref().map(|time| time.0).or_else(|| event.last_timestamp.as_ref().map(|time| time.0));
    let last = events.items.into_iter().max_by_key(at)?;
    let reason = Reason::ALL.iter().find(|reason| last.reason.as_deref() == Some(reason.as_str()))?;
    Some((*reason, printable(&last.message.unwrap_or_default())))
}

/// The admission policies and webhook configurations that differ from what the chart renders, each with the difference and the remedy; empty if
/// they cannot be read. CRDs are not compared: the plugin may have another version than the operator.
async fn altered(session: &Session, namespace: &str) -> Vec<String> {
    let Ok(api) = session.api::<ConfigMap>(namespace) else { return Vec::new() };
    let Ok(maps) = api.list(&ListParams::default().limit(500)).await else { return Vec::new() };
    let rendered = maps.items.into_iter().find_map(|map| map.data?.remove("guards.json"));
    let Some(Ok(expected)) = rendered.map(|text| serde_json::from_str::<Vec<Expected>>(&text)) else { return Vec::new() };
    let found = session
        .each(expected, async |guard| {
            let api: Api<DynamicObject> = Api::all_with(session.client.clone(), &kube_io::resource::v1(guard.kind.names()));
            let why = match api.get_opt(&guard.name).await {
                Ok(Some(mut stored)) => {
                    // The API server writes the status of a policy.
                    if let Some(fields) = stored.data.as_object_mut() {
                        fields.remove("status");
                    }
                    format!("{DIFFERS}: {}", compare::difference(&guard.says, &stored.data)?)
                }
                Ok(None) => "is missing".to_owned(),
                // No permission to read it.
                Err(_) => return None,
            };
            let key = guard.key();
            Some(format!("{key} {why}. {}", cure(&key, &why)))
        })
        .await;
    found.into_iter().flatten().collect()
}

/// The same for a user who may not read the Lease: pending requests have the reason that grants are on hold.
async fn held_back(session: &Session) -> Option<Finding> {
    let pending = api::selectors::in_state(|state| state == State::Pending);
    let requests = session.requests(&Scope::All, &pending).await.ok()?;
    let held = |reason: Reason| matches!(reason, Reason::GuardsNotVerified | Reason::ClockSkewed | Reason::RecordUnavailable);
    let waits = requests.iter().find(|request| request.status.as_ref().and_then(|status| status.reason).is_some_and(held))?;
    Some(Health::Broken.of("guards", format!("{} waits: {}", full_name(waits), words::message(waits))))
}

#[cfg(test)]
mod tests;
