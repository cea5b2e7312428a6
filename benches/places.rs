//! Who can activate what, and where: a request per person, offer and namespace at the same time.

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

/// People who may activate, each with a token of his own.
pub const PEOPLE: usize = 100;
/// Namespaces in which they may.
pub const NAMESPACES: usize = 100;
/// What a person may activate in one namespace at the same time and keep.
pub const OFFERS: usize = 10;
/// What is activated for seconds: by the time its places are used again, what was there is over.
pub const PASSING: &str = "bench-passing";
/// What nobody activates but for the comparison with what is limited: whatever else is active, its places are free.
pub const UNLIMITED: &str = "bench-unlimited";
/// What is activated under a policy with limits for each person and a cooldown.
pub const LIMITED: &str = "bench-limited";

/// Where somebody can activate something that he has not activated yet.
pub struct Place {
    /// His client.
    pub client: Client,
    /// His name.
    pub person: String,
    /// Where.
    pub namespace: String,
    /// The eligibility.
    pub offer: String,
}

impl Place {
    /// The beginning of a request's name, by which its place is known again.
    pub fn prefix(&self) -> String {
        format!("{}-{}-", self.person, self.offer)
    }
}

/// All of them.
pub struct Places {
    people: Vec<Client>,
    lasting: AtomicUsize,
    passing: AtomicUsize,
    taken: RwLock<HashSet<(String, String)>>,
}

impl Places {
    /// For these people.
    pub fn new(people: Vec<Client>) -> Self {
        Self { people, lasting: AtomicUsize::new(0), passing: AtomicUsize::new(0), taken: RwLock::default() }
    }

    /// Leaves out where these requests are, of an earlier run.
    pub fn take(&self, live: impl IntoIterator<Item = PartialObjectMeta<RoleActivationRequest>>) {
        let mut taken = self.taken.write().unwrap_or_else(PoisonError::into_inner);
        taken.extend(live.into_iter().filter_map(|request| Some((request.metadata.namespace?, request.metadata.generate_name?))));
    }

    /// A place for a grant that stays.
    pub fn lasting(&self) -> Result<Place, Failure> {
        loop {
            let number = self.lasting.fetch_add(1, Ordering::Relaxed);
            let offer = number / PEOPLE / NAMESPACES;
            if offer >= OFFERS {
                return Err("there are no more places".into());
            }
            let place = self.place(number, offer_name(offer))?;
            let taken = self.taken.read().unwrap_or_else(PoisonError::into_inner);
            if !taken.contains(&(place.namespace.clone(), place.prefix())) {
                return Ok(place);
            }
        }
    }

    /// A place for a grant that is over in a minute; after the last the first comes again.
    pub fn passing(&self) -> Result<Place, Failure> {
        self.place(self.passing.fetch_add(1, Ordering::Relaxed), PASSING.to_owned())
    }

    /// The client of one of the people.
    pub fn person(&self, number: usize) -> Result<Client, Failure> {
        Ok(self.people.get(number).cloned().ok_or("nobody")?)
    }

    fn place(&self, number: usize, offer: String) -> Result<Place, Failure> {
        let who = number % PEOPLE;
        Ok(Place { client: self.person(who)?, person: person(who), namespace: namespace(number / PEOPLE), offer })
    }
}

/// Name of one of the offers.
pub fn offer_name(number: usize) -> String {
    format!("bench-{number}")
}

/// Name of one of the people.
pub fn person(number: usize) -> String {
    format!("bench-{number:03}")
}

/// Name of one of the namespaces; after the last the first comes again.
pub fn namespace(number: usize) -> String {
    format!("bench-{:03}", number % NAMESPACES)
}
