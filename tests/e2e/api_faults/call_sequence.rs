//! The sequence of API calls in the life of a grant, as the proxy records it.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use control_plane::{ADMIN, Call, Fault, Rule, wait_for};

use crate::{
    ensure,
    env::{ClusterFixture, Env, Error, Outcome, SOON, Scene, Setting, approved_by, automatic, eligibility},
    faults::holder,
    grant_helpers::each,
};

/// How a request is approved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Automatic,
    Approved,
}

/// One call of a grant's life: the `nth` of this verb on this resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub verb: &'static str,
    pub resource: String,
    pub nth: usize,
    /// It comes after the deadline; the number counts from there.
    pub ends: bool,
    nth_at_end: usize,
}

impl Step {
    /// Returns true for a call that changes an object.
    pub fn writes(&self) -> bool {
        !matches!(self.verb, "get" | "list" | "watch")
    }

    /// Returns the rule that disturbs this call of `caller` about `request`. It is added before the request is created.
    pub fn rule(&self, caller: &str, request: &str, fault: Fault) -> Rule {
        Rule::on(self.verb, &self.resource, fault).of(caller).about(request).nth(self.nth)
    }

    /// The same for a rule that is added shortly before the end.
    pub fn rule_at_end(&self, caller: &str, request: &str, fault: Fault) -> Rule {
        self.rule(caller, request, fault).nth(self.nth_at_end)
    }
}

/// A control plane with a proxy, and a scene on it.
pub async fn proxied(env: &Env, name: &str) -> Result<(Scene, tokio::sync::OwnedSemaphorePermit), Error> {
    let (fixture, permit) = env.fixture_with(Setting { proxied: true, ..Setting::default() }).await?;
    Ok((env.scene_on(&fixture, name).await?, permit))
}

/// Returns the caller name of the holder of the Lease.
pub async fn calling(fixture: &ClusterFixture) -> Result<String, Error> {
    Ok(format!("controller-{}", holder(fixture).await?))
}

/// Writes a policy and eligibility for each of these requests, and waits until the operator has evaluated them: from then on every call
/// that contains a request's name belongs to its life.
pub async fn offer(scene: &Scene, way: Way, requests: &[String]) -> Outcome {
    if requests.is_empty() {
        return Ok(());
    }
    let policy = if way == Way::Automatic { automatic() } else { approved_by("leads", 1) };
    let names: Vec<&str> = requests.iter().map(String::as_str).collect();
    scene.offers(&names, &policy, &eligibility("edit")).await?;
    let ready = ["wait", "--for=condition=Ready", "--timeout=30s"];
    let all: Vec<String> = ["approvalpolicy", "roleeligibility"]
        .iter()
        .flat_map(|kind| requests.iter().map(move |r| format!("{kind}/{}", scene.offered(r))))
        .collect();
    let args: Vec<&str> = ready.iter().copied().chain(all.iter().map(String::as_str)).collect();
    scene.kubectl(ADMIN, &args).await?.ok()?;
    Ok(())
}

/// Starts a request: creates it, and approves it if that is required.
pub async fn bring(scene: &Scene, way: Way, request: &str, duration: &str) -> Outcome {
    scene.let_in("dev", "rar", &scene.request(request, &scene.offered(request), duration)).await?;
    if way == Way::Approved {
        let status = scene.until_state(request, "AwaitingApproval", SOON).await?;
        scene.let_in("lead-1", "adec", &scene.decision(request, "Approve", status["digest"].as_str())).await?;
    }
    Ok(())
}

/// Starts a request, and waits until it is completed.
async fn live(scene: &Scene, way: Way, request: &str, duration: &str) -> Result<serde_json::Value, Error> {
    bring(scene, way, request, duration).await?;
    scene.until_completed(request, SOON).await
}

/// The steps of the holder in an undisturbed life. Only steps of each of two lives count, as others occur by chance.
pub async fn steps(scene: &Scene, way: Way) -> Result<Vec<Step>, Error> {
    let requests = [1, 2].map(|number| format!("{}-alone-{number}", if way == Way::Automatic { "automatic" } else { "approved" }));
    offer(scene, way, &requests).await?;
    let (caller, proxy) = (calling(&scene.fixture).await?, scene.fixture.proxy()?);
    let before = proxy.calls().len();
    each(&requests, |request| live(scene, way, request, "3s")).await?;
    // The last read of it comes after its end.
    let count = || proxy.calls().iter().filter(|call| requests.iter().any(|request| call.is_about(request))).count();
    standstill("the last calls", Duration::from_secs(1), count).await?;
    let calls = proxy.calls();
    let of = |request: &str| numbered(calls.iter().skip(before).filter(|call| call.caller == caller && call.is_about(request)));
    let (first, second) = (of(&requests[0]), of(&requests[1]));
    let both: Vec<Step> = first
        .into_iter()
        .filter(|step| second.iter().any(|other| (other.verb, &other.resource, other.nth) == (step.verb, &step.resource, step.nth)))
        .collect();
    for wanted in [
        ("create", "rolebindings"),
        ("delete", "rolebindings"),
        ("patch", "roleactivationrequests/status"),
        ("list", "activationdecisions"),
    ] {
        ensure!(both.iter().any(|step| (step.verb, step.resource.as_str()) == wanted), "there is no {wanted:?} in {both:?}");
    }
    Ok(both)
}

/// Waits until a number has not grown for a while.
pub async fn standstill(what: &str, quiet: Duration, number: impl Fn() -> usize) -> Outcome {
    let mut since = (number(), Instant::now());
    let still = wait_for(what, SOON, async || {
        let now = number();
        if now != since.0 {
            since = (now, Instant::now());
        }
        (since.1.elapsed() > quiet).then_some(())
    });
    Ok(still.await?)
}

fn numbered<'a>(calls: impl Iterator<Item = &'a Call>) -> Vec<Step> {
    let (mut counts, mut at_end) = (BTreeMap::new(), BTreeMap::new());
    let count = |counts: &mut BTreeMap<_, usize>, call: &Call| {
        let nth = counts.entry((call.verb, call.resource.clone())).or_default();
        *nth += 1;
        *nth
    };
    let mut ends = false;
    calls
        .map(|call| {
            ends |= call.verb == "delete" && call.resource == "rolebindings";
            let nth_at_end = if ends { count(&mut at_end, call) } else { 0 };
            Step { verb: call.verb, resource: call.resource.clone(), nth: count(&mut counts, call), ends, nth_at_end }
        })
        .collect()
}
