//! The operator's program: subcommands `controller`, `webhook`, `crds`.
fn main() {
    for (name, yaml) in jit_rbac::api::crds::all().unwrap_or_default() { println!("# {name}\n---\n{yaml}"); }
}
