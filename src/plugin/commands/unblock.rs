//! `kubectl jit unblock`: from a Forbidden error to the eligibility that would have allowed it.

use std::{
    io::{IsTerminal as _, Read as _},
    process::Stdio,
    sync::LazyLock,
};

use clap::Args;
use kube::ResourceExt;
use regex::Regex;
use tokio::process::Command;

use super::{activate, roles};
use crate::{
    api::{RoleEligibility, eligibility::RoleKind},
    domain::{eligibility, role::Rule},
    plugin::{
        flags::Output,
        manifest::Asked,
        objects,
        paint::Paint,
        problem::{Exit, Problem},
        prompt,
        read::eligibility_facts,
        session::Session,
        table::{Cell, Column, Table},
        words,
    },
};

/// Finds the role that a Forbidden error asks for.
///
/// It reads the error, or runs a kubectl command and reads its error, and says what you could activate: the least powerful first.
///
/// To read it: kubectl get deploy -n payments 2>&1 | kubectl jit unblock
///
/// To run it: kubectl jit unblock -- get deploy -n payments
#[derive(Debug, Args)]
pub struct Options {
    /// Why, for what is activated here.
    #[arg(short, long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    output: Output,
    /// Arguments of kubectl.
    #[arg(last = true, value_name = "ARGUMENT")]
    command: Vec<String>,
}

/// What somebody was not allowed to do.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Blocked {
    verb: String,
    group: String,
    resource: String,
    name: Option<String>,
    /// None: in the whole cluster, where nothing can be activated.
    namespace: Option<String>,
}

/// An error of the API server's authorizer, as kubectl prints it.
static FORBIDDEN: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r#"(?:"(?P<name>[^"]+)" )?is forbidden: User "[^"]*" cannot (?P<verb>[a-z]+) resource "(?P<resource>[^"]+)" in API group "(?P<group>[^"]*)"(?: in the namespace "(?P<namespace>[^"]+)"| at the cluster scope)"#,
    )
    .ok()
});

impl Blocked {
    /// The first Forbidden error of a text.
    fn read(text: &str) -> Option<Self> {
        let found = FORBIDDEN.as_ref()?.captures(text)?;
        let part = |name: &str| found.name(name).map(|part| part.as_str().to_owned());
        Some(Self {
            verb: part("verb")?,
            group: part("group")?,
            resource: part("resource")?,
            name: part("name"),
            namespace: part("namespace"),
        })
    }

    fn in_words(&self) -> String {
        let dot = if self.group.is_empty() { String::new() } else { format!(".{}", self.group) };
        let name = self.name.as_ref().map(|name| format!(" '{name}'")).unwrap_or_default();
        format!("{} {}{dot}{name}", self.verb, self.resource)
    }
}

/// How a role's rules answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Allows {
    Yes,
    /// Its rules cannot be read, or not all of them.
    Maybe,
}

/// Reads the error, and offers.
pub async fn run(options: &Options, session: &mut Session) -> Result<Exit, Problem> {
    let said = if options.command.is_empty() { piped(session)? } else { played(&options.command, session).await? };
    let Some(said) = said else { return Ok(Exit::Done) };
    let Some(blocked) = Blocked::read(&said) else {
        return Err(Problem::Usage(
            "there is no Forbidden error of a user in what was read; 'kubectl jit roles' lists what you can activate".to_owned(),
        ));
    };
    let Some(namespace) = &blocked.namespace else {
        let message = format!(
            "to {} is asked of the whole cluster, and activations are for one namespace: an admin must give it",
            blocked.in_words()
        );
        return Err(Problem::Refused { reason: None, message });
    };
    let offers = offers(session, &blocked, namespace).await?;
    if offers.is_empty() {
        let message = format!(
            "nothing that you are eligible for in namespace '{namespace}' would let you {}; 'kubectl jit roles -A' lists what others are eligible for",
            blocked.in_words()
        );
        return Err(Problem::Refused { reason: None, message });
    }
    offer(options, session, &blocked, namespace, &offers).await
}

