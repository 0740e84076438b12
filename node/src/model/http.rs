//! `http:` checks: what is asked, and which answers pass.

use http::header::{HeaderName, HeaderValue};

use super::check::Target;
use super::dial::Dial;
use super::pattern::Pattern;
use super::tls::TlsOptions;
use crate::defaults;

/// `http: {url: …}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpCheck {
    /// Whom we ask.
    pub target: Target,
    /// How the connection to it begins.
    pub dial: Dial,
    /// Path and query, beginning with `/`.
    pub path: String,
    /// Whom we ask for: goes into the Host header, and a certificate is checked for it. A name or an address, with no
    /// port and no brackets; the host of the URL unless `host:` says otherwise.
    pub host: String,
    /// Whether the URL is an https one.
    pub https: bool,
    /// For https, and for http that may be redirected to it.
    pub tls: TlsOptions,
    /// Status codes that pass, as inclusive ranges; 200–399 is never assumed: the default is 200 alone.
    pub status: Vec<(u16, u16)>,
    /// What is to be done with the path.
    pub method: Method,
    /// Instead of, or beside, those that every request has. Marked as sensitive, so that nothing shows their values.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Sent with [`Method::Post`] and [`Method::Put`]; empty with the others.
    pub request_body: String,
    /// Must be in the first 64 KiB of the body of the answer.
    pub body: Option<Pattern>,
    /// How many redirects are followed, 0 to 10; with 0 a redirect is the answer.
    pub redirects: u8,
    /// Which HTTP is spoken.
    pub version: HttpVersion,
}

impl HttpCheck {
    /// A GET that has to be answered with 200, over TLS if there are options for it.
    pub fn get(target: Target, host: String, path: String, tls: Option<TlsOptions>) -> Self {
        Self {
            target,
            dial: Dial::PLAIN,
            path,
            host,
            https: tls.is_some(),
            tls: tls.unwrap_or_default(),
            status: vec![defaults::HTTP_STATUS],
            method: Method::Get,
            headers: vec![],
            request_body: String::new(),
            body: None,
            redirects: 0,
            version: HttpVersion::Http1,
        }
    }
}

/// `method:`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// The default.
    Get,
    /// Like GET, and the answer has no body.
    Head,
    /// With a body, as a rule.
    Post,
    /// What may be done.
    Options,
    /// With a body, as a rule.
    Put,
}

impl Method {
    /// As the request has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Options => "OPTIONS",
            Self::Put => "PUT",
        }
    }
}

/// `version:`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.1, RFC 9112.
    Http1,
    /// HTTP/2, RFC 9113: agreed on in the TLS handshake, or over plain text with prior knowledge.
    Http2,
}
