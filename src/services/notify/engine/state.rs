//! The state of one receiver: what waits, what was sent, and whether it may be tried now. Times are parameters.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use tokio::time::Instant;

use super::queue::{Item, Queue};
use crate::notify::{Address, Alertmanager, Outcome, PagerDuty, Reason, Receiver, Settings, Slack, Smtp, SmtpTls, Webhook};
use api::{
    Line, NotificationReceiver, NotificationReceiverStatus, ReceiverType, conditions,
    notification_receiver::{LastError, LastTest, SmtpEncryption},
    text::printable,
};
use domain::notify::position::Handled;

/// Messages in a minute beyond which those for people become a summary.
pub const MOST_A_MINUTE: usize = 20;
const MINUTE: Duration = Duration::from_mins(1);
/// The first and the longest delay before an attempt is repeated.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(5);
/// Most messages of different threads on the wire.
pub const CONCURRENT: usize = 8;

/// Why nothing is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// The reason.
    pub reason: &'static str,
    /// The error.
    pub why: String,
    /// False where only a changed spec or Secret can help.
    pub is_retried: bool,
}

/// What to do next.
#[derive(Debug)]
pub enum Next {
    /// Send this.
    Send(Box<Item>),
    /// Send these as one.
    Summary(Vec<Item>),
    /// Nothing before this time, if any.
    Wait(Option<Instant>),
}

/// The state of one receiver.
#[derive(Debug)]
pub struct State {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// The generation of its spec.
    pub generation: Option<i64>,
    /// When it was created. Earlier events are not sent.
    pub created: Timestamp,
    /// Its type.
    pub kind: ReceiverType,
    /// Its settings.
    pub receiver: Arc<Receiver>,
    /// True: nothing is sent.
    pub is_suspended: bool,
    /// What waits.
    pub queue: Queue,
    /// What was sent.
    pub handled: Handled,
    /// Its status, as far as it is not in other fields.
    pub status: NotificationReceiverStatus,
    /// Why nothing is sent, or the last error while it is repeated.
    pub blocked: Option<Blocked>,
    /// What was dropped since the last report.
    pub unreported: i64,
    /// Messages on the wire.
    pub on_the_wire: usize,
    limit: Option<(f64, f64)>,
    tokens: f64,
    refilled: Instant,
    failures: u32,
    retry_at: Option<Instant>,
    recent: VecDeque<Instant>,
    /// Since when messages are collected for a summary.
    collecting: Option<Instant>,
}

/// Returns the settings of a receiver for the sender.
#[must_use]
pub fn settings(stored: &NotificationReceiver, secrets: &std::path::Path) -> Receiver {
    let spec = &stored.spec;
    let sink = match spec.kind {
        ReceiverType::Webhook => Settings::Webhook(Webhook { url: spec.webhook.as_ref().and_then(|webhook| webhook.url.clone()) }),
        ReceiverType::Smtp => {
            let smtp = spec.smtp.clone().unwrap_or_default();
            let tls = match smtp.tls.unwrap_or_default() {
                SmtpEncryption::Implicit => SmtpTls::Implicit,
                SmtpEncryption::StartTls => SmtpTls::StartTls,
                SmtpEncryption::None => SmtpTls::Plain,
            };
            Settings::Smtp(Smtp {
                host: smtp.host,
                port: smtp.port,
                tls,
                from: smtp.from.to_string(),
                reply_to: smtp.reply_to.map(|line| line.to_string()),
            })
        }
        ReceiverType::Slack => {
            let slack = spec.slack.clone().unwrap_or_default();
            Settings::Slack(Slack { channel: slack.channel.to_string(), api_url: slack.api_url })
        }
        ReceiverType::TeamsWorkflow => Settings::TeamsWorkflow,
        ReceiverType::PagerDuty => {
            Settings::PagerDuty(PagerDuty { url: spec.pager_duty.as_ref().and_then(|settings| settings.url.clone()) })
        }
        ReceiverType::Alertmanager => {
            let alertmanager = spec.alertmanager.clone().unwrap_or_default();
            Settings::Alertmanager(Alertmanager { urls: alertmanager.urls, labels: alertmanager.labels })
        }
    };
    let templates = spec.templates.clone().unwrap_or_default();
    Receiver {
        name: stored.metadata.name.clone().unwrap_or_default(),
        sink,
        // The schema allows no name that leads out of the folder.
        secrets: spec
            .secret_ref
            .as_ref()
            .filter(|secret| api::names::is_object_name(&secret.name))
            .map(|secret| secrets.join(&secret.name)),
        title: templates.title,
        body: templates.body,
    }
}

