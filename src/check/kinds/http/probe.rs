//! `http:` checks: one request on its own connection; the status of the answer decides, and a text in its body if one
//! is configured.
//!
//! | file | contents |
//! | --- | --- |
//! | `hop` | the target of a request, and of a redirect |
//! | `body` | looking for a text in the answer |
//!
//! Without a text to look for the body is not read: the status came before it, and it may never end.

mod body;
mod hop;

use bytes::Bytes;
use hyper::header::{
    ACCEPT, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, LOCATION, USER_AGENT,
};
use hyper::http::response;
use hyper::{Request, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};

pub(in crate::check) use self::body::Chunks;
use self::body::in_body;
use self::hop::Hop;
use super::http1;
use super::http1::RequestHead;
use super::shown_url::shown;
use crate::check::context::ProbeContext;
use crate::check::http2;
use crate::check::kinds::http::{HttpCheck, HttpVersion, Method};
use crate::check::limit::{Answer, Limit};
use crate::check::said::{Answering, Said};
use crate::check::stream::Stream;
use crate::check::tls::{self, Hello, Trust};

#[cfg(test)]
mod tests;

/// The owner of the check.
pub(in crate::check) const AGENT: &str = concat!("vipcast/", env!("CARGO_PKG_VERSION"));

/// Passes when the answer has one of the wanted status codes, and what is wanted in its body.
pub(super) async fn probe(check: &HttpCheck, context: ProbeContext<'_>, trust: &Trust) -> Answer {
    let mut hop = Hop::first(check);
    let mut left_behind = Vec::new();
    loop {
        let sent_on = !left_behind.is_empty();
        let whose = |cause: String| if sent_on { format!("{hop}: {cause}") } else { cause };
        let seen = visit(&hop, check, context, trust).await.map_err(whose)?;
        let location = match &seen.location {
            Some(location) if check.redirects > 0 => location,
            Some(_) | None => return seen.judge(check).map_err(whose),
        };
        let status = status_in_words(seen.status);
        if left_behind.len() == usize::from(check.redirects) {
            return Err(whose(format!(
                "{status} to {}, and {} were followed",
                shown(location),
                check.redirects
            )));
        }
        let next = hop.follow(location, check).map_err(|cause| whose(format!("{status} {cause}")))?;
        left_behind.push(std::mem::replace(&mut hop, next));
        if left_behind.contains(&hop) {
            return Err(format!("the redirects go round in circles, back to {hop}"));
        }
    }
}

/// The status of the answer to one request. No redirect is followed, and no body is read unless the check wants a text in it.
///
/// # Errors
/// There is no answer, in words.
pub(in crate::check) async fn status(
    check: &HttpCheck,
    context: ProbeContext<'_>,
    trust: &Trust,
) -> Result<StatusCode, String> {
    visit(&Hop::first(check), check, context, trust).await.map(|seen| seen.status)
}

/// What is worth knowing of an answer.
struct Seen {
    status: StatusCode,
    /// Where a redirect leads.
    location: Option<String>,
    /// The reason why the body does not match; `Ok` also if it was not read.
    body: Result<(), String>,
}

impl Seen {
    fn judge(self, check: &HttpCheck) -> Answer {
        let status = status_in_words(self.status);
        if !is_wanted(self.status, check) {
            return Err(format!("{status}, wanted {}", wanted(&check.status)));
        }
        match self.body {
            Ok(()) => Ok(status),
            Err(cause) => Err(format!("{status}, but {cause}")),
        }
    }
}

/// Asks one server. What most checks do not need is in a box, so that those that hang keep no room for it.
async fn visit(
    hop: &Hop<'_>,
    check: &HttpCheck,
    context: ProbeContext<'_>,
    trust: &Trust,
) -> Result<Seen, String> {
    match (hop.https, check.version) {
        (false, HttpVersion::Http1) => ask_plainly(hop, check, context).await,
        (true, _) | (false, HttpVersion::Http2) => Box::pin(ask_otherwise(hop, check, context, trust)).await,
    }
}

