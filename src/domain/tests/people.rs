//! Who is the same person (T4, T5).

use proptest::prelude::*;

use super::*;
use crate::domain::person::{account, in_words, is_listed};

fn identities(prefixes: &[&str], aliases: &[(&str, &str)]) -> Identities {
    Identities {
        prefixes: prefixes.iter().map(ToString::to_string).collect(),
        aliases: aliases.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect(),
    }
}

#[test]
fn t04_spellings_of_one_name() {
    let plain = Identities::default();
    let oidc = identities(&["oidc:", "oidc:corp:"], &[]);
    let admin = identities(&["oidc:"], &[("alice-admin", "alice"), ("a.liddell", "alice-admin")]);
    let crossed = identities(&[], &[("alice", "al"), ("al", "alice")]);
    let twice = identities(&[], &[("Alice", "al"), ("alice", "liddell")]);
    for (identities, one, other, same) in [
        (&plain, "alice@x", "Alice@X", true),
        (&plain, "alice", "\u{ff41}lice", true),
        (&plain, "Åsa", "A\u{30a}SA", true),
        (&plain, "ﬁona", "FIONA", true),
        (&plain, "νικος", "ΝΙΚΟΣ", true),
        (&plain, "νικος", "νικοσ", true),
        (&plain, "weiß", "WEISS", true),
        (&plain, "alice", "oidc:alice", false),
        (&plain, "alice", "аlice", false), // Cyrillic: another letter, another person.
        (&oidc, "alice", "oidc:Alice", true),
        (&oidc, "alice", "OIDC:alice", true),
        (&oidc, "alice", "oidc:corp:alice", true),
        (&oidc, "alice", "oidc:oidc:alice", true),
        (&oidc, "alice", "ldap:alice", false),
        (&oidc, "corp:alice", "alice", false),
        (&admin, "alice", "alice-admin", true),
        (&admin, "alice", "Alice-Admin", true),
        (&admin, "alice", "oidc:alice-admin", true),
        (&admin, "alice", "A.Liddell", true),
        (&admin, "alice", "bob", false),
        (&crossed, "alice", "al", true),
        (&twice, "al", "liddell", true),
    ] {
        let found = identities.normalise(one) == identities.normalise(other);
        assert_eq!(found, same, "{one} {other} {identities:?}");
        assert_eq!(identities.same(&person(one, &[]), &person(other, &[])), same);
    }
    // An alias may be written with or without its prefix.
    for aliases in [[("oidc:alice-admin", "alice")], [("alice-admin", "oidc:alice")], [("oidc:Alice-Admin", "OIDC:ALICE")]] {
        let identities = identities(&["oidc:"], &aliases);
        assert_eq!(identities.normalise("oidc:alice-admin"), identities.normalise("alice"), "{aliases:?}");
    }
    assert_eq!(identities(&[""], &[]).normalise("alice"), "alice", "an empty prefix is none");
}

#[test]
fn the_same_uid_is_the_same_person() {
    let identities = Identities::default();
    for (one, other, same) in [
        (Some("u1"), Some("u1"), true),
        (Some("u1"), Some("u2"), false),
        (None, None, false),
        (Some(""), Some(""), false),
        (Some("u1"), None, false),
    ] {
        let stamp = |name: &str, id: Option<&str>| Stamp { uid: id.map(line), ..person(name, &[]) };
        assert_eq!(identities.same(&stamp("a", one), &stamp("b", other)), same);
        assert!(identities.same(&stamp("a", one), &stamp("a", other)), "the name is the same");
    }
}

#[test]
fn who_is_listed() {
    let listed = people(&["lead-1", "system:serviceaccount:ci:bot", "group leads"]);
    for (who, found) in [
        (person("lead-1", &[]), true),
        (person("Lead-1", &[]), false),
        (person("x", &["leads"]), true),
        (person("x", &["Leads"]), false),
        (person("leads", &[]), false),
        (person("x", &["lead-1"]), false),
        (person("system:serviceaccount:ci:bot", &[]), true),
        (person("system:serviceaccount:ci:other", &["leads"]), false),
        (person("system:admin", &["leads"]), false),
        (person("", &["leads"]), false),
    ] {
        assert_eq!(is_listed(&who, &listed), found, "{who:?}");
    }
    assert!(!is_listed(&person("x", &[]), &People::default()));
    assert_eq!(in_words(&listed), "lead-1, system:serviceaccount:ci:bot, group leads");
    assert_eq!(in_words(&People::default()), "nobody");
    assert_eq!(in_words(&people(&["a", "b", "c", "d", "e", "f", "g", "h", "group i", "j"])), "a, b, c, d, e, f, g, h and 2 more");
}

#[test]
fn t04_every_letter_has_one_spelling() {
    let plain = Identities::default();
    // What lies between is ideographs and syllables.
    for c in (0..=0x33ff).chain(0xa000..=0xabff).chain(0xfb00..=0x1_f2ff).filter_map(char::from_u32).filter(|c| c.is_alphabetic()) {
        let text = c.to_string();
        let name = plain.normalise(&text);
        if name == text && c.to_lowercase().eq([c]) && c.to_uppercase().eq([c]) {
            continue;
        }
        assert_eq!(plain.normalise(&name), name, "U+{:04X}", u32::from(c));
        for other in [c.to_lowercase().collect::<String>(), c.to_uppercase().collect()] {
            assert_eq!(plain.normalise(&other), name, "U+{:04X}", u32::from(c));
        }
    }
}

fn any_stamp() -> impl Strategy<Value = Stamp> {
    let name = prop::sample::select(vec!["a", "A", "b", "oidc:b", "c", "d", "x", "y"]);
    (name, prop::option::of(prop::sample::select(vec!["u1", "u2", "u3", ""])))
        .prop_map(|(name, id)| Stamp { uid: id.map(line), ..person(name, &[]) })
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn t04_normalising_is_stable(name in any::<String>(), near in "[aAßſΣσςﬁ:́oidc]{0,12}") {
        let identities = identities(&["oidc:", "o"], &[("alice", "al"), ("\u{df}", "dd")]);
        for name in [name, near] {
            let once = identities.normalise(&name);
            prop_assert_eq!(identities.normalise(&once), once.clone());
            prop_assert_eq!(identities.normalise(&name.to_uppercase()), once);
        }
    }

    #[test]
    fn t04_t05_people_are_what_any_chain_links(stamps in prop::collection::vec(any_stamp(), 0..10)) {
        let identities = identities(&["oidc:"], &[("x", "y")]);
        let refs: Vec<&Stamp> = stamps.iter().collect();
        let people = identities.people(&refs);
        prop_assert_eq!(people.len(), stamps.len());
        // Reached from each by single steps.
        for start in 0..stamps.len() {
            let mut reached = vec![start];
            let mut next = 0;
            while let Some(from) = reached.get(next).copied() {
                next += 1;
                let more: Vec<usize> = (0..stamps.len()).filter(|to| !reached.contains(to) && identities.same(&stamps[from], &stamps[*to])).collect();
                reached.extend(more);
            }
            for other in 0..stamps.len() {
                prop_assert_eq!(people[start] == people[other], reached.contains(&other));
            }
        }
    }

    #[test]
    fn t10_no_name_is_taken_for_another_kind_of_user(name in "(system:)?(serviceaccount:)?[a-z:]{0,8}") {
        let known = account(&person(&name, &[]));
        prop_assert!(!name.starts_with("system:") || name.starts_with("system:serviceaccount:") || known.is_err());
        prop_assert!(!name.is_empty() || known.is_err());
    }
}
