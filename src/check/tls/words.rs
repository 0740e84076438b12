//! Why a handshake failed, in words.

use std::io;

use tokio_rustls::rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

use super::super::words;
use super::{Hello, Identity};

/// Why the handshake failed, and whether other files may mend it.
pub(super) fn refused(error: &io::Error, hello: Hello<'_>, identity: &Identity) -> (String, bool) {
    let Some(inner) = of_tls(error) else {
        // Both are how it looks when the other side has gone.
        let has_gone = matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe);
        let cause = match has_gone {
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
        other => (of_rustls(other), false),
    }
}

/// What went wrong between the two ends, in the words of an operator: rustls tells most of it in the names of its own types.
pub(super) fn of_rustls(error: &Error) -> String {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "rustls adds errors, and most cannot happen to a client"
    )]
    match error {
        Error::PeerIncompatible(why) => match why {
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig => NEITHER_VERSION.into(),
            PeerIncompatible::NoCipherSuitesInCommon => {
                "the server chose a cipher that vipcast does not have".into()
            }
            PeerIncompatible::NoKxGroupsInCommon => {
                "the server chose a key exchange that vipcast does not have (it has X25519, P-256 and P-384)"
                    .into()
            }
            PeerIncompatible::NoSignatureSchemesInCommon
            | PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon => {
                "the server takes none of the signatures that vipcast can make".into()
            }
            other => format!("the server speaks TLS in a way that vipcast does not: {}", camel(other)),
        },
        Error::PeerMisbehaved(why) => format!("the server breaks the rules of TLS: {}", camel(why)),
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            "the server breaks the rules of TLS: a message out of turn".into()
        }
        Error::InvalidMessage(_) => "the server sent what is not TLS".into(),
        Error::InvalidCertificate(cause) => certificate(cause, "the host"),
        Error::NoCertificatesPresented => "the server has no certificate".into(),
        Error::DecryptError => "the server sent what cannot be decrypted".into(),
        Error::PeerSentOversizedRecord => "the server sent a record that is too long".into(),
        Error::NoApplicationProtocol => "the server speaks none of the protocols that were offered".into(),
        Error::FailedToGetCurrentTime => "the clock of this host cannot be read".into(),
        Error::FailedToGetRandomBytes => "this host has no random numbers".into(),
        Error::AlertReceived(cause) => format!("the server broke TLS off: {}", camel(cause)),
        Error::General(said) => format!("TLS: {said}"),
        other => format!("TLS: {}", camel(other)),
    }
}

const NEITHER_VERSION: &str = "the server speaks neither TLS 1.2 nor 1.3";

/// The name of a variant as words: `NoCipherSuitesInCommon` is `no cipher suites in common`. What stands behind it in
/// brackets is nobody's to read.
fn camel(variant: &impl std::fmt::Debug) -> String {
    let name = format!("{variant:?}");
    let name: String = name.chars().take_while(char::is_ascii_alphanumeric).collect();
    in_small_letters(&name)
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
        None => match of_tls(error) {
            Some(error) => of_rustls(error),
            None => words::io_error(error),
        },
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
        AlertDescription::ProtocolVersion => NEITHER_VERSION.into(),
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
        // With nothing in common a server says no more than this.
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => format!(
            "the server refused TLS: {name}; it may want RSA key exchange, or have a P-521, Ed448 or DSA key, which vipcast does \
             not speak"
        ),
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
    #[expect(clippy::wildcard_enum_match_arm, reason = "rustls adds errors; their names serve for the rest")]
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
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "certificate is not for servers (its key usage)".into()
        }
        CertificateError::BadEncoding => "certificate is damaged".into(),
        CertificateError::UnhandledCriticalExtension => UNKNOWN_EXTENSION.into(),
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "certificate is signed in a way that vipcast does not know (P-521, Ed448, SHA-1)".into()
        }
        CertificateError::ApplicationVerificationFailure => {
            "the key of the certificate is of a kind that vipcast does not know".into()
        }
        CertificateError::Other(other) => by_name(&other.0.to_string()),
        other => format!("certificate not accepted: {}", camel(other)),
    }
}

const UNKNOWN_EXTENSION: &str = "certificate has a critical extension that vipcast does not know";

/// What webpki says, which is the name of its error.
fn by_name(error: &str) -> String {
    match error {
        "CaUsedAsEndEntity" => {
            "certificate is that of an authority, not of a server; to trust it as it is, put it into `ca_file`".into()
        }
        "UnsupportedCertVersion" => {
            "certificate is of X.509 version 1 or 2; to trust it as it is, put it into `ca_file`".into()
        }
        "UnsupportedCriticalExtension" => UNKNOWN_EXTENSION.into(),
        other => format!("certificate not accepted: {}", in_small_letters(other)),
    }
}

#[cfg(test)]
mod tests {
    use tokio_rustls::rustls::{OtherError, PeerMisbehaved};

    use super::*;

    #[derive(Debug)]
    struct CaUsedAsEndEntity;

    impl std::fmt::Display for CaUsedAsEndEntity {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            std::fmt::Debug::fmt(self, f)
        }
    }

    impl std::error::Error for CaUsedAsEndEntity {}

    #[test]
    fn no_message_has_the_names_of_rust_in_it() {
        let other = OtherError(std::sync::Arc::new(CaUsedAsEndEntity));
        let errors = [
            Error::PeerIncompatible(PeerIncompatible::NoKxGroupsInCommon),
            Error::PeerIncompatible(PeerIncompatible::ExtendedMasterSecretExtensionRequired),
            Error::PeerMisbehaved(PeerMisbehaved::IllegalHelloRetryRequestWithNoChanges),
            Error::InappropriateMessage { expect_types: vec![], got_type: 22.into() },
            Error::InvalidCertificate(CertificateError::Other(other)),
            Error::InvalidCertificate(CertificateError::InvalidOcspResponse),
            Error::InvalidCertificate(CertificateError::UnknownRevocationStatus),
            Error::HandshakeNotComplete,
            Error::EncryptError,
        ];
        for error in errors {
            let said = of_rustls(&error);
            assert!(said.len() <= words::LINE, "{said}");
            let is_camel = |word: &str| {
                let bytes = word.as_bytes();
                bytes.windows(2).any(|pair| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase())
            };
            let has_type = said.split(' ').any(is_camel) || said.contains(['{', '(']) && said.contains("::");
            assert!(!has_type, "{said}");
        }
        let said = of_rustls(&Error::PeerMisbehaved(PeerMisbehaved::IllegalHelloRetryRequestWithNoChanges));
        assert_eq!(said, "the server breaks the rules of TLS: illegal hello retry request with no changes");
    }
}