/// HTTP/1.1 without TLS: the question goes out with the connection.
async fn ask_plainly(hop: &Hop<'_>, check: &HttpCheck, context: ProbeContext<'_>) -> Result<Seen, String> {
    let question = question(hop, check)?;
    let has_body = question.has_body;
    let seen = match context.say(&hop.target, hop.dial(check), &question.bytes).await? {
        Said::All(stream) => {
            drop(question);
            context.limit.within(hear(stream, has_body, check, context)).await
        }
        Said::Part(stream, said) => {
            context.limit.within(Box::pin(exchange(stream, question, said, check, context.limit))).await
        }
    };
    seen.ok_or_else(|| context.limit.exceeded("no answer"))?
}

/// The answer to a question that was sent.
async fn hear(
    mut stream: Answering,
    has_body: bool,
    check: &HttpCheck,
    context: ProbeContext<'_>,
) -> Result<Seen, String> {
    match http1::answer(&mut stream, has_body).await {
        Ok((head, mut body)) => look(head.into(), &mut body, check, context.limit).await,
        Err(cause) => Err(context.blamed(stream.ends(), cause)),
    }
}

/// Over TLS, or in HTTP/2.
async fn ask_otherwise(
    hop: &Hop<'_>,
    check: &HttpCheck,
    context: ProbeContext<'_>,
    trust: &Trust,
) -> Result<Seen, String> {
    // In boxes, which are gone when the connection is there.
    let stream = Box::pin(context.connect(&hop.target, hop.dial(check))).await?;
    let limit = context.limit;
    let seen = match hop.https {
        true => limit.within(Box::pin(ask_in_secret(stream, hop, check, context, trust))).await,
        false => limit.within(Box::pin(ask(stream, hop, check, limit))).await,
    };
    seen.ok_or_else(|| limit.exceeded("no answer"))?
}

/// Over TLS, in any version.
async fn ask_in_secret(
    stream: Stream,
    hop: &Hop<'_>,
    check: &HttpCheck,
    context: ProbeContext<'_>,
    trust: &Trust,
) -> Result<Seen, String> {
    let alpn: &[u8] = match check.version {
        HttpVersion::Http1 => b"http/1.1",
        HttpVersion::Http2 => http2::ALPN,
    };
    let named = hop.is_of(check);
    let hello = Hello { host: &hop.host, options: hop.tls_options(check), alpn: &[alpn], named };
    // In a box of its own, which is gone when the handshake is over.
    let (stream, identity) = Box::pin(tls::handshake(stream, hello, trust, context)).await?;
    if check.version == HttpVersion::Http2 {
        http2::is_agreed_on(&stream)?;
    }
    ask(stream, hop, check, context.limit).await.map_err(|cause| identity.blamed(cause))
}

/// The head of the request in HTTP/2.
fn request(hop: &Hop<'_>, check: &HttpCheck) -> Result<Request<()>, String> {
    let authority = hop.authority();
    let request = Request::builder()
        .method(check.method.name())
        .uri(format!("{}://{authority}{}", hop.scheme(), hop.path))
        .header(USER_AGENT, AGENT)
        .header(ACCEPT, "*/*");
    let mut request =
        request.body(()).map_err(|error| format!("cannot ask for \"{}\": {error}", shown(&hop.path)))?;
    if hop.is_of(check) {
        for (name, value) in &check.headers {
            request.headers_mut().insert(name, value.clone());
        }
    }
    if matches!(check.method, Method::Post | Method::Put) {
        // Also where it is zero, RFC 9110 §8.6.
        request.headers_mut().insert(CONTENT_LENGTH, check.request_body.len().into());
    }
    Ok(request)
}

