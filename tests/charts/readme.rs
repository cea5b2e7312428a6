//! The READMEs of the charts: their list of values is generated from values.yaml.

use std::fmt::Write;

use serde_json::Value;

use crate::render::{file, root};

/// The list begins after this heading, and is the rest of the file.
const HEADING: &str = "\n## Values\n";

/// One key of values.yaml with its description.
struct Entry {
    path: String,
    description: String,
}

/// Returns the described keys of values.yaml in their order. A description begins with `# -- `; an example after an empty comment line is left
/// to the file.
fn entries(text: &str) -> Vec<Entry> {
    let mut path: Vec<(usize, &str)> = Vec::new();
    let mut description: Option<String> = None;
    let mut open = false;
    let mut found = Vec::new();
    for line in text.lines() {
        let (indent, line) = (line.len() - line.trim_start().len(), line.trim());
        if let Some(first) = line.strip_prefix("# -- ") {
            (description, open) = (Some(first.to_owned()), true);
        } else if let Some(comment) = line.strip_prefix('#') {
            open &= !comment.trim().is_empty();
            if let Some(description) = description.as_mut().filter(|_| open) {
                *description += comment;
            }
        } else if let Some((key, _)) = line.split_once(':').filter(|(key, _)| key.chars().all(char::is_alphanumeric)) {
            path.retain(|(outer, _)| *outer < indent);
            path.push((indent, key));
            if let Some(description) = description.take() {
                let path = path.iter().map(|(_, key)| *key).collect::<Vec<_>>().join(".");
                found.push(Entry { path, description: description.trim_end_matches(" For example:").to_owned() });
            }
        }
    }
    found
}

fn table(text: &str) -> String {
    let values: Value = serde_saphyr::from_str(text).unwrap();
    let mut out = String::from("\n| value | default | description |\n|---|---|---|\n");
    for Entry { path, description } in entries(text) {
        let default = path.split('.').fold(&values, |value, key| &value[key]);
        // An object whose keys have entries of their own has no default.
        let has_entries = entries(text).iter().any(|other| other.path.starts_with(&format!("{path}.")));
        let default = if has_entries { String::new() } else { format!("`{default}`") };
        writeln!(out, "| `{path}` | {default} | {} |", description.replace('|', "\\|")).unwrap();
    }
    out
}

/// With `BLESS=1` in the environment the lists are rewritten.
#[test]
fn readmes_list_every_value() {
    for chart in ["jit-rbac", "jit-access"] {
        let path = format!("charts/{chart}/README.md");
        let text = file(&path);
        let at = text.find(HEADING).unwrap_or_else(|| panic!("{path} has no heading 'Values'")) + HEADING.len();
        let wanted = format!("{}{}", &text[..at], table(&file(&format!("charts/{chart}/values.yaml"))));
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(root().join(&path), &wanted).unwrap();
        }
        assert!(file(&path) == wanted, "{path} differs from values.yaml; write it again with make chart-readmes");
    }
}

#[test]
fn an_entry_has_the_whole_description_without_its_example() {
    let text = "# A comment.\na:\n  # -- What b is,\n  # and does. For example:\n  #\n  #   b: 2\n  b: 1\n  c: 1\n";
    let found: Vec<_> = entries(text).into_iter().map(|entry| (entry.path, entry.description)).collect();
    assert_eq!(found, [("a.b".to_owned(), "What b is, and does.".to_owned())]);
    assert_eq!(table(text).lines().last(), Some("| `a.b` | `1` | What b is, and does. |"));
}
