//! The last end of each person's grants under an eligibility in a namespace. It is all that a cooldown needs of completed requests.
//!
//! Completed requests are kept for months, so the cost of listing them for each new request would grow with every one of them. Instead one
//! watch is folded into their last ends. It runs only while a policy has a cooldown.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use jiff::{SignedDuration, Timestamp};
use kube::{Client, core::DeserializeGuard};
use parking_lot::Mutex;
use tokio::sync::watch as channel;

use api::{RoleActivationRequest, State};
use domain::{Record, RequestFacts, convert};
use kube_io::{
    cache,
    kept::Kept,
    watch::{self, Event, Source},
    watches::{Place, Watches},
};

/// How much longer than the longest cooldown an end is kept. A grant starts when its approval is complete, which may be as long ago as the
/// longest grant lasts.
const SLACK: SignedDuration = SignedDuration::from_hours(24 * 31);
/// The most ends that are kept. With more, the requests are listed instead.
const MOST: usize = 50_000;

/// An eligibility in a namespace.
type Scope = (String, String);

/// The last ends.
#[derive(Debug)]
pub struct LastEnds {
    /// The longest cooldown of any policy, while there is one.
    longest: channel::Sender<Option<SignedDuration>>,
    /// True while every end that can matter is known.
    complete: AtomicBool,
    observed: AtomicU64,
    ends: Mutex<Ends>,
}

#[derive(Debug, Default)]
struct Ends {
    /// By scope and user name.
    last: HashMap<Scope, HashMap<String, RequestFacts>>,
    count: usize,
    newest: Timestamp,
    /// True where not every end is known, because there are too many or a request could not be read.
    partial: bool,
}

impl Default for LastEnds {
    fn default() -> Self {
        Self { longest: channel::Sender::new(None), complete: AtomicBool::new(false), observed: AtomicU64::new(0), ends: Mutex::default() }
    }
}

impl LastEnds {
    /// Sets the longest cooldown of any policy, or none where no policy has one.
    pub fn set_longest_cooldown(&self, longest: Option<SignedDuration>) {
        self.longest.send_if_modified(|known| std::mem::replace(known, longest) != longest);
    }

    /// Returns the completed requests whose ends can delay a request under `eligibility` in `namespace`, one for each user name. None where
    /// not everything that was stored up to `version` is known: then the requests must be listed.
    #[must_use]
    pub fn under(&self, eligibility: &str, namespace: &str, version: u64) -> Option<Vec<RequestFacts>> {
        if !self.complete.load(Ordering::Acquire) || self.observed.load(Ordering::Acquire) < version {
            return None;
        }
        let ends = self.ends.lock();
        if ends.partial {
            return None;
        }
        let here = ends.last.get(&(namespace.to_owned(), eligibility.to_owned()));
        Some(here.into_iter().flat_map(HashMap::values).cloned().collect())
    }

    /// Records a request that this process has recorded as completed, before the watch delivers it.
    pub fn note(&self, request: &RequestFacts) {
        if let Some(longest) = *self.longest.borrow() {
            self.ends.lock().insert(request, longest);
        }
    }

    /// Follows the requests while a policy has a cooldown. It never returns.
    pub async fn follow(&self, client: &Client, watches: &Watches, source: Source) {
        let mut longest = self.longest.subscribe();
        loop {
            let known = *longest.borrow_and_update();
            let Some(cooldown) = known else {
                self.complete.store(false, Ordering::Release);
                *self.ends.lock() = Ends::default();
                // `self` owns the sender, so this never fails.
                if longest.changed().await.is_err() {
                    return;
                }
                continue;
            };
            let place = watches.place("completed requests");
            tokio::select! {
                () = self.fold(client, source.clone(), &place, cooldown) => {}
                // With a longer cooldown, ends that were too old to be kept may matter again.
                _ = longest.wait_for(|now| now.is_none_or(|now| now > cooldown)) => {}
            }
            self.complete.store(false, Ordering::Release);
        }
    }

    async fn fold(&self, client: &Client, source: Source, place: &Place, cooldown: SignedDuration) {
        let mut listed = Ends::default();
        watch::run(client, source, place, |event| self.observe(event, &mut listed, cooldown)).await;
    }

