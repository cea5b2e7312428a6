//! Watches that detect when they no longer deliver events.
//!
//! A watch whose version does not exist in the store delivers neither objects nor an error. This happens after the API server's store was
//! restored, or after another server answered instead of it for a while (T36, T57). A silent watch therefore compares its version with that
//! of a list, and restarts with a full list where they do not match.

use std::time::Duration;

use futures::{FutureExt, future::BoxFuture};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api, Client, Resource,
    api::{ListParams, WatchParams},
    core::Request as Path,
};
use tokio::{sync::watch as channel, time::Instant};
use tracing::{debug, warn};

use super::{
    backoff::Backoff,
    kept::{BareMeta, Kept},
    stream::{self, Form, Line, Lines},
    watches::Place,
};
use crate::errors::one_line;

/// Duration of one watch request; the next one continues at its version. A peer that disappears without closing its connection is noticed
/// after this time plus [`MARGIN`].
const WATCH_SECONDS: u32 = 30;
/// Tolerance for the end of a watch request.
const MARGIN: Duration = Duration::from_secs(5);
/// A watch request that ends earlier ended prematurely.
const ENDS: Duration = Duration::from_secs(WATCH_SECONDS as u64 - 2);
/// Page size of a list. Only one object is in memory at a time.
const PAGE: u32 = 250;
/// Longest delay between two pages of a list. The delay is as long as the page took, so that lists use at most half of the API server's
/// time.
const LONGEST_REST: Duration = Duration::from_millis(200);
/// Silence after which a watch is compared with a list. After an interruption it is compared at once.
const SILENT: Duration = Duration::from_secs(40);
/// Delay before a failed comparison is retried.
const COMPARED_AGAIN: Duration = Duration::from_secs(3);
/// Time that a watch has to reach the version of a list before it is restarted. Bookmarks arrive about every half minute.
const PATIENCE: Duration = Duration::from_mins(2);
/// The longest such time, after restarts without effect: not every API server sends bookmarks for a kind that does not change.
const MOST_PATIENCE: Duration = Duration::from_mins(16);
/// Delays between attempts to watch. Without a watch, decisions and edits are not observed, so the delays are much shorter than kube's own.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(4));
/// A watch that ends sooner is treated as refused.
const TOO_SHORT: Duration = Duration::from_secs(1);

/// An event of a watch.
#[derive(Clone, Debug)]
pub enum Event<K> {
    /// A list begins. True where earlier events may come from another store.
    Init(bool),
    /// An object of the list.
    InitApply(K),
    /// The list is complete, and shows this version.
    InitDone(Option<u64>),
    /// An object was created or changed.
    Apply(K),
    /// An object was deleted, or the selector no longer matches it.
    Delete(K),
    /// The watch was interrupted. The events that follow continue at its version, or begin with a list.
    Interrupted,
}

/// The objects to watch.
#[derive(Clone)]
pub struct Source {
    path: Path,
    labels: Option<String>,
    fields: Option<String>,
    by_name: bool,
    silent: Duration,
    own_group: bool,
    urgent: bool,
    relist: Option<channel::Receiver<u64>>,
}

impl Source {
    /// Returns the source of all objects of a kind.
    #[must_use]
    pub fn all<K: Resource>(api: &Api<K>, dynamic: &K::DynamicType) -> Self {
        let own_group = K::group(dynamic) == api::names::GROUP;
        Self {
            path: Path::new(api.resource_url()),
            labels: None,
            fields: None,
            by_name: false,
            silent: SILENT,
            own_group,
            urgent: false,
            relist: None,
        }
    }

    /// Restricts the source to objects that match this label selector.
    #[must_use]
    pub fn labels(self, selector: &str) -> Self {
        Self { labels: Some(selector.to_owned()), ..self }
    }

    /// Restricts the source to objects that match this field selector.
    #[must_use]
    pub fn fields(self, selector: &str) -> Self {
        Self { fields: Some(selector.to_owned()), ..self }
    }

    /// Restricts the source to the object of this name, where RBAC allows no more. Another component reads the object every few seconds, so
    /// the watch is compared rarely, and its interruptions are logged at debug level only.
    #[must_use]
    pub fn name(self, name: &str) -> Self {
        Self { by_name: true, silent: Duration::from_mins(10), ..self.fields(&format!("metadata.name={name}")) }
    }

