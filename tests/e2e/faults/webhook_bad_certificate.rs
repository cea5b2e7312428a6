//! The server at the webhook's address is slow, or presents a wrong or expired certificate (T44, invariant 14).

use std::{net::TcpListener, sync::Arc, time::Duration};

use axum::{Json, Router, routing::post};
use control_plane::{ADMIN, program, wait_for_ok};
use jiff::{SignedDuration, Timestamp};
use jit_rbac::admission::{
    authority::{Plan, Stored, carry_out, certified},
    server,
};
use k8s_openapi::ByteString;
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, date_time_ymd};
use rustls::sign::SingleCertAndKey;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::Child,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{alone, by_hand, webhook_down::everything_else_goes_on};
use crate::{
    audit::{Calls, measured},
    ensure,
    env::{Env, Error, Outcome, SOON, Scene, automatic, eligibility},
    grant_helpers::Granted,
};

const ON_TIME: SignedDuration = SignedDuration::from_millis(1_000);
/// The delay of every message from the API server to the webhook. It sends three, and waits five seconds in all.
const SLOW: Duration = Duration::from_millis(700);

pub async fn t44_inv_14_webhook_is_slow_or_has_a_wrong_or_expired_certificate(env: Arc<Env>) -> Outcome {
    let (scene, _permit) = alone(&env, "greeting").await?;
    scene.offers(&["wrong", "expired", "meanwhile", "slow", "after"], &automatic(), &eligibility("edit")).await?;
    let mut calls = Calls::from_now(&scene)?;
    let stored = secret(&scene).await?;
    // By another CA; and by the right one, but expired years ago.
    let names = ["127.0.0.1".to_owned()];
    let wrong = carry_out(Plan::RenewAll(""), Timestamp::now(), &Stored::default(), b"", &names)?.ok_or("a certificate can be made")?;
    let expired = expired(&stored, names)?;
    for (name, shown, why) in [("wrong", wrong, "signed by unknown authority"), ("expired", expired, "has expired")] {
        let ends = scene.granted("dev", name, "10s").await?;
        scene.fixture.operator.webhook().kill();
        let imposter = Imposter::start(&scene, &shown)?;
        // The API server may still have a connection to the previous webhook.
        let refused = wait_for_ok("requests to be denied", SOON, async || {
            let said =
                scene.apply("dev", &scene.request("meanwhile", &scene.offered("meanwhile"), "5m")).await.map_err(|e| e.to_string())?;
            said.refused().map_err(|error| error.to_string()).and_then(|said| if said.contains(why) { Ok(said) } else { Err(said) })
        });
        let refused = refused.await?;
        ensure!(refused.contains("activations.jitrbac.dev"), "it does not say which webhook failed: {refused}");
        everything_else_goes_on(&scene, name).await?;
        ended(&scene, &mut calls, &ends, name).await?;
        ensure!(scene.get("rar", "meanwhile").await?.is_none(), "a request without a stamp was accepted");
        drop(imposter);
        scene.fixture.operator.webhook().start()?;
        scene.fixture.operator.webhook().wait_until_ready(SOON).await?;
    }
    slow(&scene, &mut calls).await?;
    let what = "requests to be accepted again";
    wait_for_ok(what, SOON, async || scene.ask("dev", "after", "5m").await.map_err(|error| error.to_string())).await?;
    scene.running("after").await?;
    Ok(())
}

async fn ended(scene: &Scene, calls: &mut Calls, granted: &Granted, how: &str) -> Outcome {
    scene.ends_as(&granted.request, "Expired", &["Expired"], SOON).await?;
    calls
        .ended_on_time(
            &granted.binding,
            granted.deadline,
            ON_TIME,
            &format!("grant ended after its deadline, the webhook's certificate or speed: {how}"),
        )
        .await
}

/// The webhook is up, and slow: writers of requests wait for it, grants and all other calls do not.
async fn slow(scene: &Scene, calls: &mut Calls) -> Outcome {
    scene.fixture.operator.webhook().kill();
    let webhook = Elsewhere::start(scene)?;
    let asked = Timestamp::now();
    let what = "a request to be accepted by a slow webhook";
    wait_for_ok(what, SOON, async || scene.ask("dev", "slow", "10s").await.map_err(|error| error.to_string())).await?;
    measured("request accepted by a slow webhook", Timestamp::now().duration_since(asked));
    let granted = scene.running("slow").await?;
    everything_else_goes_on(scene, "slow").await?;
    ended(scene, calls, &granted, "slow").await?;
    drop(webhook);
    scene.fixture.operator.webhook().start()?;
    Ok(scene.fixture.operator.webhook().wait_until_ready(SOON).await?)
}

