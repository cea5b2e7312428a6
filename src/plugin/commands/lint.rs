//! `kubectl jit lint -f FILE`: manifests against the rules, without a cluster.

use std::path::PathBuf;

use clap::Args;
use kube::{CustomResourceExt, ResourceExt};
use serde_json::Value;

use crate::{
    api::{
        self, ActivationDecision, ApprovalPolicy, ApprovalPolicySpec, Reason, RoleActivationRequest, RoleEligibility, RoleEligibilitySpec,
    },
    domain::{
        Object, Settings, duration, eligibility, evidence,
        namespace::{self, GuardedLabels},
        person::Identities,
        policy, requirements,
    },
    gather::convert,
    plugin::{
        files::{self, Document},
        paint::Paint,
        problem::{Exit, Problem},
    },
};

/// Checks manifests by the rules, without a cluster.
///
/// Policies, eligibilities and requests, as far as the rules can tell from files.
///
/// Eligibilities and requests are held against the policies and eligibilities of the same files. Exit code 5 says that something is wrong.
#[derive(Debug, Args)]
pub struct Options {
    /// A file, a directory with .yaml, .yml and .json files, or - for standard input; can be given again.
    #[arg(short, long, required = true, value_name = "FILE")]
    filename: Vec<PathBuf>,
    /// Warnings are wrong too.
    #[arg(long)]
    strict: bool,
    /// The chart's value maxGrant.
    #[arg(long, value_name = "TIME", default_value = "24h")]
    max_grant: api::Duration,
    /// A namespace of the chart's value systemNamespaces; can be given again.
    #[arg(long, value_name = "NAMESPACE")]
    system_namespace: Vec<String>,
    /// A label of the chart's value guardedLabels, or the beginning of several with a *; can be given again.
    #[arg(long, value_name = "KEY", default_value = "reach.jitrbac.dev/*")]
    guarded_label: Vec<String>,
}

/// What is wrong, or looks so.
enum Fault {
    Wrong(String),
    Odd(String),
}

/// Checks them. Nothing is asked of any cluster.
pub fn run(options: &Options, screen: &crate::plugin::screen::Screen) -> Result<Exit, Problem> {
    let mut documents = Vec::new();
    for path in &options.filename {
        documents.extend(files::documents(path)?);
    }
    let settings = Settings {
        operator_namespace: String::new(),
        max_grant: options.max_grant,
        identities: Identities::default(),
        system_namespaces: options.system_namespace.clone(),
        guarded_labels: GuardedLabels {
            keys: options.guarded_label.iter().filter(|key| !key.ends_with('*')).cloned().collect(),
            prefixes: options.guarded_label.iter().filter_map(|key| key.strip_suffix('*')).map(ToOwned::to_owned).collect(),
        },
    };
    let world = World::of(&documents);
    let (mut wrong, mut odd, mut looked) = (0, 0, 0);
    for document in documents.iter().filter(|document| document.kind().is_some()) {
        looked += 1;
        let named = |field: &str| document.value.pointer(field).and_then(Value::as_str);
        let name = named("/metadata/name").or_else(|| named("/metadata/generateName")).unwrap_or_default();
        let what = format!("{}: {} '{name}'", document.place, document.kind().unwrap_or_default());
        for fault in world.faults(document, &settings) {
            let (kind, paint, text) = match fault {
                Fault::Wrong(text) => ("error", Paint::Bad, text),
                Fault::Odd(text) => ("warning", Paint::Waits, text),
            };
            wrong += usize::from(kind == "error");
            odd += usize::from(kind == "warning");
            screen.data(&format!("{what}: {} {}", screen.on_data(&format!("{kind}:"), paint), screen.on_data(&text, Paint::Plain)));
        }
    }
    screen.say(&format!("objects of {}: {looked}, errors: {wrong}, warnings: {odd}", api::names::GROUP));
    Ok(if wrong > 0 || (options.strict && odd > 0) { Exit::Refused } else { Exit::Done })
}

/// The policies and eligibilities of all files.
#[derive(Default)]
struct World {
    policies: Vec<Object<ApprovalPolicySpec>>,
    eligibilities: Vec<Object<RoleEligibilitySpec>>,
}

impl World {
    fn of(documents: &[Document]) -> Self {
        let mut world = Self::default();
        for document in documents {
            // What cannot be read is told where it stands.
            if document.kind() == Some("ApprovalPolicy")
                && let Ok(policy) = document.typed::<ApprovalPolicy>()
            {
                world.policies.push(convert::object(&policy.metadata, policy.spec));
            } else if document.kind() == Some("RoleEligibility")
                && let Ok(eligibility) = document.typed::<RoleEligibility>()
            {
                world.eligibilities.push(convert::object(&eligibility.metadata, eligibility.spec));
            }
        }
        world
    }

    fn policy(&self, name: &str) -> Option<&Object<ApprovalPolicySpec>> {
        self.policies.iter().find(|policy| policy.name == name)
    }

