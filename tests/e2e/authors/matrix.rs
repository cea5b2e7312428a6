//! The matrix: author x scope x kind of role x way to write. It runs with both guards and with each of them alone, as dry runs.

use std::{collections::BTreeMap, sync::Arc};

use control_plane::{ADMIN, Cluster, wait_for_ok};
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};

use super::AUTHORS;
use crate::{
    ensure,
    env::{Env, Error, Outcome, SOON},
};

/// A `ServiceAccount` with the same rights as `author-one`.
pub const ROBOT: &str = "robot";
/// The length of a long list of namespaces: longer than the admission policy checks.
const MANY: usize = 60;
const RBAC: &str = "rbac.authorization.k8s.io";

/// The enabled guards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guards {
    Both,
    Policy,
    Webhook,
}

/// The authors with their rights and a client for each.
pub struct Authors {
    prefix: String,
    clients: BTreeMap<String, Client>,
}

pub fn cluster_object(kind: &str, name: &str, more: &Value) -> Value {
    let version = if kind.starts_with("ClusterRole") { format!("{RBAC}/v1") } else { "jitrbac.dev/v1alpha1".to_owned() };
    let mut object = json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}});
    for (key, value) in more.as_object().into_iter().flatten() {
        object[key] = value.clone();
    }
    object
}

/// A binding of a `ClusterRole` to users, in a namespace or everywhere.
pub fn binding(name: &str, namespace: Option<&str>, role: &str, subjects: &[Value]) -> Value {
    let kind = if namespace.is_some() { "RoleBinding" } else { "ClusterRoleBinding" };
    json!({
        "apiVersion": format!("{RBAC}/v1"), "kind": kind, "metadata": {"name": name, "namespace": namespace},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role}, "subjects": subjects,
    })
}

pub fn user(name: &str) -> Value {
    json!({"apiGroup": RBAC, "kind": "User", "name": name})
}

