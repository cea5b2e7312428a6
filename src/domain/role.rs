//! What a role allows, in a form that can be compared, shown and hashed.

use std::sync::Arc;

use sha2::{Digest, Sha256};

pub use super::rule::Rule;

use super::{
    access,
    canonical::{canonical, hex},
    refusal::Refusal,
    rule::sorted,
};
use api::{Reason, eligibility::RoleRef, stored::MAX_RULES};

/// The rules of a role, sorted, with their hash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    all: Vec<Rule>,
    hash: String,
    access_hash: String,
    too_long: Option<usize>,
}

impl Rules {
    /// Rules in any order; two roles with the same rules have the same hash.
    #[must_use]
    pub fn new(rules: impl IntoIterator<Item = Rule>) -> Self {
        Self::hashed(in_order(rules))
    }

    /// The same, which are those that are known already where they say the same: of a large role the hashes take a millisecond, and each
    /// grant reads its role again.
    #[must_use]
    pub fn known_or_new(rules: impl IntoIterator<Item = Rule>, known: Option<&Arc<Self>>) -> Arc<Self> {
        let rules = in_order(rules);
        match known.filter(|known| known.too_long.is_none() && known.all == rules) {
            Some(known) => Arc::clone(known),
            None => Arc::new(Self::hashed(rules)),
        }
    }

    fn hashed(rules: Vec<Rule>) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(b"jitrbac.dev/rules/v1\n");
        hasher.update(canonical(&rules));
        let hash = format!("sha256:{}", hex(&hasher.finalize()));
        let access_hash = access::hash(&rules).unwrap_or_else(|| hash.clone());
        Self { all: rules, hash, access_hash, too_long: None }
    }

    /// Rules that were not read, since they have so many bytes. They are no other rules than those that anybody knows.
    #[must_use]
    pub fn too_long(bytes: usize) -> Self {
        let hash = format!("unread:{bytes}");
        Self { all: Vec::new(), access_hash: hash.clone(), hash, too_long: Some(bytes) }
    }

    /// How many bytes they have, if those are too many to be read.
    #[must_use]
    pub const fn bytes_beyond(&self) -> Option<usize> {
        self.too_long
    }

    /// About how many bytes they take in memory.
    #[must_use]
    pub fn weight(&self) -> usize {
        /// A text's place in its list, and the least that is set aside for its letters.
        const TEXT: usize = size_of::<String>() + 32;
        let texts = |rule: &Rule| {
            let lists = [&rule.api_groups, &rule.resources, &rule.resource_names, &rule.non_resource_urls, &rule.verbs];
            lists.into_iter().flatten().map(|text| TEXT + text.len()).sum::<usize>()
        };
        size_of::<Self>() + self.all.iter().map(|rule| size_of::<Rule>() + texts(rule)).sum::<usize>()
    }

    /// SHA-256 over the sorted rules, with its prefix; of rules that were not read something that is no such hash.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// SHA-256 over what the rules allow, however they are written.
    #[must_use]
    pub fn access_hash(&self) -> &str {
        &self.access_hash
    }

    /// The rules.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.all
    }
}

/// The refusal of a role whose rules are too long to be read.
pub fn check_size(role: &RoleRef, rules: &Rules) -> Result<(), Refusal> {
    let Some(bytes) = rules.bytes_beyond() else { return Ok(()) };
    Err(Refusal::new(
        Reason::RoleTooLarge,
        format!(
            "the rules of {} '{}' have {bytes} bytes, and a role that can be activated has {MAX_RULES} at most; shorten them, such as by \
             fewer resourceNames, or divide them between several roles",
            role.kind, role.name
        ),
    ))
}

fn in_order(rules: impl IntoIterator<Item = Rule>) -> Vec<Rule> {
    let mut rules: Vec<Rule> = rules.into_iter().map(sorted).collect();
    rules.sort_unstable();
    rules.dedup();
    rules
}