    fn faults(&self, document: &Document, settings: &Settings) -> Vec<Fault> {
        let checked = match document.kind() {
            Some("ApprovalPolicy") => {
                document.typed::<ApprovalPolicy>().map(|stored| (ApprovalPolicy::crd(), of_policy(&stored, settings)))
            }
            Some("RoleEligibility") => {
                document.typed::<RoleEligibility>().map(|stored| (RoleEligibility::crd(), self.of_eligibility(&stored, settings)))
            }
            Some("RoleActivationRequest") => {
                document.typed::<RoleActivationRequest>().map(|stored| (RoleActivationRequest::crd(), self.of_request(&stored, settings)))
            }
            Some("ActivationDecision") => document.typed::<ActivationDecision>().map(|_| (ActivationDecision::crd(), Vec::new())),
            _ => return vec![Fault::Odd("is of no kind that this version knows".to_owned())],
        };
        match checked {
            Err(problem) => {
                // The place stands before it already.
                let said = problem.to_string();
                let said = said.strip_prefix(&format!("{}: ", document.place)).unwrap_or(&said).to_owned();
                vec![Fault::Wrong(said)]
            }
            Ok((crd, mut faults)) => {
                let schema = serde_json::to_value(
                    crd.spec.versions.first().and_then(|version| version.schema.as_ref()).map(|schema| &schema.open_api_v3_schema),
                )
                .unwrap_or_default();
                let mut unknown = Vec::new();
                let (spec, of_spec) = (document.value.get("spec"), schema.pointer("/properties/spec"));
                unknown_fields(spec.unwrap_or_default(), of_spec.unwrap_or_default(), "spec", &mut unknown);
                faults.extend(unknown.into_iter().map(|path| Fault::Wrong(format!("{path} is no field that the API server would keep"))));
                faults
            }
        }
    }

    fn of_eligibility(&self, stored: &RoleEligibility, settings: &Settings) -> Vec<Fault> {
        // What an eligibility without a creation time counts from is now.
        let mut facts = convert::object(&stored.metadata, stored.spec.clone());
        facts.created = chrono::Utc::now();
        let mut faults = Vec::new();
        wrong(&mut faults, eligibility::check(&facts.spec, settings));
        match self.policy(&facts.spec.policy_ref.name) {
            Some(policy) => wrong(&mut faults, policy::check_eligibility(&facts, policy)),
            None => faults.push(Fault::Odd(format!(
                "{}: there is no policy '{}' in these files",
                Reason::PolicyNotFound,
                facts.spec.policy_ref.name
            ))),
        }
        if let Some(selector) = &facts.spec.namespaces.selector {
            faults.extend(namespace::reach_warning(selector, settings).map(Fault::Odd));
        }
        faults
    }

    fn of_request(&self, stored: &RoleActivationRequest, settings: &Settings) -> Vec<Fault> {
        let spec = &stored.spec;
        let Some(offer) = self.eligibilities.iter().find(|eligibility| eligibility.name == spec.eligibility_ref.name) else {
            return vec![Fault::Odd(format!(
                "{}: there is no eligibility '{}' in these files",
                Reason::EligibilityNotFound,
                spec.eligibility_ref.name
            ))];
        };
        let mut faults = Vec::new();
        if let Some(namespace) = stored.namespace() {
            wrong(&mut faults, namespace::protected(&offer.spec, &namespace, settings));
            if offer.spec.namespaces.selector.is_none() && !offer.spec.namespaces.names.contains(&namespace) {
                wrong(&mut faults, Err(eligibility::not_covered(offer, &namespace)));
            }
        }
        if let Some(policy) = self.policy(&offer.spec.policy_ref.name) {
            wrong(&mut faults, duration::check(spec, offer, policy, settings).map(|_| ()));
            wrong(&mut faults, requirements::justification(spec, policy));
            wrong(&mut faults, evidence::ticket(spec, policy));
        }
        faults
    }
}

fn of_policy(stored: &ApprovalPolicy, settings: &Settings) -> Vec<Fault> {
    let mut faults = Vec::new();
    wrong(&mut faults, policy::check(&stored.spec, settings));
    faults
}

fn wrong(faults: &mut Vec<Fault>, outcome: Result<(), crate::domain::Refusal>) {
    faults.extend(outcome.err().map(|refusal| Fault::Wrong(refusal.to_string())));
}

/// The fields of a value that its schema does not have.
fn unknown_fields(value: &Value, schema: &Value, path: &str, into: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            let free = schema.get("additionalProperties");
            for (name, member) in members {
                let path = format!("{path}.{name}");
                match schema.get("properties").and_then(|all| all.get(name)).or(free) {
                    Some(known) => unknown_fields(member, known, &path, into),
                    None => into.push(path),
                }
            }
        }
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                unknown_fields(item, schema.get("items").unwrap_or_default(), &format!("{path}[{i}]"), into);
            }
        }
        _ => {}
    }
}
