//! `kubectl jit history`: what was activated and how it ended.

use chrono::{DateTime, TimeDelta, Utc};
use clap::{Args, ValueEnum};
use kube::ResourceExt;

use crate::{
    chains, csv,
    filter::{Filter, Found, Listed},
    flags::Form,
    objects,
    problem::{Exit, Problem},
    read::{Scope, created, requester, state},
    session::Session,
    table::{Cell, Column, Table},
    times::short,
    words,
};
use api::{RoleActivationRequest, selectors};

/// Lists what has ended.
///
/// Newest first: who had which role, for how long, why, and how it ended.
#[derive(Debug, Args)]
pub struct Options {
    /// In all namespaces.
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Only what has ended since then: a time, or how long ago, such as 24h.
    #[arg(long, value_name = "WHEN", value_parser = ago)]
    since: Option<Ago>,
    /// Only what ended before then.
    #[arg(long, value_name = "WHEN", value_parser = ago)]
    until: Option<Ago>,
    #[command(flatten)]
    filter: Filter,
    /// At most so many, 0 for all; by default 100 in a table and all in other forms.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// In which form.
    #[arg(short, long, value_enum, default_value_t = Shape::Table, value_name = "FORM")]
    output: Shape,
}

/// In which form the history is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shape {
    /// A table.
    Table,
    /// A table with more columns.
    Wide,
    /// The requests as JSON.
    Json,
    /// The requests as YAML.
    Yaml,
    /// kind.group/name, a line each.
    Name,
    /// Comma-separated values with times in UTC.
    Csv,
}

impl Shape {
    const fn form(self) -> Form {
        match self {
            Self::Table | Self::Csv => Form::Table,
            Self::Wide => Form::Wide,
            Self::Json => Form::Json,
            Self::Yaml => Form::Yaml,
            Self::Name => Form::Name,
        }
    }
}

/// How many a table shows where nobody says.
const SHOWN: usize = 100;

/// A point in the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ago {
    /// This time.
    At(DateTime<Utc>),
    /// So long ago.
    Since(api::Duration),
}

fn ago(text: &str) -> Result<Ago, String> {
    if let Ok(length) = text.parse() {
        return Ok(Ago::Since(length));
    }
    let at = DateTime::parse_from_rfc3339(text)
        .map_err(|_| format!("'{text}' is neither a time such as 2026-12-01T08:00:00Z nor a length such as 24h"))?;
    Ok(Ago::At(at.with_timezone(&Utc)))
}

impl Ago {
    fn instant(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::At(at) => at,
            Self::Since(length) => now.checked_sub_signed(TimeDelta::from(length)).unwrap_or(now),
        }
    }
}

/// Lists it.
pub async fn run(options: &Options, session: &Session) -> Result<Exit, Problem> {
    let scope = Scope::of(session, options.all_namespaces);
    let now = session.screen.times.now();
    let wanted = |request: &RoleActivationRequest| {
        state(request).is_terminal()
            && options.since.is_none_or(|since| ended(request) >= since.instant(now))
            && options.until.is_none_or(|until| ended(request) < until.instant(now))
    };
    let listed = Listed { scope: &scope, fields: &selectors::ended_states(), labels: "", mine: false, called: "request that has ended" };
    let Found { requests: mut found, unmatched } = options.filter.requests(session, listed, wanted).await?;
    let table = matches!(options.output, Shape::Table | Shape::Wide);
    let left_out = cut(&mut found, options.limit.unwrap_or(if table { SHOWN } else { 0 }));
    // Programs get their empty list all the same.
    let printed = if options.output == Shape::Csv {
        session.screen.data(&csv::lines(&found));
        true
    } else {
        objects::listed(&session.screen, &found, options.output.form())?
    };
    if let Some(problem) = unmatched {
        return Err(problem);
    }
    if printed {
        return Ok(Exit::Done);
    }
    let several = scope.is_several();
    let place = several.then_some(Column::new("NAMESPACE"));
    let columns = [
        Column::new("NAME"),
        Column::new("ROLE"),
        Column::new("USER"),
        Column::new("STATE"),
        Column::new("HELD"),
        Column::new("ENDED"),
        Column::new("REASON").wide(),
        Column::new("EXTENSIONS").wide(),
        Column::new("APPROVED-BY").wide().free(),
        Column::new("EMERGENCY").wide(),
        Column::new("JUSTIFICATION").free(),
    ];
    let mut table = Table::new(place.into_iter().chain(columns));
    // One row an access: what extends it belongs to it.
    for chain in chains::folded(&found) {
        let (request, deciding) = (&chain.first, chain.deciding());
        let approved_by = request.status.as_ref().and_then(|status| status.approved_by.clone());
        let extensions = Some(chain.extensions.len()).filter(|count| *count > 0);
        let cells: [Cell; 11] = [
            request.name_any().into(),
            words::role_name(request).into(),
            requester(request).into(),
            Cell::painted(state(deciding).as_str(), words::mark(state(deciding)).1),
            chain.held().map(short).unwrap_or_default().into(),
            chain.ended_at().map(|at| session.screen.times.clock(at)).unwrap_or_default().into(),
            words::reason(deciding).into(),
            extensions.map(|count| count.to_string()).unwrap_or_default().into(),
            approved_by.unwrap_or_default().into(),
            if request.spec.emergency { "yes" } else { "" }.into(),
            words::justification(request).into(),
        ];
        table.push(several.then(|| Cell::from(request.namespace().unwrap_or_default())).into_iter().chain(cells));
    }
    session.screen.table(&table, options.output == Shape::Wide, &format!("nothing has ended{}", scope.in_words()));
    if left_out > 0 {
        session.screen.say(&format!("and {left_out} older: --limit 0 lists all"));
    }
    kept(session).await;
    Ok(Exit::Done)
}

/// Leaves at most so many, 0 for all; how many went.
fn cut(found: &mut Vec<RoleActivationRequest>, limit: usize) -> usize {
    if limit == 0 {
        return 0;
    }
    let all = found.len();
    found.truncate(limit);
    all - found.len()
}

/// When it ended; what ended without a record of the time counts from when it was made.
fn ended(request: &RoleActivationRequest) -> DateTime<Utc> {
    request.status.as_ref().and_then(|status| status.ended_at).unwrap_or_else(|| created(request))
}

/// Says beyond what there can be no history.
async fn kept(session: &Session) {
    let Ok(policies) = session.policies().await else { return };
    let shortest = policies.iter().filter_map(|policy| policy.spec.retention.map(|kept| (kept, policy.name_any()))).min();
    let said = match shortest {
        Some((kept, name)) => format!("requests are deleted after their retention, the soonest {kept} after their end (policy '{name}')"),
        None => "no policy has a retention: every request is kept".to_owned(),
    };
    let said = session.screen.beside(&said, crate::paint::Paint::Dim);
    session.screen.say(&said);
}
