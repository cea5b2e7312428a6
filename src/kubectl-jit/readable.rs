//! The namespaces in which a user may list requests without the permission for the whole cluster, as with the value `requesterBindings:
//! Namespaces` of the chart `jit-access`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::Ordering,
};

use kube::{Api, ResourceExt, api::ListParams};

use super::{commands::roles::is_mine, problem::Problem, read::Scope, session::Session, words};
use api::RoleActivationRequest;
use domain::person;

/// The maximum number of namespaces in a message.
const NAMED: usize = 10;

impl Session {
    /// The namespaces in which the user may list requests, of those of the context or of -n and of the user's eligibilities.
    ///
    /// # Errors
    ///
    /// There is none, or the API server fails.
    pub async fn readable_namespaces(&self) -> Result<&[String], Problem> {
        let found = self.readable.namespaces.get_or_try_init(|| async {
            let candidates = self.candidates().await?;
            let asked = self.each(candidates.clone(), async |name| (self.may_list_in(&name).await, name)).await;
            let mut found = Vec::new();
            for (may, name) in asked {
                if may? {
                    found.push(name);
                }
            }
            if found.is_empty() { Err(Problem::Forbidden(nowhere(&candidates))) } else { Ok(found) }
        });
        found.await.map(Vec::as_slice)
    }

    /// The scope for a watch: the whole cluster only for a user who may list it.
    ///
    /// # Errors
    ///
    /// There is no namespace in which the user may list requests.
    pub async fn narrowed(&self, scope: &Scope) -> Result<Scope, Problem> {
        if *scope != Scope::All {
            return Ok(scope.clone());
        }
        match may_list(&Api::all(self.client.clone())).await {
            Ok(false) => Ok(Scope::In(self.readable_namespaces().await?.to_vec())),
            // The watch itself reports other failures, and retries.
            Ok(true) | Err(_) => Ok(Scope::All),
        }
    }

    /// Reports once the searched namespaces if a list is not of the whole cluster. For requests of others it is a warning, even if quiet: the
    /// user could believe that all access has ended. `mine`: the list has the user's own requests.
    pub fn warn_of_skipped_namespaces(&self, mine: bool) {
        let Some(names) = self.readable.namespaces.get() else { return };
        // Not in a shell prompt or in completion.
        if self.is_noninteractive() || self.readable.is_reported.swap(true, Ordering::Relaxed) {
            return;
        }
        let line = format!(
            "only these namespaces were searched: {}; you may not list roleactivationrequests in the whole cluster",
            words::first(names.iter().cloned(), NAMED)
        );
        if mine { self.screen.info(&line) } else { self.screen.warn(&line) }
    }

    /// The namespaces in which the user may have the permission to list.
    async fn candidates(&self) -> Result<Vec<String>, Problem> {
        let (me, eligibilities, policies) = tokio::join!(self.me(), self.eligibilities(), self.policies());
        let me = me?;
        let eligibilities = match eligibilities {
            Err(Problem::Forbidden(_)) => Vec::new(),
            found => found?,
        };
        // Without the policies only eligibilities of the user are found.
        let policies: BTreeMap<String, _> =
            policies.unwrap_or_default().into_iter().map(|policy| (policy.name_any(), policy.spec)).collect();
        let mut names: BTreeSet<String> = self.namespaces().into_iter().collect();
        for eligibility in eligibilities {
            let decides = policies
                .get(&eligibility.spec.policy_ref.name)
                .is_some_and(|policy| policy.people().any(|people| person::is_listed(&me.stamp, people)));
            if decides || is_mine(me, &eligibility) {
                names.extend(eligibility.spec.namespaces.names);
                names.extend(eligibility.status.and_then(|status| status.namespaces).into_iter().flat_map(|found| found.names));
            }
        }
        Ok(names.into_iter().collect())
    }

    async fn may_list_in(&self, namespace: &str) -> Result<bool, Problem> {
        match self.api(namespace) {
            Ok(api) => may_list(&api).await,
            // An eligibility may list an invalid namespace name.
            Err(_) => Ok(false),
        }
    }
}

async fn may_list(api: &Api<RoleActivationRequest>) -> Result<bool, Problem> {
    let listed = api.list_metadata(&ListParams::default().limit(1)).await;
    match listed.map_err(|error| Problem::of("list requests", &error)) {
        Ok(_) => Ok(true),
        Err(Problem::Forbidden(_)) => Ok(false),
        Err(other) => Err(other),
    }
}

/// The error of a user who may list requests in no namespace.
fn nowhere(candidates: &[String]) -> String {
    format!(
        "you may not list roleactivationrequests, neither in the whole cluster nor in namespace {}; name another namespace with -n, or ask an \
         admin to bind you to ClusterRole 'jit-rbac-requester' (chart jit-access)",
        words::first(candidates.iter().map(|name| format!("'{name}'")), NAMED)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f22_a_message_names_few_namespaces() {
        let names = |count: usize| (0..count).map(|number| format!("ns-{number}")).collect::<Vec<_>>();
        assert!(nowhere(&names(2)).contains("nor in namespace 'ns-0', 'ns-1'; name another"));
        assert!(nowhere(&names(12)).contains("'ns-9', and 2 more; name another"));
    }
}
