//! `kubectl jit lint -f FILE`: checks manifests against the rules, without a cluster.

use std::{path::PathBuf, sync::Arc};

use clap::Args;
use kube::{CustomResourceExt, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    files::{self, Document},
    near::is_near,
    paint::Paint,
    problem::{Exit, Problem},
    schema,
    screen::Screen,
};
use api::{
    ActivationDecision, ApprovalPolicy, ApprovalPolicySpec, Reason, RoleActivationRequest, RoleEligibility, RoleEligibilitySpec,
    text::printable,
};
use domain::{
    Lookup, Object, Settings, acting, convert, duration, eligibility, evidence, namespace,
    person::Identities,
    policy, requirements,
    settings::GuardedLabels,
    usable::{self, Check, Input},
};

/// Checks manifests against the rules, without a cluster.
///
/// Policies, eligibilities and requests, as far as files alone allow.
///
/// Eligibilities and requests are checked against the policies and eligibilities in the same files. It prints FILE:LINE, the object, the
/// field and the error. Exit code 5 means that there are errors, 1 that there was nothing to check.
#[derive(Debug, Args)]
pub struct Options {
    /// A file, a directory with .yaml, .yml and .json files, or - for standard input; can be repeated.
    #[arg(short, long, required = true, value_name = "FILE")]
    filename: Vec<PathBuf>,
    /// Also read subdirectories of the directories of -f.
    #[arg(short = 'R', long)]
    recursive: bool,
    /// Treat warnings as errors.
    #[arg(long)]
    strict: bool,
    /// The chart's value maxGrant.
    #[arg(long, value_name = "TIME", default_value = "24h")]
    max_grant: api::Duration,
    /// A namespace of the chart's value systemNamespaces; can be repeated.
    #[arg(long, value_name = "NAMESPACE")]
    system_namespace: Vec<String>,
    /// A label of the chart's value guardedLabels, or a prefix with a *; can be repeated.
    #[arg(long, value_name = "KEY", default_value = "reach.jitrbac.dev/*")]
    guarded_label: Vec<String>,
}

/// An error with its optional field, or a warning.
enum Fault {
    Error(String, String),
    Warning(String),
}

