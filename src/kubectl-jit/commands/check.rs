//! `kubectl jit check`: whether everything that an activation needs is in order.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use k8s_openapi::{
    api::{
        coordination::v1::{Lease, LeaseSpec},
        core::v1::{ConfigMap, Event},
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::{
    Api,
    api::{DynamicObject, ListParams, PostParams},
    client::Body,
};
use serde_json::json;

use crate::{
    flags::Output,
    manifest::{self, Said},
    objects,
    paint::Paint,
    problem::{Exit, Problem},
    read::{Scope, full_name},
    session::Session,
    table::{Cell, Column, Table},
    times::short,
    words,
};
use api::{
    Reason, State, conditions,
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
    kubernetes,
};

/// A clock that differs by more than this is told.
const SKEW: TimeDelta = TimeDelta::seconds(5);
/// How long a Lease is valid that does not say so.
const VALID: TimeDelta = TimeDelta::seconds(15);
/// Guards that were not proven again for so long are not: the holder of the Lease proves them every ten seconds, and stops granting when for
/// thirty it cannot.
const UNPROVEN: TimeDelta = TimeDelta::seconds(60);
/// Most guards, and most objects that are not used, that are named.
const NAMED: usize = 5;
/// Pause between two looks with --wait.
const PAUSE: Duration = Duration::from_secs(2);

/// Checks that jit-rbac is healthy: whether everything that an activation needs is in order.
///
/// The API server and its clock, the four kinds, your rights, the webhook, the operator, and the admission guards, without which nothing is
/// granted. What you may not read is unknown. Exit code 1 says that something is broken.
#[derive(Debug, Args)]
pub struct Options {
    /// Check again until nothing is broken, for at most this long; without a time, two minutes.
    #[arg(long, value_name = "TIME", value_parser = crate::flags::patience, num_args = 0..=1, default_missing_value = "2m", require_equals = true)]
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
        // A name is that of what is not in order.
        let names =
            || findings.iter().filter(|finding| finding.health != Health::Well).map(|finding| finding.what).collect::<Vec<_>>().join("\n");
        let text = objects::data(&json!(value), options.output.output)?.unwrap_or_else(names);
        if !text.is_empty() {
            session.screen.data(&text);
        }
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
    let (kinds, rights, webhook, operator) = tokio::join!(kinds(session), rights(session), webhook(session), operator(session, ahead));
    server.into_iter().chain([kinds, rights, webhook]).chain(operator).collect()
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
        ("list", "roleactivationrequests", Some(namespace.as_str())),
        ("watch", "roleactivationrequests", Some(namespace.as_str())),
        ("list", "roleeligibilities", None),
        ("list", "approvalpolicies", None),
    ];
    let mut missing = Vec::new();
    for (verb, resource, namespace) in asked {
        let question = Question { verb, group: GROUP, resource, name: "", namespace };
        match access::ask_of_us(&session.client, || format!("whether you may {verb} {resource}"), attributes(&question)).await {
            Ok(Access::Yes) => {}
            Ok(Access::No) => missing.push(format!("{verb} {resource}")),
            Ok(Access::Unclear(why)) => return Finding { what, health: Health::Unknown, said: printable(&why) },
            Err(error) => return Finding { what, health: Health::Broken, said: error.to_string() },
        }
    }
    if missing.is_empty() {
        let everywhere = Question { verb: "list", group: GROUP, resource: "roleactivationrequests", name: "", namespace: None };
        let asked =
            access::ask_of_us(&session.client, || "whether you may list roleactivationrequests".to_owned(), attributes(&everywhere)).await;
        // Whoever binds people in their namespaces only has left nothing out.
        let narrow = if let Ok(Access::No) = asked { ", and list requests in your namespaces only" } else { "" };
        return Finding { what, health: Health::Well, said: format!("you may ask and decide in namespace '{namespace}'{narrow}") };
    }
    let missing = missing.join(", ");
    // Who defines eligibilities need not be eligible for anything himself.
    let defines = Question { verb: "update", group: GROUP, resource: "roleeligibilities", name: "", namespace: None };
    if let Ok(Access::Yes) =
        access::ask_of_us(&session.client, || "whether you may update roleeligibilities".to_owned(), attributes(&defines)).await
    {
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
        let api = session.api::<api::RoleActivationRequest>(&namespace)?;
        let how = PostParams { dry_run: true, field_manager: Some(api::names::PLUGIN_FIELD_MANAGER.to_owned()) };
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

/// The operator and its guards, by its Lease, where that may be read; the API server's clock is `ahead` of ours.
async fn operator(session: &Session, ahead: TimeDelta) -> Vec<Finding> {
    let api: Api<Lease> = Api::all(session.client.clone());
    let leases = match api.list(&ListParams::default()).await.map_err(|error| Problem::of("read its Lease", &error)) {
        Ok(leases) => leases,
        Err(problem) => {
            let said = match problem {
                Problem::Forbidden(_) => "needs permission to list Leases (ask a cluster admin)".to_owned(),
                other => other.to_string(),
            };
            let guards =
                held_back(session).await.unwrap_or_else(|| Finding { what: "guards", health: Health::Unknown, said: said.clone() });
            return vec![Finding { what: "operator", health: Health::Unknown, said }, guards];
        }
    };
    // The one that holds the record of the guards.
    let record = |lease: &Lease| lease.metadata.annotations.as_ref().and_then(|all| all.get(names::GUARDS)).cloned();
    let Some(lease) = leases.items.into_iter().find(|lease| record(lease).is_some()) else {
        let said = "no controller has ever run: there is no Lease with the record of its guards".to_owned();
        return vec![Finding { what: "operator", health: Health::Broken, said }];
    };
    let now = session.screen.times.now() + ahead;
    let spec = lease.spec.clone().unwrap_or_default();
    let told = told(session, &lease).await;
    let altered = altered(session, lease.metadata.namespace.as_deref().unwrap_or_default()).await;
    vec![leader(&spec, now), guards(record(&lease).as_deref(), now, told, &altered)]
}

/// Who holds the Lease, and whether it is still valid by what it says itself.
fn leader(spec: &LeaseSpec, now: DateTime<Utc>) -> Finding {
    let what = "operator";
    let holder = spec.holder_identity.clone().unwrap_or_default();
    let renewed = spec.renew_time.as_ref().map(|time| conditions::from_time(&Time(time.0)));
    let silent = renewed.map_or(TimeDelta::MAX, |at| now.signed_duration_since(at));
    let valid = spec.lease_duration_seconds.map_or(VALID, |seconds| TimeDelta::seconds(seconds.into()));
    if holder.is_empty() || silent > valid {
        let silent = short(silent.min(TimeDelta::days(3650)));
        let said = format!(
            "no controller has held the Lease for {silent}: new grants are on hold; expired grants are still removed by any running replica"
        );
        return Finding { what, health: Health::Broken, said };
    }
    Finding { what, health: Health::Well, said: format!("'{holder}' holds the Lease, which is valid for {} at a time", short(valid)) }
}

/// Whether the guards are proven, by the record that the holder of the Lease keeps there. `told`: what it last said of them in an Event;
/// `altered`: those that are not as the chart renders them.
fn guards(record: Option<&str>, now: DateTime<Utc>, told: Option<(Reason, String)>, altered: &[String]) -> Finding {
    let what = "guards";
    let broken = |why: String| {
        let more = if altered.is_empty() { String::new() } else { format!("; not as the chart renders them: {}", listed(altered)) };
        Finding { what, health: Health::Broken, said: format!("new grants are on hold: {why}{more}") }
    };
    let Some(ledger) = Ledger::read(record) else {
        return broken("their record on the Lease cannot be read; was it written by another version?".to_owned());
    };
    let held = told.filter(|(reason, _)| *reason != Reason::GuardsVerified);
    let Some(since) = ledger.spans().last().filter(|_| ledger.lasts()).map(|span| span.from) else {
        let why = held.map_or_else(
            || {
                "the admission guards are not proven; the controller's log says why, and 'kubectl jit explain GuardsNotVerified' what to do"
                    .to_owned()
            },
            |(_, message)| message,
        );
        return broken(why);
    };
    if let Some((Reason::ClockSkewed, message)) = held {
        return broken(message);
    }
    // What lasts is certain until the second before the last proof.
    let last = ledger.certain().last().and_then(|span| span.until).unwrap_or(since);
    let ago = now.signed_duration_since(last);
    if ago > UNPROVEN {
        return broken(format!("the admission guards were last proven {} ago", short(ago)));
    }
    if !altered.is_empty() {
        return broken("the admission guards have changed and are being proven".to_owned());
    }
    let unused: Vec<String> = ledger.quarantined().iter().map(|one| format!("{:?} '{}'", one.kind, one.name)).collect();
    if !unused.is_empty() {
        let said = format!(
            "proven, but not used, since they were written while the guards were not proven: {}; 'kubectl jit explain WrittenUnguarded' says more",
            listed(&unused)
        );
        return Finding { what, health: Health::Broken, said };
    }
    Finding { what, health: Health::Well, said: format!("proven to be in force for {}", short(now.signed_duration_since(since))) }
}

/// The first few of them, and how many there are more.
fn listed(all: &[String]) -> String {
    let mut named: Vec<String> = all.iter().take(NAMED).map(|one| printable(one)).collect();
    if all.len() > NAMED {
        named.push(format!("and {} more", all.len() - NAMED));
    }
    named.join(", ")
}

/// What the controller last said of grants in an Event on its Lease; none where there is none any more, or it may not be read.
async fn told(session: &Session, lease: &Lease) -> Option<(Reason, String)> {
    let (namespace, name) = (lease.metadata.namespace.as_deref()?, lease.metadata.name.as_deref()?);
    let about = ListParams::default().fields(&format!("involvedObject.kind=Lease,involvedObject.name={name}")).limit(500);
    let events = session.api::<Event>(namespace).ok()?.list(&about).await.ok()?;
    let at = |event: &Event| event.event_time.as_ref().map(|time| time.0).or_else(|| event.last_timestamp.as_ref().map(|time| time.0));
    let last = events.items.into_iter().max_by_key(at)?;
    let reason = Reason::ALL.iter().find(|reason| last.reason.as_deref() == Some(reason.as_str()))?;
    Some((*reason, printable(&last.message.unwrap_or_default())))
}

/// The policies and webhook configurations that are not as the chart renders them, each with what is wrong and what to do; none where that
/// may not be read. CRDs are left out: this program may be of another version than the operator.
async fn altered(session: &Session, namespace: &str) -> Vec<String> {
    let Ok(api) = session.api::<ConfigMap>(namespace) else { return Vec::new() };
    let Ok(maps) = api.list(&ListParams::default().limit(500)).await else { return Vec::new() };
    let rendered = maps.items.into_iter().find_map(|map| map.data?.remove("guards.json"));
    let Some(Ok(expected)) = rendered.map(|text| serde_json::from_str::<Vec<Expected>>(&text)) else { return Vec::new() };
    let found = session
        .each(expected, async |guard| {
            let api: Api<DynamicObject> = Api::all_with(session.client.clone(), &guard.kind.resource());
            let why = match api.get_opt(&guard.name).await {
                Ok(Some(mut stored)) => {
                    // What the API server thinks of a policy is no part of what it says.
                    if let Some(fields) = stored.data.as_object_mut() {
                        fields.remove("status");
                    }
                    format!("{DIFFERS}: {}", compare::difference(&guard.says, &stored.data)?)
                }
                Ok(None) => "is missing".to_owned(),
                // Who may not read it cannot tell.
                Err(_) => return None,
            };
            let key = guard.key();
            Some(format!("{key} {why}. {}", cure(&key, &why)))
        })
        .await;
    found.into_iter().flatten().collect()
}

/// The same for who may read no Lease: requests that wait say that grants are on hold.
async fn held_back(session: &Session) -> Option<Finding> {
    let pending = api::selectors::in_state(|state| state == State::Pending);
    let requests = session.requests(&Scope::All, &pending).await.ok()?;
    let held = |reason: Reason| matches!(reason, Reason::GuardsNotVerified | Reason::ClockSkewed);
    let waits = requests.iter().find(|request| request.status.as_ref().and_then(|status| status.reason).is_some_and(held))?;
    Some(Finding { what: "guards", health: Health::Broken, said: format!("{} waits: {}", full_name(waits), words::message(waits)) })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use domain::guards::ledger::{Kind, Known, Pair, Proven, Stored};

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn record(first: bool, exists: &[Stored]) -> String {
        let mut ledger = if first { Ledger::first() } else { Ledger::lost() };
        let proven = Proven { guards: BTreeMap::new(), at: at("2030-01-01T00:00:00Z"), versions: BTreeMap::new() };
        ledger.begin(proven, exists, &Known::new()).unwrap();
        ledger.write()
    }

    #[test]
    fn f27_guards_that_are_not_proven_are_broken_and_say_what_is_missing() {
        let now = at("2030-01-01T00:00:20Z");
        let proven = record(true, &[]);
        let well = guards(Some(&proven), now, None, &[]);
        assert_eq!((well.health, well.said.as_str()), (Health::Well, "proven to be in force for 19s"));
        let not_proven = Ledger::lost().write();
        let why = || Some((Reason::GuardsNotVerified, "ValidatingAdmissionPolicyBinding x is missing".to_owned()));
        let changed = ["ValidatingWebhookConfiguration y .webhooks[0].z is set and should not be".to_owned()];
        for (finding, says) in [
            (guards(None, now, None, &[]), "cannot be read"),
            (guards(Some("{}"), now, None, &[]), "cannot be read"),
            (guards(Some(&not_proven), now, None, &[]), "kubectl jit explain GuardsNotVerified"),
            (guards(Some(&not_proven), now, why(), &[]), "ValidatingAdmissionPolicyBinding x is missing"),
            (guards(Some(&not_proven), now, None, &changed), ".webhooks[0].z is set and should not be"),
            (guards(Some(&proven), now, None, &changed), "ValidatingWebhookConfiguration y"),
            (guards(Some(&proven), now + TimeDelta::minutes(5), None, &[]), "were last proven 5m"),
            (guards(Some(&proven), now, Some((Reason::ClockSkewed, "the clocks differ".to_owned())), &[]), "the clocks differ"),
        ] {
            assert!(finding.health == Health::Broken && finding.said.contains(says), "'{says}' is not in: {}", finding.said);
            assert!(finding.said.starts_with("new grants are on hold: "), "{}", finding.said);
        }
        // An old complaint is no complaint.
        assert_eq!(guards(Some(&proven), now, why(), &[]).health, Health::Well);
        let late = Stored {
            kind: Kind::RoleEligibility,
            name: "payments".to_owned(),
            pair: Pair { uid: "u".to_owned(), generation: 1 },
            version: 7,
        };
        let unused = guards(Some(&record(false, &[late])), now, None, &[]);
        assert!(unused.health == Health::Broken && unused.said.contains("RoleEligibility 'payments'"), "{}", unused.said);
    }

    #[test]
    fn f27_a_lease_is_valid_for_as_long_as_it_says() {
        let lease = |seconds: Option<i32>| LeaseSpec {
            holder_identity: Some("controller-1".to_owned()),
            renew_time: serde_json::from_value(json!("2030-01-01T00:00:00.000000Z")).unwrap(),
            lease_duration_seconds: seconds,
            ..LeaseSpec::default()
        };
        let health = |seconds, now: &str| leader(&lease(seconds), at(now)).health;
        assert_eq!(health(Some(6), "2030-01-01T00:00:06Z"), Health::Well);
        assert_eq!(health(Some(6), "2030-01-01T00:00:07Z"), Health::Broken);
        assert_eq!(health(None, "2030-01-01T00:00:14Z"), Health::Well);
        let nobody = LeaseSpec { holder_identity: None, ..lease(Some(6)) };
        assert_eq!(leader(&nobody, at("2030-01-01T00:00:01Z")).health, Health::Broken);
    }
}
