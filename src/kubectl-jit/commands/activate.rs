//! `kubectl jit activate ELIGIBILITY`: asks for what one is eligible for, and waits until it is there.

use std::{path::PathBuf, time::Duration};

use chrono::{DateTime, Utc};
use clap::{Args, ValueEnum};
use kube::{Api, ResourceExt, api::PostParams};

use crate::{
    flags::{Form, Output, patience},
    follow::{self, follow},
    goal::Goal,
    manifest::{self, Asked, Said},
    objects,
    paint::Paint,
    problem::{Exit, Problem},
    profiles::{self, Profile},
    prompt,
    read::{Scope, full_name, plain_name, policy_facts},
    screen::Screen,
    session::Session,
    sign_in, suggest, words,
};
use api::{ApprovalPolicy, RoleActivationRequest, RoleEligibility, text::is_blank};
use domain::{eligibility as rule, evidence, requirements};

/// Activates roles that you are eligible for, and waits until they are active.
///
/// In the namespaces of -n; it waits on a terminal, elsewhere with --wait.
///
/// Several eligibilities and namespaces take one reason: each is requested in each namespace. All are tried first by a server-side dry run,
/// and if one would be refused nothing is requested. What a policy requires and was not given is asked on a terminal, and is an error
/// elsewhere.
#[derive(Clone, Debug, Default, Args)]
pub struct Options {
    /// Names of eligibilities; '-' repeats your last request.
    #[arg(value_name = "ELIGIBILITY")]
    pub roles: Vec<String>,
    /// What is wanted.
    #[command(flatten)]
    pub asked: Asked,
    /// Start later: a time such as 2026-12-01T08:00:00Z, or how long from now, such as 2h.
    #[arg(long, value_name = "WHEN", value_parser = start)]
    pub start: Option<Start>,
    /// Use a saved set of eligibilities, namespaces, duration and so on; flags override it.
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// Save what is requested as a set under this name.
    #[arg(long, value_name = "NAME")]
    pub save_profile: Option<String>,
    /// Ask again as this manifest did ('-': standard input), under a new name.
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["roles", "profile"])]
    pub filename: Option<PathBuf>,
    /// Whether it waits.
    #[command(flatten)]
    pub waiting: Waiting,
    /// Create nothing: 'client' prints the manifest, 'server' lets the API server say what would happen.
    #[arg(long, value_enum, value_name = "WHERE")]
    pub dry_run: Option<DryRun>,
    /// In which form what was made is printed.
    #[command(flatten)]
    pub output: Output,
}

/// Whether and how long a command waits.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct Waiting {
    /// Wait for the outcome, also when this is not run on a terminal.
    #[arg(long, overrides_with = "no_wait")]
    pub wait: bool,
    /// Return as soon as the request is created.
    #[arg(long, overrides_with = "wait")]
    pub no_wait: bool,
    /// How long to wait, such as 10m; by default as long as it takes.
    #[arg(long, value_name = "TIME", value_parser = patience)]
    pub timeout: Option<Duration>,
}

impl Waiting {
    /// True where the command waits: on a terminal, unless it shall not.
    fn applies(self, session: &Session) -> bool {
        !self.no_wait && (self.wait || self.timeout.is_some() || session.screen.is_live())
    }
}

/// Who plays what would happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DryRun {
    /// Nobody: the manifest is printed.
    Client,
    /// The API server with all its rules, and nothing is stored.
    Server,
}

/// A start that lies ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At this time.
    At(DateTime<Utc>),
    /// So long from now.
    In(api::Duration),
}

impl Start {
    /// The instant that it is when asked now.
    #[must_use]
    pub fn from(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::At(at) => at,
            Self::In(length) => now.checked_add_signed(length.into()).unwrap_or(now),
        }
    }
}

/// A time or a length of time.
pub fn start(text: &str) -> Result<Start, String> {
    if let Ok(length) = text.parse() {
        return Ok(Start::In(length));
    }
    let at = DateTime::parse_from_rfc3339(text)
        .map_err(|_| format!("'{text}' is neither a time such as 2026-12-01T08:00:00Z nor a length such as 2h"))?;
    Ok(Start::At(at.with_timezone(&Utc)))
}

/// Asks, and waits.
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
    // Of several either all are requested or none: what somebody needs together is of no use in part, and pages approvers for nothing.
    if wanted.len() > 1 {
        let (accepted, exit) = create_each(session, &wanted, true).await?;
        let refused = wanted.len() - accepted.len();
        if refused > 0 {
            session.screen.error(&format!("nothing was requested, since {refused} of {} requests would be refused", wanted.len()));
            return Ok(exit);
        }
        let names: Vec<String> = wanted.iter().map(which).collect();
        session.screen.say(&format!("requesting {}", session.screen.beside(&names.join(", "), Paint::Plain)));
    }
    let (made, exit) = create_each(session, &wanted, false).await?;
    follow_up(session, &made, options.waiting, options.output).await.map(|waited| exit.and(waited))
}

