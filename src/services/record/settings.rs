//! The settings of the record, which the chart renders.

use std::path::{Path, PathBuf};

use api::Duration;
use domain::audit::input::{Input, SettingsBody};
use serde::Deserialize;

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A file cannot be read.
    #[error("cannot read '{path}': {source}")]
    Read {
        /// Its path.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// A file has no valid settings.
    #[error("the settings in '{path}' cannot be used: {source}")]
    Parse {
        /// Its path.
        path: String,
        /// The cause, with line and column.
        source: serde_json::Error,
    },
}

/// The settings of the record.
#[derive(Clone, Debug)]
pub struct RecordSettings {
    /// Where the log is: `file:///PATH`, `s3://BUCKET/PREFIX`, `gs://`, `az://`.
    pub url: String,
    /// The folder with the private keys of the log.
    pub keys: PathBuf,
    /// The namespace of the operator, with the Lease.
    pub namespace: String,
    /// The name of the Lease that says what is recorded.
    pub lease: String,
    /// How long entries are kept; without it for ever.
    pub retention: Option<Duration>,
    /// The witnesses that cosign checkpoints.
    pub witnesses: Vec<WitnessSettings>,
    /// The values of the operator that the rules read, as an input.
    pub operator: Input,
}

/// A witness.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WitnessSettings {
    /// The URL prefix of its `add-checkpoint`.
    pub url: String,
    /// Its public key, as a verifier key of a signed note.
    pub key: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    url: String,
    keys: PathBuf,
    lease: String,
    #[serde(default)]
    retention: Option<Duration>,
    #[serde(default)]
    witnesses: Option<Vec<WitnessSettings>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Operator {
    operator_namespace: String,
}

impl RecordSettings {
    /// Reads both files.
    ///
    /// # Errors
    ///
    /// A file cannot be read or has no valid settings.
    pub fn read(settings: &Path, config: &Path) -> Result<Self, SettingsError> {
        let File { url, keys, lease, retention, witnesses } = parse(settings)?;
        let operator: SettingsBody = parse(config)?;
        let Operator { operator_namespace } = parse(config)?;
        Ok(Self {
            url,
            keys,
            namespace: operator_namespace,
            lease,
            retention: retention.filter(|retention| !retention.is_zero()),
            witnesses: witnesses.unwrap_or_default(),
            operator: operator.input(),
        })
    }
}

fn parse<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, SettingsError> {
    let shown = || path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|source| SettingsError::Read { path: shown(), source })?;
    serde_json::from_str(&text).map_err(|source| SettingsError::Parse { path: shown(), source })
}
