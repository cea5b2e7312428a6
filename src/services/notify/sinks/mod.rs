//! The sinks: each sends a text in the format of one kind of receiver. `check` finds what is wrong without sending.

pub(super) mod alertmanager;
pub(super) mod pagerduty;
pub(super) mod slack;
pub(super) mod smtp;
pub(super) mod teams;
pub(super) mod webhook;
