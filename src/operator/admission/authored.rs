//! The validating webhook for the kinds that admins write: eligibilities and policies.
//!
//! An object that is invalid by itself, or together with existing objects, is denied. A missing object only causes a warning: a chart or a
//! repository applies policy, role and eligibility in any order, and nothing is granted before all of them exist.

use std::collections::HashSet;

use k8s_openapi::api::authorization::v1::SubjectAccessReviewSpec;
use kube::{ResourceExt, core::DynamicObject};

use super::{
    answer::Answer,
    author::stamped,
    handler::{AdmissionHandler, Write},
    stamp::Chosen,
};
use crate::gather::caches::{Policy, Source};
use api::{
    ApprovalPolicy, Reason, RoleEligibility, RoleEligibilitySpec, Stamp,
    eligibility::{RoleKind, RoleRef},
    names,
};
use domain::{
    Lookup, Object, Refusal, RoleFacts, acting, author,
    author_check::AuthorCheck,
    convert::{self, attributes},
    duration, eligibility, emergency, namespace, policy, risks,
    usable::{Check, Input, failures, usable},
};
use kube_io::{
    access::{Access, ask},
    cache::Key,
    call::ReadError,
};

/// Most eligibilities that a warning about a policy lists.
const MAX_NAMED: usize = 4;
/// Most listed eligibilities with durations that a policy does not allow.
const LASTING_NAMED: usize = 3;

impl AdmissionHandler {
    /// Reviews an eligibility. It is accepted when its spec is valid, its policy allows it, and both the operator and its author may bind
    /// its role. For a suspended eligibility only the author check denies, and other failures are warnings. A suspension must not be denied
    /// because of what a policy, a role or the chart's values have become since. Ending the suspension changes the spec, and every check
    /// applies.
    pub(super) async fn review_eligibility(&self, write: &Write<'_>) -> Result<Answer, Answer> {
        let kept = write.kept_spec().is_some();
        if kept && !adds_finalizers(write) {
            return Ok(Answer::allowed());
        }
        let stored: RoleEligibility = write.typed()?;
        let object = convert::object(&stored.metadata, stored.spec);
        if kept {
            return as_for_the_spec(FINALIZER, self.author_of_eligibility(write, &object, None).await);
        }
        let stamp = authored_by(write)?;
        match self.check_eligibility(write, &object, &stamp).await {
            Err(Answer::Refused(refusal)) if object.spec.suspended => {
                self.author_of_eligibility(write, &object, Some(&stamp)).await?;
                Ok(Answer::warned([format!("once it is no longer suspended, it cannot be used: {refusal}")]))
            }
            checked => checked,
        }
    }

    async fn check_eligibility(
        &self,
        write: &Write<'_>,
        object: &Object<RoleEligibilitySpec>,
        stamp: &AuthorCheck,
    ) -> Result<Answer, Answer> {
        let spec = &object.spec;
        let input = Input::new(object, &self.settings);
        usable(&input).map_err(|failed| failed.refusal)?;
        self.operator_may_bind(&spec.role_ref).await?;
        self.author_of_eligibility(write, object, Some(stamp)).await?;
        let mut found = self.caches.policy(&spec.policy_ref.name, Source::Cache).await?;
        if found.found().is_none() || under(input, &found).is_err() {
            found = self.caches.policy(&spec.policy_ref.name, Source::Server).await?;
        }
        under(input, &found)?;
        self.risks(input).await?;
        let role = self.missing_role(&spec.role_ref).await?;
        let reach = spec.namespaces.selector.as_ref().and_then(|selector| namespace::reach_warning(selector, &self.settings));
        let lasting = found.found().and_then(|found| duration::warning(object, found));
        Ok(Answer::warned(self.policy_warning(&spec.policy_ref.name, &found).into_iter().chain(role).chain(reach).chain(lasting)))
    }

