use std::collections::{BTreeMap, BTreeSet};

use super::*;

const DOCS: &str = "docs/metrics.md";
/// The markers before and after the table in the docs.
const MARKS: [&str; 2] = ["<!-- the table is written by a test of src/operator/observe/metrics.rs -->\n", "\n<!-- end -->"];

/// Returns the metrics of a process that is both controller and webhook, after each event once.
fn everything() -> Metrics {
    let metrics = Metrics::of("controller");
    let review = Review { webhook: "validate", kind: "RoleActivationRequest", operation: "CREATE", allowed: false };
    AdmissionMetrics::registered(&metrics).answered(&review, Some("NotEligible"), Duration::from_millis(3));
    let controller = ControllerMetrics::registered(&metrics);
    ControllerMetrics::looked_up(&metrics, || 7, || 0, || true);
    ControllerMetrics::watched(&metrics, || vec![("requests".to_owned(), false)], || Some(-0.25), || vec![("Overdue".to_owned(), 2)]);
    let watches = kube_io::watches::Watches::default();
    process::watches::show(&watches, &metrics);
    let place = watches.place("requests");
    place.stale(false);
    place.current();
    // The watch stays registered.
    std::mem::forget(place);
    let queue = crate::observe::queues::QueuesMetrics::registered(&metrics).of("requests");
    queue.added();
    queue.started(tokio::time::Instant::now());
    queue.finished(tokio::time::Instant::now(), crate::observe::queues::Outcome::Error);
    let call = kube_io::observed::ApiCall { verb: "delete", resource: "rolebindings", status: None, took: Duration::from_millis(3) };
    process::api_calls::registered(&metrics)(call);
    AdmissionMetrics::looked_up(&metrics, || Some(Timestamp::from_second(1_800_000_000).unwrap()));
    controller.granted();
    controller.reported(State::Expired, Reason::Expired);
    controller.reported(State::AwaitingApproval, Reason::WaitingForApproval);
    controller.removed(SignedDuration::from_millis(30));
    controller.removed(SignedDuration::from_secs(-1));
    controller.revoke_failed();
    controller.record_deleted();
    metrics
}

#[derive(Debug, Default)]
struct Family {
    help: String,
    kind: String,
    labels: BTreeSet<String>,
}

/// Returns the metric families of a scrape, by name.
fn families(text: &str) -> BTreeMap<String, Family> {
    let mut all: BTreeMap<String, Family> = BTreeMap::new();
    let mut last = String::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            assert!(all.insert(name.to_owned(), Family { help: help.to_owned(), ..Family::default() }).is_none(), "{name} is there twice");
            name.clone_into(&mut last);
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            all.get_mut(name).unwrap().kind = kind.to_owned();
        } else {
            assert!(line.starts_with(&last), "{line} stands under {last}");
            let labels = line.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}')).map_or("", |(labels, _)| labels);
            let names = labels.split(',').filter_map(|label| Some(label.split_once('=')?.0.to_owned())).filter(|name| name != "le");
            all.get_mut(&last).unwrap().labels.extend(names);
        }
    }
    all
}

