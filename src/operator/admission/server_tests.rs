use std::{convert::Infallible, sync::OnceLock};

use axum::{
    body::{Body, to_bytes},
    http::{Method, Request as HttpRequest, Response as HttpResponse},
};
use kube::Client;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tower::{ServiceExt, service_fn};

use super::*;
use crate::{config::Config, gather::caches::Caches};
use process::metrics::Metrics;

#[path = "any_input_tests.rs"]
mod any_input;
#[path = "authored_tests.rs"]
mod authored;
#[path = "limits_tests.rs"]
mod limits;

const AT: &str = "2026-11-22T12:00:00Z";
const OPERATOR: &str = "system:serviceaccount:jit-system:jit-rbac-controller";

/// The API server's answers to the reads of admission: objects by path, and what the controller may bind. It records every call.
#[derive(Clone, Default)]
struct Stored {
    objects: Arc<Mutex<Vec<(String, Value)>>>,
    calls: Arc<Mutex<Vec<String>>>,
    away: bool,
    /// Where access reviews wait, and how many do.
    held: Option<Arc<Held>>,
    scraped: Metrics,
    counted: Arc<OnceLock<AdmissionMetrics>>,
}

impl Stored {
    fn with(self, path: &str, object: Value) -> Self {
        self.objects.lock().push((path.to_owned(), object));
        self
    }

