//! Invalid input, one row per case, with the whole message to the user.
//!
//! The output of kubectl is written to `refusals.md` in cargo's directory for tests, from which the documentation copies it.

mod authors;
mod decisions;
mod eligibilities_and_policies;
mod existing_requests;
mod immutable_fields;
mod invalid_configuration;
mod requests;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
    sync::Mutex,
};

use control_plane::Release;
use serde_json::{Value, json};

use crate::{
    ensure,
    env::{Env, Error, Outcome, Scene, TestCase, risks},
};

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    [
        eligibilities_and_policies::test_cases(),
        authors::test_cases(),
        immutable_fields::test_cases(),
        decisions::test_cases(),
        existing_requests::test_cases(),
        requests::test_cases(),
        invalid_configuration::test_cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The component that denies, which determines the prefix of kubectl's message. `…` stands for text that varies.
enum By<'a> {
    /// The webhook.
    Webhook(&'a str),
    /// The kind's schema.
    Schema(&'a str),
    /// An admission policy of this name.
    Policy(&'a str, &'a str),
    /// The whole output of kubectl.
    Whole(&'a str),
}

/// The chapters that are written so far.
static CHAPTERS: Mutex<BTreeMap<&'static str, String>> = Mutex::new(BTreeMap::new());

/// Title, changes of the manifest, expected message.
type Row<'a> = (&'a str, Vec<(&'a str, Value)>, &'a str);

/// The first minor version of Kubernetes that shows the value that a schema's rule denies.
const SHOWS_VALUES_SINCE: u32 = 35;

/// Denials of one test.
struct Book<'a> {
    scene: &'a Scene,
    directory: PathBuf,
    chapter: &'static str,
    text: String,
}

impl<'a> Book<'a> {
    fn new(scene: &'a Scene, chapter: &'static str) -> Result<Self, Error> {
        let directory = scene.fixture.cluster().directory().join("refusals").join(&scene.name);
        std::fs::create_dir_all(&directory)?;
        Ok(Self { scene, directory, chapter, text: String::new() })
    }

    /// Applies `object`, changed at these paths, as `user`, and expects a denial.
    async fn apply(&mut self, title: &str, user: &str, mut object: Value, changes: &[(&str, Value)], by: By<'_>) -> Outcome {
        for (path, value) in changes {
            set(&mut object, path, value.clone());
        }
        let file = match object["kind"].as_str().unwrap_or_default() {
            "RoleActivationRequest" => "request.yaml",
            "ActivationDecision" => "decision.yaml",
            "RoleEligibility" => "eligibility.yaml",
            _ => "policy.yaml",
        };
        std::fs::write(self.directory.join(file), object.to_string())?;
        let verb = if object["metadata"]["generateName"].is_null() { "apply" } else { "create" };
        let notes: Vec<String> = changes.iter().map(|(path, value)| format!("# {path}: {}", short(value))).collect();
        let stderr = self.run(user, &[verb, "-f", file]).await?;
        self.write(title, user, &format!("kubectl {verb} -f {file}"), &notes, &stderr);
        let expected = complete(&by, &object, file);
        ensure!(same(&in_newer_format(&stderr, &expected)?, &expected), "{title}: kubectl said\n{stderr}instead of\n{expected}");
        Ok(())
    }

    /// Runs kubectl as `user`, and expects a denial.
    async fn kubectl(&mut self, title: &str, user: &str, args: &[&str], expected: &str) -> Outcome {
        let stderr = self.run(user, args).await?;
        let quoted = |word: &&str| if word.contains(['{', ' ', '"']) { format!("'{word}'") } else { (*word).to_owned() };
        let line = args.iter().map(quoted).collect::<Vec<_>>().join(" ");
        self.write(title, user, &format!("kubectl {line}"), &[], &stderr);
        let expected = format!("{expected}\n");
        ensure!(same(&in_newer_format(&stderr, &expected)?, &expected), "{title}: kubectl said\n{stderr}instead of\n{expected}");
        Ok(())
    }

    async fn run(&self, user: &str, args: &[&str]) -> Result<String, Error> {
        let output = self.scene.fixture.cluster().kubectl(user)?.current_dir(&self.directory).args(args).output().await?;
        let stderr = String::from_utf8(output.stderr)?;
        ensure!(output.status.code() == Some(1), "kubectl {args:?} ended with {}: {stderr}", output.status);
        ensure!(output.stdout.is_empty(), "kubectl {args:?} said {}", String::from_utf8_lossy(&output.stdout));
        Ok(stderr)
    }

    fn write(&mut self, title: &str, user: &str, command: &str, notes: &[String], stderr: &str) {
        let notes = if notes.is_empty() { String::new() } else { format!("   {}", notes.join(", ")) };
        // Writing to a String cannot fail.
        let _ = write!(self.text, "### {title}\n\n```console\n{user}$ {command}{notes}\n{stderr}```\n\n");
    }

    /// Adds the chapter to the existing ones.
    fn close(self) -> Outcome {
        let mut chapters = CHAPTERS.lock().expect("the lock is not poisoned");
        chapters.insert(self.chapter, self.text);
        let all: Vec<String> = chapters.iter().map(|(title, text)| format!("## {title}\n\n{text}")).collect();
        std::fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join("refusals.md"), all.concat())?;
        Ok(())
    }
}

/// A scene with a readable name that no other test uses.
async fn scene(env: &Env, name: &str) -> Result<Scene, Error> {
    let scene = Scene { fixture: env.fixture().await?, name: name.to_owned() };
    scene.create_namespace(name).await?;
    Ok(scene)
}

/// Sets `value` at a path such as `spec.subjects.0.name`; null removes the field.
fn set(object: &mut Value, path: &str, value: Value) {
    let (parent, last) = path.rsplit_once('.').unwrap_or(("", path));
    let mut here = object;
    for step in parent.split('.').filter(|step| !step.is_empty()) {
        here = match step.parse::<usize>() {
            Ok(number) => &mut here[number],
            Err(_) => &mut here[step],
        };
    }
    match (last.parse::<usize>(), value) {
        (Ok(number), value) => here[number] = value,
        (Err(_), Value::Null) => drop(here.as_object_mut().map(|members| members.remove(last))),
        (Err(_), value) => here[last] = value,
    }
}

/// A value on one short line, with invisible characters escaped.
fn short(value: &Value) -> String {
    let text = match value {
        Value::Null => "absent".to_owned(),
        Value::Array(items) if items.len() > 8 => format!("[{}, ... {} of them]", items[0], items.len()),
        value => value.to_string(),
    };
    let shown: String = text
        .chars()
        .flat_map(|c| if c.is_ascii() { c.to_string().chars().collect() } else { c.escape_unicode().collect::<Vec<_>>() })
        .collect();
    if shown.len() > 120 { format!("{}... ({} characters)", &shown[..40], text.len()) } else { shown }
}

/// Returns the whole output of kubectl.
fn complete(by: &By<'_>, object: &Value, file: &str) -> String {
    let kind = object["kind"].as_str().unwrap_or_default();
    let generated = object["metadata"]["generateName"].as_str().map(|begin| format!("{begin}…"));
    let name = generated.or_else(|| object["metadata"]["name"].as_str().map(str::to_owned)).unwrap_or_default();
    let (plural, hook) = match kind {
        "RoleActivationRequest" => ("roleactivationrequests", "activations"),
        "ActivationDecision" => ("activationdecisions", "activations"),
        "RoleEligibility" => ("roleeligibilities", "eligibilities"),
        _ => ("approvalpolicies", "eligibilities"),
    };
    let begin = format!("Error from server (Forbidden): error when creating \"{file}\": ");
    match by {
        By::Webhook(says) => format!("{begin}admission webhook \"{hook}.jitrbac.dev\" denied the request: {says}\n"),
        By::Schema(says) => format!("The {kind} \"{name}\" is invalid: {says}\n"),
        By::Policy(policy, says) => {
            let policy = format!("jit-rbac-{policy}");
            format!(
                "{begin}{plural}.jitrbac.dev \"{name}\" is forbidden: ValidatingAdmissionPolicy '{policy}' with binding '{policy}' denied request: {says}\n"
            )
        }
        By::Whole(says) => format!("{says}\n"),
    }
}

/// Converts an older API server's message of a schema's rule to that of newer ones: it has the type of the denied value where they show the
/// value, if that is short. The rest stays unchanged.
fn in_newer_format(said: &str, expected: &str) -> Result<String, Error> {
    let older = Release::chosen()?.is_some_and(|release| release.minor() < SHOWS_VALUES_SINCE);
    if !older || said.lines().count() != expected.lines().count() {
        return Ok(said.to_owned());
    }
    let lines =
        said.split('\n').zip(expected.split('\n')).map(|(said, expected)| newer_line(said, expected).unwrap_or_else(|| said.to_owned()));
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

fn newer_line(said: &str, expected: &str) -> Option<String> {
    let (before, after) = said.split_once("Invalid value: \"")?;
    let (kind, message) = after.split_once("\": ")?;
    let value = match kind {
        "object" | "array" => "",
        "null" => "null: ",
        "string" => expected.split_once("Invalid value: ")?.1.strip_suffix(message)?,
        _ => return None,
    };
    Some(format!("{before}Invalid value: {value}{message}"))
}

/// Returns true when both texts are equal except where `…` stands.
fn same(said: &str, expected: &str) -> bool {
    let mut parts = expected.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = said.strip_prefix(first) else { return false };
    let mut last = None;
    for part in parts {
        if let Some(before) = last.replace(part) {
            let Some((_, after)) = rest.split_once(before) else { return false };
            rest = after;
        }
    }
    last.map_or(rest.is_empty(), |part| rest.ends_with(part))
}

/// An eligibility as an admin writes it.
fn eligibility(name: &str, namespace: &str) -> Value {
    json!({
        "apiVersion": "jitrbac.dev/v1alpha1", "kind": "RoleEligibility", "metadata": {"name": name},
        "spec": {
            "subjects": [{"kind": "Group", "name": "devs"}],
            "roleRef": {"kind": "ClusterRole", "name": "edit"},
            "namespaces": {"names": [namespace]},
            "policyRef": {"name": "self-service"},
            "maxDuration": "4h",
            "acceptRisks": risks("edit"),
            "endTime": "2036-01-01T00:00:00Z",
        },
    })
}

/// A policy as an admin writes it.
fn policy(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "jitrbac.dev/v1alpha1", "kind": "ApprovalPolicy", "metadata": {"name": name}, "spec": spec})
}
