//! What a certificate says of itself (RFC 5280 §4.1), of any version and whether it is that of an authority or not. Nothing of it
//! is believed here: this is for certificates that were put into a `ca_file` one by one.
//!
//! Pure: bytes in, no bytes that make it panic. Only the parts that decide are read.

use std::net::IpAddr;

use tokio_rustls::rustls::pki_types::UnixTime;

/// Parts of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Certificate<'a> {
    pub(super) not_before: u64,
    pub(super) not_after: u64,
    subject: &'a [u8],
    /// The contents of the AlgorithmIdentifier of its key, and the key.
    pub(super) key: (&'a [u8], &'a [u8]),
    extensions: &'a [u8],
}

// Tags of DER (X.690).
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;

// Object identifiers, as DER has them.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
const SERVER_AUTHENTICATION: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];

/// The bits of a key usage with which a key may be that of a TLS server: digitalSignature, keyEncipherment, keyAgreement.
const OF_SERVERS: u8 = 0x80 | 0x20 | 0x08;

impl<'a> Certificate<'a> {
    /// `None` where it is none.
    pub(super) fn read(der: &'a [u8]) -> Option<Self> {
        let mut outer = DerReader(DerReader(der).take(SEQUENCE)?);
        let mut signed = DerReader(outer.take(SEQUENCE)?);
        let _version = signed.take(VERSION);
        let (_serial, _) = signed.any().map(|(tag, value)| (value, tag))?;
        let _algorithm = signed.take(SEQUENCE)?;
        let _issuer = signed.take(SEQUENCE)?;
        let mut validity = DerReader(signed.take(SEQUENCE)?);
        let (not_before, not_after) = (time(&mut validity)?, time(&mut validity)?);
        let subject = signed.take(SEQUENCE)?;
        let mut key = DerReader(signed.take(SEQUENCE)?);
        let algorithm = key.take(SEQUENCE)?;
        // Its first octet says how many bits of the last are not used: none, of any key.
        let (unused, bits) = key.take(BIT_STRING)?.split_first()?;
        if *unused != 0 {
            return None;
        }
        let mut extensions = &[][..];
        while let Some((tag, value)) = signed.any() {
            if tag == EXTENSIONS {
                extensions = DerReader(value).take(SEQUENCE)?;
            }
        }
        Some(Self { not_before, not_after, subject, key: (algorithm, bits), extensions })
    }

    /// Whether it is for this host, by its alternative names; by its common name only where it has none of them.
    pub(super) fn is_for(&self, host: &str) -> bool {
        let address = host.parse::<IpAddr>().ok();
        let names = self.extension(ALTERNATIVE_NAMES).and_then(|value| DerReader(value).take(SEQUENCE));
        if let Some(names) = names {
            let mut names = DerReader(names);
            while let Some((tag, name)) = names.any() {
                let fits = match (tag, address) {
                    (DNS_NAME, None) => matches(name, host),
                    (IP_ADDRESS, Some(IpAddr::V4(v4))) => name == v4.octets(),
                    (IP_ADDRESS, Some(IpAddr::V6(v6))) => name == v6.octets(),
                    (_, _) => false,
                };
                if fits {
                    return true;
                }
            }
            return false;
        }
        let Some(name) = self.common_name() else { return false };
        match address {
            Some(_) => name == host.as_bytes(),
            None => matches(name, host),
        }
    }

    /// Whether it may be that of a TLS server. One that does not say what it is for may be anything.
    pub(super) fn is_of_server(&self) -> bool {
        let usage = self.extension(KEY_USAGE).and_then(|value| DerReader(value).take(BIT_STRING));
        let may_sign = usage.is_none_or(|bits| bits.get(1).is_some_and(|bits| bits & OF_SERVERS != 0));
        let purposes = self.extension(EXTENDED_KEY_USAGE).and_then(|value| DerReader(value).take(SEQUENCE));
        let serves = purposes.is_none_or(|purposes| {
            let mut purposes = DerReader(purposes);
            std::iter::from_fn(|| purposes.take(OID)).any(|purpose| purpose == SERVER_AUTHENTICATION)
        });
        may_sign && serves
    }

    fn extension(&self, wanted: &[u8]) -> Option<&'a [u8]> {
        let mut extensions = DerReader(self.extensions);
        while let Some(extension) = extensions.take(SEQUENCE) {
            let mut extension = DerReader(extension);
            if extension.take(OID)? != wanted {
                continue;
            }
            // Whether it is critical stands between, if it is.
            while let Some((tag, value)) = extension.any() {
                if tag == OCTET_STRING {
                    return Some(value);
                }
            }
        }
        None
    }

    /// The last one, which is the most specific.
    fn common_name(&self) -> Option<&'a [u8]> {
        let mut found = None;
        let mut names = DerReader(self.subject);
        while let Some(set) = names.take(SET) {
            let mut set = DerReader(set);
            while let Some(attribute) = set.take(SEQUENCE) {
                let mut attribute = DerReader(attribute);
                if attribute.take(OID)? == COMMON_NAME {
                    found = attribute.any().map(|(_, value)| value);
                }
            }
        }
        found
    }
}

