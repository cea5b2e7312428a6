//! Users and groups of Kubernetes itself, `ServiceAccount`s, and the operator as one of them.

use std::sync::Arc;

use control_plane::{ADMIN, wait_for_ok};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::{
    ensure,
    env::{Env, Outcome, SOON, TestCase, approved_by, automatic, eligibility},
    faults::until,
    grant_helpers::{stamp, time},
    status_helpers::{Account, Guise, refused},
    test_cases,
};

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![
        t4_prefixes_and_aliases_map_to_one_user,
        t10_system_users_cannot_request,
        t11_system_groups_cannot_be_eligible_or_approve,
        t25_operator_cannot_bind_an_unlisted_role,
        t50_service_account_requests_only_where_allowed,
        f56_service_account_cannot_approve_for_a_user_who_can_act_as_it,
    ]
}

async fn t10_system_users_cannot_request(env: Arc<Env>) -> Outcome {
    let scene = env.scene("system").await?;
    let offer = scene.offer("edit", automatic(), eligibility("edit")).await?;
    let request = scene.request("now", &offer, "10m");
    // All of them are in the eligible group, as an authenticator without prefix could claim.
    let own = |name: &str| {
        format!("SystemUserNotAllowed: '{name}' is reserved for Kubernetes and cannot request or decide; sign in with your own user")
    };
    for (name, says) in [
        ("system:kube-scheduler", own("system:kube-scheduler")),
        ("system:node:worker-1", own("system:node:worker-1")),
        ("system:admin", own("system:admin")),
        (
            "system:serviceaccount:jit-system",
            "SystemUserNotAllowed: 'system:serviceaccount:jit-system' is not a valid ServiceAccount user name".to_owned(),
        ),
        (
            "system:serviceaccount:a:b:c",
            "SystemUserNotAllowed: 'system:serviceaccount:a:b:c' is not a valid ServiceAccount user name".to_owned(),
        ),
        (
            "system:serviceaccount:default:default",
            format!(
                "ServiceAccountNotAllowed: 'system:serviceaccount:default:default' is a ServiceAccount, and eligibility '{offer}' does not allow ServiceAccounts"
            ),
        ),
    ] {
        let guise = Guise { name, uid: "", groups: &["devs"] };
        refused(guise.create(&scene, &request).await?, &[&says])?;
    }
    // An anonymous user may not even read the schema for defaults.
    let nobody = ["create", "--validate=false", "-f", "-", "--as=system:anonymous", "--as-group=devs"];
    let said = scene.fixture.cluster().run_with(ADMIN, &nobody, &request.to_string()).await?;
    refused(said, &["a request requires an authenticated user; sign in first"])?;
    ensure!(scene.list("rar").await?.is_empty(), "one of them created a request");
    Ok(())
}

async fn t11_system_groups_cannot_be_eligible_or_approve(env: Arc<Env>) -> Outcome {
    let scene = env.scene("groups").await?;
    let offer = scene.offer("edit", approved_by("leads", 1), eligibility("edit")).await?;
    let dry =
        async |object: Value| scene.fixture.cluster().run_with(ADMIN, &["apply", "--dry-run=server", "-f", "-"], &object.to_string()).await;
    for group in ["system:authenticated", "system:unauthenticated", "system:serviceaccounts", "system:masters", "system:nodes"] {
        let mut spec = eligibility("edit");
        spec["subjects"] = json!([{"kind": "Group", "name": group}]);
        spec["policyRef"] = json!({"name": offer});
        spec["namespaces"] = json!({"names": [scene.name]});
        let eligibility =
            json!({"apiVersion": "jitrbac.dev/v1alpha1", "kind": "RoleEligibility", "metadata": {"name": offer}, "spec": spec});
        refused(dry(eligibility).await?, &["names that start with 'system:' belong to Kubernetes and cannot be eligible"])?;
        let mut revoked_by = approved_by("leads", 1);
        revoked_by["revokers"] = json!({"groups": [group]});
        for spec in [approved_by(group, 1), revoked_by] {
            let policy = json!({"apiVersion": "jitrbac.dev/v1alpha1", "kind": "ApprovalPolicy", "metadata": {"name": offer}, "spec": spec});
            refused(dry(policy).await?, &[&format!("users and groups of Kubernetes itself cannot approve, revoke or review: {group}")])?;
        }
    }
    // Membership in one of them makes no user eligible either: the admin is in system:masters.
    refused(scene.create(ADMIN, &scene.request("now", &offer, "10m")).await?, &["NotEligible: 'admin' is not among the subjects"])
}

