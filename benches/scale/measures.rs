//! The figures of the scale measurement.

use serde::{Deserialize, Serialize};

/// One of the figures of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// Resident memory of the replica that holds the Lease.
    LeaderMemory,
    /// Resident memory of a replica that was just started.
    StartedMemory,
    /// CPU of the idle leader.
    IdleCpu,
    /// From a replica's start to its last timer.
    StartUp,
    /// From a request's creation until its binding is observed.
    CreatedToSeen,
    /// The same from the call that creates the request.
    AskedToSeen,
    /// From a grant's deadline until the deletion of its binding is observed.
    DeadlineToGone,
    /// Activations per second while the step was filled.
    Rate,
    /// Resident memory of kube-apiserver.
    ApiserverMemory,
    /// Resident memory of etcd.
    EtcdMemory,
}

impl Measure {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::LeaderMemory,
        Self::StartedMemory,
        Self::IdleCpu,
        Self::StartUp,
        Self::CreatedToSeen,
        Self::AskedToSeen,
        Self::DeadlineToGone,
        Self::Rate,
        Self::ApiserverMemory,
        Self::EtcdMemory,
    ];

    /// Its display name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LeaderMemory => "memory of the leader",
            Self::StartedMemory => "memory of a replica just started",
            Self::IdleCpu => "CPU of the leader, idle",
            Self::StartUp => "start to the last timer armed",
            Self::CreatedToSeen => "request created to binding observed, p50",
            Self::AskedToSeen => "the same from the call, p50",
            Self::DeadlineToGone => "deadline to binding gone, p50",
            Self::Rate => "activations per second, 16 at once",
            Self::ApiserverMemory => "memory of the API server",
            Self::EtcdMemory => "memory of etcd",
        }
    }

    /// Its unit.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::LeaderMemory | Self::StartedMemory | Self::ApiserverMemory | Self::EtcdMemory => "MiB",
            Self::IdleCpu => "%",
            Self::StartUp | Self::CreatedToSeen | Self::AskedToSeen | Self::DeadlineToGone => "ms",
            Self::Rate => "1/s",
        }
    }

    /// Returns false where a step is complete without it: there is no rate where nothing had to be filled.
    pub const fn is_needed(self) -> bool {
        !matches!(self, Self::Rate)
    }
}
