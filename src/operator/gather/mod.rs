//! Reads of the facts that the rules use, from the API server or from a cache. Controllers and admission share them.

pub mod caches;
pub mod debts;
mod guarded;
pub mod last_ends;
pub mod live;
pub mod offers;
pub mod pages;
pub mod peers;
pub mod recorded;
pub mod written;
