//! What an installation needs around the operator: `helm test`, client certificates, objects that the API server accepts.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
};

use control_plane::{ADMIN, program, wait_for_ok};
use k8s_openapi::ByteString;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{
    ensure,
    env::{ClusterFixture, Env, Error, Outcome, SOON, Setting, TestCase, automatic, eligibility},
    test_cases,
};

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![
        helm_test_fails_with_the_part_that_does_not_work,
        t26_webhook_refuses_clients_without_a_certificate,
        every_example_of_values_is_accepted_by_the_api_server,
    ]
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns what Helm renders of a chart with these arguments.
async fn rendered(fixture: &ClusterFixture, chart: &str, args: &[&str]) -> Result<String, Error> {
    let mut command = fixture.cluster().helm()?;
    command.args(["template", chart]).arg(root().join("charts").join(chart));
    let output = command.args(["--namespace", "jit-system"]).args(args).output().await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// Without nodes, the test starts the process of the pod itself, as its `ServiceAccount`.
async fn helm_test_fails_with_the_part_that_does_not_work(env: Arc<Env>) -> Outcome {
    let (fixture, _permit) = env.own_fixture(Value::Null).await?;
    let cluster = fixture.cluster();
    let objects = rendered(&fixture, "jit-rbac", &["--show-only", "templates/tests/check.yaml"]).await?;
    let objects: Vec<Value> = serde_saphyr::from_multiple(&objects)?;
    let objects: Vec<_> = objects.into_iter().filter(|object| object["kind"] != "Pod").collect();
    cluster.apply(ADMIN, &json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string()).await?.ok()?;
    let token = cluster.run(ADMIN, &["create", "token", "jit-rbac-test", "-n", "jit-system"]).await?.ok()?;
    let kubeconfig = cluster.kubeconfig_for_token("helm-test", token.trim())?;
    let check = async |timeout: &str| -> Result<(bool, String), Error> {
        let mut command = Command::new(program("jit-rbac")?);
        command.args(["check", "--timeout", timeout, "--config"]).arg(cluster.directory().join("operator/config.json"));
        let output = command.env("KUBECONFIG", &kubeconfig).stdin(Stdio::null()).output().await?;
        Ok((output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned()))
    };
    let (passed, said) = check("30s").await?;
    ensure!(passed && said.contains("the webhook answers") && said.contains("the admission guards are verified"), "{said}");
    let stored = cluster.run(ADMIN, &["get", "rar", "-n", "jit-system", "-o", "name"]).await?.ok()?;
    ensure!(stored.is_empty(), "it stored {stored}");

    fixture.operator.webhook().kill();
    let (passed, said) = check("1s").await?;
    ensure!(!passed && said.contains("the webhook did not answer a dry run"), "{said}");
    fixture.operator.webhook().start()?;
    fixture.operator.webhook().wait_until_ready(SOON).await?;

    cluster.run(ADMIN, &["delete", "validatingadmissionpolicybinding", "jit-rbac-status"]).await?.ok()?;
    wait_for_ok("the check to fail", SOON, async || match check("1s").await {
        Ok((false, said)) if said.contains("the admission guards are not verified") => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await?;
    Ok(())
}

/// A CA with certificates for clients, and the files in which the API server has one of them.
struct Clients {
    directory: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Clients {
    fn new() -> Result<Self, Error> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "clients of webhooks");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        Ok(Self { directory: tempfile::tempdir()?, issuer })
    }

    /// A certificate with this common name, and its key, as PEM.
    fn certificate(&self, name: &str) -> Result<(String, String), Error> {
        let mut params = CertificateParams::default();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate()?;
        Ok((params.signed_by(&key, &self.issuer)?.pem(), key.serialize_pem()))
    }

    fn file(&self, name: &str, text: &str) -> Result<PathBuf, Error> {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text)?;
        Ok(path)
    }

    /// The file for `--admission-control-config-file`, as docs/install.md describes it.
    fn admission_configuration(&self, name: &str) -> Result<PathBuf, Error> {
        let (certificate, key) = self.certificate(name)?;
        let client = self.file("client.pem", &(certificate + &key))?;
        let user = json!({"client-certificate": client, "client-key": client});
        let kubeconfig = json!({"apiVersion": "v1", "kind": "Config", "users": [{"name": "*", "user": user}]});
        let kubeconfig = self.file("kubeconfig.json", &kubeconfig.to_string())?;
        let plugins: Vec<_> = ["ValidatingAdmissionWebhook", "MutatingAdmissionWebhook"]
            .map(|name| {
                json!({"name": name, "configuration": {
                    "apiVersion": "apiserver.config.k8s.io/v1", "kind": "WebhookAdmissionConfiguration", "kubeConfigFile": kubeconfig,
                }})
            })
            .into();
        let configuration = json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration", "plugins": plugins});
        self.file("admission.json", &configuration.to_string())
    }
}

async fn t26_webhook_refuses_clients_without_a_certificate(env: Arc<Env>) -> Outcome {
    let (clients, strangers) = (Clients::new()?, Clients::new()?);
    let ca = clients.file("ca.crt", &clients.issuer.pem())?;
    let setting = Setting {
        apiserver_flags: vec![format!("--admission-control-config-file={}", clients.admission_configuration("kube-apiserver")?.display())],
        webhook_flags: vec![format!("--client-ca={}", ca.display()), "--client-name=kube-apiserver".to_owned()],
        ..Setting::default()
    };
    let (fixture, _permit) = env.fixture_with(setting).await?;
    let scene = env.scene_on(&fixture, "clients").await?;
    let path = ["get", "secret", "jit-rbac-webhook-tls", "-n", "jit-system", "-o", r"jsonpath={.data.ca\.crt}"];
    let encoded = scene.kubectl(ADMIN, &path).await?.ok()?;
    let ByteString(authority) = serde_json::from_value(json!(encoded))?;
    let call = |certificate: Option<(String, String)>| call(fixture.operator.webhook_port(), &authority, certificate);
    let none = call(None);
    ensure!(matches!(&none, Err(error) if error.to_string().contains("CertificateRequired")), "without a certificate: {none:?}");
    for (what, certificate) in [("another name", clients.certificate("ann")?), ("another CA", strangers.certificate("kube-apiserver")?)] {
        let answer = call(Some(certificate));
        ensure!(answer.is_err(), "{what}: {answer:?}");
    }
    // A body that is no review is an error of HTTP: this client was let in.
    let answer = call(Some(clients.certificate("kube-apiserver")?))?;
    ensure!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    // Health and metrics need no certificate, and the API server has one.
    fixture.operator.webhook().ready().await?;
    scene.offers(&["edit"], &automatic(), &eligibility("edit")).await?;
    scene.granted("dev", "edit", "10m").await?;
    Ok(())
}

/// Sends a body that is no review to the webhook, and returns its answer.
fn call(port: u16, authority: &[u8], certificate: Option<(String, String)>) -> Result<String, Error> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(authority) {
        roots.add(root?)?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider())).with_safe_default_protocol_versions()?;
    let config = config.with_root_certificates(roots);
    let config = match certificate {
        None => config.with_no_client_auth(),
        Some((certificate, key)) => config.with_client_auth_cert(
            vec![CertificateDer::from_pem_slice(certificate.as_bytes())?],
            PrivateKeyDer::from_pem_slice(key.as_bytes())?,
        )?,
    };
    let connection = ClientConnection::new(Arc::new(config), ServerName::try_from("127.0.0.1")?)?;
    let mut stream = StreamOwned::new(connection, TcpStream::connect(("127.0.0.1", port))?);
    stream.write_all(b"POST /validate HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Kinds that only the Prometheus operator and cert-manager define.
const FOREIGN: [&str; 2] = ["monitoring.coreos.com/", "cert-manager.io/"];

async fn every_example_of_values_is_accepted_by_the_api_server(env: Arc<Env>) -> Outcome {
    let scene = env.scene("examples").await?;
    // Those that the eligibilities of an example name.
    for namespace in ["example-payments", "example-shop"] {
        scene.create_namespace(namespace).await?;
    }
    let mut count = 0;
    for chart in ["jit-rbac", "jit-access"] {
        let mut files: Vec<_> = std::fs::read_dir(root().join("charts").join(chart).join("ci"))?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        files.sort();
        for file in files {
            let text = rendered(&scene.fixture, chart, &["--values", &file.display().to_string()]).await?;
            let objects: Vec<Value> = serde_saphyr::from_multiple(&text)?;
            let foreign =
                |object: &Value| FOREIGN.iter().any(|group| object["apiVersion"].as_str().is_some_and(|it| it.starts_with(group)));
            let objects: Vec<_> = objects.into_iter().filter(|object| !object.is_null() && !foreign(object)).collect();
            if objects.is_empty() {
                continue;
            }
            let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
            // As Helm itself, so that a field that is not rendered any more is removed.
            let apply =
                ["apply", "--server-side", "--field-manager=helm", "--force-conflicts", "--dry-run=server", "--validate=strict", "-f", "-"];
            let said = scene.fixture.cluster().run_with(ADMIN, &apply, &list).await?;
            ensure!(said.status.success(), "{}: {}", file.display(), said.stderr);
            count += 1;
        }
    }
    ensure!(count > 5, "there are {count} files");
    Ok(())
}
