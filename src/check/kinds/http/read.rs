//! Reads the `http` kind: URL, Host header, TLS options, the status codes that pass. The rest of the request is in
//! `request`.

mod request;

pub(crate) use self::request::{Headers, Refused, headers_except};

use hyper::Uri;

use self::request::Exchange;
use super::{KEYS, STATUS_CODES, VERSIONS};
use crate::check::kinds::http::{HttpCheck, HttpVersion};
use crate::check::kinds::tls::read as tls;
use crate::check::target::{Dial, Target};
use crate::config::diagnostic::{Report, Span};
use crate::config::read::target::Around;
use crate::config::read::target::{host, is_host, proxy_protocol, unix};
use crate::config::read::tree::{Node, Value};
use crate::config::read::{Field, Table, expected, short, value};

/// Reads `http: {url: …}`.
pub(super) fn read(node: &Node, key: Span, around: &Around, report: &mut Report) -> Option<HttpCheck> {
    if let Value::Scalar(url) = &node.value
        && url.starts_with("http")
    {
        expected(node, key, "`http` as a map of keys and values", report)
            .hint(format!("write `http: {{url: \"{}\"}}`", short(url)));
        return None;
    }
    let mut table = Table::open(node, &KEYS, "`http`", key, report)?;
    let url =
        table.required("url", "the server to ask: `url: \"http://127.0.0.1:8080/healthz\"`", report, url);
    let host = table.field("host", report, host).optional();
    let status = table.field("status", report, status).or_else(|| vec![STATUS_CODES]);
    let tls = table.field("tls", report, tls::options);
    let redirects = table.number("redirects", "a number of redirects", report);
    let version = table.field("version", report, version).or(HttpVersion::Http1);
    let request = Exchange::read(&mut table, &redirects, report);
    let unix = table.field("unix", report, unix).optional();
    let proxy = table.field("proxy_protocol", report, proxy_protocol).optional();
    table.finish(report);
    let url = url?;
    let redirects = redirects.or(0)?;
    if let Field::Set(tls) = &tls
        && !url.value.https
        && redirects == 0
    {
        report
            .error(tls.span, "`tls` is for https, and the url is http")
            .also(url.span, "not https")
            .hint("write `https://` in the url, or remove `tls`");
        return None;
    }
    let (tls, request, url) = (tls.or_else(Default::default)?, request?, url.value);
    Some(HttpCheck {
        host: host?.unwrap_or_else(|| url.target.host.clone()),
        target: Target { host: around.host.clone().unwrap_or(url.target.host), port: url.target.port },
        dial: Dial { unix: unix?, proxy: proxy? },
        path: url.path,
        https: url.https,
        tls,
        status: status?,
        method: request.method,
        headers: request.headers,
        request_body: request.request_body,
        body: request.body,
        redirects,
        version: version?,
    })
}

/// The parts of a URL.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) https: bool,
    pub(crate) target: Target,
    pub(crate) path: String,
}

pub(crate) fn url(node: &Node, key: Span, report: &mut Report) -> Option<Url> {
    let written = value::text(node, key, "a URL", report)?;
    match parse_url(written) {
        Ok(url) => Some(url),
        Err(BadUrl { message, hint }) => {
            report.error(node.span, message).hint(hint);
            None
        }
    }
}

/// Why a text is not a URL for us.
#[derive(Debug, PartialEq, Eq)]
struct BadUrl {
    message: String,
    hint: String,
}

fn refused(message: impl Into<String>, hint: impl Into<String>) -> BadUrl {
    BadUrl { message: message.into(), hint: hint.into() }
}

