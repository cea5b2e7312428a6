//! Identities: which of them are the same person, who is eligible, and who is an approver.

use std::collections::{BTreeMap, BTreeSet};

use unicode_normalization::UnicodeNormalization;

use super::refusal::Refusal;
use api::{
    People, Reason, Stamp, Subject, SubjectKind,
    identity::{PrincipalName, SERVICE_ACCOUNT_PREFIX},
    text::{is_blank, is_invisible},
};

/// How the user names of one person are matched: the chart's `identity.prefixes` and `identity.aliases`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identities {
    /// Prefixes that the cluster's authenticators put before a user name, such as `oidc:`, folded.
    prefixes: Vec<String>,
    /// For each name with aliases: the least of all names that are connected to it by aliases.
    least: BTreeMap<String, String>,
    /// The looks of those names, by the least of them.
    looks: BTreeMap<String, BTreeSet<Look>>,
}

/// A property by which two identities are recognized as one person.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    /// The normalised user name.
    Name(String),
    /// The UID from the authenticator.
    Uid(String),
}

/// The look of a name: letters of other scripts replaced by the Latin ones that look the same (UTS 39), in one case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Look {
    skeleton: String,
    upper_case: bool,
    /// Names of ASCII letters only are never confused with each other: `user1` and `userl` are two people.
    ascii: bool,
}

impl Identities {
    /// Builds the identities from the chart's values. An alias applies in both directions, in any spelling and over any number of steps.
    #[must_use]
    pub fn new(prefixes: &[String], aliases: &BTreeMap<String, String>) -> Self {
        let prefixes = prefixes.iter().map(|prefix| fold(prefix)).filter(|prefix| !prefix.is_empty()).collect();
        let mut known = Self { prefixes, ..Self::default() };
        let mut groups: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
        let mut group_of: BTreeMap<String, usize> = BTreeMap::new();
        for (number, pair) in aliases.iter().enumerate() {
            let mut joined = BTreeSet::from([known.plain(pair.0), known.plain(pair.1)]);
            let met: BTreeSet<usize> = joined.iter().filter_map(|name| group_of.get(name).copied()).collect();
            for group in met.iter().filter_map(|group| groups.remove(group)) {
                let (smaller, mut larger) = if group.len() < joined.len() { (group, joined) } else { (joined, group) };
                larger.extend(smaller);
                joined = larger;
            }
            group_of.extend(joined.iter().map(|name| (name.clone(), number)));
            groups.insert(number, joined);
        }
        for group in groups.into_values() {
            let Some(least) = group.first().cloned() else { continue };
            known.looks.insert(least.clone(), group.iter().flat_map(|name| looks(name)).collect());
            known.least.extend(group.into_iter().map(|name| (name, least.clone())));
        }
        known
    }

    /// Returns the name that all spellings of one person share: without prefix and invisible characters, NFKC, in one case, the least of
    /// all names that are connected to it by aliases (T4).
    #[must_use]
    pub fn normalise(&self, username: &str) -> String {
        let name = self.plain(username);
        self.least.get(&name).cloned().unwrap_or(name)
    }

    fn plain(&self, username: &str) -> String {
        let mut name = fold(username);
        let bare = |name: &str| {
            let rests = self.prefixes.iter().filter_map(|prefix| name.strip_prefix(prefix.as_str()).map(ToOwned::to_owned));
            rests.min_by_key(String::len)
        };
        while let Some(rest) = bare(&name) {
            name = rest;
        }
        name
    }

    /// Returns true for two identities of one person: the same UID if both have one, or the same normalized name.
    #[must_use]
    pub fn same(&self, a: &Stamp, b: &Stamp) -> bool {
        same_uid(a, b) || a.username == b.username || self.normalise(a.username.as_str()) == self.normalise(b.username.as_str())
    }

    /// Returns all keys of this person. Two stamps are [`Identities::same`] exactly if they share one of them.
    #[must_use]
    pub fn identities_of(&self, stamp: &Stamp) -> Vec<Identity> {
        let uid = stamp.uid.as_ref().filter(|uid| !uid.is_empty()).map(|uid| Identity::Uid(uid.as_str().to_owned()));
        std::iter::once(Identity::Name(self.normalise(stamp.username.as_str()))).chain(uid).collect()
    }

    /// Returns true for two identities that are the same, or whose names look the same, since letters of another script can look alike. Use
    /// this only where two people are required. It never gives a user what belongs to another user.
    #[must_use]
    pub fn alike(&self, a: &Stamp, b: &Stamp) -> bool {
        if self.same(a, b) {
            return true;
        }
        let (a, b) = (self.looks(&self.normalise(a.username.as_str())), self.looks(&self.normalise(b.username.as_str())));
        a.iter().any(|a| b.iter().any(|b| (a.upper_case, &a.skeleton) == (b.upper_case, &b.skeleton) && !(a.ascii && b.ascii)))
    }

