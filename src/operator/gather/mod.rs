//! Reading: from the API server, or a cache of it, to the plain facts that the rules look at. Controllers and admission share it.

pub mod beside;
pub mod debts;
pub mod last_ends;
pub mod live;
pub mod offers;
pub mod pages;
pub mod surroundings;
pub mod written;