impl State {
    /// Returns the state of a receiver that was read.
    #[must_use]
    pub fn new(stored: &NotificationReceiver, secrets: &std::path::Path, now: Instant) -> Self {
        let created = stored.metadata.creation_timestamp.as_ref().map(conditions::from_time).unwrap_or_default();
        let status = stored.status.clone().unwrap_or_default();
        let mut state = Self {
            name: stored.metadata.name.clone().unwrap_or_default(),
            uid: stored.metadata.uid.clone().unwrap_or_default(),
            generation: None,
            created,
            kind: stored.spec.kind,
            receiver: Arc::new(settings(stored, secrets)),
            is_suspended: false,
            queue: Queue::default(),
            handled: Handled::new(status.position.as_ref(), created),
            status,
            blocked: None,
            unreported: 0,
            on_the_wire: 0,
            limit: None,
            tokens: 0.0,
            refilled: now,
            failures: 0,
            retry_at: None,
            recent: VecDeque::new(),
            collecting: None,
        };
        state.apply(stored, secrets);
        state
    }

    /// Takes over a changed spec.
    pub fn apply(&mut self, stored: &NotificationReceiver, secrets: &std::path::Path) {
        self.generation = stored.metadata.generation;
        self.kind = stored.spec.kind;
        self.receiver = Arc::new(settings(stored, secrets));
        self.is_suspended = stored.spec.suspend;
        let limit = stored.spec.rate_limit.map(|limit| (f64::from(limit.per_minute) / 60.0, f64::from(limit.burst.unwrap_or(10))));
        if limit != self.limit {
            self.tokens = limit.map_or(0.0, |(_, burst)| burst);
            self.limit = limit;
        }
        self.unblock();
    }

    /// Allows another attempt at once.
    pub fn unblock(&mut self) {
        self.blocked = None;
        self.failures = 0;
        self.retry_at = None;
    }

    /// Offers a message. `is_new` is true if the object was reported without this event before. Returns one that was dropped for it.
    pub fn offer(&mut self, item: Item, is_new: bool) -> Option<Item> {
        let event = &item.occasion.event;
        if event.at < self.created || self.queue.has(&event.id, event.at) {
            return None;
        }
        let was_handled = if is_new { self.handled.has_exactly(&event.id, event.at) } else { self.handled.has(&event.id, event.at) };
        if was_handled {
            return None;
        }
        let dropped = self.queue.push(item)?;
        self.handled.add(&dropped.occasion.event.id, dropped.occasion.event.at);
        self.status.dropped += 1;
        self.unreported += 1;
        Some(dropped)
    }

    /// Returns what to do now.
    pub fn next(&mut self, now: Instant) -> Next {
        let is_blocked = self.blocked.as_ref().is_some_and(|blocked| !blocked.is_retried);
        if self.is_suspended || is_blocked {
            return Next::Wait(None);
        }
        if let Some(at) = self.retry_at.filter(|at| *at > now) {
            return Next::Wait(Some(at));
        }
        // While it fails, one message at a time finds out whether it works again.
        let limit = if self.failures > 0 { 1 } else { CONCURRENT };
        if self.on_the_wire >= limit {
            return Next::Wait(None);
        }
        if let Some(at) = self.token_at(now) {
            return Next::Wait(Some(at));
        }
        let item = if self.is_collecting(now) {
            if let Some(item) = self.queue.take(|item| item.is_critical) {
                item
            } else {
                let Some(since) = self.collecting else { return Next::Wait(None) };
                if now < since + MINUTE {
                    return Next::Wait(Some(since + MINUTE));
                }
                let all = self.queue.take_all(|item| !item.is_critical);
                self.collecting = None;
                self.recent.clear();
                let Some(first) = all.first() else { return self.next(now) };
                // One summary for each group of recipients; the others are next.
                let recipients = first.recipients.clone();
                let (own, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|item| item.recipients == recipients);
                if !others.is_empty() {
                    self.queue.put_back(others);
                    self.collecting = now.checked_sub(MINUTE);
                }
                self.sending(now);
                return Next::Summary(own);
            }
        } else {
            match self.queue.take(|_| true) {
                Some(item) => item,
                None => return Next::Wait(None),
            }
        };
        self.sending(now);
        Next::Send(Box::new(item))
    }

    fn sending(&mut self, now: Instant) {
        self.on_the_wire += 1;
        self.tokens -= 1.0;
        self.recent.push_back(now);
    }

    /// Returns when the rate limit allows the next message, if not now.
    fn token_at(&mut self, now: Instant) -> Option<Instant> {
        let (per_second, burst) = self.limit?;
        self.tokens = (self.tokens + now.duration_since(self.refilled).as_secs_f64() * per_second).min(burst);
        self.refilled = now;
        (self.tokens < 1.0).then(|| now + Duration::from_secs_f64((1.0 - self.tokens) / per_second) + Duration::from_millis(1))
    }

    fn is_collecting(&mut self, now: Instant) -> bool {
        if !self.kind.is_read_by_people() {
            return false;
        }
        while self.recent.front().is_some_and(|at| now.duration_since(*at) >= MINUTE) {
            self.recent.pop_front();
        }
        if self.collecting.is_none() && self.recent.len() >= MOST_A_MINUTE {
            self.collecting = Some(now);
        }
        self.collecting.is_some()
    }

