use std::path::Path;

use control_plane::{Operator, OperatorOptions, Options, Plane, Result, State};

use crate::{checkout, playground};

/// Starts a plane with operator and examples, and leaves it running.
pub(crate) async fn up() -> Result<()> {
    let held = State::hold()?;
    if let Some(state) = held.load()? {
        if state.runs() {
            eprintln!("A plane is up already; `make down` ends it, `make run` restarts the operator on it.");
            say_where(&state.cluster.kubeconfig());
            return Ok(());
        }
        eprintln!("Something of the plane that was up has ended; starting afresh.");
        held.end().await?;
    }
    let root = checkout()?;
    let operator_options = OperatorOptions::of_checkout(&root)?;
    let options = Options { directory: Some(held.directory()), ..Options::default() };
    eprintln!("Starting etcd, kube-apiserver and kube-controller-manager.");
    let plane = Plane::start(options).await?;
    let cluster = plane.cluster().clone();
    playground::namespaces(&cluster).await?;
    playground::requesters(&cluster).await?;
    eprintln!("Installing charts/jit-rbac; starting the webhook and {} controllers.", operator_options.replicas);
    let operator = Operator::start(&cluster, plane.minder(), operator_options).await?;
    playground::examples(&cluster, &root.join("examples")).await?;

    let state = State { plane: plane.records()?, operator: operator.records()?, webhook_port: operator.webhook_port(), cluster };
    held.save(&state)?;
    operator.detach();
    plane.detach();
    eprintln!("Up. Logs are in {}; `make down` ends it all.", state.cluster.directory().display());
    eprintln!("If you have no kubectl of your own: alias kubectl={}", quoted(&state.cluster.binaries().kubectl.display().to_string()));
    say_where(&state.cluster.kubeconfig());
    Ok(())
}

/// The one line for the shell: `eval "$(make up)"` works.
fn say_where(kubeconfig: &Path) {
    println!("export KUBECONFIG={}", quoted(&kubeconfig.display().to_string()));
}

/// The path as a shell reads it; the usual ones need no quotes.
fn quoted(path: &str) -> String {
    if path.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+".contains(c)) {
        return path.to_owned();
    }
    format!("'{}'", path.replace('\'', r"'\''"))
}
