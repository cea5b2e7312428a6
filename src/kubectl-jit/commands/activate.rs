//! `kubectl jit activate ELIGIBILITY`: creates requests and waits until they are active.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use kube::{Api, ResourceExt, api::PostParams};

use crate::{
    flags::{Form, Output, patience},
    follow::{self, follow},
    goal::Goal,
    manifest::{self, RequestFlags, RequestValues},
    objects,
    paint::Paint,
    problem::{Exit, Problem},
    profiles::{self, Profile},
    prompt,
    read::{Scope, full_name, plain_name},
    screen::Screen,
    session::Session,
    sign_in, suggest,
    times::When,
    words,
};
use api::{ApprovalPolicy, RoleActivationRequest, RoleEligibility, text::is_blank};
use domain::{convert, eligibility as rule, evidence, requirements};

/// Activates roles that you are eligible for, and waits until they are active.
///
/// It uses the namespaces of -n. It waits on a terminal; elsewhere use --wait.
///
/// With several eligibilities and namespaces, each eligibility is requested in each namespace with the same reason. All requests are checked
/// first by a server-side dry run, and if one would be denied, none is created. A missing value that a policy requires is prompted for on a
/// terminal, and is an error elsewhere.
#[derive(Clone, Debug, Default, Args)]
pub struct Options {
    /// Names of eligibilities; '-' repeats your last request.
    #[arg(value_name = "ELIGIBILITY")]
    pub roles: Vec<String>,
    /// The content of the request.
    #[command(flatten)]
    pub asked: RequestFlags,
    /// Start later: a time such as 2026-12-01T08:00:00Z, or a duration from now such as 2h.
    #[arg(long, value_name = "WHEN", value_parser = start)]
    pub start: Option<When>,
    /// Use a saved profile (eligibilities, namespaces, duration and so on); flags override it.
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// Save the eligibilities, namespaces and duration as a profile with this name.
    #[arg(long, value_name = "NAME")]
    pub save_profile: Option<String>,
    /// Create a request like this manifest ('-': standard input), with a new name.
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["roles", "profile"])]
    pub filename: Option<PathBuf>,
    /// The flags for waiting.
    #[command(flatten)]
    pub waiting: Waiting,
    /// Create nothing: 'client' prints the manifest, 'server' makes a server-side dry run.
    #[arg(long, value_enum, value_name = "WHERE")]
    pub dry_run: Option<DryRun>,
    /// The output format of the requests.
    #[command(flatten)]
    pub output: Output,
}

/// The flags for waiting.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct Waiting {
    /// Wait for the outcome, even without a terminal.
    #[arg(long, overrides_with = "no_wait")]
    pub wait: bool,
    /// Return as soon as the request is created.
    #[arg(long, overrides_with = "wait")]
    pub no_wait: bool,
    /// How long to wait, for example 10m; without a limit by default.
    #[arg(long, value_name = "TIME", value_parser = patience)]
    pub timeout: Option<Duration>,
}

impl Waiting {
    /// True if the command waits: on a terminal by default.
    fn applies(self, session: &Session) -> bool {
        !self.no_wait && (self.wait || self.timeout.is_some() || session.screen.is_live())
    }
}

/// The kind of dry run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DryRun {
    /// Print the manifest.
    Client,
    /// Send the request to the API server without storing it.
    Server,
}

/// Parses a start in the future.
pub fn start(text: &str) -> Result<When, String> {
    When::parse(text, "2h")
}

/// Creates the requests and waits.
pub async fn run(options: &Options, session: &mut Session) -> Result<Exit, Problem> {
    let wanted = wanted(options, session).await?;
    if options.dry_run == Some(DryRun::Client) {
        let form = if options.output.is_table() { Form::Yaml } else { options.output.output };
        for request in &wanted {
            let text = objects::printed_one(request, form)?.unwrap_or_default();
            session.screen.data(&if form == Form::Yaml { format!("---\n{text}") } else { text });
        }
        return Ok(Exit::Done);
    }
    if options.dry_run.is_some() {
        let (would_be, exit) = create_each(session, &wanted, true).await?;
        return dry(session, &would_be, options.output).map(|()| exit);
    }
    // Of several, all are requested or none: a part would be useless and would notify approvers in vain.
    if wanted.len() > 1 {
        let (accepted, exit) = create_each(session, &wanted, true).await?;
        let refused = wanted.len() - accepted.len();
        if refused > 0 {
            session.screen.error(&format!("nothing was requested, since {refused} of {} requests would be refused", wanted.len()));
            return Ok(exit);
        }
        let names: Vec<String> = wanted.iter().map(which).collect();
        session.screen.info(&format!("requesting {}", session.screen.on_stderr(&names.join(", "), Paint::Plain)));
    }
    let (made, exit) = create_each(session, &wanted, false).await?;
    follow_up(session, &made, options.waiting, options.output).await.map(|waited| exit.and(waited))
}