    fn observe(&self, event: Event<DeserializeGuard<RoleActivationRequest>>, listed: &mut Ends, cooldown: SignedDuration) {
        match event {
            Event::Init(another_store) => {
                *listed = Ends::default();
                if another_store {
                    self.complete.store(false, Ordering::Release);
                }
            }
            Event::InitApply(object) => listed.take(object, cooldown),
            Event::InitDone(version) => {
                self.replace(std::mem::take(listed), cooldown);
                self.observed.store(version.unwrap_or_default(), Ordering::Release);
                self.complete.store(true, Ordering::Release);
            }
            Event::Apply(object) => {
                let version = cache::version(object.meta());
                self.ends.lock().take(object, cooldown);
                self.observed.store(version, Ordering::Release);
            }
            Event::Delete(object) => {
                let version = cache::version(object.meta());
                if let DeserializeGuard(Ok(request)) = object {
                    self.ends.lock().remove(&convert::request(&request));
                }
                self.observed.store(version, Ordering::Release);
            }
            Event::Interrupted => {}
        }
    }

    /// Replaces the known ends with the listed ones, except for what this process wrote after the list began.
    fn replace(&self, mut listed: Ends, cooldown: SignedDuration) {
        let mut ends = self.ends.lock();
        let written = ends.last.values().flat_map(HashMap::values).filter(|request| request.record.ended_at > Some(listed.newest));
        let written: Vec<RequestFacts> = written.cloned().collect();
        for request in written {
            listed.insert(&request, cooldown);
        }
        *ends = listed;
    }
}

impl Ends {
    fn take(&mut self, object: DeserializeGuard<RoleActivationRequest>, cooldown: SignedDuration) {
        match object.0 {
            Ok(request) => self.insert(&convert::request(&request), cooldown),
            // The unreadable request may have completed a moment ago.
            Err(_) => self.partial = true,
        }
    }

    fn insert(&mut self, request: &RequestFacts, cooldown: SignedDuration) {
        let record = &request.record;
        let (Some(at), Some(_), true) = (record.ended_at, record.granted_at, record.state.is_some_and(State::is_terminal)) else {
            return;
        };
        let Some(requester) = &request.object.spec.requester else { return };
        self.newest = self.newest.max(at);
        if at < oldest(self.newest, cooldown) {
            return;
        }
        let place = (request.namespace.clone(), request.object.spec.eligibility_ref.name.clone());
        let here = self.last.entry(place).or_default();
        let username = requester.username.as_str();
        match here.get_mut(username) {
            Some(known) if known.record.ended_at > Some(at) => {}
            Some(known) => *known = remembered(request),
            None => {
                here.insert(username.to_owned(), remembered(request));
                self.count += 1;
                if self.count > MOST {
                    self.prune(cooldown);
                }
            }
        }
    }

    /// Removes the ends that are too old to matter. If too many remain, all are dropped and the result is partial.
    fn prune(&mut self, cooldown: SignedDuration) {
        let oldest = oldest(self.newest, cooldown);
        self.last.retain(|_, here| {
            here.retain(|_, request| request.record.ended_at >= Some(oldest));
            !here.is_empty()
        });
        self.count = self.last.values().map(HashMap::len).sum();
        if self.count > MOST {
            *self = Self { newest: self.newest, partial: true, ..Self::default() };
        }
    }

    fn remove(&mut self, request: &RequestFacts) {
        let place = (request.namespace.clone(), request.object.spec.eligibility_ref.name.clone());
        let Some(here) = self.last.get_mut(&place) else { return };
        let before = here.len();
        here.retain(|_, known| known.object.uid != request.object.uid);
        self.count = self.count.saturating_sub(before - here.len());
        if here.is_empty() {
            self.last.remove(&place);
        }
    }
}

fn oldest(newest: Timestamp, cooldown: SignedDuration) -> Timestamp {
    cooldown.checked_add(SLACK).and_then(|kept| newest.checked_sub(kept).ok()).unwrap_or(Timestamp::MIN)
}

