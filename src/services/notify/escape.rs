//! Texts of users in the formats of receivers: visible, of limited length, and without a meaning in the format.

use std::borrow::Cow;

/// Returns `text` with its control and invisible formatting characters replaced, and with at most `most` units of UTF-16: services differ in
/// what they count as a character, and none counts more than these.
pub(crate) fn line(text: &str, most: usize) -> String {
    cut(&api::text::printable(text.trim()), most)
}

/// Returns at most `most` units of UTF-16 of `text`; the last one is then `…`.
pub(crate) fn cut(text: &str, most: usize) -> String {
    let mut length = 0;
    let end = text.char_indices().find(|(_, letter)| {
        length += letter.len_utf16();
        length > most
    });
    if end.is_none() {
        return text.to_owned();
    }
    let mut left = most.saturating_sub(1);
    let kept = text.chars().take_while(|letter| {
        let fits = letter.len_utf16() <= left;
        left = left.saturating_sub(letter.len_utf16());
        fits
    });
    kept.chain(['…']).collect()
}

/// Returns `text` for the content of HTML elements and for quoted attributes.
pub(crate) fn html(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut html, letter| {
        match letter {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            other => html.push(other),
        }
        html
    })
}

/// Returns `text` for Slack's fallback text, where `<`, `>` and `&` begin and end mentions and addresses.
pub(crate) fn slack(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Returns `text` for a card, where `{{DATE(` and `{{TIME(` are functions.
pub(crate) fn card(text: &str) -> String {
    text.replace('{', "｛")
}

/// Returns `text` for annotations of alerts, whose further format is unknown: Alertmanager's own receivers pass them on to mail, Slack and
/// others. What begins a mention, an element or an address in these formats is replaced by a character that looks similar.
pub(crate) fn annotation(text: &str) -> String {
    let mut before = ' ';
    let mut letters = text.chars().peekable();
    std::iter::from_fn(|| {
        let letter = letters.next()?;
        let after = letters.peek().copied().unwrap_or(' ');
        let is_inside = before.is_alphanumeric() && after.is_alphanumeric();
        before = letter;
        Some(match letter {
            '<' => '‹',
            '>' => '›',
            '[' => '［',
            ']' => '］',
            '`' => '‘',
            '*' => '∗',
            '~' => '∼',
            // Within mail addresses and names these are ordinary.
            '@' if !is_inside => '＠',
            '_' if !is_inside => '＿',
            other => other,
        })
    })
    .collect()
}

/// Returns the address of a page if it is one of the web, for the formats that have addresses.
pub(crate) fn web_address(text: &str) -> Option<Cow<'_, str>> {
    let url = reqwest::Url::parse(text).ok()?;
    (matches!(url.scheme(), "https" | "http") && url.host_str().is_some()).then(|| Cow::Owned(url.into()))
}
