//! The commands on a page of documentation, and the comparison of their output.

use std::ops::Range;

use regex::Regex;

/// A command and its expected output.
pub struct Step {
    /// The user of the session.
    pub user: String,
    /// The command line.
    pub command: String,
    /// The lines of the page with the output, except an empty one at their end.
    pub output: Range<usize>,
}

/// Returns the steps of a page, in their order.
pub fn steps(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let (mut user, mut inside, mut here) = (None, false, None::<String>);
    for (number, line) in page.lines().enumerate() {
        if let Some(name) = line.strip_prefix("<!-- run as ").and_then(|rest| rest.strip_suffix(" -->")) {
            user = Some(name.to_owned());
            continue;
        }
        match (inside, line) {
            (false, "```console") => inside = user.is_some(),
            (true, "```") => (inside, user) = (false, None),
            (true, _) => {
                let Some(user) = &user else { continue };
                if let Some(end) = &here {
                    let is_end = line == end;
                    if let Some(step) = steps.last_mut() {
                        step.command.push('\n');
                        step.command.push_str(line);
                        step.output = number + 1..number + 1;
                    }
                    if is_end {
                        here = None;
                    }
                } else if let Some(command) = line.strip_prefix("$ ") {
                    here = command.split_once("<<").map(|(_, end)| end.trim().to_owned());
                    steps.push(Step { user: user.clone(), command: command.to_owned(), output: number + 1..number + 1 });
                } else if let Some(step) = steps.last_mut().filter(|_| !line.is_empty()) {
                    step.output.end = number + 1;
                }
            }
            _ => {}
        }
    }
    steps
}

/// A generated name, with the suffix of the API server.
const NAME: &str = r"[a-z0-9][a-z0-9-]*-[bcdfghjklmnpqrstvwxz2456789]{5}\b";
const DIGEST: &str = r"sha256:[0-9a-f]{16,64}";

/// The varying texts, in the order in which they are searched.
fn changing() -> Vec<(Regex, &'static str)> {
    [
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME"),
        (r"(\d{4}-\d\d-\d\d )?\d\d:\d\d(:\d\d)? UTC", "TIME"),
        (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UID"),
        (DIGEST, "DIGEST"),
        (r"-[bcdfghjklmnpqrstvwxz2456789]{5}\b", "-NAME"),
        (r"\b\d+[smhd](\d+[smh])?\b", "AGE"),
        (r"[ \t]+", " "),
    ]
    .into_iter()
    .filter_map(|(pattern, word)| Some((Regex::new(pattern).ok()?, word)))
    .collect()
}

/// Returns a text without its varying parts.
pub fn form(text: &str) -> String {
    let text = changing().iter().fold(text.to_owned(), |text, (pattern, word)| pattern.replace_all(&text, *word).into_owned());
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

/// Returns the generated names and digests in a text, in their order.
pub fn generated(text: &str) -> Vec<String> {
    let Ok(pattern) = Regex::new(&format!("{NAME}|{DIGEST}")) else { return Vec::new() };
    pattern.find_iter(text).map(|found| found.as_str().to_owned()).collect()
}
