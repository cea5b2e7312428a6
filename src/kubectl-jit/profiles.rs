//! Profiles: saved sets of roles that are activated together.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::{manifest::RequestValues, problem::Problem};
use api::{Duration, text::printable};

/// A profile. Missing values are prompted for as without a profile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Names of eligibilities.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// Namespaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// The duration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Duration>,
    /// The justification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
}

impl Profile {
    /// A profile of the given values. The justification and the ticket belong to one occasion and are not saved.
    #[must_use]
    pub fn of(roles: &[String], namespaces: &[String], values: &RequestValues) -> Self {
        Self { roles: roles.to_vec(), namespaces: namespaces.to_vec(), duration: values.duration, reason: None, ticket: None }
    }
}

type Profiles = BTreeMap<String, Profile>;

/// The file of the profiles: `$KUBECTL_JIT_PROFILES`, or `~/.kube/jit-profiles.yaml`.
pub fn path() -> Result<PathBuf, Problem> {
    if let Some(path) = std::env::var_os("KUBECTL_JIT_PROFILES").filter(|path| !path.is_empty()) {
        return Ok(path.into());
    }
    let home =
        std::env::home_dir().ok_or_else(|| Problem::Usage("there is no home directory; set KUBECTL_JIT_PROFILES to a file".to_owned()))?;
    Ok(home.join(".kube/jit-profiles.yaml"))
}

/// The names of all profiles, for completion; none without a readable file.
#[must_use]
pub fn names() -> Vec<String> {
    read().map(|profiles| profiles.into_keys().collect()).unwrap_or_default()
}

/// Reads a profile.
pub fn load(name: &str) -> Result<Profile, Problem> {
    let mut all = read()?;
    let known = all.keys().cloned().collect::<Vec<_>>().join(", ");
    all.remove(name).ok_or_else(|| {
        let known = if known.is_empty() { "none is saved".to_owned() } else { format!("saved profiles: {known}") };
        Problem::Usage(printable(&format!("there is no profile '{name}': {known}; --save-profile saves one")))
    })
}

/// Saves a profile, and replaces one with the same name.
pub fn save(name: &str, profile: &Profile) -> Result<(), Problem> {
    let mut all = read()?;
    all.insert(name.to_owned(), profile.clone());
    let path = path()?;
    let here = |source| Problem::Here { what: format!("cannot write {}", path.display()), source };
    let text = serde_saphyr::to_string(&all).map_err(|error| Problem::Api(format!("cannot write the profile: {error}")))?;
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(here)?;
    }
    // Renamed in one step, so that an interrupted write loses no other profile.
    let temporary = path.with_extension(format!("{}.new", std::process::id()));
    std::fs::write(&temporary, text).map_err(here)?;
    std::fs::rename(&temporary, &path).map_err(here)
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
