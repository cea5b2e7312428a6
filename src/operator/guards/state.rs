//! What one replica knows about the guards, and what follows for grants.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use super::{
    probe::{Finding, NOT_IN_FORCE},
    required_record::RequiredRecord,
    skew::Skew,
};
use domain::{
    GuardFacts, Refusal,
    guards::{
        self, API_SERVICE, cure,
        ledger::{Kind, Known, Ledger, Pair, Proven, Stored, TooMany},
    },
};

/// How long guards count as proven without another proof, such as while the API server is unavailable. It spans several checks.
const PATIENCE: Duration = Duration::from_secs(30);
/// Interval of probes while nothing changes. The content of policies is compared much more often.
const ASKED: Duration = Duration::from_mins(5);
/// How long all guards must be unchanged before a proven span begins. API servers reload changed policies once a second, so that after this
/// time all of them enforce what one of them has proven.
const SETTLED: Duration = Duration::from_secs(2);
/// The same for which server serves our kinds. It is longer than any answer takes that may have come from another server (T57).
const SERVED: Duration = Duration::from_secs(12);

/// The state of one replica.
#[derive(Debug, Default)]
pub(super) struct State {
    /// The record, while this replica is the leader and has read it.
    pub(super) ledger: Option<Ledger>,
    /// The guards as last observed; `None` for a guard that does not exist.
    seen: BTreeMap<String, Option<Pair>>,
    /// When a guard last changed.
    changed: Option<Instant>,
    /// When the server of our kinds last changed, as far as this replica observed.
    pub(super) served_otherwise: Option<Instant>,
    /// The results of the last check.
    findings: BTreeMap<String, Finding>,
    /// When this leader last proved all guards.
    proven: Option<Instant>,
    /// Eligibilities and policies at that time.
    known: Known,
    /// When every policy last denied a probe, with eligibilities and policies at that time.
    asked: Option<(Instant, Known)>,
    /// An event after which only a probe shows whether policies deny.
    restless: bool,
    /// More objects were written unguarded than can be recorded.
    too_many: Option<TooMany>,
    /// The deviation of the clock.
    pub(super) skew: Option<Skew>,
    /// What the record confirms, if new grants require it.
    pub(super) record: Option<RequiredRecord>,
    /// This replica knows which replica is the leader: itself or another one.
    knows_holder: bool,
    /// This replica has proven all guards as the leader, now or before.
    has_proven: bool,
}

/// The meaning of an observation of a guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// No change: the same state, or a newer one, was already known.
    Known,
    /// The first observation.
    First,
    /// A changed guard.
    Changed,
}

impl Seen {
    pub(super) fn is_news(self) -> bool {
        self != Self::Known
    }

    pub(super) fn is_change(self) -> bool {
        self == Self::Changed
    }
}

/// The next step after a check.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// None.
    Rest,
    /// All guards hold and nothing has changed for long enough: list the existing objects and begin proven time.
    Begin,
}

/// Returns the name of a guard with this key. A policy and its binding have the same name.
fn name(key: &str) -> &str {
    key.split_once(' ').map_or(key, |(_, name)| name)
}

impl State {
    pub(super) fn take_over(&mut self, ledger: Ledger) {
        self.ledger = Some(ledger);
        self.knows_holder = true;
        self.proven = None;
        self.asked = None;
        self.known.clear();
    }

    /// Records that another replica is the leader.
    pub(super) fn follow(&mut self) {
        self.knows_holder = true;
    }

    pub(super) fn release(&mut self) {
        self.ledger = None;
        self.proven = None;
        self.findings.clear();
    }

    /// Records an observation of a guard.
    pub(super) fn see(&mut self, key: &str, pair: Option<Pair>) -> Seen {
        // Watches deliver events in order, but possibly later than a check that was made meanwhile.
        let older = matches!((self.seen.get(key), &pair), (Some(Some(before)), Some(now)) if before.uid == now.uid && now.generation < before.generation);
        if older || self.seen.get(key) == Some(&pair) {
            return Seen::Known;
        }
        let first = self.seen.insert(key.to_owned(), pair).is_none();
        self.changed = Some(Instant::now());
        self.restless = true;
        if first {
            return Seen::First;
        }
        if key.starts_with(API_SERVICE) {
            self.served_otherwise = self.changed;
        }
        Seen::Changed
    }

    /// Records that a watch was interrupted: the API server may be another one, or may have restarted with other flags.
    pub(super) const fn interrupted(&mut self) {
        self.restless = true;
    }

