//! Every alert of the chart fires on a real Prometheus by the fault that it is for, and clears when the fault is removed. The queries of the
//! dashboard and of the pages return data on the same Prometheus.

mod certificate;
mod prometheus;
mod queries;
mod screenshots;

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use control_plane::{ADMIN, Fault, InForce, Refusal, Rule, wait_for, wait_for_ok};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::{
    audit::measured,
    ensure,
    env::{Env, Error, Outcome, SOON, Scene, Setting, TestCase, approved_by, automatic, eligibility},
    faults::{clock_skew, kill_all, start_all},
    grant_helpers::{text, time},
    guards::{Guard, until_proven, until_verified},
    test_cases,
};
use prometheus::Prometheus;

pub fn long_test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![alerts_fire_by_their_fault_and_clear]
}

/// The time limit for an alert to fire or clear. The longest fault is that of the watch, which must be silent for longer than usual.
const LIMIT: Duration = Duration::from_secs(150);
/// Names of eligibilities: more than the number of workers for them.
const MANY: [&str; 9] = ["a", "b", "c", "d", "e", "f", "g", "h", "overdue"];

/// The chart's values with short times: the same rules, but nobody waits for minutes.
fn values() -> Value {
    let counted = |threshold: f64| json!({"for": "1s", "threshold": threshold, "window": "15s"});
    let above = |threshold: u32| json!({"for": "1s", "threshold": threshold});
    let soon = json!({"for": "1s"});
    json!({"metrics": {"prometheusRule": {"enabled": true, "alerts": {
        "grantOverdue": soon,
        "revokeFailures": counted(3.0),
        "noLeader": soon,
        "controllerDown": soon,
        "webhookDown": soon,
        "webhookUnexamined": counted(0.0),
        "certificateExpiry": above(3 * 24 * 3_600),
        "guardNotProven": soon,
        "clockSkew": above(2),
        "emergencyReviewOverdue": soon,
        // A watch that receives nothing is compared with a list after 40 seconds.
        "watchStale": above(60),
        "reconcileErrors": counted(0.5),
        "queueStuck": above(3),
    }}}})
}

/// The parts of the test.
struct Alarm {
    scene: Scene,
    prometheus: Prometheus,
    fired: BTreeSet<String>,
}

impl Alarm {
    /// Waits until an alert fires.
    async fn fires(&mut self, alert: &str, from: Timestamp) -> Outcome {
        let found = self.prometheus.until_firing(alert, LIMIT).await?;
        measured(format!("{alert} fired after its fault began"), Timestamp::now().duration_since(from));
        ensure!(time(&found["activeAt"])? >= from, "{alert} was active before its fault: {found}");
        let description = found["annotations"]["description"].as_str().unwrap_or_default();
        ensure!(!description.is_empty() && !description.contains("{{"), "{alert} has the description '{description}'");
        let page = found["annotations"]["runbook_url"].as_str().unwrap_or_default();
        ensure!(Path::new(env!("CARGO_MANIFEST_DIR")).join(page).exists(), "{alert} has no page {page}");
        self.fired.insert(alert.to_owned());
        Ok(())
    }

    /// Waits until an alert has cleared.
    async fn clears(&self, alert: &str, from: Timestamp) -> Outcome {
        self.prometheus.until_inactive(alert, LIMIT).await?;
        measured(format!("{alert} cleared after its fault was removed"), Timestamp::now().duration_since(from));
        Ok(())
    }

    /// Adds a rule of the proxy between the operator and the API server.
    fn disturb(&self, rule: Rule) -> Result<InForce, Error> {
        Ok(self.scene.fixture.proxy()?.place(rule))
    }

    /// Scrapes the operator's processes after they were started again.
    fn scrape(&self) -> Outcome {
        self.prometheus.scrape(&self.scene.fixture, &[])
    }
}

async fn alerts_fire_by_their_fault_and_clear(env: Arc<Env>) -> Outcome {
    let setting = Setting { proxied: true, webhook_proxied: true, ..Setting::default() };
    let (fixture, _permit) = env.fixture_with(setting).await?;
    let scene = env.scene_on(&fixture, "alerts").await?;
    scene.offers(&MANY, &automatic(), &eligibility("edit")).await?;
    let groups = rule_groups(&scene).await?;
    let prometheus = Prometheus::start(&fixture, &groups).await?;
    let mut alarm = Alarm { scene, prometheus, fired: BTreeSet::new() };
    alarm.scrape()?;
    wait_for("all processes to be scraped", SOON, async || {
        (alarm.prometheus.query("up == 1").await.ok()?.len() == fixture.operator.servers().count()).then_some(())
    })
    .await?;
    alarm.scene.granted("dev", "a", "30m").await?;
    // The revoker removes it, so that the dashboard has a lateness. After the faults below the reconciler of the request may be first.
    let expires = alarm.scene.granted("dev", "c", "3s").await?;
    alarm.scene.until_gone(&expires.binding, SOON).await?;
    // Those of the time before the first scrapes.
    wait_for_ok("no alert before any fault", SOON, async || match alarm.prometheus.alerts().await? {
        none if none.is_empty() => Ok(()),
        some => Err(format!("there are {some:?}")),
    })
    .await?;

    grants_end_late(&mut alarm).await?;
    no_lease(&mut alarm).await?;
    webhook_without_api_server(&mut alarm).await?;
    reconciliations_fail(&mut alarm).await?;
    calls_hang(&mut alarm).await?;
    watch_is_silent(&mut alarm).await?;
    guard_is_deleted(&mut alarm).await?;
    review_is_overdue(&mut alarm).await?;
    certificate_expires(&mut alarm).await?;
    queries::every_query_returns_data(&alarm.prometheus).await?;
    screenshots::of_graphs(&alarm.prometheus).await?;
    webhook_hangs(&mut alarm).await?;
    controllers_are_killed(&mut alarm).await?;
    clock_is_wrong(&mut alarm).await?;

    let all: BTreeSet<String> = groups[0]["rules"].as_array().into_iter().flatten().map(|rule| text(&rule["alert"])).collect();
    ensure!(alarm.fired == all, "of the alerts {all:?} only these fired: {:?}", alarm.fired);
    Ok(())
}

