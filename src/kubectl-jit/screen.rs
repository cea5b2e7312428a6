//! Output: data to standard output, everything else to standard error.

use std::{
    io::{ErrorKind, IsTerminal, Write},
    sync::atomic::{AtomicBool, Ordering},
};

use clap::ValueEnum;
use parking_lot::Mutex;

use super::{
    paint::{Paint, painted},
    problem::Problem,
    table::{Table, TableOptions, cut, wrapped},
    times::Times,
};
use api::text::printable;
use kube_io::redact::redacted;

/// When to use colour.
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

/// The settings for printing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct OutputSettings {
    /// When to use colour.
    pub colour: Colour,
    /// Only data and errors.
    pub quiet: bool,
    /// Never prompt.
    pub silent: bool,
    /// Times in UTC.
    pub utc: bool,
    /// Tables without headers.
    pub bare: bool,
}

/// The two output streams and their properties.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "they are independent of each other")]
pub struct Screen {
    /// The formatter for times.
    pub times: Times,
    quiet: bool,
    asks: bool,
    colour: bool,
    stderr_colour: bool,
    bare: bool,
    width: Option<usize>,
    stderr_width: Option<usize>,
    /// True while the last line of standard error is a progress line.
    live: AtomicBool,
    /// The first error of printing data.
    unwritten: Mutex<Option<std::io::Error>>,
}

impl Screen {
    /// The streams of this process.
    #[must_use]
    pub fn new(output_settings: OutputSettings) -> Self {
        let (out, stderr, input) = (std::io::stdout().is_terminal(), std::io::stderr().is_terminal(), std::io::stdin().is_terminal());
        let plain =
            std::env::var_os("NO_COLOR").is_some_and(|set| !set.is_empty()) || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let colour = |terminal: bool| match output_settings.colour {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => terminal && !plain,
        };
        Self {
            times: Times::new(output_settings.utc),
            quiet: output_settings.quiet,
            asks: input && stderr && !output_settings.silent,
            colour: colour(out),
            stderr_colour: colour(stderr),
            bare: output_settings.bare,
            width: out.then(|| columns(terminal_size::terminal_size_of(std::io::stdout()))).flatten(),
            stderr_width: stderr.then(|| columns(terminal_size::terminal_size_of(std::io::stderr()))).flatten(),
            live: AtomicBool::new(false),
            unwritten: Mutex::default(),
        }
    }

    /// The width of standard output; none if it is not a terminal.
    #[must_use]
    pub const fn width(&self) -> Option<usize> {
        self.width
    }

    /// Columns and lines of the terminal for prompts; none if it is not a terminal.
    #[must_use]
    pub fn size_of_stderr(&self) -> Option<(usize, usize)> {
        let lines = terminal_size::terminal_size_of(std::io::stderr()).map(|(_, height)| usize::from(height.0));
        Some((self.stderr_width?, lines?))
    }

    /// True if the user can be prompted.
    #[must_use]
    pub const fn asks(&self) -> bool {
        self.asks
    }

    /// True if a progress line can be shown.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        self.stderr_width.is_some() && !self.quiet
    }

    /// Prints data. [`Screen::end`] returns the error of a failed write.
    pub fn data(&self, text: &str) {
        self.clear();
        let mut out = std::io::stdout().lock();
        if let Err(error) = writeln!(out, "{text}").and_then(|()| out.flush()) {
            self.unwritten.lock().get_or_insert(error);
        }
    }

    /// False after a failed write: endless output can stop then.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.unwritten.lock().is_none()
    }

    /// Checks that all data was printed. A closed pipe, for example with `head`, is not an error. A full disk is one: an incomplete list must
    /// not look complete.
    pub fn end(&self) -> Result<(), Problem> {
        match self.unwritten.lock().take() {
            Some(source) if source.kind() != ErrorKind::BrokenPipe => {
                Err(Problem::Here { what: "cannot print everything".to_owned(), source })
            }
            _ => Ok(()),
        }
    }

    /// Prints a table as data, or `nothing` as a message if it has no rows.
    pub fn table(&self, table: &Table, wide: bool, nothing: &str) {
        if table.is_empty() {
            self.info(nothing);
            return;
        }
        let options = TableOptions { width: self.width, colour: self.colour, wide, bare: self.bare };
        self.data(&table.render(options));
    }

    /// A text with the colours of standard output.
    #[must_use]
    pub fn on_stdout(&self, text: &str, paint: Paint) -> String {
        painted(&printable(text), paint, self.colour)
    }

    /// A text with the colours of standard error.
    #[must_use]
    pub fn on_stderr(&self, text: &str, paint: Paint) -> String {
        painted(&printable(text), paint, self.stderr_colour)
    }

    /// The same after a title, with all lines indented: a text with enough blanks to wrap at the edge of the terminal must not look like a
    /// line of the program (T13).
    #[must_use]
    pub fn on_stderr_indented(&self, text: &str, paint: Paint, indent: usize) -> String {
        let text = printable(text);
        let lines = match self.stderr_width {
            Some(width) => wrapped(&text, width.saturating_sub(indent)),
            None => vec![text],
        };
        let lines: Vec<String> = lines.iter().map(|line| painted(line, paint, self.stderr_colour)).collect();
        lines.join(&format!("\n{:indent$}", ""))
    }

    /// Prints a message, unless quiet.
    pub fn info(&self, text: &str) {
        if !self.quiet {
            self.line(text);
        }
    }

    /// Prints the subject of a prompt, even if quiet.
    pub fn present(&self, text: &str) {
        self.line(text);
    }

    /// Prints the next command.
    pub fn next(&self, command: &str) {
        let line = format!("{} {}", self.on_stderr("next:", Paint::Dim), printable(command));
        self.info(&line);
    }

    /// Prints a warning, even if quiet.
    pub fn warn(&self, text: &str) {
        let line = format!("{} {}", self.on_stderr("warning:", Paint::Waits), printable(&redacted(text)));
        self.line(&line);
    }

    /// The same while another program writes to the terminal, possibly in the middle of a line.
    pub fn notice(&self, text: &str) {
        let begin = if self.stderr_width.is_some() { "\n" } else { "" };
        let line = format!("{begin}{} {}", self.on_stderr("warning:", Paint::Waits), printable(&redacted(text)));
        self.line(&line);
    }

    /// Prints an error.
    pub fn error(&self, text: &str) {
        let line = format!("{} {}", self.on_stderr("error:", Paint::Bad), printable(&redacted(text)));
        self.line(&line);
    }

    /// Prints a line that the next output replaces; nothing if this is not a terminal.
    pub fn progress(&self, text: &str) {
        let Some(width) = self.stderr_width.filter(|_| !self.quiet) else { return };
        // The current width: after the window became narrower, the line would wrap and could not be replaced.
        let width = columns(terminal_size::terminal_size_of(std::io::stderr())).unwrap_or(width);
        let mut stderr = std::io::stderr().lock();
        let _ = write!(stderr, "\r\x1b[K{}", cut(&printable(text), width.saturating_sub(1)));
        let _ = stderr.flush();
        self.live.store(true, Ordering::Relaxed);
    }

    /// Removes the progress line.
    pub fn clear(&self) {
        if self.live.swap(false, Ordering::Relaxed) {
            let mut stderr = std::io::stderr().lock();
            let _ = write!(stderr, "\r\x1b[K");
            let _ = stderr.flush();
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
