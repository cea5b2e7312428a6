//! A Kubernetes cluster of one node on this machine, with upstream parts only: a control plane, kube-scheduler, kubelet, kube-proxy,
//! containerd, runc and CNI plugins.
//!
//! [`enter`] runs this program again in a network, mount and process namespace of its own; there [`Node::start`] starts the cluster. Whatever
//! happens to the program, the kernel ends all processes, mounts and interfaces together with the namespaces.

mod cgroups;
mod components;
mod forward;
mod image;
mod install;
mod namespaces;
mod node;
mod requirements;
mod run;

pub use forward::forward;
pub use install::image;
pub use namespaces::{Side, enter, enter_with};
pub use node::{Node, Options};
pub use requirements::missing;
pub use run::Run;
