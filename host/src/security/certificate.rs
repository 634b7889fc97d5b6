//! The expiry of a certificate.

use std::time::{SystemTime, UNIX_EPOCH};

use der::asn1::{AnyRef, GeneralizedTime, UtcTime};
use der::{Decode, ErrorKind, Reader, SliceReader, Tag, Tagged};

/// Reads `notAfter` of a certificate in DER (RFC 5280, section 4.1). `None` if it cannot be read.
pub(super) fn not_after(certificate: &[u8]) -> Option<SystemTime> {
    parse(certificate).ok()
}

fn parse(certificate: &[u8]) -> der::Result<SystemTime> {
    // Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signature }
    let mut certificate = enter(AnyRef::from_der(certificate)?)?;
    // TBSCertificate ::= SEQUENCE { version [0] DEFAULT v1, serialNumber, signature, issuer, validity, … }
    let mut tbs = enter(certificate.decode()?)?;
    if Tag::peek(&tbs)?.is_context_specific() {
        skip(&mut tbs)?;
    }
    for _ in ["serialNumber", "signature", "issuer"] {
        skip(&mut tbs)?;
    }
    // Validity ::= SEQUENCE { notBefore, notAfter }
    let mut validity = enter(tbs.decode()?)?;
    skip(&mut validity)?;
    let not_after: AnyRef = validity.decode()?;
    let since_epoch = match not_after.tag() {
        Tag::UtcTime => not_after.decode_as::<UtcTime>()?.to_unix_duration(),
        Tag::GeneralizedTime => not_after.decode_as::<GeneralizedTime>()?.to_unix_duration(),
        _ => return Err(ErrorKind::DateTime.into()),
    };
    Ok(UNIX_EPOCH + since_epoch)
}

/// A reader of the elements of a sequence.
fn enter(sequence: AnyRef) -> der::Result<SliceReader> {
    sequence.tag().assert_eq(Tag::Sequence)?;
    SliceReader::new(sequence.value())
}

fn skip(reader: &mut SliceReader) -> der::Result<()> {
    reader.decode::<AnyRef>().map(drop)
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    const VERSION: u8 = 0xa0;
    const INTEGER: u8 = 0x02;
    const SEQUENCE: u8 = 0x30;
    const UTC_TIME: u8 = 0x17;
    const GENERALIZED_TIME: u8 = 0x18;

    fn element(tag: u8, contents: &[&[u8]]) -> Vec<u8> {
        let contents = contents.concat();
        [&[tag, u8::try_from(contents.len()).unwrap()], contents.as_slice()].concat()
    }

    fn certificate(version: &[u8], not_after: &[u8]) -> Vec<u8> {
        let serial = element(INTEGER, &[&[1]]);
        let empty = element(SEQUENCE, &[]);
        let validity = element(SEQUENCE, &[&element(UTC_TIME, &[b"200101000000Z"]), not_after]);
        let tbs = element(SEQUENCE, &[version, &serial, &empty, &empty, &validity, &empty]);
        element(SEQUENCE, &[&tbs, &empty])
    }

    fn expires(certificate: &[u8]) -> Option<String> {
        not_after(certificate).map(|time| humantime::format_rfc3339_seconds(time).to_string())
    }

    #[test]
    fn the_expiry_is_read_in_both_formats_of_a_date() {
        let version = element(VERSION, &[&element(INTEGER, &[&[2]])]);
        for (version, tag, date, expected) in [
            (&version[..], UTC_TIME, "301231235959Z", "2030-12-31T23:59:59Z"),
            (&version[..], UTC_TIME, "990101000000Z", "1999-01-01T00:00:00Z"),
            (&version[..], GENERALIZED_TIME, "40960101000000Z", "4096-01-01T00:00:00Z"),
            // "No well-defined expiration date" (RFC 5280, section 4.1.2.5).
            (&version[..], GENERALIZED_TIME, "99991231235959Z", "9999-12-31T23:59:59Z"),
            (&[], UTC_TIME, "301231235959Z", "2030-12-31T23:59:59Z"),
        ] {
            let certificate = certificate(version, &element(tag, &[date.as_bytes()]));
            assert_eq!(expires(&certificate).as_deref(), Some(expected));
        }
    }

    #[test]
    fn a_certificate_of_openssl_can_be_read() {
        // openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=test -days 3650
        const CERTIFICATE: &str = "\
            MIIBczCCARmgAwIBAgIUKBkNnbeBORae352dtpZBv7mNXLgwCgYIKoZIzj0EAwIwDzENMAsGA1UEAwwEdGVzdDAeFw\
            0yNjExMjYwMTI5MTNaFw0zNjExMjMwMTI5MTNaMA8xDTALBgNVBAMMBHRlc3QwWTATBgcqhkjOPQIBBggqhkjOPQMB\
            BwNCAAQf/OcKakTMfiQFdi17a39J4tESP+/RSXlo3ySscoqqDI6yxEwp8GMpZCVEr6G1M6nphibaGcvD/OLt2M0Ho/\
            Fjo1MwUTAdBgNVHQ4EFgQUvYNVfd5aNlhQmR9mSOj+biwNEuUwHwYDVR0jBBgwFoAUvYNVfd5aNlhQmR9mSOj+biwN\
            EuUwDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiBcm3O1HxQHZ1q/TJhxgegU+mS9vCO452hRPpD6Sg\
            h+yQIhANqjQg37RRKmUpSxv1uDgQc6XfagiVWFSTUPl88qdtwV";
        let certificate = STANDARD.decode(CERTIFICATE).unwrap();
        assert_eq!(expires(&certificate).as_deref(), Some("2036-11-23T01:29:13Z"));
    }

    #[test]
    fn what_is_no_certificate_has_no_expiry() {
        let valid = certificate(&[], &element(UTC_TIME, &[b"301231235959Z"]));
        for length in 0..valid.len() {
            assert_eq!(not_after(&valid[..length]), None);
        }
        assert_eq!(not_after(&certificate(&[], &element(UTC_TIME, &[b"not a date"]))), None);
        assert_eq!(not_after(&certificate(&[], &element(INTEGER, &[&[1]]))), None);
    }
}
