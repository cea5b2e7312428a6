//! `kubectl jit record show`: one event with everything that it rests on.

use clap::Args;
use domain::audit::leaf::{Entry, Known, Reference};
use futures::TryStreamExt;
use serde_json::{Map, Value, json};

use super::log::{self, Source};
use crate::{
    flags::{Form, Output},
    objects,
    problem::{Exit, Problem},
    screen::Screen,
};

/// Shows one event with its inputs.
///
/// The inputs are the request, the decisions, the eligibility, the policy, the namespace, the role and the settings on which it rests.
#[derive(Debug, Args)]
pub struct Options {
    /// The index of the entry, as `list` shows it, or the ID of the event.
    #[arg(value_name = "INDEX|ID")]
    event: String,
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    output: Output,
}

/// Shows the event.
pub async fn run(options: &Options, screen: &Screen) -> Result<Exit, Problem> {
    let reader = options.source.open().await?;
    let mut known = Known::default();
    let mut entries = log::entries(&reader, screen, "reading the log");
    while let Some((index, leaf, entry)) = entries.try_next().await? {
        let event = match entry {
            Entry::Input(part) => {
                known.take(*part).map_err(|why| Problem::Api(format!("entry {index}: {why}")))?;
                continue;
            }
            Entry::Event(event) if event.id == options.event || index.to_string() == options.event => event,
            _ => continue,
        };
        screen.clear();
        let inputs = &event.data.inputs;
        let named = [
            ("request", &inputs.request),
            ("eligibility", &inputs.eligibility),
            ("policy", &inputs.policy),
            ("namespace", &inputs.namespace),
            ("role", &inputs.role),
            ("settings", &inputs.settings),
        ];
        let content = |hash: &str| known.any(hash).map_or(Value::Null, |(_, body)| body.clone());
        let mut found = Map::new();
        for (name, reference) in named.into_iter().chain(inputs.base.as_ref().map(|base| ("base", base))) {
            match reference {
                Reference::Hash(hash) => drop(found.insert(name.to_owned(), content(hash))),
                Reference::Absent => drop(found.insert(name.to_owned(), json!("absent"))),
                Reference::Deleting => drop(found.insert(name.to_owned(), json!("deleting"))),
                Reference::Unknown => {}
            }
        }
        if !inputs.decisions.is_empty() {
            found.insert("decisions".to_owned(), inputs.decisions.iter().map(|hash| content(hash)).collect());
        }
        let event: Value = serde_json::from_slice(&leaf).unwrap_or_default();
        let value = json!({"index": index, "event": event, "inputs": found});
        let form = if options.output.output == Form::Json { Form::Json } else { Form::Yaml };
        screen.data(&objects::data(&value, form)?.unwrap_or_default());
        return Ok(Exit::Done);
    }
    screen.clear();
    Err(Problem::Absent(format!("there is no event '{}' in the log, which has {} entries", options.event, reader.size())))
}
