//! The rules. Pure and total functions in this crate decide whether to refuse a request and whether to grant or revoke access.
//!
//! The crate uses no Kubernetes client, no runtime and no clock: stored state is passed in as [`facts`], the time as a parameter. Admission
//! and controllers call the same functions, so the answer to `kubectl apply` is what the controller would do.

mod access;
pub mod acting;
pub mod activity;
pub mod admit_decision;
pub mod approval;
pub mod audit;
pub mod author;
pub mod author_check;
pub mod binding;
pub mod bounds;
pub mod canonical;
pub mod checked;
pub mod convert;
pub mod decide;
pub mod decisions;
pub mod digest;
pub mod duration;
pub mod eligibility;
pub mod emergency;
mod event_kind;
pub mod evidence;
pub mod extension;
pub mod facts;
pub mod fold;
pub mod guards;
pub mod limits;
pub mod namespace;
pub mod notify;
pub mod one_live;
pub mod pattern;
pub mod peers;
pub mod person;
pub mod policy;
pub mod refusal;
pub mod refused_create;
pub mod requirements;
pub mod retention;
pub mod risks;
pub mod role;
pub mod rule;
mod running;
pub mod settings;
pub mod size;
pub mod snapshot;
pub mod start;
pub mod timeline;
pub mod usable;
pub mod verdict;
pub mod windows;

pub use api::instant;
pub use binding::{Binding, BindingFacts, Grant};
pub use decide::decide;
pub use facts::{
    Debt, Deletion, GuardFacts, Guards, Lookup, NamespaceFacts, Object, Owed, Record, RequestFacts, RoleFacts, Span, Unread, Unreadable,
};
pub use peers::Peer;
pub use refusal::Refusal;
pub use settings::Settings;
pub use snapshot::{Base, Snapshot};
pub use verdict::{BindingAction, Verdict};
