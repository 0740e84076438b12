//! Only a TLS handshake.

use tokio_rustls::rustls::ProtocolVersion;

use super::TlsCheck;
use crate::check::context::ProbeContext;
use crate::check::limit::Answer;
use crate::check::tls::{self, Hello, Trust};

/// Passes when the handshake succeeds and the certificate is good, also for as long as it has to be.
pub(super) async fn probe(check: &TlsCheck, context: ProbeContext<'_>, trust: &Trust) -> Answer {
    let TlsCheck { target, dial, host, options, alpn } = check;
    let stream = context.connect(target, dial).await?;
    let offered: Vec<&[u8]> = alpn.iter().map(String::as_bytes).collect();
    let hello = Hello { host, options, alpn: &offered, named: true };
    let mut secured = tls::shake_hands(stream, hello, trust, context).await?;
    let (_, connection) = secured.stream.get_ref();
    let version = connection.protocol_version();
    let mut seen = vec![match version {
        Some(ProtocolVersion::TLSv1_3) => "TLS 1.3".to_owned(),
        Some(ProtocolVersion::TLSv1_2) => "TLS 1.2".to_owned(),
        Some(_) | None => "TLS".to_owned(),
    }];
    match connection.alpn_protocol() {
        Some(chosen) => seen.push(String::from_utf8_lossy(chosen).into_owned()),
        None if alpn.is_empty() => {}
        None => return Err(format!("the server chose none of the protocols {}", alpn.join(", "))),
    }
    seen.extend(secured.validity().map(|validity| validity.in_words()));
    if let Some(cause) = secured.refusal(hello, context.limit).await {
        return Err(cause);
    }
    Ok(seen.join(", "))
}
