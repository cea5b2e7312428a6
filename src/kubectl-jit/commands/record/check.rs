//! `kubectl jit record check`: the cluster against the log.

use std::collections::HashSet;

use api::{RoleActivationRequest, names};
use clap::Args;
use domain::{
    activity::{self, Kind},
    audit::leaf::Entry,
    instant::stamp,
};
use futures::TryStreamExt;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{coordination::v1::Lease, rbac::v1::RoleBinding};
use kube::{Api, ResourceExt, api::ListParams};
use serde_json::json;

use super::log::{self, Source};
use crate::{
    flags::Output,
    objects,
    paint::Paint,
    problem::{Exit, Problem},
    read::{Scope, full_name},
    session::Session,
};

/// Checks that the log has what the cluster has.
///
/// It looks for a grant, a managed RoleBinding or a completed request without its entry, and compares the log with the checkpoint that the Lease
/// remembers, so that a log that was cut off or restarted is found. Exit code 1 means that something is missing.
///
/// It needs permission to list requests, RoleBindings and Leases in all namespaces.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    source: Source,
    /// Do not report what happened within this time: the record writes every 10 seconds.
    #[arg(long, value_name = "TIME", default_value = "1m")]
    grace: api::Duration,
    #[command(flatten)]
    output: Output,
}

/// What is wrong.
struct Finding {
    name: &'static str,
    message: String,
}

/// Compares the cluster with the log.
pub async fn run(options: &Options, session: &Session) -> Result<Exit, Problem> {
    // The cluster is read first: what it has now is in the log later.
    let requests = session.requests(&Scope::All, "").await?;
    let bindings: Api<RoleBinding> = Api::all(session.client.clone());
    let listed = bindings.list(&ListParams::default().labels(names::MANAGED_SELECTOR)).await;
    let bindings = listed.map_err(|error| Problem::of("list RoleBindings", &error))?.items;
    let leases: Api<Lease> = Api::all(session.client.clone());
    let wanted = "app.kubernetes.io/name=jit-rbac,app.kubernetes.io/component=record";
    let leases = leases.list(&ListParams::default().labels(wanted)).await.map_err(|error| Problem::of("list Leases", &error))?.items;
    let now = session.screen.times.now();
    let before = now.checked_sub(SignedDuration::from(options.grace)).unwrap_or(now);

    let reader = options.source.open().await?;
    let mut entries = log::entries(&reader, &session.screen, "reading the log");
    let (mut ids, mut granted) = (HashSet::new(), HashSet::new());
    while let Some((_, _, entry)) = entries.try_next().await? {
        let Entry::Event(event) = entry else { continue };
        ids.extend(u128::from_str_radix(&event.id, 16));
        if event.kind() == Some(Kind::Granted) {
            granted.insert(event.data.object.uid);
        }
    }
    session.screen.clear();
    let mut findings = Vec::new();
    let has = |event: &activity::Event| u128::from_str_radix(&event.id, 16).is_ok_and(|id| ids.contains(&id));
    let entries_expected = requests.iter().flat_map(|request| missing(request, &has, before));
    // What was pruned cannot be missing.
    if reader.minimum() == 0 {
        findings.extend(entries_expected);
        findings.extend(bindings.iter().filter_map(|binding| unrecorded(binding, &granted, before)));
    } else {
        session.screen.warn("the log was pruned: entries of earlier events are not looked for");
        findings.extend(entries_expected.filter(|finding| finding.name != "GrantNotRecorded"));
    }
    let mut remembered = 0;
    for lease in &leases {
        let Some(text) = lease.annotations().get(names::RECORD_CHECKPOINT) else { continue };
        remembered += 1;
        let checked = match text.parse() {
            Ok(head) => reader.check_continues(head).await,
            Err(error) => Err(error),
        };
        if let Err(error) = checked {
            let name = error.finding().map_or("LeaseUnreadable", record::Finding::name);
            let place = format!("{}/{}", lease.namespace().unwrap_or_default(), lease.name_any());
            findings.push(Finding { name, message: format!("the Lease '{place}' remembers another log: {error}") });
        }
    }
    if remembered == 0 {
        session.screen.warn("no Lease remembers a checkpoint, so a log that was cut off cannot be noticed");
    }
    let value = json!({
        "valid": findings.is_empty(), "requests": requests.len(), "bindings": bindings.len(), "entries": reader.size(), "leases": remembered,
        "findings": findings.iter().map(|finding| json!({"name": finding.name, "message": finding.message})).collect::<Vec<_>>(),
    });
    if let Some(text) = objects::data(&value, options.output.output)? {
        session.screen.data(&text);
    } else {
        for Finding { name, message } in &findings {
            session.screen.data(&format!("{} {message}", session.screen.on_stdout(&format!("{name}:"), Paint::Bad)));
        }
        let (all, bound) = (requests.len(), bindings.len());
        session.screen.data(&format!(
            "{all} requests and {bound} managed RoleBindings against {} entries: {} missing",
            reader.size(),
            findings.len()
        ));
    }
    Ok(if findings.is_empty() { Exit::Done } else { Exit::Failed })
}

/// The events of a request that are not in the log.
fn missing(request: &RoleActivationRequest, has: &impl Fn(&activity::Event) -> bool, before: Timestamp) -> Vec<Finding> {
    let events = activity::of_request(request).into_iter().filter(|event| event.at < before && !has(event));
    let finding = |event: activity::Event| {
        let name = match event.kind {
            Kind::Granted => "GrantNotRecorded",
            kind if kind.is_end() => "EndNotRecorded",
            _ => "EventNotRecorded",
        };
        let message = format!("request '{}': {} at {} has no entry", full_name(request), event.kind.as_str(), stamp(event.at));
        Finding { name, message }
    };
    events.map(finding).collect()
}

/// The finding of a managed RoleBinding whose grant is not in the log.
fn unrecorded(binding: &RoleBinding, granted: &HashSet<String>, before: Timestamp) -> Option<Finding> {
    let made = binding.metadata.creation_timestamp.as_ref().map(api::conditions::from_time).unwrap_or_default();
    let name = binding.name_any();
    let recorded = names::request_uid_of(&name).is_some_and(|uid| granted.contains(uid));
    let place = format!("{}/{name}", binding.namespace().unwrap_or_default());
    (!recorded && made < before)
        .then(|| Finding { name: "BindingNotRecorded", message: format!("RoleBinding '{place}' has no grant in the log") })
}