    /// True when the next check must probe the policies. False where comparing their content suffices, since nothing has changed since the
    /// last probe.
    pub(super) fn must_ask(&mut self) -> bool {
        let lasts = self.ledger.as_ref().is_some_and(Ledger::lasts);
        let recent = self.asked.as_ref().is_some_and(|(at, _)| at.elapsed() < ASKED);
        let held = self.findings.values().all(|finding| *finding == Finding::Holds);
        std::mem::take(&mut self.restless) || !lasts || !recent || !held
    }

    /// True when this guard held at the last check and has not changed since.
    pub(super) fn holds(&self, key: &str) -> bool {
        let unchanged = self.ledger.as_ref().is_some_and(|l| self.seen.get(key).is_some_and(|seen| l.guards().get(key) == seen.as_ref()));
        unchanged && self.findings.get(key) == Some(&Finding::Holds)
    }

    /// Records the results of a check. A proof covers all guards or none.
    pub(super) fn looked(&mut self, found: BTreeMap<String, (Option<Pair>, Finding)>, proven: &Proven, known: Known) -> Step {
        let asked = found.values().all(|(_, finding)| *finding != Finding::NotAsked);
        let findings = found.iter().map(|(key, (pair, finding))| {
            let refused =
                *finding == Finding::NotAsked && self.findings.get(key) == Some(&Finding::Holds) && self.seen.get(key) == Some(pair);
            (key.clone(), if refused { Finding::Holds } else { finding.clone() })
        });
        self.findings = findings.collect();
        for (key, (pair, finding)) in found {
            if !matches!(finding, Finding::Unknown(_)) {
                self.see(&key, pair);
            }
        }
        let Some(ledger) = self.ledger.as_mut() else { return Step::Rest };
        let is_silent = |finding: &Finding| matches!(finding, Finding::Weak(why) if why == NOT_IN_FORCE);
        // A policy that was written or bound since the last proof is not in force immediately. That does not invalidate the previous proof.
        let is_new =
            |key: &str| self.seen.iter().any(|(other, pair)| name(other) == name(key) && ledger.guards().get(other) != pair.as_ref());
        if self.findings.iter().any(|(key, finding)| is_silent(finding) && !is_new(key)) {
            ledger.end_unasked();
            if let Some((_, known)) = self.asked.take() {
                self.known = known;
            }
            return Step::Rest;
        }
        if self.findings.values().any(|finding| matches!(finding, Finding::Weak(_))) {
            ledger.end();
            return Step::Rest;
        }
        if self.findings.is_empty() || self.findings.values().any(|finding| *finding != Finding::Holds) {
            return Step::Rest;
        }
        let goes_on = if asked { ledger.go_on(proven) } else { ledger.go_on_unasked(proven) };
        if goes_on {
            self.proven = Some(Instant::now());
            self.has_proven = true;
            if asked {
                self.asked = Some((Instant::now(), known.clone()));
            }
            self.known = known;
            return Step::Rest;
        }
        ledger.end();
        if asked && self.settled() { Step::Begin } else { Step::Rest }
    }

    fn settled(&self) -> bool {
        self.changed.is_some_and(|at| at.elapsed() >= SETTLED) && self.served_otherwise.is_none_or(|at| at.elapsed() >= SERVED)
    }

    /// True while changes are recent, so that the next check must come soon.
    pub(super) fn is_moving(&self) -> bool {
        self.changed.is_none_or(|at| at.elapsed() < SERVED + SETTLED)
    }

    /// Begins proven time, unless something changed meanwhile. Returns the objects that are quarantined, or that a first begin accepts as
    /// they are.
    pub(super) fn begin(&mut self, proven: Proven, exists: &[Stored]) -> Option<Begun> {
        let unchanged = proven.guards.iter().all(|(key, pair)| self.seen.get(key) == Some(&Some(pair.clone())));
        let ledger = self.ledger.as_mut().filter(|_| unchanged)?;
        let first = ledger.is_first();
        let begun = ledger.begin(proven, exists, &self.known);
        self.too_many = begun.err();
        begun.ok()?;
        self.proven = Some(Instant::now());
        self.has_proven = true;
        self.known = exists.iter().map(|stored| (stored.pair.uid.clone(), stored.pair.generation)).collect();
        self.asked = Some((Instant::now(), self.known.clone()));
        let names = |kind: Kind| -> Vec<String> {
            let quarantined = ledger.quarantined().iter().filter(|q| q.kind == kind).map(|q| q.name.clone());
            let all = exists.iter().filter(|stored| stored.kind == kind).map(|stored| stored.name.clone());
            if first { all.collect() } else { quarantined.collect() }
        };
        Some(Begun { first, eligibilities: names(Kind::RoleEligibility), policies: names(Kind::ApprovalPolicy) })
    }

