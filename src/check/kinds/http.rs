//! `http`: a web server answers as it should.

mod http1;
mod probe;
pub(crate) mod read;
mod shown_url;

use std::sync::Arc;

use hyper::header::{HeaderName, HeaderValue};

pub(in crate::check) use self::probe::status;
pub(crate) use self::probe::status_in_words;
pub(super) use self::probe::{AGENT, Chunks};
use super::tls;
use crate::check::context::ProbeContext;
use crate::check::kind::{Ask, Asking, Definition, Kind, Polled, Probe, Reach, kind};
use crate::check::pattern::Pattern;
use crate::check::shared::Shared;
use crate::check::target::{Dial, Target, Transport};
use crate::check::tls::{TlsOptions, Trust};
use crate::config::keys::section::section;
use crate::config::keys::shape::{
    HOST, SOCKET_PATH, SOME_TEXT, STATUS, TEXT, URL, either, map, number, section, some, word, words,
};
use crate::config::read::pattern::PATTERN;

/// `version`.
const VERSIONS: [(&str, HttpVersion); 2] = [("1.1", HttpVersion::Http1), ("2", HttpVersion::Http2)];

/// `method`.
const METHODS: [(&str, Method); 5] = [
    (Method::Get.name(), Method::Get),
    (Method::Head.name(), Method::Head),
    (Method::Post.name(), Method::Post),
    (Method::Options.name(), Method::Options),
    (Method::Put.name(), Method::Put),
];

section! {
    KEYS("http", "under `http`") {
        /// `http://` or `https://`, without user name and fragment
        url: URL => required() written("URL") called(&["uri", "endpoint"]);
        /// the Host header, and the name in the certificate
        host: HOST => written("host name or address") default("that of the URL");
        /// the status codes that pass
        status: either(&[STATUS, some(&STATUS)]) =>
            written("100 to 599, a range `200-299`, or a list") default("200");
        /// for https: the keys of [`tls`](#tls) except the first three
        tls: section(&tls::OPTIONS) => written("map");
        /// the request method
        method: word(&words(&METHODS)) =>
            written("GET, HEAD, POST, OPTIONS, PUT") default("GET");
        /// headers to add, or to replace `user-agent` and `accept`; their values are never shown
        headers: map(&TEXT) => written("map");
        /// the body of POST and PUT
        request_body: TEXT;
        /// a text in the first 64 KiB of the body; without this key the body is not read
        body: either(&[SOME_TEXT, section(&PATTERN)]) => written("text");
        /// the most redirects to follow, of GET and HEAD; with 0 a redirect is the answer; in a quoted URL `***`
        /// replaces the user and the values of the query
        redirects: number(0, 10) => default("0");
        /// 2 is negotiated in the TLS handshake; over http the server must expect it (prior knowledge)
        version: word(&words(&VERSIONS)) => written("1.1 or 2") default("1.1");
        /// a socket on this host to use instead of the url's host; `@` for an abstract one
        unix: SOCKET_PATH => written("absolute path, or `@name`") called(&["unix_socket", "socket_path"]);
        /// begin the connection with the PROXY protocol, as a load balancer does, with the real addresses of both ends
        proxy_protocol: number(1, 2) =>
            written("1 or 2") called(&["proxy", "send_proxy", "send_proxy_v2", "haproxy_protocol"]);
    }
}

pub(super) static KIND: Kind = kind! {
    /// a web server answers as it should
    http: section(&KEYS), [&KEYS], read::read
};

/// `status`: 200 alone, never the rest of 2xx or a redirect.
const STATUS_CODES: (u16, u16) = (200, 200);

/// `http: {url: …}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HttpCheck {
    /// The server.
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
    /// The method for the path.
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
    /// A POST without a body to this URL.
    pub(crate) fn posting(url: read::Url) -> Self {
        Self {
            dial: Dial::PLAIN,
            host: url.target.host.clone(),
            target: url.target,
            path: url.path,
            https: url.https,
            tls: TlsOptions::default(),
            status: vec![STATUS_CODES],
            method: Method::Post,
            headers: vec![],
            request_body: String::new(),
            body: None,
            redirects: 0,
            version: HttpVersion::Http1,
        }
    }

    #[cfg(test)]
    /// A GET that has to be answered with 200, over TLS if there are options for it.
    pub(crate) fn get(target: Target, host: String, path: String, tls: Option<TlsOptions>) -> Self {
        Self {
            target,
            dial: Dial::PLAIN,
            path,
            host,
            https: tls.is_some(),
            tls: tls.unwrap_or_default(),
            status: vec![STATUS_CODES],
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
pub(crate) enum Method {
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
    pub(crate) const fn name(self) -> &'static str {
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
pub(crate) enum HttpVersion {
    /// HTTP/1.1, RFC 9112.
    Http1,
    /// HTTP/2, RFC 9113: agreed on in the TLS handshake, or over plain text with prior knowledge.
    Http2,
}

impl Definition for HttpCheck {
    fn reach(&self) -> Reach<'_> {
        Reach::of(&self.target.host, &self.dial)
    }

    fn port(&self) -> Option<(Transport, u16)> {
        Some((Transport::Tcp, self.target.port))
    }

    fn probe(self: Arc<Self>, shared: &Shared) -> Box<dyn Probe> {
        Polled::new(self, shared)
    }
}

impl Ask for HttpCheck {
    fn ask<'a>(&'a self, context: ProbeContext<'a>, trust: &'a Trust) -> Asking<'a> {
        Box::pin(probe::probe(self, context, trust))
    }

    fn tls(&self) -> Option<&TlsOptions> {
        Some(&self.tls)
    }
}
