use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::{ADMIN, Error, NODE, Result, issuer};

/// The control plane's certificate authority and the certificates that it signed, as files in one directory: `ca.crt`, `<name>.crt`,
/// `<name>.key` for `server`, `issuer`, `proxy`, `admin` and the components, the pair `service-accounts.key`, `service-accounts.pub`, and the
/// key for ID tokens. The API server also has the `addresses`.
pub(crate) fn write(directory: &Path, addresses: &[Ipv4Addr]) -> Result<()> {
    fs::create_dir_all(directory).map_err(Error::path("create", directory))?;
    let mut authority = named("jit-rbac local control plane", None);
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    put(directory, "ca.crt", &authority.self_signed(&key)?.pem())?;
    let issuer = Issuer::new(authority, key);

    for (name, mut params) in [
        ("server", serving("kube-apiserver", addresses)?),
        ("issuer", serving("issuer", &[])?),
        ("proxy", serving("proxy", &[])?),
        ("admin", named(ADMIN, Some("system:masters"))),
        ("controller-manager", named("system:kube-controller-manager", None)),
        ("scheduler", named("system:kube-scheduler", None)),
        ("kube-proxy", named("system:kube-proxy", None)),
        ("kubelet", named(&format!("system:node:{NODE}"), Some("system:nodes"))),
    ] {
        if params.extended_key_usages.is_empty() {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate()?;
        put(directory, &format!("{name}.crt"), &params.signed_by(&key, &issuer)?.pem())?;
        put(directory, &format!("{name}.key"), &key.serialize_pem())?;
    }
    put(directory, issuer::KEY, &issuer::new_key()?.serialize_pem())?;
    let key = KeyPair::generate()?;
    put(directory, "service-accounts.pub", &key.public_key_pem())?;
    put(directory, "service-accounts.key", &key.serialize_pem())
}

/// Returns the TLS configuration of a test server with the certificate `name`, for HTTP/1.1 only.
pub(crate) fn tls(directory: &Path, name: &str) -> Result<ServerConfig> {
    let failed = |why: &dyn std::fmt::Display| Error::State(format!("the certificate of the {name} cannot be used: {why}"));
    let read = |kind: &str| {
        let path = directory.join(format!("{name}.{kind}"));
        fs::read(&path).map_err(Error::path("read", &path))
    };
    let certificate = CertificateDer::from_pem_slice(&read("crt")?).map_err(|error| failed(&error))?;
    let key = PrivateKeyDer::from_pem_slice(&read("key")?).map_err(|error| failed(&error))?;
    let mut tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|tls| tls.with_no_client_auth().with_single_cert(vec![certificate], key))
        .map_err(|error| failed(&error))?;
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(tls)
}

/// Returns the parameters of a certificate for a server on this machine.
fn serving(name: &str, addresses: &[Ipv4Addr]) -> Result<CertificateParams> {
    let names = ["127.0.0.1", "localhost"].map(str::to_owned).into_iter().chain(addresses.iter().map(Ipv4Addr::to_string));
    let mut params = CertificateParams::new(names.collect::<Vec<_>>())?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

/// Returns the parameters of a certificate whose subject is a user name and optionally a group.
fn named(user: &str, group: Option<&str>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, user);
    if let Some(group) = group {
        params.distinguished_name.push(DnType::OrganizationName, group);
    }
    params
}

fn put(directory: &Path, name: &str, pem: &str) -> Result<()> {
    let path = directory.join(name);
    fs::write(&path, pem).map_err(Error::path("write", &path))
}
