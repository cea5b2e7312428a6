//! The patterns of policies: regular expressions with bounded memory that must match a whole text.

use regex::{Regex, RegexBuilder};

use super::refusal::Refusal;
use api::Reason;

/// Maximum memory of a compiled pattern in bytes. The engine itself never backtracks (T14).
const PATTERN_SIZE: usize = 1 << 18;

/// The field with the pattern of justifications.
pub const JUSTIFICATION: &str = "spec.requirements.justification.pattern";

/// Compiles the pattern in `field`, which must match a whole text.
///
/// The pattern must also be valid by itself: `a)|(?:b` would otherwise close the added group and leave the anchors outside.
pub fn anchored(field: &str, pattern: &str) -> Result<Regex, Refusal> {
    let compile = |text: &str| RegexBuilder::new(text).size_limit(PATTERN_SIZE).dfa_size_limit(PATTERN_SIZE).build();
    compile(pattern).and_then(|_| compile(&format!("^(?:{pattern})$"))).map_err(|error| {
        Refusal::new(Reason::InvalidField, format!("{field} '{pattern}' cannot be used: {}", last_line(&error.to_string())))
    })
}

/// Returns the last line of a message. The regex crate prints the pattern with a caret over several lines, and the error in the last one.
fn last_line(text: &str) -> String {
    text.lines().last().unwrap_or_default().trim().trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_are_anchored_and_bounded() {
        assert!(anchored("f", "INC-[0-9]+").unwrap().is_match("INC-1"));
        assert!(!anchored("f", "INC-[0-9]+").unwrap().is_match("no INC-1"));
        assert!(!anchored("f", "a|b").unwrap().is_match("ax"), "an alternative is anchored as a whole");
        for bad in ["(", "[z-a]", "a{1,99999999}", "(?P<x>a)(?P<x>b)", r"\p{Nope}", "a)|(?:b", "((((a{100}){100}){100}){100})"] {
            assert!(anchored("f", bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_pattern_makes_it_panic(pattern in any::<String>(), near in r"[()\[\]{}*+?|^$\\a-z0-9,.]{0,40}") {
            let _ = anchored("f", &pattern);
            let _ = anchored("f", &near);
        }
    }
}
