//! Snapshots as lines of words, so that a file of the corpus is readable and a mutation of it still has a meaning.
//!
//! A line is about one object: `now`, `settings`, `request`, `eligibility`, `policy`, `role`, `namespace`, `says` (a decision), `peer`,
//! `base`, `record`, `binding`, `guards`. The rest of it are `key=value` pairs and flags. By default, `dev` of the group `devs` requests
//! `edit` in `payments` for 45 minutes, and no approval is needed. Unknown words are ignored. Instants are seconds after the request's
//! creation, for example `+60` or `-3600`.

mod admins;
mod people;
mod stored;
mod words;

use api::{
    ActivationDecisionSpec, Line, People,
    instant::{self, whole_seconds},
};
use jiff::{Timestamp, tz::TimeZone};

use crate::{
    TestCase,
    builders::{Shown, at, object},
    case,
};

pub use words::WORDS;

/// Maximum number of anything that can be repeated, so that the check stays fast.
const MOST: usize = 12;

/// Parses `+60`, `-3600`, or an RFC 3339 instant. RFC 3339 ends with the year 9999, which no grant reaches.
fn instant(text: &str) -> Option<Timestamp> {
    let at = text.parse().map(at).ok().or_else(|| instant::parse(text));
    at.filter(|at| (1..9999).contains(&TimeZone::UTC.to_datetime(*at).year()))
}

/// Parses the text of a field; blanks are written as `_`.
fn line<const MAX: usize>(text: &str) -> Option<Line<MAX>> {
    text.replace('_', " ").try_into().ok()
}

fn list<T>(text: &str, one: impl Fn(&str) -> Option<T>) -> Vec<T> {
    text.split(',').filter(|word| !word.is_empty()).take(MOST).filter_map(one).collect()
}

/// Parses `leads,@security`: users by name, groups with an `@`.
fn people(text: &str) -> People {
    let mut people = People::default();
    for word in text.split(',').filter(|word| !word.is_empty()).take(MOST) {
        match word.strip_prefix('@') {
            Some(group) => people.groups.extend(line(group)),
            None => people.users.extend(line(word)),
        }
    }
    people
}

/// Parses a word of the API, such as a verb or a state.
fn word<T: serde::de::DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_value(text.into()).ok()
}

/// Returns the pairs of a line.
fn pairs(line: &str) -> impl Iterator<Item = (&str, &str)> {
    line.split_whitespace().skip(1).map(|word| word.split_once('=').unwrap_or((word, "")))
}

/// A decision before its request is known.
struct Said {
    spec: ActivationDecisionSpec,
    uid: String,
    seconds: Timestamp,
    shown: Shown,
}

impl TestCase {
    /// Returns the test case that a text describes.
    pub fn read(text: &str) -> Self {
        let mut read = case();
        let (mut said, mut binding, mut record) = (Vec::new(), None, None);
        for line in text.lines().take(48) {
            match line.split_whitespace().next() {
                Some("now") => read.now = line.split_whitespace().nth(1).and_then(instant).unwrap_or(read.now),
                Some("settings") => admins::settings(&mut read, line),
                Some("request") => people::request(&mut read, line),
                Some("eligibility") => admins::eligibility(&mut read, line),
                Some("policy") => admins::policy(&mut read, line),
                Some("role") => admins::role(&mut read, line),
                Some("namespace") => admins::namespace(&mut read, line),
                Some("says") if said.len() < MOST => said.push(people::said(line, said.len())),
                Some("peer") if read.snapshot.peers.len() < MOST => people::peer(&mut read, line),
                Some("base") => people::base(&mut read, line),
                Some("guards") => stored::guards(&mut read, line),
                Some("binding") => binding = Some(line),
                Some("record") => record = Some(line),
                _ => {}
            }
        }
        let mut read = said.into_iter().fold(read, hears);
        // The access that was granted before, if any, so that binding and record can equal it or differ from it.
        let granted = read.decide();
        if let Some(line) = binding {
            stored::binding(&mut read, line, &granted);
        }
        if let Some(line) = record {
            stored::record(&mut read, line, &granted);
        }
        read
    }
}

/// Adds a decision.
fn hears(case: TestCase, Said { mut spec, uid, seconds, shown }: Said) -> TestCase {
    spec.digest = shown.digest(case.digest_if_known().as_ref());
    let request = &case.snapshot.request.object;
    if spec.request_ref.name.is_empty() {
        spec.request_ref.name.clone_from(&request.name);
    }
    spec.request_ref.uid.get_or_insert_with(|| request.uid.clone());
    // The API server's times are whole seconds.
    case.said(object("said", &uid, whole_seconds(seconds), spec))
}