    /// Lists without delays between pages, because revocations depend on it.
    #[must_use]
    pub fn urgent(self) -> Self {
        Self { urgent: true, ..self }
    }

    /// Restarts the watch whenever this value changes.
    #[must_use]
    pub fn relist(self, when: channel::Receiver<u64>) -> Self {
        Self { relist: Some(when), ..self }
    }

    fn list(&self) -> ListParams {
        ListParams { label_selector: self.labels.clone(), field_selector: self.fields.clone(), limit: Some(PAGE), ..ListParams::default() }
    }

    fn watch(&self) -> WatchParams {
        WatchParams {
            label_selector: self.labels.clone(),
            field_selector: self.fields.clone(),
            timeout: Some(WATCH_SECONDS),
            bookmarks: true,
            send_initial_events: false,
        }
    }

    /// Returns the parameters of the comparison. Any list returns the version of the store, and one object is enough. Field and label
    /// selectors would make the API server scan all objects.
    fn compared(&self) -> ListParams {
        ListParams { field_selector: self.fields.clone().filter(|_| self.by_name), limit: Some(1), ..ListParams::default() }
    }
}

/// Why a watch restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relist {
    /// The API server no longer has the events since the watch's version.
    Expired,
    /// The watch is ahead of the store.
    Ahead { version: u64, store: u64 },
    /// The watch did not reach `goal`, which the store reached long ago.
    Silent { version: u64, goal: u64 },
    /// The API server was unavailable, and may have returned with another store.
    Away,
    /// A restart was requested.
    Asked,
}

/// Watches forever.
pub async fn run<K: Kept>(client: &Client, mut source: Source, place: &Place, mut told: impl FnMut(Event<K>)) {
    let mut backoff = BACKOFF;
    let (mut why, mut patience) = (None, PATIENCE);
    loop {
        if let Some(relist) = &mut source.relist {
            relist.borrow_and_update();
        }
        told(Event::Init(matches!(why, Some(Relist::Ahead { .. } | Relist::Away | Relist::Asked))));
        let mut missed = false;
        let listed = list(client, &source, place, |object: K| {
            missed |= why.is_some_and(|why| was_missed(why, object.meta()));
            told(Event::InitApply(object));
        })
        .await;
        let mut version = match listed {
            Ok(version) => version,
            Err(error) => {
                source.interrupted(place, &error);
                told(Event::Interrupted);
                tokio::time::sleep(jittered(backoff.next_delay())).await;
                continue;
            }
        };
        patience = match why {
            Some(Relist::Silent { .. }) if !missed => (patience * 2).min(MOST_PATIENCE),
            Some(Relist::Silent { version, goal }) => {
                warn!(what = place.what(), version, goal, "the watch had missed events: it was restarted");
                place.stale(false);
                PATIENCE
            }
            _ => patience,
        };
        told(Event::InitDone(number(&version)));
        place.current();
        backoff.reset();
        let relist = follow(client, &mut source, place, &mut version, patience, &mut told).await;
        match relist {
            Relist::Ahead { version, store } => {
                warn!(what = place.what(), version, store, "the watch is ahead of the store and receives no events: restarting it");
                place.stale(!source.own_group);
            }
            Relist::Silent { version, goal } => {
                debug!(what = place.what(), version, goal, "the watch does not reach the version of the store: restarting it");
            }
            Relist::Asked | Relist::Away | Relist::Expired => {}
        }
        why = Some(relist);
    }
}

/// True for an object that a silent watch should have delivered.
fn was_missed(why: Relist, meta: &ObjectMeta) -> bool {
    let Relist::Silent { version, goal } = why else { return false };
    let written = meta.resource_version.as_deref().and_then(|version| version.parse::<u64>().ok());
    written.is_some_and(|written| version < written && written <= goal)
}

fn number(version: &str) -> Option<u64> {
    version.parse().ok()
}

