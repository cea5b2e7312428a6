//! Questions to whoever sits at the terminal. Elsewhere nobody is asked: what is missing is an error that says which flag gives it.

use inquire::{Confirm, InquireError, Select, Text};

use super::{problem::Problem, screen::Screen};
use api::text::printable;

/// A text, with what must be said about it.
pub fn text(screen: &Screen, question: &str, help: &str, flag: &str) -> Result<String, Problem> {
    if !screen.asks() {
        return Err(Problem::Usage(format!("{help}; give it with {flag}")));
    }
    let help = printable(help);
    answer(Text::new(question).with_help_message(&help).prompt())
}

/// The same until `check` accepts it: what is refused later is said before anything else is asked.
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

/// One of several.
pub fn choice(screen: &Screen, question: &str, options: &[String], otherwise: &str) -> Result<String, Problem> {
    if !screen.asks() || options.is_empty() {
        return Err(Problem::Usage(otherwise.to_owned()));
    }
    answer(Select::new(question, options.iter().map(|option| printable(option)).collect()).prompt())
}

/// Yes or no; `otherwise` says how to agree where nobody can be asked.
pub fn agree(screen: &Screen, question: &str, otherwise: &str) -> Result<bool, Problem> {
    if !screen.asks() {
        return Err(Problem::Usage(otherwise.to_owned()));
    }
    answer(Confirm::new(&printable(question)).with_default(false).prompt())
}

fn answer<T>(given: Result<T, InquireError>) -> Result<T, Problem> {
    given.map_err(|error| match error {
        InquireError::OperationCanceled | InquireError::OperationInterrupted => Problem::BrokenOff,
        InquireError::IO(source) => Problem::Here { what: "cannot ask".to_owned(), source },
        other => Problem::Usage(other.to_string()),
    })
}
