//! Sends one message by one receiver.

use std::sync::Arc;

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use super::{
    guard::{Egress, EgressError, Guard, Lookup, System},
    http::Http,
    message::{Delivery, Failure, Message, Outcome, Reason},
    secrets::{self, Secrets},
    sending::Sending,
    settings::{Receiver, Settings},
    sinks::{alertmanager, pagerduty, slack, smtp, teams, webhook},
    text::{self, Text},
};

/// The key of a Secret with certificates of further authorities, in PEM, for its receiver alone.
const AUTHORITIES: &str = "ca.crt";

/// Sends messages. One is enough for a process: it can be shared, and it keeps connections.
pub struct Sender {
    guard: Arc<Guard>,
    http: Arc<Http>,
    roots: RootCertStore,
    /// Further authorities in PEM, for mail.
    authorities: Option<String>,
    source: String,
}

impl Sender {
    /// Creates a sender. `source` names the cluster in CloudEvents and events of PagerDuty, such as `//jit-rbac/production`.
    pub fn new(egress: &Egress, source: impl Into<String>) -> Result<Self, EgressError> {
        Self::with_lookup(egress, source, Arc::new(System))
    }

    /// Creates a sender that resolves names with `lookup`.
    pub fn with_lookup(egress: &Egress, source: impl Into<String>, lookup: Arc<dyn Lookup>) -> Result<Self, EgressError> {
        let guard = Arc::new(Guard::new(egress, lookup)?);
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        if let Some(pem) = &egress.authorities {
            trust(&mut roots, pem).map_err(EgressError::Authorities)?;
        }
        let http = Http::new(Arc::clone(&guard), roots.clone()).map_err(|error| EgressError::Authorities(error.to_string()))?;
        Ok(Self { guard, http: Arc::new(http), roots, authorities: egress.authorities.clone(), source: source.into() })
    }

    /// Checks a receiver without sending anything: its settings, its Secret, its templates, and whether its hosts are allowed. The error is
    /// for the condition `Ready`.
    pub fn check(&self, receiver: &Receiver) -> Result<(), (Reason, String)> {
        let checked = Secrets::read(receiver.secrets.as_deref()).and_then(|secrets| {
            let check = || {
                self.http(&secrets)?;
                text::check(receiver)?;
                match &receiver.sink {
                    Settings::Webhook(settings) => webhook::check(settings, &self.http, &secrets),
                    Settings::Smtp(settings) => smtp::check(settings, &self.guard, &secrets),
                    Settings::Alertmanager(settings) => alertmanager::check(settings, &self.http, &secrets),
                    Settings::Slack(settings) => slack::check(settings, &self.http, &secrets),
                    Settings::TeamsWorkflow => teams::check(&self.http, &secrets),
                    Settings::PagerDuty(settings) => pagerduty::check(settings, &self.http, &secrets),
                }
            };
            check().map_err(|failure| masked(failure, &secrets))
        });
        match checked {
            Ok(()) => Ok(()),
            Err(Failure::Refused { reason, why }) => Err((reason, why)),
            Err(Failure::Retry { why, .. }) => Err((Reason::SettingsInvalid, why)),
        }
    }

    /// Sends a message by a receiver. It returns within half a minute, and no error has a secret.
    pub async fn send(&self, receiver: &Receiver, message: &Message) -> Outcome {
        let secrets = match Secrets::read(receiver.secrets.as_deref()) {
            Ok(secrets) => secrets,
            Err(failure) => return Err(failure).into(),
        };
        let result = self.deliver(receiver, message, &secrets).await;
        // Notes quote what servers answered, as errors do.
        let notes = |delivery: Delivery| delivery.notes.iter().map(|note| secrets.masked(note)).collect();
        result
            .map(|delivery| Delivery { reference: delivery.reference.clone(), notes: notes(delivery) })
            .map_err(|failure| masked(failure, &secrets))
            .into()
    }

    async fn deliver(&self, receiver: &Receiver, message: &Message, secrets: &Secrets) -> Result<Delivery, Failure> {
        let http = self.http(secrets)?;
        let text = Text::new(receiver, message)?;
        let authorities = self.authorities.as_deref().into_iter().chain(secrets.get(AUTHORITIES)).collect();
        let sending = Sending { guard: &self.guard, http: &http, authorities, secrets, source: &self.source, message, text: &text };
        match &receiver.sink {
            Settings::Webhook(settings) => webhook::send(settings, &sending).await,
            Settings::Smtp(settings) => smtp::send(settings, &sending).await,
            Settings::Alertmanager(settings) => alertmanager::send(settings, &sending).await,
            Settings::Slack(settings) => slack::send(settings, &sending).await,
            Settings::TeamsWorkflow => teams::send(&sending).await,
            Settings::PagerDuty(settings) => pagerduty::send(settings, &sending).await,
        }
    }

    /// Returns the shared client, or one of its own for a receiver with its own authorities.
    fn http(&self, secrets: &Secrets) -> Result<Arc<Http>, Failure> {
        let Some(pem) = secrets.get(AUTHORITIES) else { return Ok(Arc::clone(&self.http)) };
        let mut roots = self.roots.clone();
        trust(&mut roots, pem).map_err(|error| secrets::invalid(AUTHORITIES, &error))?;
        Ok(Arc::new(Http::new(Arc::clone(&self.guard), roots)?))
    }
}

/// Adds certificates in PEM.
fn trust(roots: &mut RootCertStore, pem: &str) -> Result<(), String> {
    let mut is_empty = true;
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| format!("is not PEM: {error}"))?;
        roots.add(certificate).map_err(|error| format!("has a certificate that is not valid: {error}"))?;
        is_empty = false;
    }
    if is_empty { Err("has no certificate".to_owned()) } else { Ok(()) }
}

/// Removes secrets from the text of a failure.
fn masked(failure: Failure, secrets: &Secrets) -> Failure {
    match failure {
        Failure::Retry { after, why, left } => Failure::Retry { after, why: secrets.masked(&why), left },
        Failure::Refused { reason, why } => Failure::Refused { reason, why: secrets.masked(&why) },
    }
}
