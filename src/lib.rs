//! Just-in-time RBAC for Kubernetes: nobody holds a role by default; people activate what they are eligible for, for a while.
//!
//! One way through the house: gather, decide, apply, report. [`domain`] holds the rules and knows no client, runtime or clock.

pub mod admission;
pub mod api;
pub mod config;
pub mod connect;
pub mod controller;
pub mod crds;
pub mod domain;
pub mod gather;
pub mod guards;
mod http_server;
pub mod kube_io;
mod listen;
pub mod observe;
pub mod plugin;
pub mod queue;
pub mod revoker;
mod survey;
