//! `kubectl jit history`: completed requests.

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use kube::ResourceExt;

use super::record::{Source, ended_requests};
use crate::{
    chains, csv,
    filter::{Filter, Found, Listed},
    flags::Form,
    objects,
    problem::{Exit, Problem},
    read::{Scope, created, requester, state},
    session::Session,
    table::{Column, Table},
    times::{When, short},
    words,
};
use api::{RoleActivationRequest, selectors};

/// Lists completed requests.
///
/// Newest first: who had which role, for how long, why, and how it ended.
#[derive(Debug, Args)]
pub struct Options {
    /// List all namespaces.
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Only requests that ended since then: a time, or how long ago, for example 24h.
    #[arg(long, value_name = "WHEN", value_parser = ago)]
    since: Option<When>,
    /// Only requests that ended before then.
    #[arg(long, value_name = "WHEN", value_parser = ago)]
    until: Option<When>,
    #[command(flatten)]
    filter: Filter,
    /// Also list the requests that only the audit log has: a folder or a URL, see kubectl jit record.
    #[arg(long, value_name = "URL", env = "KUBECTL_JIT_RECORD_LOG", requires = "key")]
    log: Option<String>,
    /// The public key of that log: the key itself, or a file or folder with one or more.
    #[arg(long, value_name = "KEY", env = "KUBECTL_JIT_RECORD_KEY")]
    key: Option<String>,
    /// Maximum number of requests, 0 for all; defaults to 100 in a table and to all in other formats.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = Shape::Table, value_name = "FORMAT")]
    output: Shape,
}

/// The output format of the history.
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
    /// kind.group/name, one per line.
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

/// The default limit of a table.
const SHOWN: usize = 100;

/// Parses a point in the past.
fn ago(text: &str) -> Result<When, String> {
    When::parse(text, "24h")
}

/// Lists completed requests.
pub async fn run(options: &Options, session: &Session) -> Result<Exit, Problem> {
    let scope = Scope::of(session, options.all_namespaces);
    let now = session.screen.times.now();
    let wanted = |request: &RoleActivationRequest| {
        state(request).is_terminal()
            && options.since.is_none_or(|since| ended(request) >= since.before(now))
            && options.until.is_none_or(|until| ended(request) < until.before(now))
    };
    let listed = Listed { scope: &scope, fields: &selectors::ended_states(), labels: "", mine: false, called: "completed request" };
    let Found { requests: mut found, mut unmatched } = options.filter.requests(session, listed, wanted).await?;
    if let (Some(log), Some(key)) = (&options.log, &options.key) {
        let source = Source { log: log.clone(), key: key.clone() };
        let mut recorded = ended_requests(&source, &session.screen).await?;
        // The cluster has the newer state of a request that both have.
        for request in &found {
            recorded.remove(&request.uid().unwrap_or_default());
        }
        let selected = |request: &RoleActivationRequest| {
            scope.contains(&request.namespace().unwrap_or_default()) && options.filter.selects_recorded(request) && wanted(request)
        };
        found.extend(recorded.into_values().filter(selected));
        found.sort_by_key(|request| std::cmp::Reverse((created(request), request.uid())));
        unmatched = unmatched.filter(|_| found.is_empty());
    }
    let table = matches!(options.output, Shape::Table | Shape::Wide);
    let left_out = cut(&mut found, options.limit.unwrap_or(if table { SHOWN } else { 0 }));
    // Machine-readable formats print an empty list too.
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
    let mut table = Table::default();
    // One row per access, including its extensions.
    for chain in chains::folded(&found) {
        let (request, deciding) = (&chain.first, chain.deciding());
        let approved_by = request.status.as_ref().and_then(|status| status.approved_by.clone());
        let extensions = Some(chain.extensions.len()).filter(|count| *count > 0);
        let place = several.then(|| Column::new("NAMESPACE").of(request.namespace().unwrap_or_default()));
        let cells = [
            Column::new("NAME").of(request.name_any()),
            Column::new("ROLE").of(words::role_name(request)),
            Column::new("USER").of(requester(request)),
            Column::new("STATE").painted(state(deciding).as_str(), words::mark(state(deciding)).1),
            Column::new("HELD").of(chain.held().map(short).unwrap_or_default()),
            Column::new("ENDED").of(chain.ended_at().map(|at| session.screen.times.clock(at)).unwrap_or_default()),
            Column::new("REASON").wide().of(words::reason(deciding)),
            Column::new("EXTENSIONS").wide().of(extensions.map(|count| count.to_string()).unwrap_or_default()),
            Column::new("APPROVED-BY").wide().free().of(approved_by.unwrap_or_default()),
            Column::new("EMERGENCY").wide().of(if request.spec.emergency { "yes" } else { "" }),
            Column::new("JUSTIFICATION").free().of(words::justification(request)),
        ];
        table.push(place.into_iter().chain(cells));
    }
    session.screen.table(&table, options.output == Shape::Wide, &format!("no request has completed{}", scope.description()));
    if left_out > 0 {
        session.screen.info(&format!("and {left_out} older: --limit 0 lists all"));
    }
    kept(session).await;
    Ok(Exit::Done)
}

/// Truncates to the limit, 0 for none, and returns how many were removed.
fn cut(found: &mut Vec<RoleActivationRequest>, limit: usize) -> usize {
    if limit == 0 {
        return 0;
    }
    let all = found.len();
    found.truncate(limit);
    all - found.len()
}

/// The time of the end; without a recorded one, the creation time.
fn ended(request: &RoleActivationRequest) -> Timestamp {
    request.status.as_ref().and_then(|status| status.ended_at).unwrap_or_else(|| created(request))
}

/// Prints the retention, which limits the history.
async fn kept(session: &Session) {
    let Ok(policies) = session.policies().await else { return };
    let shortest = policies.iter().filter_map(|policy| policy.spec.retention.map(|kept| (kept, policy.name_any()))).min();
    let said = match shortest {
        Some((kept, name)) => {
            format!("completed requests are deleted after their retention, the earliest {kept} after their end (policy '{name}')")
        }
        None => "no policy has a retention: every request is kept".to_owned(),
    };
    let said = session.screen.on_stderr(&said, crate::paint::Paint::Dim);
    session.screen.info(&said);
}
