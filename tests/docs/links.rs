//! References between files of the repository have existing targets.

use std::{collections::BTreeSet, path::Path};

use crate::files::{Page, page, pages, root};

/// Returns the targets of a page's references, except those in code.
fn targets(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        // Every second part of a line that is split at backticks is code.
        let plain: String = line.split('`').enumerate().map(|(i, part)| if i % 2 == 0 { part } else { "code" }).collect();
        for rest in plain.split("](").skip(1) {
            found.extend(rest.split(')').next().map(str::to_owned));
        }
    }
    found
}

/// Returns the anchors of a page's headings, as GitHub names them.
fn anchors(text: &str) -> BTreeSet<String> {
    let name = |heading: &str| {
        let kept = heading.trim().to_lowercase();
        kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_')).map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    text.lines().filter(|line| line.starts_with('#')).map(|line| name(line.trim_start_matches('#'))).collect()
}

#[test]
fn every_link_to_a_file_leads_somewhere() {
    let mut faults = Vec::new();
    let mut all = pages("docs");
    all.extend(["README.md", "CHANGELOG.md"].map(|name| page(Path::new(name))));
    for Page { path, text } in &all {
        for target in targets(text).iter().filter(|target| !target.contains("://")) {
            let (file, anchor) = target.split_once('#').map_or((target.as_str(), None), |(file, anchor)| (file, Some(anchor)));
            let here = root().join(path);
            let there = if file.is_empty() { here.clone() } else { here.parent().unwrap().join(file) };
            if !there.exists() {
                faults.push(format!("{path}: {target} does not exist"));
            } else if let Some(anchor) = anchor
                && !anchors(&page(&there).text).contains(anchor)
            {
                faults.push(format!("{path}: {target} is not a heading of that page"));
            }
        }
    }
    assert!(faults.is_empty(), "broken references:\n{}", faults.join("\n"));
    assert!(all.iter().map(|page| targets(&page.text).len()).sum::<usize>() > 100, "the references were not found");
}
