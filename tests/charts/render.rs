//! Renders a chart with real Helm and parses the YAML.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use control_plane::Binaries;
use serde_json::{Value, json};

/// Namespace and release of every rendering.
pub const NAMESPACE: &str = "jit-system";
/// The release of the operator's chart.
pub const RELEASE: &str = "jit-rbac";

/// The charts.
pub const CHARTS: [&str; 2] = ["jit-rbac", "jit-access"];

/// The directory of the checkout.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns a file of the checkout as text.
pub fn file(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns the path of Helm.
pub fn helm() -> &'static Path {
    static HELM: OnceLock<PathBuf> = OnceLock::new();
    HELM.get_or_init(|| Binaries::find().expect("Helm").helm)
}

/// The objects of one rendering.
pub struct Rendered(pub Vec<Value>);

impl Rendered {
    /// Returns every object of a kind.
    pub fn all(&self, kind: &str) -> Vec<&Value> {
        self.0.iter().filter(|object| object["kind"] == kind).collect()
    }

    /// Returns the one object of this kind and name.
    pub fn get(&self, kind: &str, name: &str) -> &Value {
        self.find(kind, name).unwrap_or_else(|| panic!("{kind} {name} is not rendered"))
    }

    /// Returns the object of this kind and name, if there is one.
    pub fn find(&self, kind: &str, name: &str) -> Option<&Value> {
        self.all(kind).into_iter().find(|object| object["metadata"]["name"] == name)
    }

    /// Returns the only object of a kind.
    pub fn only(&self, kind: &str) -> &Value {
        let all = self.all(kind);
        assert_eq!(all.len(), 1, "{kind}");
        all[0]
    }
}

/// Renders the release `release` of the chart with these values, or returns Helm's error.
pub fn try_render(release: &str, chart: &str, values: &Value) -> Result<Rendered, String> {
    try_render_with(release, chart, values, &[])
}

/// The same with more arguments of Helm.
pub fn try_render_with(release: &str, chart: &str, values: &Value, more: &[&str]) -> Result<Rendered, String> {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("helm");
    let mut child = Command::new(helm())
        .args(["template", release])
        .arg(root().join("charts").join(chart))
        .args(["--namespace", NAMESPACE, "--values", "-"])
        .args(more)
        // Without the user's own plugins and settings.
        .env("HELM_CONFIG_HOME", home.join("config"))
        .env("HELM_CACHE_HOME", home.join("cache"))
        .env("HELM_DATA_HOME", home.join("data"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("helm starts");
    let text = serde_json::to_string(values).expect("JSON");
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("helm reads its values");
    let output = child.wait_with_output().expect("helm ends");
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let objects = serde_saphyr::from_multiple::<Value>(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    Ok(Rendered(objects.into_iter().filter(|object| !object.is_null()).collect()))
}

/// Renders the operator's chart with these values.
pub fn operator(values: &Value) -> Rendered {
    try_render(RELEASE, "jit-rbac", values).unwrap_or_else(|error| panic!("{error}"))
}

/// Renders the operator's chart with its default values.
pub fn default() -> &'static Rendered {
    static DEFAULT: OnceLock<Rendered> = OnceLock::new();
    DEFAULT.get_or_init(|| operator(&json!({})))
}

/// Renderings that together cover every branch of the operator's chart.
pub fn every() -> Vec<(&'static str, Rendered)> {
    [
        ("as it comes", json!({})),
        ("out of cluster", out_of_cluster()),
        ("cert-manager", json!({"webhook": {"certManager": {"enabled": true}}})),
        ("no roles", json!({"bindableRoles": {"clusterRoles": [], "roles": []}})),
        (
            "all on",
            json!({
                "bindableRoles": {"clusterRoles": ["edit", "view"], "roles": ["debug"]},
                "rbac": {"aggregateToView": true},
                "networkPolicy": {"enabled": true},
                "metrics": {
                    "serviceMonitor": {"enabled": true},
                    "prometheusRule": {"enabled": true},
                    "grafanaDashboard": {"enabled": true},
                },
                "crds": {"keep": false},
            }),
        ),
    ]
    .into_iter()
    .map(|(name, values)| (name, operator(&values)))
    .collect()
}

/// Values for processes that run outside of the cluster.
pub fn out_of_cluster() -> Value {
    json!({"outOfCluster": {"enabled": true, "webhookUrl": "https://127.0.0.1:9443"}})
}

/// Returns the texts of a JSON list.
pub fn texts(list: &Value) -> Vec<&str> {
    list.as_array().map(|items| items.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
}

/// Returns the items of a JSON list; none where there is no list.
pub fn items(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

/// The same with whole numbers written as such: 16 where a generator wrote 16.0.
pub fn whole(value: &Value) -> Value {
    match value {
        Value::Number(number) if number.is_f64() => {
            let text = number.to_string();
            text.strip_suffix(".0").and_then(|digits| digits.parse::<i64>().ok()).map_or_else(|| value.clone(), Value::from)
        }
        Value::Array(items) => items.iter().map(whole).collect(),
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), whole(value))).collect(),
        _ => value.clone(),
    }
}
