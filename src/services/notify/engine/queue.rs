//! The messages that wait for one receiver: in order for each thread, and bounded.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    sync::Arc,
};

use domain::notify::{occasion::Occasion, text::Text};
use jiff::Timestamp;

use crate::notify::Address;

/// Most messages that wait for a receiver.
pub const MOST_WAITING: usize = 1_000;

/// A message that waits.
#[derive(Clone, Debug)]
pub struct Item {
    /// What it is about.
    pub occasion: Arc<Occasion>,
    /// Its text.
    pub text: Arc<Text>,
    /// Its recipients, for mail.
    pub recipients: Vec<Address>,
    /// True for a message that is never part of a summary.
    pub is_critical: bool,
}

impl Item {
    fn id(&self) -> &str {
        &self.occasion.event.id
    }

    fn at(&self) -> Timestamp {
        self.occasion.event.at
    }
}

/// The waiting messages. One message of a thread is sent at a time.
#[derive(Debug, Default)]
pub struct Queue {
    lanes: HashMap<String, VecDeque<Item>>,
    /// The threads with a message, and none on the wire, in the order in which they are served.
    ready: VecDeque<String>,
    on_the_wire: HashSet<String>,
    /// Times and ids of all messages, with their threads.
    waiting: BTreeMap<(Timestamp, String), String>,
}

impl Queue {
    /// Returns the number of messages, with those on the wire.
    #[must_use]
    pub fn count(&self) -> usize {
        self.waiting.len()
    }

    /// Returns the time of the oldest event whose message is not sent.
    #[must_use]
    pub fn oldest(&self) -> Option<Timestamp> {
        self.waiting.first_key_value().map(|((at, _), _)| *at)
    }

    /// True for a message that waits already.
    #[must_use]
    pub fn has(&self, id: &str, at: Timestamp) -> bool {
        self.waiting.contains_key(&(at, id.to_owned()))
    }

    /// Adds a message. Returns the oldest one if there is no room for both.
    pub fn push(&mut self, item: Item) -> Option<Item> {
        let dropped = if self.count() >= MOST_WAITING { self.drop_oldest() } else { None };
        let thread = item.text.thread.clone();
        self.waiting.insert((item.at(), item.id().to_owned()), thread.clone());
        let lane = self.lanes.entry(thread.clone()).or_default();
        lane.push_back(item);
        if lane.len() == 1 && !self.on_the_wire.contains(&thread) {
            self.ready.push_back(thread);
        }
        dropped
    }

    fn drop_oldest(&mut self) -> Option<Item> {
        let (key, thread) = self.waiting.iter().find(|(_, thread)| !self.on_the_wire.contains(*thread))?;
        let (key, thread) = (key.clone(), thread.clone());
        let lane = self.lanes.get_mut(&thread)?;
        let place = lane.iter().position(|item| item.id() == key.1)?;
        let item = lane.remove(place);
        if lane.is_empty() {
            self.lanes.remove(&thread);
            self.ready.retain(|ready| *ready != thread);
        }
        self.waiting.remove(&key);
        item
    }

    /// Returns the next message that `is` accepts, which is on the wire from now on.
    pub fn take(&mut self, is: impl Fn(&Item) -> bool) -> Option<Item> {
        let front = |thread: &String| self.lanes.get(thread).and_then(VecDeque::front);
        let place = self.ready.iter().position(|thread| front(thread).is_some_and(&is))?;
        let thread = self.ready.remove(place)?;
        let item = self.lanes.get(&thread)?.front()?.clone();
        self.on_the_wire.insert(thread);
        Some(item)
    }

    /// Returns all messages that are not on the wire and that `is` accepts, oldest first. They are removed, and count as waiting until
    /// [`Queue::forget`].
    pub fn take_all(&mut self, is: impl Fn(&Item) -> bool) -> Vec<Item> {
        let mut taken = Vec::new();
        let threads: BTreeSet<String> = self.ready.iter().cloned().collect();
        for thread in threads {
            let Some(lane) = self.lanes.get_mut(&thread) else { continue };
            // In order: what follows a message that stays, stays too.
            while lane.front().is_some_and(&is) {
                taken.extend(lane.pop_front());
            }
            if lane.is_empty() {
                self.lanes.remove(&thread);
                self.ready.retain(|ready| *ready != thread);
            }
        }
        taken.sort_by_key(|item| (item.at(), item.id().to_owned()));
        taken
    }

    /// Returns to the queue what [`Queue::take_all`] returned.
    pub fn put_back(&mut self, items: Vec<Item>) {
        for item in items.into_iter().rev() {
            let thread = item.text.thread.clone();
            let lane = self.lanes.entry(thread.clone()).or_default();
            lane.push_front(item);
            if lane.len() == 1 && !self.on_the_wire.contains(&thread) {
                self.ready.push_back(thread);
            }
        }
    }

    /// Removes a message of [`Queue::take_all`] for good.
    pub fn forget(&mut self, item: &Item) {
        self.waiting.remove(&(item.at(), item.id().to_owned()));
    }

    /// Ends the sending of the first message of a thread: it is done.
    pub fn done(&mut self, item: &Item) {
        let thread = &item.text.thread;
        if let Some(lane) = self.lanes.get_mut(thread) {
            lane.pop_front();
            if lane.is_empty() {
                self.lanes.remove(thread);
            }
        }
        self.forget(item);
        self.release(thread);
    }

    /// Ends the sending of the first message of a thread: it is sent again later, to these recipients.
    pub fn again(&mut self, item: &Item, recipients: Vec<Address>) {
        let thread = &item.text.thread;
        if let Some(front) = self.lanes.get_mut(thread).and_then(VecDeque::front_mut)
            && !recipients.is_empty()
        {
            front.recipients = recipients;
        }
        self.release(thread);
    }

    fn release(&mut self, thread: &String) {
        if self.on_the_wire.remove(thread) && self.lanes.contains_key(thread) {
            self.ready.push_front(thread.clone());
        }
    }
}
