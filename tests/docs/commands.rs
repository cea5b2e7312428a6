//! The command reference is what the program says of itself.

use crate::files::{page, root};

const PAGE: &str = "docs/commands.md";

#[test]
fn the_command_reference_is_what_the_program_says() {
    let said = jit_rbac::plugin::reference::markdown(&jit_rbac::plugin::command());
    let path = root().join(PAGE);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &said).unwrap();
    }
    let written = page(&path).text;
    let first = written.lines().zip(said.lines()).find(|(written, said)| written != said);
    assert!(written == said, "{PAGE} is not what the program says, first at {first:?}; `make commands` writes it anew");
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
    check(&jit_rbac::plugin::command(), &mut faults);
    assert!(faults.is_empty(), "these say nothing of themselves: {faults:?}");
}
