//! The rules. Everything that can refuse a person, grant him something or take it away is decided here, by pure and total functions.
//!
//! This room knows no Kubernetes client, no runtime and no clock: what was read comes in as [`facts`], the time as a parameter.
//! Admission and controllers call the same functions, so that what `kubectl apply` answers is what would happen.

mod access;
pub mod acting;
pub mod approval;
pub mod author;
pub mod binding;
pub mod bounds;
pub mod checked;
pub mod convert;
pub mod decide;
pub mod decisions;
pub mod digest;
pub mod duration;
pub mod eligibility;
pub mod emergency;
pub mod evidence;
pub mod extension;
pub mod facts;
pub mod fold;
pub mod guards;
pub mod limits;
pub mod namespace;
pub mod one_live;
pub mod person;
pub mod policy;
pub mod refusal;
pub mod refused_create;
pub mod requirements;
pub mod retention;
pub mod risks;
pub mod role;
mod running;
pub mod size;
pub mod start;
pub mod windows;

#[cfg(test)]
mod tests;

pub use binding::{Binding, BindingFacts, Grant};
pub use decide::{BindingAction, Verdict, decide};
pub use facts::{
    Base, Debt, Deletion, GuardFacts, Guards, Lookup, NamespaceFacts, Object, Owed, Peer, Record, RequestFacts, RoleFacts, Settings,
    Snapshot, Span, Unread, Unreadable,
};
pub use refusal::Refusal;
