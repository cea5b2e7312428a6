//! Unsupported certificates and keys, and their error messages.

use std::error::Error;

use kube::client::RustlsTlsError;
use rustls::{
    CertificateError, OtherError,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use crate::errors::causes;

const NO_P521: &str = "jit-rbac supports RSA, ECDSA on P-256 and P-384, and Ed25519";

/// Returns the certificates in a PEM bundle.
///
/// # Errors
///
/// A description of what is wrong with the bundle.
pub fn certificates(pem: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let found: Vec<Vec<u8>> = CertificateDer::pem_slice_iter(pem)
        .map(|found| found.map(|der| der.to_vec()).map_err(|_| "it is not valid PEM".to_owned()))
        .collect::<Result<_, _>>()?;
    if found.is_empty() { Err("it holds no certificate in PEM".to_owned()) } else { Ok(found) }
}

/// Returns an error message for keys and certificates that the client does not support.
#[must_use]
pub fn of_config(error: &kube::Error) -> Option<String> {
    let kube::Error::RustlsTls(error) = error else { return None };
    Some(match error {
        RustlsTlsError::InvalidPrivateKey(_) => format!("the client key cannot be used: {NO_P521}"),
        RustlsTlsError::InvalidIdentityPem(_) => "the client certificate or its key is not valid PEM".to_owned(),
        RustlsTlsError::MissingPrivateKey => "the client certificate has no key in PKCS #8, PKCS #1 or SEC 1".to_owned(),
        RustlsTlsError::MissingCertificate => "the client key has no certificate".to_owned(),
        RustlsTlsError::UnknownPrivateKeyFormat => "the client key is in no known format: PKCS #8, PKCS #1 or SEC 1 in PEM".to_owned(),
        RustlsTlsError::AddRootCertificate(_) => {
            "a certificate authority cannot be used: it is not a valid X.509 v3 certificate".to_owned()
        }
        RustlsTlsError::InvalidServerName(_) => "tls-server-name is not a valid host name or IP address".to_owned(),
        RustlsTlsError::NoValidNativeRootCA(_) => return None,
    })
}

/// Returns an error message for a failed handshake; `None` for another error.
#[must_use]
pub fn of_handshake(error: &(dyn Error + 'static)) -> Option<String> {
    let error = causes(error).find_map(|cause| cause.downcast_ref::<rustls::Error>())?;
    Some(match error {
        rustls::Error::InvalidCertificate(why) => of_certificate(why),
        // A server whose key uses a curve that the client does not offer ends the handshake.
        rustls::Error::AlertReceived(rustls::AlertDescription::HandshakeFailure) => {
            format!("the server found no common way to encrypt, as with a serving key on P-521: {NO_P521}")
        }
        other => format!("TLS: {other}"),
    })
}

fn of_certificate(why: &CertificateError) -> String {
    match why {
        CertificateError::UnknownIssuer => {
            "the server's certificate is signed by an unknown authority: check certificate-authority in the kubeconfig".to_owned()
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            format!("the server's certificate is signed with an algorithm that is not supported, such as ECDSA on P-521: {NO_P521}")
        }
        CertificateError::Other(OtherError(other)) if other.to_string().contains("CaUsedAsEndEntity") => {
            "the server presents a CA certificate as its own, which kubectl accepts and jit-rbac does not: give the server a certificate \
             that the authority has signed"
                .to_owned()
        }
        CertificateError::NotValidForNameContext { expected, presented } => format!(
            "the server's certificate is for {}, not for '{}': set the expected name with --tls-server-name",
            presented.join(", "),
            expected.to_str()
        ),
        other => format!("the server's certificate is not valid: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f63_what_a_handshake_ends_with_is_a_clear_sentence() {
        let wrapped = |error: rustls::Error| std::io::Error::other(std::io::Error::other(error));
        for (error, says) in [
            (rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer), "unknown authority"),
            (
                rustls::Error::InvalidCertificate(CertificateError::UnsupportedSignatureAlgorithmContext {
                    signature_algorithm_id: Vec::new(),
                    supported_algorithms: Vec::new(),
                }),
                "P-521",
            ),
            (rustls::Error::AlertReceived(rustls::AlertDescription::HandshakeFailure), "P-521"),
        ] {
            let said = of_handshake(&wrapped(error)).unwrap_or_default();
            assert!(said.contains(says), "{said}");
        }
        assert_eq!(of_handshake(&std::io::Error::other("else")), None);
    }
}
