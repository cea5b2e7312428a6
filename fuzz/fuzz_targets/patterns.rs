#![no_main]

jit_rbac_fuzz::fuzzed!("patterns");
