//! What receives notifications in tests: real servers, and an HTTPS server that answers as a test says.
//!
//! `make notify-tools` builds the real ones.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a test fails with the message"
)]

mod certificates;
mod https;
mod servers;

pub use certificates::Authority;
pub use https::{Call, Https};
pub use servers::{Alertmanager, Mailpit, MailpitTls};

use std::{future::Future, time::Duration};

/// The longest time to wait for a condition.
const LIMIT: Duration = Duration::from_secs(20);

/// Waits until `check` returns something, and returns it.
///
/// # Panics
///
/// After 20 seconds, with the name of the condition.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut check: impl FnMut() -> F) -> T {
    let poll = async {
        loop {
            if let Some(found) = check().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, poll).await.unwrap_or_else(|_| panic!("not within {LIMIT:?}: {what}"))
}
