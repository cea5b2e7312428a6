use std::sync::Arc;

use control_plane::{
    Error, Operator, OperatorOptions, Reaper, Result, State, checkout,
    playground::{AuditLog, MailServer},
};

/// Upgrades the chart and restarts the operator on the running control plane.
pub(crate) async fn run() -> Result<()> {
    let held = State::hold()?;
    let mut state = held.load()?.ok_or_else(|| Error::State("no control plane is running: `make up` starts one".to_owned()))?;
    if !state.plane.iter().all(control_plane::ProcessRecord::runs) {
        return Err(Error::State("the control plane has ended: `make up` starts a new one".to_owned()));
    }
    let mut options = OperatorOptions::of_checkout(&checkout()?)?;
    AuditLog::prepare(state.cluster.directory())?.add_to(&mut options);
    MailServer::add_to(&mut options);
    options.webhook_port = Some(state.webhook_port);
    state.end_operator().await?;
    held.save(&state)?;
    // On an interrupt this ends the processes that were started here; the control plane itself stays.
    let reaper = Arc::new(Reaper::start(None)?);
    let operator = Operator::start(&state.cluster, &reaper, options).await?;
    state.operator = operator.records()?;
    held.save(&state)?;
    operator.detach();
    eprintln!("The operator has been restarted. Logs are in {}", state.cluster.directory().join("operator").display());
    Ok(())
}
