//! The command reference is the help text of the program.

use clap::error::ErrorKind;

use crate::files::{files, page, pages, root};

const PAGE: &str = "docs/commands.md";

#[test]
fn the_command_reference_is_what_the_program_says() {
    let said = kubectl_jit::reference::markdown(&kubectl_jit::command());
    let path = root().join(PAGE);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &said).unwrap();
    }
    let written = page(&path).text;
    let first = written.lines().zip(said.lines()).find(|(written, said)| written != said);
    assert!(written == said, "{PAGE} differs from the help text of the program, first at {first:?}; run `make commands`");
}

#[test]
fn every_flag_and_command_says_what_it_is() {
    fn check(command: &clap::Command, faults: &mut Vec<String>) {
        if command.get_about().is_none() && !command.is_hide_set() {
            faults.push(command.get_name().to_owned());
        }
        for arg in command.get_arguments().filter(|arg| !arg.is_hide_set() && arg.get_help().is_none()) {
            faults.push(format!("{} {}", command.get_name(), arg.get_id()));
        }
        command.get_subcommands().filter(|sub| !sub.is_hide_set()).for_each(|sub| check(sub, faults));
    }
    let mut faults = Vec::new();
    check(&kubectl_jit::command(), &mut faults);
    assert!(faults.is_empty(), "these have no help text: {faults:?}");
}

/// Returns the text after `kubectl jit`, as far as it belongs to the command.
fn behind(text: &str) -> Option<&str> {
    let (before, command) = text.split_once("kubectl jit ")?;
    let ends: &[&str] = if before.ends_with('\'') { &["'"] } else { &[" | ", ") ", " 2>", "  #"] };
    let end = ends.iter().filter_map(|end| command.find(end)).min();
    Some(&command[..end.unwrap_or(command.len())])
}

/// Returns the commands of the plugin that a page quotes: in its code blocks and between backticks.
fn quoted(text: &str) -> Vec<String> {
    let (mut found, mut block) = (Vec::new(), false);
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            block = !block;
        } else if block {
            found.extend(behind(line).map(str::to_owned));
        } else {
            found.extend(line.split('`').skip(1).step_by(2).filter_map(behind).map(str::to_owned));
        }
    }
    found
}

/// Returns why the program would not parse it. A missing argument or a placeholder, such as NAME, is not an error.
fn fault(command: &str) -> Option<String> {
    let Some(words) = shlex::split(command) else { return Some("its quotes are not closed".to_owned()) };
    let words = std::iter::once("kubectl-jit".to_owned()).chain(words);
    let error = kubectl_jit::command().try_get_matches_from(words).err()?;
    let kinds = [ErrorKind::UnknownArgument, ErrorKind::InvalidSubcommand, ErrorKind::ArgumentConflict, ErrorKind::TooManyValues];
    kinds.contains(&error.kind()).then(|| error.to_string())
}

#[test]
fn every_command_that_is_quoted_is_one() {
    let readme = page(&root().join("README.md"));
    let mut found: Vec<(String, String)> = pages("docs")
        .into_iter()
        .chain([readme])
        .filter(|page| page.path != PAGE)
        .flat_map(|page| quoted(&page.text).into_iter().map(move |command| (page.path.clone(), command)))
        .collect();
    // Commands that messages recommend.
    for path in files("src", "rs") {
        let text = std::fs::read_to_string(&path).unwrap();
        let advice = text.match_indices("'kubectl jit ").filter_map(|(at, _)| behind(&text[at..]));
        found.extend(advice.map(|command| (path.display().to_string(), command.to_owned())));
    }
    assert!(found.len() > 60, "only {} commands were found", found.len());
    let faults: Vec<String> =
        found.iter().filter_map(|(path, command)| Some(format!("{path}: kubectl jit {command}: {}", fault(command)?))).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_command_that_is_none_is_found() {
    assert_eq!(
        quoted("say `kubectl jit roles -A`, or\n```console\n$ kubectl get x 2>&1 | kubectl jit unblock | less\n```\n"),
        ["roles -A", "unblock"]
    );
    assert!(fault("roles -A").is_none() && fault("revoke NAME").is_none());
    for wrong in ["rolls", "roles --everything", "activate 'x"] {
        assert!(fault(wrong).is_some(), "{wrong} is accepted");
    }
}
