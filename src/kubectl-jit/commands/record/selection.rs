//! The events that a command is about.

use clap::Args;
use domain::audit::leaf::{Entry, Recorded};
use futures::TryStreamExt;
use jiff::Timestamp;
use record::reader::Reader;

use super::log::{self, Placed};
use crate::{problem::Problem, screen::Screen, times::When};

/// The flags that select events.
#[derive(Clone, Debug, Default, Args)]
pub struct Selection {
    /// Only events since then: a time, or how long ago, for example 24h.
    #[arg(long, value_name = "WHEN", value_parser = ago)]
    since: Option<When>,
    /// Only events before then.
    #[arg(long, value_name = "WHEN", value_parser = ago)]
    until: Option<When>,
    /// Only what this user requested or did.
    #[arg(long, value_name = "USER")]
    of_user: Option<String>,
    /// Only requests for this role, and eligibilities of it.
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
    /// Only this eligibility, and requests under it.
    #[arg(long, value_name = "ELIGIBILITY")]
    eligibility: Option<String>,
    /// Only events of this kind, such as Granted or Revoked; can be repeated.
    #[arg(long, value_name = "EVENT")]
    event: Vec<String>,
}

/// Parses a point in the past.
fn ago(text: &str) -> Result<When, String> {
    When::parse(text, "24h")
}

impl Selection {
    fn selects(&self, event: &Recorded, namespace: Option<&str>, now: Timestamp) -> bool {
        let data = &event.data;
        let is = |wanted: &Option<String>, found: Option<&str>| wanted.as_deref().is_none_or(|wanted| found == Some(wanted));
        let name = (data.object.kind == "RoleEligibility").then_some(data.object.name.as_str());
        self.since.is_none_or(|since| event.time >= since.before(now))
            && self.until.is_none_or(|until| event.time < until.before(now))
            && (is(&self.of_user, data.requester.as_deref()) || is(&self.of_user, Some(&data.actor)))
            && is(&self.role, data.role.as_deref())
            && (is(&self.eligibility, data.eligibility.as_deref()) || is(&self.eligibility, name))
            && (self.event.is_empty() || self.event.iter().any(|wanted| wanted.eq_ignore_ascii_case(&data.event)))
            && namespace.is_none_or(|namespace| data.object.namespace.as_deref() == Some(namespace))
    }

    /// Calls `each` with the selected events, oldest first.
    pub async fn each(
        &self,
        reader: &Reader,
        namespace: Option<&str>,
        screen: &Screen,
        mut each: impl FnMut(Placed),
    ) -> Result<(), Problem> {
        let now = screen.times.now();
        let mut entries = log::entries(reader, screen, "reading the log");
        while let Some((index, leaf, entry)) = entries.try_next().await? {
            if let Entry::Event(event) = entry
                && self.selects(&event, namespace, now)
            {
                each(Placed { index, leaf, event: *event });
            }
        }
        screen.clear();
        Ok(())
    }
}
