//! `kubectl jit record`: reads and verifies the audit log. It needs no operator, and most of it no cluster.

mod check;
mod create_key;
mod export;
mod list;
mod log;
mod proof;
mod replay;
mod selection;
mod show;
mod verify;

pub use log::{Source, ended_requests};

use clap::{Args, Subcommand};

use crate::{
    flags::Flags,
    problem::{Exit, Problem},
    screen::Screen,
    session::Session,
};

/// Reads and verifies the audit log.
///
/// The log is a folder or a bucket. Who reads it needs only the log and its public key: neither the operator nor, except for `check`, a cluster.
#[derive(Debug, Args)]
pub struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(list::Options),
    Show(show::Options),
    Verify(verify::Options),
    Proof(proof::Options),
    Check(check::Options),
    Replay(replay::Options),
    Export(export::Options),
    CreateKey(create_key::Options),
}

/// Runs a subcommand.
pub async fn run(options: Options, flags: Flags, screen: Screen) -> Result<Exit, Problem> {
    let namespace = flags.namespaces.first().cloned();
    let ended = match options.command {
        Command::List(options) => list::run(&options, namespace.as_deref(), &screen).await,
        Command::Show(options) => show::run(&options, &screen).await,
        Command::Verify(options) => verify::run(&options, &screen).await,
        Command::Proof(options) => proof::run(&options, &screen).await,
        Command::Replay(options) => replay::run(&options, &screen).await,
        Command::Export(options) => export::run(&options, namespace.as_deref(), &screen).await,
        Command::CreateKey(options) => create_key::run(&options, &screen),
        Command::Check(options) => {
            let session = Session::open(flags, screen).await?;
            let ended = check::run(&options, &session).await;
            let printed = session.screen.end();
            return ended.and_then(|exit| printed.map(|()| exit));
        }
    };
    let printed = screen.end();
    ended.and_then(|exit| printed.map(|()| exit))
}