async fn offer(
    options: &Options,
    session: &mut Session,
    blocked: &Blocked,
    namespace: &str,
    offers: &[(Allows, RoleEligibility)],
) -> Result<Exit, Problem> {
    let eligibilities: Vec<RoleEligibility> = offers.iter().map(|(_, eligibility)| eligibility.clone()).collect();
    if objects::listed(&session.screen, &eligibilities, options.output.output)? {
        return Ok(Exit::Done);
    }
    let policies = session.policies().await?;
    let mut table = Table::new([
        Column::new("NAME"),
        Column::new("ROLE"),
        Column::new("ALLOWS"),
        Column::new("MAX"),
        Column::new("APPROVAL").free(),
        Column::new("RISKS").free(),
    ]);
    for (allows, eligibility) in offers {
        let policy = policies.iter().find(|policy| policy.name_any() == eligibility.spec.policy_ref.name);
        let (word, paint) = if *allows == Allows::Yes { ("yes", Paint::Good) } else { ("maybe", Paint::Waits) };
        let risks =
            eligibility.status.as_ref().and_then(|status| status.role.as_ref()).map(|role| role.risk_summary.clone()).unwrap_or_default();
        table.push([
            eligibility.name_any().into(),
            words::role_column(&eligibility.spec.role_ref).into(),
            Cell::painted(word, paint),
            words::longest(eligibility, policy.map(|policy| &policy.spec)).to_string().into(),
            policy.map(|policy| words::approval(&policy.spec)).unwrap_or_default().into(),
            risks.into(),
        ]);
    }
    session.screen.say(&format!("to {} in namespace '{namespace}':", session.screen.beside(&blocked.in_words(), Paint::Strong)));
    session.screen.table(&table, options.output.is_wide(), "");
    let first = offers.first().map(|(_, eligibility)| eligibility.name_any()).unwrap_or_default();
    if options.command.is_empty() || !session.screen.asks() {
        session.next(&format!("kubectl jit activate {first} -n {namespace}"));
        return Ok(Exit::Done);
    }
    let names: Vec<String> = eligibilities.iter().map(ResourceExt::name_any).collect();
    let chosen = prompt::choice(&session.screen, "Which shall be activated?", &names, "name one")?;
    session.flags.namespaces = vec![namespace.to_owned()];
    let asked = activate::Options {
        roles: vec![chosen],
        asked: Asked { reason: options.reason.clone(), ..Asked::default() },
        ..activate::Options::default()
    };
    let exit = activate::run(&asked, session).await?;
    if exit != Exit::Done {
        return Ok(exit);
    }
    let again = kubectl(session, &options.command).stdin(Stdio::inherit()).status().await;
    let again = again.map_err(|source| Problem::Here { what: "cannot run kubectl".to_owned(), source })?;
    Ok(if again.success() { Exit::Done } else { Exit::Of(again.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)) })
}

/// What I am eligible for that would allow it, the least powerful first.
async fn offers(session: &Session, blocked: &Blocked, namespace: &str) -> Result<Vec<(Allows, RoleEligibility)>, Problem> {
    let (me, all) = tokio::join!(session.me(), session.eligibilities());
    let (me, now) = (me?, session.screen.times.now());
    let mut offers: Vec<(Allows, RoleEligibility)> = all?
        .into_iter()
        .filter(|eligibility| roles::is_mine(me, eligibility) && roles::may_cover(eligibility, namespace))
        .filter(|eligibility| eligibility::in_time(&eligibility_facts(eligibility), now).is_ok())
        .filter_map(|eligibility| Some((allows(&eligibility, blocked)?, eligibility)))
        .collect();
    offers.sort_by_cached_key(|(allows, eligibility)| (*allows, power(eligibility), eligibility.name_any()));
    Ok(offers)
}

