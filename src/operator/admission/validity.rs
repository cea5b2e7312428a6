//! The validity of a certificate, read from its DER.

use jiff::Timestamp;
use x509_parser::{certificate::X509CertificateParser, nom::Parser, time::ASN1Time};

use api::instant::at_second;

/// Returns `notBefore` and `notAfter` of a certificate. A certificate that cannot be read has no validity.
#[must_use]
pub fn validity(der: &[u8]) -> Option<(Timestamp, Timestamp)> {
    // Extensions are not parsed: a certificate with an extension that the parser does not know is still valid.
    let (_, certificate) = X509CertificateParser::new().with_deep_parse_extensions(false).parse(der).ok()?;
    let validity = certificate.validity();
    Some((time(validity.not_before), time(validity.not_after)))
}

/// The last day of the year 9999 means that a certificate never expires (RFC 5280).
fn time(at: ASN1Time) -> Timestamp {
    at_second(at.timestamp())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;
    use api::instant::stamp;

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
            assert_eq!(stamp(read_from), format!("{:04}-{:02}-{:02}T00:00:00Z", from.0, from.1, from.2));
            assert_eq!(stamp(read_until), format!("{:04}-{:02}-{:02}T00:00:00Z", until.0, until.1, until.2));
        }
    }

    #[test]
    fn a_certificate_without_an_end_is_read() {
        let (from, until) = validity(&certificate((2026, 11, 1), (9999, 12, 31))).unwrap();
        assert_eq!((stamp(from).as_str(), until), ("2026-11-01T00:00:00Z", Timestamp::MAX));
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
