//! Names that were mistyped.

/// True when one of two names is the other one with a letter or two mistyped, left out or swapped.
#[must_use]
pub fn is_near(one: &str, other: &str) -> bool {
    let (one, other): (Vec<char>, Vec<char>) = (one.to_lowercase().chars().collect(), other.to_lowercase().chars().collect());
    let shorter = one.len().min(other.len());
    let allowed = if shorter < 4 { 1 } else { 2 };
    // Names of objects and reasons are short; what is longer is no mistyped name.
    shorter > 1 && one.len().max(other.len()) <= 253 && distance(&one, &other) <= allowed
}

/// The least number of letters to insert, to remove, to replace or to swap with their neighbours.
fn distance(one: &[char], other: &[char]) -> usize {
    let (mut before, mut last): (Vec<usize>, Vec<usize>) = (Vec::new(), (0..=other.len()).collect());
    for (i, left) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, right) in other.iter().enumerate() {
            let at = |row: &[usize], place: usize| row.get(place).copied().unwrap_or(usize::MAX - 1);
            let mut cost = (at(&last, j) + usize::from(left != right)).min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            let swapped = i > 0 && j > 0 && one.get(i - 1) == Some(right) && other.get(j - 1) == Some(left);
            if swapped {
                cost = cost.min(at(&before, j - 1) + 1);
            }
            row.push(cost);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(one.len())
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
