//! The main use case from start to end: a user has no access, requests it, has it until the deadline, and loses it.

mod audit_times;
mod screen;

use std::fs;
use std::time::Duration;

use control_plane::{
    Cluster, Error, Operator, OperatorOptions, Options, Plane, Result, checkout, on_interrupt,
    playground::{self, MailServer},
    wait_for_ok,
};
use jiff::Timestamp;

use audit_times::AuditTimes;
use screen::Screen;

const ACCESS: &str = include_str!("access.yaml");

/// Runs the demo on a control plane of its own and leaves nothing behind.
pub(crate) async fn demo() -> Result<()> {
    let root = checkout()?;
    println!("# A real control plane: etcd, kube-apiserver and kube-controller-manager, on this machine only.");
    let plane = Plane::start(Options::default()).await?;
    let cluster = plane.cluster().clone();
    let reaper = plane.reaper().clone();
    on_interrupt(move || reaper.end())?;
    playground::namespaces(&cluster).await?;
    println!("# The operator: its chart, installed with Helm; then two controllers and a webhook as the chart's ServiceAccounts.");
    let mut options = OperatorOptions::of_checkout(&root)?;
    let audit_log = playground::AuditLog::prepare(cluster.directory())?;
    audit_log.add_to(&mut options);
    let mail = MailServer::start(&cluster, plane.reaper()).await?;
    MailServer::add_to(&mut options);
    let operator = Operator::start(&cluster, plane.reaper(), options).await?;
    mail.receive(&cluster).await?;
    let mut story = Story { screen: Screen::new(&cluster), audit_times: AuditTimes::new(cluster.audit()), table: Vec::new() };
    story.access(&cluster, &root.join("charts/jit-access")).await?;
    story.self_service().await?;
    story.two_leads().await?;
    story.killed(&operator).await?;
    notified(&mail).await?;
    recorded(&audit_log).await?;
    story.end();
    Ok(())
}

/// The least number of messages about the requests of the demo.
const MAILS: usize = 24;

/// Shows who was notified of what.
async fn notified(server: &MailServer) -> Result<()> {
    println!("\n# The people concerned have received mail.");
    for mail in server.messages(|mails| mails.len() >= MAILS).await? {
        let to: Vec<&str> = mail.to.iter().map(|to| to.address.as_str()).collect();
        println!("  {:<22} {}", to.join(", "), mail.subject);
    }
    Ok(())
}

/// Shows what the audit log has and proves, once it has all of it.
async fn recorded(log: &playground::AuditLog) -> Result<()> {
    println!("\n# Everything is in the audit log, and each grant and each end follows from what is in it.");
    for args in [&["list", "--utc"][..], &["verify"], &["replay"]] {
        let done = wait_for_ok("the audit log", Duration::from_secs(30), async || {
            let said = log.read(args).map_err(|error| error.to_string())?;
            let ended = said.lines().any(|line| line.contains("inc-4714") && line.contains("Expired"));
            if args.first() != Some(&"list") || ended { Ok(said) } else { Err("the last end is not there yet".to_owned()) }
        });
        println!("$ kubectl jit record {}\n{}", args.join(" "), done.await?);
    }
    Ok(())
}

struct Story {
    screen: Screen,
    audit_times: AuditTimes,
    table: Vec<(String, String)>,
}

impl Story {
    async fn access(&self, cluster: &Cluster, chart: &std::path::Path) -> Result<()> {
        self.screen.say("With Helm, an admin configures who is eligible for which roles, and under which conditions.");
        let values = cluster.directory().join("access.yaml");
        fs::write(&values, ACCESS).map_err(|error| Error::State(format!("cannot write {}: {error}", values.display())))?;
        self.screen.helm("jit-access", chart, &values).await?;
        self.screen.kubectl("admin", "wait --for=condition=Ready roleeligibilities --all --timeout=20s").await?.expect(true)?;
        Ok(())
    }

