//! The terminal sessions in the documentation, played again on a real API server: what a reader sees is what happens.
//!
//! A block of console text below a line `<!-- played as dev -->` is a shell's session of that person. Lines that begin with `$ ` are typed (with
//! what a here-document needs below them), the rest is what must be printed. Times, ages, digests and generated names are others each time:
//! they are compared by their form, and a name that was generated in the text stands for the one that was generated now.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use control_plane::playground;
use regex::Regex;
use serde_json::json;

use crate::{
    ensure,
    env::{Env, Journey, Outcome},
    journeys,
};

/// The pages that are played, each on the same plane after the one before it.
const PAGES: [&str; 2] = ["docs/requester.md", "docs/approver.md"];

pub fn journeys() -> Vec<(&'static str, Journey)> {
    journeys![the_sessions_in_the_documentation_are_what_happens]
}

async fn the_sessions_in_the_documentation_are_what_happens(env: Arc<Env>) -> Outcome {
    let values = json!({"bindableRoles": {"clusterRoles": ["view", "edit", "admin"], "roles": ["debug"]}});
    let (ground, _permit) = env.own_ground(values).await?;
    let (cluster, root) = (ground.cluster(), Path::new(env!("CARGO_MANIFEST_DIR")));
    playground::namespaces(cluster).await?;
    playground::examples(cluster, &root.join("examples")).await?;
    let mut names = BTreeMap::new();
    let mut played = 0;
    for page in PAGES {
        let text = std::fs::read_to_string(root.join(page))?;
        for step in steps(&text) {
            let typed = names.iter().fold(step.command.clone(), |typed, (then, now): (&String, &String)| typed.replace(then, now));
            let mut command = cluster.program(&step.user, Path::new("sh"))?;
            let plugin = Path::new(env!("CARGO_BIN_EXE_kubectl-jit")).parent().ok_or("the plugin is nowhere")?.display().to_string();
            let script = format!("cd {}; PATH=\"{plugin}:$PATH\"; {{ {typed}\n}} 2>&1", root.display());
            let said = command.args(["-c", &script]).output().await?;
            let said = String::from_utf8_lossy(&said.stdout).into_owned();
            learn(&step.expected, &said, &mut names);
            let (wanted, got) = (form(&step.expected), form(&said));
            ensure!(wanted == got, "{page}: '$ {}' printed\n{said}\ninstead of\n{}\n({got:?}\n {wanted:?})", step.command, step.expected);
            played += 1;
        }
    }
    ensure!(played > 10, "only {played} commands were found");
    Ok(())
}

/// A command and what it must print.
struct Step {
    user: String,
    command: String,
    expected: String,
}

fn steps(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let (mut user, mut inside, mut here) = (None, false, None::<String>);
    for line in page.lines() {
        if let Some(name) = line.strip_prefix("<!-- played as ").and_then(|rest| rest.strip_suffix(" -->")) {
            user = Some(name.to_owned());
            continue;
        }
        match (inside, line) {
            (false, "```console") => inside = user.is_some(),
            (true, "```") => (inside, user) = (false, None),
            (true, _) => {
                let Some(user) = &user else { continue };
                if let Some(end) = &here {
                    let over = line == end;
                    if let Some(step) = steps.last_mut() {
                        step.command.push('\n');
                        step.command.push_str(line);
                    }
                    if over {
                        here = None;
                    }
                } else if let Some(command) = line.strip_prefix("$ ") {
                    here = command.split_once("<<").map(|(_, end)| end.trim().to_owned());
                    steps.push(Step { user: user.clone(), command: command.to_owned(), expected: String::new() });
                } else if let Some(step) = steps.last_mut() {
                    step.expected.push_str(line);
                    step.expected.push('\n');
                }
            }
            _ => {}
        }
    }
    steps
}

/// What is another each time, in the order in which it is looked for.
fn changing() -> Vec<(Regex, &'static str)> {
    [
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME"),
        (r"(\d{4}-\d\d-\d\d )?\d\d:\d\d(:\d\d)? UTC", "TIME"),
        (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UID"),
        (r"sha256:[0-9a-f]{16,64}", "DIGEST"),
        (r"-[bcdfghjklmnpqrstvwxz2456789]{5}\b", "-NAME"),
        (r"\b\d+[smhd](\d+[smh])?\b", "AGE"),
        (r"[ \t]+", " "),
    ]
    .into_iter()
    .filter_map(|(pattern, word)| Some((Regex::new(pattern).ok()?, word)))
    .collect()
}

fn form(text: &str) -> String {
    let text = changing().iter().fold(text.to_owned(), |text, (pattern, word)| pattern.replace_all(&text, *word).into_owned());
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

/// Which generated name of the text stands for which of now, by their places.
fn learn(expected: &str, said: &str, names: &mut BTreeMap<String, String>) {
    let Ok(generated) = Regex::new(r"[a-z0-9][a-z0-9-]*-[bcdfghjklmnpqrstvwxz2456789]{5}\b") else { return };
    let all = |text: &str| generated.find_iter(text).map(|name| name.as_str().to_owned()).collect::<Vec<_>>();
    names.extend(all(expected).into_iter().zip(all(said)));
}
