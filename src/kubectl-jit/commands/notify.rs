//! `kubectl jit notify`: sends a test message, and shows who is notified.

use std::{collections::BTreeMap, time::Duration};

use clap::{Args, Subcommand};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::{
    paint::Paint,
    problem::{Exit, Problem},
    read::{created, full_name, placed, without_kind},
    session::{Session, valid_name},
    table::{Column, Table},
};
use api::{
    NotificationReceiver, NotificationRule, ReceiverType, RoleActivationRequest,
    names::{PLUGIN_FIELD_MANAGER, TEST},
    notification_receiver::LastTest,
};
use domain::{
    activity,
    notify::{
        self, Matter, Rule,
        addresses::{Addresses, Directory},
        default_rules::{self, Setting},
        occasion::{self, Occasion},
        text,
    },
};

/// How long the answer to a test message may take: the receiver itself has half a minute.
const PATIENCE: Duration = Duration::from_secs(45);
const POLLS: Duration = Duration::from_millis(500);
/// The labels of the ConfigMap with the settings of the notify process.
const CONFIGURATION: &str = "app.kubernetes.io/name=jit-rbac,app.kubernetes.io/component=notify";
/// Its key.
const KEY: &str = "notify.json";

/// Sends a test message, or shows who is notified.
#[derive(Debug, Args)]
pub struct Options {
    #[command(subcommand)]
    command: Notify,
}

#[derive(Debug, Subcommand)]
enum Notify {
    /// Sends a test message by a receiver, and prints the answer.
    ///
    /// The message is marked as a test. You need the permission to update the receiver.
    Test {
        /// Name of the receiver.
        #[arg(value_name = "RECEIVER")]
        name: String,
        /// Mail address of the test message, for a receiver of type Smtp.
        #[arg(long, value_name = "ADDRESS")]
        to: Vec<String>,
    },
    /// Shows who is notified of the events of a request, and by which rule.
    ///
    /// You need the permission to list receivers and rules, and to read the ConfigMap of the notify process for addresses and default rules.
    Preview {
        /// Name of the request, as NAME or NAMESPACE/NAME.
        #[arg(value_name = "NAME")]
        name: String,
        /// Namespace in which jit-rbac is installed.
        #[arg(long, value_name = "NAMESPACE", default_value = "jit-system")]
        operator_namespace: String,
    },
}

/// Runs it.
pub async fn run(options: &Options, session: &Session) -> Result<Exit, Problem> {
    match &options.command {
        Notify::Test { name, to } => {
            test(session, without_kind(name, &["nrec", "notificationreceiver", "notificationreceivers"]), to).await
        }
        Notify::Preview { name, operator_namespace } => preview(session, name, operator_namespace).await,
    }
}

