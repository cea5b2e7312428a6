//! Names that were mistyped.

/// True when one of two names is the other one with a letter or two mistyped, left out or swapped.
#[must_use]
pub fn is_near(one: &str, other: &str) -> bool {
    let (one, other) = (one.to_lowercase(), other.to_lowercase());
    let (length, other_length) = (one.chars().count(), other.chars().count());
    let (shorter, longer) = (length.min(other_length), length.max(other_length));
    let allowed = if shorter < 4 { 1 } else { 2 };
    // Names of objects and reasons are short; what is longer is no mistyped name.
    shorter > 1 && longer <= 253 && strsim::osa_distance(&one, &other) <= allowed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistyped_names_are_near() {
        for (meant, typed) in [("payments-edit", "payments-edti"), ("edit", "edi"), ("DurationTooLong", "durationtolong"), ("view", "veiw")]
        {
            assert!(is_near(meant, typed) && is_near(typed, meant), "{typed}");
        }
        for (one, other) in [("payments-edit", "payments-admin"), ("a", "b"), ("edit", "view"), ("", "")] {
            assert!(!is_near(one, other), "{one} {other}");
        }
        assert!(!is_near(&"x".repeat(100_000), "x"), "and it takes no time");
    }
}
