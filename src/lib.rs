//! Just-in-time RBAC for Kubernetes: nobody holds a role by default; people activate what they are eligible for, for a while.
//!
//! One way through the house: gather, decide, apply, report. [`domain`] holds the rules and knows no client, runtime or clock.

pub mod admission;
pub mod api;
pub mod client;
pub mod clock;
pub mod config;
pub mod connect;
pub mod controller;
pub mod domain;
pub mod errors;
pub mod gather;
pub mod guards;
mod http_server;
pub mod kubernetes;
mod listen;
pub mod observe;
pub mod plugin;
pub mod queue;
pub mod redact;
pub mod revoker;
mod survey;