/// Creates them, or tries by a server-side dry run. Of several, one that is refused is told and keeps no other one.
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
                    session.screen.say(&session.screen.beside(&format!("  {}", super::explain::hint(reason)), Paint::Dim));
                }
                exit = exit.and(problem.exit());
            }
            Err(problem) => return Err(problem),
        }
    }
    Ok((made, exit))
}

/// A request that has no name yet.
fn which(request: &RoleActivationRequest) -> String {
    format!("{} in {}", request.spec.eligibility_ref.name, request.namespace().unwrap_or_default())
}

/// What the API server would have made.
fn dry(session: &Session, made: &[RoleActivationRequest], output: Output) -> Result<(), Problem> {
    if let Some(text) = objects::printed(made, output.output)? {
        session.screen.data(&text);
        return Ok(());
    }
    for request in made {
        let namespace = request.namespace().unwrap_or_default();
        let line = format!("a request for {} in {namespace} would be created (server dry run)", request.spec.eligibility_ref.name);
        session.screen.data(&session.screen.on_data(&line, Paint::Plain));
    }
    Ok(())
}

/// Tells what was made, waits for it where that is wanted, and prints it as it is then. Of several, one that comes to nothing in time is
/// told and hides no other one.
pub async fn follow_up(session: &Session, made: &[RoleActivationRequest], waiting: Waiting, output: Output) -> Result<Exit, Problem> {
    if !waiting.applies(session) {
        match objects::printed(made, output.output)? {
            Some(text) => session.screen.data(&text),
            None => made.iter().for_each(|request| {
                session.screen.data(&session.screen.on_data(&format!("request {} created", full_name(request)), Paint::Plain));
            }),
        }
        if let Some(next) = made.last().and_then(words::next) {
            session.next(&next);
        }
        return Ok(Exit::Done);
    }
    // All are named before anything is waited for: what is active meanwhile must not be unknown to who breaks off.
    for request in made {
        session.screen.say(&format!("request {} created", full_name(request)));
    }
    let seen = if made.len() > 1 { follow::told_of_several } else { follow::told };
    let waits = futures::future::join_all(made.iter().map(|request| until_usable(session, request, waiting.timeout, seen)));
    let (mut exit, mut last, mut problems) = (Exit::Done, Vec::new(), Vec::new());
    let waited = tokio::select! {
        waited = waits => waited,
        // The requests go on without whoever stops waiting, and so do the questions to approvers.
        _ = tokio::signal::ctrl_c() => {
            session.screen.clear();
            session.screen.warn("not waiting any longer; what was requested is not withdrawn by that");
            for request in made {
                session.next(&format!("kubectl jit deactivate {} -n {}", request.name_any(), request.namespace().unwrap_or_default()));
            }
            return Err(Problem::BrokenOff);
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

/// Asks for exactly one thing, and waits for nothing.
pub async fn one(options: &Options, session: &mut Session) -> Result<RoleActivationRequest, Problem> {
    let wanted = wanted(options, session).await?;
    let [request] = wanted.as_slice() else { return Err(Problem::Usage("this is about one role in one namespace".to_owned())) };
    create(session, request, false).await
}

/// Waits until a request that was just made is active, approved for later, or refused.
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

/// Creates a request. Where the sign-in is too old or shows too little, it says how to sign in again, and tries once more.
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
    let stored = api.create(&how, request).await.map_err(|error| Problem::of("ask for it", &error))?;
    manifest::is_stored(request, &stored).map(|()| stored)
}

/// What is asked for: the manifest, the last request, the set, or what the flags say.
async fn wanted(options: &Options, session: &Session) -> Result<Vec<RoleActivationRequest>, Problem> {
    if let Some(path) = &options.filename {
        return again_from(options, session, path).await;
    }
    let profile = options.profile.as_deref().map(profiles::load).transpose()?.unwrap_or_default();
    let mut said = said(options, &profile, session);
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
        complete(session, &mut said, &eligibility, policy.as_ref())?;
        offers.push(eligibility);
    }
    if let Some(name) = &options.save_profile {
        profiles::save(name, &Profile::of(&roles, &namespaces, &said))?;
        session.screen.say(&format!("saved as '{name}': kubectl jit activate --profile {name}"));
    }
    let me = session.me().await?.name().to_owned();
    let mut wanted = Vec::new();
    for eligibility in &offers {
        for namespace in placed(session, eligibility, &namespaces)? {
            wanted.push(manifest::request(&eligibility.name_any(), &namespace, &me, &said)?);
        }
    }
    Ok(wanted)
}

/// What the flags say, and where they say nothing the set.
fn said(options: &Options, profile: &Profile, session: &Session) -> Said {
    let said = options.asked.said(options.start.map(|start| start.from(session.screen.times.now())));
    Said {
        duration: said.duration.or(profile.duration),
        reason: said.reason.or_else(|| profile.reason.clone()),
        ticket: said.ticket.or_else(|| profile.ticket.clone()),
        ..said
    }
}

/// Asks for what the policy wants and nobody has said.
fn complete(session: &Session, said: &mut Said, eligibility: &RoleEligibility, policy: Option<&ApprovalPolicy>) -> Result<(), Problem> {
    let Some(policy) = policy.map(policy_facts) else { return Ok(()) };
    let rules = policy.spec.requirements.clone().unwrap_or_default();
    let spec = |said: Said| manifest::request(&eligibility.name_any(), "default", "", &said).map(|request| request.spec);
    let name = &eligibility.spec.policy_ref.name;
    let needs_reason = rules.justification.as_ref().is_some_and(|rule| rule.min_length != Some(0)) || said.emergency;
    if needs_reason && said.reason.as_deref().is_none_or(is_blank) {
        let least = rules.justification.as_ref().and_then(|rule| rule.min_length).unwrap_or(1);
        let help = format!("policy '{name}' asks for a reason of at least {least} characters");
        said.reason = Some(prompt::text_that(&session.screen, "Why?", &help, "-r/--reason", |text| {
            let spec = spec(Said { reason: Some(text.to_owned()), ..Said::default() }).map_err(|problem| problem.to_string())?;
            requirements::justification(&spec, &policy).map_err(|refusal| refusal.message)
        })?);
    }
    if rules.ticket.as_ref().is_some_and(|rule| rule.required) && said.ticket.is_none() {
        let pattern = rules.ticket.and_then(|rule| rule.pattern).filter(|pattern| !pattern.is_empty());
        let form = pattern.map(|pattern| format!(" that matches {pattern}")).unwrap_or_default();
        let help = format!("policy '{name}' asks for a ticket{form}");
        said.ticket = Some(prompt::text_that(&session.screen, "Ticket?", &help, "--ticket", |text| {
            let spec = spec(Said { ticket: Some(text.to_owned()), ..Said::default() }).map_err(|problem| problem.to_string())?;
            evidence::ticket(&spec, &policy).map_err(|refusal| refusal.message)
        })?);
    }
    Ok(())
}

/// The namespaces for an eligibility: those that were named; else that of the context, or one that somebody chooses where that is not covered.
fn placed(session: &Session, eligibility: &RoleEligibility, namespaces: &[String]) -> Result<Vec<String>, Problem> {
    let uncovered = namespaces.iter().find(|namespace| !super::roles::may_cover(eligibility, namespace));
    let Some(uncovered) = uncovered.filter(|_| session.flags.namespaces.is_empty()) else { return Ok(namespaces.to_vec()) };
    let offered =
        eligibility.status.as_ref().and_then(|status| status.namespaces.as_ref()).map(|found| found.names.clone()).unwrap_or_default();
    let name = eligibility.name_any();
    let otherwise = format!("'{name}' does not cover namespace '{uncovered}'; say -n with one of {}", words::scope(eligibility, 8));
    prompt::choice(&session.screen, &format!("In which namespace shall '{name}' be activated?"), &offered, &otherwise)
        .map(|chosen| vec![chosen])
}

/// The role that somebody chooses who named none.
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
    let chosen = prompt::choice(&session.screen, "What shall be activated?", &options, otherwise)?;
    Ok(chosen.split_whitespace().next().unwrap_or_default().to_owned())
}

