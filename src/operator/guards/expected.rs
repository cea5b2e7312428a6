//! The expected guards: policies, their bindings and webhook configurations from the file that the chart renders, and the CRDs from the
//! types of this program, as far as grants depend on them.

use std::path::Path;

use serde_json::{Value, json};

use crate::crds;
use api::names;
use domain::guards::expected::{Expected, GuardKind, api_service};

/// Why the expected guards cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ExpectedError {
    /// The file cannot be read.
    #[error("cannot read the guards {path}, which the chart renders next to the configuration: {source}")]
    Read {
        /// Its path.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The file does not have the format that the chart renders.
    #[error("the guards {path} cannot be used: {source}")]
    Parse {
        /// Its path.
        path: String,
        /// The cause, with line and column.
        source: serde_json::Error,
    },
    /// The file lists no guard, so that none would be watched.
    #[error("the guards {path} cannot be used: none is listed")]
    Empty {
        /// Its path.
        path: String,
    },
    /// The CRDs cannot be generated.
    #[error(transparent)]
    Crds(#[from] crds::CrdError),
    /// A generated CRD cannot be read back.
    #[error("a CRD cannot be read: {0}")]
    Yaml(#[from] serde_saphyr::Error),
}

/// Returns all guards: the CRDs, and those in the file next to the configuration.
pub fn read(config: &Path) -> Result<Vec<Expected>, ExpectedError> {
    let path = config.with_file_name("guards.json");
    let shown = || path.display().to_string();
    let text = std::fs::read_to_string(&path).map_err(|source| ExpectedError::Read { path: shown(), source })?;
    let mut all: Vec<Expected> = serde_json::from_str(&text).map_err(|source| ExpectedError::Parse { path: shown(), source })?;
    if all.is_empty() {
        return Err(ExpectedError::Empty { path: shown() });
    }
    all.extend(crds()?);
    all.push(api_service());
    Ok(all)
}

/// Returns the CRDs as they must be stored.
pub fn crds() -> Result<Vec<Expected>, ExpectedError> {
    let crd = |(plural, yaml): (String, String)| {
        let crd: Value = serde_saphyr::from_str(&yaml)?;
        Ok(Expected {
            kind: GuardKind::CustomResourceDefinition,
            name: format!("{plural}.{}", names::GROUP),
            says: json!({"spec": crd.get("spec")}),
            probe: None,
        })
    };
    crds::guarded()?.into_iter().map(crd).collect()
}
