//! The protocol of jit-rbac as a model that is explored state by state: replicas, API server, webhook, Lease and clocks.

pub mod acts;
pub mod call;
pub mod faults;
pub mod guards;
pub mod model;
pub mod properties;
pub mod replica;
pub mod request;
pub mod revoker;
pub mod rules;
pub mod setting;
pub mod world;
