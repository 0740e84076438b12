//! `http:` checks: one GET on a connection of its own, and the status of the answer decides.
//!
//! Redirects are not followed: a 301 is the answer. The body is not read: the status came before it, and it may never
//! end. The head of the answer is bounded by [`HEAD`] bytes and [`HEADERS`] fields.

use std::error::Error as _;
use std::io;
use std::net::Ipv6Addr;
use std::pin::pin;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, HOST, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::asking::Asking;
use super::limit::Answer;
use super::tls::{self, Hello, Trust};
use crate::config::model::HttpCheck;

#[cfg(test)]
mod tests;

/// Longest head of an answer, in bytes.
const HEAD: usize = 32 * 1024;
/// Most header fields of an answer.
const HEADERS: usize = 100;

/// Passes when the answer has one of the wanted status codes.
pub(super) async fn probe(check: &HttpCheck, asking: Asking<'_>, trust: &Trust) -> Answer {
    let stream = asking.connect(&check.target).await?;
    let limit = asking.limit;
    let exchange = async {
        match &check.tls {
            None => ask(stream, check).await,
            Some(options) => {
                let hello = Hello { host: &check.host, options, alpn: &[b"http/1.1"], named: true };
                ask(tls::handshake(stream, hello, trust, limit).await?, check).await
            }
        }
    };
    let status = limit.within(exchange).await.ok_or_else(|| limit.exceeded("no answer"))??;
    if check.status.iter().any(|(low, high)| (*low..=*high).contains(&status.as_u16())) {
        Ok(status_in_words(status))
    } else {
        Err(format!("{}, wanted {}", status_in_words(status), wanted(&check.status)))
    }
}

/// Asks, and returns as soon as the head of the answer is there. Dropping it closes the connection.
async fn ask(stream: impl AsyncRead + AsyncWrite + Unpin, check: &HttpCheck) -> Result<StatusCode, String> {
    let request = Request::get(&check.path)
        .header(HOST, host_header(check))
        .header(USER_AGENT, concat!("vipcast/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "*/*")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| format!("cannot ask for \"{}\": {error}", check.path))?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD)
        .max_headers(HEADERS)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| in_words(&error))?;
    // `connection` does the reading and writing that `answer` waits for, so both are polled here, in one task: when the
    // probe is dropped, so is the socket. An error is told by `answer`, also when the connection is the first to end.
    let mut connection = pin!(connection);
    let mut answer = pin!(sender.send_request(request));
    let response = tokio::select! {
        biased;
        response = &mut answer => response,
        _ = &mut connection => answer.await,
    };
    response.as_ref().map(Response::status).map_err(in_words)
}

/// RFC 9110 §7.2: an IPv6 address in brackets, and the port unless it is the scheme's own. A host that the operator
/// chose instead of the target's is sent without a port, as clients do who come to the service's usual one.
fn host_header(check: &HttpCheck) -> String {
    let HttpCheck { target, host, tls, .. } = check;
    let usual_port = if tls.is_some() { 443 } else { 80 };
    let bracketed = if host.parse::<Ipv6Addr>().is_ok() { format!("[{host}]") } else { host.clone() };
    if *host == target.host && target.port != usual_port {
        format!("{bracketed}:{}", target.port)
    } else {
        bracketed
    }
}

fn in_words(error: &hyper::Error) -> String {
    let io_error = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    match io_error {
        Some(error) => tls::io_error(error),
        None if error.is_parse_too_large() => {
            format!("the head of the answer is longer than {} KiB or {HEADERS} fields", HEAD / 1024)
        }
        None if error.is_parse() => format!("the answer is not HTTP: {error}"),
        None if error.is_incomplete_message() || error.is_canceled() || error.is_closed() => {
            "connection closed before the answer".into()
        }
        None => error.to_string(),
    }
}

/// `503 Service Unavailable`, in the words of the registry, not of the server.
fn status_in_words(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}

/// `200`, `200-299 or 404`.
fn wanted(status: &[(u16, u16)]) -> String {
    let ranges = status.iter().map(|(low, high)| match low == high {
        true => low.to_string(),
        false => format!("{low}-{high}"),
    });
    ranges.collect::<Vec<_>>().join(" or ")
}
