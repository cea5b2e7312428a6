//! `kubectl jit`: the kubectl plugin.
//!
//! It uses only the public API: plain kubectl can do the same. The rules are in [`domain`], calls to the API server in [`kube_io`]. It
//! contains nothing of the operator.

#![allow(
    clippy::doc_markdown,
    reason = "doc comments of commands and flags are printed as help, where backticks would be printed as they are"
)]

mod access_ends;
mod chains;
pub mod commands;
mod csv;
mod decide;
mod files;
mod filter;
mod flags;
mod follow;
mod goal;
mod manifest;
mod near;
mod objects;
mod paint;
mod platform;
mod problem;
mod profiles;
mod prompt;
mod read;
mod readable;
pub mod reference;
mod rows;
mod schema;
mod screen;
mod session;
mod sign_in;
mod suggest;
mod table;
mod times;
mod watching;
mod words;
mod yaml;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use commands::{
    activate, approve, can_i, check, completion, deactivate, deny, describe, explain, extend, get, history, lint, list, man, notify,
    pending, record, review, revoke, roles, run, status, unblock, version, wait, whoami,
};
use flags::Flags;
pub use problem::Exit;
use problem::Problem;
use screen::Screen;
use session::Session;

/// Just-in-time access: activate a role that you are eligible for, for one namespace and a limited time.
#[derive(Debug, Parser)]
#[command(name = "kubectl-jit", bin_name = "kubectl jit", version, propagate_version = false)]
struct Cli {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(visible_alias = "eligible")]
    Roles(roles::Options),
    Describe(describe::Options),
    CanI(can_i::Options),
    Activate(Box<activate::Options>),
    Run(run::Options),
    Status(status::Options),
    Wait(wait::Options),
    Get(get::Options),
    List(list::Options),
    Pending(pending::Options),
    Approve(approve::Options),
    Deny(deny::Options),
    Extend(extend::Options),
    #[command(visible_alias = "withdraw")]
    Deactivate(deactivate::Options),
    Revoke(revoke::Options),
    Review(review::Options),
    History(history::Options),
    Record(Box<record::Options>),
    Whoami(whoami::Options),
    Unblock(unblock::Options),
    Check(check::Options),
    Notify(notify::Options),
    Explain(explain::Options),
    Lint(lint::Options),
    Completion(completion::Options),
    Version(version::Options),
    Man(man::Options),
    #[command(name = "__complete", hide = true)]
    Complete {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
}

/// The definition of all commands.
#[must_use]
pub fn command() -> clap::Command {
    let mut command = Cli::command();
    // Sets the usage lines and names of the subcommands.
    command.build();
    command
}

/// The flags in an incomplete command line.
fn flags_in(words: &[String]) -> Flags {
    let all = std::iter::once("kubectl-jit").chain(words.iter().map(String::as_str));
    let matches = Cli::command().ignore_errors(true).try_get_matches_from(all);
    matches.ok().and_then(|matches| Flags::from_arg_matches(&matches).ok()).unwrap_or_default()
}

/// The words to complete, including flags: those belong to the words, not to the completion command.
fn completing() -> Option<Cli> {
    let mut args = std::env::args_os().skip(1);
    args.next().filter(|first| first == "__complete")?;
    let words = args.map(|word| word.to_string_lossy().into_owned()).collect();
    Some(Cli { flags: Flags::default(), command: Command::Complete { words } })
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let parsed = || Cli::command().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match completing().map_or_else(parsed, Ok) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            let asked = matches!(error.kind(), clap::error::ErrorKind::DisplayHelp | clap::error::ErrorKind::DisplayVersion);
            return if asked { Exit::Done } else { Exit::Usage }.into();
        }
    };
    // A provider that is already installed is sufficient.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let screen = Screen::new(cli.flags.output_settings());
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            screen.error(&format!("cannot start: {error}"));
            return Exit::Failed.into();
        }
    };
    let exit = runtime.block_on(run_command(cli, screen));
    // Does not wait for a credential plugin that took too long.
    runtime.shutdown_background();
    exit.into()
}

async fn run_command(cli: Cli, screen: Screen) -> Exit {
    let errors = Screen::new(cli.flags.output_settings());
    match Box::pin(dispatch(cli, screen)).await {
        Ok(exit) => exit,
        Err(problem) => {
            errors.error(&problem.to_string());
            if let Some(reason) = problem.reason() {
                errors.info(&errors.on_stderr(&format!("  {}", explain::hint(reason)), paint::Paint::Dim));
            }
            problem.exit()
        }
    }
}

async fn dispatch(cli: Cli, screen: Screen) -> Result<Exit, Problem> {
    let Cli { flags, command } = cli;
    // Commands that need no cluster run without a session.
    let command = match command {
        Command::Lint(options) => return lint::run(&options, &screen),
        Command::Explain(options) => return explain::run(&options, &screen),
        Command::Completion(options) => return completion::run(&options, &screen),
        Command::Man(options) => return man::run(&options, &self::command(), &screen),
        Command::Record(options) => return record::run(*options, flags, screen).await,
        Command::Version(options) if options.client => return version::client(&options, &screen),
        Command::Whoami(options) if options.is_prompt() => {
            whoami::prompt(flags, screen).await;
            return Ok(Exit::Done);
        }
        Command::Complete { words } => {
            completion::complete(&self::command(), flags_in, &words).await;
            return Ok(Exit::Done);
        }
        other => other,
    };
    let mut session = Session::open(flags, screen).await?;
    let ended = execute(command, &mut session).await;
    let printed = session.screen.end();
    ended.and_then(|exit| printed.map(|()| exit))
}

async fn execute(command: Command, session: &mut Session) -> Result<Exit, Problem> {
    match command {
        Command::Roles(options) => roles::run(&options, session).await,
        Command::Describe(options) => describe::run(&options, session).await,
        Command::CanI(options) => can_i::run(&options, session).await,
        Command::Activate(options) => activate::run(&options, session).await,
        Command::Run(options) => run::run(&options, session).await,
        Command::Status(options) => status::run(&options, session).await,
        Command::Wait(options) => wait::run(&options, session).await,
        Command::Get(options) => get::run(&options, session).await,
        Command::List(options) => list::run(&options, session).await,
        Command::Pending(options) => pending::run(&options, session).await,
        Command::Approve(options) => approve::run(&options, session).await,
        Command::Deny(options) => deny::run(&options, session).await,
        Command::Extend(options) => extend::run(&options, session).await,
        Command::Deactivate(options) => deactivate::run(&options, session).await,
        Command::Revoke(options) => revoke::run(&options, session).await,
        Command::Review(options) => review::run(&options, session).await,
        Command::History(options) => history::run(&options, session).await,
        Command::Whoami(options) => whoami::run(&options, session).await,
        Command::Unblock(options) => unblock::run(&options, session).await,
        Command::Check(options) => check::run(&options, session).await,
        Command::Notify(options) => notify::run(&options, session).await,
        Command::Version(options) => version::run(&options, session).await,
        // Handled by `dispatch`.
        Command::Lint(_)
        | Command::Explain(_)
        | Command::Completion(_)
        | Command::Man(_)
        | Command::Record(_)
        | Command::Complete { .. } => Ok(Exit::Done),
    }
}
