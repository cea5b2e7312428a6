//! Talking to an API server, as operator and plugin do: clients, calls, watches, caches, and errors as one line each.
//!
//! Nothing here knows a rule.

pub mod access;
pub mod backoff;
pub mod cache;
pub mod call;
pub mod client;
pub mod clock;
pub mod connect;
pub mod errors;
pub mod horizon;
pub mod kept;
pub mod kubernetes;
pub mod redact;
pub mod sieve;
pub mod stream;
pub mod watch;
pub mod watches;