    /// Whether a request can be decided, for readiness: another replica is the leader, or this one is and has proven the guards once.
    /// Guards that are weakened later are reported by a condition and a metric. If the replica became unready then, it would block the very
    /// upgrade that restores them.
    pub(super) fn can_judge(&self) -> bool {
        self.knows_holder && (self.ledger.is_none() || self.has_proven)
    }

    /// Returns why nothing may be granted.
    pub(super) fn hold(&self) -> Option<Refusal> {
        let not_proven = |what: &str| Some(guards::not_proven(what));
        let Some(ledger) = &self.ledger else {
            return not_proven("this replica is not the leader, or has not read the record of the guards yet");
        };
        // A missing denial is reported only where no other finding explains it, such as a missing binding.
        let weak = self.findings.iter().filter_map(|(key, finding)| match finding {
            Finding::Weak(why) => Some((why == NOT_IN_FORCE, format!("{key} {why}. {}", cure(key, why)))),
            _ => None,
        });
        let weak = weak.min_by_key(|(only_silent, _)| *only_silent).map(|(_, weak)| weak);
        if let Some(weak) = weak {
            return not_proven(&weak);
        }
        if let Some(too_many) = &self.too_many {
            return not_proven(&too_many.to_string());
        }
        let unknown = || {
            self.findings.iter().find_map(|(key, finding)| match finding {
                Finding::Unknown(why) => Some(format!("{key} {why}")),
                _ => None,
            })
        };
        if !ledger.lasts() || self.proven.is_none() {
            return not_proven(&unknown().unwrap_or_else(|| "they are being verified, which takes some seconds".to_owned()));
        }
        if let Some((key, _)) = self.seen.iter().find(|(key, seen)| ledger.guards().get(*key) != seen.as_ref()) {
            return not_proven(&format!("{key} has changed and is being verified, which takes some seconds"));
        }
        if self.proven.is_some_and(|at| at.elapsed() > PATIENCE) {
            let why = unknown().unwrap_or_else(|| "the API server does not answer".to_owned());
            return not_proven(&format!("the last verification is more than {} seconds ago: {why}", PATIENCE.as_secs()));
        }
        self.skew.as_ref().and_then(Skew::hold).or_else(|| self.record.as_ref().and_then(RequiredRecord::hold))
    }

    /// Returns what the rules need. While grants are paused, no request is finally denied either. Whether an object was created in proven
    /// time is decided by the record once it is certain.
    pub(super) fn facts(&self, eligibility: Option<(&str, i64)>, policy: Option<(&str, i64)>) -> GuardFacts {
        match (self.hold(), &self.ledger) {
            (None, Some(ledger)) => {
                let unproven = |kind, object: Option<(&str, i64)>| {
                    object.is_some_and(|(uid, generation)| ledger.is_quarantined(kind, uid, generation))
                };
                GuardFacts {
                    hold: None,
                    proven: ledger.spans(),
                    certain: Vec::new(),
                    eligibility_unproven: unproven(Kind::RoleEligibility, eligibility),
                    policy_unproven: unproven(Kind::ApprovalPolicy, policy),
                }
            }
            (hold, ledger) => {
                let certain = ledger.as_ref().map(Ledger::certain).unwrap_or_default();
                GuardFacts { hold, certain, ..GuardFacts::default() }
            }
        }
    }

    /// Returns the refusal of a quarantined eligibility or policy.
    pub(super) fn check(&self, kind: Kind, name: &str, uid: &str, generation: i64) -> Result<(), Refusal> {
        if !self.ledger.as_ref().is_some_and(|ledger| ledger.is_quarantined(kind, uid, generation)) {
            return Ok(());
        }
        let what = match kind {
            Kind::RoleEligibility => "eligibility",
            Kind::ApprovalPolicy => "policy",
        };
        Err(guards::written_unguarded(&format!("{what} '{name}'")))
    }
}

/// The effect of the begin of proven time on existing objects.
#[derive(Debug)]
pub(super) struct Begun {
    /// True for the first begin of this installation.
    pub(super) first: bool,
    /// The quarantined eligibilities, or at the first begin all.
    pub(super) eligibilities: Vec<String>,
    /// The quarantined policies, or at the first begin all.
    pub(super) policies: Vec<String>,
}
