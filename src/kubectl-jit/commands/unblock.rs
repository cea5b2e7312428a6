//! `kubectl jit unblock`: finds the eligibility that would allow a forbidden call.

use std::{
    io::{IsTerminal as _, Read as _},
    process::Stdio,
    sync::LazyLock,
};

use clap::Args;
use k8s_openapi::api::rbac::v1::Role;
use kube::ResourceExt;
use regex::Regex;
use tokio::process::Command;

use super::{activate, roles};
use crate::{
    flags::Output,
    manifest::RequestFlags,
    objects,
    paint::Paint,
    problem::{Exit, Problem},
    prompt,
    read::eligibility_facts,
    session::Session,
    table::{Column, Table},
    words,
};
use api::{
    RoleEligibility,
    eligibility::RoleKind,
    names,
    stored::{Limited, StoredRole},
};
use domain::{convert, eligibility, risks, role::Rule};

/// Finds the role for a Forbidden error.
///
/// It reads the error, or runs a kubectl command and reads its error, and lists what you could activate: the least powerful role first, and
/// last the roles whose rules you may not read.
///
/// To read it: kubectl get deploy -n payments 2>&1 | kubectl jit unblock
///
/// To run it: kubectl jit unblock -- get deploy -n payments
#[derive(Debug, Args)]
pub struct Options {
    /// The justification of the activation.
    #[arg(short, long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    output: Output,
    /// Arguments of kubectl.
    #[arg(last = true, value_name = "ARGUMENT")]
    command: Vec<String>,
}

/// A forbidden call.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Blocked {
    verb: String,
    group: String,
    resource: String,
    name: Option<String>,
    /// None for the whole cluster, for which nothing can be activated.
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

    fn description(&self) -> String {
        let dot = if self.group.is_empty() { String::new() } else { format!(".{}", self.group) };
        let name = self.name.as_ref().map(|name| format!(" '{name}'")).unwrap_or_default();
        format!("{} {}{dot}{name}", self.verb, self.resource)
    }
}

/// Whether the rules of a role allow a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Allows {
    Yes,
    /// Not all rules can be read.
    Unknown,
}

/// An eligibility that would or could allow the call.
#[derive(Debug)]
struct Offer {
    eligibility: RoleEligibility,
    allows: Allows,
    /// None if unknown.
    power: Option<Power>,
    risks: String,
}

/// The power of a role: risks that outlast a grant, all risks, wildcards, and verbs times resources.
type Power = (usize, usize, usize, usize);

/// Reads the error and lists eligibilities.
pub async fn run(options: &Options, session: &mut Session) -> Result<Exit, Problem> {
    let said = if options.command.is_empty() { piped(session)? } else { run_kubectl(&options.command, session).await? };
    let Some(said) = said else { return Ok(Exit::Done) };
    let Some(blocked) = Blocked::read(&said) else {
        return Err(Problem::Usage(
            "the input has no Forbidden error of a user; 'kubectl jit roles' lists what you can activate".to_owned(),
        ));
    };
    let Some(namespace) = &blocked.namespace else {
        let message =
            format!("to {} needs access to the whole cluster, and activations are for one namespace: ask an admin", blocked.description());
        return Err(Problem::Refused { reason: None, message });
    };
    let offers = offers(session, &blocked, namespace).await?;
    if offers.is_empty() {
        let message = format!(
            "no eligibility of yours in namespace '{namespace}' allows you to {}; 'kubectl jit roles --all' lists those of others",
            blocked.description()
        );
        return Err(Problem::Refused { reason: None, message });
    }
    offer(options, session, &blocked, namespace, &offers).await
}