/// Returns only the fields that the rule reads, because there may be tens of thousands of requests.
fn remembered(request: &RequestFacts) -> RequestFacts {
    let Record { state, granted_at, ended_at, .. } = request.record;
    RequestFacts { record: Record { state, granted_at, ended_at, ..Record::default() }, ..convert::slim(request.clone()) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const COOLDOWN: SignedDuration = SignedDuration::from_hours(1);

    fn stored(version: u64, uid: &str, user: &str, ended: Option<&str>) -> DeserializeGuard<RoleActivationRequest> {
        let status = ended.map_or(Value::Null, |at| json!({"state": "Expired", "grantedAt": "2026-01-01T00:00:00Z", "endedAt": at}));
        let object = json!({
            "apiVersion": "jitrbac.dev/v1alpha1", "kind": "RoleActivationRequest",
            "metadata": {"name": uid, "namespace": "payments", "uid": uid, "resourceVersion": version.to_string()},
            "spec": {"eligibilityRef": {"name": "edit"}, "justification": "why", "requester": {"username": user, "groups": ["devs"]}},
            "status": status,
        });
        serde_json::from_value(object).unwrap()
    }

    fn unreadable(version: u64) -> DeserializeGuard<RoleActivationRequest> {
        let meta = json!({"name": "x", "namespace": "payments", "uid": "x", "resourceVersion": version.to_string()});
        serde_json::from_value(json!({"metadata": meta, "spec": 7})).unwrap()
    }

    type Events = Vec<Event<DeserializeGuard<RoleActivationRequest>>>;

    fn listed(objects: Vec<DeserializeGuard<RoleActivationRequest>>) -> Events {
        let newest = objects.iter().map(|object| cache::version(object.meta())).max();
        let objects = objects.into_iter().map(Event::InitApply);
        [Event::Init(false)].into_iter().chain(objects).chain([Event::InitDone(newest)]).collect()
    }

    /// Returns the ends that are known after these events, and the names of their requests.
    fn after(events: Events, version: u64) -> (LastEnds, Option<Vec<String>>) {
        let (ends, mut listed) = (LastEnds::default(), Ends::default());
        ends.set_longest_cooldown(Some(COOLDOWN));
        for event in events {
            ends.observe(event, &mut listed, COOLDOWN);
        }
        let found = names(&ends, version);
        (ends, found)
    }

    fn names(ends: &LastEnds, version: u64) -> Option<Vec<String>> {
        let mut names: Vec<String> = ends.under("edit", "payments", version)?.into_iter().map(|request| request.object.name).collect();
        names.sort();
        Some(names)
    }

    #[test]
    fn f02_of_each_person_the_last_end_is_kept_and_nothing_else() {
        let mut events = listed(vec![
            stored(1, "a1", "ann", Some("2026-03-01T10:00:00Z")),
            stored(2, "a2", "ann", Some("2026-03-01T12:00:00Z")),
            stored(3, "a3", "ann", Some("2026-03-01T11:00:00Z")),
            stored(4, "waits", "bob", None),
        ]);
        let (ends, found) = after(events.clone(), 4);
        assert_eq!(found, Some(vec!["a2".to_owned()]));
        let kept = ends.under("edit", "payments", 0).unwrap().remove(0);
        assert_eq!(
            (kept.object.spec.justification, kept.object.spec.requester.unwrap().groups.len()),
            (None, 0),
            "no more than the rule reads"
        );
        assert_eq!(ends.under("view", "payments", 0).map(|found| found.len()), Some(0));
        assert_eq!(names(&ends, 5), None, "what was stored at 5 may have ended a grant");

        events.push(Event::Apply(stored(9, "b", "bob", Some("2026-03-01T12:30:00Z"))));
        assert_eq!(after(events.clone(), 9).1, Some(vec!["a2".to_owned(), "b".to_owned()]));
        events.push(Event::Delete(stored(10, "a2", "ann", Some("2026-03-01T12:00:00Z"))));
        assert_eq!(after(events, 10).1, Some(vec!["b".to_owned()]), "a purged record holds nobody off");
    }

    #[test]
    fn f02_an_end_that_this_process_recorded_counts_before_it_is_delivered() {
        let (ends, _) = after(listed(vec![stored(1, "a1", "ann", Some("2026-03-01T10:00:00Z"))]), 1);
        let DeserializeGuard(Ok(written)) = stored(7, "a2", "ann", Some("2026-03-01T10:30:00Z")) else { panic!("it is readable") };
        ends.note(&convert::request(&written));
        assert_eq!(names(&ends, 1), Some(vec!["a2".to_owned()]));
        // A list that began before the write does not contain it.
        ends.replace(Ends::default(), COOLDOWN);
        assert_eq!(names(&ends, 1), Some(vec!["a2".to_owned()]));
    }

    #[test]
    fn f02_what_is_not_all_known_is_no_answer() {
        assert_eq!(names(&LastEnds::default(), 0), None, "nothing is listed yet");
        assert_eq!(after(listed(vec![unreadable(3)]), 3).1, None, "it may have ended a moment ago");
        let many = (0..=MOST).map(|n| stored(1, &n.to_string(), &format!("u{n}"), Some("2026-03-01T10:00:00Z"))).collect();
        assert_eq!(after(listed(many), 1).1, None, "too many to remember");
    }

    #[test]
    fn f02_what_is_too_old_to_matter_makes_room() {
        let old = (0..MOST).map(|n| stored(1, &format!("o{n}"), &format!("u{n}"), Some("2025-03-01T10:00:00Z")));
        let events = listed(old.chain([stored(2, "new", "ann", Some("2026-03-01T10:00:00Z"))]).collect());
        assert_eq!(after(events, 2).1, Some(vec!["new".to_owned()]));
    }
}
