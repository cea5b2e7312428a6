//! The audit log: a transparency log of tiles (C2SP tlog-tiles), its writer, its readers and its verification.