/// Asks, and returns as soon as enough of the answer is there. Dropping it closes the connection.
async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    hop: &Hop<'_>,
    check: &HttpCheck,
    limit: Limit,
) -> Result<Seen, String> {
    if check.version == HttpVersion::Http1 {
        return Box::pin(exchange(stream, question(hop, check)?, 0, check, limit)).await;
    }
    let body = Bytes::from(check.request_body.clone());
    let exchange = http2::exchange(stream, request(hop, check)?, body, async |answer| {
        let (head, mut body) = answer.into_parts();
        look(Answered::of(&head), &mut body, check, limit).await
    });
    Box::pin(exchange).await
}

/// The same in HTTP/1.1, of whose question so much has been said.
async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    question: RequestHead,
    said: usize,
    check: &HttpCheck,
    limit: Limit,
) -> Result<Seen, String> {
    http1::exchange(stream, question, said, async |head, mut body| {
        look(head.into(), &mut body, check, limit).await
    })
    .await
}

/// The whole request in HTTP/1.1, written at once: the same fields as [`request`] has, each once, where the check's own stand
/// in the place of ours.
fn question(hop: &Hop<'_>, check: &HttpCheck) -> Result<RequestHead, String> {
    let authority = hop.authority();
    if authority.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(format!("cannot ask for \"{}\": a control character in the host", shown(&hop.path)));
    }
    let length = match check.method {
        Method::Post | Method::Put => Some(check.request_body.len().to_string()),
        Method::Get | Method::Head | Method::Options => None,
    };
    let own: &[(HeaderName, HeaderValue)] = if hop.is_of(check) { &check.headers } else { &[] };
    let ours = [
        (HOST, authority.as_bytes()),
        (USER_AGENT, AGENT.as_bytes()),
        (ACCEPT, b"*/*".as_slice()),
        (CONNECTION, b"close".as_slice()),
    ];
    let mut fields: Vec<(&HeaderName, &[u8])> = Vec::with_capacity(ours.len() + own.len() + 1);
    let own = own.iter().map(|(name, value)| (name, value.as_bytes()));
    let length = length.iter().map(|length| (&CONTENT_LENGTH, length.as_bytes()));
    for (name, value) in ours.iter().map(|(name, value)| (name, *value)).chain(own).chain(length) {
        match fields.iter_mut().find(|(its, _)| *its == name) {
            Some((_, earlier)) => *earlier = value,
            None => fields.push((name, value)),
        }
    }
    Ok(RequestHead::new(check.method, &hop.path, &fields, check.request_body.as_bytes()))
}

/// The head of an answer, in any version.
struct Answered {
    status: StatusCode,
    location: Option<String>,
    content_encoding: Option<String>,
}

impl Answered {
    fn of(head: &response::Parts) -> Self {
        let text =
            |name| head.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        Self { status: head.status, location: text(LOCATION), content_encoding: text(CONTENT_ENCODING) }
    }
}

impl From<http1::ResponseHead> for Answered {
    fn from(http1::ResponseHead { status, location, content_encoding, .. }: http1::ResponseHead) -> Self {
        Self { status, location, content_encoding }
    }
}

/// FileReader at an answer, and at its body if that matters.
async fn look(
    answered: Answered,
    body: &mut impl Chunks,
    check: &HttpCheck,
    limit: Limit,
) -> Result<Seen, String> {
    let Answered { status, location, content_encoding } = answered;
    let location = match status.as_u16() {
        301 | 302 | 303 | 307 | 308 => location,
        _ => None,
    };
    let follows = location.is_some() && check.redirects > 0;
    let body = match &check.body {
        Some(pattern) if is_wanted(status, check) && !follows => {
            Box::pin(in_body(pattern, body, limit)).await.map_err(|cause| match content_encoding {
                Some(coding) => format!("{cause}, which is compressed ({coding})"),
                None => cause,
            })
        }
        Some(_) | None => Ok(()),
    };
    Ok(Seen { status, location, body })
}

fn is_wanted(status: StatusCode, check: &HttpCheck) -> bool {
    check.status.iter().any(|(low, high)| (*low..=*high).contains(&status.as_u16()))
}

/// `503 Service Unavailable`, in the words of the registry, not of the server.
pub(crate) fn status_in_words(status: StatusCode) -> String {
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