    async fn self_service(&mut self) -> Result<()> {
        let screen = &self.screen;
        screen.say("dev has no access and cannot create a Deployment.");
        screen.kubectl("dev", "auth can-i create deployments -n payments").await?.expect(false)?;
        screen.kubectl("dev", "create deployment web --image=web:1 -n payments").await?.expect(false)?;
        screen.say("Which roles is dev eligible for?");
        screen.kubectl("dev", "get roleeligibilities").await?.expect(true)?;
        screen.say("dev requests too long a duration. The refusal names the reason.");
        screen.with_manifest("dev", "apply", &request("inc-4711", "payments-edit", "3h")).await?.expect(false)?;
        screen.say("dev activates the role for eight seconds and creates the Deployment.");
        screen.with_manifest("dev", "apply", &request("inc-4711", "payments-edit", "8s")).await?.expect(true)?;
        screen.kubectl("dev", "wait --for=condition=Settled rar/inc-4711 -n payments --timeout=10s").await?.expect(true)?;
        screen.kubectl("dev", "create deployment web --image=web:1 -n payments").await?.expect(true)?;
        screen.kubectl("dev", "get rar -n payments").await?.expect(true)?;
        screen.say("The grant has expired. The operator removed it, and dev has no access.");
        screen
            .kubectl("dev", "wait --for=jsonpath='{.status.state}'=Expired rar/inc-4711 -n payments --timeout=30s")
            .await?
            .expect(true)?;
        screen.kubectl("dev", "create deployment web2 --image=web:1 -n payments").await?.expect(false)?;
        let binding = self.binding("inc-4711").await?;
        let asked = self.audit_times.when("create", "roleactivationrequests", "inc-4711").await?;
        let made = self.audit_times.when("create", "rolebindings", &binding).await?;
        let gone = self.audit_times.when("delete", "rolebindings", &binding).await?;
        self.measured("request created -> binding made (automatic)", made.duration_since(asked));
        let deadline = self.deadline("inc-4711").await?;
        self.measured("deadline -> binding gone", gone.duration_since(deadline));
        Ok(())
    }

    async fn two_leads(&mut self) -> Result<()> {
        let screen = &self.screen;
        screen.say("A stronger role needs the approval of two leads. lead-1 requests it.");
        screen.with_manifest("lead-1", "apply", &request("inc-4712", "payments-admin", "10m")).await?.expect(true)?;
        let waiting = "wait --for=jsonpath='{.status.state}'=AwaitingApproval rar/inc-4712 -n payments --timeout=10s";
        screen.kubectl("lead-1", waiting).await?.expect(true)?;
        let digest = self.screen.value("rar inc-4712 -n payments", ".status.digest").await?;
        screen.say("lead-1 is an approver, but cannot approve their own request.");
        let refused = screen.with_manifest("lead-1", "create", &decision("inc-4712", "Approve", &digest)).await?.expect(false)?;
        let took = refused.took;
        screen.say("lead-1 withdraws it.");
        screen.with_manifest("lead-1", "create", &decision("inc-4712", "Deactivate", "")).await?.expect(true)?;
        screen.say("dev requests it, and both leads approve what they reviewed, identified by its digest.");
        screen.with_manifest("dev", "apply", &request("inc-4713", "payments-admin", "10m")).await?.expect(true)?;
        let waiting = "wait --for=jsonpath='{.status.state}'=AwaitingApproval rar/inc-4713 -n payments --timeout=10s";
        screen.kubectl("dev", waiting).await?.expect(true)?;
        let digest = self.screen.value("rar inc-4713 -n payments", ".status.digest").await?;
        screen.with_manifest("lead-1", "create", &decision("inc-4713", "Approve", &digest)).await?.expect(true)?;
        screen.kubectl("lead-2", "get rar inc-4713 -n payments -o jsonpath='{.status.awaiting}{\"\\n\"}'").await?.expect(true)?;
        let before = Timestamp::now();
        screen.with_manifest("lead-2", "create", &decision("inc-4713", "Approve", &digest)).await?.expect(true)?;
        screen.kubectl("dev", "wait --for=condition=Active rar/inc-4713 -n payments --timeout=10s").await?.expect(true)?;
        screen.kubectl("dev", "auth can-i create rolebindings -n payments").await?.expect(true)?;
        screen.kubectl("dev", "get rar inc-4713 -n payments -o wide").await?.expect(true)?;
        screen.say("dev finishes early and deactivates the role.");
        let given = Timestamp::now();
        screen.with_manifest("dev", "create", &decision("inc-4713", "Deactivate", "")).await?.expect(true)?;
        screen
            .kubectl("dev", "wait --for=jsonpath='{.status.state}'=Deactivated rar/inc-4713 -n payments --timeout=10s")
            .await?
            .expect(true)?;
        screen.kubectl("dev", "auth can-i create rolebindings -n payments").await?.expect(false)?;
        let binding = self.binding("inc-4713").await?;
        let approved = self.audit_times.created_by("lead-2", "activationdecisions", before).await?;
        let made = self.audit_times.when("create", "rolebindings", &binding).await?;
        let back = self.audit_times.created_by("dev", "activationdecisions", given).await?;
        let gone = self.audit_times.when("delete", "rolebindings", &binding).await?;
        self.table.push(("own approval refused (whole kubectl command)".to_owned(), millis(took)));
        self.measured("second approval -> binding made", made.duration_since(approved));
        self.measured("deactivated -> binding gone", gone.duration_since(back));
        Ok(())
    }