#[test]
fn a_scrape_says_what_happened() {
    let text = everything().text();
    for line in [
        "jitrbac_admission_reviews_total{webhook=\"validate\",kind=\"RoleActivationRequest\",operation=\"CREATE\",allowed=\"false\"} 1",
        "jitrbac_admission_refusals_total{kind=\"RoleActivationRequest\",code=\"NotEligible\"} 1",
        "jitrbac_admission_duration_seconds_count{kind=\"RoleActivationRequest\"} 1",
        "jitrbac_requests_decided_total{state=\"Expired\",reason=\"Expired\"} 1",
        "jitrbac_grants_total 1",
        "jitrbac_active_grants 7",
        "jitrbac_overdue_grants 0",
        "jitrbac_leader 1",
        "jitrbac_guard_proven{guard=\"requests\"} 0",
        "jitrbac_clock_skew_seconds -0.25",
        "jitrbac_emergency_reviews{state=\"Overdue\"} 2",
        "jitrbac_revoke_failures_total 1",
        "jitrbac_revocation_lateness_seconds_bucket{le=\"0.01\"} 1",
        "jitrbac_revocation_lateness_seconds_bucket{le=\"0.05\"} 2",
        "jitrbac_revocation_lateness_seconds_bucket{le=\"+Inf\"} 2",
        "jitrbac_api_requests_total{verb=\"delete\",resource=\"rolebindings\",code=\"<error>\"} 1",
        "jitrbac_api_request_duration_seconds_count{verb=\"delete\"} 1",
        "jitrbac_certificate_expiration_timestamp_seconds 1800000000",
        concat!("jitrbac_build_info{component=\"controller\",version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
    ] {
        assert!(text.lines().any(|printed| printed == line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("AwaitingApproval"), "what waits is not decided");
}

/// Every label value comes from a fixed set. A requester can neither create series without limit nor read the names of others.
#[test]
fn no_label_can_hold_a_name_of_anybody() {
    let bounded = [
        "webhook",
        "kind",
        "operation",
        "allowed",
        "code",
        "state",
        "reason",
        "component",
        "version",
        "guard",
        "watch",
        "controller",
        "queue",
        "result",
        "verb",
        "resource",
    ];
    for (name, family) in families(&everything().text()) {
        assert!(family.labels.iter().all(|label| bounded.contains(&label.as_str())), "{name}: {:?}", family.labels);
    }
}

#[test]
fn names_are_as_prometheus_wants_them() {
    for (name, family) in families(&everything().text()) {
        assert!(name.starts_with("jitrbac_") || name.starts_with("process_"), "{name}");
        assert_eq!(name.ends_with("_total"), family.kind == "counter", "{name}");
        assert!(family.kind != "histogram" || name.ends_with("_seconds"), "{name}");
        assert!(family.help.len() > 10 && family.help.ends_with('.') && !family.help.ends_with(".."), "{name}: {}", family.help);
    }
}

/// With `BLESS=1` in the environment the table is rewritten.
#[test]
fn the_docs_list_every_metric() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(DOCS);
    let docs = std::fs::read_to_string(&path).unwrap();
    let rows = families(&everything().text()).into_iter().map(|(name, family)| {
        let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        format!("| `{name}` | {} | {} | {} |", family.kind, labels.join(", "), family.help.trim_end_matches('.'))
    });
    let head = ["| metric | type | labels | what it says |", "|---|---|---|---|"].map(str::to_owned);
    let table = head.into_iter().chain(rows).collect::<Vec<_>>().join("\n");
    let (before, rest) = docs.split_once(MARKS[0]).unwrap();
    let (stored, after) = rest.split_once(MARKS[1]).unwrap();
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, format!("{before}{}{table}{}{after}", MARKS[0], MARKS[1])).unwrap();
    } else {
        assert!(stored == table, "{DOCS} lists other metrics than there are: BLESS=1 cargo test -p jit-rbac --lib metrics writes\n{table}");
    }
}

/// The names, types and units are those of Prometheus' own clients, so that dashboards for any process work.
#[cfg(target_os = "linux")]
#[test]
fn a_scrape_describes_the_process() {
    let text = everything().text();
    let value = |name: &str| -> f64 {
        let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        found.unwrap_or_else(|| panic!("{name} is not in\n{text}")).parse().unwrap()
    };
    let now = Timestamp::now().as_duration().as_secs_f64();
    assert!((now - 3_600.0..=now + 2.0).contains(&value("process_start_time_seconds")), "{}", value("process_start_time_seconds"));
    assert!(value("process_cpu_seconds_total") >= 0.0 && value("process_threads") >= 1.0);
    assert!((1e6..1e12).contains(&value("process_resident_memory_bytes")) && value("process_virtual_memory_bytes") > 1e6);
    assert!(value("process_open_fds") >= 3.0 && value("process_open_fds") < value("process_max_fds"));
}
