//! The digest of the access that would be granted (T2, T3, T16, T17, T37). The input is a scenario.

use std::sync::Arc;

use domain::{Lookup, Record, Snapshot, canonical::hex, digest::Digest, role::Rules};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use test_cases::TestCase;

use crate::{
    mutate::{Dice, pointers},
    text,
};

/// The prefix of the hashed text: a change of the digest's content must change it.
const VERSION: &str = "jitrbac.dev/digest/v1\n";

/// The number of parts of each spec that are changed.
const PLACES: usize = 2;

/// The changes that alter the access that would be granted.
type Change = fn(&mut Snapshot);

/// Verifies that the digest covers everything that would be granted, in one form, and nothing else.
pub fn check(data: &[u8]) {
    let seed = data.iter().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    covers(&TestCase::read(&text(data)), seed);
}

/// Verifies it for a test case; the seed selects the fields that are changed.
pub fn covers(case: &TestCase, seed: u64) {
    let Some(digest) = case.digest_if_known() else { return };
    assert_eq!(digest.as_str(), by_hand(&case.snapshot), "the hashed form is stable");
    shown(&digest);
    let same = |what: &str, change: &dyn Fn(&mut TestCase)| {
        assert_eq!(case.clone().change(change).digest_if_known().as_ref(), Some(&digest), "{what}");
    };
    same("rules in another order, and twice", &|c| {
        change(&mut c.snapshot.role, |role| {
            let rules = role.rules.rules().iter().rev().chain(role.rules.rules()).cloned();
            role.rules = Arc::new(Rules::new(rules));
        });
    });
    same("what is not granted", &|c| {
        change(&mut c.snapshot.namespace, |namespace| namespace.labels.clear());
        c.snapshot.request.record = Record::default();
        c.snapshot.request.object.deleting ^= true;
        c.snapshot.decisions.clear();
        c.snapshot.peers.clear();
        c.now += jiff::SignedDuration::from_hours(1);
    });
    let mut dice = Dice::new(seed);
    let Snapshot { request, eligibility, policy, .. } = &case.snapshot;
    any_field(&request.object.spec, &digest, &mut dice, |spec| {
        case.clone().change(|c| c.snapshot.request.object.spec = spec).digest_if_known()
    });
    if let (Some(eligibility), Some(policy)) = (eligibility.found(), policy.found()) {
        any_field(&eligibility.spec, &digest, &mut dice, |spec| {
            case.clone().change(|c| change(&mut c.snapshot.eligibility, |object| Arc::make_mut(object).spec = spec)).digest_if_known()
        });
        any_field(&policy.spec, &digest, &mut dice, |spec| {
            case.clone().change(|c| change(&mut c.snapshot.policy, |object| Arc::make_mut(object).spec = spec)).digest_if_known()
        });
    }
    let others: [Change; 8] = [
        |s| s.request.object.uid.push('0'),
        |s| s.request.namespace.push('0'),
        |s| change(&mut s.namespace, |namespace| namespace.uid.push('0')),
        |s| change(&mut s.eligibility, |object| Arc::make_mut(object).uid.push('0')),
        |s| change(&mut s.policy, |object| Arc::make_mut(object).uid.push('0')),
        |s| change(&mut s.role, |role| role.uid.push('0')),
        |s| change(&mut s.role, |role| role.name.push('0')),
        |s| {
            change(&mut s.role, |role| {
                let mut more = role.rules.rules().first().cloned().unwrap_or_default();
                more.verbs.push("one-more".to_owned());
                role.rules = Arc::new(Rules::new(role.rules.rules().iter().cloned().chain([more])));
            });
        },
    ];
    for (number, other) in others.into_iter().enumerate() {
        assert_ne!(
            case.clone().change(|c| other(&mut c.snapshot)).digest_if_known().as_ref(),
            Some(&digest),
            "change {number} does not change the digest"
        );
    }
}

fn change<T>(lookup: &mut Lookup<T>, change: impl FnOnce(&mut T)) {
    if let Lookup::Found(found) = lookup {
        change(found);
    }
}

