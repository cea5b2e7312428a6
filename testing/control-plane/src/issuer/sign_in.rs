use std::fs;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use rcgen::KeyPair;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};

use crate::users::random_token;
use crate::{Error, Result};

/// The audience of the tokens.
pub(super) const AUDIENCE: &str = "jit-rbac";
/// The id of the one key that tokens are signed with.
pub(super) const KEY_ID: &str = "tokens";
/// The file name of the key among the certificates. The control plane accepts tokens that it signed even after the process that served its
/// public half has ended.
pub(crate) const KEY: &str = "id-tokens.key";

/// The provider of a sign-in, which also decides how the API server maps its claims.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Provider {
    /// Correctly configured: names and groups get the prefix `oidc:`, and names of Kubernetes itself are denied.
    #[default]
    Company,
    /// Incorrectly configured: names and groups are used without a prefix (T10).
    Careless,
}

impl Provider {
    /// All providers.
    pub(crate) const ALL: [Self; 2] = [Self::Company, Self::Careless];

    /// Its name in paths.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Company => "company",
            Self::Careless => "careless",
        }
    }

    /// The `iss` of its tokens: a name that does not resolve, because the API server has the discovery URL.
    pub(super) fn issuer(self) -> String {
        format!("https://{}.jit-rbac.test", self.name())
    }

    /// The prefix of its names and groups in the API server.
    #[must_use]
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Company => "oidc:",
            Self::Careless => "",
        }
    }
}

/// The claims of an ID token about a user and about how and when they signed in.
#[derive(Clone, Debug)]
pub struct SignIn {
    /// The provider.
    pub provider: Provider,
    /// The claim `preferred_username`: the user name without the provider's prefix.
    pub name: String,
    /// The claim `sub`: the uid.
    pub uid: String,
    /// The claim `groups`, without the provider's prefix. Empty: the claim is absent.
    pub groups: Vec<String>,
    /// The claim `amr`. Empty: the claim is absent.
    pub amr: Vec<String>,
    /// The claim `acr`.
    pub acr: Option<String>,
    /// The claim `auth_time`.
    pub auth_time: Option<Timestamp>,
    /// The validity of the token from now on; a negative value is a token that has already expired.
    pub valid_for: SignedDuration,
}

impl SignIn {
    /// A sign-in of just now at the correctly configured provider, of a user with the uid `u-<name>` and the given groups, without evidence
    /// of the sign-in method.
    pub fn new<G: Into<String>>(name: &str, groups: impl IntoIterator<Item = G>) -> Self {
        Self {
            provider: Provider::default(),
            name: name.to_owned(),
            uid: format!("u-{name}"),
            groups: groups.into_iter().map(Into::into).collect(),
            amr: Vec::new(),
            acr: None,
            auth_time: None,
            valid_for: SignedDuration::from_hours(1),
        }
    }

    /// Returns the user name as the API server maps it.
    #[must_use]
    pub fn username(&self) -> String {
        format!("{}{}", self.provider.prefix(), self.name)
    }

    fn claims(&self) -> Result<Value> {
        // Issued a while before it expires, and never in the future.
        let now = Timestamp::now();
        let expires = now + self.valid_for;
        let issued = now.min(expires - SignedDuration::from_mins(1));
        let claims = [
            ("iss", Some(json!(self.provider.issuer()))),
            ("aud", Some(json!(AUDIENCE))),
            ("sub", Some(json!(self.uid))),
            ("preferred_username", Some(json!(self.name))),
            ("iat", Some(json!(issued.as_second()))),
            ("exp", Some(json!(expires.as_second()))),
            ("jti", Some(json!(random_token()?))),
            ("groups", (!self.groups.is_empty()).then(|| json!(self.groups))),
            ("amr", (!self.amr.is_empty()).then(|| json!(self.amr))),
            ("acr", self.acr.as_ref().map(|acr| json!(acr))),
            ("auth_time", self.auth_time.map(|time| json!(time.as_second()))),
        ];
        Ok(claims.into_iter().filter_map(|(claim, value)| Some((claim, value?))).collect())
    }
}

/// Reads the key of a control plane that tokens are signed with.
pub(crate) fn read_key(pki: &Path) -> Result<KeyPair> {
    let path = pki.join(KEY);
    let pem = fs::read_to_string(&path).map_err(Error::path("read", &path))?;
    Ok(KeyPair::from_pem(&pem)?)
}

/// Creates a key that tokens can be signed with: ECDSA with P-256 and SHA-256.
pub(crate) fn new_key() -> Result<KeyPair> {
    Ok(KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?)
}

/// Returns the sign-in as a compact JWT, signed with ES256.
pub(crate) fn id_token(who: &SignIn, key: &KeyPair) -> Result<String> {
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let header = json!({"alg": "ES256", "typ": "JWT", "kid": KEY_ID});
    let signed = format!("{}.{}", part(&header), part(&who.claims()?));
    let random = SystemRandom::new();
    let failed = |why: String| Error::State(format!("an ID token cannot be signed: {why}"));
    // Not with the library for certificates: a JWT has the two numbers of a signature concatenated, without ASN.1 (RFC 7518, 3.4).
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key.serialize_der(), &random)
        .map_err(|error| failed(error.to_string()))?;
    let signature = key.sign(&random, signed.as_bytes()).map_err(|error| failed(error.to_string()))?;
    Ok(format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_shown_is_no_claim() {
        let bare = SignIn::new("ann", [""; 0]).claims().unwrap();
        for claim in ["groups", "amr", "acr", "auth_time"] {
            assert!(bare.get(claim).is_none(), "{claim}: {bare}");
        }
        let time = Timestamp::from_second(1_700_000_000).ok();
        let full = SignIn { amr: vec!["mfa".into()], acr: Some("c1".into()), auth_time: time, ..SignIn::new("ann", ["devs"]) };
        let full = full.claims().unwrap();
        assert_eq!((&full["groups"], &full["amr"], &full["acr"]), (&json!(["devs"]), &json!(["mfa"]), &json!("c1")));
        assert_eq!(full["auth_time"], json!(1_700_000_000));
    }
}
