//! The identity in an ID token: prefixes, uid, groups and impersonation.

use std::sync::Arc;

use control_plane::{ADMIN, Provider, SignIn};
use serde_json::{Value, json};

use super::{ACR, AMR, approve, asking, bare, debug_for, for_devs, guarded, may, second_factor, with_mfa};
use crate::{
    ensure,
    env::{Env, Outcome, SOON, TestCase, approved_by, automatic},
    status_helpers::{Person, refused, showing},
    test_cases,
};

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![
        t07_request_uses_the_groups_at_its_creation,
        t08_impersonation_without_userextras_carries_no_evidence,
        t10_unprefixed_name_is_no_system_user,
        t10_prefix_in_a_name_does_not_match_the_uid,
        t12_recreated_account_does_not_inherit_what_is_pinned_to_a_uid,
    ]
}

async fn t07_request_uses_the_groups_at_its_creation(env: Arc<Env>) -> Outcome {
    let scene = env.scene("groups").await?;
    let offer = scene.offer("edit", approved_by("oidc:leads", 1), for_devs()).await?;
    // With the old groups, in one token, and after the user has left, in another one.
    let (before, after) = (bare(&scene, "ann", "devs")?, bare(&scene, "ann", "staff")?);
    before.create(&scene, &scene.request("before", &offer, "10m")).await?.ok()?;
    let status = scene.until_state("before", "AwaitingApproval", SOON).await?;
    refused(
        after.create(&scene, &scene.request("after", &offer, "10m")).await?,
        &[&format!("NotEligible: 'oidc:ann' is not among the subjects of eligibility '{offer}'")],
    )?;
    // The pending request was made by a member of the group, and an approver sees this: the approver decides.
    let stored = scene.get("rar", "before").await?.unwrap_or_default();
    ensure!(stored["spec"]["requester"]["groups"] == json!(["oidc:devs"]), "the request is stamped as {}", stored["spec"]["requester"]);
    ensure!(scene.status("before").await?["digest"] == status["digest"], "the pending request changed");
    approve(&scene, &bare(&scene, "lead", "leads")?, "before").await?.ok()?;
    scene.until_state("before", "Active", SOON).await?;
    may(&scene, &after, true).await
}

