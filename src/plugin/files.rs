//! Manifests in files, or on standard input.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::problem::Problem;
use crate::api::{RoleActivationRequest, names::GROUP, text::printable};

/// One object of a file.
#[derive(Clone, Debug)]
pub struct Document {
    /// The file and the number of the document in it, for messages.
    pub place: String,
    /// What it says.
    pub value: Value,
}

impl Document {
    /// Its kind, where it is one of ours.
    #[must_use]
    pub fn kind(&self) -> Option<&str> {
        let ours = self.value.get("apiVersion").and_then(Value::as_str).is_some_and(|version| version.split('/').next() == Some(GROUP));
        self.value.get("kind").and_then(Value::as_str).filter(|_| ours)
    }

    /// The object as one of its kind.
    pub fn typed<K: DeserializeOwned>(&self) -> Result<K, Problem> {
        serde_json::from_value(self.value.clone()).map_err(|error| Problem::Usage(printable(&format!("{}: {error}", self.place))))
    }
}

/// The objects of a file, of all YAML and JSON files of a directory, or of standard input (`-`). A List is what it holds.
pub fn documents(path: &Path) -> Result<Vec<Document>, Problem> {
    let mut found = Vec::new();
    for (name, text) in texts(path)? {
        let values: Vec<Value> =
            serde_saphyr::from_multiple(&text).map_err(|error| Problem::Usage(printable(&format!("{name} cannot be read: {error}"))))?;
        let several = values.len() > 1;
        for (number, value) in values.into_iter().enumerate() {
            let place = if several { format!("{name}, document {}", number + 1) } else { name.clone() };
            match value.get("items").and_then(Value::as_array) {
                Some(items) => found.extend(items.iter().map(|item| Document { place: place.clone(), value: item.clone() })),
                None if value.is_null() => {}
                None => found.push(Document { place, value }),
            }
        }
    }
    Ok(found)
}

/// The activation requests of a file.
pub fn requests(path: &Path) -> Result<Vec<RoleActivationRequest>, Problem> {
    let all = documents(path)?;
    let wanted: Vec<RoleActivationRequest> =
        all.iter().filter(|document| document.kind() == Some("RoleActivationRequest")).map(Document::typed).collect::<Result<_, _>>()?;
    if wanted.is_empty() {
        return Err(Problem::Usage(format!("{} has no RoleActivationRequest of {GROUP}", path.display())));
    }
    Ok(wanted)
}

fn texts(path: &Path) -> Result<Vec<(String, String)>, Problem> {
    let here = |path: &Path, source| Problem::Here { what: format!("cannot read {}", path.display()), source };
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(|source| here(Path::new("standard input"), source))?;
        return Ok(vec![("standard input".to_owned(), text)]);
    }
    let files: Vec<PathBuf> = if path.is_dir() {
        let entries = std::fs::read_dir(path).map_err(|source| here(path, source))?;
        let mut files: Vec<PathBuf> =
            entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).filter(|path| is_manifest(path)).collect();
        files.sort();
        files
    } else {
        vec![path.to_owned()]
    };
    files
        .into_iter()
        .map(|file| Ok((file.display().to_string(), std::fs::read_to_string(&file).map_err(|source| here(&file, source))?)))
        .collect()
}

fn is_manifest(path: &Path) -> bool {
    path.extension().and_then(|extension| extension.to_str()).is_some_and(|extension| ["yaml", "yml", "json"].contains(&extension))
}
