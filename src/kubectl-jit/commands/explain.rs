//! `kubectl jit explain REASON`: the meaning of a reason and the remedy, without a cluster.
//!
//! The program contains the pages of `docs/refusals`, so that the explanation of a message is available where it is printed.

use clap::Args;
use serde_json::json;

use crate::{
    flags::{Form, Output},
    near::is_near,
    objects,
    paint::Paint,
    problem::{Exit, Problem},
    screen::Screen,
    table::{Column, Table, width},
};
use api::Reason;

/// The maximum width of a line.
const WIDEST: usize = 100;
/// The maximum number of suggestions.
const SUGGESTED: usize = 5;

/// Explains a reason, for example DurationTooLong: its meaning, when it appears, and what to do.
///
/// Without a reason it lists all reasons. It needs no cluster.
#[derive(Debug, Args)]
pub struct Options {
    /// The reason, or a message that starts with it.
    #[arg(value_name = "REASON")]
    reason: Option<String>,
    #[command(flatten)]
    output: Output,
}

/// The hint below a message with a reason.
#[must_use]
pub fn hint(reason: Reason) -> String {
    format!("learn more: kubectl jit explain {reason}")
}

/// The meaning of a reason, in one line.
#[must_use]
pub fn meaning(reason: Reason) -> String {
    plain(reason.summary())
}

/// Explains one reason, or lists all.
pub fn run(options: &Options, screen: &Screen) -> Result<Exit, Problem> {
    let found = match &options.reason {
        None => Reason::ALL.to_vec(),
        Some(text) => vec![reason(text)?],
    };
    if !options.output.is_table() {
        let text = match options.output.output {
            Form::Name => found.iter().map(|reason| reason.as_str()).collect::<Vec<_>>().join("\n"),
            form => objects::data(&found.iter().map(|reason| data(*reason)).collect(), form)?.unwrap_or_default(),
        };
        screen.data(&text);
    } else if options.reason.is_none() {
        let mut table = Table::default();
        for reason in found {
            table.push([Column::new("REASON").of(reason.as_str()), Column::new("MEANS").free().of(meaning(reason))]);
        }
        screen.table(&table, false, "");
        screen.next("kubectl jit explain REASON");
    } else {
        for reason in found {
            print(reason, screen);
        }
    }
    screen.end().map(|()| Exit::Done)
}

/// The reason in a text: the word itself, or the start of a message.
fn reason(text: &str) -> Result<Reason, Problem> {
    let word = text.trim().split([':', ' ']).next().unwrap_or_default().trim_end_matches(".md").trim_matches(['\'', '"', '`']);
    if let Some(found) = Reason::ALL.iter().find(|reason| reason.as_str().eq_ignore_ascii_case(word)) {
        return Ok(*found);
    }
    let lower = word.to_lowercase();
    // A part of a reason matches too, and its start with a mistyped letter.
    let begins = |reason: &str| {
        lower.len() > 5 && (lower.len() - 1..=lower.len() + 1).any(|to| reason.get(..to).is_some_and(|part| is_near(part, &lower)))
    };
    let within = |reason: &str| lower.len() > 3 && (reason.to_lowercase().contains(&lower) || begins(reason));
    let close: Vec<&str> =
        Reason::ALL.iter().map(|reason| reason.as_str()).filter(|reason| is_near(reason, word) || within(reason)).collect();
    let hint = if close.is_empty() {
        String::new()
    } else {
        format!(" did you mean {}?", close.iter().take(SUGGESTED).map(|reason| format!("'{reason}'")).collect::<Vec<_>>().join(", "))
    };
    let shown: String = word.chars().take(80).collect();
    Err(Problem::Usage(format!("unknown reason '{shown}';{hint} 'kubectl jit explain' lists all")))
}

/// A section of a page: an optional heading and its paragraphs.
#[derive(Debug, Default, PartialEq, Eq)]
struct Section {
    title: String,
    blocks: Vec<Block>,
}

/// A block below a heading.
#[derive(Debug, PartialEq, Eq)]
enum Block {
    /// A paragraph, in one line.
    Text(String),
    /// Lines of code, printed unchanged.
    Code(Vec<String>),
}

/// Parses a page of `docs/refusals`, which has only headings, paragraphs, lists, references and code blocks of Markdown.
fn sections(page: &str) -> Vec<Section> {
    let mut all = vec![Section::default()];
    let (mut paragraph, mut code): (Vec<&str>, Option<Vec<String>>) = (Vec::new(), None);
    for line in page.lines().skip(1).chain([""]) {
        let Some(section) = all.last_mut() else { break };
        if line.starts_with("```") {
            match code.take() {
                Some(lines) => section.blocks.push(Block::Code(lines)),
                None => code = Some(Vec::new()),
            }
        } else if let Some(lines) = &mut code {
            lines.push(line.to_owned());
        } else if let Some(title) = line.strip_prefix("## ") {
            all.push(Section { title: plain(title), blocks: Vec::new() });
        } else {
            // An item of a list is a paragraph of its own.
            if !paragraph.is_empty() && (line.trim().is_empty() || line.starts_with("- ")) {
                section.blocks.push(Block::Text(plain(&std::mem::take(&mut paragraph).join(" "))));
            }
            if !line.trim().is_empty() {
                paragraph.push(line.trim());
            }
        }
    }
    all
}