async fn test(session: &Session, name: &str, to: &[String]) -> Result<Exit, Problem> {
    valid_name("receiver", name)?;
    let receivers: Api<NotificationReceiver> = Api::all(session.client.clone());
    let what = format!("read receiver '{name}'");
    let receiver = receivers.get_opt(name).await.map_err(|error| Problem::of(&what, &error))?;
    let Some(receiver) = receiver else {
        return Err(Problem::Absent(format!("there is no receiver '{name}'; 'kubectl get nrec' lists all")));
    };
    let is_mail = receiver.spec.kind == ReceiverType::Smtp;
    if is_mail == to.is_empty() {
        let why = if is_mail { "a receiver of type Smtp needs --to" } else { "--to is only for a receiver of type Smtp" };
        return Err(Problem::Usage(format!("receiver '{name}': {why}")));
    }
    let id = format!("{:x}", Timestamp::now().as_millisecond());
    let request = json!({"id": id, "to": to}).to_string();
    let patch = json!({"metadata": {"annotations": {TEST: request}}});
    let parameters = PatchParams { field_manager: Some(PLUGIN_FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    receivers
        .patch(name, &parameters, &Patch::Merge(&patch))
        .await
        .map_err(|error| Problem::of(&format!("request a test of receiver '{name}'"), &error))?;
    session.screen.progress("waiting for the answer of the receiver");
    let answered = async {
        loop {
            let stored = receivers.get(name).await.map_err(|error| Problem::of(&what, &error))?;
            let last = stored.status.and_then(|status| status.last_test).filter(|last| last.id == id);
            match last {
                Some(last) => return Ok(last),
                None => tokio::time::sleep(POLLS).await,
            }
        }
    };
    let answer: Result<Result<LastTest, Problem>, _> = tokio::time::timeout(PATIENCE, answered).await;
    session.screen.clear();
    let last = answer.map_err(|_| {
        Problem::TimedOut(format!(
            "receiver '{name}': no answer within {}s; is the notify process running (chart value notify.enabled)?",
            PATIENCE.as_secs()
        ))
    })??;
    let (word, paint) = if last.accepted { ("accepted", Paint::Good) } else { ("failed", Paint::Bad) };
    let line = format!("receiver '{name}': {word}: {}: {}", last.reason, last.message);
    session.screen.data(&session.screen.on_stdout(&line, paint));
    Ok(if last.accepted { Exit::Done } else { Exit::Failed })
}

async fn preview(session: &Session, name: &str, operator_namespace: &str) -> Result<Exit, Problem> {
    let (namespace, name) = placed(name, &session.namespace()?);
    let request: RoleActivationRequest = session.request(&namespace, name).await?;
    let eligibility = session.eligibility(&request.spec.eligibility_ref.name).await?;
    let policy = match &eligibility {
        Some(eligibility) => session.policy(&eligibility.spec.policy_ref.name).await?,
        None => None,
    };
    let list = ListParams::default();
    let rules: Api<NotificationRule> = Api::all(session.client.clone());
    let written = rules.list(&list).await.map_err(|error| Problem::of("list notification rules", &error))?;
    let receivers: Api<NotificationReceiver> = Api::all(session.client.clone());
    let receivers = receivers.list(&list).await.map_err(|error| Problem::of("list notification receivers", &error))?;
    let kinds: BTreeMap<String, ReceiverType> = receivers.iter().map(|receiver| (receiver.name_any(), receiver.spec.kind)).collect();
    let written: Vec<Rule> =
        written.into_iter().map(|rule| Rule { name: rule.name_any(), since: created(&rule), spec: rule.spec }).collect();
    let (directory, defaults) = configuration(session, operator_namespace).await?;
    let rules = default_rules::with(&defaults, written.iter(), &kinds);
    let matter = Matter { request: Some(&request), eligibility: eligibility.as_ref(), policy: policy.as_ref() };
    let events = activity::of_request(&request);
    let reminders = occasion::of_request(&request, &events, &rules);
    let mut table = Table::default();
    let mut unknown = std::collections::BTreeSet::new();
    let mut missing = std::collections::BTreeSet::new();
    for occasion in events.into_iter().map(Occasion::of).chain(reminders) {
        let plan = notify::plan(&occasion, matter, &rules, &kinds, &directory);
        unknown.extend(plan.unknown);
        missing.extend(plan.missing);
        let title = text::of(&occasion, matter).title;
        for (receiver, delivery) in plan.deliveries {
            let joined = |names: std::collections::BTreeSet<String>| names.into_iter().collect::<Vec<_>>().join(", ");
            table.push([
                Column::new("TIME").of(session.screen.times.clock(occasion.event.at)),
                Column::new("EVENT").of(occasion.reminder.map_or(occasion.event.kind.as_str(), occasion::Reminder::as_str)),
                Column::new("RECEIVER").of(receiver),
                Column::new("TO").of(joined(delivery.to)),
                Column::new("RULES").of(joined(delivery.rules)),
                Column::new("MESSAGE").wide().free().of(&title),
            ]);
        }
    }
    let nothing = format!("nobody is notified of {}", full_name(&request));
    session.screen.table(&table, false, &nothing);
    for name in &unknown {
        session.screen.warn(&format!("no address is known for '{name}', who receives nothing (chart value notify.addresses)"));
    }
    for name in &missing {
        session.screen.warn(&format!("a rule names receiver '{name}', which does not exist"));
    }
    Ok(Exit::Done)
}

/// Reads addresses and default rules. Without them, only rules that are objects are shown.
async fn configuration(session: &Session, namespace: &str) -> Result<(Directory, BTreeMap<String, Setting>), Problem> {
    let maps: Api<ConfigMap> = Api::namespaced(session.client.clone(), namespace);
    let found = maps.list(&ListParams::default().labels(CONFIGURATION)).await;
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            let problem = Problem::of(&format!("list ConfigMaps in namespace '{namespace}'"), &error);
            session.screen.warn(&format!("addresses and default rules are unknown: {problem}"));
            return Ok((Directory::default(), none_of_them()));
        }
    };
    let text = found.items.into_iter().find_map(|map| map.data.and_then(|mut data| data.remove(KEY)));
    let Some(text) = text else {
        session.screen.warn(&format!("the notify process is not installed in namespace '{namespace}': nothing is sent"));
        return Ok((Directory::default(), none_of_them()));
    };
    let broken = |error: &dyn std::fmt::Display| Problem::Api(format!("the configuration of the notify process cannot be read: {error}"));
    let mut config: Value = serde_json::from_str(&text).map_err(|error| broken(&error))?;
    let mut field = |name: &str| config.get_mut(name).map(Value::take).unwrap_or_default();
    let addresses: Addresses = serde_json::from_value(field("addresses")).map_err(|error| broken(&error))?;
    let defaults = serde_json::from_value(field("defaultRules")).map_err(|error| broken(&error))?;
    Ok((Directory::new(addresses).map_err(|error| broken(&error))?, defaults))
}

/// Returns settings in which every default rule is off.
fn none_of_them() -> BTreeMap<String, Setting> {
    default_rules::NINE.iter().map(|(name, ..)| ((*name).to_owned(), Setting { enabled: false, ..Setting::default() })).collect()
}
