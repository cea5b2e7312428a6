//! The baseline under the product's own policies: a plain client that makes the same writes as an automatic grant, with the identities that
//! the policies require, and decides nothing. Neither the webhook nor the controllers run.

use api::{
    RoleActivationRequest,
    instant::{stamp, whole_seconds},
    names,
};
use control_plane::ADMIN;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::{
    Failure,
    baseline::{DELETIONS, WORKERS, a_second, spread, status},
    cluster_fixture::{ClusterFixture, Setting},
    common::AtOnce,
    figures::{Spread, ms, pace, since},
    places::{PEOPLE, namespace, offer_name, person},
};

/// No figure includes the connections of a hundred users.
const WARM: usize = 100;

/// The figures of a plain client under the policies.
pub struct Guarded {
    /// The creation of a request that already carries its stamp.
    pub create: Spread,
    /// From a binding's creation to its watch event.
    pub latency: Spread,
    /// Grants per second, by the three writes of an automatic one.
    pub rate: f64,
    /// From the deadline to the binding's end, ten per second, including the write of its record.
    pub spread: Spread,
    /// The same with one deadline for all.
    pub at_once: AtOnce,
}

/// Measures it on a control plane of its own.
pub async fn measure(latency: usize, rate: usize, spread_ends: usize, at_once: usize) -> Result<Guarded, Failure> {
    let mut fixture = ClusterFixture::start().await?;
    fixture.install(Setting::default()).await?;
    fixture.stop_the_product().await?;
    let client = PlainClient::new(&fixture).await?;
    for number in 0..WARM {
        client.grant(number, Timestamp::now() + SignedDuration::from_hours(1)).await?;
    }
    let (mut create, mut to_binding, mut next) = (Vec::new(), Vec::new(), pace());
    for number in 0..latency {
        next.tick().await;
        let start = Timestamp::now();
        let request = client.ask(number).await?;
        create.push(since(start));
        let start = Timestamp::now();
        let binding = client.bind(&request, Timestamp::now() + SignedDuration::from_hours(1)).await?;
        to_binding.push(ms(fixture.bindings.comes(&binding).await?.came.duration_since(start)));
    }
    let start = Timestamp::now();
    let all = (0..rate).map(async |number| client.grant(number, Timestamp::now() + SignedDuration::from_hours(1)).await);
    stream::iter(all).buffer_unordered(WORKERS).try_collect::<Vec<_>>().await?;
    let rate = a_second(rate, start);

    let ends = |from: Timestamp| (0..spread_ends).map(move |number| from + spread(number)).collect();
    let spread_out = client.end_all(ends).await?;
    let together = client.end_all(|from| vec![from; at_once]).await?;
    fixture.end();
    Ok(Guarded {
        create: Spread::new(create),
        latency: Spread::new(to_binding),
        rate,
        spread: Spread::new(spread_out.into_iter().map(|(deadline, gone)| ms(gone.duration_since(deadline))).collect()),
        at_once: AtOnce::new(&together),
    })
}

/// A client with the credentials of the users and the operator.
struct PlainClient<'g> {
    fixture: &'g ClusterFixture,
    operator: Client,
}

impl<'g> PlainClient<'g> {
    async fn new(fixture: &'g ClusterFixture) -> Result<Self, Failure> {
        let args = ["create", "token", "jit-rbac-controller", "-n", "jit-system"];
        let token = fixture.plane.kubectl(ADMIN, &args).await?.ok()?;
        Ok(Self { fixture, operator: fixture.plane.cluster().client_for_token(token.trim()).await? })
    }

    /// A user's request, with the stamp that the policies require.
    async fn ask(&self, number: usize) -> Result<RoleActivationRequest, Failure> {
        let who = person(number % PEOPLE);
        let request: RoleActivationRequest = serde_json::from_value(json!({
            "apiVersion": "jitrbac.dev/v1alpha1", "kind": "RoleActivationRequest", "metadata": {"generateName": format!("{who}-plain-")},
            "spec": {
                "eligibilityRef": {"name": offer_name(0)}, "duration": "1h", "justification": "a measurement",
                "requester": {"username": who, "uid": format!("u-{who}"), "groups": ["devs"]},
            },
        }))?;
        let client = self.fixture.places.person(number % PEOPLE)?;
        let api: Api<RoleActivationRequest> = Api::namespaced(client, &namespace(number));
        Ok(api.create(&PostParams::default(), &request).await?)
    }

