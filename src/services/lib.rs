//! The services next to the operator: notifications and the audit log. No grant and no end waits for them.

pub mod notify;
pub mod record;