    /// Records the answer to a message. Returns what became of it, or none if it is repeated. `jitter` is between 0 and 1.
    pub fn answered(
        &mut self,
        items: &[Item],
        is_summary: bool,
        outcome: &Outcome,
        now: Instant,
        time: Timestamp,
        jitter: f64,
    ) -> Option<bool> {
        self.on_the_wire = self.on_the_wire.saturating_sub(1);
        match outcome {
            Outcome::Delivered { reference, notes } => {
                self.status.sent += 1;
                self.unblock();
                if let Some(note) = notes.first() {
                    self.error("Partial", note, time);
                }
                for item in items {
                    if reference.is_some() && !is_summary {
                        let is_open = item.text.state != domain::notify::text::State::Resolved;
                        self.handled.refer(&item.text.thread, reference.clone().filter(|_| is_open));
                    }
                    self.finish(item, is_summary);
                }
                Some(true)
            }
            Outcome::Retry { after, why, left } => {
                self.failures = self.failures.saturating_add(1);
                let delay = after.unwrap_or_else(|| backoff(self.failures, jitter));
                self.retry_at = Some(now + delay);
                self.error("Retrying", why, time);
                self.blocked = Some(Blocked { reason: "Retrying", why: why.clone(), is_retried: true });
                self.give_back(items, is_summary, left);
                None
            }
            Outcome::Refused { reason, why } => {
                self.status.failed += 1;
                self.error(reason.as_str(), why, time);
                // Another message may be accepted; what concerns the settings would fail for all of them.
                let is_about_message = matches!(reason, Reason::Rejected | Reason::NoRecipient);
                self.blocked = Some(Blocked { reason: reason.as_str(), why: why.clone(), is_retried: is_about_message });
                if is_about_message {
                    for item in items {
                        self.finish(item, is_summary);
                    }
                    Some(false)
                } else {
                    self.give_back(items, is_summary, &[]);
                    None
                }
            }
        }
    }

    fn give_back(&mut self, items: &[Item], is_summary: bool, left: &[Address]) {
        match items {
            [item] if !is_summary => self.queue.again(item, left.to_vec()),
            _ => {
                self.queue.put_back(items.to_vec());
                self.collecting = Instant::now().checked_sub(MINUTE);
            }
        }
    }

    /// Removes a message that was sent, refused or is outdated.
    fn finish(&mut self, item: &Item, is_summary: bool) {
        if is_summary {
            self.queue.forget(item);
        } else {
            self.queue.done(item);
        }
        self.handled.add(&item.occasion.event.id, item.occasion.event.at);
    }

    /// Removes a message that is outdated.
    pub fn outdated(&mut self, item: &Item) {
        self.on_the_wire = self.on_the_wire.saturating_sub(1);
        self.recent.pop_back();
        self.tokens += 1.0;
        self.finish(item, false);
    }

    /// Records an error in the status.
    pub fn error(&mut self, reason: &str, why: &str, time: Timestamp) {
        self.status.last_error = Some(LastError { time: api::instant::whole_seconds(time), reason: reason.to_owned(), message: line(why) });
    }

    /// Returns the status to store.
    pub fn report(&mut self, now: Timestamp) -> NotificationReceiverStatus {
        let (status, reason, message) = match &self.blocked {
            Some(blocked) => ("False", blocked.reason, blocked.why.clone()),
            None if self.is_suspended => ("False", "Suspended", "spec.suspend is true: messages wait".to_owned()),
            None => ("True", "Ready", "the settings are valid, and the last message was accepted".to_owned()),
        };
        let before = conditions::find(&self.status.conditions, conditions::READY);
        let since = before.filter(|before| before.status == status).map(|before| before.last_transition_time.clone());
        let ready = Condition {
            type_: conditions::READY.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: line::<1024>(&message).to_string(),
            observed_generation: self.generation,
            last_transition_time: since.unwrap_or_else(|| conditions::to_time(now)),
        };
        self.status.conditions = vec![ready];
        self.status.observed_generation = self.generation;
        self.status.position = Some(self.handled.position(self.queue.oldest()));
        self.status.clone()
    }

    /// Records the outcome of a test message.
    pub fn tested(&mut self, id: String, outcome: &Outcome, time: Timestamp) {
        let (accepted, reason, message) = match outcome {
            Outcome::Delivered { notes, .. } => {
                self.unblock();
                let notes = notes.join(", ");
                (true, "Accepted", if notes.is_empty() { "the receiver accepted the message".to_owned() } else { notes })
            }
            Outcome::Retry { why, .. } => (false, "Retrying", why.clone()),
            Outcome::Refused { reason, why } => (false, reason.as_str(), why.clone()),
        };
        let time = api::instant::whole_seconds(time);
        self.status.last_test = Some(LastTest { id, time, accepted, reason: reason.to_owned(), message: line(&message) });
    }
}

/// Returns `text` as one line, cut to what fits.
fn line<const MAX: usize>(text: &str) -> Line<MAX> {
    let cut: String = printable(text).chars().take(MAX).collect();
    Line::try_from(cut).unwrap_or_default()
}

/// Returns the delay before the next attempt: doubled each time, with a random part of up to a half.
fn backoff(failures: u32, jitter: f64) -> Duration {
    let doubled = FIRST.saturating_mul(1 << failures.saturating_sub(1).min(9)).min(LONGEST);
    doubled.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0).max(FIRST)
}
