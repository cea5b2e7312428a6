//! What is printed: data to standard output, everything else to standard error.

use std::{
    io::{ErrorKind, IsTerminal, Write},
    sync::atomic::{AtomicBool, Ordering},
};

use clap::ValueEnum;
use parking_lot::{Mutex, MutexGuard};

use super::{
    paint::{Paint, painted},
    problem::Problem,
    table::{Paper, Table, cut, wrapped},
    times::Times,
};
use api::text::printable;
use kube_io::redact::redacted;

/// When there is colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Colour {
    /// On a terminal, unless NO_COLOR is set or TERM is dumb.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How things are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct Manner {
    /// When there is colour.
    pub colour: Colour,
    /// Nothing but data and errors.
    pub quiet: bool,
    /// Never ask, whatever this runs on.
    pub silent: bool,
    /// Times in UTC.
    pub utc: bool,
    /// Tables without the line of titles.
    pub bare: bool,
}

/// The two streams and what is known of them.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "they are independent of each other")]
pub struct Screen {
    /// How times are shown.
    pub times: Times,
    quiet: bool,
    asks: bool,
    colour: bool,
    colour_beside: bool,
    bare: bool,
    width: Option<usize>,
    width_beside: Option<usize>,
    /// True while the last line of standard error is one that is written over.
    live: AtomicBool,
    /// Why data could not be printed, where it could not.
    unwritten: Mutex<Option<std::io::Error>>,
}

impl Screen {
    /// What this process prints on.
    #[must_use]
    pub fn new(manner: Manner) -> Self {
        let (out, beside, input) = (std::io::stdout().is_terminal(), std::io::stderr().is_terminal(), std::io::stdin().is_terminal());
        let plain =
            std::env::var_os("NO_COLOR").is_some_and(|set| !set.is_empty()) || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let colour = |terminal: bool| match manner.colour {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => terminal && !plain,
        };
        Self {
            times: Times::new(manner.utc),
            quiet: manner.quiet,
            asks: input && beside && !manner.silent,
            colour: colour(out),
            colour_beside: colour(beside),
            bare: manner.bare,
            width: out.then(|| columns(terminal_size::terminal_size_of(std::io::stdout()))).flatten(),
            width_beside: beside.then(|| columns(terminal_size::terminal_size_of(std::io::stderr()))).flatten(),
            live: AtomicBool::new(false),
            unwritten: Mutex::default(),
        }
    }

    /// Columns of standard output; none where it is no terminal.
    #[must_use]
    pub const fn width(&self) -> Option<usize> {
        self.width
    }

    /// Columns and lines of the terminal that questions appear on; none where it is no terminal.
    #[must_use]
    pub fn size_beside(&self) -> Option<(usize, usize)> {
        let lines = terminal_size::terminal_size_of(std::io::stderr()).map(|(_, height)| usize::from(height.0));
        Some((self.width_beside?, lines?))
    }

    /// True where somebody can be asked.
    #[must_use]
    pub const fn asks(&self) -> bool {
        self.asks
    }