impl Authors {
    /// Gives every author their rights. All may write eligibilities and policies. To bind `view` and the Roles `debug`, `author-one` and
    /// the robot have the right in namespace `a`, `author-all` in `a`, `b` and the many, `author-everywhere` everywhere. `author-other` may
    /// bind other roles everywhere, and `author-holder` holds the permissions of the roles. Neither is enough.
    pub async fn prepare(cluster: &Cluster, prefix: &str) -> Result<Self, Error> {
        let bind = |clusterrole: &str, role: &str| {
            json!({"rules": [
                {"apiGroups": [RBAC], "resources": ["clusterroles"], "resourceNames": [clusterrole], "verbs": ["bind"]},
                {"apiGroups": [RBAC], "resources": ["roles"], "resourceNames": [role], "verbs": ["bind"]},
            ]})
        };
        let [a, b] = ["a", "b"].map(|name| format!("{prefix}-{name}"));
        let many: Vec<String> = (0..MANY).map(|number| format!("{prefix}-n-{number}")).collect();
        let robot = json!({"kind": "ServiceAccount", "namespace": a, "name": ROBOT});
        let everybody: Vec<Value> = AUTHORS.map(user).into();
        let mut objects: Vec<Value> = [&a, &b]
            .into_iter()
            .chain(&many)
            .map(|name| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"authors": prefix}}}))
            .collect();
        objects.extend([
            cluster_object("ClusterRole", "authors-bind", &bind("view", "debug")),
            cluster_object("ClusterRole", "authors-bind-other", &bind("edit", "other")),
            binding("authors", None, "jit-rbac-admin", &everybody),
            binding("authors-everywhere", None, "authors-bind", &[user("author-everywhere")]),
            binding("authors-other", None, "authors-bind-other", &[user("author-other")]),
            binding("authors-holder", None, "admin", &[user("author-holder")]),
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ROBOT, "namespace": a}}),
            binding(&format!("{prefix}-robot"), None, "jit-rbac-admin", std::slice::from_ref(&robot)),
            binding("authors-one", Some(&a), "authors-bind", &[user("author-one"), robot]),
        ]);
        let all = [&a, &b].into_iter().chain(&many);
        objects.extend(all.map(|name| binding("authors-all", Some(name), "authors-bind", &[user("author-all")])));
        cluster.apply(ADMIN, &json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string()).await?.ok()?;
        let mut clients = BTreeMap::new();
        for name in AUTHORS.into_iter().chain([ADMIN]) {
            clients.insert(name.to_owned(), cluster.client(name).await?);
        }
        let token = cluster.run(ADMIN, &["create", "token", ROBOT, "--namespace", &a]).await?.ok()?;
        clients.insert(ROBOT.to_owned(), cluster.client_for_token(token.trim()).await?);
        Ok(Self { prefix: prefix.to_owned(), clients })
    }

    fn api(&self, who: &str) -> Api<DynamicObject> {
        let resource =
            ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("jitrbac.dev", "v1alpha1", "RoleEligibility"), "roleeligibilities");
        Api::all_with(self.clients[who].clone(), &resource)
    }

    /// The scopes, with their allowed authors. The last one is longer than the admission policy checks.
    fn scopes(&self) -> Vec<(&'static str, Value, &'static [&'static str])> {
        let [a, b, c] = ["a", "b", "c"].map(|name| format!("{}-{name}", self.prefix));
        let many: Vec<String> = (0..MANY).map(|number| format!("{}-n-{number}", self.prefix)).collect();
        let more: Vec<&String> = many.iter().chain([&c]).collect();
        let selector = json!({"matchLabels": {"authors": self.prefix}});
        vec![
            ("one name", json!({"names": [a], "selector": null}), &["author-one", ROBOT, "author-all"]),
            ("two names", json!({"names": [a, b], "selector": null}), &["author-all"]),
            ("the other name first", json!({"names": [b, a], "selector": null}), &["author-all"]),
            ("a selector", json!({"names": null, "selector": selector}), &[]),
            ("names and a selector", json!({"names": [a], "selector": selector}), &[]),
            ("many names", json!({"names": many, "selector": null}), &["author-all"]),
            (BEYOND, json!({"names": more, "selector": null}), &[]),
        ]
    }

    fn object(&self, who: &str, name: &str, role: &Value, namespaces: &Value) -> Value {
        let spec = json!({
            "subjects": [{"kind": "Group", "name": "devs"}], "roleRef": role, "namespaces": without_nulls(namespaces),
            "policyRef": {"name": "nobody-wrote-it"}, "maxDuration": "1h", "endTime": "2036-01-01T00:00:00Z",
        });
        // Where the webhook is down no other component writes the author.
        let mut object = cluster_object("RoleEligibility", name, &json!({"spec": spec}));
        object["metadata"]["annotations"] = json!({"jitrbac.dev/author": self.username(who)});
        object
    }

    fn username(&self, who: &str) -> String {
        if who == ROBOT { format!("system:serviceaccount:{}-a:{ROBOT}", self.prefix) } else { who.to_owned() }
    }

    /// Writes one cell of the matrix, in a dry run.
    async fn write(&self, who: &str, way: Way, role: &Value, namespaces: &Value) -> Result<(), String> {
        let api = self.api(who);
        let new = self.object(who, &format!("{}-new", self.prefix), role, namespaces);
        let change = json!({
            "metadata": {"annotations": {"jitrbac.dev/author": self.username(who)}},
            "spec": {"roleRef": role, "namespaces": namespaces},
        });
        let merged = PatchParams { dry_run: true, ..PatchParams::default() };
        let applied = PatchParams { dry_run: true, force: true, field_manager: Some("gitops".to_owned()), ..PatchParams::default() };
        let (kept, going) = (format!("{}-kept", self.prefix), format!("{}-going", self.prefix));
        let answer = match way {
            Way::Create => {
                let object = serde_json::from_value(new).map_err(|error| error.to_string())?;
                api.create(&PostParams { dry_run: true, ..PostParams::default() }, &object).await
            }
            Way::Apply => api.patch(&format!("{}-new", self.prefix), &applied, &Patch::Apply(&new)).await,
            Way::Update => api.patch(&kept, &merged, &Patch::Merge(&change)).await,
            Way::UpdateWhileItGoes => api.patch(&going, &merged, &Patch::Merge(&change)).await,
            Way::Label => api.patch(&kept, &merged, &Patch::Merge(&json!({"metadata": {"labels": {"a": "b"}}}))).await,
        };
        match answer {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) => Err(format!("{} {}", status.code, status.message)),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Two eligibilities of the admin: one that stays and one that is being deleted.
    async fn objects(&self) -> Outcome {
        let role = json!({"kind": "ClusterRole", "name": "view"});
        for name in ["kept", "going"] {
            let mut object =
                self.object(ADMIN, &format!("{}-{name}", self.prefix), &role, &json!({"names": [format!("{}-b", self.prefix)]}));
            if name == "going" {
                object["metadata"]["finalizers"] = json!(["example.com/held"]);
            }
            self.api(ADMIN).create(&PostParams::default(), &serde_json::from_value(object)?).await?;
        }
        self.api(ADMIN).delete(&format!("{}-going", self.prefix), &DeleteParams::default()).await?;
        Ok(())
    }

    /// Every cell of the matrix.
    pub async fn ask(&self, guards: Guards) -> Outcome {
        self.objects().await?;
        let mut wrong = Vec::new();
        let mut asked = 0;
        for who in AUTHORS.into_iter().chain([ROBOT, ADMIN]) {
            for (scope, namespaces, may) in self.scopes() {
                for role in [json!({"kind": "ClusterRole", "name": "view"}), json!({"kind": "Role", "name": "debug"})] {
                    for way in [Way::Create, Way::Apply, Way::Update, Way::UpdateWhileItGoes, Way::Label] {
                        let anywhere = [ADMIN, "author-everywhere"].contains(&who);
                        // Only the webhook denies what the admission policy does not check.
                        let left = guards == Guards::Policy && scope == BEYOND && who == "author-all";
                        let passes = way == Way::Label || anywhere || left || may.contains(&who);
                        asked += 1;
                        let answer = self.write(who, way, &role, &namespaces).await;
                        if let Some(fault) = fault(guards, passes, &self.username(who), &answer) {
                            wrong.push(format!("{who}, {scope}, {role}, {way:?}: {fault}"));
                        }
                    }
                }
            }
        }
        let name = format!("{}-going", self.prefix);
        self.api(ADMIN).patch(&name, &PatchParams::default(), &Patch::Merge(json!({"metadata": {"finalizers": null}}))).await?;
        ensure!(wrong.is_empty(), "{guards:?}: {} of {asked} are wrong:\n{}", wrong.len(), wrong.join("\n"));
        Ok(())
    }
}

/// A scope with one namespace more than the admission policy checks and `author-all` may bind in.
const BEYOND: &str = "one name too many";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Create,
    Apply,
    Update,
    UpdateWhileItGoes,
    Label,
}

