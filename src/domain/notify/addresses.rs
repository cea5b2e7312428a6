//! The addresses of users and groups. The API server knows neither mail addresses nor the members of a group.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::pattern;
use api::{
    Line, People, ReceiverType,
    notification_rule::{ReceiverRef, Recipient},
};

/// The chart value `notify.addresses`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Addresses {
    /// The receiver of type Smtp for mail to people. Empty: the first one by name.
    pub receiver: String,
    /// Mail addresses of users by pattern. The first pattern that matches a whole user name counts.
    pub users: Vec<UserAddress>,
    /// Receivers of what concerns a group.
    pub groups: BTreeMap<String, Vec<ReceiverRef>>,
    /// Receivers of what concerns admins.
    pub admins: Vec<ReceiverRef>,
}

/// The mail address of the users whose names match a pattern.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UserAddress {
    /// Regular expression that must match the whole user name.
    pub pattern: String,
    /// The address. `$1` or `${name}` stands for a group of the pattern.
    pub mail: String,
}

/// The error of a pattern.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("notify.addresses.users: {0}")]
pub struct AddressError(String);

/// The addresses, with compiled patterns.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    addresses: Addresses,
    patterns: Vec<(Regex, String)>,
}

impl Directory {
    /// Compiles the patterns.
    ///
    /// # Errors
    ///
    /// A pattern is not a valid regular expression.
    pub fn new(addresses: Addresses) -> Result<Self, AddressError> {
        let compile = |user: &UserAddress| {
            let regex = pattern::anchored("pattern", &user.pattern).map_err(|refusal| AddressError(refusal.message))?;
            Ok((regex, user.mail.clone()))
        };
        let patterns = addresses.users.iter().map(compile).collect::<Result<_, _>>()?;
        Ok(Self { addresses, patterns })
    }

    /// Returns the mail address of a user. None for an unknown one: an address is never guessed.
    #[must_use]
    pub fn mail(&self, user: &str) -> Option<String> {
        let (regex, template) = self.patterns.iter().find(|(regex, _)| regex.is_match(user))?;
        let captures = regex.captures(user)?;
        let mut mail = String::new();
        captures.expand(template, &mut mail);
        is_mail(&mail).then_some(mail)
    }

    /// Returns the receivers of these people, and those for whom there is none.
    pub(super) fn resolve(
        &self,
        people: &People,
        recipient: Recipient,
        receivers: &BTreeMap<String, ReceiverType>,
    ) -> (Vec<ReceiverRef>, BTreeSet<String>) {
        let mut found = Vec::new();
        let mut unknown = BTreeSet::new();
        if recipient == Recipient::Admin {
            found.extend(self.addresses.admins.iter().cloned());
            if found.is_empty() {
                unknown.insert("admins".to_owned());
            }
        }
        let smtp = |name: &&String| receivers.get(*name) == Some(&ReceiverType::Smtp);
        let own = Some(&self.addresses.receiver).filter(|name| !name.is_empty());
        let mailer = own.or_else(|| receivers.keys().find(smtp));
        for user in &people.users {
            let mail = self.mail(user.as_str()).and_then(|mail| Line::try_from(mail).ok());
            match (mail, mailer) {
                (Some(mail), Some(name)) => found.push(ReceiverRef { name: name.clone(), to: vec![mail] }),
                _ => _ = unknown.insert(user.to_string()),
            }
        }
        for group in &people.groups {
            match self.addresses.groups.get(group.as_str()).filter(|receivers| !receivers.is_empty()) {
                Some(receivers) => found.extend(receivers.iter().cloned()),
                None => _ = unknown.insert(format!("group {group}")),
            }
        }
        (found, unknown)
    }
}

/// True for one plain address: what a user name puts into it must not add a second one, or a header.
fn is_mail(text: &str) -> bool {
    let plain = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c));
    let host = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || "-.".contains(c));
    text.len() <= 320 && text.split_once('@').is_some_and(|(local, domain)| plain(local) && host(domain))
}