    /// True where progress can be shown in one line that changes.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        self.width_beside.is_some() && !self.quiet
    }

    /// Data: a line or several. What cannot be printed is told in the end, by [`Screen::end`].
    pub fn data(&self, text: &str) {
        self.clear();
        let mut out = std::io::stdout().lock();
        if let Err(error) = writeln!(out, "{text}").and_then(|()| out.flush()) {
            self.lock_unwritten().get_or_insert(error);
        }
    }

    /// False where nobody reads what is printed any more: what goes on for ever may stop then.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.lock_unwritten().is_none()
    }

    /// Whether all data was printed. A reader who has gone away, as `head` does, is no error; a disk that is full is one: half a list must
    /// not look like a whole one.
    pub fn end(&self) -> Result<(), Problem> {
        match self.lock_unwritten().take() {
            Some(source) if source.kind() != ErrorKind::BrokenPipe => {
                Err(Problem::Here { what: "cannot print everything".to_owned(), source })
            }
            _ => Ok(()),
        }
    }

    fn lock_unwritten(&self) -> MutexGuard<'_, Option<std::io::Error>> {
        self.unwritten.lock()
    }

    /// A table as data; `nothing` is said beside it where it has no row.
    pub fn table(&self, table: &Table, wide: bool, nothing: &str) {
        if table.is_empty() {
            self.say(nothing);
            return;
        }
        let paper = Paper { width: self.width, colour: self.colour, wide, bare: self.bare };
        self.data(&table.render(paper));
    }

    /// A text in the colours of standard output.
    #[must_use]
    pub fn on_data(&self, text: &str, paint: Paint) -> String {
        painted(&printable(text), paint, self.colour)
    }

    /// A text in the colours of what stands beside the data.
    #[must_use]
    pub fn beside(&self, text: &str, paint: Paint) -> String {
        painted(&printable(text), paint, self.colour_beside)
    }

    /// The same behind a title: all lines of it stand as far in as the first, so that no text, with blanks enough to reach the edge of the
    /// screen, can look like a line of ours (T13).
    #[must_use]
    pub fn beside_indented(&self, text: &str, paint: Paint, indent: usize) -> String {
        let text = printable(text);
        let lines = match self.width_beside {
            Some(width) => wrapped(&text, width.saturating_sub(indent)),
            None => vec![text],
        };
        let lines: Vec<String> = lines.iter().map(|line| painted(line, paint, self.colour_beside)).collect();
        lines.join(&format!("\n{:indent$}", ""))
    }

    /// A message for whoever watches.
    pub fn say(&self, text: &str) {
        if !self.quiet {
            self.line(text);
        }
    }

    /// What somebody is about to be asked about: shown however quiet it should be.
    pub fn present(&self, text: &str) {
        self.line(text);
    }

    /// The one command that comes next.
    pub fn next(&self, command: &str) {
        let line = format!("{} {}", self.beside("next:", Paint::Dim), printable(command));
        self.say(&line);
    }

    /// Something to know, however quiet it should be.
    pub fn warn(&self, text: &str) {
        let line = format!("{} {}", self.beside("warning:", Paint::Waits), printable(&redacted(text)));
        self.line(&line);
    }

    /// The same while another program writes to the terminal, maybe in the middle of a line.
    pub fn notice(&self, text: &str) {
        let begin = if self.width_beside.is_some() { "\n" } else { "" };
        let line = format!("{begin}{} {}", self.beside("warning:", Paint::Waits), printable(&redacted(text)));
        self.line(&line);
    }

    /// Why it did not work.
    pub fn error(&self, text: &str) {
        let line = format!("{} {}", self.beside("error:", Paint::Bad), printable(&redacted(text)));
        self.line(&line);
    }

    /// A line that the next one is written over; on no terminal it is left out.
    pub fn progress(&self, text: &str) {
        let Some(width) = self.width_beside.filter(|_| !self.quiet) else { return };
        // As it is now: in a window that was made narrower meanwhile the line would wrap, and pile up.
        let width = columns(terminal_size::terminal_size_of(std::io::stderr())).unwrap_or(width);
        let mut beside = std::io::stderr().lock();
        let _ = write!(beside, "\r\x1b[K{}", cut(&printable(text), width.saturating_sub(1)));
        let _ = beside.flush();
        self.live.store(true, Ordering::Relaxed);
    }

    /// Takes away the line that is written over.
    pub fn clear(&self) {
        if self.live.swap(false, Ordering::Relaxed) {
            let mut beside = std::io::stderr().lock();
            let _ = write!(beside, "\r\x1b[K");
            let _ = beside.flush();
        }
    }

    fn line(&self, text: &str) {
        self.clear();
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }
}

fn columns(size: Option<(terminal_size::Width, terminal_size::Height)>) -> Option<usize> {
    size.map(|(width, _)| usize::from(width.0)).filter(|width| *width > 0)
}