/// Creates the requests, or makes a server-side dry run. With several, a denial is reported and does not stop the others.
async fn create_each(
    session: &mut Session,
    wanted: &[RoleActivationRequest],
    dry_run: bool,
) -> Result<(Vec<RoleActivationRequest>, Exit), Problem> {
    let (mut made, mut exit) = (Vec::new(), Exit::Done);
    for request in wanted {
        match create(session, request, dry_run).await {
            Ok(request) => made.push(request),
            Err(problem) if wanted.len() > 1 => {
                session.screen.error(&format!("{}: {problem}", which(request)));
                if let Some(reason) = problem.reason() {
                    session.screen.info(&session.screen.on_stderr(&format!("  {}", super::explain::hint(reason)), Paint::Dim));
                }
                exit = exit.and(problem.exit());
            }
            Err(problem) => return Err(problem),
        }
    }
    Ok((made, exit))
}

/// The description of a request without a name.
fn which(request: &RoleActivationRequest) -> String {
    format!("{} in {}", request.spec.eligibility_ref.name, request.namespace().unwrap_or_default())
}

/// Prints the requests of a server-side dry run.
fn dry(session: &Session, made: &[RoleActivationRequest], output: Output) -> Result<(), Problem> {
    if let Some(text) = objects::printed(made, output.output)? {
        session.screen.data(&text);
        return Ok(());
    }
    for request in made {
        let namespace = request.namespace().unwrap_or_default();
        let line = format!("a request for {} in {namespace} would be created (server dry run)", request.spec.eligibility_ref.name);
        session.screen.data(&session.screen.on_stdout(&line, Paint::Plain));
    }
    Ok(())
}

/// Prints the created requests, waits for them if required, and prints the outcome. With several, a failure is reported and does not hide
/// the others.
pub async fn follow_up(session: &Session, made: &[RoleActivationRequest], waiting: Waiting, output: Output) -> Result<Exit, Problem> {
    if !waiting.applies(session) {
        match objects::printed(made, output.output)? {
            Some(text) => session.screen.data(&text),
            None => made.iter().for_each(|request| {
                session.screen.data(&session.screen.on_stdout(&format!("request {} created", full_name(request)), Paint::Plain));
            }),
        }
        if let Some(next) = made.last().and_then(words::next) {
            session.next(&next);
        }
        return Ok(Exit::Done);
    }
    // All names are printed before waiting, so that a user who cancels knows them.
    for request in made {
        session.screen.info(&format!("request {} created", full_name(request)));
    }
    let seen = if made.len() > 1 { follow::report_named } else { follow::report };
    let waits = futures::future::join_all(made.iter().map(|request| until_usable(session, request, waiting.timeout, seen)));
    let (mut exit, mut last, mut problems) = (Exit::Done, Vec::new(), Vec::new());
    let waited = tokio::select! {
        waited = waits => waited,
        // The requests remain after the user stops waiting.
        _ = tokio::signal::ctrl_c() => {
            session.screen.clear();
            session.screen.warn("stopped waiting; the requests are not withdrawn");
            for request in made {
                session.next(&format!("kubectl jit deactivate {} -n {}", request.name_any(), request.namespace().unwrap_or_default()));
            }
            return Err(Problem::Cancelled);
        }
    };
    for (request, ended) in made.iter().zip(waited) {
        match ended {
            Ok(ended) => {
                exit = exit.and(Goal::Settled.exit(&ended));
                last.push(ended);
            }
            Err(problem) => {
                exit = exit.and(problem.exit());
                last.push(request.clone());
                problems.push(problem);
            }
        }
    }
    if let Some(text) = objects::printed(&last, output.output)? {
        session.screen.data(&text);
    }
    if made.len() == 1
        && let Some(problem) = problems.pop()
    {
        return Err(problem);
    }
    for problem in &problems {
        session.screen.error(&problem.to_string());
    }
    Ok(exit)
}

/// Creates exactly one request without waiting.
pub async fn one(options: &Options, session: &mut Session) -> Result<RoleActivationRequest, Problem> {
    let wanted = wanted(options, session).await?;
    let [request] = wanted.as_slice() else { return Err(Problem::Usage("this command activates one role in one namespace".to_owned())) };
    create(session, request, false).await
}

/// Waits until a new request is active, scheduled or denied.
pub async fn until_usable(
    session: &Session,
    request: &RoleActivationRequest,
    limit: Option<Duration>,
    seen: fn(&Screen, &RoleActivationRequest),
) -> Result<RoleActivationRequest, Problem> {
    let (namespace, name) = (request.namespace().unwrap_or_default(), request.name_any());
    let ended = follow(session, (&namespace, &name), limit, Goal::Settled, seen).await?;
    follow::outcome(session, &ended);
    Ok(ended)
}

