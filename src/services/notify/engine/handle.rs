//! The receivers, each with what its task and others share.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::Arc,
};

use jiff::Timestamp;
use parking_lot::{Mutex, RwLock};
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{observe::Gauge, state::State};
use api::{NotificationReceiver, NotificationReceiverStatus, ReceiverType, names};

/// A requested test message.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Test {
    /// Its id.
    pub id: String,
    /// Mail addresses.
    #[serde(default)]
    pub to: Vec<String>,
}

/// One receiver.
#[derive(Debug)]
pub struct Handle {
    /// Its state.
    pub state: Mutex<State>,
    /// Wakes its task: something waits, or the spec changed.
    pub wake: Notify,
    /// Wakes what writes its status.
    pub changed: Notify,
    /// The status that is stored.
    pub stored: Mutex<NotificationReceiverStatus>,
    /// The requested test.
    pub test: Mutex<Option<Test>>,
    /// What its Secret was when the settings were checked; none before that.
    pub checked: Mutex<Option<[u8; 32]>>,
    /// Ends its tasks.
    pub gone: CancellationToken,
}

/// All receivers.
#[derive(Debug)]
pub struct Handles {
    all: RwLock<HashMap<String, Arc<Handle>>>,
    kinds: RwLock<Arc<BTreeMap<String, ReceiverType>>>,
    secrets: PathBuf,
}

impl Handles {
    /// Returns no receivers. `secrets` is the folder with their Secrets.
    #[must_use]
    pub fn new(secrets: PathBuf) -> Self {
        Self { all: RwLock::default(), kinds: RwLock::default(), secrets }
    }

    /// Takes over a receiver. Returns it if it is new, or was created again.
    pub fn apply(&self, stored: &NotificationReceiver) -> Option<Arc<Handle>> {
        let name = stored.metadata.name.clone().unwrap_or_default();
        let uid = stored.metadata.uid.clone().unwrap_or_default();
        let known = self.get(&name).filter(|known| known.state.lock().uid == uid);
        let is_new = known.is_none();
        let handle = known.unwrap_or_else(|| {
            self.remove(&name);
            let handle = Arc::new(Handle {
                state: Mutex::new(State::new(stored, &self.secrets, Instant::now())),
                wake: Notify::new(),
                changed: Notify::new(),
                stored: Mutex::default(),
                test: Mutex::default(),
                checked: Mutex::default(),
                gone: CancellationToken::new(),
            });
            self.all.write().insert(name, Arc::clone(&handle));
            handle
        });
        *handle.stored.lock() = stored.status.clone().unwrap_or_default();
        let mut state = handle.state.lock();
        if state.generation != stored.metadata.generation {
            state.apply(stored, &self.secrets);
            *handle.checked.lock() = None;
        }
        let annotation = stored.metadata.annotations.as_ref().and_then(|all| all.get(names::TEST));
        let wanted = annotation.and_then(|text| serde_json::from_str::<Test>(text).ok());
        let last = state.status.last_test.as_ref().map(|last| &last.id);
        *handle.test.lock() = wanted.filter(|test| test.id.len() <= 63 && last != Some(&test.id));
        drop(state);
        self.list();
        handle.wake.notify_one();
        is_new.then_some(handle)
    }

    /// Removes a receiver.
    pub fn remove(&self, name: &str) {
        if let Some(handle) = self.all.write().remove(name) {
            handle.gone.cancel();
        }
        self.list();
    }

    fn list(&self) {
        let kinds = self.all.read().iter().map(|(name, handle)| (name.clone(), handle.state.lock().kind)).collect();
        *self.kinds.write() = Arc::new(kinds);
    }

    /// Returns a receiver.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<Handle>> {
        self.all.read().get(name).cloned()
    }

    /// Returns all receivers.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Handle>> {
        self.all.read().values().cloned().collect()
    }

    /// Returns the types of all receivers.
    #[must_use]
    pub fn kinds(&self) -> Arc<BTreeMap<String, ReceiverType>> {
        Arc::clone(&self.kinds.read())
    }

    /// Records that an event was considered for all receivers.
    pub fn consider(&self, at: Timestamp) {
        for handle in self.all.read().values() {
            let mut state = handle.state.lock();
            state.handled.consider(at);
            if state.handled.is_behind() {
                handle.changed.notify_one();
            }
        }
    }

    /// Returns the state of all receivers for the metrics.
    #[must_use]
    pub fn gauges(&self, now: Timestamp) -> Vec<Gauge> {
        let gauge = |handle: &Arc<Handle>| {
            let state = handle.state.lock();
            let oldest = state.queue.oldest().map_or(0.0, |at| now.duration_since(at).as_secs_f64().max(0.0));
            Gauge { kind: state.kind, waiting: state.queue.count(), oldest, is_well: state.blocked.is_none() }
        };
        self.all.read().values().map(gauge).collect()
    }
}
