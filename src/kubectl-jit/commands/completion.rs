//! `kubectl jit completion`: shell completion through kubectl's own completion.
//!
//! kubectl runs `kubectl_complete-jit` from the PATH with the current words (KEP-2379) and reads candidates in Cobra's format: one value per
//! line, with help after a tab, and a last line with the directive for the shell. That file is a shim that calls `__complete`.

use std::pin::Pin;

use std::path::{Path, PathBuf};

use clap::{Args, Command, Subcommand, builder::PossibleValue};
use kube::ResourceExt;

use super::{explain, roles};
use crate::{
    flags::Flags,
    platform::{SHIM, make_executable},
    problem::{Exit, Problem},
    profiles,
    read::{Scope, requester, state},
    screen::{OutputSettings, Screen},
    session::Session,
    words,
};
use api::{Reason, RoleActivationRequest, RoleEligibility, State, request::ReviewState, selectors};
use kube_io::client::kubeconfig;

/// Directive: complete no file names.
const NO_FILES: &str = ":4";
/// Directive: complete file names.
const FILES: &str = ":0";
/// The timeout for names from the cluster: the user waits after pressing the key.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);

/// Sets up completion in your shell.
#[derive(Debug, Args)]
pub struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Writes the file that kubectl looks for next to this program, or into another directory of the PATH.
    Install {
        /// The directory.
        #[arg(long, value_name = "DIRECTORY")]
        directory: Option<PathBuf>,
    },
    /// Prints the lines for ~/.bashrc.
    Bash,
    /// Prints the lines for ~/.zshrc.
    Zsh,
    /// Prints the lines for ~/.config/fish/config.fish.
    Fish,
    /// Prints the lines for the file $PROFILE of PowerShell.
    #[command(name = "powershell")]
    PowerShell,
}

/// Installs or prints.
pub fn run(options: &Options, screen: &Screen) -> Result<Exit, Problem> {
    match &options.what {
        What::Install { directory } => install(directory.as_deref(), screen)?,
        What::Bash => screen.data(&sourced("bash")),
        What::Zsh => screen.data(&sourced("zsh")),
        What::Fish => screen.data("kubectl completion fish | source"),
        What::PowerShell => screen.data("kubectl completion powershell | Out-String | Invoke-Expression"),
    }
    if !matches!(options.what, What::Install { .. }) && !on_path(SHIM.name) {
        screen.next("kubectl jit completion install");
    }
    Ok(Exit::Done)
}

/// kubectl's own completion, which includes that of plugins.
fn sourced(shell: &str) -> String {
    format!("source <(kubectl completion {shell})")
}

fn install(directory: Option<&Path>, screen: &Screen) -> Result<(), Problem> {
    let here = |what: String| move |source| Problem::Here { what, source };
    let program = std::env::current_exe().map_err(here("cannot find this program".to_owned()))?;
    let directory = directory.or_else(|| program.parent()).unwrap_or_else(|| Path::new("."));
    let path = directory.join(SHIM.name);
    let cannot = format!("cannot write {} (name another directory of the PATH with --directory)", path.display());
    std::fs::write(&path, SHIM.text).map_err(here(cannot.clone()))?;
    make_executable(&path).map_err(here(cannot))?;
    screen.info(&format!("wrote {}", path.display()));
    if !on_path(SHIM.name) {
        screen.warn(&format!("{} is not on the PATH, where kubectl looks for it", directory.display()));
    }
    screen.next("kubectl jit completion bash");
    Ok(())
}

fn on_path(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|directory| directory.join(program).is_file()))
}

/// Prints candidates for the last word in the format of kubectl. `flags_in` parses an incomplete command line. Never fails: without a
/// connection there are no names.
pub async fn complete(command: &Command, flags_in: impl Fn(&[String]) -> Flags, words: &[String]) {
    let screen = Screen::new(OutputSettings { silent: true, quiet: true, ..OutputSettings::default() });
    let (last, before) = words.split_last().map_or(("", [].as_slice()), |(last, before)| (last.as_str(), before));
    let place = Place::of(command, before);
    let (found, directive) = Box::pin(candidates(&place, &flags_in(before), last)).await;
    let mut lines: Vec<String> = found
        .iter()
        .filter(|(value, _)| value.starts_with(last))
        .map(|(value, help)| if help.is_empty() { value.clone() } else { format!("{value}\t{help}") })
        .collect();
    lines.push(directive.to_owned());
    screen.data(&lines.join("\n"));
}

/// The position in the command line.
struct Place<'a> {
    command: &'a Command,
    /// The flag whose value is completed.
    flag: Option<String>,
    /// The positional arguments before it.
    given: Vec<String>,
}

