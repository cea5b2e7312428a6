//! Which user can activate which eligibility in which namespace: one request per user, eligibility and namespace at a time.

use std::{
    collections::HashSet,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use api::RoleActivationRequest;
use kube::{Client, core::PartialObjectMeta};

use crate::Failure;

/// Users who may activate, each with their own token.
pub const PEOPLE: usize = 100;
/// Namespaces in which they may activate.
pub const NAMESPACES: usize = 100;
/// The eligibilities that a user may activate and keep active in one namespace at the same time.
pub const OFFERS: usize = 10;
/// The eligibilities that are activated for seconds: the previous grant has ended when its combination is reused.
pub const PASSING: &str = "bench-passing";
/// The eligibility that is only activated for the comparison with a limited one: its combinations are free, whatever else is active.
pub const UNLIMITED: &str = "bench-unlimited";
/// The eligibility under a policy with limits per user and a cooldown.
pub const LIMITED: &str = "bench-limited";

/// A combination of user, eligibility and namespace without an activation.
pub struct Place {
    /// The user's client.
    pub client: Client,
    /// The user's name.
    pub person: String,
    /// The namespace.
    pub namespace: String,
    /// The eligibility.
    pub offer: String,
}

impl Place {
    /// The prefix of a request's name that identifies its combination.
    pub fn prefix(&self) -> String {
        format!("{}-{}-", self.person, self.offer)
    }
}

/// All combinations.
pub struct Places {
    people: Vec<Client>,
    lasting: AtomicUsize,
    passing: AtomicUsize,
    taken: RwLock<HashSet<(String, String)>>,
}

impl Places {
    /// Creates the combinations for these users.
    pub fn new(people: Vec<Client>) -> Self {
        Self { people, lasting: AtomicUsize::new(0), passing: AtomicUsize::new(0), taken: RwLock::default() }
    }

    /// Skips the combinations of these requests of an earlier run.
    pub fn take(&self, live: impl IntoIterator<Item = PartialObjectMeta<RoleActivationRequest>>) {
        let mut taken = self.taken.write().unwrap_or_else(PoisonError::into_inner);
        taken.extend(live.into_iter().filter_map(|request| Some((request.metadata.namespace?, request.metadata.generate_name?))));
    }

    /// A combination for a grant that stays active.
    pub fn lasting(&self) -> Result<Place, Failure> {
        loop {
            let number = self.lasting.fetch_add(1, Ordering::Relaxed);
            let offer = number / PEOPLE / NAMESPACES;
            if offer >= OFFERS {
                return Err("all combinations of user, eligibility and namespace are in use".into());
            }
            let place = self.place(number, offer_name(offer))?;
            let taken = self.taken.read().unwrap_or_else(PoisonError::into_inner);
            if !taken.contains(&(place.namespace.clone(), place.prefix())) {
                return Ok(place);
            }
        }
    }

    /// A combination for a grant that ends within a minute; after the last one the first is reused.
    pub fn passing(&self) -> Result<Place, Failure> {
        self.place(self.passing.fetch_add(1, Ordering::Relaxed), PASSING.to_owned())
    }

    /// The client of one of the users.
    pub fn person(&self, number: usize) -> Result<Client, Failure> {
        Ok(self.people.get(number).cloned().ok_or("no such user")?)
    }

    fn place(&self, number: usize, offer: String) -> Result<Place, Failure> {
        let who = number % PEOPLE;
        Ok(Place { client: self.person(who)?, person: person(who), namespace: namespace(number / PEOPLE), offer })
    }
}

/// Name of one of the eligibilities.
pub fn offer_name(number: usize) -> String {
    format!("bench-{number}")
}

/// Name of one of the users.
pub fn person(number: usize) -> String {
    format!("bench-{number:03}")
}

/// Name of one of the namespaces; after the last the first is reused.
pub fn namespace(number: usize) -> String {
    format!("bench-{:03}", number % NAMESPACES)
}