async fn list<K: Kept>(client: &Client, source: &Source, place: &Place, mut each: impl FnMut(K)) -> kube::Result<String> {
    let mut params = source.list();
    loop {
        let permit = if source.urgent { None } else { place.page_permit().await };
        let begun = Instant::now();
        let page = stream::page(client, &source.path, &params, Form::Whole, &mut each).await?;
        match page.next.filter(|next| !next.is_empty()) {
            Some(next) => params.continue_token = Some(next),
            None => return page.resource_version.filter(|version| !version.is_empty()).ok_or_else(no_version),
        }
        if permit.is_some() {
            tokio::time::sleep(begun.elapsed().min(LONGEST_REST)).await;
        }
    }
}

fn no_version() -> kube::Error {
    kube::Error::SerdeError(serde::de::Error::custom("the list has no resourceVersion"))
}

/// Returns the version of the store.
async fn newest(client: Client, source: Source) -> kube::Result<Option<u64>> {
    let params = source.compared();
    let page = stream::page(&client, &source.path, &params, Form::Metadata, |_: BareMeta| {});
    Ok(page.await?.resource_version.as_deref().and_then(number))
}

/// What is known about how far a watch is behind the store.
struct Progress {
    /// The version of the store, and since when the watch has not reached it.
    goal: Option<(u64, Instant)>,
    /// When the watch is compared with a list, unless it delivers an event before.
    compare_at: Instant,
    /// The time of the last comparison.
    compared_at: Option<Instant>,
}

