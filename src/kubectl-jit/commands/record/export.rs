//! `kubectl jit record export`: the events for other programs.

use clap::{Args, ValueEnum};
use domain::{audit::leaf::Recorded, instant::stamp};
use serde_json::{Value, json};

use super::{
    log::{Placed, Source},
    selection::Selection,
};
use crate::{
    csv,
    problem::{Exit, Problem},
    screen::Screen,
};

/// Exports events for other programs.
///
/// One line per event: comma-separated values, the entries as JSON lines, or the schemas of OCSF 1.3 (User Access Management) and the Elastic Common
/// Schema.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    selection: Selection,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = Format::Jsonl, value_name = "FORMAT")]
    output: Format,
}

/// The format of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Comma-separated values with times in UTC.
    Csv,
    /// The entries, one JSON object per line.
    Jsonl,
    /// Open Cybersecurity Schema Framework, one JSON object per line.
    Ocsf,
    /// Elastic Common Schema, one JSON object per line.
    Ecs,
}

const COLUMNS: [&str; 13] =
    ["index", "time", "event", "kind", "namespace", "name", "actor", "requester", "eligibility", "role", "severity", "message", "id"];

/// Exports events.
pub async fn run(options: &Options, namespace: Option<&str>, screen: &Screen) -> Result<Exit, Problem> {
    let reader = options.source.open().await?;
    if options.output == Format::Csv {
        screen.data(&COLUMNS.join(","));
    }
    let print = |placed: Placed| match options.output {
        Format::Csv => screen.data(&line(&placed)),
        Format::Jsonl => screen.data(&String::from_utf8_lossy(&placed.leaf)),
        Format::Ocsf => screen.data(&ocsf(&placed).to_string()),
        Format::Ecs => screen.data(&ecs(&placed).to_string()),
    };
    options.selection.each(&reader, namespace, screen, print).await?;
    Ok(Exit::Done)
}

fn line(Placed { index, event, .. }: &Placed) -> String {
    let (data, none) = (&event.data, String::new());
    let texts = [
        &index.to_string(),
        &stamp(event.time),
        &data.event,
        &data.object.kind,
        data.object.namespace.as_ref().unwrap_or(&none),
        &data.object.name,
        &data.actor,
        data.requester.as_ref().unwrap_or(&none),
        data.eligibility.as_ref().unwrap_or(&none),
        data.role.as_ref().unwrap_or(&none),
        &data.severity,
        &data.message,
        &event.id,
    ];
    texts.map(|text| csv::field(text)).join(",")
}

/// What an event does to access.
fn access(event: &Recorded) -> Option<bool> {
    use domain::activity::Kind;
    match event.kind()? {
        Kind::Granted => Some(true),
        Kind::Expired | Kind::Deactivated | Kind::Revoked => Some(false),
        _ => None,
    }
}

/// The event as OCSF's class 3005, User Access Management: 1 assigns privileges, 2 revokes them, 99 is anything else.
fn ocsf(Placed { index, event, .. }: &Placed) -> Value {
    let data = &event.data;
    let (activity, name) = match access(event) {
        Some(true) => (1, "Assign Privileges"),
        Some(false) => (2, "Revoke Privileges"),
        None => (99, data.event.as_str()),
    };
    let severity = match data.severity.as_str() {
        "critical" => 5,
        "warning" => 3,
        _ => 1,
    };
    let user = data.requester.as_ref().unwrap_or(&data.actor);
    json!({
        "class_uid": 3005, "class_name": "User Access Management", "category_uid": 3, "category_name": "Identity & Access Management",
        "activity_id": activity, "activity_name": name, "type_uid": 300_500 + activity, "severity_id": severity,
        "time": event.time.as_millisecond(), "message": data.message, "status_id": 1,
        "metadata": {
            "version": "1.3.0", "uid": event.id, "sequence": index, "event_code": event.type_,
            "product": {"name": "jit-rbac", "vendor_name": "jit-rbac"},
        },
        "actor": {"user": {"name": data.actor}}, "user": {"name": user},
        "privileges": data.role.iter().collect::<Vec<_>>(),
        "resource": {
            "type": data.object.kind, "name": data.object.name, "namespace": data.object.namespace, "uid": data.object.uid,
        },
    })
}

fn ecs(Placed { index, event, .. }: &Placed) -> Value {
    let data = &event.data;
    let kind = match access(event) {
        Some(true) => "allowed",
        Some(false) => "deletion",
        None => "info",
    };
    json!({
        "@timestamp": stamp(event.time), "ecs": {"version": "8.17.0"}, "message": data.message,
        "event": {
            "kind": "event", "category": ["iam"], "type": [kind], "action": data.event, "id": event.id, "sequence": index,
            "provider": "jit-rbac", "dataset": "jit-rbac.activity",
        },
        "user": {"name": data.actor, "target": {"name": data.requester, "roles": data.role.iter().collect::<Vec<_>>()}},
        "orchestrator": {
            "type": "kubernetes", "namespace": data.object.namespace, "cluster": {"id": event.source},
            "resource": {"type": data.object.kind, "name": data.object.name, "id": data.object.uid},
        },
    })
}
