//! The log that a command reads.

use std::{collections::HashMap, path::Path, pin::Pin};

use api::RoleActivationRequest;
use clap::Args;
use domain::audit::{
    input,
    leaf::{self, Entry, Known, Recorded, Reference},
};
use futures::{Stream, TryStreamExt};
use record::{key::Trusted, reader::Reader, store};

use crate::{problem::Problem, screen::Screen};

/// How many entries are between two lines of progress.
const SHOWN_EVERY: u64 = 256;

/// The flags that name a log and its key.
#[derive(Clone, Debug, Args)]
pub struct Source {
    /// The log: a folder, or a URL that begins with file://, s3://, gs://, az:// or https://.
    ///
    /// Credentials come from the environment: AWS_, GOOGLE_ and AZURE_ variables.
    #[arg(long, value_name = "URL", env = "KUBECTL_JIT_RECORD_LOG")]
    pub log: String,
    /// The public key of the log: the key itself, or a file or folder with one or more.
    #[arg(long, value_name = "KEY", env = "KUBECTL_JIT_RECORD_KEY")]
    pub key: String,
}

/// An event with its index in the log.
#[derive(Clone, Debug)]
pub struct Placed {
    /// The index of its entry.
    pub index: u64,
    /// The entry as it is stored.
    pub leaf: Vec<u8>,
    /// The event.
    pub event: Recorded,
}

impl Source {
    /// Returns the store.
    pub fn store(&self) -> Result<store::Store, Problem> {
        store::open(&self.log, store::environment()).map_err(problem)
    }

    /// Returns the keys that are trusted.
    pub fn trusted(&self) -> Result<Trusted, Problem> {
        let path = Path::new(&self.key);
        let trusted = if path.is_dir() {
            Trusted::from_folder(path)
        } else if path.is_file() {
            let text = std::fs::read_to_string(path)
                .map_err(|source| Problem::Here { what: format!("cannot read the key '{}'", self.key), source })?;
            Trusted::from_texts(text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("PRIVATE+KEY+")))
        } else {
            Trusted::from_texts([self.key.as_str()])
        };
        trusted.map_err(problem)
    }

    /// Opens the log. Every entry that is read is verified against the checkpoint.
    pub async fn open(&self) -> Result<Reader, Problem> {
        Reader::open(self.store()?, self.trusted()?).await.map_err(problem)
    }
}

/// Converts an error of the log.
#[allow(clippy::needless_pass_by_value, reason = "for `map_err`")]
pub fn problem(error: record::Error) -> Problem {
    match &error {
        record::Error::Corrupt(finding) => Problem::Api(format!("{}: {error}", finding.name())),
        record::Error::Invalid(_) => Problem::Usage(error.to_string()),
        record::Error::NoLog(_) | record::Error::OutOfRange { .. } | record::Error::Pruned { .. } => Problem::Absent(error.to_string()),
        _ => Problem::Api(error.to_string()),
    }
}

/// The entries of a log: index, leaf and content.
pub type Entries<'r> = Pin<Box<dyn Stream<Item = Result<(u64, Vec<u8>, Entry), Problem>> + Send + 'r>>;

/// Streams the entries of the whole log, with progress on a terminal.
pub fn entries<'r>(reader: &'r Reader, screen: &'r Screen, what: &'static str) -> Entries<'r> {
    let (first, total) = (reader.minimum(), reader.size());
    let entries = reader.entries(first..total).map_err(problem).map_ok(move |entry| {
        if entry.index % SHOWN_EVERY == 0 {
            progress(screen, what, entry.index, total);
        }
        if entry.index + 1 == total {
            screen.clear();
        }
        let parsed = leaf::parse(&entry.leaf);
        (entry.index, entry.leaf.to_vec(), parsed)
    });
    Box::pin(entries)
}

/// Shows how far a long operation is.
pub fn progress(screen: &Screen, what: &str, done: u64, total: u64) {
    let percent = done.saturating_mul(100).checked_div(total).unwrap_or(100);
    let filled = usize::try_from(percent / 5).unwrap_or(20).min(20);
    screen.progress(&format!("{what} [{}{}] {percent:>3}% {done}/{total}", "#".repeat(filled), ".".repeat(20 - filled)));
}

/// Returns the completed requests of the log, as they were at their last event, by UID.
///
/// # Errors
///
/// The log cannot be read, or is damaged.
pub async fn ended_requests(source: &Source, screen: &Screen) -> Result<HashMap<String, RoleActivationRequest>, Problem> {
    let reader = source.open().await?;
    let mut entries = entries(&reader, screen, "reading the log");
    let (mut known, mut found) = (Known::default(), HashMap::new());
    while let Some((index, _, entry)) = entries.try_next().await? {
        match entry {
            Entry::Input(part) => known.take(*part).map_err(|why| Problem::Api(format!("entry {index}: {why}")))?,
            Entry::Event(event) => {
                let Reference::Hash(hash) = &event.data.inputs.request else { continue };
                let Some(body) = known.get(input::Kind::Request, hash) else { continue };
                let Ok(request) = serde_json::from_value::<RoleActivationRequest>(body.clone()) else { continue };
                let is_over = request.status.as_ref().and_then(|status| status.state).is_some_and(api::State::is_terminal);
                if is_over {
                    found.insert(event.data.object.uid.clone(), request);
                }
            }
            Entry::Other => {}
        }
    }
    Ok(found)
}
