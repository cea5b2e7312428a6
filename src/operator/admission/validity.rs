//! From when until when a certificate is valid, read from its DER.
//!
//! The crates that sign and serve certificates do not tell, and this is all that is needed of one. What cannot be read has no
//! validity, and a certificate without one is made anew.

use chrono::{DateTime, NaiveDateTime, Utc};

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// `notBefore` and `notAfter` of a certificate.
#[must_use]
pub fn validity(der: &[u8]) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    let certificate = Element::of(der, SEQUENCE)?;
    let body = Element::of(certificate.content, SEQUENCE)?;
    let mut rest = body.content;
    if rest.first() == Some(&VERSION) {
        rest = Element::first(rest)?.rest;
    }
    // Serial number, algorithm, issuer.
    for _ in 0..3 {
        rest = Element::first(rest)?.rest;
    }
    let validity = Element::of(rest, SEQUENCE)?;
    let from = Element::first(validity.content)?;
    let until = Element::first(from.rest)?;
    Some((from.time()?, until.time()?))
}

/// One element and what follows it.
struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Element<'a> {
    fn first(bytes: &'a [u8]) -> Option<Self> {
        let (tag, bytes) = bytes.split_first()?;
        let (length, bytes) = bytes.split_first()?;
        let (length, bytes) = match length {
            0..=0x7f => (usize::from(*length), bytes),
            0x81..=0x83 => {
                let (digits, bytes) = bytes.split_at_checked(usize::from(length & 0x7f))?;
                (digits.iter().fold(0, |sum, digit| (sum << 8) | usize::from(*digit)), bytes)
            }
            _ => return None,
        };
        let (content, rest) = bytes.split_at_checked(length)?;
        Some(Self { tag: *tag, content, rest })
    }

    fn of(bytes: &'a [u8], tag: u8) -> Option<Self> {
        Self::first(bytes).filter(|element| element.tag == tag)
    }

    fn time(&self) -> Option<DateTime<Utc>> {
        let digits = std::str::from_utf8(self.content).ok()?;
        let text = match self.tag {
            GENERALIZED_TIME => digits.to_owned(),
            // Two digits of the year: RFC 5280 splits the centuries at 50.
            UTC_TIME if digits.as_bytes().first()? >= &b'5' => format!("19{digits}"),
            UTC_TIME => format!("20{digits}"),
            _ => return None,
        };
        NaiveDateTime::parse_from_str(&text, "%Y%m%d%H%M%SZ").ok().map(|at| at.and_utc())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn certificate(from: (i32, u8, u8), until: (i32, u8, u8)) -> Vec<u8> {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_before = date_time_ymd(from.0, from.1, from.2);
        params.not_after = date_time_ymd(until.0, until.1, until.2);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn both_forms_of_time_are_read() {
        for (from, until) in [((2026, 11, 1), (2036, 10, 29)), ((1999, 12, 31), (2049, 12, 31)), ((2026, 1, 2), (2051, 3, 4))] {
            let (read_from, read_until) = validity(&certificate(from, until)).unwrap();
            assert_eq!(read_from.to_rfc3339(), format!("{:04}-{:02}-{:02}T00:00:00+00:00", from.0, from.1, from.2));
            assert_eq!(read_until.to_rfc3339(), format!("{:04}-{:02}-{:02}T00:00:00+00:00", until.0, until.1, until.2));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, cut in 0_usize..2000, at in 0_usize..2000, with: u8) {
            let _ = validity(&bytes);
            let mut real = certificate((2026, 1, 1), (2027, 1, 1));
            real.truncate(cut.max(1));
            let at = at % real.len();
            real[at] = with;
            let _ = validity(&real);
        }
    }
}