async fn offer(options: &Options, session: &mut Session, blocked: &Blocked, namespace: &str, offers: &[Offer]) -> Result<Exit, Problem> {
    let eligibilities: Vec<RoleEligibility> = offers.iter().map(|offer| offer.eligibility.clone()).collect();
    if objects::listed(&session.screen, &eligibilities, options.output.output)? {
        return Ok(Exit::Done);
    }
    let policies = session.policies().await?;
    let mut table = Table::default();
    for Offer { eligibility, allows, risks, .. } in offers {
        let policy = policies.iter().find(|policy| policy.name_any() == eligibility.spec.policy_ref.name);
        let (word, paint) = if *allows == Allows::Yes { ("yes", Paint::Good) } else { ("unknown", Paint::Waits) };
        table.push([
            Column::new("NAME").of(eligibility.name_any()),
            Column::new("ROLE").of(words::role_column(&eligibility.spec.role_ref)),
            Column::new("ALLOWS").painted(word, paint),
            Column::new("MAX").of(words::longest(eligibility, policy.map(|policy| &policy.spec)).to_string()),
            Column::new("APPROVAL").free().of(policy.map(|policy| words::approval(&policy.spec)).unwrap_or_default()),
            Column::new("RISKS").free().of(risks),
        ]);
    }
    session.screen.info(&format!("to {} in namespace '{namespace}':", session.screen.on_stderr(&blocked.description(), Paint::Strong)));
    session.screen.table(&table, options.output.is_wide(), "");
    let first = offers.first().map(|offer| offer.eligibility.name_any()).unwrap_or_default();
    if options.command.is_empty() || !session.screen.asks() {
        session.next(&format!("kubectl jit activate {first} -n {namespace}"));
        return Ok(Exit::Done);
    }
    let names: Vec<String> = eligibilities.iter().map(ResourceExt::name_any).collect();
    let chosen = prompt::choice(&session.screen, "Which eligibility do you want to activate?", &names, "name one")?;
    session.flags.namespaces = vec![namespace.to_owned()];
    let asked = activate::Options {
        roles: vec![chosen],
        asked: RequestFlags { reason: options.reason.clone(), ..RequestFlags::default() },
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

/// The user's eligibilities that would allow the call, the least powerful first.
async fn offers(session: &Session, blocked: &Blocked, namespace: &str) -> Result<Vec<Offer>, Problem> {
    let (me, all) = tokio::join!(session.me(), session.eligibilities());
    let (me, now) = (me?, session.screen.times.now());
    let mine: Vec<RoleEligibility> = all?
        .into_iter()
        .filter(|eligibility| roles::is_mine(me, eligibility) && roles::may_cover(eligibility, namespace))
        .filter(|eligibility| eligibility::in_time(&eligibility_facts(eligibility), now).is_ok())
        .collect();
    let read = session.each(mine, async |eligibility| (of_role(session, &eligibility, namespace).await, eligibility)).await;
    let mut offers: Vec<Offer> = read.into_iter().filter_map(|(rules, eligibility)| weighed(eligibility, rules, blocked)).collect();
    offers.sort_by_cached_key(order);
    Ok(offers)
}

/// The sort key: certain ones first, by power; then those with more known rules.
fn order(offer: &Offer) -> (Allows, bool, Option<Power>, String) {
    (offer.allows, offer.power.is_none(), offer.power, offer.eligibility.name_any())
}

/// The rules of a Role in this namespace, which no eligibility reports; none without the permission to read it.
async fn of_role(session: &Session, eligibility: &RoleEligibility, namespace: &str) -> Option<Vec<Rule>> {
    let named = &eligibility.spec.role_ref;
    if named.kind != RoleKind::Role || !names::is_role_name(&named.name) {
        return None;
    }
    let role = session.api::<Role>(namespace).ok()?.get_opt(&named.name).await.ok()??;
    let role = StoredRole { metadata: role.metadata, rules: role.rules.map(Limited::Within) };
    convert::role(RoleKind::Role, role, None).found().map(|role| role.rules.rules().to_vec())
}

/// Evaluates an eligibility by the rules in `read` or in its status. None if it certainly does not allow the call.
fn weighed(eligibility: RoleEligibility, read: Option<Vec<Rule>>, blocked: &Blocked) -> Option<Offer> {
    let of_status = || {
        let role = eligibility.status.as_ref()?.role.as_ref().filter(|role| !role.rules_hash.is_empty())?;
        let rules: Vec<Rule> = role.rules.iter().filter_map(|words| Rule::parse(words)).collect();
        let complete = !role.truncated && rules.len() == role.rules.len();
        let risks = risks::Risk::ALL.iter().copied().filter(|risk| role.risks.iter().any(|named| named == risk.as_str()));
        Some((rules, complete, risks.collect::<Vec<_>>()))
    };
    let known = match read {
        Some(rules) => {
            let mut all: Vec<risks::Risk> = rules.iter().flat_map(risks::classes).collect();
            all.sort();
            all.dedup();
            Some((rules, true, all))
        }
        None => of_status(),
    };
    let Some((rules, complete, risks)) = known else {
        return Some(Offer { eligibility, allows: Allows::Unknown, power: None, risks: "unknown".to_owned() });
    };
    let name = blocked.name.as_deref();
    let allows = match rules.iter().any(|rule| rule.allows(&blocked.verb, &blocked.group, &blocked.resource, name)) {
        true => Allows::Yes,
        false if complete => return None,
        false => Allows::Unknown,
    };
    let described_risks = risks.iter().map(|risk| risk.as_str()).collect::<Vec<_>>().join(",");
    Some(Offer { eligibility, allows, power: Some(power(&rules, &risks)), risks: described_risks })
}

fn power(rules: &[Rule], risks: &[risks::Risk]) -> Power {
    let lasting = risks.iter().filter(|risk| risk.lasting().is_some()).count();
    let wild =
        rules.iter().flat_map(|rule| rule.verbs.iter().chain(&rule.resources).chain(&rule.api_groups)).filter(|word| *word == "*").count();
    let reach = rules.iter().map(|rule| rule.verbs.len() * rule.resources.len()).sum();
    (lasting, risks.len(), wild, reach)
}

/// Reads standard input, and prints it, since the pipe hides it.
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
        session.screen.info(&api::text::printable(line));
    }
    Ok(Some(text))
}