impl<'a> Place<'a> {
    fn of(root: &'a Command, words: &[String]) -> Self {
        let mut place = Self { command: root, flag: None, given: Vec::new() };
        for word in words {
            if place.flag.take().is_some() {
                continue;
            }
            if word.starts_with('-') {
                place.flag = takes_value(place.command, root, word);
            } else if let Some(command) = place.command.find_subcommand(word).filter(|_| place.given.is_empty()) {
                place.command = command;
            } else {
                place.given.push(word.clone());
            }
        }
        place
    }

    fn name(&self) -> &str {
        self.command.get_name()
    }
}

/// The long name of the flag, if its value is the next word.
fn takes_value(command: &Command, root: &Command, word: &str) -> Option<String> {
    if word.contains('=') {
        return None;
    }
    let all = command.get_arguments().chain(root.get_arguments());
    let short = |arg: &clap::Arg| word.len() == 2 && arg.get_short() == word.chars().nth(1);
    let long = |arg: &clap::Arg| arg.get_long().is_some() && arg.get_long() == word.strip_prefix("--");
    let found = all.into_iter().find(|arg| short(arg) || long(arg))?;
    found.get_action().takes_values().then(|| found.get_long().unwrap_or_default().to_owned())
}

type Candidates = Vec<(String, String)>;

async fn candidates(place: &Place<'_>, flags: &Flags, last: &str) -> (Candidates, &'static str) {
    if let Some(flag) = &place.flag {
        return Box::pin(of_flag(place, flag, flags)).await;
    }
    if last.starts_with('-') {
        let all = place.command.get_arguments().filter(|arg| !arg.is_hide_set());
        let names =
            all.filter_map(|arg| Some((format!("--{}", arg.get_long()?), arg.get_help().map(ToString::to_string).unwrap_or_default())));
        return (names.collect(), NO_FILES);
    }
    if place.command.has_subcommands() {
        let subs = place.command.get_subcommands().filter(|sub| !sub.is_hide_set());
        return (
            subs.map(|sub| (sub.get_name().to_owned(), sub.get_about().map(ToString::to_string).unwrap_or_default())).collect(),
            NO_FILES,
        );
    }
    let mut names = within(Box::pin(of_command(place, flags))).await.unwrap_or_default();
    names.retain(|(name, _)| !place.given.contains(name));
    (names, NO_FILES)
}

async fn of_command(place: &Place<'_>, flags: &Flags) -> Option<Candidates> {
    match place.name() {
        "activate" | "describe" | "can-i" => Box::pin(eligible(flags)).await,
        "run" if place.given.is_empty() => Box::pin(eligible(flags)).await,
        "approve" | "deny" => Box::pin(live(flags, Whose::Others, &[selectors::in_state(|state| state == State::AwaitingApproval)])).await,
        "revoke" => Box::pin(live(flags, Whose::Others, &[selectors::live_states()])).await,
        "review" => Box::pin(live(flags, Whose::Others, &[ReviewState::Owed, ReviewState::Overdue].map(selectors::in_review))).await,
        "deactivate" | "extend" => Box::pin(live(flags, Whose::Mine, &[selectors::live_states()])).await,
        "get" | "status" | "wait" => Box::pin(live(flags, Whose::Everyone, &[String::new()])).await,
        "explain" if place.given.is_empty() => {
            Some(Reason::ALL.iter().map(|reason| (reason.to_string(), explain::meaning(*reason))).collect())
        }
        _ => None,
    }
}

async fn of_flag(place: &Place<'_>, flag: &str, flags: &Flags) -> (Candidates, &'static str) {
    let plain = |names: Vec<String>| names.into_iter().map(|name| (name, String::new())).collect::<Candidates>();
    let found = match flag {
        "kubeconfig" | "filename" | "directory" | "certificate-authority" | "client-certificate" | "client-key" => {
            return (Vec::new(), FILES);
        }
        "context" | "cluster" | "user" => Some(plain(of_kubeconfig(flag, flags))),
        "namespace" => within(Box::pin(namespaces(place, flags))).await.map(plain),
        "profile" | "save-profile" => Some(plain(profiles::names())),
        "eligibility" | "role" => within(Box::pin(offered(flags, flag))).await,
        "of-user" => within(Box::pin(users(flags))).await.map(plain),
        _ => {
            let arg = place.command.get_arguments().find(|arg| arg.get_long() == Some(flag));
            let value =
                |value: &PossibleValue| (value.get_name().to_owned(), value.get_help().map(ToString::to_string).unwrap_or_default());
            arg.map(|arg| arg.get_possible_values().iter().map(value).collect())
        }
    };
    (found.unwrap_or_default(), NO_FILES)
}