    fn looks(&self, normalised: &str) -> BTreeSet<Look> {
        self.looks.get(normalised).cloned().unwrap_or_else(|| looks(normalised).into())
    }

    /// Returns for each of the `stamps` the number of its person. Identities that any chain of same UIDs, names and looks connects are one
    /// person, in whatever order.
    #[must_use]
    pub fn people(&self, stamps: &[&Stamp]) -> Vec<usize> {
        let mut person: Vec<usize> = (0..stamps.len()).collect();
        let mut names: BTreeMap<String, usize> = BTreeMap::new();
        let mut uids: BTreeMap<&str, usize> = BTreeMap::new();
        let mut seen: BTreeMap<(bool, String), Alike> = BTreeMap::new();
        for (i, stamp) in stamps.iter().enumerate() {
            let normalised = self.normalise(stamp.username.as_str());
            let mut earlier: Vec<usize> = self.looks(&normalised).into_iter().flat_map(|look| Alike::note(&mut seen, look, i)).collect();
            earlier.push(*names.entry(normalised).or_insert(i));
            earlier.extend(stamp.uid.as_ref().filter(|uid| !uid.is_empty()).map(|uid| *uids.entry(uid.as_str()).or_insert(i)));
            for earlier in earlier {
                let (from, to) = (person.get(i).copied(), person.get(earlier).copied());
                if let (Some(from), Some(to)) = (from, to)
                    && from != to
                {
                    person.iter_mut().filter(|p| **p == from).for_each(|p| *p = to);
                }
            }
        }
        person
    }
}

/// The stamps with one look.
#[derive(Default)]
struct Alike {
    /// Those of ASCII letters only that are not linked so far.
    ascii: Vec<usize>,
    /// One of another script, which represents all that are linked.
    other: Option<usize>,
}

impl Alike {
    /// Records a stamp, and returns the earlier ones that it is linked with.
    fn note(seen: &mut BTreeMap<(bool, String), Self>, look: Look, stamp: usize) -> Vec<usize> {
        let alike = seen.entry((look.upper_case, look.skeleton)).or_default();
        if look.ascii {
            if alike.other.is_none() {
                alike.ascii.push(stamp);
            }
            return alike.other.into_iter().collect();
        }
        let linked = std::mem::take(&mut alike.ascii).into_iter().chain(alike.other).collect();
        alike.other = Some(stamp);
        linked
    }
}

/// Returns the look of a normalized name in either case: a letter can have a look-alike in only one of them.
fn looks(name: &str) -> [Look; 2] {
    let upper: String = name.chars().flat_map(char::to_uppercase).collect();
    [(name, false), (upper.as_str(), true)].map(|(text, upper_case)| Look {
        skeleton: unicode_security::confusable_detection::skeleton(text).collect(),
        upper_case,
        ascii: name.is_ascii(),
    })
}

/// Returns NFKC in one case, without invisible characters. Upper case comes first, because some letters have two lower case forms. It runs
/// twice, because each step can undo another.
fn fold(text: &str) -> String {
    // The same result for ASCII at a hundredth of the cost: a search for a person's requests folds every name that it reads.
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let once = |text: &str| {
        let shown = text.nfkc().filter(|c| !is_invisible(*c));
        shown.flat_map(char::to_uppercase).flat_map(char::to_lowercase).nfkc().filter(|c| !is_invisible(*c)).collect::<String>()
    };
    once(&once(text))
}

fn same_uid(a: &Stamp, b: &Stamp) -> bool {
    matches!((&a.uid, &b.uid), (Some(a), Some(b)) if !a.is_empty() && a == b)
}