/// Creates a request. If the sign-in is too old or insufficient, it explains how to sign in again, and retries once.
pub async fn create(session: &mut Session, request: &RoleActivationRequest, dry_run: bool) -> Result<RoleActivationRequest, Problem> {
    match attempt(session, request, dry_run).await {
        Err(problem) if sign_in::helps(&problem) => {
            sign_in::again(session, &problem).await?;
            attempt(session, request, dry_run).await
        }
        answered => answered,
    }
}

async fn attempt(session: &Session, request: &RoleActivationRequest, dry_run: bool) -> Result<RoleActivationRequest, Problem> {
    let api: Api<RoleActivationRequest> = session.api(&request.namespace().unwrap_or_default())?;
    let how = PostParams { dry_run, field_manager: Some(api::names::PLUGIN_FIELD_MANAGER.to_owned()) };
    let stored = api.create(&how, request).await.map_err(|error| Problem::of("create the request", &error))?;
    manifest::is_stored(request, &stored).map(|()| stored)
}

/// The requests to create: from the manifest, the last request, the profile or the flags.
async fn wanted(options: &Options, session: &Session) -> Result<Vec<RoleActivationRequest>, Problem> {
    if let Some(path) = &options.filename {
        return again_from(options, session, path).await;
    }
    let profile = options.profile.as_deref().map(profiles::load).transpose()?.unwrap_or_default();
    let mut values = values(options, &profile, session);
    let roles = if options.roles.is_empty() { profile.roles.clone() } else { options.roles.clone() };
    if roles == ["-"] {
        return Ok(vec![last(options, session).await?]);
    }
    let roles = if roles.is_empty() { vec![asked_role(session).await?] } else { roles };
    let namespaces = if session.flags.namespaces.is_empty() && !profile.namespaces.is_empty() {
        profile.namespaces.clone()
    } else {
        session.namespaces()
    };
    let mut offers = Vec::new();
    for role in &roles {
        let eligibility = suggest::eligibility(session, role).await?;
        let policy = session.policy(&eligibility.spec.policy_ref.name).await?;
        complete(session, &mut values, &eligibility, policy.as_ref())?;
        offers.push(eligibility);
    }
    if let Some(name) = &options.save_profile {
        profiles::save(name, &Profile::of(&roles, &namespaces, &values))?;
        session.screen.info(&format!("saved as '{name}': kubectl jit activate --profile {name}"));
    }
    let me = session.me().await?.name().to_owned();
    let mut wanted = Vec::new();
    for eligibility in &offers {
        for namespace in placed(session, eligibility, &namespaces)? {
            wanted.push(manifest::request(&eligibility.name_any(), &namespace, &me, &values)?);
        }
    }
    Ok(wanted)
}

/// The values of the flags, with those of the profile as defaults.
fn values(options: &Options, profile: &Profile, session: &Session) -> RequestValues {
    let values = options.asked.values(options.start.map(|start| start.after(session.screen.times.now())));
    RequestValues {
        duration: values.duration.or(profile.duration),
        reason: values.reason.or_else(|| profile.reason.clone()),
        ticket: values.ticket.or_else(|| profile.ticket.clone()),
        ..values
    }
}

/// Prompts for missing values that the policy requires.
fn complete(
    session: &Session,
    values: &mut RequestValues,
    eligibility: &RoleEligibility,
    policy: Option<&ApprovalPolicy>,
) -> Result<(), Problem> {
    let Some(policy) = policy.map(convert::policy) else { return Ok(()) };
    let rules = policy.spec.requirements.clone().unwrap_or_default();
    let spec = |values: RequestValues| manifest::request(&eligibility.name_any(), "default", "", &values).map(|request| request.spec);
    let name = &eligibility.spec.policy_ref.name;
    let needs_reason = rules.justification.as_ref().is_some_and(|rule| rule.min_length != Some(0)) || values.emergency;
    if needs_reason && values.reason.as_deref().is_none_or(is_blank) {
        let least = rules.justification.as_ref().and_then(|rule| rule.min_length).unwrap_or(1);
        let help = format!("policy '{name}' requires a reason of at least {least} characters");
        values.reason = Some(prompt::text_that(&session.screen, "Why?", &help, "-r/--reason", |text| {
            let spec =
                spec(RequestValues { reason: Some(text.to_owned()), ..RequestValues::default() }).map_err(|problem| problem.to_string())?;
            requirements::justification(&spec, &policy).map_err(|refusal| refusal.message)
        })?);
    }
    if rules.ticket.as_ref().is_some_and(|rule| rule.required) && values.ticket.is_none() {
        let pattern = rules.ticket.and_then(|rule| rule.pattern).filter(|pattern| !pattern.is_empty());
        let form = pattern.map(|pattern| format!(" that matches {pattern}")).unwrap_or_default();
        let help = format!("policy '{name}' requires a ticket{form}");
        values.ticket = Some(prompt::text_that(&session.screen, "Ticket?", &help, "--ticket", |text| {
            let spec =
                spec(RequestValues { ticket: Some(text.to_owned()), ..RequestValues::default() }).map_err(|problem| problem.to_string())?;
            evidence::ticket(&spec, &policy).map_err(|refusal| refusal.message)
        })?);
    }
    Ok(())
}

