//! `plane`: builds, starts and ends a local control plane with the operator on it.
//!
//! What a shell should read (`export KUBECONFIG=...`) goes to standard output,
//! everything else to standard error.

mod build;
mod demo;
mod down;
mod run;
mod up;

use std::process::ExitCode;

use control_plane::{Release, exit_code};

const NAME: &str = env!("CARGO_BIN_NAME");

const COMMANDS: &str = "
  build      find or build etcd, kube-apiserver, kube-controller-manager, kubectl and Helm
  versions   print the minor versions of Kubernetes that KUBERNETES_VERSION can select
  up         start a control plane with the operator and the examples, and leave it running
  run        upgrade the chart and restart the operator on the running control plane
  demo       run the main use case on a control plane of its own
  down       stop the running control plane and remove its files
";

#[tokio::main]
async fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match *words.as_slice() {
        ["build"] => build::build().await,
        ["demo"] => demo::demo().await,
        ["versions"] => {
            println!("{}", Release::ALL.map(Release::name).join(" "));
            Ok(())
        }
        ["up"] => up::up().await,
        ["run"] => run::run().await,
        ["down"] => down::down().await,
        _ => {
            eprint!("usage: {NAME} <command>\n{COMMANDS}");
            return ExitCode::from(2);
        }
    };
    exit_code(NAME, done)
}