/// Renders the rule groups of the chart.
async fn rule_groups(scene: &Scene) -> Result<Value, Error> {
    let cluster = scene.fixture.cluster();
    let file = cluster.directory().join("alerts.json");
    std::fs::write(&file, values().to_string())?;
    let mut helm = cluster.helm()?;
    helm.args(["template", "jit-rbac"]).arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/jit-rbac"));
    helm.args(["--namespace", "jit-system", "--show-only", "templates/monitoring/prometheusrule.yaml", "--values"]).arg(file);
    let said = helm.output().await?;
    ensure!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let rendered: Value = serde_saphyr::from_str(std::str::from_utf8(&said.stdout)?)?;
    Ok(rendered["spec"]["groups"].clone())
}

/// The API server answers deletions of bindings with an error while a grant expires.
async fn grants_end_late(alarm: &mut Alarm) -> Outcome {
    let rule = alarm.disturb(Rule::on("delete", "rolebindings", Fault::Answer(Refusal::INTERNAL)))?;
    let granted = alarm.scene.granted("dev", "overdue", "5s").await?;
    for alert in ["JitRbacGrantOverdue", "JitRbacRevokeFailures"] {
        alarm.fires(alert, granted.deadline).await?;
    }
    screenshots::of_alerts(&alarm.prometheus).await?;
    drop(rule);
    let removed = Timestamp::now();
    for alert in ["JitRbacGrantOverdue", "JitRbacRevokeFailures"] {
        alarm.clears(alert, removed).await?;
    }
    alarm.scene.until_gone(&granted.binding, SOON).await?;
    Ok(())
}

/// No replica can write the Lease.
async fn no_lease(alarm: &mut Alarm) -> Outcome {
    let from = Timestamp::now();
    let rule = alarm.disturb(Rule::on("update", "leases", Fault::Answer(Refusal::INTERNAL)))?;
    alarm.fires("JitRbacNoLeader", from).await?;
    drop(rule);
    alarm.clears("JitRbacNoLeader", Timestamp::now()).await
}

/// The API server does not answer the webhook.
async fn webhook_without_api_server(alarm: &mut Alarm) -> Outcome {
    let from = Timestamp::now();
    let rule = alarm.disturb(Rule::every(Fault::Hold).of("webhook"))?;
    // Whether the author may bind the role is a question to the API server.
    let patch = json!({"spec": {"maxDuration": "55m"}}).to_string();
    let args = ["patch", "rel", &alarm.scene.offered("b"), "--type=merge", "-p", &patch];
    let refused = alarm.scene.kubectl(ADMIN, &args).await?.refused()?;
    ensure!(refused.contains("try again"), "it is refused otherwise: {refused}");
    alarm.fires("JitRbacWebhookUnexamined", from).await?;
    drop(rule);
    alarm.clears("JitRbacWebhookUnexamined", Timestamp::now()).await?;
    Ok(alarm.scene.fixture.operator.webhook().wait_until_ready(SOON).await?)
}

/// Changes every eligibility, so that the leader reconciles all of them.
async fn change_eligibilities(scene: &Scene, longest: &str) -> Outcome {
    for name in MANY {
        let patch = json!({"spec": {"maxDuration": longest}}).to_string();
        scene.kubectl(ADMIN, &["patch", "rel", &scene.offered(name), "--type=merge", "-p", &patch]).await?.ok()?;
    }
    Ok(())
}

/// The API server answers reads of eligibilities with an error.
async fn reconciliations_fail(alarm: &mut Alarm) -> Outcome {
    let from = Timestamp::now();
    let rule = alarm.disturb(Rule::on("get", "roleeligibilities", Fault::Answer(Refusal::INTERNAL)))?;
    change_eligibilities(&alarm.scene, "50m").await?;
    alarm.fires("JitRbacReconcileErrors", from).await?;
    drop(rule);
    alarm.clears("JitRbacReconcileErrors", Timestamp::now()).await
}

