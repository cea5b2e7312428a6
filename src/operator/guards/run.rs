//! The guards loop of the leader: checks the guards periodically and reports changes.

use std::{collections::BTreeMap, time::Duration};

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    Guards,
    probe::Finding,
    prove::Found,
    required_record::RequiredRecord,
    state::{Begun, Step},
};
use crate::gather::recorded;
use api::Reason;
use domain::{
    Refusal,
    guards::ledger::{Kind, Known, Pair, Proven},
};

/// Interval of checks while all guards hold.
const AGAIN: Duration = Duration::from_secs(10);
/// Interval while they do not and something has changed recently.
const SOON: Duration = Duration::from_millis(500);
/// Interval while they do not hold for longer.
const LATER: Duration = Duration::from_secs(3);
/// Most names in one log line.
const MOST_NAMES: usize = 20;

impl Guards {
    /// Proves the guards until `stop`, while this replica is the leader.
    pub async fn run(&self, stop: CancellationToken) {
        let mut told = None;
        loop {
            let leading = self.state.lock().ledger.is_some();
            if leading {
                self.round().await;
                self.report(&mut told);
            } else {
                told = None;
            }
            let pause = if !leading || told.is_none() { AGAIN } else { self.impatience() };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.wanted.notified() => {}
                () = stop.cancelled() => return,
            }
            // A changed guard stops new grants at once, before it is checked.
            if leading {
                self.report(&mut told);
            }
        }
    }

    fn impatience(&self) -> Duration {
        if self.state.lock().is_moving() { SOON } else { LATER }
    }

    async fn round(&self) {
        let (known, asks) = (self.known(), self.state.lock().must_ask());
        let (time, versions) = tokio::join!(self.servers_time(), self.versions());
        let (at, versions) = match (time, versions) {
            (Ok((at, skew)), Ok(versions)) => {
                self.state.lock().skew = Some(skew);
                self.look_at_record(at).await;
                (at, versions)
            }
            (Err(why), _) | (_, Err(why)) => {
                warn!(why, "the guards cannot be verified");
                // Earlier results may be outdated when the API server answers again.
                self.state.lock().interrupted();
                // If an `APIService` names another server that does not answer, that is the reason.
                let served = self.look_at_who_serves().await;
                if served.values().any(|(_, finding)| matches!(finding, Finding::Weak(_))) {
                    self.looked(served, &Proven::default(), known);
                }
                return;
            }
        };
        let found = self.look(asks).await;
        let proven = Proven { guards: pairs(&found), at, versions };
        let step = self.looked(found, &proven, known);
        if step == Step::Begin {
            self.begin(proven).await;
        }
    }

    /// Reads what the record confirms, if new grants require it. An earlier confirmation ages where it cannot be read.
    async fn look_at_record(&self, at: jiff::Timestamp) {
        let Some(within) = self.config.record.as_ref().and_then(|record| record.require_within) else { return };
        match recorded::mark(&self.client, &self.config).await {
            Ok(mark) => {
                let within = Duration::from_secs(within.as_secs().into());
                self.state.lock().record = Some(RequiredRecord::new(within, mark.unwrap_or_default(), at));
            }
            Err(error) => warn!(%error, "cannot read what is recorded"),
        }
    }

    fn looked(&self, found: Found, proven: &Proven, known: Known) -> Step {
        let mut state = self.state.lock();
        let (before, held) = (state.ledger.clone(), state.hold().is_some());
        let served = state.served_otherwise;
        let step = state.looked(found, proven, known);
        if state.served_otherwise != served {
            self.caches.list_anew();
        }
        // Requests that were evaluated meanwhile are pending, even if the stop of grants was not reported, as after a takeover.
        if held && state.hold().is_none() {
            self.tell();
        }
        if state.ledger.as_ref().is_some_and(|now| before.is_some_and(|before| before.lasts() != now.lasts())) {
            self.unsaved.notify_one();
        }
        drop(state);
        self.show();
        step
    }

    /// Existing objects are listed after the proof, and the time is read after the list. Writes later than the list are then within proven
    /// time.
    async fn begin(&self, proven: Proven) {
        let listed = self.exists().await;
        let time = self.servers_time().await;
        let ((exists, versions), at) = match (listed, time) {
            (Ok(listed), Ok((at, _))) => (listed, at),
            (Err(why), _) | (_, Err(why)) => {
                warn!(why, "the guards are verified, but objects written meanwhile cannot be read");
                return;
            }
        };
        let begun = self.state.lock().begin(Proven { at, versions, ..proven }, &exists);
        self.show();
        if let Some(begun) = begun {
            say(&begun);
            self.unsaved.notify_one();
            self.tell();
        }
    }

    /// Reports once what changed for grants: in the log, and as an Event on the Lease.
    fn report(&self, told: &mut Option<Refusal>) {
        let hold = self.state.lock().hold();
        if says_the_same(hold.as_ref(), told.as_ref()) {
            return;
        }
        if let Some(refusal) = &hold {
            warn!(reason = %refusal.reason, why = refusal.message, "new grants are on hold");
            self.events.tell(self.lease(), true, refusal.reason, "HoldGrants", &refusal.message);
        } else {
            info!("all guards are verified: grants resume");
            let note = "all admission guards are verified: grants resume";
            self.events.tell(self.lease(), false, Reason::GuardsVerified, "ResumeGrants", note);
        }
        *told = hold;
        self.tell();
    }
}