/// The digest, computed in another way: `serde_json` sorts the members, nulls are removed before.
fn by_hand(snapshot: &Snapshot) -> String {
    let Snapshot { request, namespace, eligibility, policy, role, .. } = snapshot;
    let (Some(namespace), Some(eligibility), Some(policy), Some(role)) =
        (namespace.found(), eligibility.found(), policy.found(), role.found())
    else {
        return String::new();
    };
    let rules: Vec<Value> = role.rules.rules().iter().map(|rule| serde_json::to_value(rule).unwrap()).collect();
    let granted = json!({
        "request": {"uid": request.object.uid, "spec": request.object.spec},
        "namespace": {"name": request.namespace, "uid": namespace.uid},
        "eligibility": {"uid": eligibility.uid, "spec": eligibility.spec},
        "policy": {"uid": policy.uid, "spec": policy.spec},
        "role": {"kind": role.kind, "name": role.name, "uid": role.uid, "rules": hashed("jitrbac.dev/rules/v1\n", &rules.into())},
    });
    hashed(VERSION, &granted)
}

fn hashed(version: &str, value: &Value) -> String {
    format!("sha256:{}", hex(&Sha256::new().chain_update(version).chain_update(sorted(value).to_string()).finalize()))
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut members: Vec<(&String, &Value)> = map.iter().filter(|(_, inner)| !inner.is_null()).collect();
            members.sort_by_key(|(key, _)| *key);
            members.into_iter().map(|(key, inner)| (key.clone(), sorted(inner))).collect::<Map<_, _>>().into()
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        scalar => scalar.clone(),
    }
}

/// Verifies that an approver's digest identifies it: all 64 digits.
fn shown(digest: &Digest) {
    let hex = digest.as_str().strip_prefix("sha256:").expect("the digest names its hash function");
    assert!(hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)));
    for length in 0..=64 {
        let (begin, _) = hex.split_at(length);
        assert_eq!((digest.is_shown_as(begin), digest.is_shown_as(&format!("sha256:{begin}"))), (length == 64, length == 64));
        assert!(!digest.is_shown_as(&format!("{begin}g")) && !digest.is_shown_as(&format!("{begin}{hex}")) || length == 0);
    }
}

/// Verifies that a spec in the API server's form has the same digest, and any other spec another one. The input selects some other specs;
/// the tables of the product's own tests cover all of them.
fn any_field<T>(spec: &T, digest: &Digest, dice: &mut Dice, with: impl Fn(T) -> Option<Digest>)
where
    T: Serialize + DeserializeOwned + PartialEq,
{
    let value = serde_json::to_value(spec).unwrap();
    let stored: T = serde_json::from_value(value.clone()).expect("the written form can be read");
    assert!(stored == *spec, "the stored form is the same: {value}");
    let places = pointers(&value);
    for _ in 0..PLACES {
        let place = places.get(dice.below(places.len())).cloned().unwrap_or_default();
        for other in others(&value, &place) {
            let Ok(other) = serde_json::from_value::<T>(other) else { continue };
            if other != *spec {
                assert_ne!(with(other).as_ref(), Some(digest), "'{place}' has no effect on the digest of {value}");
            }
        }
    }
}

/// The values that differ from this one at one JSON pointer.
fn others(value: &Value, place: &str) -> Vec<Value> {
    let words = |text: &str| {
        let kinds = ["7h7m", "2030-01-01T00:00:00Z", "Role", "User", "Group", "Wildcard", "Sun", "Report", "Approver", "Exists"];
        [format!("{text}x")].into_iter().chain(kinds.map(ToOwned::to_owned)).map(Value::from).collect()
    };
    let here: Vec<Value> = match value.pointer(place) {
        Some(Value::String(text)) => words(text),
        Some(Value::Bool(yes)) => vec![(!*yes).into()],
        Some(Value::Number(number)) => vec![(number.as_i64().unwrap_or_default() + 1).into()],
        Some(Value::Array(items)) => vec![items.iter().skip(1).cloned().collect(), items.iter().chain(items.first()).cloned().collect()],
        _ => Vec::new(),
    };
    let mut all: Vec<Value> = here
        .into_iter()
        .map(|other| {
            let mut value = value.clone();
            value.pointer_mut(place).into_iter().for_each(|found| *found = other.clone());
            value
        })
        .collect();
    if let Some((parent, key)) = place.rsplit_once('/')
        && value.pointer(parent).is_some_and(Value::is_object)
    {
        let mut without = value.clone();
        without
            .pointer_mut(parent)
            .and_then(Value::as_object_mut)
            .into_iter()
            .for_each(|map| drop(map.remove(&key.replace("~1", "/").replace("~0", "~"))));
        all.push(without);
    }
    all
}
