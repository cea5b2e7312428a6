//! A second webhook process, which serves a certificate from files, as with cert-manager.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use control_plane::program;
use jiff::{ToSpan, Zoned};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use serde_json::{Value, json};
use tokio::process::Child;

use crate::{
    env::{ClusterFixture, Error, Outcome},
    faults::{by_hand, clock_skew::health_address},
};

/// The process. Dropping it kills it.
pub struct Webhook {
    _child: Child,
    /// The address of its metrics.
    pub health: SocketAddr,
    directory: PathBuf,
}

impl Webhook {
    /// Starts it with a certificate that is valid for some days. The API server does not call it.
    pub async fn start(fixture: &ClusterFixture, days: i64) -> Result<Self, Error> {
        let directory = fixture.cluster().directory().join("second-webhook");
        std::fs::create_dir_all(&directory)?;
        write(&directory, days)?;
        let mut config: Value =
            serde_json::from_str(&std::fs::read_to_string(fixture.cluster().directory().join("operator/config.json"))?)?;
        config["webhook"]["certificate"] = json!({ "directory": directory });
        std::fs::write(directory.join("config.json"), config.to_string())?;
        let log = directory.join("webhook.log");
        let kubeconfig = fixture.cluster().directory().join("kubeconfigs/jit-rbac-webhook");
        let child = by_hand(fixture, program("jit-rbac")?, &kubeconfig, &log)?
            .args(["webhook", "--address=127.0.0.1:0", "--health-address=127.0.0.1:0", "--log-format=text"])
            .arg(format!("--config={}", directory.join("config.json").display()))
            .spawn()?;
        let health = health_address(&log).await?;
        Ok(Self { _child: child, health, directory })
    }

    /// Replaces the certificate.
    pub fn renew(&self, days: i64) -> Outcome {
        write(&self.directory, days)
    }
}

fn write(directory: &Path, days: i64) -> Outcome {
    let end = Zoned::now().checked_add(days.days())?.date();
    let mut leaf = CertificateParams::new(["127.0.0.1".to_owned()])?;
    leaf.not_after = date_time_ymd(end.year().into(), u8::try_from(end.month())?, u8::try_from(end.day())?);
    let key = KeyPair::generate()?;
    std::fs::write(directory.join("tls.key"), key.serialize_pem())?;
    std::fs::write(directory.join("tls.crt"), leaf.self_signed(&key)?.pem())?;
    Ok(())
}
