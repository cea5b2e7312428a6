//! One line of text that is safe to show anywhere.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

/// Text of at most `MAX` characters without control, formatting or line-breaking characters (Unicode Cc, Cf, Zl, Zp).
///
/// Justifications, comments and names are shown to approvers in terminals, Events and logs. Bidi overrides, zero-width
/// characters, escape sequences and line breaks would let their author show something else than what is stored (T13), so the
/// schema refuses them and this type cannot hold them.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Line<const MAX: usize>(String);

/// Why a text is no [`Line`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LineError {
    /// It has more characters than the field takes.
    #[error("has {asked} characters, at most {allowed} are allowed")]
    TooLong {
        /// Characters of the text.
        asked: usize,
        /// Characters that fit.
        allowed: usize,
    },
    /// It has a character that no terminal should be sent.
    #[error("has the character U+{0:04X}; line breaks, control and invisible formatting characters are not allowed")]
    Forbidden(u32),
}

/// True for a character that can move the cursor, reorder or hide text.
#[must_use]
pub fn is_forbidden(c: char) -> bool {
    matches!(
        c.general_category(),
        GeneralCategory::Control | GeneralCategory::Format | GeneralCategory::LineSeparator | GeneralCategory::ParagraphSeparator
    )
}

/// `text` with every forbidden character replaced, for texts that others wrote and we must show.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if is_forbidden(c) { '\u{FFFD}' } else { c }).collect()
}

impl<const MAX: usize> Line<MAX> {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True without any character.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<const MAX: usize> TryFrom<String> for Line<MAX> {
    type Error = LineError;

    fn try_from(text: String) -> Result<Self, LineError> {
        let asked = text.chars().count();
        if asked > MAX {
            return Err(LineError::TooLong { asked, allowed: MAX });
        }
        match text.chars().find(|c| is_forbidden(*c)) {
            Some(c) => Err(LineError::Forbidden(u32::from(c))),
            None => Ok(Self(text)),
        }
    }
}

impl<const MAX: usize> From<Line<MAX>> for String {
    fn from(line: Line<MAX>) -> Self {
        line.0
    }
}

impl<const MAX: usize> fmt::Display for Line<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<const MAX: usize> PartialEq<str> for Line<MAX> {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl<const MAX: usize> JsonSchema for Line<MAX> {
    fn schema_name() -> Cow<'static, str> {
        Cow::Owned(format!("Line{MAX}"))
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": MAX,
            "x-kubernetes-validations": [{
                "rule": r"self.matches('^[^\\p{Cc}\\p{Cf}\\p{Zl}\\p{Zp}]*$')",
                "message": "must be one line of visible text: line breaks, control and invisible formatting characters are not allowed",
            }],
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn t13_invisible_characters_are_refused_and_letters_of_all_scripts_pass() {
        for text in ["INC-4711 checkout is slow", "é日本 \u{5d0}\u{5d1}", "", "👍"] {
            assert!(Line::<64>::try_from(text.to_owned()).is_ok(), "{text}");
        }
        for text in ["a\nb", "a\u{1b}[31m", "a\u{202e}b", "a\u{200b}b", "a\u{2028}b", "a\u{feff}", "a\u{e0041}", "a\tb"] {
            assert!(Line::<64>::try_from(text.to_owned()).is_err(), "{text:?}");
        }
        assert_eq!(Line::<3>::try_from("abcd".to_owned()), Err(LineError::TooLong { asked: 4, allowed: 3 }));
    }

    proptest! {
        #[test]
        fn inv_26_what_is_printable_is_a_line(text in any::<String>()) {
            let shown = printable(&text);
            prop_assert!(!shown.chars().any(is_forbidden));
            prop_assert_eq!(shown.chars().count(), text.chars().count());
        }
    }
}