    fn answer(&self, method: &Method, path: &str, body: &Value) -> (u16, Value) {
        self.calls.lock().push(format!("{method} {path}"));
        let status = |code: u16, reason: &str| {
            (code, json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": reason}))
        };
        if self.away {
            return status(403, "Forbidden");
        }
        if path.ends_with("/subjectaccessreviews") {
            let mut answered = body.clone();
            answered["status"] = access(&body["spec"]);
            return (201, answered);
        }
        let objects = self.objects.lock();
        if let Some((_, found)) = objects.iter().find(|(at, _)| at == path) {
            return (200, found.clone());
        }
        if ["/roleactivationrequests", "/activationdecisions", "/roleeligibilities"].iter().any(|kind| path.ends_with(kind)) {
            let items: Vec<&Value> =
                objects.iter().filter(|(at, _)| at.starts_with(&format!("{path}/"))).map(|(_, object)| object).collect();
            return (200, json!({"apiVersion": "jitrbac.dev/v1alpha1", "kind": "List", "metadata": {}, "items": items}));
        }
        status(404, "NotFound")
    }

    fn client(&self) -> Client {
        let stored = self.clone();
        let service = service_fn(move |request: HttpRequest<kube::client::Body>| {
            let stored = stored.clone();
            async move {
                let (parts, body) = request.into_parts();
                if let Some(held) = stored.held.as_ref().filter(|_| parts.uri.path().ends_with("/subjectaccessreviews")) {
                    held.wait().await;
                }
                let bytes = body.collect_bytes().await.unwrap();
                let body = serde_json::from_slice(&bytes).unwrap_or_default();
                let (code, answer) = stored.answer(&parts.method, parts.uri.path(), &body);
                let response = HttpResponse::builder().status(code).header("content-type", "application/json");
                Ok::<_, Infallible>(response.body(Body::from(answer.to_string())).unwrap())
            }
        });
        Client::new(service, "default")
    }

    fn handler(&self) -> Arc<AdmissionHandler> {
        let config: Config = serde_json::from_value(crate::config::tests::least()).unwrap();
        let client = self.client();
        Arc::new(AdmissionHandler::new(client.clone(), Arc::new(Caches::new(client)), &config))
    }

    fn router(&self) -> Router {
        router(self.handler(), self.counted.get_or_init(|| AdmissionMetrics::registered(&self.scraped)).clone())
    }

    async fn ask(&self, path: &str, body: impl Into<Body>) -> (StatusCode, Value) {
        let request = HttpRequest::post(path).header("content-type", "application/json").body(body.into()).unwrap();
        let response = self.router().oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    /// Calls both webhooks as the API server would. Returns the stamped object if it was accepted, or the denial.
    async fn write(&self, user: &str, object: &Value, old: Option<&Value>) -> Result<(Value, Vec<String>), String> {
        let mut object = object.clone();
        let mut warnings = Vec::new();
        for path in ["/mutate", "/validate"] {
            let (status, review) = self.ask(path, review(user, &object, old).to_string()).await;
            assert_eq!(status, StatusCode::OK);
            let response = &review["response"];
            assert_eq!(response["uid"], "q-1");
            if response["allowed"] != true {
                return Err(response["status"]["message"].as_str().unwrap().to_owned());
            }
            if let Some(patch) = response.get("patch") {
                let bytes: Vec<u8> = serde_json::from_value(patch.clone()).unwrap();
                json_patch::patch(&mut object, &serde_json::from_slice::<json_patch::Patch>(&bytes).unwrap()).unwrap();
            }
            warnings.extend(serde_json::from_value::<Vec<String>>(response["warnings"].clone()).unwrap_or_default());
            object["metadata"]["creationTimestamp"] = json!(AT);
            object["metadata"]["uid"] = json!("new");
            let before = old.map(|old| (&old["spec"], old["metadata"]["generation"].as_i64().unwrap_or_default()));
            let generation = before.map_or(1, |(spec, generation)| if *spec == object["spec"] { generation } else { generation + 1 });
            object["metadata"]["generation"] = json!(generation);
        }
        Ok((object, warnings))
    }

    async fn refused(&self, user: &str, object: &Value) -> String {
        let message = self.write(user, object, None).await.unwrap_err();
        message.split(':').next().unwrap_or_default().to_owned()
    }
}

/// Access reviews that wait until `go` is cancelled.
#[derive(Default)]
struct Held {
    go: CancellationToken,
    now: std::sync::atomic::AtomicUsize,
    most: std::sync::atomic::AtomicUsize,
    changed: tokio::sync::Notify,
}

impl Held {
    async fn wait(&self) {
        use std::sync::atomic::Ordering::SeqCst;
        let now = self.now.fetch_add(1, SeqCst) + 1;
        self.most.fetch_max(now, SeqCst);
        self.changed.notify_waiters();
        self.go.cancelled().await;
        self.now.fetch_sub(1, SeqCst);
    }

    async fn until(&self, many: usize) {
        loop {
            let changed = self.changed.notified();
            if self.now.load(std::sync::atomic::Ordering::SeqCst) >= many {
                return;
            }
            changed.await;
        }
    }
}

/// The right to bind: the operator may bind `edit`, `admin` everything, `local-1` in one namespace; `boss` administers policies. For
/// `broken` an authorizer fails while another one allows, for `denied` one denies while another one allows.
fn access(spec: &Value) -> Value {
    let (user, asked) = (spec["user"].as_str().unwrap_or_default(), &spec["resourceAttributes"]);
    let bind = asked["verb"] == "bind" && asked["group"] == "rbac.authorization.k8s.io" && asked["resource"] == "clusterroles";
    let administer = asked["verb"] == "administer" && asked["group"] == "jitrbac.dev" && asked["resource"] == "approvalpolicies";
    match user {
        OPERATOR => json!({"allowed": bind && asked["name"] == "edit"}),
        "admin" | "lead-1" => json!({"allowed": bind}),
        "local-1" => json!({"allowed": bind && asked["namespace"] == "payments"}),
        "boss" => json!({"allowed": administer && asked["name"] == "two-eyes"}),
        "evidence" => {
            json!({"allowed": bind && spec["uid"] == format!("u-{}", spec["user"].as_str().unwrap_or_default()) && spec["extra"]["k"] == json!(["v"]) && spec["groups"][0] == "evidences"})
        }
        "broken" => json!({"allowed": true, "evaluationError": "no answer"}),
        "denied" => json!({"allowed": true, "denied": true}),
        _ => json!({"allowed": false}),
    }
}

fn review(user: &str, object: &Value, old: Option<&Value>) -> Value {
    let kind = object["kind"].as_str().unwrap_or_default();
    let plural = match kind {
        "RoleEligibility" => "roleeligibilities".to_owned(),
        "ApprovalPolicy" => "approvalpolicies".to_owned(),
        other => format!("{}s", other.to_lowercase()),
    };
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "q-1", "kind": {"group": "jitrbac.dev", "version": "v1alpha1", "kind": kind},
            "resource": {"group": "jitrbac.dev", "version": "v1alpha1", "resource": plural},
            "name": object["metadata"]["name"], "namespace": object["metadata"]["namespace"].as_str().unwrap_or_default(),
            "operation": if old.is_some() { "UPDATE" } else { "CREATE" },
            "userInfo": {
                "username": user, "uid": format!("u-{user}"), "extra": {"k": ["v"]},
                "groups": [format!("{}s", user.split('-').next().unwrap()), "system:authenticated"],
            },
            "object": object, "oldObject": old, "dryRun": false,
        },
    })
}

