//! `kubectl jit record list`: the events of the log.

use clap::Args;
use serde_json::{Value, json};

use super::{
    log::{Placed, Source},
    selection::Selection,
};
use crate::{
    flags::Output,
    objects,
    paint::Paint,
    problem::{Exit, Problem},
    screen::Screen,
    table::{Column, Table},
};

/// Lists what happened.
///
/// The newest events last. Each entry that is read is verified against the signed checkpoint.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    selection: Selection,
    /// Maximum number of events, 0 for all; the newest ones are kept. Defaults to 100 in a table and to all in other formats.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    #[command(flatten)]
    output: Output,
}

/// The default limit of a table.
const SHOWN: usize = 100;

/// Lists events.
pub async fn run(options: &Options, namespace: Option<&str>, screen: &Screen) -> Result<Exit, Problem> {
    let reader = options.source.open().await?;
    let limit = options.limit.unwrap_or(if options.output.is_table() { SHOWN } else { 0 });
    let mut found = std::collections::VecDeque::new();
    let mut left_out = 0;
    let keep = |placed: Placed| {
        found.push_back(placed);
        if limit > 0 && found.len() > limit {
            found.pop_front();
            left_out += 1;
        }
    };
    options.selection.each(&reader, namespace, screen, keep).await?;
    let values: Vec<Value> = found.iter().map(value).collect();
    if let Some(text) = objects::data(&json!({ "items": values }), options.output.output)? {
        screen.data(&text);
        return Ok(Exit::Done);
    }
    let mut table = Table::default();
    for Placed { index, event, .. } in &found {
        let data = &event.data;
        let paint = match data.severity.as_str() {
            "critical" => Paint::Bad,
            "warning" => Paint::Waits,
            _ => Paint::Plain,
        };
        let place = data.object.namespace.iter().map(String::as_str).chain([data.object.name.as_str()]).collect::<Vec<_>>().join("/");
        table.push([
            Column::new("INDEX").of(index.to_string()),
            Column::new("TIME").of(screen.times.clock(event.time)),
            Column::new("EVENT").painted(&data.event, paint),
            Column::new("OBJECT").of(place),
            Column::new("ACTOR").of(&data.actor),
            Column::new("KIND").wide().of(&data.object.kind),
            Column::new("ROLE").wide().of(data.role.as_deref().unwrap_or_default()),
            Column::new("ID").wide().of(&event.id),
            Column::new("MESSAGE").free().of(&data.message),
        ]);
    }
    screen.table(&table, options.output.is_wide(), "no event is selected");
    if left_out > 0 {
        screen.info(&format!("and {left_out} older: --limit 0 lists all"));
    }
    Ok(Exit::Done)
}

/// An entry with its index, as JSON.
fn value(placed: &Placed) -> Value {
    let mut value: Value = serde_json::from_slice(&placed.leaf).unwrap_or_default();
    if let Some(members) = value.as_object_mut() {
        members.insert("index".to_owned(), placed.index.into());
    }
    value
}
