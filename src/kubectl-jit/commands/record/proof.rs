//! `kubectl jit record proof`: the proof that an entry is in the log, and its verification without the log.

use std::path::PathBuf;

use clap::Args;

use super::log::{Source, problem};
use crate::{
    problem::{Exit, Problem},
    screen::Screen,
};

/// Prints the proof that an entry is in the log.
///
/// The proof can be given away with the entry. A person who has both and the public key can verify them without the log:
///
/// kubectl jit record proof --check proof.txt --entry entry.json --key KEY
#[derive(Debug, Args)]
pub struct Options {
    /// The index of the entry.
    #[arg(value_name = "INDEX", required_unless_present = "check")]
    index: Option<u64>,
    /// The log: a folder or a URL.
    #[arg(long, value_name = "URL", env = "KUBECTL_JIT_RECORD_LOG", required_unless_present = "check")]
    log: Option<String>,
    /// The public key of the log: the key itself, or a file or folder with one or more.
    #[arg(long, value_name = "KEY", env = "KUBECTL_JIT_RECORD_KEY")]
    key: String,
    /// Also write the entry to this file, or with --check read it from there.
    #[arg(long, value_name = "FILE")]
    entry: Option<PathBuf>,
    /// Verify the proof in this file.
    #[arg(long, value_name = "FILE", requires = "entry", conflicts_with = "index")]
    check: Option<PathBuf>,
}

/// Prints or verifies a proof.
pub async fn run(options: &Options, screen: &Screen) -> Result<Exit, Problem> {
    let source = Source { log: options.log.clone().unwrap_or_default(), key: options.key.clone() };
    let here = |what: &str, path: &PathBuf| format!("cannot {what} '{}'", path.display());
    if let (Some(path), Some(entry)) = (&options.check, &options.entry) {
        let proof = std::fs::read_to_string(path).map_err(|source| Problem::Here { what: here("read", path), source })?;
        let leaf = std::fs::read(entry).map_err(|source| Problem::Here { what: here("read", entry), source })?;
        let proven = record::proof::check(&leaf, &proof, &source.trusted()?).map_err(|error| Problem::Api(error.to_string()))?;
        let head = proven.checkpoint.head();
        screen.data(&format!("valid: entry {} of {} entries, root {}", proven.index, head.size, head.root));
        return Ok(Exit::Done);
    }
    let reader = source.open().await?;
    let index = options.index.unwrap_or_default();
    let leaf = reader.entry(index).await.map_err(problem)?;
    if let Some(path) = &options.entry {
        std::fs::write(path, &leaf).map_err(|source| Problem::Here { what: here("write", path), source })?;
    }
    screen.data(reader.proof(index).await.map_err(problem)?.trim_end_matches('\n'));
    Ok(Exit::Done)
}
