//! One request over HTTP/2 (RFC 9113) on its own connection, for the kinds that use it. Over plain text the server must
//! expect HTTP/2 (§3.3). The state of the connection lives as long as the request.

use std::io;
use std::pin::pin;

use bytes::Bytes;
use h2::{Reason, RecvStream};
use hyper::{Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::client::TlsStream;

use super::stream::Stream;
use super::tls;

#[cfg(test)]
pub(super) mod tests;

/// Longest head of an answer, in bytes.
const HEAD: usize = 32 * 1024;
/// Its name in the TLS handshake.
pub(super) const ALPN: &[u8] = b"h2";

/// A server that does not know ALPN speaks something else.
///
/// # Errors
/// In words.
pub(super) fn is_agreed_on(stream: &TlsStream<Stream>) -> Result<(), String> {
    match stream.get_ref().1.alpn_protocol() {
        Some(ALPN) => Ok(()),
        Some(_) | None => Err("the server does not speak h2 on this port".into()),
    }
}

/// Sends a request with a body, which may be empty, and gives the answer to `read`. Dropping it closes the connection.
///
/// # Errors
/// In words, or those of `read`.
pub(super) async fn exchange<T>(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: Request<()>,
    body: Bytes,
    read: impl AsyncFnOnce(Response<RecvStream>) -> Result<T, String>,
) -> Result<T, String> {
    let mut builder = h2::client::Builder::new();
    builder.enable_push(false).max_header_list_size(u32::try_from(HEAD).unwrap_or(u32::MAX));
    let (sender, connection) = builder.handshake(stream).await.map_err(|error| in_words(&error))?;
    // `connection` does the reading and writing that the others wait for, so it is polled beside them, in one task.
    let mut connection = pin!(connection);
    let mut asking = pin!(async {
        let mut sender = sender.ready().await?;
        let (answer, mut stream) = sender.send_request(request, body.is_empty())?;
        if !body.is_empty() {
            stream.send_data(body, true)?;
        }
        // The connection ends with the last sender.
        Ok::<_, h2::Error>((answer.await?, sender))
    });
    let asked = tokio::select! {
        biased;
        asked = &mut asking => asked,
        // A connection that ends before the request is on it wakes nobody.
        ended = &mut connection => tokio::select! {
            biased;
            asked = &mut asking => asked,
            () = std::future::ready(()) => match ended {
                Err(error) => Err(error),
                Ok(()) => return Err(CLOSED.into()),
            },
        },
    };
    let (answer, _sender) = asked.map_err(|error| in_words(&error))?;
    let mut reading = pin!(read(answer));
    tokio::select! {
        biased;
        read = &mut reading => read,
        _ = &mut connection => reading.await,
    }
}

const CLOSED: &str = "connection closed before the answer";

/// Whose fault it was, and what it was.
pub(super) fn in_words(error: &h2::Error) -> String {
    if let Some(error) = error.get_io() {
        // h2 makes a new error of the kind, without what the system said.
        let kind = error.kind();
        return if kind == io::ErrorKind::BrokenPipe || kind == io::ErrorKind::UnexpectedEof {
            CLOSED.into()
        } else if kind == io::ErrorKind::ConnectionReset {
            "connection reset by peer".into()
        } else {
            tls::io_error(error)
        };
    }
    let Some(reason) = error.reason() else { return error.to_string() };
    match (error.is_remote(), error.is_go_away()) {
        (true, true) => format!("the server broke the connection off (GOAWAY): {}", name(reason)),
        (true, false) => format!("the server broke the request off (RST_STREAM): {}", name(reason)),
        // h2 does not tell these two apart.
        (false, _) if reason == Reason::PROTOCOL_ERROR => {
            format!("the answer is not HTTP/2, or its head is longer than {} KiB", HEAD / 1024)
        }
        (false, _) => format!("the answer is not HTTP/2: {}", name(reason)),
    }
}

/// As RFC 9113 §7 has it: `PROTOCOL_ERROR`.
fn name(reason: Reason) -> String {
    match format!("{reason:?}") {
        name if name.starts_with(|c: char| c.is_ascii_uppercase()) => name,
        number => format!("reason {number}"),
    }
}
