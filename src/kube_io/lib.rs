//! The connection of operator and plugin to an API server: clients, calls, watches, caches, and errors on one line each.
//!
//! Nothing here contains a rule.

pub mod access;
pub mod backoff;
pub mod cache;
pub mod call;
pub mod client;
pub mod clock;
pub mod connect;
pub mod consistency;
pub mod errors;
pub mod kept;
pub mod kubernetes;
pub mod lease;
pub mod observed;
pub mod redact;
pub mod resource;
pub mod sieve;
pub mod status_patch;
pub mod stream;
pub mod watch;
pub mod watches;
