//! A monitor that reads the bindings all the time and reports one that must not exist.

use std::{collections::HashMap, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{Book, Life};
use crate::{
    env::{Error, Scene},
    faults::process_lifetimes::Lifetimes,
    grant_helpers::{text, time},
};

/// The poll interval.
const EVERY: Duration = Duration::from_millis(200);
/// How long a process must run undisturbed to end expired grants; other load keeps the machine busy.
const DUE: SignedDuration = SignedDuration::from_secs(4);
/// The same for a revoked or deactivated grant: its record must be read first, and another replica waits for the holder first.
const TAKEN: SignedDuration = SignedDuration::from_secs(6);

/// Polls until a violation is found, and returns it.
pub async fn forever(scene: &Scene, book: &Book) -> Error {
    loop {
        if let Err(broken) = look(scene, book).await {
            return broken;
        }
        // The poll interval; it waits for no condition.
        tokio::time::sleep(EVERY).await;
    }
}

/// One poll; none where the API server is down.
pub async fn look(scene: &Scene, book: &Book) -> Result<Option<()>, Error> {
    let from = Timestamp::now();
    let Ok(bindings) = scene.bindings().await else { return Ok(None) };
    let to = Timestamp::now();
    let lifetimes = book.lifetimes();
    let mut requests = book.requests();
    let found: HashMap<String, &Value> = bindings.iter().map(|b| (text(&b["metadata"]["annotations"]["jitrbac.dev/request"]), b)).collect();
    if found.len() != bindings.len() {
        return Err(format!("a request has two bindings: {bindings:?}").into());
    }
    for (name, binding) in &found {
        let life = requests.get_mut(name).ok_or_else(|| format!("there is no request for {binding}"))?;
        there(life, binding, from, &lifetimes).map_err(|broken| format!("{name}: {broken}; {life:?}; {binding}"))?;
    }
    for (name, life) in requests.iter_mut().filter(|(name, life)| life.gone.is_none() && !found.contains_key(*name)) {
        let Some((_, deadline)) = &life.binding else { continue };
        life.gone = Some(to);
        if to < *deadline && !life.may_end {
            return Err(format!("{name} ended before its deadline, and nobody ended it: {life:?}").into());
        }
    }
    Ok(Some(()))
}

/// Returns whether the binding existed at some time after `from`.
fn there(life: &mut Life, binding: &Value, from: Timestamp, lifetimes: &Lifetimes) -> Result<(), Error> {
    if !life.may_run {
        return Err("it is granted without approval".into());
    }
    let uid = text(&binding["metadata"]["uid"]);
    let deadline = time(&binding["metadata"]["annotations"]["jitrbac.dev/expires-at"])?;
    let (first_uid, first_deadline) = life.binding.get_or_insert_with(|| (uid.clone(), deadline)).clone();
    if first_uid != uid || life.gone.is_some() {
        return Err("it was granted twice".into());
    }
    if deadline > first_deadline {
        return Err("its deadline moved later".into());
    }
    // A binding without subjects grants nothing, and only a foreign finalizer keeps it.
    if binding["subjects"].as_array().is_none_or(Vec::is_empty) {
        return Ok(());
    }
    if from > lifetimes.latest_end(first_deadline, DUE) {
        return Err(format!("it should have ended at {first_deadline}").into());
    }
    match life.taken {
        Some(taken) if from > lifetimes.latest_end(taken, TAKEN) => Err(format!("it still exists, revoked at {taken}").into()),
        _ => Ok(()),
    }
}
