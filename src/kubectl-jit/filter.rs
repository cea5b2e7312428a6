//! Filters for requests by user, eligibility and role.
//!
//! A filter that selects nothing is an error that lists what exists: in an incident, a mistyped name must not look like "all is revoked".

use std::collections::BTreeMap;

use clap::Args;
use kube::ResourceExt;

use super::{
    problem::Problem,
    read::{Scope, requester},
    session::{Session, valid_name},
    words,
};
use api::{RoleActivationRequest, eligibility::RoleRef, selectors};

/// The maximum number of values in the error of a filter that selects nothing.
const NAMED: usize = 8;

/// The flags that select requests by eligibility and role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct For {
    /// Only requests under this eligibility.
    #[arg(long, value_name = "ELIGIBILITY")]
    pub eligibility: Option<String>,
    /// Only requests for this RBAC role, as the column ROLE shows it: NAME, or KIND/NAME.
    #[arg(long, value_name = "ROLE")]
    pub role: Option<String>,
}

/// The flags that select requests by user, eligibility and role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct Filter {
    /// Only requests of this user.
    #[arg(long, value_name = "USER")]
    pub of_user: Option<String>,
    #[command(flatten)]
    what: For,
}

impl From<For> for Filter {
    fn from(what: For) -> Self {
        Self { of_user: None, what }
    }
}

/// The requests to list, before the filter.
#[derive(Clone, Copy, Debug)]
pub struct Listed<'a> {
    /// The namespaces.
    pub scope: &'a Scope,
    /// A field selector.
    pub fields: &'a str,
    /// A label selector.
    pub labels: &'a str,
    /// Only requests of the current user.
    pub mine: bool,
    /// The noun for messages, for example `active or pending request`.
    pub called: &'a str,
}

/// The result.
#[derive(Debug)]
pub struct Found {
    /// The requests, newest first.
    pub requests: Vec<RoleActivationRequest>,
    /// The error of a filter that selects nothing.
    pub unmatched: Option<Problem>,
}

impl Filter {
    /// True if no filter is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Lists the requests that match the filter and `kept`.
    ///
    /// # Errors
    ///
    /// The name of an eligibility is not valid, or the requests cannot be listed.
    pub async fn requests(
        &self,
        session: &Session,
        listed: Listed<'_>,
        kept: impl Fn(&RoleActivationRequest) -> bool,
    ) -> Result<Found, Problem> {
        let under = match &self.what.eligibility {
            Some(name) => {
                valid_name("eligibility", name)?;
                selectors::under_eligibility(name)
            }
            None => String::new(),
        };
        // A request has no role before the operator has processed it; its eligibility has one.
        let roles = match &self.what.role {
            Some(_) => session.eligibilities().await.unwrap_or_default(),
            None => Vec::new(),
        };
        let roles = roles.into_iter().map(|one| (one.name_any(), one.spec.role_ref)).collect();
        let fields = [listed.fields, &under].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(",");
        let mut requests = list(session, Listed { fields: &fields, ..listed }).await?;
        requests.retain(|request| kept(request) && self.selects(request, &roles));
        if !requests.is_empty() || self.is_empty() {
            return Ok(Found { requests, unmatched: None });
        }
        let mut all = list(session, listed).await?;
        all.retain(kept);
        Ok(Found { requests, unmatched: Some(Problem::Absent(self.unmatched(&listed, &all, &roles))) })
    }

    /// True for a request of the audit log that the filter selects. It has the role that was granted.
    #[must_use]
    pub fn selects_recorded(&self, request: &RoleActivationRequest) -> bool {
        self.selects(request, &BTreeMap::new())
    }

    fn selects(&self, request: &RoleActivationRequest, roles: &BTreeMap<String, RoleRef>) -> bool {
        let For { eligibility, role } = &self.what;
        self.of_user.as_deref().is_none_or(|user| requester(request) == user)
            && eligibility.as_deref().is_none_or(|name| request.spec.eligibility_ref.name == name)
            && role.as_deref().is_none_or(|wanted| is_role(wanted, request, roles))
    }

