use std::fs;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use rcgen::KeyPair;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};

use crate::users::random_token;
use crate::{Error, Result};

/// Whom the tokens are for.
pub(super) const AUDIENCE: &str = "jit-rbac";
/// The name of the one key that tokens are signed with.
pub(super) const KEY_ID: &str = "tokens";
/// The name of its file among the certificates: what is signed with it is believed by the plane, also after the process ended
/// that served its public half.
pub(crate) const KEY: &str = "id-tokens.key";

/// Who vouches for a sign-in, which also says what the API server makes of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Provider {
    /// As it should be: `oidc:` stands before names and groups, and names of Kubernetes itself are refused.
    #[default]
    Company,
    /// As it must not be: names and groups are taken as they come (T10).
    Careless,
}

impl Provider {
    /// All of them.
    pub(crate) const ALL: [Self; 2] = [Self::Company, Self::Careless];

    /// One word for paths.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Company => "company",
            Self::Careless => "careless",
        }
    }

    /// The `iss` of its tokens: a name that nobody resolves, because the API server is told where to look.
    pub(super) fn issuer(self) -> String {
        format!("https://{}.jit-rbac.test", self.name())
    }

    /// What the API server puts before its names and groups.
    #[must_use]
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Company => "oidc:",
            Self::Careless => "",
        }
    }
}

/// What an ID token says about a person and about how and when he signed in.
#[derive(Clone, Debug)]
pub struct SignIn {
    /// Who says so.
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
    pub auth_time: Option<DateTime<Utc>>,
    /// How long the token is valid from now on; it has expired already if this is negative.
    pub valid_for: TimeDelta,
}

impl SignIn {
    /// A sign-in of today at the company, by somebody with the uid `u-<name>` and the given groups, without any evidence of how.
    pub fn new<G: Into<String>>(name: &str, groups: impl IntoIterator<Item = G>) -> Self {
        Self {
            provider: Provider::default(),
            name: name.to_owned(),
            uid: format!("u-{name}"),
            groups: groups.into_iter().map(Into::into).collect(),
            amr: Vec::new(),
            acr: None,
            auth_time: None,
            valid_for: TimeDelta::hours(1),
        }
    }

    /// The user name as the API server knows it.
    #[must_use]
    pub fn username(&self) -> String {
        format!("{}{}", self.provider.prefix(), self.name)
    }

    fn claims(&self) -> Result<Value> {
        // Issued a while before it expires, and never in the future.
        let now = Utc::now();
        let expires = now + self.valid_for;
        let issued = now.min(expires - TimeDelta::minutes(1));
        let claims = [
            ("iss", Some(json!(self.provider.issuer()))),
            ("aud", Some(json!(AUDIENCE))),
            ("sub", Some(json!(self.uid))),
            ("preferred_username", Some(json!(self.name))),
            ("iat", Some(json!(issued.timestamp()))),
            ("exp", Some(json!(expires.timestamp()))),
            ("jti", Some(json!(random_token()?))),
            ("groups", (!self.groups.is_empty()).then(|| json!(self.groups))),
            ("amr", (!self.amr.is_empty()).then(|| json!(self.amr))),
            ("acr", self.acr.as_ref().map(|acr| json!(acr))),
            ("auth_time", self.auth_time.map(|time| json!(time.timestamp()))),
        ];
        Ok(claims.into_iter().filter_map(|(claim, value)| Some((claim, value?))).collect())
    }
}

/// The key of a plane that tokens are signed with.
pub(crate) fn read_key(pki: &Path) -> Result<KeyPair> {
    let path = pki.join(KEY);
    let pem = fs::read_to_string(&path).map_err(Error::path("read", &path))?;
    Ok(KeyPair::from_pem(&pem)?)
}

/// A key that tokens can be signed with: ECDSA with P-256 and SHA-256.
pub(crate) fn new_key() -> Result<KeyPair> {
    Ok(KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?)
}

/// The sign-in as a compact JWT, signed with ES256.
pub(crate) fn id_token(who: &SignIn, key: &KeyPair) -> Result<String> {
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let header = json!({"alg": "ES256", "typ": "JWT", "kid": KEY_ID});
    let signed = format!("{}.{}", part(&header), part(&who.claims()?));
    let random = SystemRandom::new();
    let failed = |why: String| Error::State(format!("an ID token cannot be signed: {why}"));
    // Not by the certificates' library: a JWT has the two numbers of a signature side by side, and no ASN.1 (RFC 7518, 3.4).
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
        let time = DateTime::from_timestamp(1_700_000_000, 0);
        let full = SignIn { amr: vec!["mfa".into()], acr: Some("c1".into()), auth_time: time, ..SignIn::new("ann", ["devs"]) };
        let full = full.claims().unwrap();
        assert_eq!((&full["groups"], &full["amr"], &full["acr"]), (&json!(["devs"]), &json!(["mfa"]), &json!("c1")));
        assert_eq!(full["auth_time"], json!(1_700_000_000));
    }
}
