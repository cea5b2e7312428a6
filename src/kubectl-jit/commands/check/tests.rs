use std::collections::BTreeMap;

use super::*;
use domain::guards::ledger::{Kind, Known, Pair, Proven, Stored};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn record(first: bool, exists: &[Stored]) -> String {
    let mut ledger = if first { Ledger::first() } else { Ledger::lost() };
    let proven = Proven { guards: BTreeMap::new(), at: at("2030-01-01T00:00:00Z"), versions: BTreeMap::new() };
    ledger.begin(proven, exists, &Known::new()).unwrap();
    ledger.write()
}

#[test]
fn f27_guards_that_are_not_proven_are_broken_and_say_what_is_missing() {
    let now = at("2030-01-01T00:00:20Z");
    let proven = record(true, &[]);
    let well = guards(Some(&proven), now, None, &[]);
    assert_eq!((well.health, well.message.as_str()), (Health::Ok, "verified for 19s"));
    let not_proven = Ledger::lost().write();
    let why = || Some((Reason::GuardsNotVerified, "ValidatingAdmissionPolicyBinding x is missing".to_owned()));
    let changed = ["ValidatingWebhookConfiguration y .webhooks[0].z is set and should not be".to_owned()];
    for (finding, says) in [
        (guards(None, now, None, &[]), "cannot be read"),
        (guards(Some("{}"), now, None, &[]), "cannot be read"),
        (guards(Some(&not_proven), now, None, &[]), "kubectl jit explain GuardsNotVerified"),
        (guards(Some(&not_proven), now, why(), &[]), "ValidatingAdmissionPolicyBinding x is missing"),
        (guards(Some(&not_proven), now, None, &changed), ".webhooks[0].z is set and should not be"),
        (guards(Some(&proven), now, None, &changed), "ValidatingWebhookConfiguration y"),
        (guards(Some(&proven), now + SignedDuration::from_mins(5), None, &[]), "were last verified 5m"),
        (guards(Some(&proven), now, Some((Reason::ClockSkewed, "the clocks differ".to_owned())), &[]), "the clocks differ"),
    ] {
        assert!(finding.health == Health::Broken && finding.message.contains(says), "'{says}' is not in: {}", finding.message);
        assert!(finding.message.starts_with("new grants are on hold: "), "{}", finding.message);
    }
    // An old complaint is no complaint.
    assert_eq!(guards(Some(&proven), now, why(), &[]).health, Health::Ok);
    let late =
        Stored { kind: Kind::RoleEligibility, name: "payments".to_owned(), pair: Pair { uid: "u".to_owned(), generation: 1 }, version: 7 };
    let unused = guards(Some(&record(false, &[late])), now, None, &[]);
    assert!(unused.health == Health::Broken && unused.message.contains("RoleEligibility 'payments'"), "{}", unused.message);
}

#[test]
fn f27_a_lease_is_valid_for_as_long_as_it_says() {
    let lease = |seconds: Option<i32>| LeaseSpec {
        holder_identity: Some("controller-1".to_owned()),
        renew_time: serde_json::from_value(json!("2030-01-01T00:00:00.000000Z")).unwrap(),
        lease_duration_seconds: seconds,
        ..LeaseSpec::default()
    };
    let health = |seconds, now: &str| leader(&lease(seconds), at(now)).health;
    assert_eq!(health(Some(6), "2030-01-01T00:00:06Z"), Health::Ok);
    assert_eq!(health(Some(6), "2030-01-01T00:00:07Z"), Health::Broken);
    assert_eq!(health(None, "2030-01-01T00:00:14Z"), Health::Ok);
    let nobody = LeaseSpec { holder_identity: None, ..lease(Some(6)) };
    assert_eq!(leader(&nobody, at("2030-01-01T00:00:01Z")).health, Health::Broken);
}