fn parse_url(written: &str) -> Result<Url, BadUrl> {
    const EXAMPLE: &str = "write it like `http://127.0.0.1:8080/healthz`";
    let shown = short(written);
    let https = match written.split_once("://") {
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("http") => false,
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("https") => true,
        Some((scheme, _)) if scheme.contains("unix") => {
            let message = format!("`{}` is not a scheme that vipcast knows", short(scheme));
            return Err(refused(message, "name the socket beside the url: `unix: /run/web.sock`"));
        }
        Some((scheme, _)) => {
            let message = format!("`{}` is not a scheme that vipcast knows", short(scheme));
            return Err(refused(message, "use http or https"));
        }
        None => return Err(refused(format!("`{shown}` is not a URL"), EXAMPLE)),
    };
    if written.contains('#') {
        let hint = "remove the part from `#` on, it is never sent to a server";
        return Err(refused("the url has a fragment", hint));
    }
    let uri: Uri =
        written.parse().map_err(|error| refused(format!("`{shown}` is not a URL: {error}"), EXAMPLE))?;
    let authority = uri.authority().ok_or_else(|| refused(format!("`{shown}` is not a URL"), EXAMPLE))?;
    if authority.as_str().contains('@') {
        let hint = "remove the part before the `@`: it would show in logs and on the network";
        return Err(refused("the url has a user name or password in it", hint));
    }
    let host = authority.host();
    let port = match authority.as_str()[host.len()..].strip_prefix(':') {
        None => {
            if https {
                443
            } else {
                80
            }
        }
        Some(port) => match port.parse::<u16>() {
            Ok(port) if port != 0 => port,
            Ok(_) | Err(_) => {
                return Err(refused(format!("`{}` is not a port", short(port)), "a port is 1 to 65535"));
            }
        },
    };
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(literal) if literal.parse::<std::net::Ipv6Addr>().is_ok() => literal,
        None if is_host(host) => host,
        Some(_) | None => {
            let message = format!("`{}` is neither an address nor a host name", short(host));
            return Err(refused(message, EXAMPLE));
        }
    };
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Ok(Url { https, target: Target { host: host.to_owned(), port }, path })
}

/// `"1.1"` or `2`.
fn version(node: &Node, key: Span, report: &mut Report) -> Option<HttpVersion> {
    value::choice(node, key, &VERSIONS, report)
}

/// `200`, `[200, 204]`, `"200-299"`, or a list of both.
fn status(node: &Node, key: Span, report: &mut Report) -> Option<Vec<(u16, u16)>> {
    let Value::List(list) = &node.value else {
        return Some(vec![status_range(node, key, report)?]);
    };
    if list.is_empty() {
        report
            .error(node.span, "with no status the check never passes")
            .hint("write `200`, or leave `status` out for the same");
        return None;
    }
    let ranges: Vec<Option<(u16, u16)>> =
        list.iter().map(|element| status_range(element, element.span, report)).collect();
    ranges.into_iter().collect()
}

