use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use super::Call;
use crate::{Result, wait_for_ok};

/// The fault that a call meets.
#[derive(Clone, Debug)]
pub enum Fault {
    /// It is forwarded after this delay.
    Delay(Duration),
    /// It is forwarded once the rule is withdrawn, and never if the caller disconnects before.
    Hold,
    /// It is forwarded; the response is returned once the rule is withdrawn.
    HoldAnswer,
    /// The connection is closed and nothing forwarded.
    Lose,
    /// It is forwarded, and the connection is closed instead of a response.
    LoseAnswer,
    /// It is forwarded twice; the second response is returned.
    Twice,
    /// This response is returned and nothing forwarded.
    Answer(Refusal),
}

/// An error response of the API server.
#[derive(Clone, Copy, Debug)]
pub struct Refusal {
    /// The HTTP status.
    pub code: u16,
    /// The reason in the response's `Status`.
    pub reason: &'static str,
    /// Seconds in the header `Retry-After`.
    pub retry_after: Option<u32>,
}

impl Refusal {
    /// 409: another writer was first.
    pub const CONFLICT: Self = Self { code: 409, reason: "Conflict", retry_after: None };
    /// 409 of a create.
    pub const ALREADY_EXISTS: Self = Self { code: 409, reason: "AlreadyExists", retry_after: None };
    /// 429: retry after a second.
    pub const TOO_MANY: Self = Self { code: 429, reason: "TooManyRequests", retry_after: Some(1) };
    /// 500.
    pub const INTERNAL: Self = Self { code: 500, reason: "InternalError", retry_after: None };
}

/// The calls that meet a fault. A field without a value matches any call.
#[derive(Clone, Debug)]
pub struct Rule {
    caller: Option<String>,
    verb: Option<String>,
    resource: Option<String>,
    about: Option<String>,
    nth: Option<usize>,
    fault: Fault,
}

impl Rule {
    /// Every call, watches included.
    #[must_use]
    pub fn every(fault: Fault) -> Self {
        Self { caller: None, verb: None, resource: None, about: None, nth: None, fault }
    }

    /// Every call of a verb on a resource.
    #[must_use]
    pub fn on(verb: &str, resource: &str, fault: Fault) -> Self {
        Self { verb: Some(verb.to_owned()), resource: Some(resource.to_owned()), ..Self::every(fault) }
    }

    /// Of one caller only.
    #[must_use]
    pub fn of(self, caller: &str) -> Self {
        Self { caller: Some(caller.to_owned()), ..self }
    }

    /// About one object only, as in [`Call::is_about`].
    #[must_use]
    pub fn about(self, word: &str) -> Self {
        Self { about: Some(word.to_owned()), ..self }
    }

    /// Only the `nth` of these calls, counted from 1.
    #[must_use]
    pub fn nth(self, nth: usize) -> Self {
        Self { nth: Some(nth), ..self }
    }

    fn covers(&self, call: &Call) -> bool {
        let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
        is(&self.caller, &call.caller)
            && is(&self.verb, call.verb)
            && is(&self.resource, &call.resource)
            && self.about.as_ref().is_none_or(|word| call.is_about(word))
    }
}

/// An active rule. Dropping it withdraws the rule and releases the calls that it holds.
#[derive(Debug)]
pub struct InForce {
    pub(super) rule: Arc<Standing>,
}

#[derive(Debug)]
pub(super) struct Standing {
    rule: Rule,
    covered: AtomicUsize,
    hits: AtomicUsize,
    over: AtomicBool,
    pub(super) released: watch::Sender<bool>,
}

impl Standing {
    pub(super) fn new(rule: Rule) -> Self {
        let (covered, hits) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { rule, covered, hits, over: AtomicBool::new(false), released: watch::Sender::new(false) }
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Returns the fault of this call, if any, and counts the call.
    pub(super) fn meets(&self, call: &Call) -> Option<Fault> {
        if self.is_over() || !self.rule.covers(call) {
            return None;
        }
        let number = self.covered.fetch_add(1, Ordering::Relaxed) + 1;
        if self.rule.nth.is_some_and(|nth| nth != number) {
            return None;
        }
        self.hits.fetch_add(1, Ordering::Relaxed);
        Some(self.rule.fault.clone())
    }

    /// Returns when the rule was withdrawn.
    pub(super) async fn released(&self) {
        // The sender lives in here, so this cannot fail.
        let _ = self.released.subscribe().wait_for(|released| *released).await;
    }
}

impl InForce {
    /// Returns how many calls have met it.
    #[must_use]
    pub fn hits(&self) -> usize {
        self.rule.hits.load(Ordering::Relaxed)
    }

    /// Waits until a call has met it.
    pub async fn until_hit(&self, limit: Duration) -> Result<()> {
        let what = format!("a call to meet {:?}", self.rule.rule);
        wait_for_ok(&what, limit, async || if self.hits() > 0 { Ok(()) } else { Err("none came") }).await
    }
}

impl Drop for InForce {
    fn drop(&mut self) {
        self.rule.over.store(true, Ordering::Relaxed);
        self.rule.released.send_replace(true);
    }
}
