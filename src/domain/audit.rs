//! The content of the audit log: the leaves for what happened and for what it rests on, and the replay that decides it again.
//!
//! Every [activity event](super::activity) is one leaf. The objects on which it rests are leaves of their own, before it, once per content: the
//! event names them by hash. So the log holds every input of every decision, and [`replay::Replay`] can run [`decide`](super::decide()) over it.

pub mod input;
pub mod leaf;
pub mod replay;
