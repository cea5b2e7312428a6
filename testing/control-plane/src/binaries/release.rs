use std::env;
use std::fmt;

use super::Version;
use crate::{Error, Result};

/// The environment variable that selects a minor version of Kubernetes.
const VARIABLE: &str = "KUBERNETES_VERSION";

/// A release of Kubernetes that control planes can be built from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release {
    minor: u32,
    patch: u32,
}

impl Release {
    /// One release of every minor version that the operator is tested on, oldest first. Only this list pins them.
    pub const ALL: [Self; 5] = [Self::new(33, 13), Self::new(34, 4), Self::new(35, 4), Self::USUAL, Self::new(37, 2)];
    /// The default release; `go.mod` and `go.sum` of this crate pin all of its modules.
    pub const USUAL: Self = Self::new(36, 3);

    const fn new(minor: u32, patch: u32) -> Self {
        Self { minor, patch }
    }

    /// Returns the release that the environment's `KUBERNETES_VERSION` selects, such as `1.34`; none where it is not set.
    pub fn chosen() -> Result<Option<Self>> {
        match env::var(VARIABLE) {
            Err(env::VarError::NotPresent) => Ok(None),
            Ok(name) if name.is_empty() => Ok(None),
            Ok(name) => Self::by_name(&name).map(Some),
            Err(env::VarError::NotUnicode(name)) => Self::by_name(&name.to_string_lossy()).map(Some),
        }
    }

    fn by_name(name: &str) -> Result<Self> {
        let wanted = name.strip_prefix('v').unwrap_or(name);
        let is = |release: &Self| wanted == release.name() || format!("v{wanted}") == release.to_string();
        Self::ALL.into_iter().find(is).ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            Error::State(format!("{VARIABLE} is {name}, but must be one of {known}"))
        })
    }

    /// Returns its minor version, for example 34 of 1.34.4.
    #[must_use]
    pub fn minor(self) -> u32 {
        self.minor
    }

    /// Returns the name of its minor version, such as `1.34`.
    #[must_use]
    pub fn name(self) -> String {
        format!("1.{}", self.minor)
    }

    pub(super) fn version(self) -> Version {
        Version { major: 1, minor: self.minor }
    }

    /// Returns the version of the modules that are published together with it, such as `v0.34.4`.
    pub(super) fn of_staging(self) -> String {
        format!("v0.{}.{}", self.minor, self.patch)
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v1.{}.{}", self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_chosen_by_its_minor_or_its_whole_version() {
        for name in ["1.34", "v1.34", "1.34.4", "v1.34.4"] {
            assert_eq!(Release::by_name(name).unwrap(), Release::new(34, 4), "{name}");
        }
        for name in ["1.32", "1.34.3", "34", "vv1.34", "1.3", "newest"] {
            let error = Release::by_name(name).unwrap_err().to_string();
            assert_eq!(error, format!("KUBERNETES_VERSION is {name}, but must be one of 1.33, 1.34, 1.35, 1.36, 1.37"));
        }
    }

    #[test]
    fn every_minor_is_there_once_and_none_is_left_out() {
        assert!(Release::ALL.windows(2).all(|pair| pair[0].minor + 1 == pair[1].minor));
        assert!(Release::ALL.contains(&Release::USUAL));
    }
}