/// Follows a list until the watch must restart.
async fn follow<K: Kept>(
    client: &Client,
    source: &mut Source,
    place: &Place,
    version: &mut String,
    patience: Duration,
    told: &mut impl FnMut(Event<K>),
) -> Relist {
    let mut backoff = BACKOFF;
    let mut progress = Progress { goal: None, compare_at: Instant::now() + source.silent, compared_at: None };
    let mut comparing: Option<(u64, BoxFuture<'static, kube::Result<Option<u64>>>)> = None;
    let mut away = false;
    loop {
        let begun = Instant::now();
        let (mut lines, mut until) = match stream::open(client, source.path.watch(&source.watch(), version)).await {
            // The state now may result from other events than the ones delivered, whatever the versions are.
            Ok(_) if away => return Relist::Away,
            Ok(answer) => {
                backoff.reset();
                (Some(Lines::new(answer)), begun + Duration::from_secs(WATCH_SECONDS.into()) + MARGIN)
            }
            Err(kube::Error::Api(status)) if status.code == GONE => return Relist::Expired,
            Err(error) => {
                source.interrupted(place, &error);
                told(Event::Interrupted);
                progress.compare_soon();
                away |= !matches!(error, kube::Error::Api(_));
                (None, Instant::now() + jittered(backoff.next_delay()))
            }
        };
        loop {
            let now = number(version);
            if let (None, Some(now)) = (&comparing, now.filter(|_| progress.compare_at <= Instant::now())) {
                comparing = Some((now, newest(client.clone(), source.clone()).boxed()));
            }
            let (mut moved, mut over, mut failed) = (false, None, None);
            let each = |line: Line<K>| match line {
                Line::Added(object) | Line::Modified(object) => moved |= apply(Event::Apply, object, version, told),
                Line::Deleted(object) => moved |= apply(Event::Delete, object, version, told),
                Line::Bookmark(marker) => moved |= advance(version, marker.metadata.resource_version),
                Line::Error(failure) if failure.code == GONE => over = Some(Relist::Expired),
                Line::Error(failure) => failed = Some(kube::Error::Service(failure.message.into())),
            };
            let ended = tokio::select! {
                read = read(&mut lines, each) => match read {
                    Ok(true) => false,
                    Ok(false) => {
                        // It ended prematurely, as when another server answers from now on.
                        if begun.elapsed() < ENDS {
                            progress.compare_soon();
                        }
                        if begun.elapsed() >= TOO_SHORT {
                            break;
                        }
                        true
                    }
                    Err(error) => {
                        failed = Some(error);
                        true
                    }
                },
                // Either the backoff has passed, or the connection was silent for longer than the watch lasts.
                () = tokio::time::sleep_until(until) => {
                    if lines.is_some() {
                        progress.compare_soon();
                    }
                    break;
                }
                () = tokio::time::sleep_until(progress.compare_at), if comparing.is_none() && now.is_some() => false,
                compared = compared(&mut comparing) => {
                    comparing = None;
                    if let Some(relist) = progress.compared(compared, now, patience, source.silent, place) {
                        return relist;
                    }
                    false
                }
                () = asked_to_relist(&mut source.relist) => return Relist::Asked,
            };
            if let Some(over) = over {
                return over;
            }
            if moved {
                progress.moved(number(version), source.silent);
                place.current();
            }
            if failed.is_some() || ended {
                if let Some(error) = failed {
                    source.interrupted(place, &error);
                    told(Event::Interrupted);
                    progress.compare_soon();
                }
                (lines, until) = (None, Instant::now() + jittered(backoff.next_delay()));
            }
        }
    }
}

const GONE: u16 = 410;

async fn read<K: Kept>(lines: &mut Option<Lines<K>>, each: impl FnMut(Line<K>)) -> kube::Result<bool> {
    match lines {
        Some(lines) => lines.read(each).await,
        None => std::future::pending().await,
    }
}

/// Returns the version that the watch had when the comparison began, and the store's.
async fn compared(comparing: &mut Option<(u64, BoxFuture<'static, kube::Result<Option<u64>>>)>) -> (u64, kube::Result<Option<u64>>) {
    match comparing {
        Some((version, store)) => (*version, store.await),
        None => std::future::pending().await,
    }
}

async fn asked_to_relist(relist: &mut Option<channel::Receiver<u64>>) {
    let Some(relist) = relist else { return std::future::pending().await };
    if relist.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn apply<K: Kept>(event: impl FnOnce(K) -> Event<K>, object: K, version: &mut String, told: &mut impl FnMut(Event<K>)) -> bool {
    let moved = advance(version, object.meta().resource_version.clone());
    told(event(object));
    moved
}

fn advance(version: &mut String, to: Option<String>) -> bool {
    let Some(to) = to.filter(|to| !to.is_empty()) else { return false };
    *version = to;
    true
}

impl Progress {
    /// The watch has delivered an event, and is at this version.
    fn moved(&mut self, version: Option<u64>, silent: Duration) {
        self.goal = self.goal.filter(|(goal, _)| version.is_some_and(|version| version < *goal));
        self.compare_at = Instant::now() + silent;
    }

    /// The watch was interrupted: the server that answers next may have another store.
    fn compare_soon(&mut self) {
        let now = Instant::now();
        self.compare_at = self.compared_at.map_or(now, |last| now.max(last + COMPARED_AGAIN));
    }

    /// Evaluates a comparison of the watch's earlier version with the store's.
    fn compared(
        &mut self,
        (asked, store): (u64, kube::Result<Option<u64>>),
        version: Option<u64>,
        patience: Duration,
        silent: Duration,
        place: &Place,
    ) -> Option<Relist> {
        self.compared_at = Some(Instant::now());
        let Ok(store) = store else {
            self.compare_at = Instant::now() + COMPARED_AGAIN;
            return None;
        };
        self.compare_at = Instant::now() + silent;
        let (store, version) = (store?, version?);
        if store < asked {
            return Some(Relist::Ahead { version: asked, store });
        }
        if store <= version {
            self.goal = None;
            place.current();
            return None;
        }
        let (goal, since) = *self.goal.get_or_insert((store, Instant::now()));
        (since.elapsed() >= patience).then_some(Relist::Silent { version, goal })
    }
}

impl Source {
    fn interrupted(&self, place: &Place, error: &kube::Error) {
        // One line for each guard would hide the others. Unproven guards are reported elsewhere.
        if self.by_name {
            debug!(what = place.what(), error = one_line(error), "the watch was interrupted and continues");
        } else {
            warn!(what = place.what(), error = one_line(error), "the watch was interrupted and continues");
        }
    }
}

/// Returns up to a quarter more than `delay`, so that the watches of all replicas do not reconnect at the same time.
fn jittered(delay: Duration) -> Duration {
    delay + delay.mul_f64(f64::from(jiff::Timestamp::now().subsec_microsecond() % 1_000) / 4_000.0)
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
