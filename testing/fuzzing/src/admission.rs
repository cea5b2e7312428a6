//! Bodies of admission reviews (invariants 18, 19 and 26, T1). The input is a body; both webhooks receive it.

use api::{RoleActivationRequest, names::is_object_name};
use axum::http::StatusCode;
use serde_json::{Map, Value};

use crate::{
    cluster::{AT, Cluster},
    is_printable,
};

pub const WORDS: &[&str] = &[
    "CREATE",
    "UPDATE",
    "DELETE",
    "CONNECT",
    "RoleActivationRequest",
    "roleactivationrequests",
    "activationdecisions",
    "roleeligibilities",
    "approvalpolicies",
    "Approve",
    "Deny",
    "Revoke",
    "Review",
    "Deactivate",
    "dev",
    "lead-1",
    "admin",
    "system:anonymous",
    "system:serviceaccount:payments:ci",
    "payments",
    "oncall",
    "two-eyes",
    "inc-1",
    "edit",
    "devs",
    "leads",
    "45m",
    "1h-5m",
    "99999h",
    AT,
    "9999-12-31T23:59:59Z",
    "spec",
    "metadata",
    "requester",
    "decider",
    "groups",
    "extra",
    "subResource",
    "oldObject",
    "dryRun",
    "generateName",
    "../secrets/x",
    "a?b=c",
    "line\nfeed",
    "\u{202e}",
    "\u{1b}[31m",
    "(",
    "a)|(?:b",
    "Europe/Oslo",
    "sha256:0000000000000000",
];

/// Length of a warning that every API server passes on completely, in bytes.
const WARNING: usize = 256;

thread_local! {
    static CLUSTER: Cluster = Cluster::new();
}

/// Verifies for any bytes that both webhooks return a well-formed response, that neither writes, and that a second call of the mutating one
/// changes nothing.
pub fn check(data: &[u8]) {
    CLUSTER.with(|cluster| {
        let question: Option<Value> = serde_json::from_slice(data).ok();
        one(cluster, "/validate", data, question.as_ref());
        let Some(patch) = one(cluster, "/mutate", data, question.as_ref()) else { return };
        let mut question = question.expect("a review that gets a patch is JSON");
        // Without metadata no author or owner can be written; an API server always sends metadata.
        if !question.pointer("/request/object/metadata").is_some_and(Value::is_object) {
            return;
        }
        let object = question.pointer_mut("/request/object").expect("a patch is for an object");
        json_patch::patch(object, &patch).expect("a patch can be applied");
        stamped(&question);
        let again = one(cluster, "/mutate", question.to_string().as_bytes(), Some(&question));
        let mut twice = question.clone();
        if let (Some(patch), Some(object)) = (again, twice.pointer_mut("/request/object")) {
            json_patch::patch(object, &patch).expect("a patch can be applied");
        }
        assert_eq!(twice, question, "a second call changes nothing");
        // As the API server continues: with a time and a UID, to the other webhook.
        if let Some(Value::Object(metadata)) = question.pointer_mut("/request/object/metadata") {
            metadata.insert("creationTimestamp".to_owned(), AT.into());
            metadata.insert("uid".to_owned(), "new".into());
            one(cluster, "/validate", question.to_string().as_bytes(), Some(&question));
        }
    });
}

