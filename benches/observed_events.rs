//! When objects were created and deleted, as a watcher of the API server observes it.

use std::{
    collections::HashMap,
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use api::names;
use futures::StreamExt;
use jiff::Timestamp;
use kube::{
    Api, Resource,
    core::PartialObjectMeta,
    runtime::{WatchStreamExt, watcher},
};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::Failure;

/// The maximum wait of any operation here.
const LIMIT: Duration = Duration::from_mins(3);

/// When one object was created and deleted.
#[derive(Clone, Copy, Debug)]
pub struct Observation {
    /// When it was first observed.
    pub came: Timestamp,
    /// When its deletion was observed.
    pub gone: Option<Timestamp>,
    /// When it should be deleted, by its own annotation.
    pub deadline: Option<Timestamp>,
}

/// All observed objects of one kind, by name.
#[derive(Debug)]
pub struct Sightings {
    seen: Mutex<HashMap<String, Observation>>,
    complete: watch::Sender<bool>,
    news: watch::Sender<()>,
    stop: CancellationToken,
}

impl Sightings {
    /// Starts a watch.
    pub fn follow<K>(api: Api<PartialObjectMeta<K>>, config: watcher::Config) -> Arc<Self>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
    {
        let sightings = Arc::new(Self {
            seen: Mutex::default(),
            complete: watch::Sender::new(false),
            news: watch::Sender::new(()),
            stop: CancellationToken::new(),
        });
        let here = sightings.clone();
        tokio::spawn(async move {
            let mut events = Box::pin(watcher(api, config).default_backoff());
            while let Some(Some(event)) = here.stop.run_until_cancelled(events.next()).await {
                match event {
                    Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => here.came(&object),
                    Ok(watcher::Event::Delete(object)) => here.went(&object),
                    Ok(watcher::Event::Init) => {}
                    Ok(watcher::Event::InitDone) => drop(here.complete.send_replace(true)),
                    Err(error) => eprintln!("a watch of the measurement was interrupted: {error}"),
                }
            }
        });
        sightings
    }

    fn with<T>(&self, act: impl FnOnce(&mut HashMap<String, Observation>) -> T) -> T {
        act(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn came<K>(&self, object: &PartialObjectMeta<K>) {
        let now = Timestamp::now();
        let annotations = object.metadata.annotations.as_ref();
        let deadline = annotations.and_then(|all| all.get(names::EXPIRES_AT)?.parse().ok());
        let name = object.metadata.name.clone().unwrap_or_default();
        self.with(|seen| {
            seen.entry(name).or_insert(Observation { came: now, gone: None, deadline });
        });
        self.news.send_replace(());
    }

    fn went<K>(&self, object: &PartialObjectMeta<K>) {
        let now = Timestamp::now();
        let name = object.metadata.name.clone().unwrap_or_default();
        self.with(|seen| {
            if let Some(sight) = seen.get_mut(&name) {
                sight.gone.get_or_insert(now);
            }
        });
        self.news.send_replace(());
    }

    /// Waits until the initial list is complete.
    pub async fn complete(&self) -> Result<(), Failure> {
        self.complete.subscribe().wait_for(|complete| *complete).await?;
        Ok(())
    }

    /// Waits until the object is created.
    pub async fn comes(&self, name: &str) -> Result<Observation, Failure> {
        self.until(name, |sight| Some(*sight)).await
    }

    /// Waits until the object is created and deleted.
    pub async fn goes(&self, name: &str) -> Result<(Observation, Timestamp), Failure> {
        self.until(name, |sight| Some((*sight, sight.gone?))).await
    }

    /// Stops the watch.
    pub fn end(&self) {
        self.stop.cancel();
    }

    /// The number of objects that exist now.
    pub fn there(&self, wanted: impl Fn(&str) -> bool) -> usize {
        self.with(|seen| seen.iter().filter(|(name, sight)| sight.gone.is_none() && wanted(name)).count())
    }

    async fn until<T>(&self, name: &str, look: impl Fn(&Observation) -> Option<T>) -> Result<T, Failure> {
        let mut news = self.news.subscribe();
        let looking = async {
            loop {
                news.borrow_and_update();
                if let Some(found) = self.with(|seen| seen.get(name).and_then(&look)) {
                    return Ok(found);
                }
                news.changed().await?;
            }
        };
        tokio::time::timeout(LIMIT, looking).await.map_err(|_| format!("waited {LIMIT:?} for {name}"))?
    }
}