async fn t25_operator_cannot_bind_an_unlisted_role(env: Arc<Env>) -> Outcome {
    let scene = env.scene("token").await?;
    let kubeconfig = scene.fixture.cluster().directory().join("kubeconfigs/jit-rbac-controller").display().to_string();
    let expires = stamp(Timestamp::now() + SignedDuration::from_hours(1));
    let bind = async |kind: &str, role: &str| {
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {
                "name": "jit-0b9f5f6e-3f2a-4c7e-9f58-0f8f8f1b2c3d", "namespace": scene.name, "labels": {"jitrbac.dev/managed": "true"},
                "annotations": {"jitrbac.dev/expires-at": expires},
            },
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "dev"}],
        });
        let args = ["--kubeconfig", &kubeconfig, "create", "--dry-run=server", "-f", "-"];
        scene.fixture.cluster().run_with(ADMIN, &args, &binding.to_string()).await
    };
    // No other rule denies it: the listed ones are allowed.
    for (kind, role) in [("ClusterRole", "edit"), ("Role", "debug")] {
        bind(kind, role).await?.ok()?;
    }
    scene.kubectl(ADMIN, &["create", "role", "root", "-n", &scene.name, "--verb=*", "--resource=secrets"]).await?.ok()?;
    for (kind, role) in [("ClusterRole", "cluster-admin"), ("ClusterRole", "system:node"), ("Role", "root")] {
        let says = "is attempting to grant RBAC permissions not currently held";
        refused(bind(kind, role).await?, &["system:serviceaccount:jit-system:jit-rbac-controller", says])?;
    }
    Ok(())
}

