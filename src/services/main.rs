//! The program of the services: subcommands `notify` and `record`.

use std::{io::Write as _, process::ExitCode};

use clap::{Parser, Subcommand};
use jit_rbac_services::{notify, record};

/// The services next to jit-rbac. No grant and no end waits for them.
#[derive(Debug, Parser)]
#[command(name = "jit-rbac-services", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Send notifications about what happens to the objects of jit-rbac.
    Notify(notify::Options),
    /// Record every activity event, with what it rests on, in the audit log.
    Record(record::Options),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Notify(options) => notify::run(&options),
        Command::Record(options) => record::run(options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            // If standard error cannot be written either, there is nothing left to do.
            let _ = writeln!(std::io::stderr(), "jit-rbac-services: {message}");
            ExitCode::FAILURE
        }
    }
}
