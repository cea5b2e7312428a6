//! Every file of values in the folders `ci` of the charts: Helm's own lint, and those of `make lint-charts`. kubeconform compares each object
//! with the API of Kubernetes, strictly; kube-score judges workloads. An end-to-end test sends the same objects to a real API server.

use std::{
    collections::BTreeSet,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use jit_rbac::crds;
use serde_json::{Map, Value, json};

use crate::{
    every_value::{leaf, lookup},
    render::{CHARTS, file, helm, root, try_render},
    schema::strict,
};

/// Kinds that only the Prometheus operator and cert-manager define.
const FOREIGN: &str = "PodMonitor,ServiceMonitor,PrometheusRule,Certificate,Issuer";

/// What kube-score asks for and the charts do not have, with the reason.
const NOT_ASKED_FOR: [(&str, &str); 6] = [
    ("container-ephemeral-storage-request-and-limit", "the processes write no file: their file system is read-only"),
    ("container-image-pull-policy", "a value; a tag or a digest is never reused"),
    ("pod-networkpolicy", "a value: only the admin knows the networks of the control plane"),
    ("deployment-strategy", "notify and record run once: a second one would send twice, or be refused by the log"),
    ("deployment-has-host-podantiaffinity", "topologySpreadConstraints spread the pods"),
    ("deployment-has-poddisruptionbudget", "a value; without it there is no budget"),
];

/// Returns the files of values for a chart.
fn examples(chart: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join("charts").join(chart).join("ci")).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn values(path: &Path) -> Value {
    serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Runs a program with this input.
fn run(program: &str, args: &[&str], input: &str) -> Output {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}; run make lint-charts"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// Runs a program on every rendering, with more arguments for these values, and returns what it reports.
fn faults(program: &str, args: &[&str], more: impl Fn(&Value) -> &'static [&'static str]) -> Vec<String> {
    let mut faults = Vec::new();
    for chart in CHARTS {
        for path in examples(chart) {
            let values = values(&path);
            let rendered = try_render("jit-rbac", chart, &values).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let text: Vec<_> = rendered.0.iter().map(Value::to_string).collect();
            let output = run(program, &[more(&values), args].concat(), &text.join("\n---\n"));
            if !output.status.success() {
                let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
                let said: Vec<_> = said.lines().filter(|line| !line.starts_with("[OK]") && !line.starts_with("[SKIPPED]")).collect();
                let said = said.join("\n");
                faults.push(format!("{}:\n{said}", path.display()));
            }
        }
    }
    faults
}

#[test]
fn helm_lint_is_strict_and_finds_nothing() {
    for chart in CHARTS {
        for path in examples(chart) {
            let (directory, values) = (format!("charts/{chart}"), path.display().to_string());
            let args = ["lint", "--strict", &directory, "--namespace", "jit-system", "--values", &values];
            let output = Command::new(helm()).current_dir(root()).args(args).output().unwrap();
            assert!(output.status.success(), "{values}: {}", String::from_utf8_lossy(&output.stdout));
        }
    }
}

/// A switch whose other state no file has would never be linted.
#[test]
fn every_switch_is_in_another_state_in_one_of_the_files() {
    for chart in CHARTS {
        let schema: Value = serde_json::from_str(&file(&format!("charts/{chart}/values.schema.json"))).unwrap();
        let defaults: Value = serde_saphyr::from_str(&file(&format!("charts/{chart}/values.yaml"))).unwrap();
        let all: Vec<Value> = examples(chart).iter().map(|path| values(path)).collect();
        let mut paths = BTreeSet::new();
        leaf(&schema, &schema, "", &mut paths);
        let switches = paths.iter().filter(|path| lookup(&defaults, path).is_some_and(Value::is_boolean));
        let missing: Vec<_> = switches
            .filter(|path| !all.iter().any(|values| lookup(values, path).is_some_and(|value| Some(value) != lookup(&defaults, path))))
            .collect();
        assert!(missing.is_empty(), "{chart}: {missing:?}");
    }
}

#[test]
#[ignore = "needs kubeconform: make lint-charts"]
fn lint_with_kubeconform() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("schemas");
    write_schemas(&directory);
    let location = format!("{}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json", directory.display());
    let faults = faults("kubeconform", &["-strict", "-schema-location", &location, "-skip", FOREIGN, "-output", "text"], |_| &[]);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    // The schemas find a wrong field, a wrong type and an unknown kind.
    for (object, said) in [
        (json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"prots": []}}), "'prots' not allowed"),
        (json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"ports": {}}}), "got object, want array"),
        (json!({"apiVersion": "v1", "kind": "Servise", "metadata": {"name": "x"}}), "could not find schema"),
        (
            json!({"apiVersion": "jitrbac.dev/v1alpha1", "kind": "ApprovalPolicy", "metadata": {"name": "x"}, "spec": {"x": 1}}),
            "'x' not allowed",
        ),
    ] {
        let output = run("kubeconform", &["-strict", "-schema-location", &location, "-output", "text"], &object.to_string());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!output.status.success() && text.contains(said), "{object}: {text}");
    }
}

