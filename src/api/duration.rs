//! Durations in the form that users write: `45m`, `1h30m`, `90s`.

use std::{borrow::Cow, fmt, str::FromStr};

use jiff::SignedDuration;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A length of time in whole seconds, in Go's syntax with the units `h`, `m` and `s`, in that order.
///
/// It has a type of its own because the existing ones panic on input that a user can write (`1h-5m`, twenty digits of hours).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Duration {
    seconds: u32,
}

/// The longest valid duration: 99,999 hours.
pub const LONGEST: Duration = Duration { seconds: 99_999 * 3600 };

/// The error for a text that is not a valid duration.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("'{0}' is not a valid duration: use h, m and s, for example 24h, 1h30m or 90s, at most 99999h")]
pub struct DurationError(String);

impl Duration {
    /// Returns a duration of this many seconds, at most [`LONGEST`].
    #[must_use]
    pub const fn from_secs(seconds: u32) -> Self {
        if seconds > LONGEST.seconds { LONGEST } else { Self { seconds } }
    }

    /// Returns a duration of this many hours, at most [`LONGEST`].
    #[must_use]
    pub const fn from_hours(hours: u32) -> Self {
        Self::from_secs(hours.saturating_mul(3600))
    }

    /// Returns the duration in seconds.
    #[must_use]
    pub const fn as_secs(self) -> u32 {
        self.seconds
    }

    /// True for `0s`.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.seconds == 0
    }
}

impl From<Duration> for SignedDuration {
    fn from(duration: Duration) -> Self {
        SignedDuration::from_secs(i64::from(duration.seconds))
    }
}

impl FromStr for Duration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let error = || DurationError(super::text::printable(&text.chars().take(40).collect::<String>()));
        let mut rest = text;
        let mut total: u64 = 0;
        // Five digits of hours and minutes and nine of seconds cannot overflow the sum.
        for (unit, factor, digits) in [('h', 3600, 5), ('m', 60, 5), ('s', 1, 9)] {
            let Some((number, tail)) = rest.split_once(unit) else { continue };
            if number.is_empty() || number.len() > digits || !number.bytes().all(|b| b.is_ascii_digit()) {
                return Err(error());
            }
            total += number.parse::<u64>().map_err(|_| error())? * factor;
            rest = tail;
        }
        match u32::try_from(total) {
            Ok(seconds) if rest.is_empty() && !text.is_empty() && seconds <= LONGEST.seconds => Ok(Self { seconds }),
            _ => Err(error()),
        }
    }
}

impl TryFrom<String> for Duration {
    type Error = DurationError;

    fn try_from(text: String) -> Result<Self, DurationError> {
        text.parse()
    }
}

impl From<Duration> for String {
    fn from(duration: Duration) -> Self {
        duration.to_string()
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.seconds == 0 {
            return f.write_str("0s");
        }
        for (value, unit) in [(self.seconds / 3600, 'h'), (self.seconds / 60 % 60, 'm'), (self.seconds % 60, 's')] {
            if value > 0 {
                write!(f, "{value}{unit}")?;
            }
        }
        Ok(())
    }
}

const FORM: &str = "self.matches('^([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,9}s)?$') && size(self) > 1";

fn schema(least: &str) -> Schema {
    let bounds = format!("duration(self) >= duration('{least}') && duration(self) <= duration('99999h')");
    json_schema!({
        "type": "string",
        "maxLength": 24,
        "x-kubernetes-validations": [{
            "rule": format!("{FORM} && {bounds}"),
            "message": format!("must be hours, minutes and seconds such as 45m, 1h30m or 90s, from {least} to 99999h"),
        }],
    })
}

/// Returns the schema of a duration that may be zero.
pub(super) fn schema_with_zero(_: &mut SchemaGenerator) -> Schema {
    schema("0s")
}

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schema("1s")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, seconds, shown) in [
            ("45m", 2700, "45m"),
            ("1h30m", 5400, "1h30m"),
            ("90s", 90, "1m30s"),
            ("90m", 5400, "1h30m"),
            ("0s", 0, "0s"),
            ("1h0m5s", 3605, "1h5s"),
            ("99999h", 359_996_400, "99999h"),
        ] {
            let duration: Duration = text.parse().unwrap();
            assert_eq!((duration.as_secs(), duration.to_string().as_str()), (seconds, shown), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_duration() {
        let digits = format!("{}h", "9".repeat(23));
        for text in ["", "h", "1", "-45m", "1h-5m", "5m1h", "1d", "1.5h", "1h 5m", " 1h", "99999h1s", "+1h", "1hh", "١h", &digits] {
            assert!(text.parse::<Duration>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn reading_what_it_prints_gives_the_same(seconds in 0..=LONGEST.seconds) {
            let duration = Duration::from_secs(seconds);
            prop_assert_eq!(duration.to_string().parse::<Duration>(), Ok(duration));
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>(), near in "[0-9hms+-]{0,12}") {
            let _ = text.parse::<Duration>();
            let _ = near.parse::<Duration>();
        }
    }
}
