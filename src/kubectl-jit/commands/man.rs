//! `kubectl jit man`: man pages and the command reference in Markdown, generated from the definitions of the commands.

use std::path::PathBuf;

use clap::{Args, Command};

use crate::{
    problem::{Exit, Problem},
    reference,
    screen::Screen,
};

/// Prints man pages.
///
/// The page of the program, or the pages of all commands into a directory, or the command reference.
#[derive(Debug, Args)]
pub struct Options {
    /// Write one page per command, for example kubectl-jit-activate.1, into this directory.
    #[arg(long, value_name = "DIRECTORY")]
    directory: Option<PathBuf>,
    /// Print the command reference in Markdown instead.
    #[arg(long, conflicts_with = "directory")]
    markdown: bool,
}

/// Prints or writes.
pub fn run(options: &Options, command: &Command, screen: &Screen) -> Result<Exit, Problem> {
    if options.markdown {
        screen.data(reference::markdown(command).trim_end());
        return Ok(Exit::Done);
    }
    let here = |what: String| move |source| Problem::Here { what, source };
    let Some(directory) = &options.directory else {
        screen.data(page(command)?.trim_end());
        return Ok(Exit::Done);
    };
    std::fs::create_dir_all(directory).map_err(here(format!("cannot create {}", directory.display())))?;
    let all = std::iter::once(command.clone())
        .chain(command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help").cloned());
    for one in all {
        let file = directory.join(format!("{}.1", one.get_display_name().unwrap_or(one.get_name()).replace(' ', "-")));
        std::fs::write(&file, page(&one)?).map_err(here(format!("cannot write {}", file.display())))?;
    }
    Ok(Exit::Done)
}

fn page(command: &Command) -> Result<String, Problem> {
    let mut text = Vec::new();
    clap_mangen::Man::new(command.clone())
        .render(&mut text)
        .map_err(|source| Problem::Here { what: "cannot write the page".to_owned(), source })?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