async fn t50_service_account_requests_only_where_allowed(env: Arc<Env>) -> Outcome {
    let scene = env.scene("bots").await?;
    let bot = Account::new(&scene, "bot").await?;
    let people = scene.offer("people", automatic(), eligibility("edit")).await?;
    let refusal = format!(
        "ServiceAccountNotAllowed: '{}' is a ServiceAccount, and eligibility '{people}' does not allow ServiceAccounts \
         (spec.allowServiceAccounts)",
        bot.username
    );
    refused(bot.create(&scene, &scene.request("now", &people, "10m")).await?, &[&refusal])?;

    // Never without an approver, and never by a group.
    let mut spec = eligibility("edit");
    spec["allowServiceAccounts"] = json!(true);
    spec["subjects"] =
        json!([{"kind": "ServiceAccount", "namespace": scene.name, "name": "bot", "uid": bot.uid}, {"kind": "Group", "name": "devs"}]);
    let mut careless = spec.clone();
    careless["policyRef"] = json!({"name": people});
    careless["namespaces"] = json!({"names": [scene.name]});
    let careless = json!({"apiVersion": "jitrbac.dev/v1alpha1", "kind": "RoleEligibility", "metadata": {"name": format!("{}-careless", scene.name)}, "spec": careless});
    refused(scene.apply(ADMIN, &careless).await?, &["approves automatically: a ServiceAccount needs an approver"])?;
    let offer = scene.offer("bots", approved_by("leads", 1), spec).await?;
    let other = Account::new(&scene, "other").await?;
    let not_a_subject = format!("NotEligible: '{}' is not among the subjects", other.username);
    refused(other.create(&scene, &scene.request("now", &offer, "10m")).await?, &[&not_a_subject])?;
    let joined = Guise { name: &other.username, uid: &other.uid, groups: &["devs", "system:serviceaccounts"] };
    refused(joined.create(&scene, &scene.request("now", &offer, "10m")).await?, &[&not_a_subject])?;

    bot.create(&scene, &scene.request("now", &offer, "10m")).await?.ok()?;
    let stored = scene.get("rar", "now").await?.ok_or("there is no request")?;
    let requester = &stored["spec"]["requester"];
    ensure!(requester["username"] == bot.username && requester["uid"] == bot.uid, "the requester is {requester}");
    let credential = &requester["extra"]["authentication.kubernetes.io/credential-id"][0];
    ensure!(credential.as_str().is_some_and(|id| id.starts_with("JTI=")), "its credential is {credential}");
    scene.until_state("now", "AwaitingApproval", SOON).await?;
    scene.approve("lead-1", "now").await?;
    scene.until_state("now", "Active", SOON).await?;
    let subjects = scene.bindings().await?.pop().ok_or("there is no binding")?["subjects"].clone();
    ensure!(subjects == json!([{"kind": "ServiceAccount", "name": "bot", "namespace": scene.name}]), "the subjects are {subjects}");
    let can = bot.kubectl(&scene, &["auth", "can-i", "create", "deployments", "-n", &scene.name], "").await?;
    ensure!(can.stdout.trim() == "yes", "bot may not create deployments");
    bot.create(&scene, &scene.decision("now", "Deactivate", None)).await?.ok()?;
    scene.until_state("now", "Deactivated", SOON).await?;

    // Another account of the same name is another subject.
    scene.kubectl(ADMIN, &["delete", "serviceaccount", "bot", "-n", &scene.name]).await?.ok()?;
    let again = Account::new(&scene, "bot").await?;
    ensure!(again.username == bot.username && again.uid != bot.uid, "it is the same one");
    refused(
        again.create(&scene, &scene.request("later", &offer, "10m")).await?,
        &[&format!("NotEligible: '{}' is not among the subjects", again.username)],
    )
}

async fn f56_service_account_cannot_approve_for_a_user_who_can_act_as_it(env: Arc<Env>) -> Outcome {
    let scene = env.scene("approving-bot").await?;
    let bot = Account::new(&scene, "bot").await?;
    let stage = json!({"name": "gate", "approvers": {"users": [bot.username]}});
    let mut policy = approved_by("leads", 1);
    policy["approval"]["stages"] = json!([stage]);
    let offer = scene.offer("edit", policy.clone(), eligibility("edit")).await?;
    let object = json!({"apiVersion": "jitrbac.dev/v1alpha1", "kind": "ApprovalPolicy", "metadata": {"name": format!("{offer}-warned")}, "spec": policy});
    let said = scene.apply(ADMIN, &object).await?;
    let warning = format!("Warning: ServiceAccount '{}' is an approver of stage 'gate': any user who can create its token", bot.username);
    ensure!(said.stderr.contains(&warning), "the policy is stored with {:?}", said.stderr);

    scene.apply("dev", &scene.request("now", &offer, "10m")).await?.ok()?;
    let status = scene.until_state("now", "AwaitingApproval", SOON).await?;
    let approve = scene.decision("now", "Approve", status["digest"].as_str());
    let right = |name: &str, verb: &str, resource: &str, subject: [&str; 2]| {
        let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
        let meta = json!({"name": name, "namespace": scene.name});
        let rules = json!([{"apiGroups": [group], "resources": [resource], "verbs": [verb]}]);
        let subjects = json!([{"apiGroup": "rbac.authorization.k8s.io", "kind": subject[0], "name": subject[1]}]);
        let role_ref = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name});
        [
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": meta, "rules": rules}),
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": meta, "roleRef": role_ref, "subjects": subjects}),
        ]
    };
    let (try_out, manifest) = (["create", "--dry-run=server", "-f", "-"], approve.to_string());
    for (number, (verb, resource, subject)) in [
        ("create", "serviceaccounts/token", ["User", "dev"]),
        ("impersonate", "serviceaccounts", ["Group", "devs"]),
        ("get", "secrets", ["Group", "devs"]),
        ("create", "pods", ["Group", "system:authenticated"]),
        ("patch", "deployments.apps", ["User", "dev"]),
        ("create", "pods/exec", ["User", "dev"]),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("way-{number}");
        scene.admin(&right(&name, verb, resource, subject)).await?;
        let resource = resource.split_once('.').map_or(resource, |(resource, _)| resource);
        let says = format!("SelfApprovalNotAllowed: 'dev' created request 'now' and may {verb} {resource}");
        // The API server's authorizer observes RBAC a moment after it is stored: only a dry run until then.
        wait_for_ok(&says, SOON, async || {
            let said = bot.kubectl(&scene, &try_out, &manifest).await.map_err(|error| error.to_string())?;
            if said.stderr.contains(&says) { Ok(()) } else { Err(format!("{}{}", said.stdout, said.stderr)) }
        })
        .await?;
        refused(bot.create(&scene, &approve).await?, &[&says, "which counts as the same person"])?;
        scene.kubectl(ADMIN, &["delete", "rolebinding,role", &name, "-n", &scene.name]).await?.ok()?;
        wait_for_ok("the bot to approve again", SOON, async || {
            let said = bot.kubectl(&scene, &try_out, &manifest).await.map_err(|error| error.to_string())?;
            if said.status.success() { Ok(()) } else { Err(said.stderr) }
        })
        .await?;
    }
    ensure!(scene.status("now").await?["state"] == "AwaitingApproval", "one of its decisions was counted");
    bot.create(&scene, &approve).await?.ok()?;
    scene.until_state("now", "Active", SOON).await.map(drop)
}

