//! Colour: what is meant, not which one.

use clap::builder::styling::{AnsiColor, Style};

/// What a colour says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// Nothing.
    Plain,
    /// It is as it should be.
    Good,
    /// It waits for somebody.
    Waits,
    /// It is refused, taken away or dangerous.
    Bad,
    /// It is over or beside the point.
    Dim,
    /// It is what this is about.
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

/// A text in a colour, where there is colour.
#[must_use]
pub fn painted(text: &str, paint: Paint, colour: bool) -> String {
    if !colour || paint == Paint::Plain || text.is_empty() {
        return text.to_owned();
    }
    let style = paint.style();
    format!("{style}{text}{style:#}")
}
