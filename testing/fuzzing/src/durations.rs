//! Durations as users write them, compared with a parser that was written from the schema's description.

use api::{Duration, duration::LONGEST};
use jiff::SignedDuration;

use crate::{is_printable, text};

pub const WORDS: &[&str] =
    &["h", "m", "s", "1h", "30m", "0s", "99999h", "359996400s", "999999999s", "00001h", "-", "+", ".", " ", "d", "\u{661}"];

/// The schema's rule: up to five digits of hours and minutes and nine of seconds, in this order, at most 99999h.
fn seconds(text: &str) -> Option<u64> {
    let mut rest = text.as_bytes();
    let mut total = 0;
    for (unit, worth, most) in [(b'h', 3600, 5), (b'm', 60, 5), (b's', 1, 9)] {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if (1..=most).contains(&digits) && rest.get(digits) == Some(&unit) {
            let (number, tail) = rest.split_at(digits);
            total += worth * number.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
            rest = tail.get(1..).unwrap_or_default();
        }
    }
    (rest.is_empty() && !text.is_empty() && total <= 99_999 * 3600).then_some(total)
}

/// Verifies every line of the input as a duration.
pub fn check(data: &[u8]) {
    let all = text(data);
    let read: Vec<Duration> = std::iter::once(&*all).chain(all.split('\n')).filter_map(one).collect();
    for pair in read.windows(2) {
        if let [a, b] = pair {
            assert_eq!(a.cmp(b), a.as_secs().cmp(&b.as_secs()), "the longer duration is the greater one");
        }
    }
}

fn one(text: &str) -> Option<Duration> {
    let read = text.parse::<Duration>();
    assert_eq!(read.as_ref().ok().map(|duration| u64::from(duration.as_secs())), seconds(text), "{text:?} is parsed by the schema");
    let duration = match read {
        Ok(duration) => duration,
        Err(error) => {
            let said = error.to_string();
            assert!(is_printable(&said) && said.chars().count() < 200, "an error is printable and short: {said:?}");
            return None;
        }
    };
    assert!(duration <= LONGEST);
    assert_eq!(duration.is_zero(), duration == Duration::default());
    assert_eq!(SignedDuration::from(duration).as_secs(), i64::from(duration.as_secs()));
    let shown = duration.to_string();
    assert_eq!(shown.parse(), Ok(duration), "the printed form is parsed as the same duration");
    assert!(shown.len() <= 24, "the schema accepts the printed form");
    let stored = serde_json::to_string(&duration).unwrap();
    assert_eq!(serde_json::from_str::<Duration>(&stored).unwrap(), duration);
    assert_eq!(stored, format!("\"{shown}\""), "the printed form is the stored form");
    Some(duration)
}