/// The last request of the person, once more. Flags go before what it said.
async fn last(options: &Options, session: &Session) -> Result<RoleActivationRequest, Problem> {
    let mine = session.my_requests(&Scope::wherever(session), "").await?;
    let before = mine.into_iter().next().ok_or_else(|| {
        Problem::Absent("there is no request of yours to repeat; 'kubectl jit roles' lists what you can ask for".to_owned())
    })?;
    session.screen.say(&format!("as {} was", full_name(&before)));
    again(options, session, &before, &before.namespace().unwrap_or_default()).await
}

async fn again(
    options: &Options,
    session: &Session,
    before: &RoleActivationRequest,
    namespace: &str,
) -> Result<RoleActivationRequest, Problem> {
    let me = session.me().await?.name().to_owned();
    let said = said(options, &Profile::default(), session);
    let mut fresh = manifest::request(&before.spec.eligibility_ref.name, namespace, &me, &said)?;
    fresh.spec.duration = fresh.spec.duration.or(before.spec.duration);
    fresh.spec.justification = fresh.spec.justification.take().or_else(|| before.spec.justification.clone());
    fresh.spec.ticket = fresh.spec.ticket.take().or_else(|| before.spec.ticket.clone());
    // A start that has passed is none, what was prolonged is over, and every emergency is said anew.
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
