//! What every process of jit-rbac in a cluster has: health, metrics, logs, limits for the connections that others open, and an orderly shutdown.

pub mod api_calls;
pub mod connect;
pub mod health;
pub mod http_server;
pub mod listen;
pub mod logs;
pub mod metrics;
mod process_metrics;
pub mod run;
pub mod watches;
