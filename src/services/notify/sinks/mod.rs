//! The sinks: each sends a text in the format of one kind of receiver. `check` finds what is wrong without sending.

pub(super) mod alertmanager;
pub(super) mod smtp;
pub(super) mod webhook;
