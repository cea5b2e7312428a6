//! Watches of all guards, each by name and by metadata alone: a change of the content increments the generation.

use futures::future::join_all;
use kube::{
    Api,
    api::{DynamicObject, ObjectMeta},
};

use super::Guards;
use domain::guards::{
    expected::{Expected, GuardKind},
    ledger::Pair,
};
use kube_io::{
    kept::BareMeta,
    watch::{Event, Source, run},
};

impl Guards {
    /// Watches all guards for ever.
    pub async fn follow(&self) {
        join_all(self.expected.iter().map(|guard| self.follow_one(guard))).await;
    }

    async fn follow_one(&self, guard: &Expected) {
        let resource = kube_io::resource::v1(guard.kind.names());
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
        let only = Source::all(&api, &resource).name(&guard.name);
        let place = self.caches.watches.place("guards");
        let mut listed = None;
        run(&self.client, only, &place, |event: Event<BareMeta>| {
            let seen = match event {
                Event::Init(_) => {
                    listed = None;
                    return;
                }
                Event::InitApply(object) => {
                    listed = pair(guard.kind, &object.metadata);
                    return;
                }
                Event::Interrupted => {
                    self.state.lock().interrupted();
                    return;
                }
                Event::InitDone(_) => listed.take(),
                Event::Apply(object) => pair(guard.kind, &object.metadata),
                Event::Delete(_) => None,
            };
            self.saw(guard, seen);
        })
        .await;
    }

    /// Records an observation of a guard.
    pub(super) fn saw(&self, guard: &Expected, seen: Option<Pair>) {
        let seen = self.state.lock().see(&guard.key(), seen);
        if seen.is_change() && guard.kind == GuardKind::APIService {
            // Another server may have answered instead of the API server.
            self.caches.list_anew();
        }
        if seen.is_news() {
            self.wanted.notify_one();
        }
    }
}

/// Returns UID and generation; `None` for an object that is being deleted. An `APIService` has no generation, so each write of it counts.
pub(super) fn pair(kind: GuardKind, meta: &ObjectMeta) -> Option<Pair> {
    let there = meta.deletion_timestamp.is_none();
    let generation = match kind {
        GuardKind::APIService => meta.resource_version.as_deref().and_then(|version| version.parse().ok()),
        _ => meta.generation,
    };
    there.then(|| Pair { uid: meta.uid.clone().unwrap_or_default(), generation: generation.unwrap_or_default() })
}
