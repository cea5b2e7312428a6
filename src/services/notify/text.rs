//! The text of a message: the same for every format, from the message or from the templates of the receiver.

use std::io::{self, Write};

use minijinja::{Environment, ErrorKind, UndefinedBehavior, context};

use super::{
    escape::{cut, line, web_address},
    message::{Failure, Message, Reason},
    settings::Receiver,
};

/// The longest title in units of UTF-16.
const TITLE: usize = 250;
/// The longest name of a detail.
const LABEL: usize = 80;
/// The longest value of a detail, and the longest line of a template.
const VALUE: usize = 1_000;
/// The largest number of details, and of lines of a template.
const MOST: usize = 40;
/// The longest template in bytes.
const TEMPLATE: usize = 8 * 1024;
/// The longest text of a template in bytes. It is cut further for each format.
const RENDERED: usize = 16 * 1024;
/// The steps that a template may execute.
const FUEL: u64 = 20_000;
/// The tags of templates. Others could build values of any size, which steps do not limit.
const TAGS: [&str; 6] = ["if", "elif", "else", "endif", "for", "endfor"];

/// What a sink puts into its format. Every part is one line without control characters, and not escaped for any format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) title: String,
    /// Lines of text before the details.
    pub(crate) lines: Vec<String>,
    /// Names and values.
    pub(crate) facts: Vec<(String, String)>,
    pub(crate) console_url: Option<String>,
    pub(crate) command: Option<String>,
}

/// What the address of the console is called.
pub(crate) const OPEN: &str = "Open in the console";
/// What stands before the command.
pub(crate) const COMMAND: &str = "Command";
/// What stands below a message.
pub(crate) const FOOTER: &str = "Sent by jit-rbac. Requests are decided in Kubernetes only, never by an answer to this message.";

impl Text {
    /// Builds the text of a message for a receiver.
    pub(crate) fn new(receiver: &Receiver, message: &Message) -> Result<Self, Failure> {
        let title = match &receiver.title {
            Some(template) => render("title", template, message)?.split_whitespace().collect::<Vec<_>>().join(" "),
            None => message.title.clone(),
        };
        // Services refuse a message without a title.
        let title = if api::text::is_blank(&title) { message.event_type.clone() } else { title };
        let mut lines = Vec::new();
        if message.is_test {
            lines.push(format!("This is a test of the receiver '{}'. Nothing has happened in the cluster.", receiver.name));
        }
        let mut facts = Vec::new();
        match &receiver.body {
            Some(template) => lines.extend(render("body", template, message)?.lines().take(MOST).map(|text| line(text, VALUE))),
            None => facts.extend(message.facts.iter().take(MOST).map(|fact| (line(&fact.label, LABEL), line(&fact.value, VALUE)))),
        }
        let mark = if message.is_test { "Test: " } else { "" };
        Ok(Self {
            title: line(&format!("{mark}{title}"), TITLE),
            lines,
            facts,
            console_url: message.console_url.as_deref().and_then(web_address).map(std::borrow::Cow::into_owned),
            command: message.command.as_deref().map(|command| line(command, VALUE)),
        })
    }

    /// Returns the text with lines and details of at most `most` units of UTF-16 together. The last one says how many are left out.
    pub(crate) fn within(&self, most: usize) -> Self {
        let mut left = most;
        let mut fits = |parts: [&str; 2]| {
            let length: usize = parts.iter().map(|part| part.encode_utf16().count()).sum();
            let rest = left.checked_sub(length);
            left = rest.unwrap_or(0);
            rest.is_some()
        };
        let lines: Vec<String> = self.lines.iter().take_while(|line| fits([line, ""])).cloned().collect();
        let facts: Vec<_> = self.facts.iter().take_while(|(label, value)| fits([label, value])).cloned().collect();
        let missing = (self.lines.len() + self.facts.len()) - (lines.len() + facts.len());
        let mut text = Self { lines, facts, ..self.clone() };
        if missing > 0 {
            text.facts.push(("Not shown".to_owned(), format!("{missing} more, which are too long for this message")));
        }
        text
    }