    /// Creates the binding of a request and returns its name.
    async fn bind(&self, request: &RoleActivationRequest, deadline: Timestamp) -> Result<String, Failure> {
        let (name, uid) = (request.name_any(), request.uid().unwrap_or_default());
        let who = request.spec.requester.as_ref().map(|requester| requester.username.as_str().to_owned()).unwrap_or_default();
        let binding: RoleBinding = serde_json::from_value(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {
                "name": names::binding_name(&uid), "labels": {names::MANAGED_LABEL: names::MANAGED_VALUE},
                "annotations": {
                    names::EXPIRES_AT: stamp(deadline), names::STARTED_AT: stamp(Timestamp::now()), names::REQUEST: name,
                    names::NAMESPACE_UID: "6f0d2f5e-6a0b-4c3a-9d57-0c3c9d0c1d7e", names::DIGEST: "v1:".to_owned() + &"0".repeat(64),
                    names::REQUESTER: who, names::JUSTIFICATION: "a measurement",
                },
                "ownerReferences": [{"apiVersion": "jitrbac.dev/v1alpha1", "kind": "RoleActivationRequest", "name": name, "uid": uid}],
            },
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": who}],
        }))?;
        let api: Api<RoleBinding> = Api::namespaced(self.operator.clone(), &request.namespace().unwrap_or_default());
        Ok(api.create(&PostParams::default(), &binding).await?.name_any())
    }

    /// The status of a request, as the product writes it.
    async fn report(&self, request: &RoleActivationRequest, status: &Value) -> Result<(), Failure> {
        let api: Api<RoleActivationRequest> = Api::namespaced(self.operator.clone(), &request.namespace().unwrap_or_default());
        let patch = json!({"apiVersion": "jitrbac.dev/v1alpha1", "kind": "RoleActivationRequest", "status": status});
        api.patch_status(&request.name_any(), &PatchParams::apply("jit-rbac").force(), &Patch::Apply(patch)).await?;
        Ok(())
    }

    /// Makes all three writes. Returns the request and the name of its binding.
    async fn grant(&self, number: usize, deadline: Timestamp) -> Result<(RoleActivationRequest, String), Failure> {
        let request = self.ask(number).await?;
        let binding = self.bind(&request, deadline).await?;
        self.report(&request, &status()).await?;
        Ok((request, binding))
    }

    /// Makes grants with these deadlines, and at each deadline deletes the binding and records it. Returns deadlines and ends.
    async fn end_all(&self, deadlines: impl Fn(Timestamp) -> Vec<Timestamp>) -> Result<Vec<(Timestamp, Timestamp)>, Failure> {
        // All bindings must exist before the first ends.
        let many = deadlines(Timestamp::now()).len();
        let ahead = SignedDuration::from_secs(10 + i64::try_from(many / 40)?);
        let deadlines = deadlines(whole_seconds(Timestamp::now()) + ahead);
        let make = deadlines
            .into_iter()
            .enumerate()
            .map(async |(number, deadline)| Ok::<_, Failure>((self.grant(number, deadline).await?, deadline)));
        let granted: Vec<_> = stream::iter(make).buffer_unordered(WORKERS).try_collect().await?;
        let turns = Semaphore::new(DELETIONS);
        let ended = json!({"state": "Expired", "reason": "Expired", "observedGeneration": 1});
        let ends = granted.iter().map(|((request, binding), deadline)| {
            let (turns, ended) = (&turns, &ended);
            async move {
                tokio::time::sleep(std::time::Duration::try_from(deadline.duration_since(Timestamp::now())).unwrap_or_default()).await;
                let api: Api<RoleBinding> = Api::namespaced(self.operator.clone(), &request.namespace().unwrap_or_default());
                let turn = turns.acquire().await?;
                api.delete(binding, &DeleteParams::default()).await?;
                drop(turn);
                let gone = self.fixture.bindings.goes(binding).await?.1;
                let turn = turns.acquire().await?;
                self.report(request, ended).await?;
                drop(turn);
                Ok::<_, Failure>((*deadline, gone))
            }
        });
        futures::future::try_join_all(ends).await
    }
}