/// The API server does not answer reads of eligibilities, so that all workers for them wait.
async fn calls_hang(alarm: &mut Alarm) -> Outcome {
    let from = Timestamp::now();
    let rule = alarm.disturb(Rule::on("get", "roleeligibilities", Fault::Hold))?;
    change_eligibilities(&alarm.scene, "40m").await?;
    alarm.fires("JitRbacQueueStuck", from).await?;
    drop(rule);
    alarm.clears("JitRbacQueueStuck", Timestamp::now()).await
}

/// A watch receives nothing, and cannot be compared with a list either.
async fn watch_is_silent(alarm: &mut Alarm) -> Outcome {
    let from = Timestamp::now();
    let watches = alarm.disturb(Rule::on("watch", "approvalpolicies", Fault::Hold))?;
    let lists = alarm.disturb(Rule::on("list", "approvalpolicies", Fault::Hold))?;
    alarm.scene.fixture.proxy()?.cut("approvalpolicies");
    alarm.fires("JitRbacWatchStale", from).await?;
    drop((watches, lists));
    alarm.clears("JitRbacWatchStale", Timestamp::now()).await
}

/// A user with the right to do so deletes an admission guard.
async fn guard_is_deleted(alarm: &mut Alarm) -> Outcome {
    let from = Timestamp::now();
    let fixture = alarm.scene.fixture.clone();
    let guard = Guard::save(&fixture, "validatingadmissionpolicybinding", "jit-rbac-status").await?;
    guard.delete(&fixture).await?;
    alarm.fires("JitRbacGuardNotProven", from).await?;
    guard.restore(&fixture).await?;
    let restored = Timestamp::now();
    alarm.clears("JitRbacGuardNotProven", restored).await?;
    // Objects that are written before do not count.
    until_proven(&fixture, restored).await?;
    until_verified(&fixture).await
}

/// Nobody reviews an emergency in time.
async fn review_is_overdue(alarm: &mut Alarm) -> Outcome {
    let mut policy = approved_by("leads", 1);
    policy["emergency"] = json!({"allowed": true, "maxDuration": "10m", "reviewers": {"groups": ["security"]}, "reviewWithin": "3s"});
    let offer = alarm.scene.offer("emergency", policy, eligibility("edit")).await?;
    let mut request = alarm.scene.request("emergency", &offer, "10m");
    request["spec"]["emergency"] = json!(true);
    let from = Timestamp::now();
    alarm.scene.let_in("dev", "rar", &request).await?;
    alarm.scene.until_state("emergency", "Active", SOON).await?;
    alarm.fires("JitRbacEmergencyReviewOverdue", from).await?;
    alarm.scene.create("security", &alarm.scene.decision("emergency", "Review", None)).await?.ok()?;
    alarm.clears("JitRbacEmergencyReviewOverdue", Timestamp::now()).await
}

/// A certificate that nobody has renewed.
async fn certificate_expires(alarm: &mut Alarm) -> Outcome {
    let from = Timestamp::now();
    let webhook = certificate::Webhook::start(&alarm.scene.fixture, 2).await?;
    alarm.prometheus.scrape(&alarm.scene.fixture, &[webhook.health])?;
    alarm.fires("JitRbacCertificateExpiry", from).await?;
    webhook.renew(90)?;
    alarm.clears("JitRbacCertificateExpiry", Timestamp::now()).await?;
    drop(webhook);
    alarm.scrape()
}

/// The webhook's process is frozen.
async fn webhook_hangs(alarm: &mut Alarm) -> Outcome {
    let from = Timestamp::now();
    let fixture = alarm.scene.fixture.clone();
    fixture.operator.webhook().stop()?;
    alarm.fires("JitRbacWebhookDown", from).await?;
    fixture.operator.webhook().resume()?;
    alarm.clears("JitRbacWebhookDown", Timestamp::now()).await
}

async fn controllers_are_killed(alarm: &mut Alarm) -> Outcome {
    let from = Timestamp::now();
    let fixture = alarm.scene.fixture.clone();
    kill_all(&fixture);
    alarm.fires("JitRbacControllerDown", from).await?;
    start_all(&fixture).await?;
    alarm.scrape()?;
    alarm.clears("JitRbacControllerDown", Timestamp::now()).await
}

/// The clock of the leader is ten minutes ahead.
async fn clock_is_wrong(alarm: &mut Alarm) -> Outcome {
    let from = Timestamp::now();
    let fixture = alarm.scene.fixture.clone();
    kill_all(&fixture);
    let replica = clock_skew::Replica::start(&fixture, SignedDuration::from_mins(10)).await?;
    let webhook = fixture.operator.webhook().health_address()?;
    alarm.prometheus.scrape_only(&[webhook, replica.health().await?])?;
    alarm.fires("JitRbacClockSkew", from).await?;
    drop(replica);
    start_all(&fixture).await?;
    alarm.scrape()?;
    alarm.clears("JitRbacClockSkew", Timestamp::now()).await
}
