//! The source of the pages of `docs/refusals`, one file per group of reasons, and the code that renders them. After a change,
//! `make refusal-pages` writes the pages.

// A constant has the name of its reason, so that the compiler finds a reason without an explanation, and an explanation without a reason.
#![allow(non_upper_case_globals, reason = "named like the variants of `Reason`")]

pub(crate) mod configuration;
pub(crate) mod decisions;
pub(crate) mod eligibility;
pub(crate) mod endings;
pub(crate) mod evidence;
pub(crate) mod failures;
pub(crate) mod fields;
pub(crate) mod guards;
pub(crate) mod limits;
pub(crate) mod requester;
pub(crate) mod state;

/// The text of the index before its tables, in Markdown.
const INTRODUCTION: &str = include_str!("index.md");
/// Maximum width of a line of prose, in columns.
const WIDTH: usize = 120;

const APPLY_ELIGIBILITY: &str = "kubectl apply -f eligibility.yaml";
const APPLY_POLICY: &str = "kubectl apply -f policy.yaml";
const APPLY_REQUEST: &str = "kubectl apply -f request.yaml";
const CREATE_DECISION: &str = "kubectl create -f decision.yaml";
const STATUS_OF_REQUEST: &str =
    r#"kubectl get rar inc-4711 -n payments -o jsonpath='{.status.reason}: {.status.conditions[?(@.type=="Active")].message}'"#;

/// The parts of a page, in Markdown. A paragraph is one line. Targets of references are relative to `docs/refusals`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Explanation {
    /// The meaning of the reason.
    pub meaning: &'static str,
    /// When it happens, and on which objects.
    pub when: &'static str,
    /// Examples of printed messages.
    pub examples: &'static [Example],
    /// What the user who receives the message can do.
    pub requester: &'static str,
    /// What an admin can do.
    pub admin: &'static str,
}

/// A part of the examples.
#[derive(Debug)]
pub(crate) enum Example {
    /// Prose between two commands.
    Text(&'static str),
    /// A command and the messages that it can print. Of the output of kubectl, only the part from the reason on is shown.
    Console(&'static str, &'static [&'static str]),
}

/// Returns the page about the reason with this name, as it is stored in `docs/refusals`.
pub(crate) fn page(name: &str, explanation: Explanation) -> String {
    let Explanation { meaning, when, examples, requester, admin } = explanation;
    let examples: Vec<String> = examples.iter().map(Example::markdown).collect();
    let sections = [
        ("When it happens", wrapped(when)),
        ("Example", examples.join("\n")),
        ("What you can do", wrapped(requester)),
        ("What an admin can do", wrapped(admin)),
    ];
    let mut page = format!("# {name}\n\n{}", wrapped(meaning));
    for (title, text) in sections {
        page.extend(["\n## ", title, "\n\n", &text]);
    }
    page
}

/// Returns the index of all pages, `README.md` in `docs/refusals`: the groups by title, with names and summaries of their reasons.
pub(crate) fn index<'a, R: IntoIterator<Item = (&'a str, &'a str)>>(groups: impl IntoIterator<Item = (&'a str, R)>) -> String {
    let mut index = INTRODUCTION.to_owned();
    for (title, reasons) in groups {
        index.extend(["\n## ", title, "\n\n| reason | what it means |\n|---|---|\n"]);
        for (name, summary) in reasons {
            index.extend(["| [", name, "](", name, ".md) | ", summary, " |\n"]);
        }
    }
    index
}

impl Example {
    fn markdown(&self) -> String {
        match self {
            Self::Text(text) => wrapped(text),
            Self::Console(command, messages) => format!("```console\n$ {command}\n{}\n```\n", messages.join("\n\n")),
        }
    }
}

/// Wraps prose to the maximum width. Code blocks are not changed.
fn wrapped(text: &str) -> String {
    let (mut wrapped, mut code) = (String::new(), false);
    for line in text.lines() {
        let fence = line.starts_with("```");
        if code || fence {
            wrapped.push_str(line);
        } else {
            push_wrapped(line, &mut wrapped);
        }
        wrapped.push('\n');
        code ^= fence;
    }
    wrapped
}

fn push_wrapped(paragraph: &str, wrapped: &mut String) {
    let indent = if paragraph.starts_with("- ") { "  " } else { "" };
    let mut column = 0;
    for word in words(paragraph) {
        let width = word.chars().count();
        if column > 0 && column + 1 + width > WIDTH {
            wrapped.extend(["\n", indent]);
            column = indent.len();
        } else if column > 0 {
            wrapped.push(' ');
            column += 1;
        }
        wrapped.push_str(word);
        column += width;
    }
}

/// Returns the words of a paragraph. Code and text in brackets count as one word, because tests and programs search for them within a line.
fn words(paragraph: &str) -> impl Iterator<Item = &str> {
    let (mut code, mut link) = (false, false);
    paragraph.split(move |character| {
        match character {
            '`' => code = !code,
            '[' if !code => link = true,
            ']' if !code => link = false,
            _ => {}
        }
        character == ' ' && !code && !link
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_is_wrapped_between_words_and_code_is_not() {
        let long = "word ".repeat(40);
        let text = format!("- {long}`a b c` [a page](b.md)\n\n```console\n{long}\n```");
        let wrapped = wrapped(&text);
        let prose: Vec<&str> = wrapped.lines().take_while(|line| !line.is_empty()).collect();
        assert!(prose.len() == 2 && prose.iter().all(|line| line.len() <= WIDTH), "{wrapped}");
        assert!(prose.iter().skip(1).all(|line| line.starts_with("  word")), "{wrapped}");
        assert!(wrapped.contains(&format!("\n```console\n{long}\n```\n")), "{wrapped}");
        assert_eq!(words("see `a b`, [c d](e.md) f").collect::<Vec<_>>(), ["see", "`a b`,", "[c d](e.md)", "f"]);
    }
}
