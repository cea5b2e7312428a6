//! Colours by meaning.

use clap::builder::styling::{AnsiColor, Style};

/// The meaning of a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// No meaning.
    Plain,
    /// As expected.
    Good,
    /// Waiting.
    Waits,
    /// Denied, revoked or dangerous.
    Bad,
    /// Completed or secondary.
    Dim,
    /// Emphasized.
    Strong,
}

impl Paint {
    fn style(self) -> Style {
        match self {
            Self::Plain => Style::new(),
            Self::Good => AnsiColor::Green.on_default(),
            Self::Waits => AnsiColor::Yellow.on_default(),
            Self::Bad => AnsiColor::Red.on_default(),
            Self::Dim => Style::new().dimmed(),
            Self::Strong => Style::new().bold(),
        }
    }
}

/// A text in a colour, if colour is used.
#[must_use]
pub fn painted(text: &str, paint: Paint, colour: bool) -> String {
    if !colour || paint == Paint::Plain || text.is_empty() {
        return text.to_owned();
    }
    let style = paint.style();
    format!("{style}{text}{style:#}")
}
