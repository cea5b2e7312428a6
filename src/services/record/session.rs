//! One session of the writer: from opening the log until an error that needs another start.
//!
//! A batch is appended as a whole and published as a whole. What is not published is not recorded: after an error the next session derives it again
//! from the stored objects.

use std::time::Duration;

use domain::{
    activity::Event,
    audit::{
        leaf::{self, Entry, EventData, Known, Subject},
        replay::{Proof, judge},
    },
};
use futures::TryStreamExt;
use jiff::{SignedDuration, Timestamp};
use kube::Api;
use kube_io::{call::read, watches::Watches};
use record::{
    key::{Signers, Trusted},
    reader::Reader,
    store,
    store::Store,
    witness::Witness,
    writer::Writer,
};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    context::{Context, NEED},
    error::RecordError,
    inputs::Gathered,
    mark::Mark,
    outbox::{Outbox, Watched, WatchedKind},
    positions::Positions,
};
use kube_io::{backoff::Backoff, cache::Key};

/// The time between two checkpoints with changes, and between two marks.
const CHECKPOINT: Duration = Duration::from_secs(10);
/// The time after which a checkpoint is signed without changes, and the index is written.
const HOURLY: Duration = Duration::from_hours(1);
/// How often old entries are removed.
const DAILY: Duration = Duration::from_hours(24);
/// How often the outbox is looked at without news.
const TICK: Duration = Duration::from_secs(1);
/// The most objects in one batch.
const BATCH: usize = 256;
/// The most entries that wait in memory while the store fails. The rest waits in the API server.
const MOST_PENDING: u64 = 10_000;
/// After so many entries the index is written, so that a start reads no more.
const INDEX_EVERY: u64 = 20_000;
/// Delays between attempts after a failure of the store.
const BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
/// The longest time until an input is written once more, where entries are removed after a time.
const LONGEST_REFRESH: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Runs one session until `stop`.
pub(super) async fn run(context: &Context, watches: &Watches, stop: &CancellationToken) -> Result<(), RecordError> {
    let source = source(context).await?;
    let signers = Signers::from_folder(&context.settings.keys)?;
    let trusted = signers.trusted().clone();
    let store = store::open(&context.settings.url, store::environment())?;
    let mut writer = Writer::open(store.clone(), signers, context.remembered().await?).await?;
    let witnesses = context.settings.witnesses.iter().map(|witness| Witness::new(&witness.url, &witness.key, None));
    writer.set_witnesses(witnesses.collect::<Result<_, _>>()?);
    let positions = match writer.published() {
        Some(_) => Positions::rebuild(&store, &Reader::open(store.clone(), trusted.clone()).await?).await?,
        None => Positions::default(),
    };
    info!(url = context.settings.url, entries = writer.size(), "the audit log is open");
    let outbox = Outbox::new(positions);
    let indexed = writer.size();
    let mut session = Session {
        context,
        store,
        writer,
        source,
        outbox: &outbox,
        appended_until: None,
        saved: (indexed, Instant::now()),
        trusted,
        pruned: None,
    };
    tokio::select! {
        () = outbox.follow(&context.client, watches) => Ok(()),
        done = session.write(watches, stop) => done,
    }
}

/// Returns the UID of the cluster: that of the namespace `kube-system`.
async fn source(context: &Context) -> Result<String, RecordError> {
    let api: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(context.client.clone());
    let found = read(|| "namespace 'kube-system'".to_owned(), api.get_metadata("kube-system")).await?;
    found.metadata.uid.ok_or_else(|| RecordError::Api("the namespace 'kube-system' has no UID".to_owned()))
}

struct Session<'a> {
    context: &'a Context,
    store: Store,
    writer: Writer,
    /// The UID of the cluster.
    source: String,
    outbox: &'a Outbox,
    /// The version up to which all requests are appended, and since when.
    appended_until: Option<(u64, Timestamp)>,
    /// The size that the index covers, and when it was written.
    saved: (u64, Instant),
    trusted: Trusted,
    /// When old entries were removed last.
    pruned: Option<Instant>,
}

