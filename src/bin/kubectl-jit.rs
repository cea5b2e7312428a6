//! The kubectl plugin: `kubectl jit`.

fn main() -> std::process::ExitCode {
    jit_rbac::plugin::main()
}