    /// Reviews a policy. It is accepted when its spec is valid and its author may bind every role that is activated under it. The author
    /// gets warnings about eligibilities that it makes unusable.
    pub(super) async fn review_policy(&self, write: &Write<'_>) -> Result<Answer, Answer> {
        let settles = !newly_settled(write).is_empty();
        if settles {
            self.settles_for_others(write)?;
        }
        if write.kept_spec().is_some() {
            let name = write.object.metadata.name.as_deref().unwrap_or_default();
            let what = match (adds_finalizers(write), settles) {
                (false, false) => return Ok(Answer::allowed()),
                (true, _) => FINALIZER.to_owned(),
                (false, true) => settling(),
            };
            return as_for_the_spec(&what, self.author_of_policy(write, name, 0, None).await);
        }
        let stored: ApprovalPolicy = write.typed()?;
        let stamp = authored_by(write)?;
        policy::check(&stored.spec, &self.settings)?;
        let object = convert::object(&stored.metadata, stored.spec);
        self.author_of_policy(write, &object.name, object.generation, Some(&stamp)).await?;
        let mut lasting = Vec::new();
        let mut broken = self.caches.eligibilities.pick(|_, found| {
            let eligibility = found.found().filter(|eligibility| eligibility.spec.policy_ref.name == object.name)?;
            let name = &eligibility.name;
            let Err(refusal) = policy::check_eligibility(eligibility, &object) else {
                lasting.extend(duration::warning(eligibility, &object).map(|warning| format!("eligibility '{name}': {warning}")));
                return None;
            };
            Some((name.clone(), format!("eligibility '{name}' cannot be used under this policy any more: {refusal}")))
        });
        lasting.sort_unstable();
        lasting.truncate(LASTING_NAMED);
        broken.sort_unstable();
        let more = broken.len().saturating_sub(MAX_NAMED);
        let named = broken.into_iter().take(MAX_NAMED).map(|(_, warning)| warning);
        let more = (more > 0).then(|| format!("{more} more eligibilities cannot be used under this policy any more"));
        let machines = acting::warnings(&object.spec).into_iter().take(MAX_NAMED - 2);
        Ok(Answer::warned(machines.chain(named).chain(more).chain(lasting)))
    }

    /// Denies users who settle their own review.
    fn settles_for_others(&self, write: &Write<'_>) -> Result<(), Answer> {
        let stored: ApprovalPolicy = write.typed()?;
        let listed = stored.status.map(|status| status.reviews_owed).unwrap_or_default();
        // The identity must be known: the user may owe the review.
        let who: Stamp = serde_json::from_value(Chosen::of(&write.asked.user_info).stamp())
            .map_err(|error| Answer::Malformed(format!("your user cannot be recorded: {error}")))?;
        emergency::check_settling(&who, &listed, &newly_settled(write), &self.settings.identities).map_err(Answer::from)
    }

    fn policy_warning(&self, name: &str, found: &Policy) -> Option<String> {
        let nothing = "nothing can be activated until then";
        match found {
            Lookup::Found(found) => {
                let refusal = policy::check(&found.spec, &self.settings).err()?;
                Some(format!("policy '{name}' cannot be used: {refusal}"))
            }
            Lookup::Absent => Some(format!("{}: policy '{name}' does not exist yet; {nothing}", Reason::PolicyNotFound)),
            Lookup::Deleting(deletion) => {
                Some(format!("{}: policy '{name}' {deletion}; nothing can be activated until it is created again", Reason::PolicyNotFound))
            }
            Lookup::Unreadable(why) => Some(format!("policy '{name}' must be written again, it cannot be read: {why}; {nothing}")),
        }
    }

    /// Denies a role with a risk that outlives a grant and is not accepted (T18). A Role is checked in every namespace in which it can be
    /// activated.
    async fn risks(&self, input: Input<'_>) -> Result<(), Answer> {
        let spec = &input.eligibility.spec;
        let role = &spec.role_ref;
        if role.kind == RoleKind::ClusterRole {
            let found = self.caches.role(role, "", Source::Cache).await?;
            return Ok(apart_from(&Input { role: Some(&found), ..input }, &[Check::RoleFound])?);
        }
        let mut outcome = Ok(());
        let check = |namespace: &str, found: &RoleFacts| {
            let covered =
                self.caches.namespaces.get(&Key::cluster(namespace)).is_some_and(|facts| namespace::covers(spec, namespace, &facts));
            if covered && outcome.is_ok() {
                let refusal = |refusal: Refusal| Refusal::new(refusal.reason, format!("in namespace '{namespace}' {}", refusal.message));
                outcome = risks::check(role, &found.rules, &spec.accept_risks).map_err(refusal);
            }
        };
        self.caches.roles_named(&role.name, check).await?;
        Ok(outcome?)
    }

    /// Returns a warning about a `ClusterRole` that does not exist. A Role may exist in some of the namespaces and not in others.
    async fn missing_role(&self, role: &RoleRef) -> Result<Option<String>, ReadError> {
        if role.kind == RoleKind::Role {
            return Ok(None);
        }
        let why = match self.caches.role(role, "", Source::Cache).await? {
            Lookup::Found(_) => return Ok(None),
            Lookup::Absent | Lookup::Unreadable(_) => "does not exist yet; nothing can be activated until then".to_owned(),
            Lookup::Deleting(deletion) => format!("{deletion}; nothing can be activated until it is created again"),
        };
        Ok(Some(format!("{}: {} '{}' {why}", Reason::RoleNotFound, role.kind, role.name)))
    }