    async fn killed(&mut self, operator: &Operator) -> Result<()> {
        self.screen.say("The leader is killed during a grant. The other replica ends the grant.");
        self.screen.with_manifest("dev", "apply", &request("inc-4714", "payments-edit", "5s")).await?.expect(true)?;
        self.screen.kubectl("dev", "wait --for=condition=Active rar/inc-4714 -n payments --timeout=10s").await?.expect(true)?;
        let holder = self.screen.value("lease jit-rbac-controller -n jit-system", ".spec.holderIdentity").await?;
        let server = operator
            .controllers()
            .iter()
            .find(|server| server.name() == holder)
            .ok_or_else(|| Error::State(format!("no controller is named '{holder}', which holds the Lease")))?;
        println!("$ kill -9 {}   # {holder}, the holder of the Lease", server.pid().unwrap_or_default());
        server.kill();
        let binding = self.binding("inc-4714").await?;
        let gone = self.audit_times.when("delete", "rolebindings", &binding).await?;
        self.screen.kubectl("dev", "create deployment web3 --image=web:1 -n payments").await?.expect(false)?;
        let expired = "wait --for=jsonpath='{.status.state}'=Expired rar/inc-4714 -n payments --timeout=20s";
        self.screen.kubectl("dev", expired).await?.expect(true)?;
        let deadline = self.deadline("inc-4714").await?;
        self.measured("deadline -> binding gone, holder killed", gone.duration_since(deadline));
        self.screen.say("The requests stay as a record:");
        self.screen.kubectl("security", "get rar -n payments -o wide").await?.expect(true)?;
        Ok(())
    }

    async fn binding(&self, request: &str) -> Result<String> {
        let uid = self.screen.value(&format!("rar {request} -n payments"), ".metadata.uid").await?;
        Ok(format!("jit-{uid}"))
    }

    async fn deadline(&self, request: &str) -> Result<Timestamp> {
        let text = self.screen.value(&format!("rar {request} -n payments"), ".status.expiresAt").await?;
        text.parse().map_err(|error| Error::State(format!("'{text}' is not a valid time: {error}")))
    }

    fn measured(&mut self, step: &str, took: jiff::SignedDuration) {
        self.table.push((step.to_owned(), millis(Duration::try_from(took).unwrap_or_default())));
    }

    fn end(&self) {
        println!("\n# Measured in this run, from the API server's audit log:");
        for (step, took) in &self.table {
            println!("  {step:<45} {took:>12}");
        }
    }
}

fn millis(took: Duration) -> String {
    format!("{:.1} ms", took.as_secs_f64() * 1000.0)
}

fn request(name: &str, eligibility: &str, duration: &str) -> String {
    format!(
        "\
apiVersion: jitrbac.dev/v1alpha1
kind: RoleActivationRequest
metadata: {{name: {name}, namespace: payments}}
spec:
  eligibilityRef: {{name: {eligibility}}}
  duration: {duration}
  justification: \"{}: checkout is slow\"
",
        name.to_uppercase()
    )
}

fn decision(request: &str, verb: &str, digest: &str) -> String {
    let digest = if digest.is_empty() { String::new() } else { format!("\n  digest: {digest}") };
    format!(
        "\
apiVersion: jitrbac.dev/v1alpha1
kind: ActivationDecision
metadata: {{generateName: {request}-, namespace: payments}}
spec:
  requestRef: {{name: {request}}}
  decision: {verb}{digest}
"
    )
}
