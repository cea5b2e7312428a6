//! Users who sign in with ID tokens: how the API server maps them, and which tokens it denies.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "helpers of tests are tests")]

use control_plane::{Cluster, Options, Plane, Provider, SignIn};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authentication::v1::{SelfSubjectReview, UserInfo};
use kube::api::{Api, PostParams};
use serde_json::json;

const AMR: &str = "jitrbac.dev/amr";
const ACR: &str = "jitrbac.dev/acr";
const AUTH_TIME: &str = "jitrbac.dev/auth-time";

/// Returns the user as the API server authenticates them.
async fn known(cluster: &Cluster, token: &str) -> Result<UserInfo, kube::Error> {
    let reviews: Api<SelfSubjectReview> = Api::all(cluster.client_for_token(token).await.unwrap());
    let review = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await?;
    Ok(review.status.and_then(|status| status.user_info).unwrap())
}

/// Verifies that the API server denies this token.
async fn unauthorized(cluster: &Cluster, token: &str, why: &str) {
    match known(cluster, token).await {
        Err(kube::Error::Api(status)) => assert_eq!(status.code, 401, "{why}: {}", status.message),
        other => panic!("{why}: {other:?}"),
    }
}

#[tokio::test]
async fn the_api_server_knows_who_signed_in_and_how() {
    let plane = Plane::start(Options::default()).await.unwrap();
    let cluster = plane.cluster();
    claims_become_user_info(cluster).await;
    what_is_not_claimed_is_no_key(cluster).await;
    others_are_unauthorized(cluster).await;
    t10_nobody_signs_in_as_kubernetes_itself(cluster).await;
    a_token_survives_the_servers(&plane).await;
}

async fn claims_become_user_info(cluster: &Cluster) {
    let auth_time = Timestamp::now() - SignedDuration::from_mins(5);
    let ann = SignIn {
        uid: "00-aa".into(),
        amr: vec!["pwd".into(), "mfa".into()],
        acr: Some("c1".into()),
        auth_time: Some(auth_time),
        ..SignIn::new("ann", ["devs", "staff"])
    };
    let user = known(cluster, &cluster.sign_in(&ann).unwrap()).await.unwrap();
    assert_eq!((user.username.as_deref(), user.uid.as_deref()), (Some("oidc:ann"), Some("00-aa")));
    assert_eq!(user.username, Some(ann.username()));
    assert_eq!(user.groups.unwrap(), ["oidc:devs", "oidc:staff", "system:authenticated"]);
    let extra = user.extra.unwrap();
    assert_eq!(extra[AMR], ["pwd", "mfa"]);
    assert_eq!(extra[ACR], ["c1"]);
    // Whole seconds in plain digits, which the operator parses later.
    assert_eq!(extra[AUTH_TIME], [auth_time.as_second().to_string()]);
    let credential = &extra["authentication.kubernetes.io/credential-id"];
    assert!(credential[0].starts_with("JTI="), "{credential:?}");
}

async fn what_is_not_claimed_is_no_key(cluster: &Cluster) {
    let bare = SignIn::new("bob", [""; 0]);
    let user = known(cluster, &cluster.sign_in(&bare).unwrap()).await.unwrap();
    let keys: Vec<_> = user.extra.unwrap().into_keys().collect();
    assert_eq!(keys, ["authentication.kubernetes.io/credential-id"]);
    assert_eq!(user.groups.unwrap(), ["system:authenticated"]);
    // One claim does not imply the others.
    let only = SignIn { acr: Some("c1".into()), amr: vec![String::new()], ..bare };
    let extra = known(cluster, &cluster.sign_in(&only).unwrap()).await.unwrap().extra.unwrap();
    assert!(extra.contains_key(ACR) && !extra.contains_key(AMR) && !extra.contains_key(AUTH_TIME), "{extra:?}");
    // An early time has fewer digits.
    let early = SignIn { auth_time: Timestamp::from_second(7).ok(), ..SignIn::new("bob", [""; 0]) };
    let extra = known(cluster, &cluster.sign_in(&early).unwrap()).await.unwrap().extra.unwrap();
    assert_eq!(extra[AUTH_TIME], ["7"]);
}

async fn others_are_unauthorized(cluster: &Cluster) {
    let ann = SignIn::new("ann", ["devs"]);
    unauthorized(cluster, &cluster.forge(&ann).unwrap(), "a token of another key").await;
    let expired = SignIn { valid_for: SignedDuration::from_mins(-1), ..ann.clone() };
    unauthorized(cluster, &cluster.sign_in(&expired).unwrap(), "an expired token").await;
    let token = cluster.sign_in(&ann).unwrap();
    let (head, rest) = token.split_once('.').unwrap();
    let (_, signature) = rest.split_once('.').unwrap();
    let bob = cluster.sign_in(&SignIn::new("bob", ["devs"])).unwrap();
    let claims = bob.split('.').nth(1).unwrap();
    unauthorized(cluster, &format!("{head}.{claims}.{signature}"), "another one's claims").await;
    unauthorized(cluster, &format!("{head}.{claims}."), "no signature").await;
    // The other users sign in as before, and those of the token file did not change.
    known(cluster, &token).await.unwrap();
    let dev = cluster.run("dev", &["auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"]).await.unwrap();
    assert_eq!(dev.ok().unwrap(), "dev");
}

async fn t10_nobody_signs_in_as_kubernetes_itself(cluster: &Cluster) {
    for name in ["system:admin", "system:serviceaccount:kube-system:namespace-controller", "oidc:system:admin"] {
        let token = cluster.sign_in(&SignIn::new(name, ["devs"])).unwrap();
        unauthorized(cluster, &token, name).await;
    }
    let token = cluster.sign_in(&SignIn::new("ann", ["devs", "system:masters"])).unwrap();
    unauthorized(cluster, &token, "a group of Kubernetes itself").await;
    // The names that the rules deny, without a prefix: this is the purpose of the incorrectly configured provider.
    let name = "system:serviceaccount:kube-system:namespace-controller";
    let careless = SignIn { provider: Provider::Careless, ..SignIn::new(name, ["devs"]) };
    let user = known(cluster, &cluster.sign_in(&careless).unwrap()).await.unwrap();
    assert_eq!((user.username.as_deref(), user.uid.as_deref()), (Some(name), Some(careless.uid.as_str())));
    assert_eq!(json!(user.groups), json!(["devs", "system:authenticated"]));
}

async fn a_token_survives_the_servers(plane: &Plane) {
    let token = plane.cluster().sign_in(&SignIn::new("ann", ["devs"])).unwrap();
    plane.apiserver().kill();
    plane.apiserver().start().unwrap();
    plane.wait_until_ready().await.unwrap();
    assert_eq!(known(plane.cluster(), &token).await.unwrap().username.as_deref(), Some("oidc:ann"));
}
