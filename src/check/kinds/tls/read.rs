//! Reads the `tls` kind, and the TLS options of the other kinds.

use std::path::PathBuf;
use std::time::Duration;

use super::{KEYS, OPTIONS};
use crate::check::kinds::tls::TlsCheck;
use crate::check::target::Dial;
use crate::check::tls::{ClientFiles, TlsOptions};
use crate::config::diagnostic::{Report, Span};
use crate::config::host::Need;
use crate::config::read::target::Around;
use crate::config::read::target::{NamedTarget, address, host, proxy_protocol};
use crate::config::read::tree::{Node, Value};
use crate::config::read::{Field, Placed, Table, expected, list_of, value};

/// The least `expiry`: less is a handshake.
const LEAST_EXPIRY: Duration = Duration::from_secs(60);

/// `tls: "host:port"`, or `tls: {address: "host:port"}`.
pub(super) fn read(node: &Node, key: Span, around: &Around, report: &mut Report) -> Option<TlsCheck> {
    let Value::Map(_) = &node.value else {
        let (NamedTarget { target, host }, unix) = address(node, key, around, report)?;
        let check = TlsCheck {
            target,
            dial: Dial { unix, proxy: None },
            host,
            options: TlsOptions::default(),
            alpn: vec![],
        };
        return Some(check);
    };
    let mut table = Table::open(node, &KEYS, "`tls`", key, report)?;
    let place = table.required(
        "address",
        "the server to connect to: `address: \"127.0.0.1:443\"`",
        report,
        |node, key, report| address(node, key, around, report),
    );
    let options = read_options(&mut table, report);
    let alpn = table.field("alpn", report, alpn).or_else(Vec::new);
    let proxy = table.field("proxy_protocol", report, proxy_protocol).optional();
    table.finish(report);
    let (NamedTarget { target, host }, unix) = place?.value;
    let dial = Dial { unix, proxy: proxy? };
    Some(TlsCheck { target, dial, host, options: options?, alpn: alpn? })
}

/// `tls:` of another kind.
pub(crate) fn options(node: &Node, key: Span, report: &mut Report) -> Option<TlsOptions> {
    let mut table = Table::open(node, &OPTIONS, "`tls`", key, report)?;
    let options = read_options(&mut table, report);
    table.finish(report);
    options
}

fn read_options(table: &mut Table<'_>, report: &mut Report) -> Option<TlsOptions> {
    let ca_file = table.field("ca_file", report, certificates);
    let insecure = table.field("insecure", report, value::boolean);
    let server_name = table.field("server_name", report, host).optional();
    let expiry =
        table.field("expiry", report, |node, key, report| value::duration(node, key, LEAST_EXPIRY, report));
    let client = client(table, report);
    if let Field::Set(insecure) = &insecure
        && insecure.value
    {
        let unused = [
            (ca_file.set().map(|field| field.span), "ca_file", "the authorities to trust"),
            (expiry.set().map(|field| field.span), "expiry", "how long they must be valid"),
        ];
        let unused: Vec<_> =
            unused.into_iter().filter_map(|(span, key, label)| Some((span?, key, label))).collect();
        for (span, key, label) in &unused {
            report
                .error(
                    insecure.span,
                    format!("`insecure` accepts any certificate, so `{key}` would not be used"),
                )
                .also(*span, *label)
                .hint("keep one of them");
        }
        if !unused.is_empty() {
            return None;
        }
    }
    Some(TlsOptions {
        ca_file: ca_file.optional()?,
        insecure: insecure.or(false)?,
        server_name: server_name?,
        client: client?,
        expiry: expiry.optional()?,
    })
}

/// `client_cert_file` and `client_key_file`, both or none of them.
fn client(table: &mut Table<'_>, report: &mut Report) -> Option<Option<ClientFiles>> {
    let certificate = table.field("client_cert_file", report, certificates);
    let key = table.field("client_key_file", report, private_key);
    match (certificate, key) {
        (Field::Absent, Field::Absent) => Some(None),
        (Field::Set(certificate), Field::Set(key)) => {
            let files = ClientFiles { certificate: certificate.value, key: key.value };
            report.needs(key.span, Need::Pair(files.clone(), certificate.span));
            Some(Some(files))
        }
        (Field::Set(Placed { span, .. }), Field::Absent) => {
            report
                .error(span, "a certificate without its key is of no use")
                .hint("add `client_key_file: /path/to/key.pem`");
            None
        }
        (Field::Absent, Field::Set(Placed { span, .. })) => {
            report
                .error(span, "a key without its certificate is of no use")
                .hint("add `client_cert_file: /path/to/cert.pem`");
            None
        }
        (Field::Broken, _) | (_, Field::Broken) => None,
    }
}

/// A PEM file with at least one certificate.
fn certificates(node: &Node, key: Span, report: &mut Report) -> Option<PathBuf> {
    let path = value::absolute_path(node, key, report)?;
    report.needs(node.span, Need::Certificates(path.clone()));
    Some(path)
}

/// A PEM file with a private key, which is a secret.
fn private_key(node: &Node, key: Span, report: &mut Report) -> Option<PathBuf> {
    let path = value::absolute_path(node, key, report)?;
    report.needs(node.span, Need::PrivateKey(path.clone()));
    Some(path)
}

/// `[h2, http/1.1]`.
fn alpn(node: &Node, key: Span, report: &mut Report) -> Option<Vec<String>> {
    const WHAT: &str = "a list of protocols like `[h2, http/1.1]`";
    /// RFC 7301 §3.1: a name has 1 to 255 octets.
    const LONGEST: usize = 255;
    let list = list_of(node, key, WHAT, report, |node, key, report| {
        let name = value::text(node, key, "the name of a protocol", report)?;
        if (1..=LONGEST).contains(&name.len()) {
            return Some(name.to_owned());
        }
        expected(node, key, "the name of a protocol, 1 to 255 characters", report);
        None
    })?;
    if list.is_empty() {
        report.error(node.span, "the list is empty").hint("leave `alpn` out to offer no protocol");
        return None;
    }
    Some(list.into_iter().map(|name| name.value).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::target::{ProxyProtocol, Target};
    use crate::config::tests::asked;

    #[test]
    fn what_is_asked_is_read() {
        let tls = TlsCheck {
            dial: Dial::PLAIN,
            target: Target { host: "a.example".into(), port: 443 },
            host: "a.example".into(),
            options: TlsOptions::default(),
            alpn: vec![],
        };
        assert_eq!(asked::<TlsCheck>("tls: \"a.example:443\""), tls);
        assert_eq!(
            asked::<TlsCheck>("tls: {address: 443, alpn: [h2], server_name: b.example}, host: 192.0.2.1"),
            TlsCheck {
                dial: Dial::PLAIN,
                target: Target { host: "192.0.2.1".into(), port: 443 },
                host: "192.0.2.1".into(),
                options: TlsOptions { server_name: Some("b.example".into()), ..TlsOptions::default() },
                alpn: vec!["h2".into()],
            }
        );
        let dial = |written| asked::<TlsCheck>(written).dial;
        let proxy = Dial { unix: None, proxy: Some(ProxyProtocol::V2) };
        assert_eq!(dial("tls: {address: \"a:1\", proxy_protocol: 2}"), proxy);
        assert_eq!(dial("tls: \"unix:/run/x.sock\"").unix.as_deref(), Some("/run/x.sock"));
    }
}
