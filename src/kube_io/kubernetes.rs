//! Version and time of an API server, from its answers.

use http::{HeaderMap, header::DATE};
use jiff::{Timestamp, fmt::rfc2822::DateTimeParser};
use k8s_openapi::apimachinery::pkg::version::Info;

/// The oldest minor version of Kubernetes 1 that `make test-matrix` runs the end-to-end tests on; `docs/testing.md` has the results. An
/// older API server rejects the admission policies, which use CEL's comprehensions of two variables.
pub const OLDEST: u32 = 33;
/// The newest such minor version. Documentation, charts and `make test-matrix` name the same; `tests/docs` verifies that.
pub const NEWEST: u32 = 37;

/// Returns a warning about the API server's version; `None` within the tested range.
#[must_use]
pub fn doubt(version: &Info) -> Option<&'static str> {
    let older = Some("it is older: it may refuse the admission policies, which need a newer version of CEL");
    match (number(&version.major), number(&version.minor)) {
        (Some(1), Some(OLDEST..=NEWEST)) => None,
        (Some(0), Some(_)) => older,
        (Some(1), Some(minor)) if minor < OLDEST => older,
        (Some(_), Some(_)) => Some("it is newer and has not been tested"),
        _ => Some("it does not report its version"),
    }
}

/// Returns the time of an answer by the clock of the API server; `None` where the answer has no date.
#[must_use]
pub fn time_of_answer(headers: &HeaderMap) -> Option<Timestamp> {
    DateTimeParser::new().parse_timestamp(headers.get(DATE)?.as_bytes()).ok()
}

/// Returns the number at the start of a text: some vendors report a minor version as `33+`.
fn number(text: &str) -> Option<u32> {
    text.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn t35_the_time_of_an_answer_is_read() {
        let mut headers = HeaderMap::new();
        assert_eq!(time_of_answer(&headers), None);
        headers.insert(DATE, HeaderValue::from_static("Thu, 26 Nov 2026 01:52:53 GMT"));
        assert_eq!(time_of_answer(&headers), Some("2026-11-26T01:52:53Z".parse().unwrap()));
        headers.insert(DATE, HeaderValue::from_static("yesterday"));
        assert_eq!(time_of_answer(&headers), None);
    }

    #[test]
    fn only_what_is_not_tried_is_doubted() {
        let doubt = |major: &str, minor: &str| doubt(&Info { major: major.to_owned(), minor: minor.to_owned(), ..Info::default() });
        for minor in ["33", "36", "37", "33+", "37+"] {
            assert_eq!(doubt("1", minor), None, "{minor}");
        }
        for (major, minor, says) in [
            ("1", "32", "it is older"),
            ("1", "9+", "it is older"),
            ("0", "99", "it is older"),
            ("1", "38", "it is newer"),
            ("2", "0", "it is newer"),
            ("", "", "it does not report"),
            ("1", "", "it does not report"),
            ("1", "+", "it does not report"),
        ] {
            assert!(doubt(major, minor).is_some_and(|doubt| doubt.starts_with(says)), "{major}.{minor}");
        }
    }
}
