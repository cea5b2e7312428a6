//! The eligibilities that refer to a policy, from the API server, because a cache may lack a recent one.

use kube::{
    Api, Client, ResourceExt,
    api::ListParams,
    core::{ApiResource, DynamicObject},
};
use serde::Deserialize;
use serde_json::Value;

use api::{
    RoleEligibility,
    eligibility::{Namespaces, RoleRef},
};
use domain::author::{Offer, Offers};
use kube_io::call::{ReadError, read};

/// The part of a spec that matters. The rest may follow another version of the schema, which must not hide an eligibility.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Scope {
    role_ref: RoleRef,
    namespaces: Namespaces,
}

/// Lists the eligibilities that refer to `policy`.
pub async fn under(client: &Client, policy: &str) -> Result<Offers, ReadError> {
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::erase::<RoleEligibility>(&()));
    let all = read(|| format!("the eligibilities under policy '{policy}'"), api.list(&ListParams::default())).await?;
    let mut offers = Offers::default();
    for stored in all {
        let spec = stored.data.get("spec").cloned().unwrap_or_default();
        if spec.pointer("/policyRef/name").and_then(Value::as_str) != Some(policy) {
            continue;
        }
        let eligibility = stored.name_any();
        match serde_json::from_value::<Scope>(spec) {
            Ok(Scope { role_ref, namespaces }) => offers.readable.push(Offer { eligibility, role: role_ref, namespaces }),
            Err(_) => offers.unreadable.push(eligibility),
        }
    }
    Ok(offers)
}