/// The namespaces for an eligibility: those of the flags, else that of the context. If the latter is not covered, the user chooses one.
fn placed(session: &Session, eligibility: &RoleEligibility, namespaces: &[String]) -> Result<Vec<String>, Problem> {
    let uncovered = namespaces.iter().find(|namespace| !super::roles::may_cover(eligibility, namespace));
    let Some(uncovered) = uncovered.filter(|_| session.flags.namespaces.is_empty()) else { return Ok(namespaces.to_vec()) };
    let offered =
        eligibility.status.as_ref().and_then(|status| status.namespaces.as_ref()).map(|found| found.names.clone()).unwrap_or_default();
    let name = eligibility.name_any();
    let otherwise = format!("'{name}' does not cover namespace '{uncovered}'; use -n with one of {}", words::scope(eligibility, 8));
    prompt::choice(&session.screen, &format!("In which namespace do you want to activate '{name}'?"), &offered, &otherwise)
        .map(|chosen| vec![chosen])
}

/// Prompts for an eligibility if none is named.
async fn asked_role(session: &Session) -> Result<String, Problem> {
    let otherwise = "name what to activate: kubectl jit activate ELIGIBILITY; 'kubectl jit roles' lists yours";
    if !session.screen.asks() {
        return Err(Problem::Usage(otherwise.to_owned()));
    }
    let me = session.me().await?;
    let now = session.screen.times.now();
    let mut mine = session.eligibilities().await?;
    mine.retain(|eligibility| {
        super::roles::is_mine(me, eligibility) && rule::in_time(&crate::read::eligibility_facts(eligibility), now).is_ok()
    });
    let options: Vec<String> =
        mine.iter().map(|eligibility| format!("{}  ({})", eligibility.name_any(), words::role(&eligibility.spec.role_ref))).collect();
    let chosen = prompt::choice(&session.screen, "Which eligibility do you want to activate?", &options, otherwise)?;
    Ok(chosen.split_whitespace().next().unwrap_or_default().to_owned())
}

/// The last request of the user again. Flags override its values.
async fn last(options: &Options, session: &Session) -> Result<RoleActivationRequest, Problem> {
    let mine = session.my_requests(&Scope::wherever(session), "").await?;
    let before = mine
        .into_iter()
        .next()
        .ok_or_else(|| Problem::Absent("you have no request to repeat; 'kubectl jit roles' lists what you can activate".to_owned()))?;
    session.screen.info(&format!("repeating {}", full_name(&before)));
    again(options, session, &before, &before.namespace().unwrap_or_default()).await
}

async fn again(
    options: &Options,
    session: &Session,
    before: &RoleActivationRequest,
    namespace: &str,
) -> Result<RoleActivationRequest, Problem> {
    let me = session.me().await?.name().to_owned();
    let values = values(options, &Profile::default(), session);
    let mut fresh = manifest::request(&before.spec.eligibility_ref.name, namespace, &me, &values)?;
    fresh.spec.duration = fresh.spec.duration.or(before.spec.duration);
    fresh.spec.justification = fresh.spec.justification.take().or_else(|| before.spec.justification.clone());
    fresh.spec.ticket = fresh.spec.ticket.take().or_else(|| before.spec.ticket.clone());
    // Not copied: the start is in the past, the extended request has ended, and an emergency must be declared each time.
    Ok(fresh)
}

async fn again_from(options: &Options, session: &Session, path: &std::path::Path) -> Result<Vec<RoleActivationRequest>, Problem> {
    let mut fresh = Vec::new();
    for before in crate::files::requests(path)? {
        let namespace = match before.namespace() {
            Some(named) if session.flags.namespaces.is_empty() => named,
            _ => session.namespace()?,
        };
        let mut next = again(options, session, &before, &namespace).await?;
        next.spec.emergency |= before.spec.emergency;
        next.spec.start_time = next.spec.start_time.or(before.spec.start_time);
        next.spec.extends = before.spec.extends;
        let name = before.metadata.name.or(before.metadata.generate_name).unwrap_or_default();
        if !name.is_empty() {
            next.metadata.generate_name = Some(manifest::generated(plain_name(&name), ""));
        }
        fresh.push(next);
    }
    Ok(fresh)
}