/// Text without Markdown syntax: the text of a reference, and its target unless that is another reason.
fn plain(text: &str) -> String {
    let (mut plain, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once('[') {
        plain.push_str(before);
        let link = after.split_once("](").and_then(|(words, after)| Some((words, after.split_once(')')?)));
        let Some((words, (target, after))) = link else {
            plain.push('[');
            rest = after;
            continue;
        };
        plain.push_str(words);
        if !Reason::ALL.iter().any(|reason| target.strip_suffix(".md") == Some(reason.as_str())) {
            plain.extend([" (docs/", target.trim_start_matches("../"), ")"]);
        }
        rest = after;
    }
    plain.push_str(rest);
    plain.replace('`', "")
}

fn print(reason: Reason, screen: &Screen) {
    let to = screen.width().map_or(WIDEST, |width| width.min(WIDEST));
    screen.data(&screen.on_stdout(reason.as_str(), Paint::Strong));
    for section in sections(&reason.page()) {
        let indent = if section.title.is_empty() { "" } else { "  " };
        if !section.title.is_empty() {
            screen.data(&format!("\n{}", screen.on_stdout(&section.title, Paint::Strong)));
        }
        for block in &section.blocks {
            let lines = match block {
                Block::Text(text) => folded(text, to.saturating_sub(indent.len())),
                Block::Code(lines) => lines.clone(),
            };
            let indent = if matches!(block, Block::Code(_)) { "    " } else { indent };
            for line in lines {
                screen.data(format!("{indent}{line}").trim_end());
            }
        }
    }
}

/// Wraps a paragraph between words.
fn folded(text: &str, to: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let fits = lines.last().is_some_and(|line| line.is_empty() || width(line) + 1 + width(word) <= to);
        match lines.last_mut() {
            Some(line) if fits => {
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn data(reason: Reason) -> serde_json::Value {
    let text = |section: &Section| {
        let block = |block: &Block| match block {
            Block::Text(text) => text.clone(),
            Block::Code(lines) => lines.join("\n"),
        };
        section.blocks.iter().map(block).collect::<Vec<_>>().join("\n\n")
    };
    let sections: Vec<_> = sections(&reason.page()).iter().map(|part| json!({"title": part.title, "text": text(part)})).collect();
    json!({"reason": reason, "meaning": meaning(reason), "sections": sections})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f24_every_reason_is_explained_with_what_to_do() {
        for reason in Reason::ALL {
            assert!(!meaning(*reason).is_empty() && !meaning(*reason).contains(['[', '`']), "{reason}: {}", meaning(*reason));
            let sections = sections(&reason.page());
            assert!(sections.len() >= 4, "{reason}: {sections:?}");
            for section in &sections {
                assert!(!section.blocks.is_empty(), "{reason}: nothing below '{}'", section.title);
                let texts = section.blocks.iter().filter_map(|block| if let Block::Text(text) = block { Some(text) } else { None });
                for text in texts {
                    assert!(!text.contains("](") && !text.contains('`') && !text.starts_with('#'), "{reason}: {text}");
                }
            }
        }
    }

    #[test]
    fn f24_a_reason_is_found_as_people_have_it_at_hand() {
        for text in ["DurationTooLong", "durationtoolong", "DurationTooLong: duration 5h was requested", "DurationTooLong.md"] {
            assert_eq!(reason(text).unwrap(), Reason::DurationTooLong, "{text}");
        }
        for (text, suggestion) in [
            ("DuratoinTooLong", "'DurationTooLong'"),
            ("SelfAprovalNotAllowed", "'SelfApprovalNotAllowed'"),
            ("Duration", "'DurationTooShort'"),
            ("Duraton", "'DurationTooLong'"),
        ] {
            let said = reason(text).unwrap_err().to_string();
            assert!(said.contains("did you mean") && said.contains(suggestion), "{said}");
        }
        assert_eq!(reason("pods").unwrap_err().to_string(), "unknown reason 'pods'; 'kubectl jit explain' lists all");
    }

    #[test]
    fn marks_of_markdown_are_left_out() {
        assert_eq!(plain("see [WrittenUnguarded](WrittenUnguarded.md) and `x`"), "see WrittenUnguarded and x");
        assert_eq!(plain("[guards](../guards.md) says [a"), "guards (docs/guards.md) says [a");
        assert_eq!(folded("one two three", 7), ["one two", "three"]);
    }
}
