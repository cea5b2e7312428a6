//! Users who can list requests in single namespaces only, as the chart jit-access binds them with `requesterBindings: Namespaces`.

use std::sync::Arc;

use control_plane::{ADMIN, Said};
use serde_json::{Value, json};

use super::{ended, watch::Running};
use crate::{
    ensure,
    env::{Env, Error, Outcome, SOON, Scene, TestCase, eligibility},
    test_cases,
};

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![
        f22_plugin_lists_where_a_requester_is_bound,
        f22_plugin_lists_where_an_approver_is_bound,
        f22_plugin_without_list_permission_prints_advice
    ]
}

/// The prefix of the line that names the omitted namespaces.
const ONLY: &str = "only these namespaces were searched: ";

/// A requester and an approver who are bound in the scene's namespace and in `-second` and `-free`. They are eligible in `-closed` too,
/// where no binding exists for them.
struct Bound {
    scene: Scene,
    offer: String,
    dev: String,
    lead: String,
}

impl Bound {
    async fn new(env: &Arc<Env>, name: &str) -> Result<Self, Error> {
        let scene = env.scene(name).await?;
        let (dev, lead) = (format!("{}-dev", scene.name), format!("{}-lead", scene.name));
        let namespaces = ["", "-second", "-free", "-closed"].map(|suffix| format!("{}{suffix}", scene.name));
        for namespace in namespaces.iter().skip(1) {
            scene.create_namespace(namespace).await?;
        }
        let mut spec = eligibility("view");
        spec["subjects"] = json!([{"kind": "User", "name": dev}]);
        spec["namespaces"] = json!({"names": namespaces});
        let policy = json!({
            "approval": {"stages": [{"name": "lead", "approvers": {"users": [lead]}}]},
            "revokers": {"users": [lead]}, "eligibility": {"requireEnd": false},
        });
        let offer = scene.offer("narrow", policy, spec).await?;
        let bound: Vec<Value> =
            namespaces.iter().take(3).map(|name| binding(&[&dev, &lead], Some(name), &scene.name, "jit-rbac-requester")).collect();
        scene.admin(&bound).await?;
        scene.admin(&[binding(&[&dev, &lead], None, &scene.name, "jit-rbac-eligibility-viewer")]).await?;
        let bound = Self { scene, offer, dev, lead };
        let mut second = bound.scene.request("second", &bound.offer, "10m");
        second["metadata"]["namespace"] = json!(format!("{}-second", bound.scene.name));
        for request in [bound.scene.request("first", &bound.offer, "10m"), second] {
            bound.scene.fixture.cluster().run_with(ADMIN, &["create", "-f", "-", "--as", &bound.dev], &request.to_string()).await?.ok()?;
        }
        bound.scene.until_state("first", "AwaitingApproval", SOON).await?;
        Ok(bound)
    }

    /// Runs `kubectl jit` in the namespace of the kubeconfig, in which neither is bound.
    async fn run(&self, user: &str, args: &[&str]) -> Result<Said, Error> {
        self.scene.jit_anywhere(ADMIN, &[args, &["--as", user]].concat()).await
    }

    /// The same. Verifies that it succeeds, prints this, and names its namespaces in one line.
    async fn shows(&self, user: &str, args: &[&str], texts: &[&str]) -> Result<String, Error> {
        let said = self.run(user, args).await?;
        let (stderr, namespaces) = (said.stderr.clone(), ["", "-free", "-second"].map(|suffix| format!("{}{suffix}", self.scene.name)));
        let shown = ended(said, 0, texts).map_err(|error| format!("{args:?}: {error}"))?;
        ensure!(stderr.matches(ONLY).count() == 1 && !shown.contains(ONLY), "{args:?} says: {stderr}\nand prints: {shown}");
        ensure!(stderr.contains(&format!("{ONLY}{};", namespaces.join(", "))), "{args:?} says: {stderr}");
        Ok(shown)
    }
}

fn binding(users: &[&str], namespace: Option<&str>, name: &str, role: &str) -> Value {
    let subjects: Vec<Value> =
        users.iter().map(|user| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user})).collect();
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": if namespace.is_some() { "RoleBinding" } else { "ClusterRoleBinding" },
        "metadata": {"name": format!("{name}-{role}"), "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": subjects,
    })
}

