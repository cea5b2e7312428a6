//! `kubectl jit record verify`: the whole log against its signature.

use std::path::PathBuf;

use clap::Args;
use record::{
    checkpoint::{Checkpoint, TreeHead},
    verify::Known,
};
use serde_json::json;

use super::log::{Source, problem, progress};
use crate::{
    flags::Output,
    objects,
    paint::Paint,
    problem::{Exit, Problem},
    screen::Screen,
};

/// Verifies the whole log.
///
/// It computes the tree of all entries and compares it with the signed checkpoint, and with what is remembered elsewhere. Each difference has a name,
/// such as Edited, Removed, Reordered, Truncated or Rewritten. Exit code 1 means that the log was changed.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    source: Source,
    /// A size and root that the log must continue, as the annotation jitrbac.dev/record-checkpoint of the Lease has them; can be repeated.
    #[arg(long, value_name = "SIZE ROOT", value_parser = head)]
    remembered: Vec<TreeHead>,
    /// A file with a checkpoint of this log that the log must continue, such as one that a witness has; can be repeated.
    #[arg(long, value_name = "FILE")]
    checkpoint: Vec<PathBuf>,
    #[command(flatten)]
    output: Output,
}

fn head(text: &str) -> Result<TreeHead, String> {
    text.parse().map_err(|error: record::Error| error.to_string())
}

/// Verifies the log.
pub async fn run(options: &Options, screen: &Screen) -> Result<Exit, Problem> {
    let trusted = options.source.trusted()?;
    let mut known = Known { remembered: options.remembered.clone(), checkpoints: Vec::new() };
    for path in &options.checkpoint {
        let note = std::fs::read(path).map_err(|source| Problem::Here { what: format!("cannot read '{}'", path.display()), source })?;
        known.checkpoints.push(Checkpoint::parse(&note, &trusted).map_err(problem)?);
    }
    let report = record::verify::verify(options.source.store()?, trusted, &known, |now| {
        progress(screen, "verifying", now.done, now.total);
    });
    let report = report.await.map_err(problem)?;
    screen.clear();
    let head = report.checkpoint.as_ref().map(Checkpoint::head);
    let time = report.checkpoint.as_ref().and_then(Checkpoint::time);
    let findings: Vec<_> = report
        .findings
        .iter()
        .map(|finding| json!({"name": finding.name(), "index": finding.index(), "message": finding.to_string()}))
        .collect();
    let value = json!({
        "valid": report.is_valid(), "size": head.map(|head| head.size), "root": head.map(|head| head.root.to_string()), "first": report.first,
        "signedAt": time.map(domain::instant::stamp), "findings": findings, "notComparable": report.unknown,
    });
    if let Some(text) = objects::data(&value, options.output.output)? {
        screen.data(&text);
    } else {
        for finding in &report.findings {
            screen.data(&format!("{} {}", screen.on_stdout(&format!("{}:", finding.name()), Paint::Bad), finding));
        }
        for size in &report.unknown {
            screen.warn(&format!("the log of {size} entries cannot be compared any more: it was pruned"));
        }
        if let (true, Some(head)) = (report.is_valid(), head) {
            let from = if report.first > 0 { format!(" from {} on, the earlier ones were pruned", report.first) } else { String::new() };
            let signed = time.map(|time| format!(", signed at {}", domain::instant::stamp(time))).unwrap_or_default();
            screen.data(&format!("valid: {} entries{from}, root {}{signed}", head.size, head.root));
        }
    }
    Ok(if report.is_valid() { Exit::Done } else { Exit::Failed })
}
