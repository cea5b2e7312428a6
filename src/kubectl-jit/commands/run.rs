//! `kubectl jit run ELIGIBILITY -- COMMAND`: access for as long as a command takes.

use std::{cell::RefCell, os::unix::fs::PermissionsExt as _, path::Path, process::Stdio, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use kube::ResourceExt;
use tokio::{
    process::Command,
    signal::unix::{SignalKind, signal},
};

use super::{activate, deactivate};
use crate::{
    access_ends::{self, Clock},
    flags::{patience, request_timeout},
    follow,
    goal::Goal,
    manifest::Asked,
    problem::{Exit, Problem},
    read::{created, full_name, state},
    session::Session,
    times::short,
    words,
};
use api::{RoleActivationRequest, State};
use domain::instant::stamp;

/// Activates a role for as long as a command runs.
///
/// The role is given back when the command ends, however it ends.
///
/// The command finds the request in $JIT_REQUEST, its namespace in $JIT_NAMESPACE and the end of the access in $JIT_EXPIRES_AT (RFC 3339, as
/// of the start of the command). The exit code is its own; 127 means that there is no such command, and then nothing is asked for. Where
/// this process is killed outright, the role ends at its deadline.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Name of the eligibility.
    #[arg(value_name = "ELIGIBILITY")]
    role: String,
    #[command(flatten)]
    asked: Asked,
    /// How long to wait for the role, such as 10m; by default as long as it can still be granted.
    #[arg(long, value_name = "TIME", value_parser = patience)]
    timeout: Option<Duration>,
    /// How long before the end of the access to warn, such as 10m; 0: not at all. At most half of the time that is left.
    #[arg(long, value_name = "TIME", default_value = "5m", env = "KUBECTL_JIT_WARN_BEFORE", value_parser = request_timeout)]
    warn_before: Duration,
    /// What to run.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Activates, runs, gives back.
pub async fn run(options: &Options, session: &mut Session) -> Result<Exit, Problem> {
    let (program, args) = options.command.split_first().ok_or_else(|| Problem::Usage("there is no command to run".to_owned()))?;
    // Nobody shall approve access for a command that does not exist.
    if let Some((why, exit)) = missing(program) {
        session.screen.error(&format!("cannot run '{program}': {why}; nothing was requested"));
        return Ok(exit);
    }
    session.namespace()?;
    // From here on whatever ends this process gives it back first.
    let mut stops = Stops::new()?;
    let asked = activate::Options { roles: vec![options.role.clone()], asked: options.asked.clone(), ..activate::Options::default() };
    let request = activate::one(&asked, session).await?;
    let clock = Clock::set_by(created(&request), Utc::now());
    session.screen.say(&format!("request {} created", full_name(&request)));
    let usable = tokio::select! {
        usable = until_usable(session, &request, options.timeout, clock) => usable,
        () = stops.any() => Err(Problem::BrokenOff),
    };
    let usable = match usable {
        Ok(Some(usable)) => usable,
        Ok(None) => {
            give_back(session, &request).await;
            return Ok(Exit::Over);
        }
        Err(problem) => {
            give_back(session, &request).await;
            return Err(problem);
        }
    };
    if state(&usable) != State::Active {
        return Ok(Goal::Active.exit(&usable));
    }
    let ended = {
        let session: &Session = session;
        tokio::select! {
            biased;
            ended = play(session, (program, args), &usable, &mut stops) => ended,
            never = access_ends::told(session, program, &usable, options.warn_before, clock) => match never {},
        }
    };
    give_back(session, &usable).await;
    ended
}

/// Why a shell would not find or start a program, and the exit code that it has for that.
fn missing(program: &str) -> Option<(&'static str, Exit)> {
    let is_program = |path: &Path| path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0);
    if program.contains('/') {
        let path = Path::new(program);
        return match (path.exists(), is_program(path)) {
            (true, true) => None,
            (true, false) => Some(("it is not an executable file", Exit::Of(126))),
            (false, _) => Some(("there is no such file", Exit::Of(127))),
        };
    }
    let found =
        std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|directory| is_program(&directory.join(program))));
    (!found).then_some(("it is not on the PATH", Exit::Of(127)))
}

