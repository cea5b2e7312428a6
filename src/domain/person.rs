//! Who is the same person, who is eligible, who is among the approvers.

use std::collections::{BTreeMap, BTreeSet};

use unicode_normalization::UnicodeNormalization;

use super::refusal::Refusal;
use crate::api::{People, Reason, Stamp, Subject, SubjectKind, identity::SERVICE_ACCOUNT_PREFIX};

/// How user names of one human are recognised as one: the chart's `identity.prefixes` and `identity.aliases`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identities {
    /// Prefixes that the cluster's authenticators put before a user name, such as `oidc:`.
    pub prefixes: Vec<String>,
    /// Other names of a person, by name.
    pub aliases: BTreeMap<String, String>,
}

impl Identities {
    /// The name under which all spellings of one human meet: without prefix, NFKC, in one case, the least of all names that aliases
    /// link to it (T4). An alias holds in both directions, in any spelling and over any number of steps.
    #[must_use]
    pub fn normalise(&self, username: &str) -> String {
        let mut names = BTreeSet::from([self.plain(username)]);
        let mut before = 0;
        while names.len() > before {
            before = names.len();
            for (name, other) in &self.aliases {
                let pair = [self.plain(name), self.plain(other)];
                if pair.iter().any(|name| names.contains(name)) {
                    names.extend(pair);
                }
            }
        }
        names.pop_first().unwrap_or_default()
    }

    fn plain(&self, username: &str) -> String {
        let mut name = fold(username);
        let bare = |name: &str| {
            let prefixes = self.prefixes.iter().map(|prefix| fold(prefix)).filter(|prefix| !prefix.is_empty());
            prefixes.filter_map(|prefix| name.strip_prefix(prefix.as_str()).map(ToOwned::to_owned)).min_by_key(String::len)
        };
        while let Some(rest) = bare(&name) {
            name = rest;
        }
        name
    }

    /// True for two identities of one human: the same UID where both have one, or the same normalised name.
    #[must_use]
    pub fn same(&self, a: &Stamp, b: &Stamp) -> bool {
        same_uid(a, b) || self.normalise(a.username.as_str()) == self.normalise(b.username.as_str())
    }

    /// `stamps` sorted into people: the result has for each stamp the number of its person. Identities that are linked by any
    /// chain of same UIDs and names are one person, whatever their order.
    #[must_use]
    pub fn people(&self, stamps: &[&Stamp]) -> Vec<usize> {
        let mut person: Vec<usize> = (0..stamps.len()).collect();
        let mut names: BTreeMap<String, usize> = BTreeMap::new();
        let mut uids: BTreeMap<&str, usize> = BTreeMap::new();
        for (i, stamp) in stamps.iter().enumerate() {
            let name = *names.entry(self.normalise(stamp.username.as_str())).or_insert(i);
            let uid = stamp.uid.as_ref().filter(|uid| !uid.is_empty()).map(|uid| *uids.entry(uid.as_str()).or_insert(i));
            for earlier in [Some(name), uid].into_iter().flatten() {
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

/// NFKC in one case. Upper case first, because some letters have two lower case forms; twice, because each step can undo another.
fn fold(text: &str) -> String {
    let once = |text: &str| text.nfkc().flat_map(char::to_uppercase).flat_map(char::to_lowercase).nfkc().collect::<String>();
    once(&once(text))
}

fn same_uid(a: &Stamp, b: &Stamp) -> bool {
    matches!((&a.uid, &b.uid), (Some(a), Some(b)) if !a.is_empty() && a == b)
}

/// What kind of user a stamp is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Account {
    /// A person.
    User,
    /// A well-formed `ServiceAccount`.
    ServiceAccount {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

/// What kind of user asks. Nobody, `system:anonymous` and every other user of Kubernetes itself is refused: an authenticator
/// without a prefix could otherwise pass for one (T10, invariant 20).
pub fn account(stamp: &Stamp) -> Result<Account, Refusal> {
    let username = stamp.username.as_str();
    if let Some(rest) = username.strip_prefix(SERVICE_ACCOUNT_PREFIX) {
        return match rest.split_once(':') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains(':') => {
                Ok(Account::ServiceAccount { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => Err(Refusal::new(Reason::SystemUser, format!("'{username}' is no well-formed ServiceAccount name"))),
        };
    }
    if username.trim().is_empty() {
        return Err(Refusal::new(Reason::SystemUser, "a request needs a user, and this one has no user name"));
    }
    if username.starts_with("system:") {
        return Err(Refusal::new(
            Reason::SystemUser,
            format!("'{username}' belongs to Kubernetes itself and cannot request or decide; sign in as yourself"),
        ));
    }
    Ok(Account::User)
}

/// True when one of `subjects` is the person of `stamp`, by name and UID, or by a group in the stamp.
#[must_use]
pub fn is_subject(stamp: &Stamp, account: &Account, subjects: &[Subject]) -> bool {
    let uid_fits = |subject: &Subject| subject.uid.is_none() || subject.uid == stamp.uid;
    subjects.iter().any(|subject| match (subject.kind, account) {
        (SubjectKind::User, Account::User) => subject.name == stamp.username && uid_fits(subject),
        // A ServiceAccount's groups hold all of its namespace, or all of them: never who is eligible (T50).
        (SubjectKind::Group, Account::User) => stamp.groups.contains(&subject.name),
        (SubjectKind::ServiceAccount, Account::ServiceAccount { namespace, name }) => {
            subject.name.as_str() == name && subject.namespace.as_ref() == Some(namespace) && uid_fits(subject)
        }
        _ => false,
    })
}

/// True when `people` lists the person of `stamp`. A `ServiceAccount` counts only by its full name.
#[must_use]
pub fn is_listed(stamp: &Stamp, people: &People) -> bool {
    match account(stamp) {
        Err(_) => false,
        Ok(Account::User) => people.users.contains(&stamp.username) || stamp.groups.iter().any(|g| people.groups.contains(g)),
        Ok(Account::ServiceAccount { .. }) => people.users.contains(&stamp.username),
    }
}

/// `people` in words: `lead-1, group leads`.
#[must_use]
pub fn in_words(people: &People) -> String {
    let users = people.users.iter().map(ToString::to_string);
    let groups = people.groups.iter().map(|g| format!("group {g}"));
    let mut all: Vec<String> = users.chain(groups).collect();
    let more = all.len().saturating_sub(8);
    all.truncate(8);
    let listed = all.join(", ");
    match (all.is_empty(), more) {
        (true, _) => "nobody".to_owned(),
        (false, 0) => listed,
        (false, more) => format!("{listed} and {more} more"),
    }
}
