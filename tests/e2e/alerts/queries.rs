//! The queries of the dashboard and of the pages.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::prometheus::Prometheus;
use crate::{ensure, env::Outcome};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Executes every query of the dashboard, which must return numbers, and every query of the pages, which must be valid: most of those return
/// nothing unless something is wrong.
pub async fn every_query_returns_data(prometheus: &Prometheus) -> Outcome {
    let text = std::fs::read_to_string(root().join("charts/jit-rbac/files/dashboards/jit-rbac.json"))?;
    let dashboard: Value = serde_json::from_str(&text)?;
    let mut empty = Vec::new();
    let mut executed = 0;
    for panel in dashboard["panels"].as_array().into_iter().flatten() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().unwrap_or_default().replace("$__rate_interval", "10m");
            let samples = prometheus.query(&query).await?;
            let is_number =
                |sample: &Value| sample["value"][1].as_str().is_some_and(|value| value.parse::<f64>().is_ok_and(f64::is_finite));
            executed += 1;
            if !samples.iter().any(is_number) {
                empty.push(format!("{}: {query}", panel["title"]));
            }
        }
    }
    ensure!(empty.is_empty(), "these queries of the dashboard return no number:\n{}", empty.join("\n"));
    ensure!(executed > 20, "the dashboard has only {executed} queries");
    let mut pages = vec![root().join("docs/metrics.md")];
    pages.extend(std::fs::read_dir(root().join("docs/runbooks"))?.flatten().map(|entry| entry.path()));
    for page in pages {
        for query in promql(&page)? {
            if let Err(error) = prometheus.query(&query).await {
                return Err(format!("{}: {query}: {error}", page.display()).into());
            }
        }
    }
    Ok(())
}

/// Returns the queries of a page: the lines of its `promql` blocks, without comments.
fn promql(page: &PathBuf) -> std::io::Result<Vec<String>> {
    let text = std::fs::read_to_string(page)?;
    let blocks = text.split("```promql\n").skip(1).filter_map(|rest| rest.split("```").next());
    let lines = blocks.flat_map(str::lines).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(lines.map(str::to_owned).collect())
}