/// Calls one webhook; returns its patch, if it made one.
fn one(cluster: &Cluster, path: &str, body: &[u8], question: Option<&Value>) -> Option<json_patch::Patch> {
    let (status, bytes, made) = cluster.ask(path, body);
    for call in &made {
        let (method, uri) = call.split_once(' ').unwrap_or_default();
        let place = uri.split('?').next().unwrap_or_default();
        assert!(method == "GET" || call == "POST /apis/authorization.k8s.io/v1/subjectaccessreviews?", "the webhook writes: {call}");
        assert!(
            place.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-._~:@+".contains(&byte)) && !place.contains("/.."),
            "it calls another path: {call}"
        );
    }
    if status == StatusCode::BAD_REQUEST {
        let uid = question.and_then(|question| question.pointer("/request/uid")).and_then(Value::as_str).unwrap_or_default();
        let ours = question.is_some_and(|question| {
            question.get("apiVersion") == Some(&"admission.k8s.io/v1".into()) && question.get("kind") == Some(&"AdmissionReview".into())
        });
        assert!(uid.is_empty() || !ours, "a review with a UID is answered");
        assert!(is_printable(String::from_utf8_lossy(&bytes).trim_end_matches('\n')), "an error is one printable line: {bytes:?}");
        return None;
    }
    assert_eq!(status, StatusCode::OK);
    let answer: Value = serde_json::from_slice(&bytes).expect("a response is JSON");
    let at = |pointer: &str| answer.pointer(pointer);
    assert_eq!((at("/apiVersion"), at("/kind")), (Some(&"admission.k8s.io/v1".into()), Some(&"AdmissionReview".into())));
    assert_eq!(at("/response/uid"), question.and_then(|question| question.pointer("/request/uid")), "the response is to this review");
    let response = at("/response").and_then(Value::as_object).expect("there is a response");
    safe(response);
    match response.get("allowed") {
        Some(Value::Bool(true)) => {
            let changes = response.get("patch")?;
            assert_eq!((path, response.get("patchType")), ("/mutate", Some(&"JSONPatch".into())));
            let bytes: Vec<u8> = serde_json::from_value(changes.clone()).expect("a patch is bytes");
            Some(serde_json::from_slice(&bytes).expect("a patch is a JSON patch"))
        }
        Some(Value::Bool(false)) => {
            assert!(response.get("patch").is_none(), "a refusal changes nothing");
            let number = at("/response/status/code").and_then(Value::as_u64);
            assert!(matches!(number, Some(403 | 422 | 503)), "{answer}");
            assert!(at("/response/status/message").and_then(Value::as_str).is_some_and(|message| message.contains(": ")), "{answer}");
            assert!(
                at("/response/auditAnnotations/code")
                    .and_then(Value::as_str)
                    .is_some_and(|code| code.bytes().all(|byte| byte.is_ascii_alphabetic())),
                "{answer}"
            );
            None
        }
        _ => panic!("neither allowed nor denied: {answer}"),
    }
}

/// Verifies that no text of a response can affect a terminal or a log, and that the API server truncates no warning.
fn safe(response: &Map<String, Value>) {
    for (key, value) in response.iter().filter(|(key, _)| *key != "uid" && *key != "patch") {
        all_texts(value, &|text| assert!(is_printable(text), "{key}: {text:?}"));
    }
    let warnings = response.get("warnings").and_then(Value::as_array).into_iter().flatten();
    assert!(warnings.filter_map(Value::as_str).all(|warning| warning.len() <= WARNING));
}

fn all_texts(value: &Value, seen: &impl Fn(&str)) {
    match value {
        Value::String(text) => seen(text),
        Value::Array(items) => items.iter().for_each(|inner| all_texts(inner, seen)),
        Value::Object(map) => map.iter().for_each(|(key, inner)| {
            seen(key);
            all_texts(inner, seen);
        }),
        _ => {}
    }
}

/// Verifies that a request or a decision names its real author, whatever its fields claimed (T1).
fn stamped(question: &Value) {
    let at = |pointer: &str| question.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (user, resource) = (at("/request/userInfo/username"), at("/request/resource/resource"));
    match (resource, at("/request/operation")) {
        ("roleactivationrequests", "CREATE") => assert_eq!(at("/request/object/spec/requester/username"), user),
        ("activationdecisions", "CREATE") => {
            assert_eq!(at("/request/object/spec/decider/username"), user);
            assert!(is_object_name(at("/request/object/spec/requestRef/uid")) && at("/request/object/spec/requestRef/requester") == "dev");
        }
        _ => {}
    }
    let object = question.pointer("/request/object").cloned().unwrap_or_default();
    if let Ok(request) = serde_json::from_value::<RoleActivationRequest>(object)
        && resource == "roleactivationrequests"
        && at("/request/operation") == "CREATE"
    {
        let member_of = |group: &str| {
            question.pointer("/request/userInfo/groups").and_then(Value::as_array).is_some_and(|all| all.contains(&group.into()))
        };
        assert!(
            request.spec.requester.is_some_and(|stamp| stamp.groups.iter().all(|group| member_of(group.as_str()))),
            "groups of another user"
        );
    }
}