/// Checks the manifests, without a cluster.
pub fn run(options: &Options, screen: &Screen) -> Result<Exit, Problem> {
    let (mut documents, mut unreadable, mut skipped) = (Vec::new(), Vec::new(), Vec::new());
    for path in &options.filename {
        let read = files::read(path, options.recursive)?;
        documents.extend(read.documents);
        unreadable.extend(read.unreadable);
        skipped.extend(read.skipped);
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
    for why in &unreadable {
        screen.data(&screen.on_stdout(why, Paint::Plain));
    }
    let manifests = Manifests::of(&documents);
    let (mut wrong, mut odd, mut checked_objects) = (unreadable.len(), 0, 0);
    for document in documents.iter().filter(|document| is_ours(document)) {
        checked_objects += 1;
        for fault in manifests.faults(document, &settings) {
            let (kind, paint, field, text) = match &fault {
                Fault::Error(field, text) => ("error", Paint::Bad, field.as_str(), text),
                Fault::Warning(text) => ("warning", Paint::Waits, "", text),
            };
            wrong += usize::from(kind == "error");
            odd += usize::from(kind == "warning");
            let colon = if field.is_empty() { "" } else { ": " };
            let what = screen.on_stdout(&what(document, field), Paint::Plain);
            let text = screen.on_stdout(&format!("{field}{colon}{text}"), Paint::Plain);
            screen.data(&format!("{what}: {} {text}", screen.on_stdout(&format!("{kind}:"), paint)));
        }
    }
    if !skipped.is_empty() {
        let names: Vec<String> = skipped.iter().map(|path| path.display().to_string()).collect();
        screen.warn(&format!("skipped without -R: {}", names.join(", ")));
    }
    screen.info(&format!("objects of {}: {checked_objects}, errors: {wrong}, warnings: {odd}", api::names::GROUP));
    if checked_objects == 0 && wrong == 0 {
        let hint = if options.recursive || skipped.is_empty() { "" } else { "; -R also reads subdirectories" };
        return Err(Problem::Absent(format!("nothing was checked: there is no object of {} in these files{hint}", api::names::GROUP)));
    }
    Ok(if wrong > 0 || (options.strict && odd > 0) { Exit::Refused } else { Exit::Done })
}

/// The object and the line of its field, in the format of editors and CI: `access.yaml:12: RoleEligibility 'payments'`.
fn what(document: &Document, field: &str) -> String {
    let named = |field: &str| document.content.value.pointer(field).and_then(Value::as_str);
    let name = named("/metadata/name").or_else(|| named("/metadata/generateName")).unwrap_or_default();
    let number = document.number.map(|number| format!(" (document {number})")).unwrap_or_default();
    format!("{}: {} '{name}'{number}", document.place(field), document.text("kind").unwrap_or_default())
}

/// The kinds that this version knows.
const KINDS: [&str; 4] = ["ApprovalPolicy", "RoleEligibility", "RoleActivationRequest", "ActivationDecision"];

/// True for an object of the group jitrbac.dev, or for one of its kinds in another, probably mistyped group.
fn is_ours(document: &Document) -> bool {
    document.kind().is_some()
        || document.text("apiVersion").is_some_and(|version| version.split('/').next() == Some(api::names::GROUP))
        || document.text("kind").is_some_and(|kind| KINDS.contains(&kind))
}

/// The error of an unknown kind or version.
fn unknown(document: &Document) -> Fault {
    let wanted = format!("{}/v1alpha1", api::names::GROUP);
    let version = document.text("apiVersion").unwrap_or_default();
    let Some(kind) = document.text("kind") else { return Fault::Error("kind".to_owned(), "is required".to_owned()) };
    if KINDS.contains(&kind) {
        return Fault::Error("apiVersion".to_owned(), format!("'{version}' is not {wanted}"));
    }
    let near = KINDS.iter().find(|known| is_near(known, kind));
    let hint = near.map_or_else(|| format!("; there are {}", KINDS.join(", ")), |near| format!("; did you mean '{near}'?"));
    Fault::Error("kind".to_owned(), format!("unknown kind '{kind}'{hint}"))
}

/// The policies and eligibilities of all files.
#[derive(Default)]
struct Manifests {
    policies: Vec<Object<ApprovalPolicySpec>>,
    eligibilities: Vec<Object<RoleEligibilitySpec>>,
}

impl Manifests {
    fn of(documents: &[Document]) -> Self {
        let mut manifests = Self::default();
        for document in documents {
            // Unreadable objects are reported elsewhere.
            if document.kind() == Some("ApprovalPolicy")
                && let Ok(policy) = document.typed::<ApprovalPolicy>()
            {
                manifests.policies.push(convert::object(&policy.metadata, policy.spec));
            } else if document.kind() == Some("RoleEligibility")
                && let Ok(eligibility) = document.typed::<RoleEligibility>()
            {
                manifests.eligibilities.push(convert::object(&eligibility.metadata, eligibility.spec));
            }
        }
        manifests
    }

    fn policy(&self, name: &str) -> Option<&Object<ApprovalPolicySpec>> {
        self.policies.iter().find(|policy| policy.name == name)
    }

    fn faults(&self, document: &Document, settings: &Settings) -> Vec<Fault> {
        if document.text("apiVersion") != Some(&format!("{}/v1alpha1", api::names::GROUP)) {
            return vec![unknown(document)];
        }
        match document.kind() {
            Some("ApprovalPolicy") => checked::<ApprovalPolicy>(document, |stored| of_policy(stored, settings)),
            Some("RoleEligibility") => checked::<RoleEligibility>(document, |stored| self.of_eligibility(stored, settings)),
            Some("RoleActivationRequest") => checked::<RoleActivationRequest>(document, |stored| self.of_request(stored, settings)),
            Some("ActivationDecision") => checked::<ActivationDecision>(document, |_| Vec::new()),
            _ => vec![unknown(document)],
        }
    }

    fn of_eligibility(&self, stored: &RoleEligibility, settings: &Settings) -> Vec<Fault> {
        // A file has no creation time: the current time is used.
        let mut facts = convert::object(&stored.metadata, stored.spec.clone());
        facts.created = jiff::Timestamp::now();
        let mut faults = Vec::new();
        let policy = self.policy(&facts.spec.policy_ref.name);
        let found = policy.map(|policy| Lookup::Found(Arc::new(policy.clone())));
        // What is wrong with the policy is reported of the policy.
        let input = Input { policy: found.as_ref(), ..Input::new(&facts, settings) };
        for failed in usable::failures(&input).filter(|failed| failed.check != Check::PolicyWritten) {
            wrong(&mut faults, Err(failed.refusal));
        }
        match policy {
            Some(policy) => faults.extend(duration::warning(&facts, policy).map(Fault::Warning)),
            None => faults.push(Fault::Warning(format!(
                "{}: there is no policy '{}' in these files",
                Reason::PolicyNotFound,
                facts.spec.policy_ref.name
            ))),
        }
        if let Some(selector) = &facts.spec.namespaces.selector {
            faults.extend(namespace::reach_warning(selector, settings).map(Fault::Warning));
        }
        faults
    }

    fn of_request(&self, stored: &RoleActivationRequest, settings: &Settings) -> Vec<Fault> {
        let spec = &stored.spec;
        let Some(offer) = self.eligibilities.iter().find(|eligibility| eligibility.name == spec.eligibility_ref.name) else {
            return vec![Fault::Warning(format!(
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
    faults.extend(acting::warnings(&stored.spec).into_iter().map(Fault::Warning));
    faults
}

/// All schema errors of an object, and the errors of the rules if it can be decoded.
fn checked<K: CustomResourceExt + DeserializeOwned>(document: &Document, rules: impl FnOnce(&K) -> Vec<Fault>) -> Vec<Fault> {
    let crd = K::crd();
    let schema = crd.spec.versions.first().and_then(|version| version.schema.as_ref()).map(|schema| &schema.open_api_v3_schema);
    let schema = serde_json::to_value(schema).unwrap_or_default();
    let of_spec = schema.pointer("/properties/spec").unwrap_or_default();
    let mut faults: Vec<Fault> = match document.content.value.get("spec") {
        Some(spec) => schema::faults(spec, of_spec, "spec").into_iter().map(|fault| Fault::Error(fault.path, fault.message)).collect(),
        None => vec![Fault::Error("spec".to_owned(), "is required".to_owned())],
    };
    match document.typed::<K>() {
        Ok(stored) => faults.extend(rules(&stored)),
        // The caller prints the position.
        Err(error) if faults.is_empty() => faults.push(Fault::Error(String::new(), printable(&error.to_string()))),
        Err(_) => {}
    }
    faults
}

fn wrong(faults: &mut Vec<Fault>, outcome: Result<(), domain::Refusal>) {
    faults.extend(outcome.err().map(|refusal| Fault::Error(String::new(), refusal.to_string())));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The errors of the objects of a text, one per line.
    fn said(text: &str) -> Vec<String> {
        let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let read = files::read(file.path(), false).unwrap();
        let settings = Settings {
            operator_namespace: String::new(),
            max_grant: "24h".parse().unwrap(),
            identities: Identities::default(),
            system_namespaces: Vec::new(),
            guarded_labels: GuardedLabels::default(),
        };
        let manifests = Manifests::of(&read.documents);
        let name = file.path().display().to_string();
        let faults = read.documents.iter().filter(|document| is_ours(document)).flat_map(|document| {
            manifests.faults(document, &settings).into_iter().map(|fault| match fault {
                Fault::Error(field, text) => format!("{}: {field}: {text}", what(document, &field)),
                Fault::Warning(text) => format!("{}: warning: {text}", what(document, "")),
            })
        });
        faults.chain(read.unreadable.clone()).map(|line| line.replace(&name, "f")).collect()
    }

    #[test]
    fn f34_all_errors_of_an_object_are_told_with_line_and_field() {
        let text = "apiVersion: v1\nkind: ConfigMap\n---\napiVersion: jitrbac.dev/v1alpha1\nkind: RoleEligibility\nmetadata: {name: pay}\n\
            spec:\n  subjects:\n  - {kind: Grup, name: devs}\n  roleRef: {kind: ClusterRole, name: edit}\n  namespaces: {names: [pay]}\n  \
            policyRef: {name: p}\n  maxDuration: 3 hours\n  endTiem: 2030-01-01T00:00:00Z\n";
        let found = said(text);
        let has = |part: &str| assert!(found.iter().any(|line| line.contains(part)), "no '{part}': {found:#?}");
        has("f:9: RoleEligibility 'pay' (document 2): spec.subjects[0].kind: 'Grup' is not one of");
        has("f:13: RoleEligibility 'pay' (document 2): spec.maxDuration: '3 hours' is not a valid duration");
        has("f:14: RoleEligibility 'pay' (document 2): spec.endTiem: is not a known field; did you mean 'endTime'?");
        assert_eq!(found.len(), 3, "{found:#?}");
    }

    #[test]
    fn f28_a_duration_that_the_policy_does_not_allow_is_a_warning() {
        let text = |longest: &str| {
            format!(
                "apiVersion: jitrbac.dev/v1alpha1\nkind: ApprovalPolicy\nmetadata: {{name: p}}\nspec:\n  approval: {{automatic: {{}}}}\n  \
                 limits: {{maxDuration: {longest}}}\n  eligibility: {{requireEnd: false}}\n---\n\
                 apiVersion: jitrbac.dev/v1alpha1\nkind: RoleEligibility\nmetadata: {{name: pay}}\nspec:\n  \
                 subjects: [{{kind: Group, name: devs}}]\n  roleRef: {{kind: ClusterRole, name: view}}\n  namespaces: {{names: [pay]}}\n  \
                 policyRef: {{name: p}}\n  maxDuration: 4h\n"
            )
        };
        let found = said(&text("2h"));
        assert!(
            found.len() == 1
                && found[0].contains("RoleEligibility 'pay'")
                && found[0].contains("warning: spec.maxDuration 4h is above policy 'p' (spec.limits.maxDuration 2h)"),
            "{found:?}"
        );
        assert_eq!(said(&text("4h")), Vec::<String>::new());
    }

    #[test]
    fn f34_a_kind_that_there_is_not_is_an_error() {
        for (text, says) in [
            (
                "{apiVersion: jitrbac.dev/v1alpha1, kind: RoleEligibilty}",
                "kind: unknown kind 'RoleEligibilty'; did you mean 'RoleEligibility'?",
            ),
            ("{apiVersion: jitrbac.dev/v1, kind: RoleEligibility}", "apiVersion: 'jitrbac.dev/v1' is not jitrbac.dev/v1alpha1"),
            (
                "{apiVersion: jit-rbac.dev/v1alpha1, kind: ApprovalPolicy}",
                "apiVersion: 'jit-rbac.dev/v1alpha1' is not jitrbac.dev/v1alpha1",
            ),
            ("{apiVersion: jitrbac.dev/v1alpha1}", "kind: is required"),
        ] {
            let found = said(text);
            assert!(found.len() == 1 && found[0].contains(says), "{text}: {found:?}");
        }
        assert!(said("{apiVersion: v1, kind: Pod}").is_empty());
    }

    #[test]
    fn f34_files_that_are_no_yaml_and_directories_are_told() {
        let found = said("a\t: b: c");
        assert!(found.len() == 1 && found[0].starts_with("f: error: ") && found[0].contains("line 1"), "{found:?}");
        let directory = tempfile::tempdir().unwrap();
        let below = directory.path().join("eligibilities");
        std::fs::create_dir(&below).unwrap();
        std::fs::write(below.join("a.yaml"), "{apiVersion: jitrbac.dev/v1alpha1, kind: ApprovalPolicy}").unwrap();
        let flat = files::read(directory.path(), false).unwrap();
        assert!(flat.documents.is_empty() && flat.skipped == [below]);
        assert_eq!(files::read(directory.path(), true).unwrap().documents.len(), 1);
    }
}
