//! The webhook's own CA and certificate: evaluates the stored ones and creates new ones. The module does no I/O.

use jiff::{SignedDuration, Timestamp};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd};
use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    sign::CertifiedKey,
};
use std::sync::Arc;

use super::validity::validity;

/// Lifetime of a CA: long, so that its renewal, which changes the webhook configurations, is rare.
const AUTHORITY_LIFE: SignedDuration = SignedDuration::from_hours(24 * 3650);
/// A CA with a shorter remaining lifetime is replaced.
const AUTHORITY_LEFT: SignedDuration = SignedDuration::from_hours(24 * 365);
/// Lifetime of a certificate.
const LEAF_LIFE: SignedDuration = SignedDuration::from_hours(24 * 90);
/// A certificate with a shorter remaining lifetime is replaced.
const LEAF_LEFT: SignedDuration = SignedDuration::from_hours(24 * 30);
/// Certificates are backdated, since clocks differ.
const BACKDATED: SignedDuration = SignedDuration::from_hours(1);
/// How long the previous CA stays trusted, so that every replica has time to change over.
const OVERLAP: SignedDuration = SignedDuration::from_hours(1);

const AUTHORITY_NAME: &str = "jit-rbac webhook CA";
const LEAF_NAME: &str = "jit-rbac webhook";
const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// Why no certificate could be created.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The library returned an error.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// The new certificate cannot be used: the stored CA is not consistent.
    #[error("the new certificate cannot be used: {0}")]
    Unusable(&'static str),
}

/// The content of the Secret, all in PEM, and empty where it does not exist.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Stored {
    /// The CA's certificate, followed by the previous one for a while.
    pub authorities: Vec<u8>,
    /// The CA's key.
    pub authority_key: Vec<u8>,
    /// The serving certificate.
    pub leaf: Vec<u8>,
    /// The key of the serving certificate.
    pub leaf_key: Vec<u8>,
}

/// The required change of the stored content, and its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// No change.
    Keep,
    /// Removes the previous CA, which is no longer needed.
    DropOld,
    /// Creates a new certificate by the same CA.
    RenewLeaf(&'static str),
    /// Creates a new CA and a new certificate.
    RenewAll(&'static str),
}

/// Evaluates the stored content by the wall clock: a timer would stop while the machine is suspended.
#[must_use]
pub fn evaluate(now: Timestamp, stored: &Stored, names: &[String]) -> Plan {
    let authority = match authority(now, stored) {
        Ok(authority) => authority,
        Err(why) => return Plan::RenewAll(why),
    };
    let leaf_from = match leaf(now, stored, &authority, names) {
        Ok(from) => from,
        Err(why) => return Plan::RenewLeaf(why),
    };
    let settled = now.duration_since(leaf_from) > BACKDATED + OVERLAP;
    if settled && blocks(&stored.authorities).len() > 1 { Plan::DropOld } else { Plan::Keep }
}

/// Applies `plan` to the stored content. `before` is the CA that was served until now, which stays trusted in addition to a new one.
pub fn carry_out(plan: Plan, now: Timestamp, stored: &Stored, before: &[u8], names: &[String]) -> Result<Option<Stored>, AuthorityError> {
    Ok(match plan {
        Plan::Keep => None,
        Plan::DropOld => {
            Some(Stored { authorities: blocks(&stored.authorities).into_iter().next().unwrap_or_default().into_bytes(), ..stored.clone() })
        }
        Plan::RenewLeaf(_) => {
            let key = text(&stored.authority_key).unwrap_or_default();
            Some(with_leaf(now, stored.authorities.clone(), &KeyPair::from_pem(key)?, names)?)
        }
        Plan::RenewAll(_) => {
            let key = KeyPair::generate()?;
            let mut authorities = authority_params(now).self_signed(&key)?.pem();
            let old = blocks(&stored.authorities).into_iter().chain(blocks(before)).find(|block| is_valid(now, block));
            authorities.push_str(&old.unwrap_or_default());
            Some(with_leaf(now, authorities.into_bytes(), &key, names)?)
        }
    })
}

/// Returns the certificate with its key, for TLS.
pub fn certified(leaf: &[u8], key: &[u8]) -> Result<CertifiedKey, &'static str> {
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(leaf).collect::<Result<_, _>>().map_err(|_| "the certificate cannot be read")?;
    if chain.is_empty() {
        return Err("there is no certificate");
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| "the certificate's key cannot be read")?;
    CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|_| "the certificate's key does not match")
}

/// Returns the validity of the first certificate of a PEM text.
#[must_use]
pub fn validity_of(pem: &[u8]) -> Option<(Timestamp, Timestamp)> {
    CertificateDer::from_pem_slice(pem).ok().and_then(|der| validity(&der))
}

