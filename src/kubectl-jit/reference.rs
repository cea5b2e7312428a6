//! The command reference, from what clap knows: `docs/commands.md`.

use std::fmt::Write as _;

use clap::{Arg, Command};

use super::problem::Exit;

/// All commands with their flags, and what the exit codes mean.
#[must_use]
pub fn markdown(command: &Command) -> String {
    let mut text = String::from(
        "# kubectl jit, command by command\n\n<!-- Written by `kubectl-jit man --markdown`; a test holds it against the program. -->\n\n",
    );
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{}\n", command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default());
    let shown = || command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help");
    text.push_str("| command | what it does |\n|---|---|\n");
    for sub in shown() {
        let _ = writeln!(text, "| [`{0}`](#kubectl-jit-{0}) | {1} |", sub.get_name(), first_sentence(sub));
    }
    text.push_str("\n## Exit codes\n\n| code | when |\n|---|---|\n");
    for (exit, when) in Exit::ALL {
        let _ = writeln!(text, "| {} | {when} |", exit.code());
    }
    text.push_str("\n`run` ends with the code of the command that it runs.\n\n## Flags of every command\n\n");
    flags(&mut text, command.get_arguments().filter(|arg| arg.is_global_set()));
    for sub in shown() {
        let _ = write!(text, "\n## kubectl jit {}\n\n", sub.get_name());
        let about = sub.get_long_about().or(sub.get_about()).map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(text, "{}\n", about.trim());
        let usage = sub.clone().render_usage().to_string();
        let _ = writeln!(text, "    {}\n", usage.trim_start_matches("Usage: "));
        flags(&mut text, sub.get_arguments().filter(|arg| !arg.is_global_set()));
        for inner in sub.get_subcommands().filter(|inner| !inner.is_hide_set() && inner.get_name() != "help") {
            let _ = writeln!(text, "* `{} {}`: {}", sub.get_name(), inner.get_name(), first_sentence(inner));
        }
    }
    text
}

fn first_sentence(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default().replace('|', "\\|")
}

fn flags<'a>(text: &mut String, all: impl Iterator<Item = &'a Arg>) {
    let rows: Vec<String> = all.filter(|arg| !arg.is_hide_set() && arg.get_id() != "help").map(row).collect();
    if !rows.is_empty() {
        let _ = writeln!(text, "| flag | meaning |\n|---|---|\n{}", rows.join("\n"));
    }
}

fn row(arg: &Arg) -> String {
    let value = arg.get_value_names().and_then(|names| names.first()).map(ToString::to_string).unwrap_or_default();
    let takes = arg.get_action().takes_values();
    let name = match (arg.get_short(), arg.get_long()) {
        (Some(short), Some(long)) => format!("-{short}, --{long}"),
        (None, Some(long)) => format!("--{long}"),
        (Some(short), None) => format!("-{short}"),
        (None, None) => String::new(),
    };
    let name = match takes {
        false => name,
        // `--wait 5m` would take 5m for something else.
        true if arg.is_require_equals_set() => format!("{name}[={value}]"),
        true if name.is_empty() => value,
        true => format!("{name} {value}"),
    };
    let values: Vec<String> = arg.get_possible_values().iter().filter(|_| takes).map(|value| format!("`{}`", value.get_name())).collect();
    let values = if values.is_empty() { String::new() } else { format!(" One of {}.", values.join(", ")) };
    let default: Vec<String> =
        arg.get_default_values().iter().filter(|_| takes).map(|value| value.to_string_lossy().into_owned()).collect();
    let default = if default.is_empty() { String::new() } else { format!(" Default: `{}`.", default.join(",")) };
    // clap takes the last full stop away.
    let help = arg.get_help().map(|help| format!("{}.", help.to_string().trim_end_matches('.'))).unwrap_or_default();
    format!("| `{name}` | {help}{values}{default} |")
}
