//! `kubectl jit whoami`: the authenticated user, active requests and permanent permissions.

use std::fmt::Write as _;

use clap::Args;
use k8s_openapi::api::{
    authorization::v1::{SelfSubjectRulesReview, SelfSubjectRulesReviewSpec},
    rbac::v1::{ClusterRoleBinding, RoleBinding, Subject},
};
use kube::{
    Api, ResourceExt,
    api::{ListParams, PostParams},
};
use serde_json::json;

use crate::{
    chains,
    flags::{Flags, Output},
    objects,
    paint::Paint,
    problem::{Exit, Problem},
    read::{Scope, full_name, state},
    screen::Screen,
    session::{Me, Session},
    times::short,
    words,
};
use api::{RoleActivationRequest, State, identity::SERVICE_ACCOUNT_PREFIX, selectors};
use domain::{convert, role::Rule};

/// The maximum number of shown rules.
const MOST: usize = 20;
/// The timeout for a shell prompt.
const PROMPTLY: std::time::Duration = std::time::Duration::from_secs(2);

/// Shows your user name and your access.
///
/// Active requests with their end, and permanent access.
#[derive(Debug, Args)]
pub struct Options {
    /// Print a short word for a shell prompt: the active role and the remaining time, or nothing. Never fails.
    #[arg(long)]
    prompt: bool,
    #[command(flatten)]
    output: Output,
}

impl Options {
    /// True for the output of a shell prompt.
    #[must_use]
    pub const fn is_prompt(&self) -> bool {
        self.prompt
    }
}

/// Shows the user and the access.
pub async fn run(options: &Options, session: &Session) -> Result<Exit, Problem> {
    let me = session.me().await?;
    if !options.output.is_table() {
        let active = active(session).await.unwrap_or_else(|problem| {
            session.screen.warn(&format!("what is active is unknown: {problem}"));
            Vec::new()
        });
        let value = json!({"user": me.info, "active": active.iter().map(full_name).collect::<Vec<_>>()});
        session.screen.data(&objects::data(&value, options.output.output)?.unwrap_or_else(|| me.name().to_owned()));
        return Ok(Exit::Done);
    }
    let screen = &session.screen;
    let mut said = String::new();
    let extra: Vec<String> = me.info.extra.iter().flatten().map(|(key, values)| format!("{key}={}", values.join(","))).collect();
    let groups = me.info.groups.clone().unwrap_or_default().join(", ");
    for (title, text) in
        [("User", me.name()), ("UID", me.info.uid.as_deref().unwrap_or_default()), ("Groups", &groups), ("Extra", &extra.join("; "))]
    {
        if !text.is_empty() {
            // Writing to a String cannot fail.
            let _ = writeln!(said, "{:<13}{}", format!("{title}:"), screen.on_stdout(text, Paint::Plain));
        }
    }
    let _ = write!(said, "Active:");
    match active(session).await {
        Ok(active) if active.is_empty() => said.push_str("      nothing"),
        Ok(active) => {
            for request in &active {
                let line = format!("  {} {}", full_name(request), words::outcome(request, &screen.times));
                let _ = write!(said, "\n{}", screen.on_stdout(&line, Paint::Good));
            }
        }
        Err(problem) => {
            let _ = write!(said, "      {}", screen.on_stdout(&format!("unknown: {problem}"), Paint::Waits));
        }
    }
    screen.data(&said);
    if let Some(why) = shared(me.name(), me.info.groups.as_deref().unwrap_or_default()) {
        screen.warn(&format!("{why}: jit-rbac cannot distinguish people who share a user name, so they could approve their own requests"));
    }
    permanent(session, me).await
}

/// User names that installers write into kubeconfigs, which are often shared.
const SHARED: [&str; 12] = [
    "admin",
    "clusterAdmin",
    "clusterUser",
    "docker-desktop",
    "docker-for-desktop",
    "kube-admin",
    "kubernetes-admin",
    "kubernetes-super-admin",
    "masterclient",
    "minikube-user",
    "system:admin",
    "system:kube-controller-manager",
];

/// Why several people may share a user name.
fn shared(name: &str, groups: &[String]) -> Option<String> {
    if SHARED.contains(&name) {
        return Some(format!("'{name}' is a default user name of installers, which several people may share"));
    }
    let masters = groups.iter().any(|group| group == "system:masters");
    masters.then(|| format!("'{name}' is in system:masters, whose credentials are often shared"))
}

async fn active(session: &Session) -> Result<Vec<RoleActivationRequest>, Problem> {
    let mut active = session.my_requests(&Scope::All, &selectors::in_state(|state| state == State::Active)).await?;
    active.retain(|request| state(request) == State::Active);
    Ok(active)
}

/// Prints the word for a shell prompt. Never prints errors, prompts for a sign-in or waits long.
pub async fn prompt(flags: Flags, screen: Screen) {
    let looked = tokio::time::timeout(PROMPTLY, async {
        let session = Session::open_noninteractive(flags, screen).await?;
        active(&session).await.map(|active| short_word(&session, &active))
    });
    let _ = looked.await;
}

