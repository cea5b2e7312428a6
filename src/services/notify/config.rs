//! The configuration of the notify process, which the chart renders.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::Egress;
use domain::notify::{addresses::Addresses, default_rules::Setting};

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Its path.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The file is not a valid configuration.
    #[error("the configuration {path} cannot be used: {source}")]
    Parse {
        /// Its path.
        path: String,
        /// The cause, with line and column.
        source: serde_json::Error,
    },
}

/// The configuration of the notify process.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// Namespace in which the operator runs.
    pub operator_namespace: String,
    /// Name of the controller's Lease, whose record of the guards is read.
    pub lease: String,
    /// Name of the cluster in messages.
    pub cluster: String,
    /// Address of the console; empty: there is none.
    pub console_url: String,
    /// Folder with one folder for each Secret.
    pub secrets: PathBuf,
    /// Hosts that receivers may use.
    pub allowed_hosts: Vec<String>,
    /// Hosts that may be used without TLS.
    pub plain_hosts: Vec<String>,
    /// Private networks that receivers may use.
    #[serde(rename = "allowedCIDRs")]
    pub allowed_cidrs: Vec<String>,
    /// File with further authorities; empty: none.
    pub authorities: String,
    /// Addresses of people.
    pub addresses: Addresses,
    /// Settings of the default rules, by name.
    pub default_rules: BTreeMap<String, Setting>,
    /// True: `RoleBindings` are read, to tell about active assignments.
    pub active_assignments: bool,
}

impl Config {
    /// Reads the file.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is not valid.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let shown = || path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: shown(), source })?;
        serde_json::from_str(&text).map_err(|source| ConfigError::Parse { path: shown(), source })
    }

    /// Returns where receivers may connect to.
    ///
    /// # Errors
    ///
    /// The file with authorities cannot be read.
    pub fn egress(&self) -> Result<Egress, ConfigError> {
        let read = |path: &String| std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.clone(), source });
        Ok(Egress {
            hosts: self.allowed_hosts.clone(),
            plain_hosts: self.plain_hosts.clone(),
            networks: self.allowed_cidrs.clone(),
            authorities: Some(&self.authorities).filter(|path| !path.is_empty()).map(read).transpose()?,
        })
    }
}