async fn f22_plugin_lists_where_a_requester_is_bound(env: Arc<Env>) -> Outcome {
    let bound = Bound::new(&env, "bound-dev").await?;
    let Bound { scene, offer, dev, lead } = &bound;
    let free = format!("{}-free", scene.name);
    bound.shows(dev, &["status"], &["first", "second", "AwaitingApproval"]).await?;
    bound.shows(dev, &["roles"], &[offer, "AwaitingApproval"]).await?;
    bound.shows(dev, &["list", "-A"], &["first", "second"]).await?;
    bound.shows(dev, &["can-i", offer, "-n", &free], &["is a subject of", "yes"]).await?;

    let approve = scene.decision("first", "Approve", scene.status("first").await?["digest"].as_str());
    scene.fixture.cluster().run_with(ADMIN, &["create", "-f", "-", "--as", lead], &approve.to_string()).await?.ok()?;
    scene.until_state("first", "Active", SOON).await?;
    bound.shows(dev, &["whoami"], &["first view is active until"]).await?;
    let listed: Value = serde_json::from_str(&bound.shows(dev, &["status", "-o", "json"], &[]).await?)?;
    ensure!(listed["items"].as_array().is_some_and(|items| items.len() == 2), "{listed}");
    // Data of eligibilities is complete, and neither a quiet command nor a shell's prompt has space for the line.
    for args in [&["roles", "-o", "yaml"][..], &["status", "-q"], &["whoami", "--prompt"]] {
        let said = bound.run(dev, args).await?;
        ensure!(said.stderr.is_empty() && !said.stdout.is_empty(), "{args:?}: {}{}", said.stdout, said.stderr);
    }
    ended(
        bound.run(dev, &["check", "-n", &free]).await?,
        0,
        &["you may create requests and decisions", "list requests in your namespaces only"],
    )?;

    let mut watching = Running::start(scene, ADMIN, &["status", "--watch", "-A", "--as", dev])?;
    watching.until("second").await?;
    bound.shows(dev, &["deactivate", "--all"], &["deactivated", "withdrawn"]).await?;
    watching.until("you have no active").await?;
    let code = watching.code().await?;
    ensure!(code == Some(0), "it ended with {code:?}");
    bound.shows(dev, &["history", "-A"], &["first", "second"]).await?;
    Ok(())
}

async fn f22_plugin_lists_where_an_approver_is_bound(env: Arc<Env>) -> Outcome {
    let bound = Bound::new(&env, "bound-lead").await?;
    let Bound { scene, dev, lead, .. } = &bound;
    // Pending requests are listed by three selectors at a time.
    bound.shows(lead, &["pending", "--mine-to-decide"], &["first", "second", dev]).await?;
    let said = ended(scene.jit_anywhere(ADMIN, &["__complete", "approve", "--as", lead, ""]).await?, 0, &[])?;
    ensure!(said.contains(&format!("{}/first\t{dev}", scene.name)), "{said}");
    // A user who ends access of others sees it even with `--quiet`.
    bound.shows(lead, &["revoke", "--of-user", dev, "--yes", "-q", "-m", "an incident"], &[]).await?;
    scene.until_state("first", "Denied", SOON).await?;
    bound.shows(lead, &["pending"], &["no request waits for approval or review"]).await?;
    Ok(())
}

async fn f22_plugin_without_list_permission_prints_advice(env: Arc<Env>) -> Outcome {
    let bound = Bound::new(&env, "bound-nowhere").await?;
    let Bound { scene, offer, .. } = &bound;
    let viewer = format!("{}-viewer", scene.name);
    scene.admin(&[binding(&[&viewer], None, &viewer, "jit-rbac-eligibility-viewer")]).await?;
    let says = ["you may not list roleactivationrequests", "nor in namespace 'default'", "ClusterRole 'jit-rbac-requester'"];
    for user in [viewer.as_str(), "nobody-binds"] {
        for args in [&["status"][..], &["list", "-A"], &["pending"], &["pending", "--watch"]] {
            let said = bound.run(user, args).await?;
            ensure!(!said.stderr.contains(ONLY) && !said.stderr.contains("is forbidden"), "{args:?}: {}", said.stderr);
            ended(said, 1, &says)?;
        }
        ended(bound.run(user, &["whoami"]).await?, 0, &["Active:      unknown: you may not list roleactivationrequests"])?;
    }
    ended(bound.run(&viewer, &["roles", "--all"]).await?, 0, &[offer, "STATE leaves out your requests: you may not list"])?;
    Ok(())
}
