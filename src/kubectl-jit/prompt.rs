//! Prompts on a terminal. Elsewhere a missing value is an error that names the flag.

use inquire::{Confirm, InquireError, Select, Text};

use super::{problem::Problem, screen::Screen};
use api::text::printable;

/// Prompts for a text.
pub fn text(screen: &Screen, question: &str, help: &str, flag: &str) -> Result<String, Problem> {
    if !screen.asks() {
        return Err(Problem::Usage(format!("{help}; use {flag}")));
    }
    let help = printable(help);
    answer(Text::new(question).with_help_message(&help).prompt())
}

/// The same until `check` accepts it, so that an invalid value is reported before the next prompt.
pub fn text_that(
    screen: &Screen,
    question: &str,
    help: &str,
    flag: &str,
    check: impl Fn(&str) -> Result<(), String>,
) -> Result<String, Problem> {
    loop {
        let given = text(screen, question, help, flag)?;
        match check(&given) {
            Ok(()) => return Ok(given),
            Err(why) => screen.warn(&why),
        }
    }
}

/// Prompts for one of several options.
pub fn choice(screen: &Screen, question: &str, options: &[String], otherwise: &str) -> Result<String, Problem> {
    if !screen.asks() || options.is_empty() {
        return Err(Problem::Usage(otherwise.to_owned()));
    }
    answer(Select::new(question, options.iter().map(|option| printable(option)).collect()).prompt())
}

/// Prompts for a confirmation; `otherwise` is the error without a terminal.
pub fn confirm(screen: &Screen, question: &str, otherwise: &str) -> Result<bool, Problem> {
    if !screen.asks() {
        return Err(Problem::Usage(otherwise.to_owned()));
    }
    answer(Confirm::new(&printable(question)).with_default(false).prompt())
}

fn answer<T>(given: Result<T, InquireError>) -> Result<T, Problem> {
    given.map_err(|error| match error {
        InquireError::OperationCanceled | InquireError::OperationInterrupted => Problem::Cancelled,
        InquireError::IO(source) => Problem::Here { what: "cannot prompt".to_owned(), source },
        other => Problem::Usage(other.to_string()),
    })
}
