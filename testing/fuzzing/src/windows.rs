//! Windows of a policy: lines `at <instant>`, `for <duration>` and `window <days> <from> <to> <zone> [ends]`, days as `Mon,Tue` or `daily`.
//!
//! The reference implementation is a calendar of the minutes of a week that a window covers; it is indexed by local time.

use std::iter::successors;

use api::{
    ApprovalPolicySpec, Duration, Reason,
    instant::{self, at_second},
    policy::{Day, Window},
};
use domain::{Object, windows};
use jiff::{
    SignedDuration, Timestamp,
    tz::{TimeZone, TimeZoneDatabase},
};

use crate::{is_printable, text};

pub const WORDS: &[&str] = &[
    "at",
    "for",
    "window",
    "daily",
    "Mon",
    "Tue,Wed",
    "Fri",
    "Sat",
    "Sun",
    "00:00",
    "02:30",
    "08:00",
    "18:00",
    "22:00",
    "23:59",
    "24:00",
    "ends",
    "UTC",
    "Europe/Oslo",
    "Africa/Cairo",
    "Asia/Beirut",
    "America/Havana",
    "America/New_York",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Auckland",
    "Africa/Casablanca",
    "Antarctica/Troll",
    "Etc/Unknown",
    "Mars/Base",
    "2026-03-29T01:00:00Z",
    "2026-10-25T01:00:00Z",
    "2011-12-30T10:00:00Z",
    "2016-12-31T23:59:60Z",
    "9999-12-31T23:59:59Z",
    "-009999-01-02T02:00:00Z",
    "1h",
    "26h",
    "24h",
];

/// Maximum number of windows, as in the schema.
const WINDOWS: usize = 16;
/// Longest grant that is tried: a walk through years would only make the check slow.
const LONGEST: Duration = Duration::from_hours(30 * 24);
const MINUTES: usize = 7 * 24 * 60;

struct Input {
    at: Timestamp,
    lasting: Duration,
    windows: Vec<Window>,
}

fn read(text: &str) -> Input {
    let mut input = Input { at: "2026-11-02T10:00:00Z".parse().unwrap(), lasting: Duration::from_hours(8), windows: Vec::new() };
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["at", at] => input.at = instant::parse(at).or_else(|| at.parse().ok()).unwrap_or(input.at),
            ["for", lasting] => input.lasting = lasting.parse().unwrap_or(input.lasting).min(LONGEST),
            ["window", days, from, to, zone, rest @ ..] if input.windows.len() < WINDOWS => {
                let Ok(time_zone) = (*zone).to_owned().try_into() else { continue };
                let days = days.split(',').filter_map(|day| serde_json::from_value(day.into()).ok()).collect();
                input.windows.push(Window {
                    days,
                    from: (*from).to_owned(),
                    to: (*to).to_owned(),
                    time_zone,
                    ends_grant: rest == ["ends"],
                });
            }
            _ => {}
        }
    }
    input
}

/// A window as the minutes of a week that starts on Monday.
struct Week {
    zone: TimeZone,
    open: Vec<bool>,
    ends_grant: bool,
}

/// Parses `08:00` as minutes of a day, in the form of the schema.
fn minute(text: &str) -> Option<usize> {
    let [a, b, b':', c, d] = text.as_bytes() else { return None };
    let number = |tens: &u8, ones: &u8| {
        [tens, ones].iter().all(|byte| byte.is_ascii_digit()).then(|| usize::from(tens - b'0') * 10 + usize::from(ones - b'0'))
    };
    let (hour, minute) = (number(a, b)?, number(c, d)?);
    (hour < 24 && minute < 60).then_some(hour * 60 + minute)
}

impl Week {
    /// Returns none for a window that is invalid.
    fn of(window: &Window) -> Option<Self> {
        let zone = TimeZoneDatabase::bundled().get(window.time_zone.as_str()).ok().filter(|zone| !zone.is_unknown())?;
        let (from, to) = (minute(&window.from)?, minute(&window.to)?);
        if from == to && from != 0 {
            return None;
        }
        let to = if to <= from { to + 24 * 60 } else { to };
        let mut open = vec![false; MINUTES];
        for (number, day) in [Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri, Day::Sat, Day::Sun].into_iter().enumerate() {
            if window.days.is_empty() || window.days.contains(&day) {
                for minute in from..to {
                    *open.get_mut((number * 24 * 60 + minute) % MINUTES)? = true;
                }
            }
        }
        Some(Self { zone, open, ends_grant: window.ends_grant })
    }

