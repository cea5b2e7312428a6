//! `kubectl jit run ELIGIBILITY -- COMMAND`: access while a command runs.

use std::{cell::RefCell, path::Path, process::Stdio, time::Duration};

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use tokio::process::Command;

use super::activate;
use crate::{
    access_ends::{self, Clock},
    flags::{patience, request_timeout},
    follow,
    goal::Goal,
    manifest::RequestFlags,
    platform::{self, Stop, Stops},
    problem::{Exit, Problem},
    read::{created, full_name, state},
    session::Session,
    times::short,
    words,
};
use api::{RoleActivationRequest, State};
use domain::instant::stamp;

/// Activates a role while a command runs.
///
/// The role is deactivated when the command ends, for whatever cause.
///
/// The command has the name of the request in $JIT_REQUEST, its namespace in $JIT_NAMESPACE and the end of the access in $JIT_EXPIRES_AT (RFC
/// 3339, at the start of the command). The exit code is that of the command; 127 means that the command does not exist, and that nothing was
/// requested. If this process is killed, the access ends at its deadline.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Name of the eligibility.
    #[arg(value_name = "ELIGIBILITY")]
    role: String,
    #[command(flatten)]
    asked: RequestFlags,
    /// How long to wait for the role, for example 10m; by default as long as it can still be granted.
    #[arg(long, value_name = "TIME", value_parser = patience)]
    timeout: Option<Duration>,
    /// How long before the end of the access to warn, for example 10m; 0: never. At most half of the remaining time.
    #[arg(long, value_name = "TIME", default_value = "5m", env = "KUBECTL_JIT_WARN_BEFORE", value_parser = request_timeout)]
    warn_before: Duration,
    /// The command to run.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Activates the role, runs the command, and deactivates the role.
pub async fn run(options: &Options, session: &mut Session) -> Result<Exit, Problem> {
    let (program, args) = options.command.split_first().ok_or_else(|| Problem::Usage("there is no command to run".to_owned()))?;
    // No access is requested for a command that does not exist.
    if let Some((why, exit)) = missing(program) {
        session.screen.error(&format!("cannot run '{program}': {why}; nothing was requested"));
        return Ok(exit);
    }
    session.namespace()?;
    // From here on, a signal that ends this process deactivates the role first.
    let mut stops = Stops::new().map_err(|source| Problem::Here { what: "cannot listen for signals".to_owned(), source })?;
    let asked = activate::Options { roles: vec![options.role.clone()], asked: options.asked.clone(), ..activate::Options::default() };
    let request = activate::one(&asked, session).await?;
    let clock = Clock::set_by(created(&request), Timestamp::now());
    session.screen.info(&format!("request {} created", full_name(&request)));
    let usable = tokio::select! {
        usable = until_usable(session, &request, options.timeout, clock) => usable,
        _ = stops.next() => Err(Problem::Cancelled),
    };
    let usable = match usable {
        Ok(Some(usable)) => usable,
        Ok(None) => {
            deactivate(session, &request).await;
            return Ok(Exit::Over);
        }
        Err(problem) => {
            deactivate(session, &request).await;
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
            ended = execute(session, (program, args), &usable, &mut stops) => ended,
            never = access_ends::notify(session, program, &usable, options.warn_before, clock) => match never {},
        }
    };
    deactivate(session, &usable).await;
    ended
}

/// Why a shell could not find or start a program, and its exit code for that.
fn missing(program: &str) -> Option<(&'static str, Exit)> {
    let files = platform::file_names(program);
    let with_directory = Path::new(program).parent().is_some_and(|directory| !directory.as_os_str().is_empty());
    if with_directory {
        return match (files.iter().any(|file| Path::new(file).exists()), files.iter().any(|file| platform::is_executable(Path::new(file))))
        {
            (_, true) => None,
            (true, false) => Some(("it is not an executable file", Exit::Of(126))),
            (false, false) => Some(("there is no such file", Exit::Of(127))),
        };
    }
    let in_directory = |directory: &Path| files.iter().any(|file| platform::is_executable(&directory.join(file)));
    let found = std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|directory| in_directory(&directory)));
    (!found).then_some(("it is not on the PATH", Exit::Of(127)))
}

/// Waits until the role is active or denied. None, after an error, if it can no longer be granted.
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
        follow::report(screen, request);
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
        // It may have been granted in the last moment.
        Err(latest) => {
            let now = session.request(&namespace, &name).await?;
            if !Goal::Settled.reached(state(&now)) {
                session.screen.clear();
                let at = session.screen.times.clock(latest);
                session.screen.error(&format!(
                    "{} can no longer be granted: its time ended at {at}, and it is {}",
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

async fn execute(
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
    // Only kubeconfig and namespace are passed on; the user must set other flags in the command.
    let flags = session.flags.for_kubectl();
    let dropped: Vec<&str> =
        flags.iter().filter_map(|flag| flag.split('=').next()).filter(|flag| !matches!(*flag, "--kubeconfig" | "--namespace")).collect();
    if !dropped.is_empty() {
        session.screen.warn(&format!("not passed on to '{program}': {}; set the same there if it uses the cluster", dropped.join(", ")));
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
    let mut signalled = false;
    loop {
        tokio::select! {
            ended = child.wait() => {
                return Ok(Exit::Of(platform::exit_code(ended.map_err(here)?)));
            }
            // A terminal sends Ctrl-C to the command too, which handles it itself. Other signals are passed on to the command, which may clean
            // up until the second signal.
            stop = stops.next() => if stop != Stop::Interrupt {
                let asked = !signalled && platform::terminate(&child);
                signalled = true;
                if !asked {
                    drop(child.start_kill());
                }
            },
        }
    }
}

/// Deactivates the remaining access. Reports if it has already ended; if it cannot be deactivated, it ends at its deadline.
async fn deactivate(session: &Session, request: &RoleActivationRequest) {
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
                session.screen.info(&format!("{} had ended{ago}: {state}, {}", full_name(&now), words::message(&now)));
                return;
            }
            Ok(now) => now,
            Err(problem) => return failed(&problem),
        },
        // Without the permission to read it, the user may still be able to end it.
        Err(_) => request.clone(),
    };
    if let Err(problem) = super::deactivate::deactivate(session, &live).await {
        // It may have ended at the same time.
        match session.request(&namespace, &live.name_any()).await {
            Ok(now) if state(&now).is_terminal() => {
                session.screen.info(&format!("{} had ended: {}, {}", full_name(&now), state(&now), words::message(&now)));
            }
            _ => failed(&problem),
        }
    }
}

fn since(at: Timestamp) -> SignedDuration {
    Timestamp::now().duration_since(at)
}
