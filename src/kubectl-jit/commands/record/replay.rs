//! `kubectl jit record replay`: decides every grant and end again, from the log alone.

use clap::Args;
use domain::audit::replay::{Judged, Proof, Replay};
use futures::TryStreamExt;
use serde_json::json;

use super::log::{self, Source};
use crate::{
    flags::Output,
    objects,
    paint::Paint,
    problem::{Exit, Problem},
    screen::Screen,
    table::{Column, Table},
};

/// Proves that each grant and each end followed from the rules.
///
/// It runs the rules of the operator over the inputs in the log. Each grant must follow from its request, decisions, eligibility, policy, namespace
/// and role, with the recorded digest and end. Exit code 1 means that a grant or an end does not follow, or that an input is missing.
///
/// Limits that count other requests, such as a cooldown, are not decided again.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    source: Source,
    /// List all grants and ends, not only those that are not proven.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    output: Output,
}

/// How many of each kind there are.
#[derive(Debug, Default)]
struct Count {
    grants: usize,
    ends: usize,
    observed: usize,
    failed: usize,
}

/// Replays the log.
pub async fn run(options: &Options, screen: &Screen) -> Result<Exit, Problem> {
    let reader = options.source.open().await?;
    let mut replay = Replay::new(reader.minimum() > 0);
    let mut entries = log::entries(&reader, screen, "replaying");
    let (mut count, mut shown, mut wrong) = (Count::default(), Vec::new(), Vec::new());
    while let Some((index, _, entry)) = entries.try_next().await? {
        match replay.take(entry) {
            Ok(None) => {}
            Ok(Some(judged)) => {
                count.add(&judged);
                if options.all || judged.proof != Proof::Proven {
                    shown.push((index, judged));
                }
            }
            Err(why) => wrong.push((index, why)),
        }
    }
    screen.clear();
    let items: Vec<_> = shown
        .iter()
        .map(|(index, judged)| {
            let (proof, why) = words(&judged.proof);
            json!({"index": index, "id": judged.event.id, "event": judged.event.data.event, "object": judged.event.data.object, "proof": proof, "why": why})
        })
        .collect();
    let broken = wrong.len() + count.failed;
    let value = json!({
        "valid": broken == 0, "grants": count.grants, "ends": count.ends, "observed": count.observed, "notProven": broken, "items": items,
        "wrongEntries": wrong.iter().map(|(index, why)| json!({"index": index, "why": why})).collect::<Vec<_>>(),
    });
    if let Some(text) = objects::data(&value, options.output.output)? {
        screen.data(&text);
    } else {
        let mut table = Table::default();
        for (index, Judged { event, proof, .. }) in &shown {
            let (word, why) = words(proof);
            let paint = if matches!(proof, Proof::Proven | Proof::Observed(_)) { Paint::Plain } else { Paint::Bad };
            let object = &event.data.object;
            table.push([
                Column::new("INDEX").of(index.to_string()),
                Column::new("TIME").of(screen.times.clock(event.time)),
                Column::new("EVENT").of(&event.data.event),
                Column::new("REQUEST").of(format!("{}/{}", object.namespace.as_deref().unwrap_or_default(), object.name)),
                Column::new("PROOF").painted(word, paint),
                Column::new("WHY").free().of(why),
            ]);
        }
        if !table.is_empty() {
            screen.table(&table, options.output.is_wide(), "");
        }
        for (index, why) in &wrong {
            screen.data(&format!("{} {why}", screen.on_stdout(&format!("entry {index}:"), Paint::Bad)));
        }
        let Count { grants, ends, observed, .. } = count;
        let others = if observed > 0 { format!(", {observed} ends were caused by what the log does not hold") } else { String::new() };
        screen.data(&format!("{grants} grants and {ends} ends: {broken} not proven{others}"));
    }
    Ok(if broken == 0 { Exit::Done } else { Exit::Failed })
}

impl Count {
    fn add(&mut self, judged: &Judged) {
        if judged.grant {
            self.grants += 1;
        } else {
            self.ends += 1;
        }
        match judged.proof {
            Proof::Proven => {}
            Proof::Observed(_) => self.observed += 1,
            // An end takes access away, whatever it rests on.
            Proof::Unproven(_) if !judged.grant => self.observed += 1,
            Proof::Unproven(_) | Proof::Contradicted(_) => self.failed += 1,
        }
    }
}

fn words(proof: &Proof) -> (&'static str, &str) {
    match proof {
        Proof::Proven => ("Proven", ""),
        Proof::Observed(why) => ("Observed", why),
        Proof::Unproven(why) => ("Unproven", why),
        Proof::Contradicted(why) => ("Contradicted", why),
    }
}