/// Runs kubectl and returns its error; none if it succeeds.
async fn run_kubectl(command: &[String], session: &Session) -> Result<Option<String>, Problem> {
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
        session.screen.info(&api::text::printable(line));
    }
    Ok((!said.status.success()).then_some(text))
}

/// kubectl with the same user. Our flags come first, so that flags of the command override them; after the `--` of `exec` they would belong
/// to the inner command.
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
        let read = |text: &str| Blocked::read(text).map(|blocked| (blocked.description(), blocked.namespace));
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

    #[test]
    fn f32_the_least_powerful_comes_first_and_unknown_is_not_none() {
        let eligibility = |name: &str, kind: &str, role: Option<serde_json::Value>| -> RoleEligibility {
            serde_json::from_value(serde_json::json!({
                "apiVersion": "jitrbac.dev/v1alpha1", "kind": "RoleEligibility", "metadata": {"name": name},
                "spec": {
                    "subjects": [{"kind": "Group", "name": "devs"}], "roleRef": {"kind": kind, "name": name},
                    "namespaces": {"names": ["shop"]}, "policyRef": {"name": "p"}, "maxDuration": "1h",
                },
                "status": role.map(|role| serde_json::json!({"role": role})),
            }))
            .unwrap()
        };
        let status = |rules: &[&str], risks: &[&str]| serde_json::json!({"rulesHash": "h", "rules": rules, "risks": risks, "riskSummary": risks.join(",")});
        let blocked = Blocked {
            verb: "get".to_owned(),
            group: String::new(),
            resource: "pods".to_owned(),
            name: None,
            namespace: Some("shop".to_owned()),
        };
        let read = |words: &str| Some(vec![Rule::parse(words).unwrap()]);
        let admin = eligibility("admin", "ClusterRole", Some(status(&["* *.*"], &["Escalation", "Impersonation"])));
        let edit =
            eligibility("edit", "ClusterRole", Some(status(&["get,list,create pods"], &["Secrets", "WorkloadExec", "WorkloadCreate"])));
        let wide = eligibility("wide", "ClusterRole", Some(status(&["get,list,watch pods,configmaps"], &[])));
        let other = eligibility("other", "ClusterRole", Some(status(&["get configmaps"], &[])));
        let mut offers: Vec<Offer> = [
            weighed(admin, None, &blocked),
            weighed(edit, None, &blocked),
            weighed(eligibility("hidden", "Role", Some(serde_json::json!({"kind": "Role", "name": "hidden"}))), None, &blocked),
            weighed(wide, None, &blocked),
            weighed(eligibility("debug", "Role", None), read("get,list pods"), &blocked),
            weighed(other, None, &blocked),
            weighed(eligibility("useless", "Role", None), read("get secrets"), &blocked),
        ]
        .into_iter()
        .flatten()
        .collect();
        offers.sort_by_cached_key(order);
        let shown: Vec<(String, bool, &str)> =
            offers.iter().map(|offer| (offer.eligibility.name_any(), offer.allows == Allows::Yes, offer.risks.as_str())).collect();
        let shown: Vec<(&str, bool, &str)> = shown.iter().map(|(name, yes, risks)| (name.as_str(), *yes, *risks)).collect();
        let expected = [
            ("debug", true, ""),
            ("wide", true, ""),
            ("edit", true, "Secrets,WorkloadExec,WorkloadCreate"),
            ("admin", true, "Escalation,Impersonation"),
            ("hidden", false, "unknown"),
        ];
        assert_eq!(shown, expected);
    }
}
