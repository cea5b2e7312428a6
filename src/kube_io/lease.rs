//! The state of a Lease, as its readers judge it. The election itself counts from what it has observed, not from the times in the Lease.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::LeaseSpec;

/// The validity of a Lease without `leaseDurationSeconds`.
const VALID: SignedDuration = SignedDuration::from_secs(15);

/// The state of a Lease at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseState<'a> {
    /// The holder; none if nobody has it, or if it was not renewed in time.
    pub holder: Option<&'a str>,
    /// The time since the last renewal; the longest duration if there was none.
    pub silent: SignedDuration,
    /// How long it is valid after a renewal.
    pub valid: SignedDuration,
}

impl<'a> LeaseState<'a> {
    /// Returns the state at `now`, a time of the API server's clock.
    #[must_use]
    pub fn at(spec: &'a LeaseSpec, now: Timestamp) -> Self {
        let valid = spec.lease_duration_seconds.map_or(VALID, |seconds| SignedDuration::from_secs(seconds.into()));
        let silent = spec.renew_time.as_ref().map_or(SignedDuration::MAX, |time| now.duration_since(time.0));
        let holder = spec.holder_identity.as_deref().filter(|holder| !holder.is_empty() && silent <= valid);
        Self { holder, silent, valid }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

    use super::*;

    #[test]
    fn a_lease_is_held_as_long_as_it_is_valid() {
        let renewed: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let mut spec = LeaseSpec { holder_identity: Some("one".to_owned()), renew_time: Some(MicroTime(renewed)), ..LeaseSpec::default() };
        assert_eq!(LeaseState::at(&spec, renewed + VALID).holder, Some("one"));
        assert_eq!(LeaseState::at(&spec, renewed + VALID + SignedDuration::from_secs(1)).holder, None);
        spec.lease_duration_seconds = Some(6);
        assert_eq!(LeaseState::at(&spec, renewed + SignedDuration::from_secs(7)).holder, None);
        spec.holder_identity = Some(String::new());
        assert_eq!(LeaseState::at(&spec, renewed).holder, None);
        assert_eq!(LeaseState::at(&LeaseSpec::default(), renewed).silent, SignedDuration::MAX);
    }
}
