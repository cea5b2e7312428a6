//! Formats times: age, remaining time and local clock time.

use jiff::{SignedDuration, Timestamp, Zoned, tz::TimeZone};

use api::instant;

/// Length of a timestamp in messages: `2026-11-30T06:04:36Z`.
const STAMP: usize = 20;

/// A time, or a duration before or after the current time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// At this time.
    At(Timestamp),
    /// At this distance.
    In(api::Duration),
}

impl When {
    /// Parses a time or a duration, of which the error has an `example`.
    pub fn parse(text: &str, example: &str) -> Result<Self, String> {
        if let Ok(length) = text.parse() {
            return Ok(Self::In(length));
        }
        let unknown = || format!("'{text}' is neither a time such as 2026-12-01T08:00:00Z nor a duration such as {example}");
        instant::parse(text).map(Self::At).ok_or_else(unknown)
    }

    /// The time, which is after `now` for a duration.
    #[must_use]
    pub fn after(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::In(length) => now.checked_add(SignedDuration::from(length)).unwrap_or(now),
        }
    }

    /// The time, which is before `now` for a duration.
    #[must_use]
    pub fn before(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::In(length) => now.checked_sub(SignedDuration::from(length)).unwrap_or(now),
        }
    }
}

/// The clock and the time zone for output.
#[derive(Clone, Debug)]
pub struct Times {
    zone: TimeZone,
}

impl Times {
    /// Uses the local time zone (`TZ` or the system setting), or UTC.
    #[must_use]
    pub fn new(utc: bool) -> Self {
        Self { zone: if utc { TimeZone::UTC } else { TimeZone::system() } }
    }

    /// The current time.
    #[must_use]
    #[allow(clippy::unused_self, reason = "formatting and current time belong together for callers")]
    pub fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    /// A time as `14:52 CEST`, with the date if it is not today.
    #[must_use]
    pub fn clock(&self, at: Timestamp) -> String {
        let (local, today) = (self.local(at), self.local(self.now()));
        let form = if local.date() == today.date() { "%H:%M %Z" } else { "%Y-%m-%d %H:%M %Z" };
        local.strftime(form).to_string()
    }

    /// A time with seconds, for timelines.
    #[must_use]
    pub fn exact(&self, at: Timestamp) -> String {
        self.local(at).strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
    }

    /// An end as `14:52 CEST (44m left)`.
    #[must_use]
    pub fn until(&self, at: Timestamp) -> String {
        format!("{} ({} left)", self.clock(at), short(at.duration_since(self.now())))
    }

    /// A message of the operator, with its UTC timestamps formatted by [`Times::exact`]: two time zones in one line would make an end look
    /// earlier than its start.
    #[must_use]
    pub fn sentence(&self, text: &str) -> String {
        let (mut shown, mut rest) = (String::new(), text);
        while let Some(letter) = rest.chars().next() {
            let stamp = rest.get(..STAMP).filter(|stamp| stamp.ends_with('Z') && stamp.get(10..11) == Some("T"));
            let length = if let Some(at) = stamp.and_then(instant::parse) {
                shown.push_str(&self.exact(at));
                STAMP
            } else {
                shown.push(letter);
                letter.len_utf8()
            };
            rest = rest.get(length..).unwrap_or_default();
        }
        shown
    }

    fn local(&self, at: Timestamp) -> Zoned {
        at.to_zoned(self.zone.clone())
    }
}

/// A duration as in kubectl's AGE column: `44m`, `5h3m`, `2d`. A negative one is `0s`.
#[must_use]
pub fn short(length: SignedDuration) -> String {
    let seconds = length.as_secs().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let two = |large: i64, unit: &str, small: i64, lesser: &str| {
        if small == 0 { format!("{large}{unit}") } else { format!("{large}{unit}{small}{lesser}") }
    };
    match () {
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => two(minutes, "m", seconds % 60, "s"),
        () if minutes < 180 => format!("{minutes}m"),
        () if hours < 8 => two(hours, "h", minutes % 60, "m"),
        () if hours < 48 => format!("{hours}h"),
        () if days < 8 => two(days, "d", hours % 24, "h"),
        () if days < 730 => format!("{days}d"),
        () if days < 365 * 8 => two(days / 365, "y", days % 365, "d"),
        () => format!("{}y", days / 365),
    }
}

/// Minutes and seconds of a waiting time: `0:42`.
#[must_use]
pub fn stopwatch(length: std::time::Duration) -> String {
    let seconds = length.as_secs();
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_as_kubectl_prints_ages() {
        for (seconds, shown) in [
            (-5, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (599, "9m59s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_800, "3h"),
            (18_180, "5h3m"),
            (28_800, "8h"),
            (172_799, "47h"),
            (172_800, "2d"),
            (180_000, "2d2h"),
            (691_200, "8d"),
            (63_072_000, "2y"),
            (63_158_400, "2y1d"),
            (315_360_000, "10y"),
        ] {
            assert_eq!(short(SignedDuration::from_secs(seconds)), shown, "{seconds}");
        }
    }

    #[test]
    fn a_sentence_has_instants_in_one_zone() {
        let times = Times { zone: TimeZone::fixed(jiff::tz::offset(1)) };
        for (text, shown) in [
            ("granted until 2026-11-30T06:04:36Z, by é", "granted until 2026-11-30 07:04:36 +01, by é"),
            ("2026-11-30T06:04:36Z/2026-12-01T23:30:00Z", "2026-11-30 07:04:36 +01/2026-12-02 00:30:00 +01"),
            ("2026-11-30T06:04:36+0 2026-11-31T06:04:36Z", "2026-11-30T06:04:36+0 2026-11-31T06:04:36Z"),
            ("é2026-11-30T06:04:3", "é2026-11-30T06:04:3"),
            ("", ""),
        ] {
            assert_eq!(times.sentence(text), shown);
        }
    }

    #[test]
    fn an_instant_of_another_day_has_its_date() {
        let times = Times::new(true);
        assert_eq!(times.clock("2020-02-29T14:52:10Z".parse().unwrap()), "2020-02-29 14:52 UTC");
        assert!(!times.clock(times.now()).contains('-'));
        assert_eq!(times.exact("2020-02-29T14:52:10Z".parse().unwrap()), "2020-02-29 14:52:10 UTC");
    }
}
