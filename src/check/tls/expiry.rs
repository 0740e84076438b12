//! The validity of certificates, found without decoding them: the verifier that accepts them today is asked about other
//! days.

use std::time::Duration;

use tokio_rustls::rustls::client::danger::ServerCertVerifier as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{CertificateError, Error};

use super::trust::Authorities;

/// RFC 5280 §4.1.2.5: no certificate says that it is valid for longer, and this one is valid for ever.
const FOR_EVER: UnixTime = UnixTime::since_unix_epoch(Duration::from_secs(253_402_300_799));
/// Longer chains are not looked at to the end; no verifier accepts them.
const LONGEST_CHAIN: usize = 10;

/// Until when a chain of certificates is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::check) struct Validity {
    /// From now.
    pub(super) left: Duration,
    /// Whether it ends with the certificate of the server itself, not with one of an authority between.
    pub(super) of_server: bool,
}

impl Validity {
    /// `certificate expires in 12 days`.
    pub(in crate::check) fn in_words(self) -> String {
        const HOUR: u64 = 60 * 60;
        let whose = if self.of_server { "certificate" } else { "certificate of an authority" };
        let (number, unit) = match self.left.as_secs() {
            seconds if seconds >= 24 * HOUR => (seconds / (24 * HOUR), "day"),
            seconds if seconds >= HOUR => (seconds / HOUR, "hour"),
            seconds => (seconds / 60, "minute"),
        };
        format!("{whose} expires in {number} {unit}{}", if number == 1 { "" } else { "s" })
    }
}

/// For how long `chain`, which is accepted now, goes on to be; `None` with `insecure`, and where it is for ever.
pub(super) fn validity(
    authorities: &Authorities,
    chain: &[CertificateDer<'_>],
    name: &ServerName<'_>,
    now: UnixTime,
) -> Option<Validity> {
    let verifier = authorities.checked()?;
    let (server, between) = chain.split_first()?;
    let expired = |at| {
        ends_before(verifier.verify_server_cert(server, between, name, &[], at).err()?)
            .filter(|end| *end < at)
    };
    // The certificate of the server is looked at first. On its last day one of the others may have expired.
    let first = expired(FOR_EVER)?;
    let mut end = first;
    for _ in 0..LONGEST_CHAIN {
        match expired(end) {
            Some(earlier) => end = earlier,
            None => break,
        }
    }
    let left = end.as_secs().saturating_sub(now.as_secs());
    Some(Validity { left: Duration::from_secs(left), of_server: end == first })
}

fn ends_before(error: Error) -> Option<UnixTime> {
    let Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. }) = error else {
        return None;
    };
    Some(not_after)
}
