//! One line of text that is safe to print anywhere.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

/// Text of at most `MAX` characters without control, formatting or line-breaking characters (Unicode Cc, Cf, Zl, Zp).
///
/// Justifications, comments and names are shown to approvers in terminals, Events and logs. Bidi overrides, zero-width
/// characters, escape sequences and line breaks would let their author display something other than the stored text (T13), so the
/// schema refuses them and this type cannot hold them.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Line<const MAX: usize>(String);

/// The error for a text that is not a valid [`Line`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LineError {
    /// The text has more characters than the field allows.
    #[error("has {asked} characters, at most {allowed} are allowed")]
    TooLong {
        /// Number of characters in the text.
        asked: usize,
        /// Maximum number of characters.
        allowed: usize,
    },
    /// The text has a character that must not be sent to a terminal.
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

/// True for a character that is invisible among others: Unicode's `Default_Ignorable_Code_Point` (`DerivedCoreProperties.txt`, Unicode 17),
/// which includes reserved code points, and letters and symbols that are blank.
#[must_use]
pub const fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
        // The blank pattern of Braille, the null note head.
        | '\u{2800}' | '\u{1d159}')
}

/// Returns the number of visible characters in a text, including the blanks between them.
#[must_use]
pub fn visible_length(text: &str) -> usize {
    let shown: String = text.chars().filter(|c| !is_invisible(*c) && !is_forbidden(*c)).collect();
    shown.trim().chars().count()
}

/// True for a text without visible characters.
#[must_use]
pub fn is_blank(text: &str) -> bool {
    visible_length(text) == 0
}

/// Returns `text` with every forbidden character replaced. For texts of other programs and users that must be displayed.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if is_forbidden(c) { '\u{FFFD}' } else { c }).collect()
}

impl<const MAX: usize> Line<MAX> {
    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True if no character is visible.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        is_blank(&self.0)
    }

    /// True if the text has no characters.
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

    #[test]
    fn f54_what_nobody_sees_does_not_count() {
        for text in [
            "",
            "   ",
            "\u{17b4}\u{17b4}\u{17b5}",
            "\u{ffa0}\u{ffa0}",
            "\u{3164}",
            "\u{115f}\u{1160}",
            "\u{e0100}\u{e01ef}",
            "\u{2800}\u{2800}",
            "\u{34f}",
            "\u{fe0f}",
            "\u{180b}",
            "\u{200b}",
            "\u{3000}",
            "\u{a0} \u{2003}",
            "\u{3164} \u{3164}",
            "\u{1d159}",
            "\u{2065}",
            "\u{e0080}",
        ] {
            assert!(is_blank(text), "{text:?}");
        }
        for (text, length) in
            [("a b", 3), (" a\u{3164}\u{3164}\u{3164}b ", 2), ("\u{2800}checkout\u{2800}", 8), ("❤\u{fe0f}", 1), ("សួស្តី", 6), ("日本", 2)]
        {
            assert_eq!(visible_length(text), length, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn f54_visible_text_is_never_blank(text in "[a-z0-9à-ÿα-ωа-яא-ת一-龥가-힣]{1,20}", hidden in "[\u{3164}\u{ffa0} \u{17b4}]{0,4}") {
            prop_assert_eq!(visible_length(&format!("{hidden}{text}{hidden}")), text.chars().count());
            prop_assert!(is_blank(&hidden));
        }

        #[test]
        fn inv_26_what_is_printable_is_a_line(text in any::<String>()) {
            let shown = printable(&text);
            prop_assert!(!shown.chars().any(is_forbidden));
            prop_assert_eq!(shown.chars().count(), text.chars().count());
        }
    }
}
