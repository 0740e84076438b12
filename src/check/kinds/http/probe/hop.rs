//! The target of a request: first that of the check, then those of redirects.

use std::borrow::Cow;
use std::fmt;
use std::net::Ipv6Addr;

use hyper::Uri;

use crate::check::kinds::http::HttpCheck;
use crate::check::kinds::http::shown_url::shown;
use crate::check::target::{Dial, Target};
use crate::check::tls::TlsOptions;

/// One request of a probe. The first needs nothing but what the check has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hop<'a> {
    pub(super) https: bool,
    /// The host of the request, without brackets.
    pub(super) host: Cow<'a, str>,
    /// As the URL has it.
    port: u16,
    /// The address to connect to.
    pub(super) target: Cow<'a, Target>,
    /// Path and query.
    pub(super) path: Cow<'a, str>,
}

/// As a URL that may be shown.
impl fmt::Display for Hop<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme(), self.authority(), shown(&self.path))
    }
}

impl<'a> Hop<'a> {
    /// A host that the operator chose instead of the target's is asked for without a port, as clients do who come to the
    /// service's usual one.
    pub(super) fn first(check: &'a HttpCheck) -> Self {
        let HttpCheck { target, host, https, path, .. } = check;
        let port = if host == &target.host { target.port } else { usual_port(*https) };
        Self { https: *https, host: host.into(), port, target: Cow::Borrowed(target), path: path.into() }
    }

    pub(super) fn scheme(&self) -> &'static str {
        if self.https { "https" } else { "http" }
    }

    /// For the Host header, RFC 9110 §7.2: an IPv6 address in brackets, and the port unless it is the scheme's own.
    pub(super) fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        let (open, close) = if host.parse::<Ipv6Addr>().is_ok() { ("[", "]") } else { ("", "") };
        if *port == usual_port(self.https) {
            format!("{open}{host}{close}")
        } else {
            format!("{open}{host}{close}:{port}")
        }
    }

    /// Whether what is meant for the host of the check may be told there: its headers, and who we are. Not to another host,
    /// and not in plain text what was to be encrypted.
    pub(super) fn is_of(&self, check: &HttpCheck) -> bool {
        self.host.eq_ignore_ascii_case(&check.host) && (self.https || !check.https)
    }

    /// How the connection begins. A stranger is none of what the operator has put before the service.
    pub(super) fn dial<'b>(&self, check: &'b HttpCheck) -> &'b Dial {
        if self.host.eq_ignore_ascii_case(&check.host) { &check.dial } else { &Dial::PLAIN }
    }

    /// What TLS is like there. A stranger must have a certificate of its own name.
    pub(super) fn tls_options<'b>(&self, check: &'b HttpCheck) -> &'b TlsOptions {
        static STRANGERS: TlsOptions =
            TlsOptions { ca_file: None, insecure: false, server_name: None, client: None, expiry: None };
        if self.host.eq_ignore_ascii_case(&check.host) { &check.tls } else { &STRANGERS }
    }

    /// Where `location` leads from here (RFC 9110 §10.2.2, RFC 3986 §5.2). The host of the check is asked where the check
    /// says, whatever its name is looked up to: it may be asked through a VIP.
    ///
    /// # Errors
    /// Why it leads nowhere, to stand behind the status.
    pub(super) fn follow(&self, location: &str, check: &'a HttpCheck) -> Result<Self, String> {
        let nowhere = || format!("leads nowhere: \"{}\"", shown(location));
        let location = location.split('#').next().unwrap_or_default();
        let has_scheme = location.split(['/', '?']).next().is_some_and(|first| first.contains(':'));
        let absolute = match location.strip_prefix("//") {
            Some(_) => format!("{}:{location}", self.scheme()),
            None if has_scheme => location.to_owned(),
            None => {
                let path = resolved(&self.path, location);
                path.parse::<Uri>().map_err(|_| nowhere())?;
                return Ok(Self { path: path.into(), ..self.clone() });
            }
        };
        let uri: Uri = absolute.parse().map_err(|_| nowhere())?;
        let https = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            Some(_) | None => return Err(nowhere()),
        };
        let authority = uri.authority().ok_or_else(nowhere)?;
        if authority.as_str().contains('@') {
            return Err("leads to a URL with a user name in it".into());
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let port = match authority.as_str().rsplit_once(':') {
            Some((_, port)) if !port.ends_with(']') => port.parse().map_err(|_| nowhere())?,
            Some(_) | None => usual_port(https),
        };
        let path = resolved("/", uri.path_and_query().map_or("/", |path| path.as_str()));
        let first = Self::first(check);
        let target = if !host.eq_ignore_ascii_case(&first.host) {
            Cow::Owned(Target { host: host.into(), port })
        } else if (https, port) == (first.https, first.port) {
            first.target
        } else {
            Cow::Owned(Target { host: first.target.host.clone(), port })
        };
        Ok(Self { https, host: host.to_owned().into(), port, target, path: path.into() })
    }
}

