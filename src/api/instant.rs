//! Instants as text: RFC 3339, as users, annotations and the fields of objects have it.
//!
//! The parser of jiff is not used for these texts. It accepts more than RFC 3339, and it refuses the last day of the year 9999, which stands
//! for a time without an end.

use std::borrow::Cow;

use jiff::{
    SignedDuration, Timestamp,
    civil::{DateTime, date},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// Date and time without a fraction and an offset. `0` is any digit.
const LOCAL: &str = "0000-00-00T00:00:00";
/// An offset without its sign.
const OFFSET: &str = "00:00";

/// Formats an instant for messages and annotations: in UTC and whole seconds.
#[must_use]
pub fn stamp(at: Timestamp) -> String {
    format!("{at:.0}")
}

/// Returns the start of the second that an instant is in.
#[must_use]
pub fn whole_seconds(at: Timestamp) -> Timestamp {
    let part = SignedDuration::from_nanos(i64::from(at.subsec_nanosecond()).rem_euclid(1_000_000_000));
    at.checked_sub(part).unwrap_or(at)
}

/// Returns the instant this many seconds after 1970 began, or the first or last one that can be represented.
#[must_use]
pub fn at_second(second: i64) -> Timestamp {
    after_epoch(SignedDuration::from_secs(second))
}

fn after_epoch(length: SignedDuration) -> Timestamp {
    Timestamp::from_duration(length).unwrap_or(if length.is_negative() { Timestamp::MIN } else { Timestamp::MAX })
}

/// Parses RFC 3339, with a space too instead of the `T`. Digits after nanoseconds do not count, and a leap second counts as the second before.
#[must_use]
pub fn parse(text: &str) -> Option<Timestamp> {
    let (local, rest) = text.split_at_checked(LOCAL.len())?;
    let (fraction, zone) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(rest.find(|letter: char| !letter.is_ascii_digit()).filter(|digits| *digits > 0)?),
        None => ("", rest),
    };
    if !has_form(local, LOCAL) {
        return None;
    }
    let local: DateTime = local.parse().ok()?;
    let nanoseconds = format!("{fraction:0<9.9}").parse().ok()?;
    let length = local.duration_since(date(1970, 1, 1).at(0, 0, 0, 0)) + SignedDuration::from_nanos(nanoseconds) - offset(zone)?;
    Some(after_epoch(length))
}

fn offset(zone: &str) -> Option<SignedDuration> {
    let (sign, time) = match zone.split_at_checked(1)? {
        ("Z" | "z", "") => return Some(SignedDuration::ZERO),
        ("+", time) => (1, time),
        ("-", time) => (-1, time),
        _ => return None,
    };
    let (hours, minutes) = time.split_once(':').filter(|_| has_form(time, OFFSET))?;
    let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours < 24 && minutes < 60).then(|| SignedDuration::from_mins(sign * (hours * 60 + minutes)))
}

fn has_form(text: &str, form: &str) -> bool {
    let fits = |(letter, form): (u8, u8)| match form {
        b'0' => letter.is_ascii_digit(),
        b'T' => matches!(letter, b'T' | b't' | b' '),
        _ => letter == form,
    };
    text.len() == form.len() && text.bytes().zip(form.bytes()).all(fits)
}

/// Serializes an instant of a `spec`, for serde. The digest hashes this text: the fraction has 0, 3, 6 or 9 digits.
pub fn serialize<S: Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    let text = at.map(|at| {
        let digits = match at.subsec_nanosecond() {
            0 => 0,
            part if part % 1_000_000 == 0 => 3,
            part if part % 1_000 == 0 => 6,
            _ => 9,
        };
        format!("{at:.digits$}")
    });
    text.serialize(serializer)
}

