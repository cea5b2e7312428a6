//! The reader of the audit log.

use std::io::Write;

use control_plane::AuditLog;

const REFUSED: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"a-1","stage":"ResponseComplete","requestURI":"/apis/rbac.authorization.k8s.io/v1/namespaces/payments/rolebindings/jit-x?dryRun=None","verb":"patch","user":{"username":"dev","uid":"u-dev","groups":["devs","system:authenticated"]},"sourceIPs":["127.0.0.1"],"userAgent":"kubectl/v1.36.3","objectRef":{"resource":"rolebindings","namespace":"payments","name":"jit-x","apiGroup":"rbac.authorization.k8s.io","apiVersion":"v1"},"responseStatus":{"metadata":{},"status":"Failure","message":"no","reason":"Forbidden","code":403},"requestReceivedTimestamp":"2026-01-02T03:04:05.678901Z","stageTimestamp":"2026-01-02T03:04:05.779000Z","annotations":{"authorization.k8s.io/decision":"forbid"}}"#;
const STATUS: &str = r#"{"level":"Metadata","auditID":"a-2","stage":"ResponseComplete","requestURI":"/apis/jitrbac.dev/v1alpha1/namespaces/payments/roleactivationrequests/r/status?dryRun=All","verb":"update","user":{"username":"op"},"objectRef":{"resource":"roleactivationrequests","subresource":"status","apiGroup":"jitrbac.dev"},"responseStatus":{"code":200},"requestReceivedTimestamp":"2026-01-02T03:04:05Z","stageTimestamp":"2026-01-02T03:04:05Z"}"#;
const HEALTH: &str = r#"{"stage":"ResponseComplete","requestURI":"/readyz","verb":"get","user":{"username":"admin"},"requestReceivedTimestamp":"2026-01-02T03:04:05Z","stageTimestamp":"2026-01-02T03:04:05Z"}"#;

#[test]
fn reads_what_is_new_and_leaves_half_a_line_for_later() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let mut log = AuditLog::from_start(file.path().to_owned());
    assert!(log.read().unwrap().is_empty());

    let (head, tail) = STATUS.split_at(40);
    write!(file, "{REFUSED}\n{head}").unwrap();
    let events = log.read().unwrap();
    assert_eq!(events.len(), 1);
    let event = &events[0];
    assert_eq!((event.verb.as_str(), event.code()), ("patch", 403));
    assert_eq!((event.user.username.as_str(), event.user.uid.as_str()), ("dev", "u-dev"));
    assert_eq!(event.user_agent, "kubectl/v1.36.3");
    assert_eq!(event.resource(), "rolebindings");
    assert_eq!(event.object_ref.as_ref().unwrap().name, "jit-x");
    assert_eq!(event.response_status.as_ref().unwrap().reason, "Forbidden");
    assert_eq!(event.annotations["authorization.k8s.io/decision"], "forbid");
    let took = event.stage_timestamp.duration_since(event.request_received_timestamp);
    assert_eq!(took.as_micros(), 100_099);
    assert!(event.is_complete() && event.is_write());
    assert!(log.read().unwrap().is_empty());

    writeln!(file, "{tail}\n{HEALTH}").unwrap();
    let events = log.read().unwrap();
    assert_eq!(events.len(), 2);
    assert_eq!(events[0].resource(), "roleactivationrequests/status");
    assert!(!events[0].is_write(), "a dry run changes nothing");
    assert_eq!((events[1].resource(), events[1].code()), (String::new(), 0));
}

#[test]
fn a_reader_from_now_on_skips_the_past() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "{REFUSED}").unwrap();
    let mut log = AuditLog::from_now(file.path().to_owned()).unwrap();
    writeln!(file, "{STATUS}").unwrap();
    let events = log.read().unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].audit_id, "a-2");
}