    /// Description of the filter.
    fn description(&self) -> String {
        let parts = [
            self.of_user.as_ref().map(|user| format!(" of user '{user}'")),
            self.what.eligibility.as_ref().map(|name| format!(" under eligibility '{name}'")),
            self.what.role.as_ref().map(|role| format!(" for role '{role}'")),
        ];
        parts.into_iter().flatten().collect()
    }

    /// The error of a filter that selects none of `all`.
    fn unmatched(&self, listed: &Listed<'_>, all: &[RoleActivationRequest], roles: &BTreeMap<String, RoleRef>) -> String {
        let Listed { called, scope, .. } = listed;
        let place = scope.description();
        let none = format!("no {called}{}{place}", self.description());
        if all.is_empty() {
            return format!("{none}; there is no {called} at all");
        }
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for request in all {
            *counts.entry(self.named(request, roles)).or_default() += 1;
        }
        let given = [&self.of_user, &self.what.eligibility, &self.what.role];
        let given: Vec<String> = given.into_iter().flatten().map(|text| text.to_lowercase()).collect();
        let near = |value: &str| given.iter().any(|given| value.to_lowercase().contains(given.as_str()));
        let mut values: Vec<(String, usize)> = counts.into_iter().collect();
        values.sort_by_key(|(value, count)| (!near(value), std::cmp::Reverse(*count), value.clone()));
        let named = words::first(values.iter().map(|(value, count)| format!("{value} ({count})")), NAMED);
        format!("{none}; there are: {named}{}", self.hint(all, roles))
    }

    /// The values of a request for the fields of the filter.
    fn named(&self, request: &RoleActivationRequest, roles: &BTreeMap<String, RoleRef>) -> String {
        let parts = [
            self.of_user.as_ref().map(|_| requester(request).to_owned()),
            self.what.eligibility.as_ref().map(|_| request.spec.eligibility_ref.name.clone()),
            self.what.role.as_ref().map(|_| role_of(request, roles).map_or_else(|| "unknown".to_owned(), |(_, name)| name)),
        ];
        parts.into_iter().flatten().map(|part| format!("'{part}'")).collect::<Vec<_>>().join(" ")
    }

    /// Suggests the other flag if the name belongs to it.
    fn hint(&self, all: &[RoleActivationRequest], roles: &BTreeMap<String, RoleRef>) -> String {
        let For { eligibility, role } = &self.what;
        match (eligibility, role) {
            (None, Some(role)) if all.iter().any(|request| request.spec.eligibility_ref.name == *role) => {
                format!("; '{role}' is an eligibility: --eligibility {role}")
            }
            (Some(name), None) if all.iter().any(|request| is_role(name, request, roles)) => {
                format!("; '{name}' is a role: --role {name}")
            }
            _ => String::new(),
        }
    }
}

async fn list(session: &Session, listed: Listed<'_>) -> Result<Vec<RoleActivationRequest>, Problem> {
    let Listed { scope, fields, labels, mine, .. } = listed;
    if mine { session.my_requests_with(scope, fields, labels).await } else { session.requests_with(scope, fields, labels).await }
}

/// Kind and name of a request's role.
fn role_of(request: &RoleActivationRequest, roles: &BTreeMap<String, RoleRef>) -> Option<(String, String)> {
    let known = request.status.as_ref().and_then(|status| status.role.as_ref()).filter(|role| !role.name.is_empty());
    match known {
        Some(role) => Some((role.kind.map(|kind| kind.to_string()).unwrap_or_default(), role.name.clone())),
        None => roles.get(&request.spec.eligibility_ref.name).map(|role| (role.kind.to_string(), role.name.clone())),
    }
}

