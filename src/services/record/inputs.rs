//! What an event rests on.

use std::sync::Arc;

use api::{
    ActivationDecision, ApprovalPolicy, RoleActivationRequest, RoleEligibility,
    eligibility::{RoleKind, RoleRef},
    names, selectors,
    stored::MAX_RULES,
};
use domain::audit::{
    input::Input,
    leaf::{Inputs, Reference},
};
use k8s_openapi::api::{
    core::v1::Namespace,
    rbac::v1::{ClusterRole, Role},
};
use kube::{Api, Resource, api::ListParams, core::DeserializeGuard};
use kube_io::call::{ReadError, read};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    context::Context,
    outbox::{Outbox, Versions},
};

/// The most decisions on one request. Admission stores 64.
const MOST_DECISIONS: u32 = 200;

/// Inputs, and how an event names them.
#[derive(Clone, Debug, Default)]
pub struct Gathered {
    /// How the event names them.
    pub inputs: Inputs,
    /// Their content.
    pub content: Vec<Input>,
}

/// An object that was looked up.
enum Found<T> {
    There(Arc<T>),
    Deleting,
    Absent,
}

impl Context {
    /// Reads what the events of a request rest on. The first result is what the API server has now. The others have the versions of
    /// eligibility and policy that were observed before: another user may have changed them since the event.
    pub(super) async fn request_inputs(&self, request: &RoleActivationRequest, outbox: &Outbox) -> Result<Vec<Gathered>, ReadError> {
        let namespace = request.metadata.namespace.as_deref().unwrap_or_default();
        let name = &request.spec.eligibility_ref.name;
        let mut common = Gathered::default();
        common.settings(&self.settings.operator);
        common.inputs.request = common.hash(Input::request(request));
        for decision in self.decisions(request).await? {
            let Reference::Hash(hash) = common.hash(Input::decision(&decision)) else { continue };
            common.inputs.decisions.push(hash);
        }
        common.inputs.namespace = match self.get::<Namespace>(Api::all(self.client.clone()), namespace).await? {
            Found::There(namespace) => common.hash(Input::namespace(&namespace.metadata)),
            other => other.reference(),
        };
        if let Some(base) = request.spec.base() {
            let base = self.get::<RoleActivationRequest>(Api::namespaced(self.client.clone(), namespace), base).await?;
            common.inputs.base = Some(match base {
                Found::There(base) => common.hash(Input::request(&base)),
                other => other.reference(),
            });
        }
        let now: Found<RoleEligibility> = self.get(Api::all(self.client.clone()), name).await?;
        let mut all = Vec::new();
        for eligibility in candidates(now, outbox.eligibility(name), |object| object.metadata.resource_version.clone()) {
            let mut gathered = common.clone();
            gathered.inputs.eligibility = match &eligibility {
                Found::There(eligibility) => gathered.hash(Input::eligibility(eligibility)),
                other => other.reference(),
            };
            let Found::There(eligibility) = eligibility else {
                all.push(gathered);
                continue;
            };
            gathered.inputs.role = match self.role(&eligibility.spec.role_ref, namespace).await? {
                (Some(role), _) => gathered.hash(role),
                (None, reference) => reference,
            };
            let policy = &eligibility.spec.policy_ref.name;
            let now: Found<ApprovalPolicy> = self.get(Api::all(self.client.clone()), policy).await?;
            for policy in candidates(now, outbox.policy(policy), |object| object.metadata.resource_version.clone()) {
                let mut gathered = gathered.clone();
                gathered.inputs.policy = match &policy {
                    Found::There(policy) => gathered.hash(Input::policy(policy)),
                    other => other.reference(),
                };
                all.push(gathered);
            }
        }
        Ok(all)
    }

    async fn decisions(&self, request: &RoleActivationRequest) -> Result<Vec<ActivationDecision>, ReadError> {
        let (meta, name) = (&request.metadata, request.metadata.name.as_deref().unwrap_or_default());
        let api: Api<DeserializeGuard<ActivationDecision>> =
            Api::namespaced(self.client.clone(), meta.namespace.as_deref().unwrap_or_default());
        let params = ListParams::default().fields(&selectors::on_request(name)).limit(MOST_DECISIONS);
        let list = read(|| format!("the decisions on '{name}'"), api.list(&params)).await?;
        let mut found: Vec<ActivationDecision> = list.items.into_iter().filter_map(|guard| guard.0.ok()).collect();
        found.retain(|decision| decision.spec.request_ref.uid == meta.uid);
        found.sort_by(|a, b| (&a.metadata.creation_timestamp, &a.metadata.uid).cmp(&(&b.metadata.creation_timestamp, &b.metadata.uid)));
        Ok(found)
    }

    async fn get<K>(&self, api: Api<K>, name: &str) -> Result<Found<K>, ReadError>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        if !names::is_object_name(name) {
            return Ok(Found::Absent);
        }
        let found = read(|| format!("{} '{name}'", K::kind(&())), api.get_opt(name)).await?;
        Ok(match found {
            Some(object) if object.meta().deletion_timestamp.is_some() => Found::Deleting,
            Some(object) => Found::There(Arc::new(object)),
            None => Found::Absent,
        })
    }

    async fn role(&self, role: &RoleRef, namespace: &str) -> Result<(Option<Input>, Reference), ReadError> {
        if !names::is_role_name(&role.name) {
            return Ok((None, Reference::Absent));
        }
        let found = match role.kind {
            RoleKind::ClusterRole => {
                let api: Api<ClusterRole> = Api::all(self.client.clone());
                let found = read(|| format!("ClusterRole '{}'", role.name), api.get_opt(&role.name)).await?;
                found.map(|role| (role.metadata, role.rules))
            }
            RoleKind::Role => {
                let api: Api<Role> = Api::namespaced(self.client.clone(), namespace);
                let found = read(|| format!("Role '{}'", role.name), api.get_opt(&role.name)).await?;
                found.map(|role| (role.metadata, role.rules))
            }
        };
        let Some((meta, rules)) = found else { return Ok((None, Reference::Absent)) };
        if meta.deletion_timestamp.is_some() {
            return Ok((None, Reference::Deleting));
        }
        let rules = serde_json::to_value(rules.unwrap_or_default()).unwrap_or(Value::Null);
        // Nothing is granted for larger ones.
        if rules.to_string().len() > MAX_RULES {
            return Ok((None, Reference::Unknown));
        }
        Ok((Some(Input::role(role.kind, &meta, &rules)), Reference::Unknown))
    }
}

impl Gathered {
    /// Names the settings.
    pub fn settings(&mut self, settings: &Input) {
        self.inputs.settings = self.hash(settings.clone());
    }

    /// Names an input.
    pub fn hash(&mut self, input: Input) -> Reference {
        let reference = Reference::Hash(input.hash.clone());
        self.content.push(input);
        reference
    }
}

impl<T> Found<T> {
    const fn reference(&self) -> Reference {
        match self {
            Self::Absent => Reference::Absent,
            Self::Deleting => Reference::Deleting,
            Self::There(_) => Reference::Unknown,
        }
    }
}

/// Returns what there is now, and other versions that were observed.
fn candidates<T>(now: Found<T>, observed: Versions<T>, version: impl Fn(&T) -> Option<String>) -> Vec<Found<T>> {
    let present = match &now {
        Found::There(object) => version(object),
        _ => None,
    };
    let others = [observed.now, observed.before].into_iter().flatten().filter(|other| version(other) != present);
    let others: Vec<Found<T>> = others.map(Found::There).collect();
    [now].into_iter().chain(others).collect()
}