async fn t08_impersonation_without_userextras_carries_no_evidence(env: Arc<Env>) -> Outcome {
    let scene = env.scene("impersonated").await?;
    let offer = guarded(&scene).await?;
    let request = scene.request("ann", &offer, "10m");
    // The approver has used a second factor, which is no evidence about the requester.
    let name = format!("{}-mallory", scene.name);
    let mallory = Person::sign_in(&scene, &with_mfa(&name, "staff"))?;
    let impersonator = |rules: Value| {
        let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules});
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": mallory.username}],
        });
        [role, binding]
    };
    // Without validation, whose schema check would fail first, with a shorter message.
    let as_ann = ["create", "--validate=false", "-f", "-", "--as=oidc:ann", "--as-uid=u-ann", "--as-group=oidc:devs"];
    let with_amr = mallory.showing(AMR, "mfa")?;
    let users = json!({"apiGroups": [""], "resources": ["users", "groups"], "verbs": ["impersonate"]});
    let uids = json!({"apiGroups": ["authentication.k8s.io"], "resources": ["uids"], "verbs": ["impersonate"]});
    scene.admin(&impersonator(json!([users, uids]))).await?;
    refused(
        mallory.kubectl(&scene, &as_ann, &request.to_string()).await?,
        &[
            &format!("EvidenceMissing: the sign-in of 'oidc:ann' has no '{AMR}', and policy '{offer}' requires one of 'mfa', 'hwk'"),
            "sign in again without impersonation",
        ],
    )?;
    refused(
        with_amr.kubectl(&scene, &as_ann, &request.to_string()).await?,
        &[r#"cannot impersonate resource "userextras/jitrbac.dev/amr""#],
    )?;
    ensure!(scene.list("rar").await?.is_empty(), "one of them created a request");
    // The limit, which docs/authentication.md names: admission does not learn of an impersonation, so from here on the impersonator has any
    // evidence. A user with this permission is an authenticator.
    let extras = json!({"apiGroups": ["authentication.k8s.io"], "resources": ["userextras/jitrbac.dev/amr"], "verbs": ["impersonate"]});
    scene.admin(&impersonator(json!([users, uids, extras]))).await?;
    with_amr.kubectl(&scene, &as_ann, &request.to_string()).await?.ok()?;
    scene.until_state("ann", "Active", SOON).await?;
    // The user may write only the extra that they may impersonate, and no other key.
    let says = format!(r#"cannot impersonate resource "userextras/{ACR}""#);
    refused(mallory.showing(ACR, "c1")?.kubectl(&scene, &as_ann, &scene.request("acr", &offer, "10m").to_string()).await?, &[&says])
}

async fn t10_unprefixed_name_is_no_system_user(env: Arc<Env>) -> Outcome {
    let scene = env.scene("careless").await?;
    scene.kubectl(ADMIN, &["create", "serviceaccount", "bot", "-n", &scene.name]).await?.ok()?;
    let bot = format!("system:serviceaccount:{}:bot", scene.name);
    let uid = scene.kubectl(ADMIN, &["get", "serviceaccount", "bot", "-n", &scene.name, "-o", "jsonpath={.metadata.uid}"]).await?.ok()?;
    let people = scene.offer("people", automatic(), debug_for(&json!([{"kind": "Group", "name": "devs"}]))).await?;
    let mut spec = debug_for(&json!([{"kind": "ServiceAccount", "namespace": scene.name, "name": "bot", "uid": uid}]));
    spec["allowServiceAccounts"] = json!(true);
    let bots = scene.offer("bots", approved_by("leads", 1), spec).await?;
    // A provider without prefixes: any user can choose their name, and is in `devs`.
    let careless = |name: &str| {
        let who = SignIn { provider: Provider::Careless, ..SignIn::new(name, ["devs"]) };
        Person::sign_in(&scene, &who)
    };
    let kubernetes = |name: &str| {
        format!("SystemUserNotAllowed: '{name}' is reserved for Kubernetes and cannot request or decide; sign in with your own user")
    };
    let not_a_bot = |offer: &str| {
        format!("ServiceAccountNotAllowed: '{bot}' is a ServiceAccount, and eligibility '{offer}' does not allow ServiceAccounts")
    };
    for (name, offer, says) in [
        ("system:kube-scheduler", &people, kubernetes("system:kube-scheduler")),
        ("system:admin", &people, kubernetes("system:admin")),
        (
            "system:serviceaccount:bot",
            &people,
            "SystemUserNotAllowed: 'system:serviceaccount:bot' is not a valid ServiceAccount user name".to_owned(),
        ),
        (&bot, &people, not_a_bot(&people)),
        // The name of the eligible ServiceAccount is not enough where its uid is pinned.
        (&bot, &bots, format!("NotEligible: '{bot}' is not among the subjects of eligibility '{bots}'")),
    ] {
        refused(careless(name)?.create(&scene, &scene.request("now", offer, "10m")).await?, &[&says])?;
    }
    ensure!(scene.list("rar").await?.is_empty(), "one of them created a request");
    Ok(())
}

async fn t10_prefix_in_a_name_does_not_match_the_uid(env: Arc<Env>) -> Outcome {
    let scene = env.scene("prefix").await?;
    let ann = SignIn { uid: format!("{}-ann", scene.name), ..SignIn::new("ann", ["staff"]) };
    let spec = debug_for(&json!([{"kind": "User", "name": ann.username(), "uid": ann.uid}]));
    let offer = scene.offer("pinned", automatic(), spec).await?;
    // To RBAC this is the same user, and so is `ann` of the token file if an eligibility lacks the prefix.
    let twin = SignIn {
        provider: Provider::Careless,
        name: ann.username(),
        uid: "u-twin".to_owned(),
        groups: vec!["devs".to_owned()],
        ..ann.clone()
    };
    let plain = SignIn { provider: Provider::Careless, groups: vec!["devs".to_owned()], ..ann.clone() };
    for who in [twin, plain] {
        let says = format!("NotEligible: '{}' is not among the subjects of eligibility '{offer}'", who.username());
        refused(Person::sign_in(&scene, &who)?.create(&scene, &scene.request("twin", &offer, "10m")).await?, &[&says])?;
    }
    Person::sign_in(&scene, &ann)?.create(&scene, &scene.request("ann", &offer, "10m")).await?.ok()?;
    scene.until_state("ann", "Active", SOON).await.map(drop)
}

async fn t12_recreated_account_does_not_inherit_what_is_pinned_to_a_uid(env: Arc<Env>) -> Outcome {
    let scene = env.scene("renamed").await?;
    let first = SignIn { uid: format!("{}-1", scene.name), ..with_mfa("ann", "staff") };
    let spec = debug_for(&json!([{"kind": "User", "name": "oidc:ann", "uid": first.uid}]));
    let offer = scene.offer("pinned", asking(automatic(), &second_factor()), spec).await?;
    let request = scene.request("ann", &offer, "10m");
    let says = format!("NotEligible: 'oidc:ann' is not among the subjects of eligibility '{offer}'");
    // Another user, years later; and a user who impersonates that user without the uid.
    let second = SignIn { uid: format!("{}-2", scene.name), ..first.clone() };
    refused(Person::sign_in(&scene, &second)?.create(&scene, &request).await?, &[&says])?;
    let kubeconfig = showing(&scene.fixture.cluster().kubeconfig_of(ADMIN)?, AMR, "mfa")?;
    let nobody = ["create", "-f", "-", "--kubeconfig", &kubeconfig, "--as=oidc:ann", "--as-group=oidc:staff"];
    refused(scene.fixture.cluster().run_with(ADMIN, &nobody, &request.to_string()).await?, &[&says])?;
    ensure!(scene.list("rar").await?.is_empty(), "one of them created a request");
    let ann = Person::sign_in(&scene, &first)?;
    ann.create(&scene, &request).await?.ok()?;
    scene.until_state("ann", "Active", SOON).await?;
    may(&scene, &ann, true).await
}