fn usual_port(https: bool) -> u16 {
    if https { 443 } else { 80 }
}

/// The path and query that `reference` means on a page at `base`, without `.` and `..`.
fn resolved(base: &str, reference: &str) -> String {
    let base = base.split('?').next().unwrap_or_default();
    let (path, query) = match reference.split_once('?') {
        Some((path, query)) => (path, format!("?{query}")),
        None => (reference, String::new()),
    };
    let path = match path {
        "" => base.to_owned(),
        path if path.starts_with('/') => path.to_owned(),
        path => format!("{}/{path}", base.rsplit_once('/').map_or("", |(directory, _)| directory)),
    };
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/').skip(1) {
        match segment {
            "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    // What ends in a directory keeps its slash.
    if path.ends_with("/.") || path.ends_with("/..") {
        segments.push("");
    }
    format!("/{}{query}", segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url_host: &str, port: u16, host: &str, https: bool) -> HttpCheck {
        let target = Target { host: url_host.into(), port };
        HttpCheck::get(target, host.into(), "/a/b?c".into(), https.then(TlsOptions::default))
    }

    #[test]
    fn the_host_header_has_brackets_and_a_port_where_it_needs_them() {
        let header = |target, port, host, tls| Hop::first(&check(target, port, host, tls)).authority();
        assert_eq!(header("web", 80, "web", false), "web");
        assert_eq!(header("web", 8080, "web", false), "web:8080");
        assert_eq!(header("web", 80, "web", true), "web:80");
        assert_eq!(header("web", 443, "web", true), "web");
        assert_eq!(header("::1", 8080, "::1", false), "[::1]:8080");
        assert_eq!(header("127.0.0.1", 8080, "web.example", false), "web.example");
        assert_eq!(header("127.0.0.1", 8080, "2001:db8::1", false), "[2001:db8::1]");
    }

    #[test]
    fn a_location_is_resolved_as_a_browser_does() {
        let check = check("web", 8080, "web", false);
        let table = [
            ("/x", "http://web:8080/x"),
            ("x?y#z", "http://web:8080/a/x?y"),
            ("?y", "http://web:8080/a/b?y"),
            ("", "http://web:8080/a/b"),
            ("../x/./y/..", "http://web:8080/x/"),
            ("../../..", "http://web:8080/"),
            ("//other/x", "http://other/x"),
            ("https://web/", "https://web/"),
            ("HTTP://[::1]:81?q", "http://[::1]:81/?q"),
        ];
        for (location, url) in table {
            let hop = Hop::first(&check).follow(location, &check);
            let whole = |hop: Hop<'_>| format!("{}://{}{}", hop.scheme(), hop.authority(), hop.path);
            assert_eq!(hop.map(whole), Ok(url.into()), "{location}");
        }
        for location in
            ["ftp://web/", "mailto:a@b", "http://", "http://a b/", "/a b", "http://a:99999/", "javascript:x"]
        {
            let hop = Hop::first(&check).follow(location, &check);
            assert_eq!(hop, Err(format!("leads nowhere: \"{location}\"")), "{location}");
        }
        let with_user = Hop::first(&check).follow("http://u:p@web/", &check);
        assert_eq!(with_user, Err("leads to a URL with a user name in it".into()));
    }

    #[test]
    fn the_host_of_the_check_is_asked_where_the_check_says() {
        let check = check("192.0.2.1", 8080, "www.example", false);
        let target = |location| Hop::first(&check).follow(location, &check).unwrap().target.into_owned();
        let at = |host: &str, port| Target { host: host.into(), port };
        assert_eq!(target("http://www.example/login"), at("192.0.2.1", 8080), "what we asked for");
        assert_eq!(target("https://WWW.example/login"), at("192.0.2.1", 443));
        assert_eq!(target("http://other.example/"), at("other.example", 80));
    }

    #[test]
    fn secrets_go_to_the_host_of_the_check_only_and_never_in_plain_text() {
        let plain = check("web", 80, "web", false);
        let tls = check("web", 443, "web", true);
        let told =
            |check: &HttpCheck, location| Hop::first(check).follow(location, check).unwrap().is_of(check);
        assert!(told(&plain, "/x") && told(&plain, "https://web/") && told(&plain, "http://web:81/"));
        assert!(!told(&plain, "http://other/") && !told(&plain, "http://web.other/"));
        assert!(told(&tls, "https://web:8443/"));
        assert!(!told(&tls, "http://web/"));
    }
}
