//! Why a handshake failed, in words.

use std::io;

use tokio_rustls::rustls::{AlertDescription, CertificateError, Error};

use super::super::words;
use super::{Hello, Identity};

/// Why the handshake failed, and whether other files may mend it.
pub(super) fn refused(error: &io::Error, hello: Hello<'_>, identity: &Identity) -> (String, bool) {
    let Some(inner) = of_tls(error) else {
        let cause = match error.kind() == io::ErrorKind::UnexpectedEof {
            true => "connection closed during the TLS handshake".into(),
            false => format!("TLS: {}", words::io_error(error)),
        };
        return (cause, false);
    };
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "rustls adds errors; its own words serve for the rest"
    )]
    match inner {
        Error::InvalidCertificate(cause) => (certificate(cause, hello.name()), true),
        Error::InvalidMessage(_) => ("the server does not speak TLS on this port".into(), false),
        Error::AlertReceived(cause) => (alert(*cause, hello, identity), identity.key.is_some()),
        other => (format!("TLS: {other}"), false),
    }
}

/// An error of a connection that may have TLS on it, after the handshake: in TLS 1.3 the server says only then what it
/// thinks of our certificate.
pub(in crate::check) fn io_error(error: &io::Error) -> String {
    let said = error.to_string();
    // h2 keeps of an error only what it says.
    match said.strip_prefix("received fatal alert: ") {
        Some("CertificateRequired") => WANTS_TO_KNOW.into(),
        Some(alert) if OF_CLIENTS.contains(&alert) => {
            let alert = in_small_letters(alert);
            format!("the server does not accept our client certificate, or that there is none: {alert}")
        }
        Some(alert) => format!("the server broke TLS off: {}", in_small_letters(alert)),
        None if of_tls(error).is_some() => format!("TLS: {said}"),
        None => words::io_error(error),
    }
}

/// Alerts that a server can only mean for the certificate of the client.
const OF_CLIENTS: [&str; 8] = [
    "BadCertificate",
    "UnsupportedCertificate",
    "CertificateRevoked",
    "CertificateExpired",
    "CertificateUnknown",
    "UnknownCA",
    "AccessDenied",
    "DecryptError",
];

const WANTS_TO_KNOW: &str = "the server demands a client certificate";

fn of_tls(error: &io::Error) -> Option<&Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

fn alert(cause: AlertDescription, hello: Hello<'_>, identity: &Identity) -> String {
    let name = in_small_letters(&format!("{cause:?}"));
    #[expect(clippy::wildcard_enum_match_arm, reason = "there are 256, and most mean nothing to an operator")]
    match cause {
        AlertDescription::NoApplicationProtocol => {
            let offered: Vec<_> = hello.alpn.iter().map(|name| String::from_utf8_lossy(name)).collect();
            format!("the server does not speak {} on this port", offered.join(" or "))
        }
        AlertDescription::UnrecognisedName => {
            format!("the server does not know the name \"{}\"", hello.name())
        }
        AlertDescription::ProtocolVersion => "the server speaks neither TLS 1.2 nor 1.3".into(),
        AlertDescription::CertificateRequired => WANTS_TO_KNOW.into(),
        // Before TLS 1.3 there was no alert of its own for it (RFC 5246 §7.4.6).
        AlertDescription::HandshakeFailure | AlertDescription::BadCertificate
            if identity.was_asked_for() && identity.key.is_none() =>
        {
            WANTS_TO_KNOW.into()
        }
        _ if identity.was_asked_for() && identity.key.is_some() => {
            format!("the server does not accept our client certificate: {name}")
        }
        _ => format!("the server refused TLS: {name}"),
    }
}

/// As the RFC writes it: `UnknownCA` is `unknown ca`.
fn in_small_letters(alert: &str) -> String {
    let mut name = alert.to_owned();
    while let Some(at) = name
        .as_bytes()
        .windows(2)
        .position(|pair| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase())
    {
        name.insert(at + 1, ' ');
    }
    name.to_ascii_lowercase()
}

fn certificate(cause: &CertificateError, host: &str) -> String {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "rustls adds errors; its own words serve for the rest"
    )]
    match cause {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "certificate expired".into(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "certificate not valid yet".into()
        }
        // A bad signature comes of an authority with a known name and another key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "certificate not signed by a trusted authority".into()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("certificate is not for \"{host}\"")
        }
        CertificateError::Revoked => "certificate revoked".into(),
        other => format!("certificate not accepted: {other}"),
    }
}
