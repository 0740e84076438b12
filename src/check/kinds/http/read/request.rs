//! Reads the request and the expected answer of an `http` check: method, headers, bodies.

use hyper::header::{self, HeaderName, HeaderValue};

use crate::check::kinds::http::{METHODS, Method};
use crate::check::pattern::Pattern;
use crate::config::diagnostic::{Report, Span};
use crate::config::read::pattern::pattern;
use crate::config::read::tree::{Entry, Node};
use crate::config::read::{Field, Table, map_of, short, value};

/// Headers that are about the connection (RFC 9110 §7.6.1) or the length of the message, which are ours.
const OURS: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::CONTENT_LENGTH,
];

/// These keys of `http`.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) method: Method,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) request_body: String,
    pub(super) body: Option<Pattern>,
}

impl Exchange {
    /// Reads them, and looks whether they make sense together.
    pub(super) fn read(table: &mut Table<'_>, redirects: &Field<u8>, report: &mut Report) -> Option<Self> {
        let method = table.field("method", report, method);
        let headers = table.field("headers", report, headers);
        let request_body = table.field("request_body", report, |node, key, report| {
            value::text(node, key, "a text", report).map(String::from)
        });
        let body = table.field("body", report, pattern);
        let known = !matches!(method, Field::Broken);
        let name = method.set().map_or(Method::Get, |method| method.value);
        let has_body = match name {
            Method::Post | Method::Put => true,
            Method::Get | Method::Head | Method::Options => false,
        };
        if let Some(sent) = request_body.set()
            && known
            && !has_body
        {
            report
                .error(sent.span, format!("a {} request has no body", name.name()))
                .hint("add `method: POST`, or write `body` for a text that must be in the answer");
            return None;
        }
        if let (Some(method), Some(body)) = (method.set(), body.set())
            && name == Method::Head
        {
            report
                .error(body.span, "the answer to a HEAD request has no body")
                .also(method.span, "the method")
                .hint("remove one of them");
            return None;
        }
        if let (Some(method), Some(redirects)) = (method.set(), redirects.set())
            && redirects.value > 0
            && !matches!(name, Method::Get | Method::Head)
        {
            report
                .error(redirects.span, "redirects are followed for GET and HEAD only")
                .also(method.span, "the method")
                .hint("remove `redirects`, or ask where the redirect leads");
            return None;
        }
        if let (Some(headers), Some(body)) = (headers.set(), body.set())
            && headers.value.iter().any(|(name, _)| name == header::ACCEPT_ENCODING)
        {
            report
                .error(headers.span, "with `accept-encoding` the body may come compressed")
                .also(body.span, "looked for in what comes, compressed or not")
                .hint("remove `accept-encoding`");
            return None;
        }
        Some(Self {
            method: method.or(Method::Get)?,
            headers: headers.or_else(Vec::new)?,
            request_body: request_body.or_else(String::new)?,
            body: body.optional()?,
        })
    }
}

fn method(node: &Node, key: Span, report: &mut Report) -> Option<Method> {
    let written = value::text(node, key, "a method", report)?;
    match METHODS.iter().find(|(name, _)| name.eq_ignore_ascii_case(written)) {
        Some((_, method)) => Some(*method),
        None => value::choice(node, key, &METHODS, report),
    }
}

/// A map of names and values. The values may be secrets, so that no diagnostic shows them.
fn headers(node: &Node, key: Span, report: &mut Report) -> Option<Headers> {
    let host = Refused {
        why: "the Host header has a key of its own".to_owned(),
        hint: "write `host` beside `headers`: the certificate is also checked for it".to_owned(),
    };
    headers_except(node, key, |name| (name == header::HOST).then(|| host.clone()), report)
}

/// The names and values of headers.
pub(crate) type Headers = Vec<(HeaderName, HeaderValue)>;

/// The reason why a header cannot be written, and the remedy.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    pub(crate) why: String,
    pub(crate) hint: String,
}

/// Like [`headers`], where other names are refused.
pub(crate) fn headers_except(
    node: &Node,
    key: Span,
    refused: impl Fn(&HeaderName) -> Option<Refused>,
    report: &mut Report,
) -> Option<Headers> {
    let entries = map_of(node, key, "a map of names and values", report)?;
    for entry in entries {
        report.redact(entry.value.span);
    }
    let mut headers: Vec<Option<(HeaderName, HeaderValue)>> = Vec::new();
    for entry in entries {
        let read = one(entry, &refused, report);
        if let Some((name, _)) = &read
            && headers.iter().flatten().any(|(before, _)| before == name)
        {
            report
                .error(entry.key_span, format!("`{}` is given twice", short(&entry.key)))
                .hint("upper and lower case are the same in names of headers");
            headers.push(None);
        } else {
            headers.push(read);
        }
    }
    headers.into_iter().collect()
}

fn one(
    entry: &Entry,
    refused: impl Fn(&HeaderName) -> Option<Refused>,
    report: &mut Report,
) -> Option<(HeaderName, HeaderValue)> {
    let shown = short(&entry.key);
    let Ok(name) = HeaderName::try_from(entry.key.as_str()) else {
        report.error(entry.key_span, format!("`{shown}` cannot be the name of a header"));
        return None;
    };
    if let Some(Refused { why, hint }) = refused(&name) {
        report.error(entry.key_span, why).hint(hint);
        return None;
    }
    if OURS.contains(&name) {
        report
            .error(entry.key_span, format!("`{shown}` is about the connection, which is ours"))
            .hint(format!("remove `{shown}`"));
        return None;
    }
    let written = value::text(&entry.value, entry.key_span, "the value of a header", report)?;
    let Ok(mut value) = HeaderValue::from_str(written) else {
        report
            .error(entry.value.span, format!("the value of `{shown}` cannot be sent"))
            .hint("a header is one line without control characters");
        return None;
    };
    value.set_sensitive(true);
    Some((name, value))
}
