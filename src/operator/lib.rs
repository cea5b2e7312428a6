//! The operator of jit-rbac: nobody holds a role by default; people activate what they are eligible for, for a while.
//!
//! One way through the house: gather, decide, apply, report. The rules are in [`domain`].

pub mod admission;
pub mod config;
pub mod connect;
pub mod controller;
pub mod crds;
pub mod election;
pub mod gather;
pub mod guards;
mod http_server;
mod listen;
pub mod observe;
pub mod queue;
pub mod revoker;
mod survey;
