//! Manifests in files or on standard input.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    problem::Problem,
    yaml::{self, Located},
};
use api::{RoleActivationRequest, names::GROUP, text::printable};

/// One object of a file.
#[derive(Clone, Debug)]
pub struct Document {
    /// The file, or `standard input`.
    pub file: String,
    /// The number of the document in its file, if there are several.
    pub number: Option<usize>,
    /// The content.
    pub content: Located,
}

impl Document {
    /// The kind, if it belongs to jitrbac.dev.
    #[must_use]
    pub fn kind(&self) -> Option<&str> {
        let ours = self.text("apiVersion").is_some_and(|version| version.split('/').next() == Some(GROUP));
        self.text("kind").filter(|_| ours)
    }

    /// A top-level string field.
    #[must_use]
    pub fn text(&self, field: &str) -> Option<&str> {
        self.content.value.get(field).and_then(Value::as_str)
    }

    /// The file and the line of a field, for messages; the field "" is the object itself.
    #[must_use]
    pub fn place(&self, field: &str) -> String {
        self.content.line(field).map_or_else(|| self.file.clone(), |line| format!("{}:{line}", self.file))
    }

    /// The object as its Rust type.
    pub fn typed<K: DeserializeOwned>(&self) -> serde_json::Result<K> {
        serde_json::from_value(self.content.value.clone())
    }
}

/// The content of the files.
#[derive(Debug, Default)]
pub struct Contents {
    /// The objects, including the items of Lists.
    pub documents: Vec<Document>,
    /// The errors of files that are not valid YAML or JSON.
    pub unreadable: Vec<String>,
    /// Subdirectories that were skipped.
    pub skipped: Vec<PathBuf>,
}

/// Reads the objects of a file, of all YAML and JSON files of a directory (with subdirectories if `recursive`), or of standard input
/// (`-`).
pub fn read(path: &Path, recursive: bool) -> Result<Contents, Problem> {
    let mut contents = Contents::default();
    for (file, text) in texts(path, recursive, &mut contents.skipped)? {
        let all = match yaml::documents(&text) {
            Ok(all) => all,
            Err(why) => {
                contents.unreadable.push(printable(&format!("{file}: error: {why}")));
                continue;
            }
        };
        let several = all.len() > 1;
        for (number, content) in all.into_iter().enumerate() {
            let document = |content| Document { file: file.clone(), number: several.then_some(number + 1), content };
            match content.value.get("items").and_then(Value::as_array) {
                Some(items) => {
                    let parts = items.iter().enumerate().map(|(i, item)| document(content.part(&format!("items[{i}]"), item)));
                    contents.documents.extend(parts);
                }
                None if content.value.is_null() => {}
                None => contents.documents.push(document(content)),
            }
        }
    }
    Ok(contents)
}

/// The activation requests of a file.
pub fn requests(path: &Path) -> Result<Vec<RoleActivationRequest>, Problem> {
    let Contents { documents, unreadable, .. } = read(path, false)?;
    if let Some(why) = unreadable.into_iter().next() {
        return Err(Problem::Usage(why));
    }
    let wanted: Vec<RoleActivationRequest> = documents
        .iter()
        .filter(|document| document.kind() == Some("RoleActivationRequest"))
        .map(|document| {
            let invalid = |error| Problem::Usage(printable(&format!("{}: {error}", document.place(""))));
            document.typed().map_err(invalid)
        })
        .collect::<Result<_, _>>()?;
    if wanted.is_empty() {
        return Err(Problem::Usage(format!("{} has no RoleActivationRequest of {GROUP}", path.display())));
    }
    Ok(wanted)
}

fn here(path: &Path, source: std::io::Error) -> Problem {
    Problem::Here { what: format!("cannot read {}", path.display()), source }
}

fn texts(path: &Path, recursive: bool, skipped: &mut Vec<PathBuf>) -> Result<Vec<(String, String)>, Problem> {
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(|source| here(Path::new("standard input"), source))?;
        return Ok(vec![("standard input".to_owned(), text)]);
    }
    let mut files = Vec::new();
    if path.is_dir() {
        collect(path, recursive, &mut files, skipped)?;
        files.sort();
    } else {
        files.push(path.to_owned());
    }
    files
        .into_iter()
        .map(|file| Ok((file.display().to_string(), std::fs::read_to_string(&file).map_err(|source| here(&file, source))?)))
        .collect()
}

/// Collects the manifests of a directory. Does not follow symlinks to directories, which could form a loop.
fn collect(directory: &Path, recursive: bool, files: &mut Vec<PathBuf>, skipped: &mut Vec<PathBuf>) -> Result<(), Problem> {
    for entry in std::fs::read_dir(directory).map_err(|source| here(directory, source))? {
        let entry = entry.map_err(|source| here(directory, source))?;
        let (path, kind) = (entry.path(), entry.file_type().map_err(|source| here(directory, source))?);
        if !kind.is_dir() {
            files.extend(is_manifest(&path).then_some(path));
        } else if recursive {
            collect(&path, recursive, files, skipped)?;
        } else {
            skipped.push(path);
        }
    }
    Ok(())
}

fn is_manifest(path: &Path) -> bool {
    path.extension().and_then(|extension| extension.to_str()).is_some_and(|extension| ["yaml", "yml", "json"].contains(&extension))
}