fn object(kind: &str, name: &str, namespace: Option<&str>, spec: &Value) -> Value {
    let metadata = json!({"name": name, "uid": name, "creationTimestamp": AT});
    let mut object = json!({"apiVersion": "jitrbac.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec});
    if let Some(namespace) = namespace {
        object["metadata"]["namespace"] = json!(namespace);
    }
    object
}

fn eligibility(role: &str) -> Value {
    let spec = json!({
        "subjects": [{"kind": "Group", "name": "devs"}], "roleRef": {"kind": "ClusterRole", "name": role},
        "namespaces": {"names": ["payments"]}, "policyRef": {"name": "two-eyes"}, "maxDuration": "4h", "endTime": "2027-02-01T00:00:00Z",
    });
    object("RoleEligibility", "oncall", None, &spec)
}

fn policy(required: i32) -> Value {
    let spec = json!({"approval": {"stages": [{"name": "lead", "approvers": {"groups": ["leads"]}, "required": required}]}});
    object("ApprovalPolicy", "two-eyes", None, &spec)
}

fn request(name: &str) -> Value {
    object("RoleActivationRequest", name, Some("payments"), &json!({"eligibilityRef": {"name": "oncall"}, "duration": "45m"}))
}

fn decision(verb: &str) -> Value {
    object("ActivationDecision", "d", Some("payments"), &json!({"requestRef": {"name": "inc-1"}, "decision": verb}))
}

fn cluster() -> Stored {
    Stored::default()
        .with("/apis/jitrbac.dev/v1alpha1/roleeligibilities/oncall", eligibility("edit"))
        .with("/apis/jitrbac.dev/v1alpha1/approvalpolicies/two-eyes", policy(1))
        .with("/api/v1/namespaces/payments", json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "payments", "uid": "n"}}))
        .with("/apis/rbac.authorization.k8s.io/v1/clusterroles/edit", json!({"metadata": {"name": "edit", "uid": "e"}, "rules": []}))
}

fn with_request() -> Stored {
    let mut request = request("inc-1");
    request["spec"]["requester"] = json!({"username": "dev", "uid": "u-dev", "groups": ["devs"]});
    cluster().with("/apis/jitrbac.dev/v1alpha1/namespaces/payments/roleactivationrequests/inc-1", request)
}

#[tokio::test]
async fn a_request_is_stamped_and_answered_by_the_rules() {
    let (stored, warnings) = cluster().write("dev", &request("inc-1"), None).await.unwrap();
    assert_eq!(stored["spec"]["requester"], json!({"username": "dev", "uid": "u-dev", "groups": ["devs"]}));
    assert!(warnings.is_empty());
    assert_eq!(cluster().refused("outsider", &request("inc-1")).await, "NotEligible");
    for uid in ["000", "zzz"] {
        let cluster = with_request();
        cluster.objects.lock().last_mut().unwrap().1["metadata"]["uid"] = json!(uid);
        assert_eq!(cluster.refused("dev", &request("inc-2")).await, "AlreadyRequested", "of the same second, {uid}");
    }
    let mut other = request("inc-1");
    other["spec"]["duration"] = json!("5h");
    assert_eq!(cluster().refused("dev", &other).await, "DurationTooLong");
    for name in ["unknown", "a/b", "..", "a b"] {
        other["spec"]["eligibilityRef"]["name"] = json!(name);
        assert_eq!(cluster().refused("dev", &other).await, "EligibilityNotFound", "{name}");
    }
}

