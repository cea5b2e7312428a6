//! Formatting of instants.

use chrono::{DateTime, Utc};

/// Formats an instant for messages and annotations: RFC 3339 in UTC, in whole seconds.
#[must_use]
pub fn stamp(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}
