//! The risks of a role: what its holder can keep, or reach beyond the grant (T18, T39). docs/design/rules.md lists the risk classes.
//!
//! A rule counts for everything that it could reach, even if a RoleBinding does not grant it. Wildcards reach everything that they match,
//! and `resourceNames` limit nothing. `pods/*`, which RBAC itself does not expand, reaches every subresource of pods. Non-resource URLs
//! reach nothing, since a RoleBinding never grants them.

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
        /// A risk class: what a role allows.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Risk { $($(#[$doc])* $name,)* }

        impl Risk {
            /// Every class.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Returns the name of the class.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// Returns the class that an eligibility's author must accept, for a risk that outlives a grant.
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
    /// Impersonating another user.
    Impersonation => Some(RiskClass::Impersonation),
    /// Creating or reading tokens of `ServiceAccounts`.
    ServiceAccountTokens => Some(RiskClass::ServiceAccountTokens),
    /// Approving or signing certificate requests.
    Certificates => Some(RiskClass::Certificates),
    /// Changing or bypassing the guards of the API server.
    Admission => Some(RiskClass::Admission),
    /// Changing labels of namespaces.
    NamespaceLabels => Some(RiskClass::NamespaceLabels),
    /// Access through a node's kubelet.
    NodeProxy => Some(RiskClass::NodeProxy),
    /// Writing objects of this API group.
    JitObjects => Some(RiskClass::JitObjects),
    /// Every resource of every group, including future ones.
    Wildcard => Some(RiskClass::Wildcard),
    /// A namespace of the cluster itself. No rule of a role grants this.
    SystemNamespace => Some(RiskClass::SystemNamespace),
    /// Reading or writing Secrets.
    Secrets => None,
    /// Running commands in Pods, or connecting to their ports.
    WorkloadExec => None,
    /// Starting Pods, directly or through a workload.
    WorkloadCreate => None,
}

impl fmt::Display for Risk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a class contains: any of `verbs` on any of `resources` in `group`.
struct Reach {
    risk: Risk,
    group: &'static str,
    /// `*` is every resource of the group with its subresources, `x/*` every subresource of x.
    resources: &'static [&'static str],
    /// The first one represents all in messages. `x*` is every verb with that prefix.
    verbs: &'static [&'static str],
}

/// Verbs that write an object. Removing a role, a binding or a namespace gives no user any access.
const WRITE: &[&str] = &["create", "update", "patch"];
/// Verbs that change or remove. Removing a guard or a record counts like changing it.
const CHANGE: &[&str] = &["create", "update", "patch", "delete", "deletecollection", "purge", "administer"];
/// Verbs whose response can show the object, including the response to a deletion. `create` is among them because a created Secret can be
/// one that Kubernetes fills with a token.
const ANY: &[&str] = &["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];
/// `get` suffices: a WebSocket begins with one.
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
    // A signer writes the certificate into the status. The other two subresources control which kubelets are approved automatically.
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
    // Both subresources accept changes of labels.
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

/// Verbs that are a risk on any resource, if a rule names them. A `*` on plain resources also contains them and does not count.
const TELLING: &[(Risk, &str)] = &[
    // Deletes without regard to finalizers and preconditions.
    (Risk::Admission, "unsafe-delete-ignore-read-errors"),
    // The second part of constrained impersonation.
    (Risk::Impersonation, "impersonate-on:*"),
];

/// Why a role is in a class: the first rule that puts it there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The class.
    pub risk: Risk,
    /// A verb of the class that the rule allows.
    pub verb: String,
    /// A resource of the class on which the rule allows it, with its group.
    pub resource: String,
    /// The rule.
    pub rule: Rule,
}

/// Maximum number of characters of a rule, or of one of its words, in a message.
const MAX_SHOWN: usize = 80;

fn short(text: &str) -> String {
    let more = if text.chars().count() > MAX_SHOWN { "..." } else { "" };
    format!("{}{more}", text.chars().take(MAX_SHOWN).collect::<String>())
}

impl fmt::Display for Finding {
    /// Writes `create serviceaccounts/token (class ServiceAccountTokens)`, and the rule if it contains wildcards.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} (class {}", short(&self.verb), short(&self.resource), self.risk)?;
        let wild = |words: &[String]| words.iter().any(|word| word.contains('*'));
        if wild(&self.rule.verbs) || wild(&self.rule.resources) || wild(&self.rule.api_groups) {
            write!(f, ", by its rule '{}'", short(&self.rule.to_string()))?;
        }
        f.write_str(")")
    }
}

/// Returns the classes of a role: all of them if its rules could not be read.
#[must_use]
pub fn classify(rules: &Rules) -> BTreeSet<Risk> {
    if rules.bytes_beyond().is_some() {
        return Risk::ALL.iter().copied().collect();
    }
    findings(rules).into_iter().map(|finding| finding.risk).collect()
}

/// Returns the classes of one rule.
#[must_use]
pub fn classes(rule: &Rule) -> BTreeSet<Risk> {
    let reached = REACHES.iter().filter(|reach| reach.within(rule).is_some()).map(|reach| reach.risk);
    let told = TELLING.iter().filter(|(_, verb)| told(rule, verb).is_some()).map(|(risk, _)| *risk);
    reached.chain(told).chain(everything(rule).map(|_| Risk::Wildcard)).collect()
}

impl Rules {
    /// Returns what a status shows of the rules. The riskiest come first, so that harmless rules never displace them (T18).
    #[must_use]
    pub fn status(&self, kind: RoleKind, name: &str, with_rules: bool) -> RoleStatus {
        let mut ordered: Vec<&Rule> = self.rules().iter().collect();
        if with_rules {
            riskiest_first(&mut ordered);
        }
        let lines: Vec<String> = ordered.into_iter().map(ToString::to_string).collect();
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

/// Sorts rules with the riskiest first: by their gravest class, then by the number of their classes, then by wildcards. Among rules without
/// a class, those that write precede those that only read.
pub fn riskiest_first(rules: &mut [&Rule]) {
    rules.sort_by_cached_key(|rule| {
        let classes = classes(rule);
        let words = rule.verbs.iter().chain(&rule.resources).chain(&rule.api_groups);
        let wild = words.filter(|word| word.contains('*')).count();
        let reads = rule.verbs.iter().all(|verb| ["get", "list", "watch"].contains(&verb.as_str()));
        (classes.is_empty(), classes.first().copied(), std::cmp::Reverse(classes.len()), std::cmp::Reverse(wild), reads)
    });
}

/// Returns every class of a role once, with the rule that puts it there.
#[must_use]
pub fn findings(rules: &Rules) -> Vec<Finding> {
    // By class first, so that the most significant rule is named instead of the first one.
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
    /// Returns the verb and the resource by which a rule reaches this, if it does.
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

/// Returns true if a rule's resource reaches some resource of a class.
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

/// Returns the classes that outlive a grant and that the author of an eligibility has not accepted.
#[must_use]
pub fn unaccepted(risks: &BTreeSet<Risk>, accepted: &[RiskClass]) -> Vec<RiskClass> {
    risks.iter().filter_map(|risk| risk.lasting()).filter(|class| !accepted.contains(class)).collect()
}

/// Refuses a role with a class that outlives a grant and that is not accepted, and names the rule. The classes of a role that is too large
/// to be read cannot be accepted.
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
            "{} '{}' can {}: access gained this way can outlive a grant; use a role without it, or add {} to spec.acceptRisks",
            role.kind,
            role.name,
            whats.join(", and "),
            classes.join(", "),
        ),
    ))
}

#[cfg(test)]
mod tests;
