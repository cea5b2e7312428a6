//! The audit log of the cluster: what happened becomes entries of a transparency log.