fn status_range(node: &Node, key: Span, report: &mut Report) -> Option<(u16, u16)> {
    const WHAT: &str = "a status or a range of them, 100 to 599";
    let written = value::text(node, key, WHAT, report)?;
    let code = |text: &str| text.trim().parse::<u16>().ok().filter(|code| (100..=599).contains(code));
    let range = match written.split_once('-') {
        Some((first, last)) => code(first).zip(code(last)),
        None => code(written).map(|code| (code, code)),
    };
    match range {
        Some((first, last)) if first > last => {
            report
                .error(node.span, format!("the range `{}` is upside down", short(written)))
                .hint(format!("write `{last}-{first}`"));
            None
        }
        Some(range) => Some(range),
        None => {
            let diagnostic = expected(node, key, WHAT, report);
            let class = written.chars().next().filter(|c| ('1'..='5').contains(c));
            if let Some(class) = class
                && written.to_ascii_lowercase().ends_with("xx")
            {
                diagnostic.hint(format!("write `{class}00-{class}99`"));
            }
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::kinds::http::Method;
    use crate::check::pattern::Pattern;
    use crate::check::target::ProxyProtocol;
    use crate::check::tls::TlsOptions;
    use crate::config::tests::asked;
    use hyper::header::{HeaderName, HeaderValue};
    use std::time::Duration;

    #[test]
    fn what_is_asked_is_read() {
        let tls = Some(TlsOptions::default());
        let target = Target { host: "::1".into(), port: 8443 };
        let http = HttpCheck::get(target, "::1".into(), "/x?y".into(), tls);
        let url = "url: \"https://[::1]:8443/x?y\"";
        let table = [
            (format!("http: {{{url}}}"), http.clone()),
            (
                format!("http: {{{url}, host: a.example, tls: {{insecure: true}}, status: [204, 300-399]}}"),
                HttpCheck {
                    host: "a.example".into(),
                    tls: TlsOptions { insecure: true, ..TlsOptions::default() },
                    status: vec![(204, 204), (300, 399)],
                    ..http.clone()
                },
            ),
            (
                format!(
                    "http: {{{url}, method: PUT, request_body: hi, headers: {{X-Who: me}}, body: ok, version: 2}}"
                ),
                HttpCheck {
                    method: Method::Put,
                    request_body: "hi".into(),
                    headers: vec![(HeaderName::from_static("x-who"), HeaderValue::from_static("me"))],
                    body: Some(Pattern::Text("ok".into())),
                    version: HttpVersion::Http2,
                    ..http.clone()
                },
            ),
            (
                "http: {url: \"http://[::1]:8443/x?y\", redirects: 3, tls: {expiry: 14d}, method: head}"
                    .into(),
                HttpCheck {
                    https: false,
                    redirects: 3,
                    tls: TlsOptions {
                        expiry: Some(Duration::from_secs(14 * 24 * 60 * 60)),
                        ..TlsOptions::default()
                    },
                    method: Method::Head,
                    ..http
                },
            ),
        ];
        for (written, expected) in table {
            assert_eq!(asked::<HttpCheck>(&written), expected, "{written}");
        }
        let dial = |written| asked::<HttpCheck>(written).dial;
        let unix = Dial { unix: Some("/run/web.sock".into()), proxy: None };
        assert_eq!(dial("http: {url: \"http://a/\", unix: /run/web.sock}"), unix);
        let proxy = Dial { unix: None, proxy: Some(ProxyProtocol::V1) };
        assert_eq!(dial("http: {url: \"http://a/\", proxy_protocol: 1}"), proxy);
    }

    fn url(https: bool, host: &str, port: u16, path: &str) -> Url {
        Url { https, target: Target { host: host.into(), port }, path: path.into() }
    }

    #[test]
    fn a_url_is_taken_apart() {
        let table = [
            ("http://127.0.0.1:8080/healthz", url(false, "127.0.0.1", 8080, "/healthz")),
            ("http://localhost", url(false, "localhost", 80, "/")),
            ("HTTPS://a.example/x?y=1&z", url(true, "a.example", 443, "/x?y=1&z")),
            ("http://[2001:db8::1]:81/", url(false, "2001:db8::1", 81, "/")),
            ("https://[::1]", url(true, "::1", 443, "/")),
            ("http://a?b", url(false, "a", 80, "/?b")),
        ];
        for (written, expected) in table {
            assert_eq!(parse_url(written), Ok(expected), "{written}");
        }
    }

    #[test]
    fn what_is_not_a_url_says_why() {
        let table = [
            ("127.0.0.1/", "`127.0.0.1/` is not a URL"),
            ("ftp://a/", "`ftp` is not a scheme that vipcast knows"),
            ("http://u:p@a/", "the url has a user name or password in it"),
            ("http://a/#b", "the url has a fragment"),
            ("http://a:0/", "`0` is not a port"),
            ("http://a:65536/", "`65536` is not a port"),
            ("http://a:/", "`` is not a port"),
            ("http://[::1/", "`http://[::1/` is not a URL: invalid authority"),
            ("http://[v1.x]/", "`[v1.x]` is neither an address nor a host name"),
            ("http://10.0.0.256/", "`10.0.0.256` is neither an address nor a host name"),
            ("http:///x", "`http:///x` is not a URL: invalid format"),
            ("http://a b/", "`http://a b/` is not a URL: invalid uri character"),
            ("http://é/", "`http://é/` is not a URL: invalid uri character"),
        ];
        for (written, message) in table {
            assert_eq!(
                parse_url(written).map_err(|refused| refused.message),
                Err(message.into()),
                "{written}"
            );
        }
    }
}