/// Waits until the role is there or refused. None where it can no longer be granted, which is said.
async fn until_usable(
    session: &Session,
    request: &RoleActivationRequest,
    limit: Option<Duration>,
    clock: Clock,
) -> Result<Option<RoleActivationRequest>, Problem> {
    let (namespace, name) = (request.namespace().unwrap_or_default(), request.name_any());
    let eligibility = session.eligibility(&request.spec.eligibility_ref.name).await.ok().flatten();
    let policy = match &eligibility {
        Some(eligibility) => session.policy(&eligibility.spec.policy_ref.name).await.ok().flatten(),
        None => None,
    };
    let last = RefCell::new(request.clone());
    let seen = |screen: &crate::screen::Screen, request: &RoleActivationRequest| {
        last.replace(request.clone());
        follow::told(screen, request);
    };
    let hopeless = async {
        loop {
            let request = last.borrow().clone();
            let latest = access_ends::latest_end(&request, eligibility.as_ref(), policy.as_ref().map(|policy| &policy.spec));
            if let Some(latest) = latest.filter(|latest| clock.now() >= *latest) {
                return latest;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    let followed = tokio::select! {
        biased;
        usable = follow::follow(session, (&namespace, &name), limit, Goal::Settled, seen) => Ok(usable?),
        latest = hopeless => Err(latest),
    };
    let request = match followed {
        Ok(usable) => usable,
        // What was granted in the last moment is seen, too.
        Err(latest) => {
            let now = session.request(&namespace, &name).await?;
            if !Goal::Settled.reached(state(&now)) {
                session.screen.clear();
                let at = session.screen.times.clock(latest);
                session.screen.error(&format!(
                    "{} can no longer be granted: its time was up at {at}, and it is {}",
                    full_name(&now),
                    state(&now)
                ));
                return Ok(None);
            }
            now
        }
    };
    follow::result(session, &request);
    Ok(Some(request))
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
    let expires = request.status.as_ref().and_then(|status| status.expires_at).map(stamp).unwrap_or_default();
    let mut child = command
        .args(args)
        .env("JIT_REQUEST", request.name_any())
        .env("JIT_NAMESPACE", request.namespace().unwrap_or_default())
        .env("JIT_EXPIRES_AT", expires)
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

/// Gives back what is left of the access. What has ended by itself is said to have; what cannot be given back ends at its deadline.
async fn give_back(session: &Session, request: &RoleActivationRequest) {
    let failed = |problem: &Problem| {
        let ends = request.status.as_ref().and_then(|status| status.expires_at).map(|at| session.screen.times.clock(at));
        let ends = ends.map_or_else(|| "at its deadline".to_owned(), |at| format!("at {at}"));
        session.screen.error(&format!("cannot deactivate {} ({problem}); it ends {ends} at the latest", full_name(request)));
    };
    let (namespace, name) = (request.namespace().unwrap_or_default(), request.name_any());
    let live = match session.still_active(request).await {
        Ok(Some(active)) => active,
        Ok(None) => match session.request(&namespace, &name).await {
            Ok(now) if state(&now).is_terminal() => {
                let (state, ended) = (state(&now), now.status.as_ref().and_then(|status| status.ended_at));
                let ago = ended.map(|at| format!(" {} ago", short(since(at)))).unwrap_or_default();
                session.screen.say(&format!("{} had ended{ago}: {state}, {}", full_name(&now), words::message(&now)));
                return;
            }
            Ok(now) => now,
            Err(problem) => return failed(&problem),
        },
        // Who cannot read it may still be able to end it.
        Err(_) => request.clone(),
    };
    if let Err(problem) = deactivate::give_back(session, &live).await {
        // It may have ended in this moment.
        match session.request(&namespace, &live.name_any()).await {
            Ok(now) if state(&now).is_terminal() => {
                session.screen.say(&format!("{} had ended: {}, {}", full_name(&now), state(&now), words::message(&now)));
            }
            _ => failed(&problem),
        }
    }
}

fn since(at: DateTime<Utc>) -> TimeDelta {
    Utc::now().signed_duration_since(at)
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
