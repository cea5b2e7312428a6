//! Helpers that request a grant, change its binding, and wait for its end.

use std::{future::Future, time::Duration};

use control_plane::{ADMIN, wait_for, wait_for_ok};
use jiff::Timestamp;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::{
    Api,
    api::{DynamicObject, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

pub use api::instant::stamp;

use crate::{
    ensure,
    env::{Error, Outcome, SOON, Scene},
};

/// An active grant.
#[derive(Clone, Debug)]
pub struct Granted {
    /// Its request.
    pub request: String,
    /// UID of the request.
    pub uid: String,
    /// Name of its binding.
    pub binding: String,
    /// Its latest end.
    pub deadline: Timestamp,
}

impl Scene {
    /// Applies policies and eligibilities of the scene's name and each of the suffixes, all at once.
    pub async fn offers(&self, suffixes: &[&str], policy: &Value, eligibility: &Value) -> Outcome {
        let objects = suffixes.iter().flat_map(|suffix| {
            let name = self.offered(suffix);
            let mut spec = eligibility.clone();
            spec["policyRef"] = json!({"name": name});
            if spec["namespaces"].is_null() {
                spec["namespaces"] = json!({"names": [self.name]});
            }
            let object = |kind: &str, spec: &Value| json!({"apiVersion": "jitrbac.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec});
            [object("ApprovalPolicy", policy), object("RoleEligibility", &spec)]
        });
        self.admin(&objects.collect::<Vec<_>>()).await
    }

    /// Returns the name of the objects that [`Scene::offers`] wrote for a suffix.
    pub fn offered(&self, suffix: &str) -> String {
        format!("{}-{suffix}", self.name)
    }

    /// Creates an object of the product as a user, without the cost of kubectl, and returns it as stored.
    pub async fn write(&self, user: &str, kind: &str, object: &Value) -> Result<Value, Error> {
        let client = self.fixture.plane.client(user).await?;
        let api = self.api_as(client, kind).ok_or_else(|| format!("there is no API for {kind}"))?;
        let object: DynamicObject = serde_json::from_value(object.clone())?;
        Ok(serde_json::to_value(api.create(&PostParams::default(), &object).await?)?)
    }

    /// The same, with retries until admission allows it: for very many concurrent creates, the webhook may need longer than the API server
    /// waits for it.
    pub async fn let_in(&self, user: &str, kind: &str, object: &Value) -> Result<Value, Error> {
        let what = format!("the {kind} {} of {user} to be admitted", object["metadata"]);
        Ok(wait_for_ok(&what, SOON, async || self.write(user, kind, object).await.map_err(|error| error.to_string())).await?)
    }

    /// Creates a request for the eligibility of a suffix; the suffix is the request's name.
    pub async fn ask(&self, user: &str, suffix: &str, duration: &str) -> Result<Value, Error> {
        self.write(user, "rar", &self.request(suffix, &self.offered(suffix), duration)).await
    }

    /// Creates a request, and waits until it is granted.
    pub async fn granted(&self, user: &str, suffix: &str, duration: &str) -> Result<Granted, Error> {
        self.ask(user, suffix, duration).await?;
        self.running(suffix).await
    }

    /// Waits until a request is granted.
    pub async fn running(&self, request: &str) -> Result<Granted, Error> {
        let status = self.until_state(request, "Active", SOON).await?;
        let stored = self.get("rar", request).await?.unwrap_or_default();
        Ok(Granted {
            request: request.to_owned(),
            uid: text(&stored["metadata"]["uid"]),
            binding: text(&status["bindingRef"]["name"]),
            deadline: time(&status["expiresAt"])?,
        })
    }

    /// Waits until a request is or was granted.
    pub async fn until_granted(&self, request: &str) -> Outcome {
        let what = format!("request {}/{request} to be granted", self.name);
        // A call without a response takes ten seconds, another holder seven, and unrelated requests may share a lock.
        let granted = wait_for_ok(&what, Duration::from_secs(90), async || {
            let status = self.status(request).await.map_err(|error| error.to_string())?;
            if status["grantedAt"].is_null() { Err(status.to_string()) } else { Ok(()) }
        });
        Ok(granted.await?)
    }

    /// Merges a patch into a binding of the scene, as the admin.
    pub async fn patch_binding(&self, name: &str, patch: &Value) -> Result<Value, Error> {
        let api = self.api("rolebinding").ok_or("there are RoleBindings")?;
        let patched = api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(serde_json::to_value(patched)?)
    }

    /// Waits until there is no binding of this name, and returns when that was observed.
    pub async fn until_gone(&self, binding: &str, limit: Duration) -> Result<Timestamp, Error> {
        let what = format!("RoleBinding {}/{binding} to be gone", self.name);
        let gone = wait_for_ok(&what, limit, async || match self.get("rolebinding", binding).await {
            Ok(None) => Ok(Timestamp::now()),
            Ok(Some(found)) => Err(format!("it is {found}")),
            Err(error) => Err(error.to_string()),
        });
        Ok(gone.await?)
    }

    /// Waits until a request is completed.
    pub async fn until_completed(&self, request: &str, limit: Duration) -> Result<Value, Error> {
        let what = format!("request {}/{request} to end", self.name);
        let ended = wait_for(&what, limit, async || {
            let status = self.status(request).await.ok()?;
            (!is_incomplete(&status)).then_some(status)
        });
        match ended.await {
            Ok(status) => Ok(status),
            Err(error) => Err(format!("{error}; its status is {}", self.status(request).await?).into()),
        }
    }

    /// Waits until every request of the scene is completed, and returns them.
    pub async fn until_all_completed(&self, limit: Duration) -> Result<Vec<Value>, Error> {
        let completed = wait_for_ok("all requests to be completed", limit, async || {
            let all = self.list("rar").await.map_err(|error| error.to_string())?;
            let open = all.iter().find(|request| is_incomplete(&request["status"]));
            open.map_or(Ok(all.clone()), |r| Err(format!("{} is {}", r["metadata"]["name"], r["status"]["state"])))
        });
        Ok(completed.await?)
    }

    /// Waits until a request is completed, and verifies its state and reason.
    pub async fn ends_as(&self, request: &str, state: &str, reasons: &[&str], limit: Duration) -> Result<Value, Error> {
        let status = self.until_completed(request, limit).await?;
        ensure!(
            status["state"] == state,
            "{request} ended as {} ({}): {}",
            status["state"],
            status["reason"],
            status["conditions"][0]["message"]
        );
        ensure!(
            reasons.is_empty() || reasons.iter().any(|reason| status["reason"] == *reason),
            "{request} is {state}, and the reason is {}",
            status["reason"]
        );
        Ok(status)
    }

    /// Returns whether a user has a permission in the scene's namespace, without the cost of kubectl.
    pub async fn may(&self, user: &str, verb: &str, group: &str, resource: &str) -> Result<bool, Error> {
        let api: Api<SelfSubjectAccessReview> = Api::all(self.fixture.plane.client(user).await?);
        let attributes = ResourceAttributes {
            namespace: Some(self.name.clone()),
            verb: Some(verb.to_owned()),
            group: Some(group.to_owned()),
            resource: Some(resource.to_owned()),
            ..ResourceAttributes::default()
        };
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..SelfSubjectAccessReviewSpec::default() },
            ..SelfSubjectAccessReview::default()
        };
        let answer = api.create(&PostParams::default(), &review).await?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }

    /// Waits until a user may not, or no longer, create Deployments here; returns when that was observed.
    pub async fn until_shut_out(&self, user: &str, limit: Duration) -> Result<Timestamp, Error> {
        let what = format!("{user} to lose access to {}", self.name);
        let shut = wait_for_ok(&what, limit, async || match self.may(user, "create", "apps", "deployments").await {
            Ok(false) => Ok(Timestamp::now()),
            Ok(true) => Err("dev may still create Deployments".to_owned()),
            Err(error) => Err(error.to_string()),
        });
        Ok(shut.await?)
    }

    /// A managed binding without a request, as a restored backup or a user with a stolen token would create it.
    pub async fn plant(&self, name: &str, labels: &Value, annotations: &Value) -> Outcome {
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": name, "namespace": self.name, "labels": labels, "annotations": annotations},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "outsider"}],
        });
        self.write(ADMIN, "rolebinding", &binding).await.map(|_| ())
    }
}

/// Runs the same for each of several cases concurrently, and returns the results.
pub async fn each<'a, C, T, F>(cases: &'a [C], run: impl Fn(&'a C) -> F) -> Result<Vec<T>, Error>
where
    F: Future<Output = Result<T, Error>> + 'a,
{
    futures::future::try_join_all(cases.iter().map(run)).await
}

/// Returns true for the status of a request that is not completed.
pub fn is_incomplete(status: &Value) -> bool {
    matches!(status["state"].as_str(), None | Some("Pending" | "AwaitingApproval" | "Scheduled" | "Active"))
}

/// Returns a string from JSON.
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Returns a time from JSON.
pub fn time(value: &Value) -> Result<Timestamp, Error> {
    let text = value.as_str().ok_or_else(|| format!("{value} is no time"))?;
    Ok(text.parse()?)
}
