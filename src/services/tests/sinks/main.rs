//! Every sink against a server: what arrives, what the outcome is, and what the egress guard prevents.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod alertmanager;
mod fixture;
mod guard;
mod http;
mod mail;
mod mail_faults;
mod pagerduty;
mod screenshot;
mod slack;
mod teams;
mod templates;
mod webhook;
