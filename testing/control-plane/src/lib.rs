//! A real Kubernetes control plane on this machine: upstream etcd, kube-apiserver and kube-controller-manager, without nodes, and the
//! operator.
//!
//! [`Plane::start`] builds missing programs and starts the three servers on free loopback ports. It provides kubeconfigs, clients, kubectl
//! and Helm for a set of users, and for users who sign in with an ID token ([`Cluster::sign_in`]). [`Operator::start`] installs the chart
//! and runs the operator's processes under the `ServiceAccount` objects of that chart. Both end everything that they started when they are
//! dropped, and when this process dies in any other way.

mod audit;
mod binaries;
mod certificates;
mod cluster;
mod components;
mod error;
mod interrupt;
mod issuer;
mod operator;
mod plane;
pub mod playground;
mod ports;
mod process;
mod programs;
mod proxy;
mod reaper;
mod state;
mod users;
mod wait;

pub use audit::{AuditEvent, AuditLog, AuditUser, ObjectReference, ResponseStatus};
pub use binaries::{Binaries, NodeBinaries, Release};
pub use cluster::{Cluster, Said};
pub use error::{Error, Result};
pub use interrupt::on_interrupt;
pub use issuer::{Provider, SignIn};
pub use operator::{Change, NAMESPACE, Operator, OperatorOptions, RELEASE, Server, ServiceOptions, secrets, wait_until_guarded};
pub use plane::{Options, Plane};
pub use ports::free_port;
pub use process::{Process, ProcessRecord, Spec};
pub use programs::{checkout, exit_code, program};
pub use proxy::{Call, Disorder, Disturbed, Fault, InForce, Proxy, Refusal, Rule};
pub use reaper::Reaper;
pub use state::{Held, State};
pub use users::{ADMIN, NODE, User, standard_users};
pub use wait::{wait_for, wait_for_ok};

/// Fails a test with a message unless the condition holds.
#[macro_export]
macro_rules! ensure {
    ($holds:expr, $($message:tt)+) => {
        let holds: bool = $holds;
        if !holds {
            return Err(format!($($message)+).into());
        }
    };
}
