use std::path::Path;

use control_plane::{
    Operator, OperatorOptions, Options, Plane, Result, State, checkout,
    playground::{self, AuditLog, MailServer},
};

/// Starts a control plane with operator and examples, and leaves it running.
pub(crate) async fn up() -> Result<()> {
    let held = State::hold()?;
    if let Some(state) = held.load()? {
        if state.runs() {
            eprintln!("A control plane is already running; `make down` stops it, `make run` restarts the operator on it.");
            say_where(&state.cluster.kubeconfig(), &state.cluster.binaries().kubectl);
            return Ok(());
        }
        eprintln!("Part of the earlier control plane has ended; starting a new one.");
        held.end().await?;
    }
    let root = checkout()?;
    let mut operator_options = OperatorOptions::of_checkout(&root)?;
    let options = Options { directory: Some(held.directory()), ..Options::default() };
    eprintln!("Starting etcd, kube-apiserver and kube-controller-manager.");
    let plane = Plane::start(options).await?;
    let cluster = plane.cluster().clone();
    let audit_log = AuditLog::prepare(cluster.directory())?;
    audit_log.add_to(&mut operator_options);
    let mail = MailServer::start(&cluster, plane.reaper()).await?;
    MailServer::add_to(&mut operator_options);
    playground::namespaces(&cluster).await?;
    playground::requesters(&cluster).await?;
    eprintln!("Installing charts/jit-rbac; starting the webhook and {} controllers.", operator_options.replicas);
    let operator = Operator::start(&cluster, plane.reaper(), operator_options).await?;
    mail.receive(&cluster).await?;
    playground::examples(&cluster, &root.join("examples")).await?;

    let servers = std::iter::once(mail.record()?).chain(plane.records()?).collect();
    let state = State { plane: servers, operator: operator.records()?, webhook_port: operator.webhook_port(), cluster };
    held.save(&state)?;
    operator.detach();
    mail.detach();
    plane.detach();
    eprintln!("Notifications arrive at {}.", mail.page());
    eprintln!("The audit log is in {}: `kubectl jit record list --log {0} --key {}`.", audit_log.log.display(), audit_log.key.display());
    eprintln!("The control plane is running. Logs are in {}; `make down` stops it.", state.cluster.directory().display());
    say_where(&state.cluster.kubeconfig(), &state.cluster.binaries().kubectl);
    Ok(())
}

/// Returns the one line for the shell: `eval "$(make up)"` works. The built kubectl comes after the user's own on the path, and so does the
/// plugin that was built with this program.
fn say_where(kubeconfig: &Path, kubectl: &Path) {
    let this = std::env::current_exe().unwrap_or_default();
    let directories = [kubectl, this.as_path()].into_iter().filter_map(Path::parent);
    let path: Vec<String> = directories.map(|directory| quoted(&directory.display().to_string())).collect();
    println!("export KUBECONFIG={} PATH=\"$PATH\":{}", quoted(&kubeconfig.display().to_string()), path.join(":"));
}

/// Quotes the path for a shell; the usual paths need no quotes.
fn quoted(path: &str) -> String {
    if path.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+".contains(c)) {
        return path.to_owned();
    }
    format!("'{}'", path.replace('\'', r"'\''"))
}
