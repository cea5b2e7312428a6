//! The figures that are measured so far, in a file that is replaced atomically.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::measures::Measure;
use crate::Failure;

/// The content of the file.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Record {
    /// The webhook's port.
    webhook_port: Option<u16>,
    steps: Vec<Step>,
}

/// One combination of active grants and completed requests.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Step {
    /// Active grants.
    pub active: usize,
    /// Completed requests, at least.
    pub ended: usize,
    /// How many grants were active when the processes of the last figures were started: all of them after an interruption.
    pub started_with: usize,
    /// The figures.
    pub figures: BTreeMap<Measure, f64>,
}

impl Step {
    /// Returns true when no figure is missing.
    pub fn is_complete(&self) -> bool {
        Measure::ALL.into_iter().all(|measure| !measure.is_needed() || self.figures.contains_key(&measure))
    }
}

/// The directory of the measurement, locked for one run at a time.
#[derive(Debug)]
pub struct Held {
    directory: PathBuf,
    record: Record,
    started_with: usize,
    _lock: File,
}

impl Held {
    /// Locks it, with the results of earlier runs.
    pub fn open(directory: &Path) -> Result<Self, Failure> {
        fs::create_dir_all(directory)?;
        let lock = File::create(directory.join("lock"))?;
        lock.try_lock().map_err(|_| format!("another run is active in {}", directory.display()))?;
        Ok(Self { record: read(directory)?, directory: directory.to_owned(), started_with: 0, _lock: lock })
    }

    /// The directory of the control plane.
    pub fn plane(&self) -> PathBuf {
        self.directory.join("plane")
    }

    /// The port of the webhook, once it was installed.
    pub fn webhook_port(&self) -> Option<u16> {
        self.record.webhook_port
    }

    /// Records the port of the webhook.
    pub fn set_webhook_port(&mut self, port: Option<u16>) -> Result<(), Failure> {
        self.record.webhook_port = port;
        self.save()
    }

    /// Records that the processes were started with this many active grants.
    pub fn begun(&mut self, active: usize) {
        self.started_with = active;
    }

    /// The figures of a step.
    pub fn step(&self, active: usize, ended: usize) -> Step {
        let found = self.record.steps.iter().find(|step| (step.active, step.ended) == (active, ended));
        found.cloned().unwrap_or(Step { active, ended, ..Step::default() })
    }

    /// Records figures of a step.
    pub fn note(&mut self, active: usize, ended: usize, figures: &[(Measure, f64)]) -> Result<(), Failure> {
        let mut step = self.step(active, ended);
        step.started_with = self.started_with;
        step.figures.extend(figures.iter().copied());
        self.record.steps.retain(|step| (step.active, step.ended) != (active, ended));
        self.record.steps.push(step);
        for (measure, figure) in figures {
            eprintln!("  {}: {figure:.2} {}", measure.name(), measure.unit());
        }
        self.save()
    }

    fn save(&self) -> Result<(), Failure> {
        let mut file = tempfile::NamedTempFile::new_in(&self.directory)?;
        file.write_all(serde_json::to_string_pretty(&self.record)?.as_bytes())?;
        file.persist(file_in(&self.directory))?;
        Ok(())
    }
}

/// The steps that were measured with the most completed requests, by their numbers.
pub fn steps(directory: &Path) -> Result<Vec<Step>, Failure> {
    let mut steps = read(directory)?.steps;
    let most = steps.iter().map(|step| step.ended).max();
    steps.retain(|step| Some(step.ended) == most);
    steps.sort_by_key(|step| step.active);
    Ok(steps)
}

fn read(directory: &Path) -> Result<Record, Failure> {
    match fs::read(file_in(directory)) {
        Ok(text) => Ok(serde_json::from_slice(&text)?),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Record::default()),
        Err(error) => Err(error.into()),
    }
}

fn file_in(directory: &Path) -> PathBuf {
    directory.join("figures.json")
}

/// A figure and the number of active grants.
#[expect(clippy::cast_precision_loss, reason = "some tens of thousands")]
pub fn points(steps: &[Step], measure: Measure) -> Vec<(f64, f64)> {
    steps.iter().filter_map(|step| Some((step.active as f64, *step.figures.get(&measure)?))).collect()
}