async fn t4_prefixes_and_aliases_map_to_one_user(env: Arc<Env>) -> Outcome {
    let identity = json!({"identity": {"prefixes": ["oidc:", "cert:"], "aliases": {"ann-admin": "dev", "lead-one": "lead-1"}}});
    let (fixture, _permit) = env.own_fixture(identity).await?;
    let scene = env.scene_on(&fixture, "aliases").await?;
    let offer = scene.offer("edit", approved_by("leads", 2), eligibility("edit")).await?;
    scene.apply("dev", &scene.request("now", &offer, "10m")).await?.ok()?;
    let status = scene.until_state("now", "AwaitingApproval", SOON).await?;
    let approve = scene.decision("now", "Approve", status["digest"].as_str());
    // Within one second the UIDs decide which of two requests was first.
    let stored = scene.get("rar", "now").await?.ok_or("the request is gone")?;
    until(time(&stored["metadata"]["creationTimestamp"])? + SignedDuration::from_secs(1)).await?;
    for (number, name) in ["oidc:dev", "OIDC:Dev", "cert:oidc:dev", "ann-admin", "oidc:ANN-ADMIN"].into_iter().enumerate() {
        let guise = Guise { name, uid: "", groups: &["leads"] };
        refused(
            guise.create(&scene, &approve).await?,
            &[&format!("SelfApprovalNotAllowed: '{name}' created request 'now' and cannot approve it")],
        )?;
        // And the account has no other permission.
        let twin = Guise { name, uid: "", groups: &["devs"] };
        let second = format!("second-{number}");
        twin.create(&scene, &scene.request(&second, &offer, "10m")).await?.ok()?;
        let status = scene.until_state(&second, "Denied", SOON).await?;
        ensure!(status["reason"] == "AlreadyRequested", "{name}: the second request is {status}");
    }
    scene.approve("lead-1", "now").await?;
    crate::status_helpers::until(&scene, "now", "one approval", |status| status["awaiting"]["have"] == 1).await?;
    for name in ["lead-one", "cert:Lead-1"] {
        let guise = Guise { name, uid: "", groups: &["leads"] };
        refused(guise.create(&scene, &approve).await?, &["AlreadyApproved: 'lead-1' approved request 'now' at "])?;
    }
    scene.approve("lead-2", "now").await?;
    scene.until_state("now", "Active", SOON).await.map(drop)
}
