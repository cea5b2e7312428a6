#!/usr/bin/env bash
# Cargo, for cargo-auditable. Cargo puts the path of the wrapper into the hashes of the crates, and other hashes give other bytes: so the
# wrapper, which cargo-auditable sets to its own path, is named without one.
RUSTC_WORKSPACE_WRAPPER=cargo-auditable exec cargo "$@"