#[tokio::test]
async fn t1_what_a_later_webhook_overwrote_is_refused() {
    let mut forged = request("inc-1");
    for stamp in [json!({"username": "boss"}), json!({"username": "dev", "groups": ["admins"]}), json!(null)] {
        forged["spec"]["requester"] = stamp;
        let (_, answer) = cluster().ask("/validate", review("dev", &forged, None).to_string()).await;
        assert_eq!(answer["response"]["auditAnnotations"]["code"], "UserInfoMissing");
    }
    let (stamped, _) = with_request().write("lead-1", &decision("Deny"), None).await.unwrap();
    for (path, value, reason) in [
        ("/spec/requestRef/requester", json!("somebody"), "UserInfoMissing"),
        ("/metadata/ownerReferences", json!([]), "UserInfoMissing"),
        ("/spec/requestRef/uid", json!("another"), "RequestMismatch"),
        ("/spec/decider/username", json!("lead-2"), "UserInfoMissing"),
    ] {
        let mut forged = stamped.clone();
        *forged.pointer_mut(path).unwrap() = value;
        let (_, answer) = with_request().ask("/validate", review("lead-1", &forged, None).to_string()).await;
        assert_eq!(answer["response"]["auditAnnotations"]["code"], reason, "{path}");
    }
}

#[tokio::test]
async fn t4_decisions_are_answered_by_the_rules() {
    let stored = with_request();
    assert_eq!(stored.refused("dev", &decision("Approve")).await, "SelfApprovalNotAllowed");
    assert_eq!(stored.refused("outsider", &decision("Deny")).await, "NotAnApprover");
    assert_eq!(stored.refused("lead-1", &decision("Deactivate")).await, "NotTheRequester");
    assert_eq!(stored.refused("lead-1", &decision("Approve")).await, "DigestStale");
    assert_eq!(cluster().refused("lead-1", &decision("Deny")).await, "RequestNotFound");
    assert!(stored.write("dev", &decision("Deactivate"), None).await.is_ok());
    let (decision, _) = stored.write("lead-1", &decision("Deny"), None).await.unwrap();
    assert_eq!(decision["spec"]["decider"], json!({"username": "lead-1", "uid": "u-lead-1", "groups": ["leads"]}));
    assert_eq!(decision["spec"]["requestRef"], json!({"name": "inc-1", "uid": "inc-1", "requester": "dev"}));
}

#[tokio::test]
async fn f80_a_decision_about_an_earlier_request_of_the_name_is_refused_and_never_rewritten() {
    for (verb, user) in [("Deny", "lead-1"), ("Approve", "lead-1"), ("Revoke", "lead-1"), ("Deactivate", "dev")] {
        let mut about = decision(verb);
        about["spec"]["requestRef"]["uid"] = json!("inc-0");
        let (_, answer) = with_request().ask("/mutate", review(user, &about, None).to_string()).await;
        let message = "RequestMismatch: the decision is for request 'inc-1' with UID inc-0, but the current request has UID inc-1; check it and decide again";
        assert_eq!((&answer["response"]["allowed"], &answer["response"]["status"]["message"]), (&json!(false), &json!(message)), "{verb}");
        assert!(answer["response"].get("patch").is_none(), "{verb}");
        for uid in [json!("inc-1"), json!(""), json!(null)] {
            about["spec"]["requestRef"]["uid"] = uid;
            let (_, answer) = with_request().ask("/mutate", review(user, &about, None).to_string()).await;
            assert_eq!(answer["response"]["allowed"], true, "{verb} {about}");
        }
    }
}

#[tokio::test]
async fn f01_a_decision_on_what_has_ended_causes_no_list() {
    let ended = with_request();
    ended.objects.lock().last_mut().unwrap().1["status"] = json!({"state": "Deactivated"});
    for (verb, user) in [("Deactivate", "dev"), ("Deny", "lead-1"), ("Revoke", "lead-1"), ("Review", "lead-1")] {
        ended.write(user, &decision(verb), None).await.unwrap_err();
    }
    let calls = ended.calls.lock();
    assert!(!calls.iter().any(|call| call.ends_with("/activationdecisions") || call.ends_with("/roleactivationrequests")), "{calls:?}");
}

#[tokio::test]
async fn t5_one_person_approves_once() {
    let stored = with_request();
    stored.objects.lock()[1].1 = policy(2);
    let mut approve = decision("Approve");
    approve["spec"]["digest"] = json!("sha256:0000000000000000");
    let stale = stored.write("lead-1", &approve, None).await.unwrap_err();
    let digest = stale.split(['\'', ' ', ';']).filter(|word| word.starts_with("sha256:")).nth(1).unwrap();
    approve["spec"]["digest"] = json!(digest);
    let (taken, _) = stored.write("lead-1", &approve, None).await.unwrap();
    let stored = stored.with("/apis/jitrbac.dev/v1alpha1/namespaces/payments/activationdecisions/d", taken);
    assert_eq!(stored.refused("lead-1", &approve).await, "AlreadyApproved");
    assert!(stored.write("lead-2", &approve, None).await.is_ok());
}

