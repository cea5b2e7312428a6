//! The serving certificate: stored and renewed in the chart's Secret, or read from files that another component writes.
//!
//! Several replicas do this concurrently. The Secret is replaced only in the version that was read, so that all replicas serve what one of
//! them created. A certificate is served only after both webhook configurations trust its CA (T44).

use std::{path::Path, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    ByteString,
    api::{
        admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig},
        core::v1::Secret,
    },
};
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams, PostParams},
};
use parking_lot::RwLock;
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use serde::{Serialize, de::DeserializeOwned};
use tracing::{info, warn};

use super::{
    authority::{self, AuthorityError, Plan, Stored},
    bundle,
};
use crate::config::{Certificate, Config};
use api::{instant::stamp, names};
use kube_io::{
    backoff::Backoff,
    call::{ReadError, WriteError, read, write},
};
use process::health::Health;

/// The name of the certificate in readiness.
pub const NEED: &str = "certificate";
/// Interval of checks of Secret, configurations or files.
const CHECK: Duration = Duration::from_secs(15);
/// First delay after an error. It doubles with each further error, up to [`CHECK`].
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Time for API servers to load a CA before a certificate by it replaces another one.
const NOTICE: Duration = Duration::from_secs(3);
/// How often a Secret that another replica wrote concurrently is read again at once.
const ATTEMPTS: usize = 5;
/// Names of the webhook in addition to the configured ones, for access on the machine itself.
const LOCAL_NAMES: [&str; 2] = ["localhost", "127.0.0.1"];

/// Why there is no certificate, or no renewed one.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A read failed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A write failed.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// An object that the chart creates does not exist.
    #[error("{0} does not exist; the chart jit-rbac creates it")]
    Missing(String),
    /// No certificate could be created.
    #[error(transparent)]
    Make(#[from] AuthorityError),
    /// The stored certificate cannot be served.
    #[error("{0}")]
    Unusable(&'static str),
    /// A file could not be read.
    #[error("cannot read {path}: {source}")]
    File {
        /// Its path.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// Other replicas wrote the Secret at each attempt.
    #[error("the Secret of the certificate is being written by other replicas")]
    Contended,
}

/// The certificate for new connections.
#[derive(Debug, Default)]
pub struct Served(RwLock<Option<Certified>>);

#[derive(Debug)]
struct Certified {
    key: Arc<CertifiedKey>,
    until: Option<Timestamp>,
}

impl Served {
    /// Returns when the certificate expires; none while there is no certificate.
    #[must_use]
    pub fn until(&self) -> Option<Timestamp> {
        self.0.read().as_ref().and_then(|certified| certified.until)
    }
}

impl ResolvesServerCert for Served {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.read().as_ref().map(|certified| certified.key.clone())
    }
}

/// Keeps `served` up to date for ever.
pub async fn keep(client: Client, config: &Config, served: &Served, health: &Health) {
    let mut keeper = Keeper { client, config, served, presented: Presented::default() };
    let mut backoff = Backoff::new(FIRST_PAUSE, CHECK);
    loop {
        let looked = keeper.look().await;
        // After any error, the certificate that is served already remains usable until it expires.
        health.set(NEED, keeper.presented.is_valid());
        match looked {
            Ok(()) => {
                backoff.reset();
                tokio::time::sleep(CHECK).await;
            }
            Err(error) => {
                let pause = backoff.next_delay();
                warn!(%error, again_in = ?pause, "cannot check or renew the certificate, retrying");
                tokio::time::sleep(pause).await;
            }
        }
    }
}

struct Keeper<'a> {
    client: Client,
    config: &'a Config,
    served: &'a Served,
    presented: Presented,
}

/// The served certificate as PEM, to detect changes.
#[derive(Default)]
struct Presented {
    authorities: Vec<u8>,
    leaf: Vec<u8>,
    key: Vec<u8>,
}

impl Presented {
    fn is_valid(&self) -> bool {
        authority::validity_of(&self.leaf).is_some_and(|(_, until)| Timestamp::now() < until)
    }
}