fn parsed(eligibility: &RoleEligibility) -> (Vec<Rule>, bool) {
    let role = eligibility.status.as_ref().and_then(|status| status.role.as_ref());
    let Some(role) = role else { return (Vec::new(), false) };
    let rules: Vec<Rule> = role.rules.iter().filter_map(|words| Rule::from_words(words)).collect();
    let complete = !role.truncated && rules.len() == role.rules.len();
    (rules, complete && eligibility.spec.role_ref.kind == RoleKind::ClusterRole)
}

fn allows(eligibility: &RoleEligibility, blocked: &Blocked) -> Option<Allows> {
    let (rules, complete) = parsed(eligibility);
    let name = blocked.name.as_deref();
    if rules.iter().any(|rule| rule.allows(&blocked.verb, &blocked.group, &blocked.resource, name)) {
        return Some(Allows::Yes);
    }
    (!complete).then_some(Allows::Maybe)
}

/// How much a role allows: the risks that it has, then wildcards, then how many verbs on how many resources.
fn power(eligibility: &RoleEligibility) -> (usize, usize, usize) {
    let risks = eligibility.status.as_ref().and_then(|status| status.role.as_ref()).map_or(0, |role| role.risks.len());
    let (rules, _) = parsed(eligibility);
    let wild =
        rules.iter().flat_map(|rule| rule.verbs.iter().chain(&rule.resources).chain(&rule.api_groups)).filter(|word| *word == "*").count();
    let reach = rules.iter().map(|rule| rule.verbs.len() * rule.resources.len()).sum();
    (risks, wild, reach)
}

/// What comes on standard input. It is shown again: the pipe has swallowed it.
fn piped(session: &Session) -> Result<Option<String>, Problem> {
    if std::io::stdin().is_terminal() {
        return Err(Problem::Usage(
            "nothing to read: 'kubectl ... 2>&1 | kubectl jit unblock', or 'kubectl jit unblock -- get pods'".to_owned(),
        ));
    }
    let mut bytes = Vec::new();
    std::io::stdin()
        .take(1 << 20)
        .read_to_end(&mut bytes)
        .map_err(|source| Problem::Here { what: "cannot read standard input".to_owned(), source })?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    for line in text.lines() {
        session.screen.say(&crate::api::text::printable(line));
    }
    Ok(Some(text))
}

/// What kubectl says to it; none where it works.
async fn played(command: &[String], session: &Session) -> Result<Option<String>, Problem> {
    let here = |source| Problem::Here { what: "cannot run kubectl".to_owned(), source };
    let said = kubectl(session, command)
        .stdin(Stdio::inherit())
        .stdout(Stdio::inherit())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(here)?
        .wait_with_output()
        .await
        .map_err(here)?;
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    for line in text.lines() {
        session.screen.say(&crate::api::text::printable(line));
    }
    Ok((!said.status.success()).then_some(text))
}

/// kubectl as the person that this is for. Our flags stand first: what the command says itself goes before them, and behind the `--` of
/// `exec` they would be words of the other command.
fn kubectl(session: &Session, command: &[String]) -> Command {
    let mut kubectl = Command::new("kubectl");
    kubectl.args(session.flags.for_kubectl()).args(command);
    kubectl
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forbidden_errors_are_read_as_kubectl_prints_them() {
        let read = |text: &str| Blocked::read(text).map(|blocked| (blocked.in_words(), blocked.namespace));
        for (text, words, namespace) in [
            (
                r#"Error from server (Forbidden): pods is forbidden: User "dev" cannot list resource "pods" in API group "" in the namespace "payments""#,
                "list pods",
                Some("payments"),
            ),
            (
                r#"Error from server (Forbidden): deployments.apps "web" is forbidden: User "oidc:ann" cannot patch resource "deployments/scale" in API group "apps" in the namespace "a-b""#,
                "patch deployments/scale.apps 'web'",
                Some("a-b"),
            ),
            (r#"nodes is forbidden: User "dev" cannot list resource "nodes" in API group "" at the cluster scope"#, "list nodes", None),
        ] {
            assert_eq!(read(text), Some((words.to_owned(), namespace.map(ToOwned::to_owned))), "{text}");
        }
        assert_eq!(read("error: the server doesn't have a resource type \"x\""), None);
    }
}
