//! The CA that clients of the webhook need a certificate of, where the admin requires one. Without it any pod that reaches the webhook can
//! ask it who may bind a role and who made a request (T26).

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use parking_lot::RwLock;
use rustls::{
    CertificateError as Invalid, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, UnixTime, pem::PemObject},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use tracing::{info, warn};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Interval of checks for a changed file. The kubelet takes about a minute to update it.
const CHECK: Duration = Duration::from_secs(15);

/// Why the CA cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the CA of clients in {path}: {why}")]
pub struct ClientAuthorityError {
    /// The path of the file.
    path: String,
    /// The cause.
    why: String,
}

/// Verifies clients by the CA in a file, which may change.
pub struct ClientAuthority {
    file: PathBuf,
    /// Common names that a certificate may have; any if empty.
    names: Vec<String>,
    algorithms: WebPkiSupportedAlgorithms,
    now: RwLock<Loaded>,
}

struct Loaded {
    pem: Vec<u8>,
    verifier: Arc<dyn ClientCertVerifier>,
}

impl fmt::Debug for ClientAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientAuthority").field("file", &self.file).field("names", &self.names).finish_non_exhaustive()
    }
}

impl ClientAuthority {
    /// Loads the CA from a PEM file.
    pub fn load(file: PathBuf, names: Vec<String>) -> Result<Self, ClientAuthorityError> {
        let now = RwLock::new(read(&file)?);
        Ok(Self { file, names, algorithms: ring::default_provider().signature_verification_algorithms, now })
    }

    /// Loads the file again whenever it has changed, for ever. A file that cannot be used leaves the previous CA in force.
    pub async fn follow(&self) {
        loop {
            tokio::time::sleep(CHECK).await;
            match read(&self.file) {
                Ok(loaded) if loaded.pem == self.now.read().pem => {}
                Ok(loaded) => {
                    *self.now.write() = loaded;
                    info!(file = %self.file.display(), "the CA of clients has changed");
                }
                Err(error) => warn!(%error, "the previous CA of clients stays in force"),
            }
        }
    }

    fn is_named(&self, certificate: &CertificateDer<'_>) -> bool {
        let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return false };
        let mut names = parsed.subject().iter_common_name().filter_map(|name| name.as_str().ok());
        self.names.is_empty() || names.any(|name| self.names.iter().any(|allowed| allowed == name))
    }
}

fn read(file: &Path) -> Result<Loaded, ClientAuthorityError> {
    let error = |why: String| ClientAuthorityError { path: file.display().to_string(), why };
    let pem = std::fs::read(file).map_err(|cause| error(cause.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|cause| error(cause.to_string()))?;
        roots.add(certificate).map_err(|cause| error(cause.to_string()))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(ring::default_provider()));
    let verifier = verifier.build().map_err(|cause| error(cause.to_string()))?;
    Ok(Loaded { pem, verifier })
}

impl ClientCertVerifier for ClientAuthority {
    /// None: the client then presents the certificate that it has. The names of the CA can change, and this returns a reference.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let current = Arc::clone(&self.now.read().verifier);
        let verified = current.verify_client_cert(end_entity, intermediates, now)?;
        if self.is_named(end_entity) { Ok(verified) } else { Err(Invalid::ApplicationVerificationFailure.into()) }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};

    use super::*;

    fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    fn client(authority: &CertifiedIssuer<'static, KeyPair>, name: &str) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.distinguished_name.push(DnType::CommonName, name);
        params.signed_by(&KeyPair::generate().unwrap(), authority).unwrap().der().clone()
    }

    #[tokio::test(start_paused = true)]
    async fn t26_only_named_clients_of_the_present_ca_are_accepted() {
        let directory = std::env::temp_dir().join(format!("client-authority-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let file = directory.join("ca.crt");
        let (first, second) = (authority("first"), authority("second"));
        std::fs::write(&file, first.pem()).unwrap();
        let any = ClientAuthority::load(file.clone(), Vec::new()).unwrap();
        let named = ClientAuthority::load(file.clone(), vec!["kube-apiserver".to_owned()]).unwrap();
        let accepts = |verifier: &ClientAuthority, certificate: &CertificateDer<'_>| {
            verifier.verify_client_cert(certificate, &[], UnixTime::now()).is_ok()
        };
        let (server, person, stranger) = (client(&first, "kube-apiserver"), client(&first, "ann"), client(&second, "kube-apiserver"));
        assert!(accepts(&any, &server) && accepts(&any, &person) && !accepts(&any, &stranger));
        assert!(accepts(&named, &server) && !accepts(&named, &person) && !accepts(&named, &stranger));

        // A file without a certificate changes nothing, and another CA replaces the first one.
        for (content, of_first) in [("", true), (&*second.pem(), false)] {
            std::fs::write(&file, content).unwrap();
            let _ = tokio::time::timeout(CHECK * 2, any.follow()).await;
            assert_eq!((accepts(&any, &server), accepts(&any, &stranger)), (of_first, !of_first), "{content}");
        }
        std::fs::write(&file, "").unwrap();
        assert!(ClientAuthority::load(file, Vec::new()).is_err(), "no CA must not mean any client");
        std::fs::remove_dir_all(directory).unwrap();
    }
}
