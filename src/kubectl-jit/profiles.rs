//! Saved sets of roles: what somebody activates together every time.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::{manifest::Said, problem::Problem};
use api::{Duration, text::printable};

/// A set. What it does not say is asked for as if there were no set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Names of eligibilities.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// Namespaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// For how long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Duration>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
}

impl Profile {
    /// What was asked for, as a set. The reason and the ticket are of one occasion and are not kept.
    #[must_use]
    pub fn of(roles: &[String], namespaces: &[String], said: &Said) -> Self {
        Self { roles: roles.to_vec(), namespaces: namespaces.to_vec(), duration: said.duration, reason: None, ticket: None }
    }
}

type Profiles = BTreeMap<String, Profile>;

/// The file of the sets: `$KUBECTL_JIT_PROFILES`, or `jit-profiles.yaml` beside the kubeconfig in the home directory.
pub fn path() -> Result<PathBuf, Problem> {
    if let Some(path) = std::env::var_os("KUBECTL_JIT_PROFILES").filter(|path| !path.is_empty()) {
        return Ok(path.into());
    }
    let home =
        std::env::home_dir().ok_or_else(|| Problem::Usage("there is no home directory; set KUBECTL_JIT_PROFILES to a file".to_owned()))?;
    Ok(home.join(".kube/jit-profiles.yaml"))
}

/// The names of all sets, for completion; none where there is no file or it cannot be read.
#[must_use]
pub fn names() -> Vec<String> {
    read().map(|profiles| profiles.into_keys().collect()).unwrap_or_default()
}

/// One set.
pub fn load(name: &str) -> Result<Profile, Problem> {
    let mut all = read()?;
    let known = all.keys().cloned().collect::<Vec<_>>().join(", ");
    all.remove(name).ok_or_else(|| {
        let known = if known.is_empty() { "none is saved yet".to_owned() } else { format!("there are {known}") };
        Problem::Usage(printable(&format!("there is no saved set '{name}': {known}; --save-profile saves one")))
    })
}

/// Saves a set under a name; another one of that name is replaced.
pub fn save(name: &str, profile: &Profile) -> Result<(), Problem> {
    let mut all = read()?;
    all.insert(name.to_owned(), profile.clone());
    let path = path()?;
    let here = |source| Problem::Here { what: format!("cannot write {}", path.display()), source };
    let text = serde_saphyr::to_string(&all).map_err(|error| Problem::Api(format!("cannot write the set: {error}")))?;
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(here)?;
    }
    // In one step, so that a broken-off write loses no other set.
    let beside = path.with_extension(format!("{}.new", std::process::id()));
    std::fs::write(&beside, text).map_err(here)?;
    std::fs::rename(&beside, &path).map_err(here)
}

fn read() -> Result<Profiles, Problem> {
    let path = path()?;
    match std::fs::read_to_string(&path) {
        Ok(text) if text.trim().is_empty() => Ok(Profiles::new()),
        Ok(text) => {
            serde_saphyr::from_str(&text).map_err(|error| Problem::Usage(printable(&format!("{} cannot be used: {error}", path.display()))))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Profiles::new()),
        Err(source) => Err(Problem::Here { what: format!("cannot read {}", path.display()), source }),
    }
}
