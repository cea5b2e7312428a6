//! Years of completed requests, written into the store in the form in which the API server stores them.
//!
//! Creating a hundred thousand of them through the API takes most of an hour. Each is a copy of a request that the product has completed,
//! under another name and UID, written to etcd directly. The API server and all watchers observe them like any others.

use api::{RoleActivationRequest, instant::stamp};
use axum::body::{Body, to_bytes};
use base64::{Engine, prelude::BASE64_STANDARD};
use http::{Method, Request, header::CONTENT_TYPE};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use kube::Api;
use serde_json::{Value, json};

use crate::{
    Failure,
    cluster_fixture::ClusterFixture,
    places::{NAMESPACES, PEOPLE, namespace, person},
    product,
};

/// Writes of one transaction: the maximum that etcd accepts.
const TOGETHER: usize = 100;
/// The API server's etcd prefix of the product's requests.
const PREFIX: &str = "/registry/jitrbac.dev/roleactivationrequests";

/// Adds this many completed requests, of all users in all namespaces.
pub async fn add(fixture: &ClusterFixture, times: usize) -> Result<(), Failure> {
    let template = completed(fixture).await?;
    let etcd = Etcd { address: fixture.plane.etcd_address(), client: Client::builder(TokioExecutor::new()).build_http() };
    let numbers: Vec<usize> = (0..times).collect();
    for together in numbers.chunks(TOGETHER) {
        let puts: Vec<Value> = together.iter().map(|number| put(&template, *number)).collect();
        etcd.write(&json!({ "success": puts })).await?;
    }
    let api: Api<RoleActivationRequest> = Api::all(fixture.admin.clone());
    let observed = async || {
        let list = api.list_metadata(&kube::api::ListParams::default().limit(1)).await.ok()?;
        let there = usize::try_from(list.metadata.remaining_item_count.unwrap_or_default()).ok()?;
        (there + 1 >= times).then_some(())
    };
    Ok(control_plane::wait_for("the completed requests to be served", std::time::Duration::from_mins(2), observed).await?)
}

/// A request that the product has completed, as it is stored.
async fn completed(fixture: &ClusterFixture) -> Result<Value, Failure> {
    let name = product::pass(fixture, 1).await?.pop().ok_or("nothing has passed")?;
    let api: Api<RoleActivationRequest> = Api::all(fixture.admin.clone());
    let found = api.list(&kube::api::ListParams::default().fields(&format!("metadata.name={name}"))).await?;
    let mut stored = serde_json::to_value(found.items.first().ok_or("it is gone")?)?;
    if let Some(metadata) = stored.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("resourceVersion");
    }
    Ok(stored)
}

#[expect(clippy::indexing_slicing, reason = "a JSON object takes any key")]
fn put(template: &Value, number: usize) -> Value {
    let (who, namespace) = (person(number % PEOPLE), namespace(number / PEOPLE % NAMESPACES));
    let name = format!("{who}-past-{number}");
    let mut object = template.clone();
    object["metadata"]["name"] = json!(name);
    object["metadata"]["namespace"] = json!(namespace);
    object["metadata"]["uid"] = json!(format!("00000000-0000-4000-8000-{number:012x}"));
    object["spec"]["requester"]["username"] = json!(who);
    object["spec"]["requester"]["uid"] = json!(format!("u-{who}"));
    // Ended a day ago, so that no cooldown applies.
    object["status"]["endedAt"] = json!(stamp(jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24)));
    let encode = |text: String| BASE64_STANDARD.encode(text);
    json!({"requestPut": {"key": encode(format!("{PREFIX}/{namespace}/{name}")), "value": encode(object.to_string() + "\n")}})
}

/// etcd's JSON gateway.
struct Etcd {
    address: String,
    client: Client<hyper_util::client::legacy::connect::HttpConnector, Body>,
}

impl Etcd {
    async fn write(&self, transaction: &Value) -> Result<(), Failure> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}/v3/kv/txn", self.address))
            .header(CONTENT_TYPE, "application/json")
            .body(Body::from(transaction.to_string()))?;
        let response = self.client.request(request).await?;
        let status = response.status();
        let said = to_bytes(Body::new(response.into_body()), 1 << 20).await?;
        if status.is_success() { Ok(()) } else { Err(format!("etcd returned {status}: {}", String::from_utf8_lossy(&said)).into()) }
    }
}