/// True where nothing has changed. The deviation of a clock changes all the time and does not count.
fn says_the_same(hold: Option<&Refusal>, told: Option<&Refusal>) -> bool {
    match (hold, told) {
        (Some(hold), Some(told)) if hold.reason == Reason::ClockSkewed => told.reason == Reason::ClockSkewed,
        (hold, told) => hold == told,
    }
}

fn pairs(found: &Found) -> BTreeMap<String, Pair> {
    found.iter().filter_map(|(key, (pair, _))| pair.clone().map(|pair| (key.clone(), pair))).collect()
}

fn say(begun: &Begun) {
    for (kind, names) in [(Kind::RoleEligibility, &begun.eligibilities), (Kind::ApprovalPolicy, &begun.policies)] {
        if names.is_empty() {
            continue;
        }
        let shown = names.iter().take(MOST_NAMES).map(String::as_str).collect::<Vec<_>>().join(", ");
        let count = names.len();
        if begun.first {
            warn!(
                ?kind,
                count,
                names = shown,
                "first verification after the installation: existing objects are trusted as they are. Review them"
            );
        } else {
            warn!(?kind, count, names = shown, "written while the guards were not verified: not used until an admin writes it again");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use http::{Request, Response};
    use kube::{Client, client::Body};
    use serde_json::json;

    use super::*;
    use crate::{config::Config, election::LeaseRecord as _, gather::caches::Caches, guards::state_tests, observe::events::Events};
    use domain::guards::ledger::Ledger;
    use kube_io::clock::Clock;

    /// Returns the guards of a replica whose calls all get empty answers.
    fn guards() -> Guards {
        let service = tower::service_fn(|_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Body::empty())) });
        let client = Client::new(service, "default");
        let config: Config = serde_json::from_value(crate::config::tests::least()).unwrap();
        let (caches, events) = (Arc::new(Caches::new(client.clone())), Events::new(client.clone(), "me"));
        Guards::new(client, Clock::system(), config, Vec::new(), caches, events)
    }

    /// Returns guards with one policy, on an API server that denies its probe, and the counts of calls: probes, and all calls.
    fn counted() -> (Guards, Arc<[AtomicUsize; 2]>) {
        let count: Arc<[AtomicUsize; 2]> = Arc::default();
        let counts = count.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let path = request.uri().path().to_owned();
            let probes = *request.method() == http::Method::POST && path.ends_with("/roleactivationrequests");
            counts[0].fetch_add(usize::from(probes), Ordering::Relaxed);
            counts[1].fetch_add(1, Ordering::Relaxed);
            let now = api::instant::stamp(jiff::Timestamp::now());
            let refusal = "ValidatingAdmissionPolicy 'policy' with binding 'policy' denied request: the label jitrbac.dev/probe asks the policy policy to refuse";
            let (code, answer) = if probes {
                (403, json!({"status": "Failure", "code": 403, "reason": "Forbidden", "message": refusal}))
            } else if path.ends_with("/leases") {
                (201, json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"creationTimestamp": now}}))
            } else if path.ends_with("/policy") {
                let kind = "ValidatingAdmissionPolicy";
                (
                    200,
                    json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": "policy", "uid": "p", "generation": 1}, "spec": {}}),
                )
            } else {
                (
                    200,
                    json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList", "metadata": {"resourceVersion": "7"}, "items": []}),
                )
            };
            async move { Ok::<_, Infallible>(Response::builder().status(code).body(Body::from(answer.to_string().into_bytes())).unwrap()) }
        });
        let client = Client::new(service, "default");
        let config: Config = serde_json::from_value(crate::config::tests::least()).unwrap();
        let (caches, events) = (Arc::new(Caches::new(client.clone())), Events::new(client.clone(), "me"));
        let policy = json!([{"kind": "ValidatingAdmissionPolicy", "name": "policy", "says": {"spec": {}}, "probe": "requests"}]);
        let expected = serde_json::from_value(policy).unwrap();
        (Guards::new(client, Clock::system(), config, expected, caches, events), count)
    }

    #[tokio::test(start_paused = true)]
    async fn f38_an_idle_hour_costs_few_refused_calls_and_a_change_one_at_once() {
        let (guards, counts) = counted();
        guards.load(Some(&Ledger::first().write()));
        let stop = CancellationToken::new();
        let probes = || counts[0].load(Ordering::Relaxed);
        let day = async {
            tokio::time::sleep(Duration::from_mins(1)).await;
            assert!(guards.hold().is_none(), "{:?}", guards.hold());
            let (before, all) = (probes(), counts[1].load(Ordering::Relaxed));
            tokio::time::sleep(Duration::from_hours(1)).await;
            assert!(guards.hold().is_none(), "{:?}", guards.hold());
            let (asked, all) = (probes() - before, counts[1].load(Ordering::Relaxed) - all);
            assert!((10..=15).contains(&asked), "each policy was asked to refuse {asked} times in an hour, of {all} calls in all");
            // A watch event or an interruption is verified by the next check.
            let before = probes();
            guards.state.lock().interrupted();
            tokio::time::sleep(Duration::from_secs(11)).await;
            assert_eq!(probes() - before, 1, "a watch broke off");
            assert!(guards.state.lock().see("ValidatingAdmissionPolicy policy", None).is_news());
            guards.wanted.notify_one();
            assert!(guards.hold().is_some());
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert_eq!(probes() - before, 2, "a guard changed");
            stop.cancel();
        };
        tokio::join!(guards.run(stop.clone()), day);
    }

    #[tokio::test(start_paused = true)]
    async fn t42_what_waits_for_a_proof_is_looked_at_after_it_also_when_nobody_was_told_that_it_waits() {
        let (guards, before) = (guards(), state_tests::proven().await);
        guards.load(before.ledger.as_ref().map(Ledger::write).as_deref());
        // A request that is evaluated now is pending, and nothing has been reported yet.
        assert!(guards.hold().is_some());
        let news = guards.news();
        let (found, proven) = state_tests::holds(5);
        assert_eq!(guards.looked(found, &proven, Known::new()), Step::Rest);
        assert!(guards.hold().is_none() && news.has_changed().unwrap(), "nobody would look at it again");
        // A repeated proof changes nothing.
        let news = guards.news();
        let (found, proven) = state_tests::holds(15);
        guards.looked(found, &proven, Known::new());
        assert!(!news.has_changed().unwrap());
    }

    #[test]
    fn t35_by_how_much_a_clock_is_off_is_no_news() {
        let skewed = |message: &str| Refusal::new(Reason::ClockSkewed, message);
        let missing = |message: &str| Refusal::new(Reason::GuardsNotVerified, message);
        assert!(says_the_same(Some(&skewed("11 s")), Some(&skewed("12 s"))) && says_the_same(None, None));
        assert!(!says_the_same(Some(&skewed("11 s")), None) && !says_the_same(None, Some(&skewed("11 s"))));
        assert!(!says_the_same(Some(&missing("a")), Some(&missing("b"))) && !says_the_same(Some(&missing("a")), Some(&skewed("a"))));
    }
}