    /// Denies a role that the operator may not bind (T25). The API server decides, since the chart's list is rendered as RBAC rules.
    async fn operator_may_bind(&self, role: &RoleRef) -> Result<(), Answer> {
        let what = || format!("whether jit-rbac may bind {} '{}'", role.kind, role.name);
        match ask(&self.client, what, may_bind(&self.operator, &self.settings.operator_namespace, role)).await? {
            Access::Yes => Ok(()),
            Access::No => Err(eligibility::not_bindable(role).into()),
            Access::Unclear(error) => Err(Answer::unclear(&what(), &error)),
        }
    }
}

/// Checks what the policy requires. A missing or invalid policy is only a warning: objects are applied in any order.
fn under(input: Input<'_>, policy: &Policy) -> Result<(), Refusal> {
    apart_from(&Input { policy: Some(policy), ..input }, &[Check::PolicyFound, Check::PolicyWritten])
}

/// Makes all checks but these, and returns the refusal of the first one that fails.
fn apart_from(input: &Input<'_>, without: &[Check]) -> Result<(), Refusal> {
    failures(input).find(|failed| !without.contains(&failed.check)).map_or(Ok(()), |failed| Err(failed.refusal))
}

/// Returns the access review of whether the operator may bind a role in every namespace.
fn may_bind(operator: &str, operator_namespace: &str, role: &RoleRef) -> SubjectAccessReviewSpec {
    let groups =
        ["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{operator_namespace}"), "system:authenticated".to_owned()];
    SubjectAccessReviewSpec {
        user: Some(operator.to_owned()),
        groups: Some(groups.to_vec()),
        resource_attributes: Some(attributes(&author::bind(role, None))),
        ..SubjectAccessReviewSpec::default()
    }
}

/// True for a write that adds a finalizer. A finalizer keeps an object stored after its deletion, so it requires the same right as the spec
/// (T28).
fn adds_finalizers(write: &Write<'_>) -> bool {
    let before: HashSet<&String> = write.old.iter().flat_map(|old| old.metadata.finalizers.iter().flatten()).collect();
    write.object.metadata.finalizers.iter().flatten().any(|finalizer| !before.contains(finalizer))
}

/// Returns the UIDs that a change of a policy adds to its annotation of settled reviews. A new policy has none.
fn newly_settled<'w>(write: &Write<'w>) -> Vec<&'w str> {
    let Some(old) = write.old else { return Vec::new() };
    let listed = |object: &'w DynamicObject| {
        emergency::settled_uids(object.annotations().get(names::SETTLED_REVIEWS).map(String::as_str)).collect::<HashSet<_>>()
    };
    listed(write.object).difference(&listed(old)).copied().collect()
}

/// A change outside the spec that requires the same right as the spec.
const FINALIZER: &str = "a finalizer requires the same permission as the spec (metadata.finalizers)";

fn settling() -> String {
    format!("settling a review requires the same permission as the spec (annotation {})", names::SETTLED_REVIEWS)
}

/// Returns the response to such a write, from that of the author check.
fn as_for_the_spec(what: &str, checked: Result<(), Answer>) -> Result<Answer, Answer> {
    checked.map(|()| Answer::allowed()).map_err(|denied| match denied {
        Answer::Refused(Refusal { reason, message }) => Refusal::new(reason, format!("{what}: {message}")).into(),
        other => other,
    })
}

/// Returns the stamped basis of the author check. It is refused unless the recorded author is the writing user: a later webhook overwrote
/// it (T1).
fn authored_by(write: &Write<'_>) -> Result<AuthorCheck, Refusal> {
    let author = write.object.annotations().get(names::AUTHOR).map_or("", String::as_str);
    if author == write.username() && !author.is_empty() {
        return stamped(write.object);
    }
    Err(Refusal::new(
        Reason::UserInfoMissing,
        format!("the annotation {} is '{author}', but you are '{}'; omit it, it is set automatically", names::AUTHOR, write.username()),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t25_the_question_is_about_the_controller_in_all_namespaces() {
        let role = RoleRef { kind: RoleKind::ClusterRole, name: "edit".to_owned() };
        let spec = may_bind("system:serviceaccount:jit-system:jit-rbac-controller", "jit-system", &role);
        assert_eq!(spec.groups.unwrap(), ["system:serviceaccounts", "system:serviceaccounts:jit-system", "system:authenticated"]);
        let attributes = spec.resource_attributes.unwrap();
        assert_eq!(
            (attributes.verb.as_deref(), attributes.resource.as_deref(), attributes.name.as_deref()),
            (Some("bind"), Some("clusterroles"), Some("edit"))
        );
        assert_eq!(attributes.namespace, None);
    }
}