#[tokio::test]
async fn t10_t50_users_of_kubernetes_and_service_accounts_get_nothing() {
    for (user, reason) in [
        ("system:anonymous", "SystemUserNotAllowed"),
        ("system:serviceaccount:payments", "SystemUserNotAllowed"),
        ("system:serviceaccount:payments:ci", "ServiceAccountNotAllowed"),
        ("", "UserInfoMissing"),
    ] {
        let mut asked = review(user, &request("inc-1"), None);
        asked["request"]["userInfo"]["groups"] = json!(["devs"]);
        let mut stamped = request("inc-1");
        stamped["spec"]["requester"] = json!({"username": user, "uid": format!("u-{user}"), "groups": ["devs"]});
        asked["request"]["object"] = stamped;
        let (_, answer) = cluster().ask("/validate", asked.to_string()).await;
        assert_eq!(answer["response"]["auditAnnotations"]["code"], reason, "{user}");
    }
}

#[tokio::test]
async fn t6_t11_nobody_and_everybody_are_no_approvers_and_no_subjects() {
    let mut everybody = eligibility("edit");
    everybody["spec"]["subjects"][0]["name"] = json!("system:authenticated");
    assert_eq!(cluster().refused("admin", &everybody).await, "SystemNameNotAllowed");
    for (approval, reason) in [
        (json!({}), "InvalidField"),
        (json!({"stages": [{"name": "lead", "approvers": {}}]}), "InvalidField"),
        (json!({"stages": [{"name": "lead", "approvers": {"groups": ["system:masters"]}}]}), "SystemNameNotAllowed"),
    ] {
        let refused = object("ApprovalPolicy", "two-eyes", None, &json!({"approval": approval}));
        assert_eq!(cluster().refused("admin", &refused).await, reason);
    }
}

#[tokio::test]
async fn t46_a_name_may_come_later_and_a_dry_run_is_answered_alike() {
    let mut unnamed = request("x");
    unnamed["metadata"] = json!({"generateName": "inc-", "namespace": "payments"});
    let mut asked = review("dev", &unnamed, None);
    asked["request"]["name"] = json!("");
    asked["request"]["dryRun"] = json!(true);
    let (_, answer) = cluster().ask("/mutate", asked.to_string()).await;
    assert_eq!(answer["response"]["allowed"], true);
    asked["request"]["object"]["spec"]["eligibilityRef"]["name"] = json!("unknown");
    asked["request"]["object"]["spec"]["requester"] = json!({"username": "dev", "uid": "u-dev"});
    asked["request"]["object"]["metadata"]["creationTimestamp"] = json!(AT);
    let (_, answer) = cluster().ask("/validate", asked.to_string()).await;
    assert_eq!(answer["response"]["auditAnnotations"]["code"], "EligibilityNotFound");
}

#[tokio::test]
async fn updates_change_no_spec_and_no_stamp() {
    let (stored, _) = cluster().write("dev", &request("inc-1"), None).await.unwrap();
    let (same, _) = cluster().write("admin", &stored, Some(&stored)).await.unwrap();
    assert_eq!(same["spec"], stored["spec"], "the updater's name is nowhere");
    let mut longer = stored.clone();
    longer["spec"]["duration"] = json!("1h");
    assert!(cluster().write("dev", &longer, Some(&stored)).await.unwrap_err().starts_with("InvalidField: "));
    let old = cluster().write("admin", &eligibility("edit"), None).await.unwrap().0;
    let mut labelled = old.clone();
    labelled["metadata"]["labels"] = json!({"a": "b"});
    labelled["metadata"]["annotations"]["jitrbac.dev/author"] = json!("gitops");
    let away = Stored { away: true, ..Stored::default() };
    let (labelled, _) = away.write("gitops", &labelled, Some(&old)).await.unwrap();
    assert_eq!(labelled["metadata"]["annotations"]["jitrbac.dev/author"], "admin", "a change of labels needs no look-up");
}