fn of_kubeconfig(flag: &str, flags: &Flags) -> Vec<String> {
    let found = match &flags.kubeconfig {
        Some(path) => kubeconfig::file_at(path).map(Some),
        None => kubeconfig::files(),
    };
    let Ok(Some(kubeconfig)) = found else { return Vec::new() };
    match flag {
        "context" => kubeconfig.contexts.into_iter().map(|named| named.name).collect(),
        "cluster" => kubeconfig.clusters.into_iter().map(|named| named.name).collect(),
        _ => kubeconfig.auth_infos.into_iter().map(|named| named.name).collect(),
    }
}

/// Opens a session with the flags of the command line.
async fn session(flags: &Flags) -> Option<Session> {
    let flags = Flags { request_timeout: PATIENCE, ..flags.clone() };
    let screen = Screen::new(OutputSettings { silent: true, quiet: true, ..OutputSettings::default() });
    Session::open_noninteractive(flags, screen).await.ok()
}

async fn within<T>(asked: Pin<Box<dyn Future<Output = Option<T>> + '_>>) -> Option<T> {
    tokio::time::timeout(PATIENCE, asked).await.ok().flatten()
}

/// The user's eligibilities with their roles.
async fn eligible(flags: &Flags) -> Option<Candidates> {
    let session = session(flags).await?;
    let (me, all) = tokio::join!(session.me(), session.eligibilities());
    let (me, all) = (me.ok()?, all.ok()?);
    let mine = all.iter().filter(|eligibility| roles::is_mine(me, eligibility));
    Some(mine.map(|eligibility| (eligibility.name_any(), words::role(&eligibility.spec.role_ref))).collect())
}

/// The namespaces of eligibilities, since a requester cannot list namespaces. For an activation, only those of the user's eligibilities.
async fn namespaces(place: &Place<'_>, flags: &Flags) -> Option<Vec<String>> {
    let session = session(flags).await?;
    let mut all = session.eligibilities().await.ok()?;
    if ["activate", "run", "can-i"].contains(&place.name()) {
        let me = session.me().await.ok()?;
        let given = |eligibility: &RoleEligibility| place.given.is_empty() || place.given.contains(&eligibility.name_any());
        all.retain(|eligibility| roles::is_mine(me, eligibility) && given(eligibility));
    }
    let mut names: Vec<String> = all
        .into_iter()
        .flat_map(|eligibility| eligibility.status.and_then(|status| status.namespaces).map(|found| found.names).unwrap_or_default())
        .collect();
    names.sort();
    names.dedup();
    Some(names)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Mine,
    Others,
    Everyone,
}

/// All eligibilities or their roles, for the flag: a user who reads requests of others need not be eligible.
async fn offered(flags: &Flags, flag: &str) -> Option<Candidates> {
    let all = session(flags).await?.eligibilities().await.ok()?;
    let mut found: Candidates = match flag {
        "role" => all.iter().map(|one| (one.spec.role_ref.name.clone(), one.spec.role_ref.kind.to_string())).collect(),
        _ => all.iter().map(|one| (one.name_any(), words::role(&one.spec.role_ref))).collect(),
    };
    found.sort();
    found.dedup_by(|a, b| a.0 == b.0);
    Some(found)
}

/// The users with requests in the namespaces of the flags.
async fn users(flags: &Flags) -> Option<Vec<String>> {
    let session = session(flags).await?;
    let mut names: Vec<String> =
        session.requests(&Scope::wherever(&session), "").await.ok()?.iter().map(|request| requester(request).to_owned()).collect();
    names.sort();
    names.dedup();
    Some(names)
}

/// The requests that match one of the field selectors, with requester and state. Without -n, requests of others come from all namespaces, as
/// NAMESPACE/NAME outside of the context's namespace: approvers and revokers work in all namespaces.
async fn live(flags: &Flags, whose: Whose, fields: &[String]) -> Option<Candidates> {
    let session = session(flags).await?;
    let me = session.me().await.ok()?.name().to_owned();
    let here = session.namespaces();
    let scope = if whose == Whose::Others { Scope::wherever(&session) } else { Scope::In(here.clone()) };
    let mut found = Vec::new();
    for fields in fields {
        found.extend(session.requests(&scope, fields).await.ok()?);
    }
    found.retain(|request| {
        let mine = requester(request) == me;
        whose == Whose::Everyone || (whose == Whose::Mine) == mine
    });
    let name = |request: &RoleActivationRequest| match request.namespace() {
        Some(namespace) if !here.contains(&namespace) => format!("{namespace}/{}", request.name_any()),
        _ => request.name_any(),
    };
    Some(found.iter().map(|request| (name(request), format!("{}, {}", requester(request), state(request)))).collect())
}
