//! Which objects are guards, and what they must say: policies, their bindings and webhook configurations from the file that the
//! chart renders, the CRDs from the types of this program.

use std::path::Path;

use serde_json::{Value, json};

use crate::crds;
use api::names;
use domain::guards::expected::{Expected, GuardKind, api_service};

/// Why the expectations cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ExpectedError {
    /// The file cannot be read.
    #[error("cannot read the guards {path}, which the chart renders beside the configuration: {source}")]
    Read {
        /// Its path.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what the chart renders.
    #[error("the guards {path} cannot be used: {source}")]
    Parse {
        /// Its path.
        path: String,
        /// Why, with line and column.
        source: serde_json::Error,
    },
    /// It lists no guard at all, and nothing would be watched.
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

/// All guards: those in the file, which lies beside the configuration, and the CRDs.
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

/// The CRDs as they must be stored.
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
    crds::all()?.into_iter().map(crd).collect()
}
