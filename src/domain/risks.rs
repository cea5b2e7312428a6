//! What a role lets its holder keep, or reach beyond the grant (T18, T39): the risk classes of docs/design/rules.md.
//!
//! A rule counts for whatever it could reach, whether or not a RoleBinding brings that into force: wildcards reach all that they cover,
//! `resourceNames` narrow nothing, and `pods/*`, which RBAC itself does not expand, reaches every subresource of pods. URLs that are no
//! resources reach nothing, since a RoleBinding never grants them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{
    refusal::Refusal,
    role::{self, Rule, Rules},
};
use api::{
    Reason,
    eligibility::{MAX_SHOWN_RULE, MAX_SHOWN_RULES, RiskClass, RoleKind, RoleRef, RoleStatus},
    names::{GROUP, RBAC_GROUP as RBAC},
};

macro_rules! risks {
    ($($(#[$doc:meta])* $name:ident => $class:expr,)*) => {
        /// A class of what a role allows.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Risk { $($(#[$doc])* $name,)* }

        impl Risk {
            /// Every class.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The word as it is shown.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// The class that an eligibility's author must accept, for those that outlive a grant.
            #[must_use]
            pub const fn lasting(self) -> Option<RiskClass> {
                match self { $(Self::$name => $class,)* }
            }
        }
    };
}

risks! {
    /// bind, escalate, or writing roles and bindings.
    Escalation => Some(RiskClass::Escalation),
    /// Acting as somebody else.
    Impersonation => Some(RiskClass::Impersonation),
    /// Making or reading tokens of `ServiceAccounts`.
    ServiceAccountTokens => Some(RiskClass::ServiceAccountTokens),
    /// Approving or signing certificate requests.
    Certificates => Some(RiskClass::Certificates),
    /// Changing or going around what guards the API server.
    Admission => Some(RiskClass::Admission),
    /// Changing labels of namespaces.
    NamespaceLabels => Some(RiskClass::NamespaceLabels),
    /// Going through a node's kubelet.
    NodeProxy => Some(RiskClass::NodeProxy),
    /// Writing objects of this API group.
    JitObjects => Some(RiskClass::JitObjects),
    /// Every resource of every group, also those that nobody has thought of yet.
    Wildcard => Some(RiskClass::Wildcard),
    /// A namespace of the cluster itself; no rule of a role says this.
    SystemNamespace => Some(RiskClass::SystemNamespace),
    /// Reading or writing Secrets.
    Secrets => None,
    /// Running commands in Pods, or talking to their ports.
    WorkloadExec => None,
    /// Starting Pods, directly or through what starts them.
    WorkloadCreate => None,
}

impl fmt::Display for Risk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something that a class is about: any of `verbs` on any of `resources` in `group`.
struct Reach {
    risk: Risk,
    group: &'static str,
    /// `*` is every resource of the group with its subresources, `x/*` every subresource of x.
    resources: &'static [&'static str],
    /// The first one stands for all in messages; `x*` is every verb that begins so.
    verbs: &'static [&'static str],
}

