//! `kubectl jit run ELIGIBILITY -- COMMAND`: access for as long as a command takes.

use std::process::Stdio;

use clap::Args;
use kube::ResourceExt;
use tokio::{
    process::Command,
    signal::unix::{SignalKind, signal},
};

use super::{activate, deactivate};
use crate::{
    api::{RoleActivationRequest, State},
    plugin::{
        manifest::Asked,
        problem::{Exit, Problem},
        read::{full_name, state},
        session::Session,
    },
};

/// Activates a role for as long as a command runs.
///
/// The role is given back when the command ends, however it ends.
///
/// The command finds the request in $JIT_REQUEST and its namespace in $JIT_NAMESPACE, and the exit code is its own. Where this process is
/// killed outright, the role ends at its deadline.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Name of the eligibility.
    #[arg(value_name = "ELIGIBILITY")]
    role: String,
    #[command(flatten)]
    asked: Asked,
    /// How long to wait for the role, such as 10m; by default as long as it takes.
    #[arg(long, value_name = "TIME", value_parser = crate::plugin::flags::patience)]
    timeout: Option<std::time::Duration>,
    /// What to run.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Activates, runs, gives back.
pub async fn run(options: &Options, session: &mut Session) -> Result<Exit, Problem> {
    let (program, args) = options.command.split_first().ok_or_else(|| Problem::Usage("there is no command to run".to_owned()))?;
    session.namespace()?;
    // From here on whatever ends this process gives it back first.
    let mut stops = Stops::new()?;
    let asked = activate::Options { roles: vec![options.role.clone()], asked: options.asked.clone(), ..activate::Options::default() };
    let request = activate::one(&asked, session).await?;
    session.screen.say(&format!("request {} created", full_name(&request)));
    let usable = tokio::select! {
        usable = activate::until_usable(session, &request, options.timeout, crate::plugin::follow::told) => usable,
        () = stops.any() => Err(Problem::BrokenOff),
    };
    let usable = match usable {
        Ok(usable) => usable,
        Err(problem) => {
            give_back(session, &request).await;
            return Err(problem);
        }
    };
    if state(&usable) != State::Active {
        return Ok(crate::plugin::follow::Goal::Active.exit(&usable));
    }
    let ended = play(session, (program, args), &usable, &mut stops).await;
    give_back(session, &request).await;
    ended
}

async fn play(
    session: &Session,
    (program, args): (&str, &[String]),
    request: &RoleActivationRequest,
    stops: &mut Stops,
) -> Result<Exit, Problem> {
    let here = |source| Problem::Here { what: format!("cannot run '{program}'"), source };
    let mut command = Command::new(program);
    if let Some(path) = &session.flags.kubeconfig {
        command.env("KUBECONFIG", path);
    }
    // What a kubeconfig alone does not say, the command must be told by whoever writes it.
    let flags = session.flags.for_kubectl();
    let untold: Vec<&str> =
        flags.iter().filter_map(|flag| flag.split('=').next()).filter(|flag| !matches!(*flag, "--kubeconfig" | "--namespace")).collect();
    if !untold.is_empty() {
        session
            .screen
            .warn(&format!("'{program}' does not hear of {}: where it talks to a cluster, give it the same itself", untold.join(", ")));
    }
    let mut child = command
        .args(args)
        .env("JIT_REQUEST", request.name_any())
        .env("JIT_NAMESPACE", request.namespace().unwrap_or_default())
        .stdin(Stdio::inherit())
        .spawn()
        .map_err(here)?;
    let mut told_to_end = false;
    loop {
        tokio::select! {
            ended = child.wait() => {
                use std::os::unix::process::ExitStatusExt;
                let ended = ended.map_err(here)?;
                // As a shell tells that a signal ended it.
                let code = ended.code().or_else(|| ended.signal().map(|signal| 128 + signal)).unwrap_or(1);
                return Ok(Exit::Of(u8::try_from(code).unwrap_or(1)));
            }
            // A terminal sends Ctrl-C to the command too, which decides for itself; who ends this process ends the command, which may
            // clean up behind itself until it is told a second time.
            kind = stops.next() => if kind != SignalKind::interrupt() {
                match child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw) {
                    Some(pid) if !told_to_end => {
                        told_to_end = true;
                        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
                    }
                    _ => drop(child.start_kill()),
                }
            },
        }
    }
}

/// Gives it back; what cannot be given back ends at its deadline, and that is said.
async fn give_back(session: &Session, request: &RoleActivationRequest) {
    if let Err(problem) = deactivate::give_back(session, request).await {
        session.screen.error(&format!("cannot give it back ({problem}); it ends at its deadline"));
    }
}

/// The signals that end a process.
struct Stops {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

impl Stops {
    fn new() -> Result<Self, Problem> {
        let listen = |kind| signal(kind).map_err(|source| Problem::Here { what: "cannot listen for signals".to_owned(), source });
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> SignalKind {
        tokio::select! {
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.terminate.recv() => SignalKind::terminate(),
            _ = self.hangup.recv() => SignalKind::hangup(),
        }
    }

    async fn any(&mut self) {
        self.next().await;
    }
}
