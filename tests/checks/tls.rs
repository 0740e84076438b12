//! `tls` against `openssl s_server`.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use libtest_mimic::Trial;
use vipcast_lab::trial;

use crate::pki::{Authority, DAY, Pair};
use crate::server::{Directory, Server, expect, free_port, needs};

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("tls_against_openssl", needs("openssl"), against_openssl)]
}

/// `openssl s_server` with `pair` and these options.
fn openssl(pair: &Pair, options: &[&str]) -> Result<(Server, Directory, u16)> {
    let (directory, port) = (Directory::new()?, free_port()?);
    let mut command = Command::new("openssl");
    command.args(["s_server", "-quiet", "-accept", &format!("127.0.0.1:{port}"), "-cert"]);
    command.arg(&pair.certificate).arg("-key").arg(&pair.key).args(options);
    let server = Server::start(command, &directory)?.listening_on(port)?;
    Ok((server, directory, port))
}

fn against_openssl() -> Result<()> {
    let (directory, strangers) = (Directory::new()?, Directory::new()?);
    let authority = Authority::new(&directory, "ours")?;
    let long = authority.issue("web.example", Some(90 * DAY))?;
    let soon = authority.issue("web.example", Some(12 * DAY))?;
    let expired = authority.issue("web.example", None)?;
    let client = authority.issue("node-a", Some(30 * DAY))?;
    let stranger = Authority::new(&strangers, "theirs")?.issue("node-b", Some(30 * DAY))?;
    let ca = authority.file.display().to_string();
    let demanding = ["-Verify", "1", "-verify_return_error", "-CAfile", &ca];
    let demanding_old = [&demanding[..], &["-tls1_2"]].concat();

    let good = openssl(&long, &["-alpn", "h2,http/1.1"])?;
    let old = openssl(&long, &["-tls1_2"])?;
    let ending = openssl(&soon, &[])?;
    let ended = openssl(&expired, &[])?;
    let asking = openssl(&long, &demanding)?;
    let asking_old = openssl(&long, &demanding_old)?;
    let weak = openssl(&long, &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"])?;
    let nobody = free_port()?;

    let tls = |port: u16, more: &str| {
        format!(
            "{{tls: {{address: \"127.0.0.1:{port}\", server_name: web.example, ca_file: {ca}{more}}}, timeout: 900ms}}"
        )
    };
    let by = |pair: &Pair| {
        let shown = |path: &Path| path.display().to_string();
        format!(", client_cert_file: {}, client_key_file: {}", shown(&pair.certificate), shown(&pair.key))
    };
    const EXPIRES: &str = "certificate expires in 90 days";
    let demanded = "the server demands a client certificate";
    expect(&[
        ("good", tls(good.2, ""), true, &format!("TLS 1.3, {EXPIRES}")),
        ("alpn", tls(good.2, ", alpn: [h2]"), true, &format!("TLS 1.3, h2, {EXPIRES}")),
        ("spdy", tls(good.2, ", alpn: [spdy]"), false, "the server does not speak spdy on this port"),
        ("old", tls(old.2, ""), true, &format!("TLS 1.2, {EXPIRES}")),
        ("lasting", tls(good.2, ", expiry: 14d"), true, &format!("TLS 1.3, {EXPIRES}")),
        ("ending", tls(ending.2, ", expiry: 14d"), false, "certificate expires in 12 days"),
        ("ended", tls(ended.2, ""), false, "certificate expired"),
        (
            "distrusted",
            format!(
                "{{tls: {{address: \"127.0.0.1:{}\", server_name: web.example}}, timeout: 900ms}}",
                good.2
            ),
            false,
            "certificate not signed by a trusted authority",
        ),
        (
            "name",
            format!("{{tls: {{address: \"127.0.0.1:{}\", ca_file: {ca}}}, timeout: 900ms}}", good.2),
            false,
            "certificate is not for \"127.0.0.1\"",
        ),
        ("client", tls(asking.2, &by(&client)), true, &format!("TLS 1.3, {EXPIRES}")),
        ("client-old", tls(asking_old.2, &by(&client)), true, &format!("TLS 1.2, {EXPIRES}")),
        ("no-client", tls(asking.2, ""), false, demanded),
        ("no-client-old", tls(asking_old.2, ""), false, demanded),
        (
            "stranger",
            tls(asking.2, &by(&stranger)),
            false,
            "the server does not accept our client certificate: unknown ca",
        ),
        ("weak", tls(weak.2, ""), false, "the server speaks neither TLS 1.2 nor 1.3"),
        ("refused", tls(nobody, ""), false, "connection refused"),
    ])
}