/// The kind of user in a stamp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Account {
    /// A human user.
    User,
    /// A well-formed `ServiceAccount`.
    ServiceAccount {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

/// Returns the kind of a requester. An empty name, `system:anonymous` and every other user of Kubernetes itself are refused: an
/// authenticator without a prefix could otherwise issue such a name (T10, invariant 20).
pub fn account(stamp: &Stamp) -> Result<Account, Refusal> {
    let username = stamp.username.as_str();
    if let Some(rest) = username.strip_prefix(SERVICE_ACCOUNT_PREFIX) {
        return match rest.split_once(':') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains(':') => {
                Ok(Account::ServiceAccount { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => Err(Refusal::new(Reason::SystemUserNotAllowed, format!("'{username}' is not a valid ServiceAccount user name"))),
        };
    }
    if is_blank(username) {
        return Err(Refusal::new(Reason::SystemUserNotAllowed, "the request has no user name"));
    }
    if username.starts_with("system:") {
        return Err(Refusal::new(
            Reason::SystemUserNotAllowed,
            format!("'{username}' is reserved for Kubernetes and cannot request or decide; sign in with your own user"),
        ));
    }
    Ok(Account::User)
}

/// Returns true if one of `subjects` is the person of `stamp`, by name and UID, or by a group in the stamp.
#[must_use]
pub fn is_subject(stamp: &Stamp, account: &Account, subjects: &[Subject]) -> bool {
    let uid_fits = |subject: &Subject| subject.uid.is_none() || subject.uid == stamp.uid;
    subjects.iter().any(|subject| match (subject.kind, account) {
        (SubjectKind::User, Account::User) => subject.name == stamp.username && uid_fits(subject),
        // A `ServiceAccount`'s groups contain all accounts of its namespace, or all accounts, so they never make one eligible (T50).
        (SubjectKind::Group, Account::User) => stamp.groups.contains(&subject.name),
        (SubjectKind::ServiceAccount, Account::ServiceAccount { namespace, name }) => {
            subject.name.as_str() == name && subject.namespace.as_ref() == Some(namespace) && uid_fits(subject)
        }
        _ => false,
    })
}

/// Returns true if `people` lists the person of `stamp`. A `ServiceAccount` counts only by its full name.
#[must_use]
pub fn is_listed(stamp: &Stamp, people: &People) -> bool {
    match account(stamp) {
        Err(_) => false,
        Ok(Account::User) => people.users.contains(&stamp.username) || stamp.groups.iter().any(|g| people.groups.contains(g)),
        Ok(Account::ServiceAccount { .. }) => people.users.contains(&stamp.username),
    }
}

/// Describes `people`: `lead-1, group leads`.
#[must_use]
pub fn describe(people: &People) -> String {
    let users = people.users.iter().map(ToString::to_string);
    let groups = people.groups.iter().map(|g| format!("group {g}"));
    let mut all: Vec<String> = users.chain(groups).collect();
    let more = all.len().saturating_sub(8);
    all.truncate(8);
    let listed = all.join(", ");
    match (all.is_empty(), more) {
        (true, _) => "none".to_owned(),
        (false, 0) => listed,
        (false, more) => format!("{listed} and {more} more"),
    }
}

/// Returns a hint for the refusal of a user who is not listed. Causes are another spelling of a name, groups that the sign-in does not
/// contain, and IDs instead of names.
#[must_use]
pub fn why_not_listed<'a>(
    who: &Stamp,
    users: impl Iterator<Item = &'a PrincipalName>,
    groups: impl Iterator<Item = &'a PrincipalName>,
) -> String {
    let (users, groups): (Vec<_>, Vec<_>) = (users.collect(), groups.collect());
    let mine = |listed: &[&'a PrincipalName], own: &PrincipalName| {
        listed
            .iter()
            .find(|listed| **listed != own && fold(listed.as_str()) == fold(own.as_str()))
            .map(|listed| (own.clone(), (*listed).clone()))
    };
    let near = mine(&users, &who.username).or_else(|| who.groups.iter().find_map(|group| mine(&groups, group)));
    let mut hints = Vec::new();
    if let Some((own, listed)) = near {
        hints.push(format!("; '{listed}' is listed, which is spelled differently from '{own}' (names are case-sensitive)"));
    } else if !groups.is_empty() && account(who) == Ok(Account::User) {
        let shown = groups.iter().take(MOST_SHOWN).map(|group| format!("'{group}'")).collect::<Vec<_>>().join(", ");
        let more = if groups.len() > MOST_SHOWN { ", ..." } else { "" };
        hints.push(format!("; the sign-in has none of the groups {shown}{more} ('kubectl auth whoami' lists those that it has)"));
    }
    if let Some(id) = users.into_iter().chain(groups).chain([&who.username]).find(|name| is_id(name.as_str())) {
        hints.push(format!("; '{id}' is an ID, which the identity provider sends instead of a name"));
    }
    hints.concat()
}

/// Maximum number of groups that a hint names.
const MOST_SHOWN: usize = 4;

/// Returns true for a name that ends in a UUID, as some identity providers name people and groups.
fn is_id(name: &str) -> bool {
    let digits: Vec<char> = name.chars().rev().take(36).collect();
    digits.len() == 36
        && digits.iter().rev().enumerate().all(|(i, c)| if matches!(i, 8 | 13 | 18 | 23) { *c == '-' } else { c.is_ascii_hexdigit() })
}
