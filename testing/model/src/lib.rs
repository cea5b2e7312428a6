//! The protocol of jit-rbac as a model whose every world is visited: two replicas, the API server, the webhook, the Lease, clocks.
//!
//! Nothing here runs the product. Each step stands for lines of it, and says which; whoever changes those lines changes the step.
//! `docs/model.md` has what is covered, what breaks without which guard, and what was found.
//!
//! **A step** is one call to the API server with the work in the process that follows it, one delivery by a watch, one act of
//! somebody, or a tick. Between any two steps a replica can end or stand still.
//!
//! **Time.** A tick is about a second. Times of the API server are exact ticks; a replica's clock is a fixed number of ticks off. Waits
//! keep their order, not their length: patience 1, belief in the Lease 2, the Lease 3. A replica that runs does what is due before the
//! next tick: so a slow one is one that is paused, and a late event is a watch that is deaf. Both can last for ever.
//!
//! **Bounds.** One name of a request (and so at most two requests, one after the other), one person, one eligibility; two replicas; a
//! handful of acts ([`setting::Act`]), each once, in any order, within the first ticks. Runs end at a horizon by which all is over.
//!
//! **Left out.** Several requests at a time (limits, chains of extensions, reviews), the content of eligibilities, policies and roles,
//! the record of proven guards on the Lease, retention, scheduled starts, the pauses of queues. The garbage collector: what holds
//! here holds without it. A replica works on the request with one call at a time and on bindings with one call at a time, the two at
//! once. The watches of requests and decisions deliver together, the last state only. A replica that begins first sweeps and then
//! works; the product's watch works meanwhile.
//!
//! **Liveness** (invariant 31) is asked as safety, see [`properties`].

pub mod acts;
pub mod call;
pub mod faults;
pub mod grant;
pub mod guards;
pub mod model;
pub mod properties;
pub mod replica;
pub mod request;
pub mod revoker;
pub mod rules;
pub mod setting;
pub mod world;