/// Returns what is wrong with a response, if anything.
fn fault(guards: Guards, passes: bool, who: &str, answer: &Result<(), String>) -> Option<String> {
    let said = match (passes, answer) {
        (true, answer) => return answer.as_ref().err().map(|said| format!("it should pass, but: {said}")),
        (false, Ok(())) => return Some("it was let through".to_owned()),
        (false, Err(said)) => said,
    };
    let by = match guards {
        Guards::Both => ["", ""],
        Guards::Policy => ["ValidatingAdmissionPolicy 'jit-rbac-eligibilities'", ""],
        Guards::Webhook => ["admission webhook \"eligibilities.jitrbac.dev\"", "AuthorLacksBind: "],
    };
    let words = format!("'{who}' may not make ");
    let told = ["403 ", &words, "the verb bind on the role", "verbs: [bind]", by[0], by[1]].iter().all(|part| said.contains(part));
    (!told).then(|| format!("it was refused otherwise: {said}"))
}

fn without_nulls(value: &Value) -> Value {
    value.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()).map(|(key, value)| (key.clone(), value.clone())).collect()
}

pub async fn t15_inv_22_author_needs_the_right_to_bind_in_every_namespace(env: Arc<Env>) -> Outcome {
    let fixture = env.fixture().await?;
    Authors::prepare(fixture.cluster(), "authored").await?.ask(Guards::Both).await
}

pub async fn t15_inv_23_webhook_alone_denies_the_same(env: Arc<Env>) -> Outcome {
    let (fixture, _permit) = env.own_fixture(Value::Null).await?;
    let cluster = fixture.cluster();
    for kind in ["validatingadmissionpolicybinding", "validatingadmissionpolicy"] {
        cluster.run(ADMIN, &["delete", kind, "jit-rbac-eligibilities"]).await?.ok()?;
    }
    let authors = Authors::prepare(cluster, "hooked").await?;
    let (role, scope) = (json!({"kind": "ClusterRole", "name": "view"}), json!({"names": ["hooked-a"]}));
    wait_for_ok("the policy for eligibilities to be out of force", SOON, async || {
        match authors.write("author-none", Way::Create, &role, &scope).await {
            Err(said) if said.contains("admission webhook") => Ok(()),
            answer => Err(format!("{answer:?}")),
        }
    })
    .await?;
    authors.ask(Guards::Webhook).await
}