impl Keeper<'_> {
    async fn look(&mut self) -> Result<(), CertificateError> {
        match &self.config.webhook.certificate {
            Certificate::Directory(directory) => {
                let (leaf, key) = (file(&directory.join("tls.crt")).await?, file(&directory.join("tls.key")).await?);
                self.present(Vec::new(), leaf, key)
            }
            Certificate::SelfManaged { secret, dns_names } => {
                let mut names: Vec<String> = dns_names.iter().map(String::as_str).chain(LOCAL_NAMES).map(str::to_owned).collect();
                names.sort_unstable();
                names.dedup();
                let stored = self.stored(secret, &names).await?;
                let told = self.tell(&stored.authorities).await?;
                if told && !self.presented.leaf.is_empty() && self.presented.leaf != stored.leaf {
                    tokio::time::sleep(NOTICE).await;
                }
                self.present(stored.authorities, stored.leaf, stored.leaf_key)
            }
        }
    }

    fn present(&mut self, authorities: Vec<u8>, leaf: Vec<u8>, key: Vec<u8>) -> Result<(), CertificateError> {
        if self.presented.leaf != leaf || self.presented.key != key {
            let certified = Arc::new(authority::certified(&leaf, &key).map_err(CertificateError::Unusable)?);
            let until = authority::validity_of(&leaf).map(|(_, until)| until);
            *self.served.0.write() = Some(Certified { key: certified, until });
            info!(until = until.map(stamp).unwrap_or_default(), "serving a new certificate");
        }
        self.presented = Presented { authorities, leaf, key };
        Ok(())
    }

    /// Returns the content of the Secret once it needs no change.
    async fn stored(&self, name: &str, names: &[String]) -> Result<Stored, CertificateError> {
        let namespace = &self.config.operator_namespace;
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let what = || format!("Secret '{namespace}/{name}'");
        for _ in 0..ATTEMPTS {
            let mut secret = read(what, api.get_opt(name)).await?.ok_or_else(|| CertificateError::Missing(what()))?;
            let stored = from_secret(&secret);
            let now = Timestamp::now();
            let plan = authority::evaluate(now, &stored, names);
            let Some(made) = authority::carry_out(plan, now, &stored, &self.presented.authorities, names)? else { return Ok(stored) };
            secret.data.get_or_insert_default().extend(to_data(&made));
            let post = PostParams { field_manager: Some(names::WEBHOOK_FIELD_MANAGER.to_owned()), ..PostParams::default() };
            match write(|| format!("write {}", what()), api.replace(name, &post, &secret)).await {
                Ok(_) => {
                    let why = match plan {
                        Plan::RenewAll(why) | Plan::RenewLeaf(why) => why,
                        Plan::Keep | Plan::DropOld => "every replica has switched to the new CA",
                    };
                    // A field named `secret` would be redacted.
                    info!(object = name, why, "certificate written");
                    return Ok(made);
                }
                Err(error) if error.answer().is_some_and(kube::core::Status::is_conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(CertificateError::Contended)
    }

    /// Writes the CA into both webhook configurations where it differs. True when something was written.
    async fn tell(&self, authorities: &[u8]) -> Result<bool, CertificateError> {
        let names = &self.config.webhook;
        let mutating = self.tell_one(&names.mutating_configuration, authorities, |config: &MutatingWebhookConfiguration| {
            config.webhooks.iter().flatten().map(|webhook| (webhook.name.clone(), webhook.client_config.clone())).collect()
        });
        let validating = self.tell_one(&names.validating_configuration, authorities, |config: &ValidatingWebhookConfiguration| {
            config.webhooks.iter().flatten().map(|webhook| (webhook.name.clone(), webhook.client_config.clone())).collect()
        });
        let (mutating, validating) = tokio::try_join!(mutating, validating)?;
        Ok(mutating || validating)
    }

    async fn tell_one<K>(
        &self,
        name: &str,
        authorities: &[u8],
        webhooks: impl Fn(&K) -> Vec<(String, WebhookClientConfig)>,
    ) -> Result<bool, CertificateError>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::ClusterResourceScope> + Clone + std::fmt::Debug + DeserializeOwned + Serialize,
    {
        let api: Api<K> = Api::all(self.client.clone());
        let what = || format!("{} '{name}'", K::kind(&()));
        let config = read(what, api.get_opt(name)).await?.ok_or_else(|| CertificateError::Missing(what()))?;
        let patch = bundle::patch(&webhooks(&config), authorities)
            .map_err(|webhook| CertificateError::Missing(format!("webhook '{webhook}' in {}", what())))?;
        if patch.is_empty() {
            return Ok(false);
        }
        let params = PatchParams { field_manager: Some(names::WEBHOOK_FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        write(|| format!("write the CA into {}", what()), api.patch(name, &params, &Patch::<()>::Json(patch))).await?;
        info!(configuration = what(), "CA written");
        Ok(true)
    }
}

const AUTHORITIES: &str = "ca.crt";
const AUTHORITY_KEY: &str = "ca.key";
const LEAF: &str = "tls.crt";
const LEAF_KEY: &str = "tls.key";

fn from_secret(secret: &Secret) -> Stored {
    let value = |key: &str| secret.data.as_ref().and_then(|data| data.get(key)).map(|value| value.0.clone()).unwrap_or_default();
    Stored { authorities: value(AUTHORITIES), authority_key: value(AUTHORITY_KEY), leaf: value(LEAF), leaf_key: value(LEAF_KEY) }
}

fn to_data(stored: &Stored) -> [(String, ByteString); 4] {
    let value = |key: &str, value: &[u8]| (key.to_owned(), ByteString(value.to_vec()));
    [
        value(AUTHORITIES, &stored.authorities),
        value(AUTHORITY_KEY, &stored.authority_key),
        value(LEAF, &stored.leaf),
        value(LEAF_KEY, &stored.leaf_key),
    ]
}

async fn file(path: &Path) -> Result<Vec<u8>, CertificateError> {
    tokio::fs::read(path).await.map_err(|source| CertificateError::File { path: path.display().to_string(), source })
}