/// Deserializes an instant of an object or of another program's output, for serde.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<Cow<'_, str>>::deserialize(deserializer)?;
    text.map(|text| parse(&text).ok_or_else(|| D::Error::custom("expected a time such as 2026-12-01T08:00:00Z"))).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_3339_is_parsed() {
        for (text, shown) in [
            ("2026-12-01T08:00:00Z", "2026-12-01T08:00:00Z"),
            ("2026-12-01t08:00:00z", "2026-12-01T08:00:00Z"),
            ("2026-12-01 08:00:00Z", "2026-12-01T08:00:00Z"),
            ("2026-12-01T08:00:00+01:30", "2026-12-01T06:30:00Z"),
            ("2026-12-01T08:00:00-23:59", "2026-12-02T07:59:00Z"),
            ("2026-12-01T08:00:00-00:00", "2026-12-01T08:00:00Z"),
            ("2026-12-01T08:00:00.5Z", "2026-12-01T08:00:00.5Z"),
            ("2026-12-01T08:00:00.123456789Z", "2026-12-01T08:00:00.123456789Z"),
            ("2026-12-01T08:00:00.1234567899999Z", "2026-12-01T08:00:00.123456789Z"),
            ("1969-12-31T23:59:59.75Z", "1969-12-31T23:59:59.75Z"),
            ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59Z"),
            ("2016-12-31T23:59:60.5Z", "2016-12-31T23:59:59.5Z"),
            ("0000-01-01T00:00:00Z", "0000-01-01T00:00:00Z"),
            ("9999-12-30T22:00:00Z", "9999-12-30T22:00:00Z"),
            ("9999-12-31T23:59:59Z", "9999-12-30T22:00:00.999999999Z"),
            ("9999-12-31T23:59:59-23:59", "9999-12-30T22:00:00.999999999Z"),
        ] {
            assert_eq!(parse(text).map(|at| at.to_string()).as_deref(), Some(shown), "{text}");
        }
    }

    #[test]
    fn nothing_else_is_parsed() {
        for text in [
            "",
            "2026-12-01",
            "2026-12-01T08:00Z",
            "2026-12-01T08:00:00",
            "2026-12-01T08:00:00.Z",
            "2026-12-01T08:00:00,5Z",
            "2026-12-01T08:00:00.5",
            "2026-12-01T080000Z",
            "20261201T080000Z",
            "2026-12-01T08:00:00+01",
            "2026-12-01T08:00:00+0130",
            "2026-12-01T08:00:00+24:00",
            "2026-12-01T08:00:00+23:60",
            "2026-12-01T08:00:00+01:30:00",
            "2026-12-01T08:00:00\u{2212}01:30",
            "2026-12-01T08:00:00Z[UTC]",
            "2026-12-01T08:00:00+01:00[Europe/Oslo]",
            "2026-12-01T08:00:00Z[u-ca=iso8601]",
            "2026-12-01T08:00:00Z ",
            " 2026-12-01T08:00:00Z",
            "2026-12-01T08:00:00 Z",
            "2026-12-01_08:00:00Z",
            "2026-12-01T24:00:00Z",
            "2026-12-01T08:60:00Z",
            "2026-12-01T08:00:61Z",
            "2026-13-01T08:00:00Z",
            "2026-02-29T08:00:00Z",
            "+002026-12-01T08:00:00Z",
            "-000001-12-01T08:00:00Z",
            "12026-12-01T08:00:00Z",
            "\u{660}026-12-01T08:00:00Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn seconds_are_whole_before_and_after_1970() {
        for (text, shown) in [
            ("2026-12-01T08:00:00Z", "2026-12-01T08:00:00Z"),
            ("2026-12-01T08:00:00.999999999Z", "2026-12-01T08:00:00Z"),
            ("1969-12-31T23:59:59.000000001Z", "1969-12-31T23:59:59Z"),
        ] {
            let at = parse(text).unwrap();
            assert_eq!((whole_seconds(at).to_string().as_str(), stamp(at).as_str()), (shown, shown), "{text}");
        }
        assert_eq!(whole_seconds(Timestamp::MIN), Timestamp::MIN);
        assert_eq!(stamp(whole_seconds(Timestamp::MAX)), "9999-12-30T22:00:00Z");
        assert_eq!((at_second(-1).as_second(), at_second(i64::MIN), at_second(i64::MAX)), (-1, Timestamp::MIN, Timestamp::MAX));
    }

    #[test]
    fn a_fraction_has_three_six_or_nine_digits() {
        #[derive(Serialize, Deserialize)]
        struct Spec {
            #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "serialize", deserialize_with = "deserialize")]
            at: Option<Timestamp>,
        }
        for (text, shown) in [
            ("08:00:00Z", "08:00:00Z"),
            ("08:00:00.000Z", "08:00:00Z"),
            ("08:00:00.5Z", "08:00:00.500Z"),
            ("08:00:00.0625Z", "08:00:00.062500Z"),
            ("08:00:00.0000001Z", "08:00:00.000000100Z"),
        ] {
            for day in ["2026-12-01", "1969-12-01"] {
                let spec: Spec = serde_json::from_str(&format!(r#"{{"at":"{day}T{text}"}}"#)).unwrap();
                assert_eq!(serde_json::to_string(&spec).unwrap(), format!(r#"{{"at":"{day}T{shown}"}}"#), "{text}");
            }
        }
        for none in ["{}", r#"{"at":null}"#] {
            let spec: Spec = serde_json::from_str(none).unwrap();
            assert_eq!(serde_json::to_string(&spec).unwrap(), "{}");
        }
        for other in [r#"{"at":"2026-12-01"}"#, r#"{"at":1}"#] {
            assert!(serde_json::from_str::<Spec>(other).is_err(), "{other}");
        }
    }

    #[test]
    fn the_instants_of_a_spec_use_this_format() {
        for field in ["startTime", "endTime"] {
            let mut json = serde_json::json!({
                "subjects": [], "roleRef": {"kind": "Role", "name": "edit"}, "namespaces": {}, "policyRef": {"name": "p"}, "maxDuration": "1h",
            });
            json[field] = "2026-12-01T08:00:00.5Z".into();
            let spec: crate::RoleEligibilitySpec = serde_json::from_value(json.clone()).unwrap();
            assert_eq!(serde_json::to_value(spec).unwrap()[field], "2026-12-01T08:00:00.500Z");
            json[field] = "2026-12-01T08:00:00,5Z".into();
            assert!(serde_json::from_value::<crate::RoleEligibilitySpec>(json).is_err());
        }
        let request = |start: &str| serde_json::json!({"eligibilityRef": {"name": "e"}, "startTime": start});
        let spec: crate::RoleActivationRequestSpec = serde_json::from_value(request("2026-12-01T08:00:00.5Z")).unwrap();
        assert_eq!(serde_json::to_value(spec).unwrap()["startTime"], "2026-12-01T08:00:00.500Z");
        assert!(serde_json::from_value::<crate::RoleActivationRequestSpec>(request("2026-12-01T08:00:00Z[UTC]")).is_err());
    }
}