/// What puts something into an object. Removing a role, a binding or a namespace gives nobody anything.
const WRITE: &[&str] = &["create", "update", "patch"];
/// Taking a guard or a record away counts like changing it.
const CHANGE: &[&str] = &["create", "update", "patch", "delete", "deletecollection", "purge", "administer"];
/// Every answer but the one to `create` can show the object as it was or is, that to a deletion too; a Secret that is created can be
/// one that Kubernetes fills with a token.
const ANY: &[&str] = &["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];
/// `get` is enough: a WebSocket begins with one.
const CONNECT: &[&str] = &["create", "get"];
/// `impersonate`, and `impersonate:<mode>` of constrained impersonation.
const IMPERSONATE: &[&str] = &["impersonate*"];

const CERTIFICATES: &str = "certificates.k8s.io";
const STARTS_PODS: &[&str] = &["daemonsets", "deployments", "replicasets", "statefulsets"];

const fn reach(risk: Risk, group: &'static str, resources: &'static [&'static str], verbs: &'static [&'static str]) -> Reach {
    Reach { risk, group, resources, verbs }
}

const REACHES: &[Reach] = &[
    reach(Risk::Escalation, RBAC, &["roles", "clusterroles", "rolebindings", "clusterrolebindings"], WRITE),
    reach(Risk::Escalation, RBAC, &["roles", "clusterroles"], &["bind", "escalate"]),
    reach(Risk::Impersonation, "", &["users", "groups", "serviceaccounts"], IMPERSONATE),
    reach(
        Risk::Impersonation,
        "authentication.k8s.io",
        &["users", "groups", "serviceaccounts", "nodes", "uids", "userextras", "userextras/*"],
        IMPERSONATE,
    ),
    reach(Risk::ServiceAccountTokens, "", &["serviceaccounts/token"], &["create"]),
    reach(Risk::ServiceAccountTokens, "", &["secrets"], ANY),
    // A signer writes the certificate into the status. The other two subresources say which kubelets are approved by themselves.
    reach(
        Risk::Certificates,
        CERTIFICATES,
        &["certificatesigningrequests/approval", "certificatesigningrequests/status"],
        &["update", "patch"],
    ),
    reach(Risk::Certificates, CERTIFICATES, &["podcertificaterequests/status"], &["update", "patch"]),
    reach(Risk::Certificates, CERTIFICATES, &["signers"], &["approve", "sign", "attest"]),
    reach(
        Risk::Certificates,
        CERTIFICATES,
        &["certificatesigningrequests/nodeclient", "certificatesigningrequests/selfnodeclient"],
        &["create"],
    ),
    reach(Risk::Admission, "admissionregistration.k8s.io", &["*"], CHANGE),
    reach(Risk::Admission, "apiextensions.k8s.io", &["*"], CHANGE),
    reach(Risk::Admission, "apiregistration.k8s.io", &["*"], CHANGE),
    // Both subresources take labels along.
    reach(Risk::NamespaceLabels, "", &["namespaces", "namespaces/status", "namespaces/finalize"], WRITE),
    reach(Risk::NodeProxy, "", &["nodes/proxy"], ANY),
    reach(Risk::JitObjects, GROUP, &["*"], CHANGE),
    reach(Risk::Secrets, "", &["secrets"], ANY),
    reach(Risk::WorkloadExec, "", &["pods/exec", "pods/attach", "pods/portforward"], CONNECT),
    reach(Risk::WorkloadExec, "", &["pods/ephemeralcontainers"], &["update", "patch"]),
    reach(Risk::WorkloadExec, "", &["pods/proxy", "services/proxy"], ANY),
    reach(Risk::WorkloadCreate, "", &["pods", "replicationcontrollers"], WRITE),
    reach(Risk::WorkloadCreate, "apps", STARTS_PODS, WRITE),
    reach(Risk::WorkloadCreate, "extensions", STARTS_PODS, WRITE),
    reach(Risk::WorkloadCreate, "batch", &["cronjobs", "jobs"], WRITE),
];

/// Verbs that tell by themselves, on whatever resource, where a rule spells them out. That `*` contains them too says nothing more
/// about a rule on plain resources.
const TELLING: &[(Risk, &str)] = &[
    // Deletes past finalizers and preconditions.
    (Risk::Admission, "unsafe-delete-ignore-read-errors"),
    // The other half of constrained impersonation.
    (Risk::Impersonation, "impersonate-on:*"),
];

/// Why a role is in a class: the first of its rules that makes it so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The class.
    pub risk: Risk,
    /// A verb of the class that the rule allows.
    pub verb: String,
    /// A resource of the class that it allows it on, with its group.
    pub resource: String,
    /// The rule.
    pub rule: Rule,
}

/// Most characters of a rule, or of one of its words, in a message.
const MAX_SHOWN: usize = 80;

fn short(text: &str) -> String {
    let more = if text.chars().count() > MAX_SHOWN { "..." } else { "" };
    format!("{}{more}", text.chars().take(MAX_SHOWN).collect::<String>())
}

impl fmt::Display for Finding {
    /// As `create serviceaccounts/token (class ServiceAccountTokens)`, with the rule where it does not say so by itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} (class {}", short(&self.verb), short(&self.resource), self.risk)?;
        let wild = |words: &[String]| words.iter().any(|word| word.contains('*'));
        if wild(&self.rule.verbs) || wild(&self.rule.resources) || wild(&self.rule.api_groups) {
            write!(f, ", by its rule '{}'", short(&self.rule.in_words()))?;
        }
        f.write_str(")")
    }
}

/// The classes of a role: all of them where its rules could not be read.
#[must_use]
pub fn classify(rules: &Rules) -> BTreeSet<Risk> {
    if rules.bytes_beyond().is_some() {
        return Risk::ALL.iter().copied().collect();
    }
    findings(rules).into_iter().map(|finding| finding.risk).collect()
}

/// The classes that one rule is in.
#[must_use]
pub fn classes(rule: &Rule) -> BTreeSet<Risk> {
    let reached = REACHES.iter().filter(|reach| reach.within(rule).is_some()).map(|reach| reach.risk);
    let told = TELLING.iter().filter(|(_, verb)| told(rule, verb).is_some()).map(|(risk, _)| *risk);
    reached.chain(told).chain(everything(rule).map(|_| Risk::Wildcard)).collect()
}

impl Rules {
    /// What a status shows of them: the riskiest rules first, so that no number of harmless ones pushes them out of sight (T18).
    #[must_use]
    pub fn status(&self, kind: RoleKind, name: &str, with_rules: bool) -> RoleStatus {
        let mut ordered: Vec<&Rule> = self.rules().iter().collect();
        if with_rules {
            riskiest_first(&mut ordered);
        }
        let lines: Vec<String> = ordered.into_iter().map(Rule::in_words).collect();
        let risks: Vec<String> = classify(self).into_iter().map(|risk| risk.as_str().to_owned()).collect();
        let too_long = |line: &String| line.chars().count() > MAX_SHOWN_RULE;
        RoleStatus {
            kind: Some(kind),
            name: name.to_owned(),
            rules_hash: self.hash().to_owned(),
            access_hash: self.access_hash().to_owned(),
            rule_count: if with_rules { i64::try_from(lines.len()).unwrap_or(i64::MAX) } else { 0 },
            truncated: with_rules && (self.bytes_beyond().is_some() || lines.len() > MAX_SHOWN_RULES || lines.iter().any(too_long)),
            rules: lines
                .into_iter()
                .take(if with_rules { MAX_SHOWN_RULES } else { 0 })
                .map(|line| line.chars().take(MAX_SHOWN_RULE).collect())
                .collect(),
            risk_summary: risks.join(","),
            risks,
        }
    }
}

/// Sorts rules so that the riskiest come first: by their gravest class, then by how many classes they are in, then by wildcards. Of those
/// in no class, what writes comes before what reads.
pub fn riskiest_first(rules: &mut [&Rule]) {
    rules.sort_by_cached_key(|rule| {
        let classes = classes(rule);
        let words = rule.verbs.iter().chain(&rule.resources).chain(&rule.api_groups);
        let wild = words.filter(|word| word.contains('*')).count();
        let reads = rule.verbs.iter().all(|verb| ["get", "list", "watch"].contains(&verb.as_str()));
        (classes.is_empty(), classes.first().copied(), std::cmp::Reverse(classes.len()), std::cmp::Reverse(wild), reads)
    });
}

/// Every class of a role, each once, with what makes it so.
#[must_use]
pub fn findings(rules: &Rules) -> Vec<Finding> {
    // By class first, so that the most telling rule is named and not the first one.
    let reached = REACHES.iter().flat_map(|reach| rules.rules().iter().filter_map(|rule| Some((reach.risk, reach.within(rule)?, rule))));
    let told = TELLING.iter().flat_map(|(risk, verb)| rules.rules().iter().filter_map(|rule| Some((*risk, told(rule, verb)?, rule))));
    let every = rules.rules().iter().filter_map(|rule| Some((Risk::Wildcard, everything(rule)?, rule)));
    let mut found: BTreeMap<Risk, Finding> = BTreeMap::new();
    for (risk, (verb, resource), rule) in reached.chain(told).chain(every) {
        found.entry(risk).or_insert_with(|| Finding { risk, verb, resource, rule: rule.clone() });
    }
    found.into_values().collect()
}

impl Reach {
    /// The verb and the resource by which a rule reaches this, if it does.
    fn within(&self, rule: &Rule) -> Option<(String, String)> {
        if !rule.api_groups.iter().any(|group| group == "*" || group == self.group) {
            return None;
        }
        let verb = self.verbs.iter().find_map(|wanted| {
            let allowed = rule.verbs.iter().find(|verb| *verb == "*" || is_verb(verb, wanted))?;
            Some(if allowed == "*" { wanted.trim_end_matches('*') } else { allowed })
        })?;
        let resource = self.resources.iter().find_map(|wanted| {
            let allowed = rule.resources.iter().find(|resource| covers(resource, wanted))?;
            Some(if *wanted == "*" || wanted.ends_with("/*") { allowed.as_str() } else { *wanted })
        })?;
        Some((verb.to_owned(), qualified(resource, self.group)))
    }
}

fn qualified(resource: &str, group: &str) -> String {
    if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") }
}

fn is_verb(verb: &str, wanted: &str) -> bool {
    wanted.strip_suffix('*').map_or(verb == wanted, |beginning| verb.starts_with(beginning))
}

/// True when what a rule says of resources reaches some of what a class is about.
fn covers(allowed: &str, wanted: &str) -> bool {
    if matches!(allowed, "*" | "*/*") || wanted == "*" || allowed == wanted {
        return true;
    }
    match (allowed.split_once('/'), wanted.split_once('/')) {
        (Some((a, sub)), Some((b, wanted))) => (a == "*" || a == b) && (sub == "*" || wanted == "*" || sub == wanted),
        _ => false,
    }
}

fn told(rule: &Rule, wanted: &str) -> Option<(String, String)> {
    let verb = rule.verbs.iter().find(|verb| is_verb(verb, wanted))?;
    Some((verb.clone(), qualified(rule.resources.first()?, rule.api_groups.first()?)))
}

fn everything(rule: &Rule) -> Option<(String, String)> {
    let all =
        rule.api_groups.iter().any(|group| group == "*") && rule.resources.iter().any(|resource| matches!(resource.as_str(), "*" | "*/*"));
    let verb = rule.verbs.first().filter(|_| all)?;
    Some((if verb == "*" { "do everything with".to_owned() } else { verb.clone() }, "every resource".to_owned()))
}

/// The classes that outlive a grant and that the author of an eligibility has not accepted.
#[must_use]
pub fn unaccepted(risks: &BTreeSet<Risk>, accepted: &[RiskClass]) -> Vec<RiskClass> {
    risks.iter().filter_map(|risk| risk.lasting()).filter(|class| !accepted.contains(class)).collect()
}

/// The refusal, if a role has a class that outlives a grant and that is not accepted, with the rule that makes it so. What a role allows
/// that is too large to be read, nobody can accept.
pub fn check(role: &RoleRef, rules: &Rules, accepted: &[RiskClass]) -> Result<(), Refusal> {
    role::check_size(role, rules)?;
    let open = |finding: &Finding| finding.risk.lasting().is_some_and(|class| !accepted.contains(&class));
    let findings: Vec<Finding> = findings(rules).into_iter().filter(open).collect();
    if findings.is_empty() {
        return Ok(());
    }
    let whats: Vec<String> = findings.iter().map(ToString::to_string).collect();
    let classes: Vec<&str> = findings.iter().map(|finding| finding.risk.as_str()).collect();
    Err(Refusal::new(
        Reason::RiskNotAccepted,
        format!(
            "{} '{}' can {}: what is gained by that outlives a grant; choose a role without it, or add {} to spec.acceptRisks",
            role.kind,
            role.name,
            whats.join(", and "),
            classes.join(", "),
        ),
    ))
}

#[cfg(test)]
mod tests;