#[tokio::test]
async fn t43_what_cannot_be_examined_is_refused() {
    let away = Stored { away: true, ..Stored::default() };
    for (user, object) in [("dev", request("inc-1")), ("lead-1", decision("Deny")), ("admin", eligibility("edit"))] {
        assert_eq!(away.refused(user, &object).await, "Unreadable");
    }
    let mut foreign = review("dev", &request("inc-1"), None);
    foreign["request"]["resource"]["resource"] = json!("roleactivationrequest");
    let (_, answer) = cluster().ask("/validate", foreign.to_string()).await;
    assert_eq!((&answer["response"]["allowed"], &answer["response"]["status"]["code"]), (&json!(false), &json!(503)));
}

#[tokio::test]
async fn every_answer_is_counted_under_words_of_ours() {
    let stored = cluster();
    stored.write("dev", &request("inc-1"), None).await.unwrap();
    stored.refused("outsider", &request("inc-1")).await;
    let mut strange = review("dev", &request("inc-1"), None);
    strange["request"]["kind"]["kind"] = json!("Forged");
    strange["request"]["resource"]["resource"] = json!("forgeries");
    stored.ask("/validate", strange.to_string()).await;
    strange["request"]["operation"] = json!("FORGE");
    stored.ask("/validate", strange.to_string()).await;
    stored.ask("/validate", "no question").await;
    let text = stored.scraped.text();
    for line in [
        r#"admission_reviews_total{webhook="mutate",kind="RoleActivationRequest",operation="CREATE",allowed="true"} 2"#,
        r#"admission_reviews_total{webhook="validate",kind="RoleActivationRequest",operation="CREATE",allowed="true"} 1"#,
        r#"admission_reviews_total{webhook="validate",kind="RoleActivationRequest",operation="CREATE",allowed="false"} 1"#,
        r#"admission_refusals_total{kind="RoleActivationRequest",code="NotEligible"} 1"#,
        r#"admission_refusals_total{kind="Unknown",code="Unexamined"} 1"#,
        r#"admission_refusals_total{kind="Unknown",code="Malformed"} 1"#,
        // Prometheus sees an increase only from a value that it has scraped before.
        r#"admission_refusals_total{kind="RoleEligibility",code="Unexamined"} 0"#,
        r#"admission_duration_seconds_count{kind="RoleActivationRequest"} 4"#,
    ] {
        assert!(text.contains(&format!("jitrbac_{line}\n")), "{line} is not in\n{text}");
    }
    assert!(!text.to_lowercase().contains("forge") && !text.contains("dev") && !text.contains("payments"), "{text}");
}

#[tokio::test]
async fn what_may_be_stored_leaves_its_uid_and_digest_in_the_audit_log() {
    let noted = async |stored: Stored, user: &str, object: &Value| {
        let (object, _) = stored.write(user, object, None).await.unwrap();
        let (_, answer) = stored.ask("/validate", review(user, &object, None).to_string()).await;
        answer["response"]["auditAnnotations"].clone()
    };
    let made = noted(cluster(), "dev", &request("inc-1")).await;
    assert_eq!(made["request-uid"], "new");
    assert!(made["digest"].as_str().unwrap().starts_with("sha256:"), "{made}");
    let denied = noted(with_request(), "lead-1", &decision("Deny")).await;
    assert_eq!(denied, json!({"request-uid": "inc-1", "decision": "Deny"}));
}

#[tokio::test]
async fn t26_no_question_makes_it_write() {
    let stored = with_request();
    for object in [request("inc-2"), decision("Deny"), decision("Deactivate"), eligibility("edit"), eligibility("x"), policy(1)] {
        for user in ["dev", "lead-1", "admin"] {
            let _ = stored.write(user, &object, None).await;
        }
    }
    for call in stored.calls.lock().iter() {
        assert!(call.starts_with("GET /") || call == "POST /apis/authorization.k8s.io/v1/subjectaccessreviews", "{call}");
    }
}

fn well_formed(status: StatusCode, answer: &Value) -> bool {
    let response = &answer["response"];
    let denied = response["allowed"] == false && response["status"]["message"].as_str().is_some_and(|message| !message.is_empty());
    status == StatusCode::BAD_REQUEST
        || (status == StatusCode::OK && response["uid"].is_string() && (denied || response["allowed"] == true))
}