impl Session<'_> {
    async fn write(&mut self, watches: &Watches, stop: &CancellationToken) -> Result<(), RecordError> {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut backoff = BACKOFF;
        let (mut published, mut marked): (Option<Instant>, Option<Instant>) = (None, None);
        let mut not_before = Instant::now();
        loop {
            let stopping = stop.is_cancelled();
            if self.writer.pending() < MOST_PENDING {
                self.append(watches).await;
            }
            self.context.metrics.waiting(self.outbox.waiting(), self.writer.pending() > 0);
            let now = Instant::now();
            let due = |since: Option<Instant>, every| since.is_none_or(|since: Instant| now.duration_since(since) >= every);
            let is_due = (self.writer.pending() > 0 && due(published, CHECKPOINT)) || due(published, HOURLY);
            if (is_due && now >= not_before) || (stopping && self.writer.pending() > 0) {
                match self.publish().await {
                    Ok(()) => {
                        (published, backoff) = (Some(now), BACKOFF);
                        self.context.health.set(NEED, true);
                        self.mark(&mut marked).await;
                        self.save_index(stopping).await;
                        self.prune().await?;
                    }
                    Err(error @ (record::Error::Retry { .. } | record::Error::Denied { .. })) => {
                        self.context.metrics.store_failed();
                        self.context.health.set(NEED, false);
                        not_before = now + backoff.next_delay();
                        warn!(%error, entries = self.writer.pending(), "cannot publish, retrying: nothing is lost");
                    }
                    Err(error) => return Err(error.into()),
                }
            } else if due(marked, CHECKPOINT) && self.writer.pending() == 0 && published.is_some() {
                self.mark(&mut marked).await;
            }
            if stopping {
                self.save_index(true).await;
                return Ok(());
            }
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => {}
            }
        }
    }

    async fn publish(&mut self) -> Result<(), record::Error> {
        let checkpoint = self.writer.refresh(self.context.clock.now()).await?;
        self.context.metrics.published(checkpoint.size());
        for why in self.writer.unwitnessed() {
            warn!(why, "a checkpoint has no cosignature");
        }
        Ok(())
    }

    /// Writes the mark. Everything that was appended is published then.
    async fn mark(&self, marked: &mut Option<Instant>) {
        let (Some((version, time)), 0) = (self.appended_until, self.writer.pending()) else { return };
        let head = self.writer.published().map(record::checkpoint::Checkpoint::head);
        let mark = Mark { head, version: Some(version), time };
        match self.context.write_mark(&mark).await {
            Ok(()) => *marked = Some(Instant::now()),
            Err(error) => warn!(%error, "cannot write what is recorded"),
        }
    }

    async fn save_index(&mut self, at_once: bool) {
        let (size, since) = self.saved;
        let covered = self.writer.size();
        if self.writer.pending() > 0 || covered == size || !(at_once || covered - size >= INDEX_EVERY || since.elapsed() >= HOURLY) {
            return;
        }
        let saved = {
            let (store, outbox) = (&self.store, self.outbox);
            let snapshot = outbox.positions(|positions| positions.clone());
            snapshot.save(store, covered).await
        };
        match saved {
            Ok(()) => self.saved = (covered, Instant::now()),
            Err(error) => warn!(%error, "cannot write the index: the next start reads more of the log"),
        }
    }

    /// Appends the events of the objects that wait.
    async fn append(&mut self, watches: &Watches) {
        let now = self.context.clock.now();
        let taken = self.outbox.take(BATCH);
        let mut failed = false;
        for (key, object) in taken.objects {
            match self.append_object(&key, object.clone()).await {
                Ok(()) => {}
                Err(error) => {
                    failed = true;
                    warn!(object = %key.1, %error, "cannot record an object now");
                    self.outbox.put_back(key, object);
                }
            }
        }
        // Nobody knows what a watch that is behind has missed.
        if !failed
            && watches.stale().is_empty()
            && let Some(until) = taken.all_until
        {
            self.appended_until = Some((until, now));
        }
    }

    async fn append_object(&mut self, key: &(WatchedKind, Key), object: Option<Watched>) -> Result<(), RecordError> {
        let Some(object) = self.present(key, object).await? else { return Ok(()) };
        let events = self.outbox.positions(|positions| positions.new_events(object.events()));
        if events.is_empty() {
            return Ok(());
        }
        let candidates = match &object {
            Watched::Request(request) => self.context.request_inputs(request, self.outbox).await?,
            Watched::Eligibility(eligibility) => {
                let mut gathered = Gathered::default();
                gathered.inputs.eligibility = gathered.hash(domain::audit::input::Input::eligibility(eligibility));
                vec![gathered]
            }
            Watched::Policy(policy) => {
                let mut gathered = Gathered::default();
                gathered.inputs.policy = gathered.hash(domain::audit::input::Input::policy(policy));
                vec![gathered]
            }
        };
        let recorded = self.context.clock.now();
        for event in events {
            self.append_event(&object, &event, &candidates, recorded)?;
        }
        Ok(())
    }

    /// Returns the object, which is read again where its content was not kept.
    async fn present(&self, key: &(WatchedKind, Key), object: Option<Watched>) -> Result<Option<Watched>, RecordError> {
        if object.is_some() {
            return Ok(object);
        }
        let (kind, Key { namespace, name }) = key;
        let client = self.context.client.clone();
        let what = || format!("'{name}'");
        Ok(match kind {
            WatchedKind::Request => read(what, Api::namespaced(client, namespace).get_opt(name)).await?.map(Box::new).map(Watched::Request),
            WatchedKind::Eligibility => self.outbox.eligibility(name).now.map(Watched::Eligibility),
            WatchedKind::Policy => self.outbox.policy(name).now.map(Watched::Policy),
        })
    }

    fn append_event(&mut self, object: &Watched, event: &Event, candidates: &[Gathered], recorded: Timestamp) -> Result<(), RecordError> {
        let mut chosen = None;
        let mut proven = true;
        for gathered in candidates {
            let leaf = leaf::event(&self.source, event, &data(object, event, gathered, recorded));
            let proof = Self::judge(&leaf, gathered)?;
            let is_first = chosen.is_none();
            let holds = !matches!(proof, Some(Proof::Contradicted(_) | Proof::Unproven(_)));
            if is_first || holds {
                if holds || is_first {
                    proven = holds;
                }
                chosen = Some((leaf, gathered));
            }
            if holds {
                break;
            }
        }
        let Some((leaf, gathered)) = chosen else { return Ok(()) };
        if !proven {
            warn!(event = event.id, subject = event.subject.name, "the rules do not confirm an event from what is stored now");
        }
        let refresh = self.refresh();
        let mut leaves = Vec::new();
        for input in &gathered.content {
            if !self.outbox.positions(|positions| positions.has_input(&input.hash, recorded, refresh)) {
                for part in leaf::input(&self.source, input) {
                    leaves.push(record::canonical(&part)?.into());
                }
                self.outbox.positions(|positions| positions.wrote_input(&input.hash, recorded));
            }
        }
        leaves.push(record::canonical(&leaf)?.into());
        self.writer.append(leaves)?;
        self.outbox.positions(|positions| positions.appended(event));
        self.context.metrics.recorded(proven);
        Ok(())
    }

    /// Removes the entries whose retention has passed, once a day, and at the first publication.
    async fn prune(&mut self) -> Result<(), record::Error> {
        let Some(retention) = self.context.settings.retention.map(SignedDuration::from) else { return Ok(()) };
        if self.pruned.is_some_and(|last| last.elapsed() < DAILY) {
            return Ok(());
        }
        let now = self.context.clock.now();
        // Inputs are written once more after the time of `refresh`, so the later events have all of theirs.
        let oldest = now.checked_sub(retention).and_then(|oldest| oldest.checked_sub(self.refresh().unwrap_or_default()));
        if let Ok(oldest) = oldest {
            let reader = Reader::open(self.store.clone(), self.trusted.clone()).await?;
            let minimum = first_since(&reader, oldest).await?;
            if minimum > reader.minimum() {
                let files = self.writer.prune(minimum, now).await?;
                info!(minimum, files, "old entries of the audit log were removed");
            }
        }
        self.pruned = Some(Instant::now());
        Ok(())
    }

    /// Decides a grant or an end again, as `kubectl jit record replay` will do.
    fn judge(leaf: &serde_json::Value, gathered: &Gathered) -> Result<Option<Proof>, RecordError> {
        let Entry::Event(recorded) = leaf::parse(&record::canonical(leaf)?) else { return Ok(None) };
        if !recorded.kind().is_some_and(|kind| kind.is_end() || kind == domain::activity::Kind::Granted) {
            return Ok(None);
        }
        let mut known = Known::default();
        for input in &gathered.content {
            known.insert(input);
        }
        Ok(judge(&known, &recorded))
    }

    fn refresh(&self) -> Option<SignedDuration> {
        self.context.settings.retention.map(|retention| (SignedDuration::from(retention) / 4).min(LONGEST_REFRESH))
    }
}

