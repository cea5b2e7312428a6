//! `jit-rbac check`: verifies an installation from the outside, as the pod of `helm test`. It needs two permissions only: to create
//! requests in the operator's namespace, which it does in dry runs, and to read the Lease of the controllers.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client, api::PostParams, core::ObjectMeta};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{info, warn};

use crate::config::Config;
use api::{
    Reason, RoleActivationRequest, RoleActivationRequestSpec,
    eligibility::NameRef,
    names::{FIELD_MANAGER, GUARDS, PEOPLE_WEBHOOK},
    text::printable,
};
use domain::{Refusal, guards::ledger::Ledger};
use kube_io::{
    call::{ReadError, WriteError, read, write},
    clock::Clock,
    connect::{AskAgain, attempt},
    lease::LeaseState,
    observed::unobserved,
};

/// Interval of checks.
const INTERVAL: Duration = Duration::from_secs(2);
/// No eligibility has this name: it is not a valid object name.
const NO_ELIGIBILITY: &str = "-";

/// A part of the installation that does not work.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// No call reached the API server.
    #[error("cannot reach the API server: {0}")]
    Unreachable(String),
    /// A read failed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The dry run failed for another reason than a denial by the webhook.
    #[error("the webhook did not answer a dry run: {0}")]
    NoAnswer(#[from] WriteError),
    /// The webhook denied the dry run for another reason than the expected one.
    #[error("the webhook denied a dry run with another reason than {expected}: {0}", expected = Reason::EligibilityNotFound)]
    AnotherReason(String),
    /// The dry run was accepted.
    #[error("a request for no eligibility was accepted in a dry run: the webhook was not called")]
    Accepted,
    /// There is no Lease.
    #[error("Lease '{0}' does not exist: no controller has ever run")]
    NoLease(String),
    /// No controller has renewed the Lease in time.
    #[error("no controller holds the Lease '{0}': nothing new is granted")]
    NoLeader(String),
    /// The record of the guards has no open span.
    #[error("the admission guards are not verified: nothing new is granted, and the controller's log has the cause")]
    NotVerified,
    /// The time limit was reached before any check was complete.
    #[error("no check was complete in time")]
    TimedOut,
}

/// Checks until everything works, at most for `patience`. Returns the last error.
pub async fn run(config: &Config, patience: Duration) -> Result<(), CheckError> {
    let end = Instant::now() + patience;
    let mut last = CheckError::TimedOut;
    while let Ok(outcome) = timeout_at(end, once(config)).await {
        let Err(error) = outcome else { return Ok(()) };
        warn!(%error, "not working yet");
        last = error;
        if timeout_at(end, sleep(INTERVAL)).await.is_err() {
            break;
        }
    }
    Err(last)
}

async fn once(config: &Config) -> Result<(), CheckError> {
    let clock = Clock::system();
    let agent = format!("jit-rbac-check/{}", env!("CARGO_PKG_VERSION"));
    let client = attempt(&agent, AskAgain::Caller, &clock, &unobserved()).await.map_err(CheckError::Unreachable)?;
    webhook(&client, &config.operator_namespace).await?;
    info!("the webhook answers, and denies an invalid request");
    let holder = controller(&client, config, clock.now()).await?;
    info!(holder, "a controller holds the Lease, and the admission guards are verified");
    Ok(())
}

/// Lets the API server call the webhook, in a dry run, about a request that it must deny.
async fn webhook(client: &Client, namespace: &str) -> Result<(), CheckError> {
    let metadata = ObjectMeta { generate_name: Some("check-".to_owned()), ..ObjectMeta::default() };
    let eligibility_ref = NameRef { name: NO_ELIGIBILITY.to_owned() };
    let spec = RoleActivationRequestSpec { eligibility_ref, ..RoleActivationRequestSpec::default() };
    let request = RoleActivationRequest { metadata, spec, status: None };
    let api: Api<RoleActivationRequest> = Api::namespaced(client.clone(), namespace);
    let dry_run = PostParams { dry_run: true, field_manager: Some(FIELD_MANAGER.to_owned()) };
    match write(|| "create a request".to_owned(), api.create(&dry_run, &request)).await {
        Ok(_) => Err(CheckError::Accepted),
        Err(error) => match error.answer().and_then(|status| denial(&status.message)) {
            Some(refusal) if refusal.reason == Reason::EligibilityNotFound => Ok(()),
            Some(refusal) => Err(CheckError::AnotherReason(printable(&refusal.to_string()))),
            None => Err(error.into()),
        },
    }
}

/// Returns the denial by the webhook in a message of the API server. A denial by an admission policy does not show that the webhook was
/// called.
fn denial(message: &str) -> Option<Refusal> {
    let said = message.strip_prefix(&format!("admission webhook \"{PEOPLE_WEBHOOK}\" denied the request: "))?;
    Refusal::parse(said)
}

/// Returns the holder of the Lease, if its record shows that the guards are verified.
async fn controller(client: &Client, config: &Config, now: Timestamp) -> Result<String, CheckError> {
    let name = &config.controller.lease;
    let api: Api<Lease> = Api::namespaced(client.clone(), &config.operator_namespace);
    let lease = read(|| format!("Lease '{name}'"), api.get_opt(name)).await?.ok_or_else(|| CheckError::NoLease(name.clone()))?;
    let holder = lease
        .spec
        .as_ref()
        .and_then(|spec| LeaseState::at(spec, now).holder)
        .map(str::to_owned)
        .ok_or_else(|| CheckError::NoLeader(name.clone()))?;
    let record = lease.metadata.annotations.as_ref().and_then(|all| all.get(GUARDS));
    let verified = Ledger::read(record.map(String::as_str)).is_some_and(|ledger| ledger.lasts());
    if verified { Ok(holder) } else { Err(CheckError::NotVerified) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_denial_of_the_webhook_counts() {
        let by = |who: &str| format!("{who} denied the request: EligibilityNotFound: there is no eligibility '-'");
        assert_eq!(denial(&by("admission webhook \"activations.jitrbac.dev\"")).unwrap().reason, Reason::EligibilityNotFound);
        assert_eq!(denial(&by("admission webhook \"other.example.com\"")), None);
        assert_eq!(denial("failed calling webhook \"activations.jitrbac.dev\": connection refused"), None);
    }
}
