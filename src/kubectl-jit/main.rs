//! The kubectl plugin: `kubectl jit`.

fn main() -> std::process::ExitCode {
    kubectl_jit::main()
}