    /// Returns everything but the title as lines of plain text.
    pub(crate) fn plain(&self) -> String {
        let mut lines = self.lines.clone();
        lines.extend(self.facts.iter().map(|(label, value)| format!("{label}: {value}")));
        lines.join("\n")
    }
}

/// Checks the templates of a receiver as far as that is possible without a message.
pub(crate) fn check(receiver: &Receiver) -> Result<(), Failure> {
    for (field, template) in [("title", &receiver.title), ("body", &receiver.body)] {
        if let Some(template) = template {
            environment(field, template)?;
        }
    }
    Ok(())
}

/// Returns an environment with nothing but this template: it reads no files, includes nothing, and has filters that cannot make a text longer.
fn environment<'a>(field: &'a str, template: &'a str) -> Result<Environment<'a>, Failure> {
    let refused = |why: String| Failure::refused(Reason::TemplateInvalid, why);
    if template.len() > TEMPLATE {
        return Err(refused(format!("template '{field}': is longer than {TEMPLATE} bytes")));
    }
    for (number, text) in template.lines().enumerate() {
        let tags = text.split("{%").skip(1).map(|tag| tag.trim_start_matches(['-', '+']).trim_start());
        for tag in tags {
            let name: String = tag.chars().take_while(char::is_ascii_alphanumeric).collect();
            if !TAGS.contains(&name.as_str()) && !name.is_empty() {
                return Err(refused(format!("template '{field}', line {}: the tag '{name}' is not available", number + 1)));
            }
        }
    }
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(32);
    environment.add_filter("default", minijinja::filters::default);
    environment.add_filter("first", minijinja::filters::first);
    environment.add_filter("last", minijinja::filters::last);
    environment.add_filter("length", minijinja::filters::length);
    environment.add_filter("lower", minijinja::filters::lower);
    environment.add_filter("upper", minijinja::filters::upper);
    environment.add_test("defined", minijinja::tests::is_defined);
    environment.add_template(field, template).map_err(|error| refused(described(field, &error)))?;
    Ok(environment)
}

fn render(field: &str, template: &str, message: &Message) -> Result<String, Failure> {
    let environment = environment(field, template)?;
    let refused = |error: &minijinja::Error| Failure::refused(Reason::TemplateInvalid, described(field, error));
    let facts: Vec<_> = message
        .facts
        .iter()
        .take(MOST)
        .map(|fact| context! { label => line(&fact.label, LABEL), value => line(&fact.value, VALUE) })
        .collect();
    let values = context! {
        title => line(&message.title, TITLE),
        facts,
        severity => message.severity.as_str(),
        topic => line(&message.thread.topic, LABEL),
        subject => line(&message.subject, VALUE),
        namespace => message.thread.namespace.as_deref().map(|name| line(name, LABEL)),
        type => line(&message.event_type, LABEL),
        id => line(&message.id, VALUE),
        time => api::instant::stamp(message.time),
        until => message.until.map(api::instant::stamp),
        command => message.command.as_deref().map(|command| line(command, VALUE)),
        console_url => message.console_url.as_deref().map(|url| line(url, VALUE)),
        test => message.is_test,
    };
    let template = environment.get_template(field).map_err(|error| refused(&error))?;
    let mut text = Bounded(Vec::new());
    template.render_captured_to(values, &mut text).map_err(|error| refused(&error))?;
    Ok(cut(&String::from_utf8_lossy(&text.0), RENDERED))
}

/// Describes an error of a template in one line: the field, the line, and the reason.
fn described(field: &str, error: &minijinja::Error) -> String {
    let why = match error.kind() {
        ErrorKind::OutOfFuel => "it takes too many steps".to_owned(),
        ErrorKind::WriteFailure => format!("its text is longer than {RENDERED} bytes"),
        kind => error.detail().map_or_else(|| kind.to_string(), |detail| format!("{kind}: {detail}")),
    };
    let at = error.line().map(|line| format!(", line {line}")).unwrap_or_default();
    format!("template '{field}'{at}: {}", line(&why, VALUE))
}

/// A text of limited length.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len().saturating_add(bytes.len()) > RENDERED {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