    /// Returns whether it is open at this instant, by its calendar.
    fn is_open(&self, at: Timestamp) -> Option<bool> {
        let shown = self.zone.to_datetime(at);
        let number = |n: i8| usize::try_from(n).ok();
        let minutes = (number(shown.weekday().to_monday_zero_offset())? * 24 + number(shown.hour())?) * 60 + number(shown.minute())?;
        self.open.get(minutes).copied()
    }
}

/// Returns instants from `from` until before `to`: each minute at first and then less often, and around changes of the UTC offset.
fn between(weeks: &[Week], from: Timestamp, to: Timestamp) -> Vec<Timestamp> {
    let step = SignedDuration::from_secs((to.duration_since(from).as_secs() / 40).max(60));
    let whole = at_second(from.as_second().div_euclid(60) * 60);
    let walk = |step: SignedDuration, most| successors(Some(whole), move |at| at.checked_add(step).ok()).take(most);
    let changes =
        weeks.iter().flat_map(|week| week.zone.following(from).take(2).map(|change| change.timestamp().as_second()).collect::<Vec<_>>());
    let around = changes
        .flat_map(|at| [-3600, -1800, -1, 0, 1799, 1800, 3600].map(|away| at + away))
        .filter_map(|at| Timestamp::from_second(at).ok());
    let mut all: Vec<_> = walk(step, 40)
        .chain(walk(SignedDuration::from_mins(1), 32))
        .chain(around)
        .chain([from, to.checked_sub(SignedDuration::from_nanos(1)).unwrap_or(to)])
        .collect();
    all.retain(|at| from <= *at && *at < to);
    all
}

/// Verifies that the product's windows agree with the calendar: when they are open, when they open next, where they end a grant.
pub fn check(data: &[u8]) {
    let Input { at, lasting, windows } = read(&text(data));
    let all: Vec<Option<Week>> = windows.iter().map(Week::of).collect();
    let usable = windows::check(&windows);
    assert_eq!(usable.is_ok(), all.iter().all(Option::is_some), "{usable:?}");
    if let Err(refusal) = usable {
        assert!(refusal.reason == Reason::InvalidField && is_printable(&refusal.message), "{refusal}");
    }
    let weeks: Vec<Week> = all.into_iter().flatten().collect();
    let is_open = |at: Timestamp| windows.is_empty() || weeks.iter().any(|week| week.is_open(at) == Some(true));
    assert_eq!(windows::is_open(&windows, at), is_open(at), "open at {at}");

    let next = windows::next_opening(&windows, at);
    let ahead = at.checked_add(SignedDuration::from_hours(24 * 20)).unwrap_or(at);
    if let Some(next) = next {
        assert!(next >= at && is_open(next), "{next} is an opening at or after {at}");
    }
    for closed in between(&weeks, at, next.unwrap_or(ahead)) {
        assert!(!is_open(closed), "open at {closed} already, but the reported next opening is {next:?}");
    }
    let policy = Object {
        name: "hours".to_owned(),
        uid: String::new(),
        created: at,
        deleting: false,
        generation: 1,
        checked: None,
        owed: None,
        spec: ApprovalPolicySpec { windows: windows.clone(), ..ApprovalPolicySpec::default() },
    };
    match windows::start(&policy, at) {
        Ok(()) => assert!(is_open(at)),
        Err(refusal) => assert!(!is_open(at) && refusal.reason == Reason::OutsideWindow && is_printable(&refusal.message), "{refusal}"),
    }
    ends(&windows, &weeks, at, at.checked_add(SignedDuration::from(lasting)).unwrap_or(at));
}

fn ends(windows: &[Window], weeks: &[Week], start: Timestamp, end: Timestamp) {
    let cut = windows::ends_at(windows, start, end);
    if windows.is_empty() || end <= start {
        return assert_eq!(cut, end, "without windows a grant is not shortened");
    }
    assert!(start <= cut && cut <= end, "from {start} to {end}, cut at {cut}");
    let open: Vec<&Week> = weeks.iter().filter(|week| week.is_open(start) == Some(true)).collect();
    if open.is_empty() {
        return assert_eq!(cut, start, "nothing is left outside the windows");
    }
    if open.iter().any(|week| !week.ends_grant) {
        return assert_eq!(cut, end, "windows that do not end a grant do not shorten it");
    }
    let goes_on = |at: Timestamp| weeks.iter().any(|week| week.ends_grant && week.is_open(at) == Some(true));
    for at in between(weeks, start, cut) {
        assert!(goes_on(at), "closed at {at} already, from {start} to {end}, cut at {cut}");
    }
    assert!(cut == end || !goes_on(cut), "still open at {cut}, where it is cut");
}
