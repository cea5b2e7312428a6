//! Which identities are the same person (T4, T5).

use proptest::prelude::*;

use super::*;
use api::Reason;
use domain::person::{account, describe, is_listed};

fn identities(prefixes: &[&str], aliases: &[(&str, &str)]) -> Identities {
    let prefixes: Vec<String> = prefixes.iter().map(ToString::to_string).collect();
    Identities::new(&prefixes, &aliases.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect())
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
    assert_eq!(describe(&listed), "lead-1, system:serviceaccount:ci:bot, group leads");
    assert_eq!(describe(&People::default()), "none");
    assert_eq!(describe(&people(&["a", "b", "c", "d", "e", "f", "g", "h", "group i", "j"])), "a, b, c, d, e, f, g, h and 2 more");
}

#[test]
fn t04_every_letter_has_one_spelling() {
    let plain = Identities::default();
    // The ranges in between are ideographs and syllables.
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
    fn t04_names_of_ascii_letters_are_folded_like_all_others(name in "[ -~]{0,12}") {
        let plain = Identities::default();
        prop_assert_eq!(plain.normalise(&name) + "\u{e9}", plain.normalise(&(name + "\u{c9}")));
    }

    #[test]
    fn t04_t05_people_are_what_any_chain_links(stamps in prop::collection::vec(any_stamp(), 0..10)) {
        let identities = identities(&["oidc:"], &[("x", "y")]);
        let refs: Vec<&Stamp> = stamps.iter().collect();
        let people = identities.people(&refs);
        prop_assert_eq!(people.len(), stamps.len());
        // The stamps that single steps reach from each one.
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
    fn f13_two_stamps_are_one_person_exactly_where_they_share_an_identity(one in any_stamp(), other in any_stamp()) {
        let identities = identities(&["oidc:"], &[("alice-admin", "alice")]);
        let shared = identities.identities_of(&one).iter().any(|identity| identities.identities_of(&other).contains(identity));
        prop_assert_eq!(shared, identities.same(&one, &other));
    }

    #[test]
    fn t10_no_name_is_taken_for_another_kind_of_user(name in "(system:)?(serviceaccount:)?[a-z:]{0,8}") {
        let known = account(&person(&name, &[]));
        prop_assert!(!name.starts_with("system:") || name.starts_with("system:serviceaccount:") || known.is_err());
        prop_assert!(!name.is_empty() || known.is_err());
    }
}

#[test]
fn f78_names_that_look_alike_count_as_one_person() {
    let plain = Identities::default();
    let aliased = identities(&["oidc:"], &[("alice-admin", "alice")]);
    for (identities, one, other, same, alike) in [
        // These characters are invisible.
        (&plain, "alice", "al\u{3164}ice", true, true),
        (&plain, "alice", "alice\u{fe0f}", true, true),
        (&plain, "alice", "\u{ffa0}alice\u{e0100}", true, true),
        (&plain, "alice", "alice\u{2800}", true, true),
        // Other letters with the same look: a different account, and for approval the same person.
        (&plain, "alice", "\u{430}lice", false, true),
        (&plain, "alice", "\u{430}li\u{441}\u{435}", false, true),
        (&plain, "bob", "\u{412}\u{41e}\u{412}", false, true),
        (&plain, "alice@corp.example", "alice@\u{441}orp.example", false, true),
        (&plain, "scope", "\u{455}\u{441}\u{43e}\u{440}\u{435}", false, true),
        (&aliased, "alice", "oidc:\u{430}lice-admin", false, true),
        (&aliased, "alice-admin", "\u{430}lice", false, true),
        // Different letters of one alphabet are two people, and so are names of other scripts.
        (&plain, "user1", "userl", false, false),
        (&plain, "burn", "bum", false, false),
        (&plain, "o0", "oo", false, false),
        (&plain, "\u{438}\u{432}\u{430}\u{43d}", "ivan", false, false),
        (&plain, "åsa", "asa", false, false),
        (&plain, "müller", "muller", false, false),
        (&plain, "alice", "bob", false, false),
    ] {
        let (a, b) = (person(one, &[]), person(other, &[]));
        assert_eq!((identities.same(&a, &b), identities.alike(&a, &b)), (same, alike), "{one} {other}");
        assert_eq!(identities.alike(&b, &a), alike, "{other} {one}");
        let people = identities.people(&[&a, &b]);
        assert_eq!(people[0] == people[1], alike, "{one} {other}");
    }
    // A look-alike connects all names that it resembles.
    let people = plain.people(&[&person("user1", &[]), &person("userl", &[]), &person("us\u{435}rl", &[])]);
    assert_eq!(people.iter().collect::<std::collections::BTreeSet<_>>().len(), 1);
}

#[test]
fn f78_a_look_alike_of_the_requester_neither_approves_nor_reviews_nor_fills_a_quorum() {
    let double = person("d\u{435}v", &["leads"]);
    let case = two_eyes().approves(&double, 5).now(6);
    assert_eq!(case.state(), State::AwaitingApproval, "it does not count");
    let approve = two_eyes().decision(Verb::Approve, &double, 5);
    let refusal = domain::admit_decision::review(&two_eyes().snapshot, &approve, &two_eyes().settings, at(6)).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "SelfApprovalNotAllowed: 'd\u{435}v' looks like 'dev', who created request 'inc-4711', and counts as the same person; another user \
         must approve"
    );
    // Nor can a look-alike end or withdraw the request of another user.
    let given_back = two_eyes().decision(Verb::Deactivate, &double, 5);
    let refusal = domain::admit_decision::review(&two_eyes().snapshot, &given_back, &two_eyes().settings, at(6)).unwrap_err();
    assert_eq!(refusal.reason, Reason::NotTheRequester);
    let two = || two_eyes().policy(|p| p.approval.stages[0].required = Some(2));
    let twice = two().approves(&lead(1), 5).approves(&person("le\u{430}d-1", &["leads"]), 6).now(7);
    assert_eq!(twice.state(), State::AwaitingApproval);
    assert_eq!(two().approves(&lead(1), 5).approves(&lead(2), 6).now(7).state(), State::Active);
}

