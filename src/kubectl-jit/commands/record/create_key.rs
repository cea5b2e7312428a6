//! `kubectl jit record create-key`: the key pair of a new log.

use std::{io::Write as _, path::PathBuf};

use clap::Args;
use record::key;

use super::log::problem;
use crate::{
    problem::{Exit, Problem},
    screen::Screen,
};

/// Creates the key pair of a log.
///
/// It writes the private key to a file, for a Secret that the chart's value record.keySecret names, and prints the public key, which readers need:
///
/// kubectl create secret generic record-key -n jit-system --from-file=key=FILE
#[derive(Debug, Args)]
pub struct Options {
    /// The name of the log, which is in every signature, for example record.example.com/cluster-1.
    #[arg(value_name = "NAME")]
    name: String,
    /// The file for the private key. It must not exist.
    #[arg(short, long, value_name = "FILE", default_value = "record-key.txt")]
    file: PathBuf,
}

/// Creates a key.
pub fn run(options: &Options, screen: &Screen) -> Result<Exit, Problem> {
    let pair = key::generate(&options.name).map_err(problem)?;
    let here = |source| Problem::Here { what: format!("cannot write '{}'", options.file.display()), source };
    let mut open = std::fs::OpenOptions::new();
    open.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut open, 0o600);
    let mut file = open.open(&options.file).map_err(here)?;
    file.write_all(format!("{}\n", pair.signer).as_bytes()).map_err(here)?;
    screen.data(&pair.verifier);
    screen.info(&format!("the private key is in '{}': store it in a Secret, and delete the file", options.file.display()));
    Ok(Exit::Done)
}
