//! The grants that need no reconciliation at once when a replica starts or becomes the leader.
//!
//! The replica must reconcile everything then, because the previous leader may not have handled earlier events. Tens of thousands of active
//! grants would cost three calls each, and the load on the API server would delay the end of grants. For most of them the caches show that
//! nothing is due. These are queued behind the others, at a limited rate.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::context::Context;
use api::{State, names::binding_name};
use domain::{BindingAction, RequestFacts, decide::decide};
use kube_io::cache::Key;

/// How many are reconciled without a delay between them.
const AT_ONCE: u32 = 200;
/// The delay between two of the others. Their cost to the API server is then a twentieth of what two of its cores can handle.
const PAUSE: Duration = Duration::from_millis(20);

/// Returns true for an active grant for which nothing is due. The caches must contain everything that a decision about it reads, except its
/// decisions. Its binding is its own and expires as recorded, and eligibility, policy, role and namespace still allow it. A decision on it
/// queues it by its own event.
pub fn is_quiet(context: &Context, key: &Key, facts: &RequestFacts) -> bool {
    let record = &facts.record;
    if record.state != Some(State::Active) || facts.object.deleting || facts.object.spec.base().is_some() {
        return false;
    }
    let bindings = context.revoker.index().of_request(key);
    let [binding] = bindings.as_slice() else { return false };
    if binding.unverified || binding.key.name != binding_name(&facts.object.uid) || Some(binding.deadline) != record.expires_at {
        return false;
    }
    let Some(around) = context.caches.cached_context(&facts.object.spec.eligibility_ref.name, &facts.namespace) else { return false };
    let guards = context.guards.facts(around.eligibility.found().map(AsRef::as_ref), around.policy.found().map(AsRef::as_ref));
    let verdict = decide(&around.snapshot(facts.clone(), guards), &context.settings, context.now());
    verdict.state == State::Active && verdict.binding != BindingAction::Remove && Some(verdict.reason) == record.reason
}

/// The schedule of the quiet grants.
#[derive(Debug, Default)]
pub struct Schedule(Mutex<Option<Taken>>);

#[derive(Debug)]
struct Taken {
    since: Instant,
    count: u32,
}

impl Schedule {
    /// Returns how long the next one waits.
    pub fn next(&self) -> Duration {
        let mut taken = self.0.lock();
        let now = Instant::now();
        let taken = taken.get_or_insert(Taken { since: now, count: 0 });
        // The ones whose time has passed are not counted any more.
        let passed = u32::try_from(now.duration_since(taken.since).as_millis() / PAUSE.as_millis()).unwrap_or(u32::MAX);
        if passed >= taken.count {
            *taken = Taken { since: now, count: 0 };
        }
        taken.count = taken.count.saturating_add(1);
        let due = taken.since + PAUSE * taken.count.saturating_sub(AT_ONCE);
        due.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn many_have_their_turns_one_after_the_other_and_few_at_once() {
        let turns = Schedule::default();
        let waits: Vec<Duration> = (0..AT_ONCE + 3).map(|_| turns.next()).collect();
        assert!(waits.iter().take(AT_ONCE as usize).all(Duration::is_zero));
        assert_eq!(waits[AT_ONCE as usize..], [PAUSE, PAUSE * 2, PAUSE * 3]);
        tokio::time::advance(PAUSE * 2).await;
        assert_eq!(turns.next(), PAUSE * 2, "two of them ran meanwhile");
        tokio::time::advance(PAUSE * (AT_ONCE + 10)).await;
        assert_eq!(turns.next(), Duration::ZERO);
    }
}
