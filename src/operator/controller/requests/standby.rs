//! Reconciliation by a standby, a replica without the Lease. It removes what the leader should have removed, and grants nothing.

use tracing::debug;

use super::{
    evaluate::Evaluated,
    reconciler::{HOLDERS_TIME, RequestError, Requests},
};
use crate::{
    gather::{caches::Source, live},
    queue::Next,
};
use api::State;
use domain::{Lookup, RequestFacts};
use kube_io::{cache::Key, consistency::Consistency};

impl Requests {
    /// Reconciles a request as a standby.
    pub(super) async fn reconcile_as_standby(&self, key: &Key) -> Result<Next, RequestError> {
        if self.context.revoker.index().of_request(key).is_empty() {
            self.overdue.lock().remove(key);
            return Ok(Next::Done);
        }
        // In most cases nothing must be removed, and the caches are enough to detect that. A cache alone never causes a removal.
        let consistency = self.context.decisions.consistency();
        if let Some(Lookup::Found(cached)) = self.context.requests.get(key)
            && !is_over(&cached)
            && self.strays(key, &cached).is_empty()
            && !self.evaluate(&cached, Source::Cache, consistency).await?.removes()
        {
            self.overdue.lock().remove(key);
            return Ok(Next::Done);
        }
        let facts = match live::request(&self.context.client, &key.namespace, &key.name).await? {
            Lookup::Found(found) => found.facts,
            Lookup::Absent | Lookup::Deleting(_) => return self.without_request(key, None).await,
            Lookup::Unreadable(_) => return Ok(Next::Done),
        };
        let mut evaluated = None;
        if !is_over(&facts) {
            let found = self.evaluate(&facts, Source::Server, Consistency::Latest).await?;
            if !found.removes() {
                self.overdue.lock().remove(key);
                return self.remove_strays(key, &facts).await.map(|()| Next::Done);
            }
            evaluated = Some(found);
        }
        let due = *self.overdue.lock().entry(key.clone()).or_insert_with(|| self.context.now() - HOLDERS_TIME);
        if let Some(wait) = self.context.revoker.wait(due) {
            return Ok(Next::In(wait));
        }
        debug!(request = %key, "removing what the leader did not remove");
        match evaluated {
            Some(Evaluated { snapshot, verdict }) => {
                self.remove(&snapshot).await?;
                self.remove_links(&snapshot, &verdict).await?;
            }
            None if facts.object.deleting => return self.without_request(key, None).await,
            None => self.remove_strays(key, &facts).await?,
        }
        self.overdue.lock().remove(key);
        Ok(Next::Done)
    }
}

/// Returns true for a request that may have no binding, whatever else is stored.
fn is_over(facts: &RequestFacts) -> bool {
    facts.object.deleting || facts.record.state.is_some_and(State::is_terminal)
}
