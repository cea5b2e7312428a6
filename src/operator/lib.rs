//! The operator of jit-rbac: users hold no role by default, and activate eligible roles for a limited time.
//!
//! Data flows in one direction: gather, decide, apply, report. The rules are in [`domain`].

pub mod admission;
pub mod check;
pub mod config;
pub mod controller;
pub mod crds;
pub mod election;
pub mod gather;
pub mod guards;
mod json_bounds;
pub mod observe;
pub mod queue;
pub mod revoker;
pub mod uninstall;