/// Returns the index of the first event that was recorded since then: the times of events in the log only grow, but inputs have none.
async fn first_since(reader: &Reader, since: Timestamp) -> Result<u64, record::Error> {
    let (mut low, mut high) = (reader.minimum(), reader.size());
    while low < high {
        let middle = low + (high - low) / 2;
        let mut entries = std::pin::pin!(reader.entries(middle..high));
        let mut event = None;
        while let Some(entry) = entries.try_next().await? {
            if let Entry::Event(found) = leaf::parse(&entry.leaf) {
                event = Some((entry.index, found.data.recorded));
                break;
            }
        }
        match event {
            Some((index, recorded)) if recorded < since => low = index + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

fn data(object: &Watched, event: &Event, gathered: &Gathered, recorded: Timestamp) -> EventData {
    let subject = &event.subject;
    let (state, requester, eligibility, role) = match object {
        Watched::Request(request) => {
            let status = request.status.as_ref();
            (
                status.and_then(|status| status.state).map(|state| state.as_str().to_owned()),
                request.spec.requester.as_ref().map(|stamp| stamp.username.to_string()),
                Some(request.spec.eligibility_ref.name.clone()),
                status.and_then(|status| status.role.as_ref()).map(|role| role.name.clone()),
            )
        }
        Watched::Eligibility(eligibility) => (None, None, None, Some(eligibility.spec.role_ref.name.clone())),
        Watched::Policy(_) => (None, None, None, None),
    };
    EventData {
        event: event.kind.as_str().to_owned(),
        actor: event.actor.clone(),
        message: event.message.clone(),
        severity: event.severity().as_str().to_owned(),
        object: Subject {
            kind: subject.kind.to_owned(),
            namespace: subject.namespace.clone(),
            name: subject.name.clone(),
            uid: subject.uid.clone(),
        },
        state,
        requester,
        eligibility,
        role,
        recorded,
        inputs: gathered.inputs.clone(),
    }
}