fn authority(now: Timestamp, stored: &Stored) -> Result<CertificateDer<'static>, &'static str> {
    if stored.authorities.is_empty() {
        return Err("there is no CA yet");
    }
    let der = CertificateDer::from_pem_slice(&stored.authorities).map_err(|_| "the CA cannot be read")?;
    let (from, until) = validity(&der).ok_or("the CA's validity cannot be read")?;
    if from > now {
        return Err("the CA begins in the future");
    }
    if until.duration_since(now) < AUTHORITY_LEFT {
        return Err("the CA ends within a year");
    }
    let key = PrivateKeyDer::from_pem_slice(&stored.authority_key).map_err(|_| "the CA's key cannot be read")?;
    CertifiedKey::from_der(vec![der.clone()], key, &ring::default_provider()).map_err(|_| "the CA's key does not match")?;
    Ok(der)
}

/// Returns the begin of the certificate's validity, if the API server will accept it for every name for long enough.
fn leaf(now: Timestamp, stored: &Stored, authority: &CertificateDer<'_>, names: &[String]) -> Result<Timestamp, &'static str> {
    let certified = certified(&stored.leaf, &stored.leaf_key)?;
    let leaf = certified.end_entity_cert().map_err(|_| "there is no certificate")?;
    let (from, until) = validity(leaf).ok_or("the certificate's validity cannot be read")?;
    if from > now {
        return Err("the certificate begins in the future");
    }
    if until.duration_since(now) < LEAF_LEFT {
        return Err("the certificate ends within 30 days");
    }
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone()).map_err(|_| "the CA certificate is not a CA")?;
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(ring::default_provider()))
        .build()
        .map_err(|_| "the CA certificate is not a CA")?;
    let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(u64::try_from(now.as_second()).unwrap_or(0)));
    for name in names {
        let name = ServerName::try_from(name.as_str()).map_err(|_| "a configured name is not a host name")?;
        verifier
            .verify_server_cert(leaf, &[], &name, &[], at)
            .map_err(|_| "the certificate is not issued by this CA for every configured name")?;
    }
    Ok(from)
}

fn with_leaf(now: Timestamp, authorities: Vec<u8>, authority_key: &KeyPair, names: &[String]) -> Result<Stored, AuthorityError> {
    let issuer = Issuer::new(authority_params(now), authority_key);
    let key = KeyPair::generate()?;
    let leaf = leaf_params(now, names)?.signed_by(&key, &issuer)?.pem();
    let made = Stored {
        authorities,
        authority_key: authority_key.serialize_pem().into_bytes(),
        leaf: leaf.into_bytes(),
        leaf_key: key.serialize_pem().into_bytes(),
    };
    match evaluate(now, &made, names) {
        Plan::Keep | Plan::DropOld => Ok(made),
        Plan::RenewLeaf(why) | Plan::RenewAll(why) => Err(AuthorityError::Unusable(why)),
    }
}

/// The CA's name and key usage never change, so that a certificate can be issued without parsing the stored CA.
fn authority_params(now: Timestamp) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, AUTHORITY_NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    lives(&mut params, now, AUTHORITY_LIFE);
    params
}

fn leaf_params(now: Timestamp, names: &[String]) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, LEAF_NAME);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    lives(&mut params, now, LEAF_LIFE);
    Ok(params)
}

fn lives(params: &mut CertificateParams, now: Timestamp, life: SignedDuration) {
    let at = |time: Timestamp| date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(u64::try_from(time.as_second()).unwrap_or(0));
    params.not_before = at(now - BACKDATED);
    params.not_after = at(now + life);
}

fn is_valid(now: Timestamp, block: &str) -> bool {
    validity_of(block.as_bytes()).is_some_and(|(from, until)| from <= now && now < until)
}

/// Returns the certificates of a PEM text, each as PEM.
fn blocks(pem: &[u8]) -> Vec<String> {
    let parts = text(pem).unwrap_or_default().split_inclusive(END);
    parts
        .filter_map(|part| part.find(BEGIN).and_then(|at| part.get(at..)))
        .filter(|part| part.ends_with(END))
        .map(|part| format!("{part}\n"))
        .collect()
}

