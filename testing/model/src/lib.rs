//! The protocol of jit-rbac as a model of which every state is visited: two replicas, the API server, the webhook, the Lease, clocks.
//!
//! The model does not run the product. Each step stands for lines of the product and names them; a change of those lines must change the
//! step. `docs/model.md` lists what is covered, what breaks without which guard, and what was found.
//!
//! **A step** is one call to the API server with the work in the process that follows it, one delivery by a watch, one act of a user or
//! attacker, or a tick. Between any two steps a replica can end or be paused.
//!
//! **Time.** A tick is about a second. Times of the API server are exact ticks; a replica's clock is a fixed number of ticks off. Waits
//! keep their order, not their length: patience 1, belief in the Lease 2, the Lease 3. A running replica does its due work before the next
//! tick. A slow replica is therefore modelled as a paused one, and a late event as a watch that delivers nothing. Both can last forever.
//!
//! **Bounds.** One name of a request (and so at most two requests, one after the other), one user, one eligibility; two replicas; a handful
//! of acts ([`setting::Act`]), each once, in any order, within the first ticks. Runs end at a last tick by which everything has ended.
//!
//! **Left out.** Several requests at a time (limits, extension chains, reviews), the content of eligibilities, policies and roles, the
//! record of proven guards on the Lease, retention, scheduled starts, the backoff of queues. The garbage collector: the properties hold
//! without it. A replica works on the request with one call at a time and on bindings with one call at a time, the two concurrently. The
//! watches of requests and decisions deliver together, the last state only. A replica that begins first sweeps and then works; the
//! product's watch works meanwhile.
//!
//! **Liveness** (invariant 31) is checked as safety, see [`properties`].

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