#[test]
fn f05_aliases_are_linked_once_and_not_at_each_comparison() {
    // A chain of aliases, each of which connects to the next. Resolving it at each comparison would take hours.
    let aliases = (0..3_000).map(|i| (format!("name-{i:04}"), format!("name-{:04}", i + 1))).collect();
    let identities = Identities::new(&["oidc:".to_owned()], &aliases);
    for i in 0..=3_000 {
        assert_eq!(identities.normalise(&format!("OIDC:Name-{i:04}")), "name-0000");
    }
    assert_eq!(identities.normalise("name-3001"), "name-3001");
}

#[test]
fn f71_a_refusal_says_what_may_explain_it() {
    let id = "0b1e6cf5-3a35-4d4e-9a0e-6f0c5a3b2d11";
    for (who, subjects, says) in [
        (
            person("Dev", &[]),
            vec![subject(SubjectKind::User, "dev")],
            "'dev' is listed, which is spelled differently from 'Dev' (names are case-sensitive)",
        ),
        (person("ops", &["Devs"]), vec![subject(SubjectKind::Group, "devs")], "'devs' is listed, which is spelled differently from 'Devs'"),
        (
            person("ops", &[]),
            vec![subject(SubjectKind::Group, "devs"), subject(SubjectKind::Group, "leads")],
            "the sign-in has none of the groups 'devs', 'leads' ('kubectl auth whoami' lists those that it has)",
        ),
        (
            person("ops", &[]),
            vec![subject(SubjectKind::User, id)],
            "'0b1e6cf5-3a35-4d4e-9a0e-6f0c5a3b2d11' is an ID, which the identity provider sends",
        ),
        (
            person(&format!("oidc:{id}"), &[]),
            vec![subject(SubjectKind::User, "dev")],
            "is an ID, which the identity provider sends instead of a name",
        ),
    ] {
        let refusal = case().requester(who.clone()).eligibility(|e| e.subjects = subjects).refusal();
        assert!(refusal.starts_with("NotEligible: ") && refusal.contains(says), "{who:?}: {refusal}");
    }
    let plain = case().requester(person("ops", &[])).eligibility(|e| e.subjects = vec![subject(SubjectKind::User, "dev")]).refusal();
    assert!(plain.contains("neither by name nor by a group; ask an admin"), "{plain}");
    // Approvers, revokers and reviewers alike.
    let said = |verb, who: &Stamp| {
        let case = two_eyes();
        domain::admit_decision::review(&case.snapshot, &case.decision(verb, who, 5), &case.settings, at(6)).unwrap_err().to_string()
    };
    for verb in [Verb::Approve, Verb::Deny, Verb::Revoke] {
        let refusal = said(verb, &person("lead-1", &["Leads"]));
        assert!(refusal.contains("'leads' is listed, which is spelled differently from 'Leads'"), "{refusal}");
        let refusal = said(verb, &person("lead-1", &[]));
        assert!(refusal.contains("the sign-in has none of the groups 'leads'"), "{refusal}");
    }
}
