//! `grpc:` checks: the standard health protocol, `grpc.health.v1.Health/Check`, one call on its own connection.
//!
//! PROTOCOL-HTTP2.md of the project grpc specifies a call, and health/v1/health.proto the messages; [`message`] encodes
//! and decodes them.

mod message;

use bytes::Bytes;
use h2::RecvStream;
use hyper::header::{CONTENT_TYPE, TE, USER_AGENT};
use hyper::{HeaderMap, Request, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};

use self::message::Status;
use crate::check::context::ProbeContext;
use crate::check::http2;
use crate::check::kinds::grpc::GrpcCheck;
use crate::check::kinds::http::{AGENT, Chunks as _, status_in_words};
use crate::check::limit::Answer;
use crate::check::tls::{self, Hello, Trust};

#[cfg(test)]
mod tests;

/// Longest answer, in bytes; a right one has seven.
const LONGEST: usize = 4 * 1024;
/// Longest text of a server that is quoted, in bytes.
const QUOTED: usize = 512;

/// Passes when the service is SERVING.
pub(super) async fn probe(check: &GrpcCheck, context: ProbeContext<'_>, trust: &Trust) -> Answer {
    let limit = context.limit;
    let request = request(check, context)?;
    let stream = context.connect(&check.target, &check.dial).await?;
    let exchange = async {
        match &check.tls {
            None => ask(stream, request, check).await,
            Some(options) => {
                let hello = Hello { host: &check.host, options, alpn: &[http2::ALPN], named: true };
                let (stream, identity) = tls::handshake(stream, hello, trust, context).await?;
                http2::is_agreed_on(&stream)?;
                ask(stream, request, check).await.map_err(|cause| identity.blamed(cause))
            }
        }
    };
    limit.within(exchange).await.ok_or_else(|| limit.exceeded("no answer"))?
}

/// PROTOCOL-HTTP2.md, "Requests".
fn request(check: &GrpcCheck, context: ProbeContext<'_>) -> Result<Request<()>, String> {
    let scheme = if check.tls.is_some() { "https" } else { "http" };
    Request::post(format!("{scheme}://{}/grpc.health.v1.Health/Check", check.authority))
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .header(USER_AGENT, AGENT)
        // At most eight digits; more than a day is never asked for.
        .header("grpc-timeout", format!("{}m", context.limit.length().as_millis().min(86_400_000)))
        .body(())
        .map_err(|error| format!("cannot ask \"{}\": {error}", check.authority))
}

async fn ask(stream: impl AsyncRead + AsyncWrite + Unpin, request: Request<()>, check: &GrpcCheck) -> Answer {
    let question = Bytes::from(message::request(&check.service));
    http2::exchange(stream, request, question, async |answer| look(answer, check).await).await
}

/// PROTOCOL-HTTP2.md, "Responses": headers, a message and trailers, or trailers alone, which come as headers.
async fn look(answer: Response<RecvStream>, check: &GrpcCheck) -> Answer {
    let (head, mut body) = answer.into_parts();
    if head.status != StatusCode::OK {
        return Err(format!("{}, wanted an answer of gRPC", status_in_words(head.status)));
    }
    let kind = text(&head.headers, CONTENT_TYPE.as_str());
    if !kind.as_ref().is_some_and(|kind| kind.starts_with("application/grpc")) {
        let found = kind.map_or("no content type".into(), |kind| format!("the content type {kind}"));
        return Err(format!("the answer is not gRPC, it has {found}"));
    }
    if head.headers.contains_key(STATUS) {
        failure(&head.headers, check)?;
    }
    let mut answer = Vec::new();
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|cause| format!("the answer broke off: {cause}"))?;
        if answer.len() + piece.len() > LONGEST {
            return Err(format!("the answer is longer than {} KiB", LONGEST / 1024));
        }
        answer.extend_from_slice(&piece);
    }
    let trailers = body.trailers().await.map_err(|error| http2::in_words(&error))?;
    match trailers {
        Some(trailers) => failure(&trailers, check)?,
        None if head.headers.contains_key(STATUS) => {}
        None => return Err("the answer has no trailers, and so no grpc-status".into()),
    }
    match message::answer(&answer)? {
        Status::Serving => Ok("SERVING".into()),
        status @ (Status::Unknown | Status::NotServing | Status::ServiceUnknown) => {
            Err(format!("{}, wanted SERVING", status.name()))
        }
        Status::Other(number) => Err(format!("status {number}, wanted SERVING")),
    }
}

const STATUS: &str = "grpc-status";

/// The error that `grpc-status` and `grpc-message` tell, unless it is 0, OK.
fn failure(trailers: &HeaderMap, check: &GrpcCheck) -> Result<(), String> {
    /// By their numbers, from doc/statuscodes.md of the project grpc.
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    let status = text(trailers, STATUS).ok_or("the trailers of the answer have no grpc-status")?;
    let name = status.parse().ok().and_then(|number: usize| NAMES.get(number));
    let said = match text(trailers, "grpc-message").map(|message| decoded(&message)) {
        Some(message) if !message.is_empty() => format!(": {message}"),
        Some(_) | None => String::new(),
    };
    Err(match name.copied() {
        Some("OK") => return Ok(()),
        Some("NOT_FOUND") => format!("the server does not know the service \"{}\"{said}", check.service),
        Some("UNIMPLEMENTED") => format!("the server has no health service (UNIMPLEMENTED){said}"),
        Some(name) => format!("{name}{said}"),
        None => format!("grpc-status {status}{said}"),
    })
}

/// A header that is quoted.
fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?.as_bytes();
    Some(String::from_utf8_lossy(&value[..value.len().min(QUOTED)]).into_owned())
}

/// PROTOCOL-HTTP2.md, "Percent-Encoded"; what is not encoded as it should be stands as it is.
fn decoded(message: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = message.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let digit = |at: usize| char::from(*behind.get(at)?).to_digit(16);
        let encoded = digit(0).zip(digit(1)).and_then(|(high, low)| u8::try_from(high << 4 | low).ok());
        match encoded {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            Some(_) | None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