fn text(pem: &[u8]) -> Option<&str> {
    std::str::from_utf8(pem).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<String> {
        ["jit-rbac-webhook.jit-system.svc", "localhost", "127.0.0.1"].map(str::to_owned).to_vec()
    }

    fn start() -> Timestamp {
        "2026-11-22T12:00:00Z".parse().unwrap()
    }

    fn made(now: Timestamp) -> Stored {
        carry_out(Plan::RenewAll(""), now, &Stored::default(), b"", &names()).unwrap().unwrap()
    }

    fn kind(plan: Plan) -> &'static str {
        match plan {
            Plan::Keep => "keep",
            Plan::DropOld => "drop old",
            Plan::RenewLeaf(_) => "leaf",
            Plan::RenewAll(_) => "all",
        }
    }

    #[test]
    fn what_is_stored_is_judged_by_the_clock() {
        let stored = made(start());
        for (after, expected) in [
            (SignedDuration::ZERO, "keep"),
            (SignedDuration::from_mins(-59), "keep"),
            (SignedDuration::from_hours(-2), "all"),
            (SignedDuration::from_hours(24 * 59), "keep"),
            (SignedDuration::from_hours(24 * 61), "leaf"),
            (SignedDuration::from_hours(24 * 120), "leaf"),
            (SignedDuration::from_hours(24 * (3650 - 366)), "leaf"),
            (SignedDuration::from_hours(24 * (3650 - 364)), "all"),
            (SignedDuration::from_hours(24 * 4000), "all"),
        ] {
            assert_eq!(kind(evaluate(start() + after, &stored, &names())), expected, "{after}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_made_anew() {
        let good = made(start());
        let other = made(start());
        let with = |change: fn(&mut Stored, &Stored)| {
            let mut stored = good.clone();
            change(&mut stored, &other);
            kind(evaluate(start(), &stored, &names()))
        };
        assert_eq!(kind(evaluate(start(), &Stored::default(), &names())), "all");
        assert_eq!(with(|_, _| {}), "keep");
        assert_eq!(with(|s, _| s.authorities = b"nonsense".to_vec()), "all");
        assert_eq!(with(|s, _| s.authority_key.clear()), "all");
        assert_eq!(with(|s, o| s.authority_key.clone_from(&o.authority_key)), "all");
        assert_eq!(with(|s, o| s.authorities.clone_from(&o.authorities)), "all", "the key does not fit");
        assert_eq!(with(|s, _| s.leaf = b"\xff".to_vec()), "leaf");
        assert_eq!(with(|s, _| s.leaf_key.clear()), "leaf");
        assert_eq!(with(|s, o| s.leaf_key.clone_from(&o.leaf_key)), "leaf");
        assert_eq!(with(|s, o| (s.leaf, s.leaf_key) = (o.leaf.clone(), o.leaf_key.clone())), "leaf", "another CA's");
        let more: Vec<String> = names().into_iter().chain(["new.example".to_owned()]).collect();
        assert_eq!(kind(evaluate(start(), &good, &more)), "leaf");
    }

    #[test]
    fn a_leaf_is_renewed_under_the_same_authority() {
        let stored = made(start());
        let later = start() + SignedDuration::from_hours(24 * 61);
        let renewed = carry_out(evaluate(later, &stored, &names()), later, &stored, b"", &names()).unwrap().unwrap();
        assert!(renewed.authorities == stored.authorities && renewed.authority_key == stored.authority_key);
        assert!(renewed.leaf != stored.leaf && renewed.leaf_key != stored.leaf_key);
        assert_eq!(evaluate(later, &renewed, &names()), Plan::Keep);
        assert!(carry_out(Plan::Keep, later, &renewed, b"", &names()).unwrap().is_none());
    }

    #[test]
    fn an_old_authority_stays_trusted_for_an_hour() {
        let old = made(start());
        let later = start() + SignedDuration::from_hours(24 * (3650 - 100));
        let new = carry_out(evaluate(later, &old, &names()), later, &old, b"", &names()).unwrap().unwrap();
        let trusted = blocks(&new.authorities);
        assert_eq!(trusted.len(), 2);
        assert_eq!(trusted[1].as_bytes(), old.authorities);
        assert_eq!(evaluate(later, &new, &names()), Plan::Keep);
        let after = later + SignedDuration::from_hours(2);
        assert_eq!(evaluate(after, &new, &names()), Plan::DropOld);
        let alone = carry_out(Plan::DropOld, after, &new, b"", &names()).unwrap().unwrap();
        assert_eq!(blocks(&alone.authorities), trusted[..1]);
        assert_eq!(evaluate(after, &alone, &names()), Plan::Keep);
        assert!(alone.leaf == new.leaf);
    }

    #[test]
    fn what_was_served_before_an_emptied_secret_stays_trusted_too() {
        let old = made(start());
        let new = carry_out(Plan::RenewAll(""), start(), &Stored::default(), &old.authorities, &names()).unwrap().unwrap();
        assert_eq!(blocks(&new.authorities).len(), 2);
        let long_after = start() + SignedDuration::from_hours(24 * 4000);
        let new = carry_out(Plan::RenewAll(""), long_after, &Stored::default(), &old.authorities, &names()).unwrap().unwrap();
        assert_eq!(blocks(&new.authorities).len(), 1, "but not when it has expired");
    }
}