/// `jit:edit@payments(44m)`, with `+2` if there are more.
fn short_word(session: &Session, active: &[RoleActivationRequest]) {
    let chains = chains::folded(active);
    // The access that ends first is the most important.
    let Some(first) = chains.iter().min_by_key(|chain| chain.expires_at()) else { return };
    let left = first.expires_at().map(|at| short(at.duration_since(session.screen.times.now()))).unwrap_or_default();
    let (role, namespace) = (words::role_name(&first.first), first.first.namespace().unwrap_or_default());
    let more = if chains.len() > 1 { format!("+{}", chains.len() - 1) } else { String::new() };
    session.screen.data(&session.screen.on_stdout(&format!("jit:{role}@{namespace}({left}){more}"), Paint::Plain));
}

/// The permanent access of the user: from bindings if readable, else from a SelfSubjectRulesReview, which includes active requests.
async fn permanent(session: &Session, me: &Me) -> Result<Exit, Problem> {
    let namespace = session.namespace()?;
    if let Ok(held) = bindings(session, me, &namespace).await {
        let lines: Vec<String> = held.iter().map(|line| format!("  {}", session.screen.on_stdout(line, Paint::Plain))).collect();
        let held = if lines.is_empty() { "  nothing".to_owned() } else { lines.join("\n") };
        session.screen.data(&format!("Permanent, cluster-wide and in namespace '{namespace}':\n{held}"));
        return Ok(Exit::Done);
    }
    let rules = rules(session, &namespace).await?;
    let shown: Vec<String> = rules.iter().take(MOST).map(|rule| format!("  {}", session.screen.on_stdout(rule, Paint::Plain))).collect();
    let more = rules.len().saturating_sub(MOST);
    let more = if more > 0 { format!("\n  ... and {more} more: kubectl auth can-i --list -n {namespace}") } else { String::new() };
    session.screen.data(&format!(
        "Allowed in namespace '{namespace}', including active requests (you may not read bindings, so permanent access is not listed separately):\n{}{more}",
        shown.join("\n")
    ));
    Ok(Exit::Done)
}

async fn bindings(session: &Session, me: &Me, namespace: &str) -> Result<Vec<String>, Problem> {
    let everywhere: Api<ClusterRoleBinding> = Api::all(session.client.clone());
    let here: Api<RoleBinding> = session.api(namespace)?;
    let params = ListParams::default();
    let (everywhere, here) = tokio::join!(everywhere.list(&params), here.list(&params));
    let unreadable = |error: kube::Error| Problem::of("read bindings", &error);
    let (everywhere, here) = (everywhere.map_err(unreadable)?, here.map_err(unreadable)?);
    let mut held = Vec::new();
    for binding in everywhere.items.iter().filter(|binding| names_me(binding.subjects.as_ref(), me, "")) {
        held.push(format!("{} {} by ClusterRoleBinding {}", binding.role_ref.kind, binding.role_ref.name, binding.name_any()));
    }
    let permanent = |binding: &&RoleBinding| !convert::is_managed(&binding.metadata) && names_me(binding.subjects.as_ref(), me, namespace);
    for binding in here.items.iter().filter(permanent) {
        held.push(format!("{} {} by RoleBinding {namespace}/{}", binding.role_ref.kind, binding.role_ref.name, binding.name_any()));
    }
    Ok(held)
}

fn names_me(subjects: Option<&Vec<Subject>>, me: &Me, namespace: &str) -> bool {
    let groups = me.info.groups.clone().unwrap_or_default();
    subjects.into_iter().flatten().any(|subject| match subject.kind.as_str() {
        "User" => subject.name == me.name(),
        "Group" => groups.contains(&subject.name),
        "ServiceAccount" => {
            let place = subject.namespace.as_deref().unwrap_or(namespace);
            me.name() == format!("{SERVICE_ACCOUNT_PREFIX}{place}:{}", subject.name)
        }
        _ => false,
    })
}

async fn rules(session: &Session, namespace: &str) -> Result<Vec<String>, Problem> {
    let api: Api<SelfSubjectRulesReview> = Api::all(session.client.clone());
    let asked = SelfSubjectRulesReview {
        spec: SelfSubjectRulesReviewSpec { namespace: Some(namespace.to_owned()) },
        ..SelfSubjectRulesReview::default()
    };
    let answered = api.create(&PostParams::default(), &asked).await.map_err(|error| Problem::of("list your permissions", &error))?;
    let rules = answered.status.unwrap_or_default().resource_rules.into_iter().map(|rule| {
        let rule = Rule {
            api_groups: rule.api_groups.unwrap_or_default(),
            resources: rule.resources.unwrap_or_default(),
            resource_names: rule.resource_names.unwrap_or_default(),
            non_resource_urls: Vec::new(),
            verbs: rule.verbs,
        };
        rule.to_string()
    });
    Ok(rules.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f72_a_name_that_many_may_share_is_said() {
        let groups = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert!(shared("kubernetes-admin", &[]).is_some());
        assert!(shared("ann", &groups(&["devs", "system:masters"])).is_some());
        assert_eq!(shared("ann", &groups(&["devs", "system:authenticated"])), None);
    }
}