/// RFC 6125 §6.4: capitals are the same, and `*` stands for the first label.
fn matches(pattern: &[u8], host: &str) -> bool {
    let Ok(pattern) = str::from_utf8(pattern) else { return false };
    let (pattern, host) = (pattern.trim_end_matches('.'), host.trim_end_matches('.'));
    if let Some(domain) = pattern.strip_prefix("*.")
        && let Some((first, rest)) = host.split_once('.')
    {
        return !first.is_empty() && domain.contains('.') && rest.eq_ignore_ascii_case(domain);
    }
    !pattern.is_empty() && pattern.eq_ignore_ascii_case(host)
}

/// RFC 5280 §4.1.2.5, in seconds since 1970.
fn time(reader: &mut DerReader<'_>) -> Option<u64> {
    let (tag, text) = reader.any()?;
    let text = str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let year: i16 = text.get(..2)?.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, text.get(2..)?)
        }
        GENERALIZED_TIME => (text.get(..4)?.parse().ok()?, text.get(4..)?),
        _ => return None,
    };
    let two = |at: usize| rest.get(at..at + 2)?.parse::<i8>().ok();
    let second = if rest.len() > 8 { two(8)? } else { 0 };
    let date = jiff::civil::DateTime::new(year, two(0)?, two(2)?, two(4)?, two(6)?, second, 0).ok()?;
    let seconds = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second();
    // What begins before 1970 has begun.
    Some(u64::try_from(seconds).unwrap_or(0))
}

/// The validity as rustls counts.
pub(super) fn unix(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds))
}

/// The rest of a value of DER.
struct DerReader<'a>(&'a [u8]);

impl<'a> DerReader<'a> {
    /// The next element, with its tag.
    fn any(&mut self) -> Option<(u8, &'a [u8])> {
        let (tag, rest) = self.0.split_first()?;
        let (first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(*first), rest),
            0x81..=0x83 => {
                let (octets, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (octets.iter().fold(0, |length, octet| length << 8 | usize::from(*octet)), rest)
            }
            // No certificate is that large.
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*tag, value))
    }

    /// The next element, if it has this tag; else it stays.
    fn take(&mut self, wanted: u8) -> Option<&'a [u8]> {
        if *self.0.first()? != wanted {
            return None;
        }
        self.any().map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{
        CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, date_time_ymd,
    };

    use super::*;

    fn der(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let names = vec!["Web.example".to_owned(), "*.apps.example".to_owned(), "192.0.2.1".to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, "common.example");
        params.not_before = date_time_ymd(2024, 2, 29);
        params.not_after = date_time_ymd(2051, 1, 1);
        change(&mut params);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn it_says_for_whom_it_is_and_how_long() {
        let der = der(|_| ());
        let read = Certificate::read(&der).unwrap();
        assert_eq!((read.not_before, read.not_after), (1_709_164_800, 2_556_144_000));
        for host in ["web.example", "WEB.example.", "a.apps.example", "192.0.2.1"] {
            assert!(read.is_for(host), "{host}");
        }
        for host in
            ["common.example", "apps.example", "a.b.apps.example", ".apps.example", "192.0.2.2", "::1"]
        {
            assert!(!read.is_for(host), "{host}");
        }
    }

    #[test]
    fn the_common_name_counts_only_where_there_are_no_others() {
        let der = der(|params| params.subject_alt_names.clear());
        let read = Certificate::read(&der).unwrap();
        assert!(read.is_for("common.example") && !read.is_for("web.example"));
    }

    #[test]
    fn a_key_that_is_for_something_else_is_not_that_of_a_server() {
        let of = |usages: &[KeyUsagePurpose], purposes: &[ExtendedKeyUsagePurpose]| {
            let der = der(|params| {
                params.key_usages = usages.to_vec();
                params.extended_key_usages = purposes.to_vec();
            });
            Certificate::read(&der).unwrap().is_of_server()
        };
        use ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
        assert!(of(&[], &[]));
        assert!(of(
            &[KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature],
            &[ClientAuth, ServerAuth]
        ));
        assert!(!of(&[KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign], &[]));
        assert!(!of(&[], &[ClientAuth]));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(at in 0usize..400, byte: u8, cut in 0usize..600, garbage: Vec<u8>) {
            let mut der = der(|_| ());
            let length = der.len();
            der[at % length] = byte;
            for bytes in [&der[..], &der[..cut.min(length)], &garbage] {
                if let Some(read) = Certificate::read(bytes) {
                    let _any = (read.is_for("web.example"), read.is_for("192.0.2.1"), read.is_of_server());
                }
            }
        }
    }
}