/// The webhook's CA and certificate.
async fn secret(scene: &Scene) -> Result<Stored, Error> {
    let said =
        scene.kubectl(ADMIN, &["get", "secret", "jit-rbac-webhook-tls", "-n", "jit-system", "-o", "jsonpath={.data}"]).await?.ok()?;
    let data: Value = serde_json::from_str(&said)?;
    let bytes = |key: &str| serde_json::from_value::<ByteString>(data[key].clone()).map(|bytes| bytes.0);
    Ok(Stored { authorities: bytes("ca.crt")?, authority_key: bytes("ca.key")?, leaf: bytes("tls.crt")?, leaf_key: bytes("tls.key")? })
}

/// An expired certificate of the webhook's CA.
fn expired(stored: &Stored, names: [String; 1]) -> Result<Stored, Error> {
    let mut authority = CertificateParams::default();
    authority.distinguished_name = DistinguishedName::new();
    authority.distinguished_name.push(DnType::CommonName, "jit-rbac webhook CA");
    let issuer = Issuer::new(authority, KeyPair::from_pem(std::str::from_utf8(&stored.authority_key)?)?);
    let mut leaf = CertificateParams::new(names)?;
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    (leaf.not_before, leaf.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    let key = KeyPair::generate()?;
    let made = leaf.signed_by(&key, &issuer)?;
    Ok(Stored { leaf: made.pem().into_bytes(), leaf_key: key.serialize_pem().into_bytes(), ..stored.clone() })
}

fn listen(scene: &Scene) -> Result<TcpListener, Error> {
    let listener = TcpListener::bind(("127.0.0.1", scene.fixture.operator.webhook_port()))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// A server that would allow everything, at the webhook's address.
struct Imposter {
    _server: DropGuard,
}

impl Imposter {
    fn start(scene: &Scene, shown: &Stored) -> Result<Self, Error> {
        let stop = CancellationToken::new();
        let allow = async |Json(review): Json<Value>| {
            let response = json!({"uid": review["request"]["uid"], "allowed": true});
            Json(json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}))
        };
        let router = Router::new().route("/{*any}", post(allow));
        let certificate = Arc::new(SingleCertAndKey::from(certified(&shown.leaf, &shown.leaf_key)?));
        let serving = server::serve(listen(scene)?, certificate, None, router, stop.clone());
        tokio::spawn(async move {
            if let Err(error) = serving.await {
                eprintln!("the imposter is broken: {error}");
            }
        });
        Ok(Self { _server: stop.drop_guard() })
    }
}

/// The real webhook at another address, and at its own address a proxy that forwards the API server's messages slowly.
struct Elsewhere {
    _webhook: Child,
    forwarding: tokio::task::JoinHandle<()>,
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        self.forwarding.abort();
    }
}

impl Elsewhere {
    fn start(scene: &Scene) -> Result<Self, Error> {
        let directory = scene.fixture.cluster().directory();
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let (kubeconfig, log) = (directory.join("kubeconfigs/jit-rbac-webhook"), directory.join("webhook-elsewhere.log"));
        let webhook = by_hand(&scene.fixture, program("jit-rbac")?, &kubeconfig, &log)?
            .args(["webhook", "--health-address=127.0.0.1:0", &format!("--address={address}")])
            .arg(format!("--config={}", directory.join("operator/config.json").display()))
            .spawn()?;
        let listener = tokio::net::TcpListener::from_std(listen(scene)?)?;
        let forwarding = tokio::spawn(async move {
            while let Ok((from, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let Ok(to) = tokio::net::TcpStream::connect(address).await else { return };
                    let ((mut said, mut hears), (mut answers, mut asked)) = (from.into_split(), to.into_split());
                    let slowly = async {
                        let mut piece = vec![0; 64 * 1024];
                        while let Ok(length) = said.read(&mut piece).await {
                            tokio::time::sleep(SLOW).await;
                            if length == 0 || asked.write_all(&piece[..length]).await.is_err() {
                                return;
                            }
                        }
                    };
                    // Either side may close the connection.
                    let _ = tokio::join!(slowly, tokio::io::copy(&mut answers, &mut hears));
                });
            }
        });
        Ok(Self { _webhook: webhook, forwarding })
    }
}