fn is_role(wanted: &str, request: &RoleActivationRequest, roles: &BTreeMap<String, RoleRef>) -> bool {
    role_of(request, roles).is_some_and(|(kind, name)| wanted == name || wanted == format!("{kind}/{name}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(user: &str, eligibility: &str, role: Option<&str>) -> RoleActivationRequest {
        let status = role.map(|name| json!({"role": {"kind": "ClusterRole", "name": name}}));
        serde_json::from_value(json!({
            "apiVersion": "jitrbac.dev/v1alpha1", "kind": "RoleActivationRequest", "metadata": {"name": "x", "namespace": "shop"},
            "spec": {"eligibilityRef": {"name": eligibility}, "requester": {"username": user}}, "status": status,
        }))
        .unwrap()
    }

    fn filter(of_user: Option<&str>, eligibility: Option<&str>, role: Option<&str>) -> Filter {
        let owned = |text: Option<&str>| text.map(ToOwned::to_owned);
        Filter { of_user: owned(of_user), what: For { eligibility: owned(eligibility), role: owned(role) } }
    }

    fn said(filter: &Filter, all: &[RoleActivationRequest], roles: &BTreeMap<String, RoleRef>) -> String {
        let listed = Listed { scope: &Scope::All, fields: "", labels: "", mine: false, called: "active or pending request" };
        filter.unmatched(&listed, all, roles)
    }

    #[test]
    fn f25_a_role_is_what_the_column_shows_and_an_eligibility_is_another_thing() {
        let roles: BTreeMap<String, RoleRef> =
            [("pay".to_owned(), serde_json::from_value(json!({"kind": "Role", "name": "edit"})).unwrap())].into();
        let (seen, unseen) = (request("dev", "payments-edit", Some("edit")), request("dev", "pay", None));
        for (role, selects) in
            [("edit", [true, true]), ("ClusterRole/edit", [true, false]), ("Role/edit", [false, true]), ("pay", [false; 2])]
        {
            let filter = filter(None, None, Some(role));
            assert_eq!([&seen, &unseen].map(|request| filter.selects(request, &roles)), selects, "{role}");
        }
        assert!(filter(None, Some("payments-edit"), None).selects(&seen, &roles));
        assert!(
            !filter(None, Some("edit"), None).selects(&seen, &roles) && !filter(Some("Dev"), None, Some("edit")).selects(&seen, &roles)
        );
    }

    #[test]
    fn f25_a_filter_that_selects_nothing_says_what_there_is() {
        let roles = BTreeMap::new();
        let all = [request("dev", "pay", Some("edit")), request("dev", "pay", Some("edit")), request("ann", "see", Some("view"))];
        for (filter, sentence) in [
            (filter(None, None, Some("edti")), "for role 'edti'; there are: 'edit' (2), 'view' (1)"),
            (filter(Some("Ann"), None, None), "of user 'Ann'; there are: 'ann' (1), 'dev' (2)"),
            (
                filter(None, None, Some("pay")),
                "for role 'pay'; there are: 'edit' (2), 'view' (1); 'pay' is an eligibility: --eligibility pay",
            ),
            (filter(None, Some("edit"), None), "under eligibility 'edit'; there are: 'pay' (2), 'see' (1); 'edit' is a role: --role edit"),
            (filter(Some("ann"), None, Some("edit")), "of user 'ann' for role 'edit'; there are: 'dev' 'edit' (2), 'ann' 'view' (1)"),
        ] {
            assert_eq!(said(&filter, &all, &roles), format!("no active or pending request {sentence}"));
        }
        let nothing = said(&filter(Some("x"), None, None), &[], &roles);
        assert_eq!(nothing, "no active or pending request of user 'x'; there is no active or pending request at all");
        let many: Vec<RoleActivationRequest> = (0..20).map(|i| request(&format!("user-{i}"), "pay", None)).collect();
        assert!(said(&filter(Some("x"), None, None), &many, &roles).ends_with("(1), and 12 more"));
    }
}