#[test]
#[ignore = "needs kube-score: make lint-charts"]
fn lint_with_kube_score() {
    let ignored = NOT_ASKED_FOR.map(|(test, _)| format!("--ignore-test={test}"));
    // A CPU limit would throttle the processes when many grants end at the same time.
    let mut args = vec!["--kubernetes-version", "v1.33", "--exit-one-on-warning", "--ignore-container-cpu-limit"];
    args.extend(ignored.iter().map(String::as_str));
    // One replica is a value of the user.
    args.extend(["--min-replicas-deployment", "1", "--output-format", "ci", "-"]);
    let faults = faults("kube-score", &args, |values| {
        // OpenShift assigns the IDs.
        if values["openshift"]["enabled"] == true {
            &["score", "--ignore-test=container-security-context-user-group-id"]
        } else {
            &["score"]
        }
    });
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Writes a schema for each kind, in the form that kubeconform expects: those of Kubernetes from the `OpenAPI` document in its module, and
/// those of jit-rbac from the CRDs.
fn write_schemas(directory: &Path) {
    let module = Command::new("go")
        .args(["list", "-m", "-f", "{{.Dir}}", "k8s.io/kubernetes"])
        .current_dir(root().join("testing/control-plane"))
        .output()
        .unwrap();
    let swagger = Path::new(String::from_utf8(module.stdout).unwrap().trim()).join("api/openapi-spec/swagger.json");
    let swagger = std::fs::read_to_string(&swagger).unwrap_or_else(|error| panic!("{}: {error}; run make lint-charts", swagger.display()));
    let swagger: Value = serde_json::from_str(&swagger).unwrap();
    std::fs::create_dir_all(directory).unwrap();
    let write = |name: &str, schema: &Value| std::fs::write(directory.join(name), schema.to_string()).unwrap();
    let definitions: Map<String, Value> =
        swagger["definitions"].as_object().unwrap().iter().map(|(name, definition)| (name.clone(), closed(definition))).collect();
    for (name, definition) in swagger["definitions"].as_object().unwrap() {
        let kinds = definition["x-kubernetes-group-version-kind"].as_array().map(Vec::as_slice).unwrap_or_default();
        // Types without a kind of their own, such as DeleteOptions, name every group.
        if let [kind] = kinds {
            let field = |key: &str| kind[key].as_str().unwrap().to_lowercase();
            write(
                &name_of(&field("kind"), &field("group"), &field("version")),
                &json!({"$ref": format!("definitions.json#/definitions/{name}")}),
            );
        }
    }
    write("definitions.json", &json!({"definitions": definitions}));
    for (_, yaml) in crds::all().unwrap() {
        let crd: Value = crate::render::whole(&serde_saphyr::from_str(&yaml).unwrap());
        let version = &crd["spec"]["versions"][0];
        let mut schema = strict(&version["schema"]["openAPIV3Schema"]);
        for (key, kind) in [("apiVersion", "string"), ("kind", "string"), ("metadata", "object")] {
            schema["properties"][key] = json!({ "type": kind });
        }
        let kind = crd["spec"]["names"]["kind"].as_str().unwrap().to_lowercase();
        write(&name_of(&kind, crd["spec"]["group"].as_str().unwrap(), version["name"].as_str().unwrap()), &schema);
    }
}

/// The name of a schema's file, as kubeconform expects it.
fn name_of(kind: &str, group: &str, version: &str) -> String {
    let group = group.split('.').next().unwrap_or_default();
    if group.is_empty() { format!("{kind}-{version}.json") } else { format!("{kind}-{group}-{version}.json") }
}

/// The definition without further fields than its own.
fn closed(definition: &Value) -> Value {
    let mut closed = definition.clone();
    if definition["format"] == "int-or-string" {
        return json!({"type": ["string", "integer"]});
    }
    if definition["properties"].is_object() {
        closed["additionalProperties"] = json!(false);
    }
    closed
}
