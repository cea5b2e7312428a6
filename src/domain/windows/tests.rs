//! Tests of windows: tables of days, nights and clock changes, and a plain model that checks minute by minute.

use jiff::SignedDuration;
use proptest::prelude::*;

use super::*;
use api::{Line, policy::Day::*};

fn line(text: &str) -> Line<63> {
    Line::try_from(text.to_owned()).unwrap()
}

fn window(days: &[Day], from: &str, to: &str, zone: &str) -> Window {
    Window { days: days.to_vec(), from: from.to_owned(), to: to.to_owned(), time_zone: line(zone), ends_grant: false }
}

fn ending(window: Window) -> Window {
    Window { ends_grant: true, ..window }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

const WEEK: &[Day] = &[Mon, Tue, Wed, Thu, Fri];

/// Asserts whether a window is open at these instants.
fn open(window: &Window, instants: &[(&str, bool)]) {
    for (text, expected) in instants {
        assert_eq!(is_open(std::slice::from_ref(window), at(text)), *expected, "{} at {text}", one_in_words(window));
    }
}

#[test]
fn days_and_nights() {
    let office = window(WEEK, "08:00", "18:00", "Europe/Oslo");
    open(
        &office,
        &[
            ("2026-11-02T06:59:59.999Z", false),
            ("2026-11-02T07:00:00Z", true),
            ("2026-11-02T16:59:59.999Z", true),
            ("2026-11-02T17:00:00Z", false),
            ("2026-11-07T09:00:00Z", false),
            // In summer the local hours are other ones in UTC.
            ("2026-07-06T06:00:00Z", true),
            ("2026-07-06T16:00:00Z", false),
        ],
    );
    // The day is that of the zone, not of UTC: Monday in Auckland begins on Sunday.
    open(&window(&[Mon], "08:00", "10:00", "Pacific/Auckland"), &[("2026-11-01T19:00:00Z", true), ("2026-11-02T19:00:00Z", false)]);
    // Friday's night ends on Saturday.
    let night = window(&[Fri], "22:00", "06:00", "UTC");
    open(
        &night,
        &[
            ("2026-11-06T03:00:00Z", false),
            ("2026-11-06T21:59:59Z", false),
            ("2026-11-06T22:00:00Z", true),
            ("2026-11-07T05:59:59Z", true),
            ("2026-11-07T06:00:00Z", false),
            ("2026-11-07T22:00:00Z", false),
        ],
    );
    open(&window(&[], "22:00", "06:00", "UTC"), &[("2026-11-07T22:00:00Z", true), ("2026-11-07T12:00:00Z", false)]);
    open(&window(&[Fri], "18:00", "00:00", "UTC"), &[("2026-11-06T23:59:59Z", true), ("2026-11-07T00:00:00Z", false)]);
    // A leap second belongs to the minute before it.
    open(&window(&[Sat], "18:00", "00:00", "UTC"), &[("2016-12-31T23:59:60.5Z", true), ("2017-01-01T00:00:00Z", false)]);
    let whole = window(&[Sat, Sun], "00:00", "00:00", "UTC");
    open(
        &whole,
        &[("2026-11-06T23:59:59Z", false), ("2026-11-07T00:00:00Z", true), ("2026-11-08T23:59:59Z", true), ("2026-11-09T00:00:00Z", false)],
    );
    assert!(is_open(&[], at("2026-11-02T10:00:00Z")), "no window is no bound");
    assert!(is_open(&[night, whole], at("2026-11-08T10:00:00Z")), "any window will do");
}

#[test]
fn a_time_that_the_clock_skips_is_in_no_window() {
    // In Oslo it was 03:00 after 01:59 on 2026-03-29, at 01:00 UTC.
    let inside = window(&[], "02:15", "02:45", "Europe/Oslo");
    open(
        &inside,
        &[("2026-03-28T01:20:00Z", true), ("2026-03-29T01:20:00Z", false), ("2026-03-29T00:20:00Z", false), ("2026-03-30T00:20:00Z", true)],
    );
    assert_eq!(next_opening(&[inside], at("2026-03-28T22:00:00Z")), Some(at("2026-03-30T00:15:00Z")));
    let over = ending(window(&[Sun], "02:30", "04:00", "Europe/Oslo"));
    open(
        &over,
        &[("2026-03-29T00:59:59Z", false), ("2026-03-29T01:00:00Z", true), ("2026-03-29T01:59:59Z", true), ("2026-03-29T02:00:00Z", false)],
    );
    assert_eq!(next_opening(&[over], at("2026-03-28T22:00:00Z")), Some(at("2026-03-29T01:00:00Z")));
    let until = ending(window(&[], "01:00", "02:30", "Europe/Oslo"));
    assert_eq!(ends_at(&[until], at("2026-03-29T00:30:00Z"), at("2026-03-29T09:00:00Z")), at("2026-03-29T01:00:00Z"));
    // Only once a week, and then skipped: a week later.
    assert_eq!(
        next_opening(&[window(&[Sun], "02:15", "02:45", "Europe/Oslo")], at("2026-03-22T12:00:00Z")),
        Some(at("2026-04-05T00:15:00Z"))
    );
    // In Cairo the clock skips from midnight to 01:00. Friday the 24th of April begins at 01:00.
    let friday = window(&[Fri], "00:00", "00:00", "Africa/Cairo");
    open(
        &friday,
        &[("2026-04-23T21:59:59Z", false), ("2026-04-23T22:00:00Z", true), ("2026-04-24T20:59:59Z", true), ("2026-04-24T21:00:00Z", false)],
    );
    // In Apia there was no 30th of December 2011.
    let skipped = window(&[Fri], "00:00", "00:00", "Pacific/Apia");
    assert_eq!(next_opening(&[skipped], at("2011-12-29T12:00:00Z")), Some(at("2012-01-05T10:00:00Z")));
}

#[test]
fn a_time_that_the_clock_shows_twice_is_in_its_window_twice() {
    // In Oslo it was 02:00 after 02:59 on 2026-10-25, at 01:00 UTC.
    let inside = ending(window(&[], "02:15", "02:45", "Europe/Oslo"));
    open(
        &inside,
        &[
            ("2026-10-25T00:14:59Z", false),
            ("2026-10-25T00:15:00Z", true),
            ("2026-10-25T00:45:00Z", false),
            ("2026-10-25T01:00:00Z", false),
            ("2026-10-25T01:15:00Z", true),
            ("2026-10-25T01:44:59Z", true),
            ("2026-10-25T01:45:00Z", false),
        ],
    );
    assert_eq!(ends_at(std::slice::from_ref(&inside), at("2026-10-25T00:20:00Z"), at("2026-10-25T09:00:00Z")), at("2026-10-25T00:45:00Z"));
    assert_eq!(next_opening(&[inside], at("2026-10-25T00:50:00Z")), Some(at("2026-10-25T01:15:00Z")));
    // Closed at the first 02:30, open again from the second 02:00.
    let until = ending(window(&[Sun], "01:00", "02:30", "Europe/Oslo"));
    assert_eq!(ends_at(std::slice::from_ref(&until), at("2026-10-25T00:00:00Z"), at("2026-10-25T09:00:00Z")), at("2026-10-25T00:30:00Z"));
    assert_eq!(next_opening(&[until], at("2026-10-25T00:40:00Z")), Some(at("2026-10-25T01:00:00Z")));
    // In Beirut it is 23:00 of the same Saturday again at the end of the day.
    let evening = ending(window(&[Sat], "22:00", "00:00", "Asia/Beirut"));
    assert_eq!(ends_at(&[evening], at("2026-10-24T19:00:00Z"), at("2026-10-25T09:00:00Z")), at("2026-10-24T22:00:00Z"));
    // On Lord Howe the change is half an hour.
    let island = ending(window(&[], "01:00", "02:00", "Australia/Lord_Howe"));
    assert_eq!(ends_at(&[island], at("2026-04-04T14:00:00Z"), at("2026-04-04T20:00:00Z")), at("2026-04-04T15:30:00Z"));
}

#[test]
fn a_grant_ends_with_its_hours() {
    let day = |from, to| window(&[], from, to, "UTC");
    let (start, late) = ("2026-11-02T11:00:00Z", "2026-11-02T23:00:00Z");
    for (windows, start, end, expected) in [
        (vec![], start, late, late),
        (vec![day("08:00", "12:00")], start, late, late),
        (vec![ending(day("08:00", "12:00"))], start, late, "2026-11-02T12:00:00Z"),
        (vec![ending(day("08:00", "12:00"))], start, "2026-11-02T11:30:00.5Z", "2026-11-02T11:30:00.5Z"),
        (vec![ending(day("08:00", "12:00"))], start, "2026-11-02T12:00:00Z", "2026-11-02T12:00:00Z"),
        // Adjoining or overlapping windows count as one.
        (
            vec![ending(day("12:00", "14:00")), ending(day("08:00", "12:00")), ending(day("13:59", "15:30"))],
            start,
            late,
            "2026-11-02T15:30:00Z",
        ),
        (vec![ending(day("08:00", "12:00")), ending(day("12:01", "14:00"))], start, late, "2026-11-02T12:00:00Z"),
        // Noon in Oslo is 11:00 in UTC, where the other window continues.
        (vec![ending(window(&[], "10:00", "12:30", "Europe/Oslo")), ending(day("11:30", "13:00"))], start, late, "2026-11-02T13:00:00Z"),
        // One window never removes what another one allows. A window that opens later allows nothing now.
        (vec![ending(day("08:00", "12:00")), day("10:00", "11:30")], start, late, late),
        (vec![ending(day("08:00", "12:00")), day("12:00", "18:00")], start, late, "2026-11-02T12:00:00Z"),
        // The whole week has no end.
        (vec![ending(day("00:00", "00:00"))], start, "2027-11-02T11:00:00Z", "2027-11-02T11:00:00Z"),
        (vec![ending(window(WEEK, "00:00", "00:00", "UTC"))], start, "2027-11-02T11:00:00Z", "2026-11-07T00:00:00Z"),
        // A start outside the windows leaves nothing.
        (vec![ending(day("12:00", "14:00"))], start, late, start),
        (vec![day("12:00", "14:00")], start, late, start),
        (vec![window(&[], "08:00", "12:00", "Mars/Base")], start, late, start),
    ] {
        assert_eq!(ends_at(&windows, at(start), at(end)), at(expected), "{}", describe(&windows));
    }
}

#[test]
fn a_window_that_cannot_be_used_is_refused_and_never_open() {
    let checked = |from: &str, to: &str, zone: &str| {
        let windows = [window(&[], "08:00", "18:00", "UTC"), window(&[], from, to, zone)];
        let answer = check(&windows).map_err(|refusal| refusal.to_string());
        assert!(answer.is_ok() || !(0..24).any(|hour| is_open(&windows[1..], at(&format!("2026-11-02T{hour:02}:00:00Z")))));
        answer
    };
    let is = |why: &str| Err(format!("InvalidField: spec.windows[1]{why}"));
    let day = |zone: &str| checked("08:00", "18:00", zone);
    for zone in ["Europe/Oslo", "europe/oslo", "UTC", "Etc/UTC", "CET", "America/Argentina/Buenos_Aires", "Asia/Kolkata"] {
        assert_eq!(day(zone), Ok(()), "{zone}");
    }
    let zone = |name: &str, offer: &str| {
        is(&format!(".timeZone '{name}' is not a time zone of the IANA database{offer}; use one such as Europe/Oslo, or UTC"))
    };
    for (name, offer) in [
        ("Oslo", " (did you mean Europe/Oslo?)"),
        ("Europe/Olso", " (did you mean Europe/Oslo?)"),
        ("Europ/Oslo", " (did you mean Europe/Oslo?)"),
        ("new york", " (did you mean America/New_York?)"),
        ("Europe/Oslo ", " (did you mean Europe/Oslo?)"),
        ("Mars/Base", ""),
        ("+01:00", ""),
        ("", ""),
        ("Etc/Unknown", ""),
        ("../../etc/passwd", ""),
    ] {
        assert_eq!(day(name), zone(name, offer));
    }
    for text in ["8:00", "24:00", "08:60", "0800", "08:0", "+8:00", "08:00:00", "", "٠٨:٠٠"] {
        let why = format!("'{text}' is not a valid time of day; use the form 08:00, from 00:00 to 23:59");
        assert_eq!(checked(text, "18:00", "UTC"), is(&format!(".from {why}")));
        assert_eq!(checked("08:00", text, "UTC"), is(&format!(".to {why}")));
    }
    assert_eq!(checked("08:00", "08:00", "UTC"), is(" starts and ends at 08:00; set another end, or 00:00 in both for the whole day"));
    assert_eq!(checked("00:00", "00:00", "UTC"), Ok(()));
}

#[test]
fn every_zone_of_the_database_is_in_the_binary() {
    let zones: Vec<String> = TimeZoneDatabase::bundled().available().map(|zone| zone.to_string()).collect();
    assert!(zones.len() > 500, "{}", zones.len());
    for zone in &zones {
        assert_eq!(check(&[window(&[], "08:00", "18:00", zone)]), Ok(()), "{zone}");
    }
}

#[test]
fn a_refusal_says_which_hours_and_when_they_begin() {
    let policy = |windows| Object {
        name: "two-eyes".to_owned(),
        uid: "uid".to_owned(),
        created: at("2026-11-02T10:00:00Z"),
        deleting: false,
        generation: 1,
        checked: None,
        owed: None,
        spec: ApprovalPolicySpec { windows, ..ApprovalPolicySpec::default() },
    };
    let said = |windows| start(&policy(windows), at("2026-11-06T20:00:00Z")).map_err(|refusal| refusal.to_string());
    assert_eq!(said(vec![]), Ok(()));
    assert_eq!(said(vec![window(&[Fri], "18:00", "06:00", "UTC")]), Ok(()));
    assert_eq!(
        said(vec![window(WEEK, "08:00", "18:00", "Europe/Oslo"), window(&[Sat], "00:00", "00:00", "America/New_York")]).unwrap_err(),
        "OutsideWindow: a start at 2026-11-06T20:00:00Z is outside the windows of policy 'two-eyes' (spec.windows), Mon, Tue, Wed, Thu, \
         Fri 08:00 to 18:00 Europe/Oslo; Sat America/New_York; the next one starts at 2026-11-07T05:00:00Z: request then, or request now \
         with that time in spec.startTime"
    );
    let never = said(vec![window(&[], "08:00", "18:00", "Mars/Base"); 6]).unwrap_err();
    assert!(never.ends_with("Mars/Base; 2 more; none of them is valid; an admin must correct the policy"), "{never}");
}

// === A plain model ===

/// The minutes of a week that a window contains, from Monday on, and its zone. The local time selects the minute.
struct Model {
    zone: TimeZone,
    minutes: Vec<bool>,
    ends_grant: bool,
}

const MINUTES: usize = 7 * 24 * 60;

impl Model {
    fn of(window: &Window) -> Self {
        let minute = |text: &str| text[..2].parse::<usize>().unwrap() * 60 + text[3..].parse::<usize>().unwrap();
        let (from, to) = (minute(&window.from), minute(&window.to));
        let to = if to <= from { to + 24 * 60 } else { to };
        let mut minutes = vec![false; MINUTES];
        for (number, day) in [Mon, Tue, Wed, Thu, Fri, Sat, Sun].into_iter().enumerate() {
            if window.days.is_empty() || window.days.contains(&day) {
                (from..to).for_each(|minute| minutes[(number * 24 * 60 + minute) % MINUTES] = true);
            }
        }
        Self { zone: TimeZone::get(window.time_zone.as_str()).unwrap(), minutes, ends_grant: window.ends_grant }
    }

    fn is_open(&self, at: Timestamp) -> bool {
        let shown = self.zone.to_datetime(at);
        let day = usize::try_from(shown.weekday().to_monday_zero_offset()).unwrap();
        self.minutes[(day * 24 + usize::try_from(shown.hour()).unwrap()) * 60 + usize::try_from(shown.minute()).unwrap()]
    }
}

fn minutes_after(at: Timestamp) -> impl Iterator<Item = Timestamp> {
    let first = Timestamp::from_second(at.as_second().div_euclid(60) * 60).unwrap();
    (1..).map(move |minutes| first + SignedDuration::from_mins(minutes))
}

fn model_ends_at(models: &[Model], start: Timestamp, end: Timestamp) -> Timestamp {
    let open: Vec<&Model> = models.iter().filter(|model| model.is_open(start)).collect();
    if open.is_empty() {
        return start;
    }
    if open.iter().any(|model| !model.ends_grant) {
        return end;
    }
    let closed = |at: &Timestamp| !models.iter().any(|model| model.ends_grant && model.is_open(*at));
    minutes_after(start).take_while(|at| *at < end).find(closed).unwrap_or(end)
}

/// Zones, each with an instant of a clock change: forward or back, by an hour, half an hour or a day, at and over midnight.
const CHANGES: &[(&str, &str)] = &[
    ("Europe/Oslo", "2026-03-29T01:00:00Z"),
    ("Europe/Oslo", "2026-10-25T01:00:00Z"),
    ("America/New_York", "2026-11-01T06:00:00Z"),
    ("Australia/Lord_Howe", "2026-04-04T15:00:00Z"),
    ("Australia/Lord_Howe", "2026-10-03T15:30:00Z"),
    ("Africa/Cairo", "2026-04-23T22:00:00Z"),
    ("Asia/Beirut", "2026-10-24T21:00:00Z"),
    ("America/Havana", "2026-03-08T05:00:00Z"),
    ("America/Havana", "2026-11-01T05:00:00Z"),
    ("Pacific/Apia", "2011-12-30T10:00:00Z"),
    ("Asia/Kathmandu", "2026-06-01T00:00:00Z"),
    ("UTC", "2026-06-01T00:00:00Z"),
];

fn some_time() -> impl Strategy<Value = String> {
    let hour = prop_oneof![3 => 0..4_u32, 1 => 22..24_u32, 1 => 0..24_u32];
    (hour, prop_oneof![Just(0), Just(30), 0..60_u32]).prop_map(|(hour, minute)| format!("{hour:02}:{minute:02}"))
}

fn some_window(zone: &'static str) -> impl Strategy<Value = Window> {
    let days = prop_oneof![Just(vec![]), proptest::collection::vec(proptest::sample::select(&[Mon, Thu, Fri, Sat, Sun][..]), 1..4)];
    let zone = prop_oneof![4 => Just(zone), 1 => Just("America/New_York")];
    (days, some_time(), some_time(), zone, any::<bool>()).prop_map(|(days, from, to, zone, ends_grant)| {
        let from = if from == to { "00:00".to_owned() } else { from };
        let to = if from == "00:00" && to != "00:30" { "00:00".to_owned() } else { to };
        Window { ends_grant, ..window(&days, &from, &to, zone) }
    })
}

/// Windows, and an instant within a day and a half of a clock change.
fn some_windows() -> impl Strategy<Value = (Vec<Window>, Timestamp)> {
    (proptest::sample::select(CHANGES), -129_600_000..129_600_000_i64).prop_flat_map(|((zone, change), off)| {
        (proptest::collection::vec(some_window(zone), 1..4), Just(at(change) + SignedDuration::from_millis(off)))
    })
}

proptest! {
    #[test]
    fn windows_are_what_walking_minute_by_minute_finds((windows, now) in some_windows(), minutes in 0..3000_i64) {
        prop_assert_eq!(check(&windows), Ok(()));
        let models: Vec<Model> = windows.iter().map(Model::of).collect();
        let open = |at: Timestamp| models.iter().any(|model| model.is_open(at));
        prop_assert_eq!(is_open(&windows, now), open(now));

        let end = now + SignedDuration::from_mins(minutes) + SignedDuration::from_millis(250);
        prop_assert_eq!(ends_at(&windows, now, end), model_ends_at(&models, now, end));

        let expected = if open(now) { Some(now) } else { minutes_after(now).take(17 * 24 * 60).find(|at| open(*at)) };
        prop_assert!(expected.is_some(), "some day comes");
        prop_assert_eq!(next_opening(&windows, now), expected);
    }

    #[test]
    fn no_window_and_no_instant_make_it_panic(
        from in any::<String>(), to in "[0-9:]{0,6}", zone in "[A-Za-z/_+-]{0,20}", real in proptest::sample::select(CHANGES),
        start in proptest::num::i64::ANY, length in proptest::num::i64::ANY, edge in any::<bool>(),
    ) {
        let instant = |seconds: i64| Timestamp::new(seconds, 500_000_000).unwrap_or(if edge { Timestamp::MAX } else { Timestamp::MIN });
        let windows = [
            Window { from: from.clone(), ..window(&[], "", &to, &zone) },
            ending(window(&[Sun], "02:15", "01:00", real.0)),
            ending(window(&[], "01:00", "02:15", "Australia/Lord_Howe")),
        ];
        let _ = check(&windows[..1]);
        for at in [instant(start), instant(start % 300_000_000_000), instant(start % 8_000_000_000_000)] {
            let end = ends_at(&windows, at, instant(at.as_second().saturating_add(length % 100_000_000)).max(at));
            prop_assert!(end >= at);
            prop_assert!(next_opening(&windows, at).is_none_or(|next| next >= at));
            let _ = is_open(&windows, at);
        }
    }
}
