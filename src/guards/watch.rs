//! Watches over all guards, each by its name and by metadata alone: a change of what it says moves its generation.

use futures::{StreamExt, future::join_all};
use kube::{Api, Resource, api::DynamicObject, core::PartialObjectMeta, runtime::watcher};
use tracing::debug;

use super::{Guards, expected::Expected, ledger::Pair};
use crate::{errors::one_line, gather::surroundings::watch};

impl Guards {
    /// Watches for ever.
    pub async fn follow(&self) {
        join_all(self.expected.iter().map(|guard| self.follow_one(guard))).await;
    }

    async fn follow_one(&self, guard: &Expected) {
        let api: Api<PartialObjectMeta<DynamicObject>> = Api::all_with(self.client.clone(), &guard.kind.resource());
        let only = watcher::Config::default().fields(&format!("metadata.name={}", guard.name));
        let mut events = std::pin::pin!(watch(api, only));
        let key = guard.key();
        let mut listed = None;
        while let Some(event) = events.next().await {
            let pair = |object: &PartialObjectMeta<DynamicObject>| pair(object.meta());
            let seen = match event {
                Ok(watcher::Event::Init) => {
                    listed = None;
                    continue;
                }
                Ok(watcher::Event::InitApply(object)) => {
                    listed = pair(&object);
                    continue;
                }
                Ok(watcher::Event::InitDone) => listed.take(),
                Ok(watcher::Event::Apply(object)) => pair(&object),
                Ok(watcher::Event::Delete(_)) => None,
                Err(error) => {
                    // One line for each guard would drown the others; that nothing can be proven is told otherwise.
                    debug!(what = key, error = one_line(&error), "the watch was interrupted and goes on");
                    self.lock().interrupted();
                    continue;
                }
            };
            if self.lock().see(&key, seen) {
                self.wanted.notify_one();
            }
        }
    }
}

/// UID and generation; none of what is going away.
pub(super) fn pair(meta: &kube::core::ObjectMeta) -> Option<Pair> {
    let there = meta.deletion_timestamp.is_none();
    there.then(|| Pair { uid: meta.uid.clone().unwrap_or_default(), generation: meta.generation.unwrap_or_default() })
}
