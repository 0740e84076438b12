//! `tls` against `openssl s_server`.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    SanType, date_time_ymd,
};
use vipcast_lab::trial;

use crate::pki::{Authority, DAY, Pair};
use crate::server::{Directory, Server, expect, free_port, needs};

pub(crate) fn trials() -> Vec<Trial> {
    let curl = needs("openssl").and_then(|()| needs("curl"));
    vec![
        trial("tls_against_openssl", needs("openssl"), against_openssl),
        trial("tls_of_a_certificate_in_ca_file_itself_is_judged_as_curl_does", curl, pinned),
    ]
}

/// A certificate that has signed itself, and whether `ca_file` with it makes the server trusted.
fn pinned() -> Result<()> {
    type Change = fn(&mut CertificateParams);
    let made: [(&str, Change, &str); 7] = [
        ("authority", |params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained), ""),
        ("plain", |_| (), ""),
        (
            "expired",
            |params| {
                params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
                params.not_after = date_time_ymd(2025, 1, 1);
            },
            "certificate expired",
        ),
        (
            "early",
            |params| {
                params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
                params.not_before = date_time_ymd(2048, 1, 1);
            },
            "certificate not valid yet",
        ),
        (
            "stranger",
            |params| {
                params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
                params.subject_alt_names =
                    vec![SanType::DnsName("other.example".try_into().unwrap_or_else(|_| unreachable!()))];
            },
            "certificate is not for \"web.example\"",
        ),
        (
            "signer",
            |params| {
                params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
                params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            },
            "certificate is not for servers (its key usage)",
        ),
        (
            "client",
            |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth],
            "certificate is not for servers (its key usage)",
        ),
    ];
    let directory = Directory::new()?;
    let mut pairs = Vec::new();
    for (name, change, said) in made {
        let mut params = CertificateParams::new(vec!["web.example".to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_after = date_time_ymd(2049, 1, 1);
        change(&mut params);
        let key = KeyPair::generate()?;
        let certificate = directory.write(&format!("{name}.pem"), &params.self_signed(&key)?.pem())?;
        let key = directory.write(&format!("{name}.key"), &key.serialize_pem())?;
        pairs.push((name, Pair { certificate, key }, said));
    }
    pairs.push(("version-1", version_1(&directory)?, ""));
    let ask_curl = |pair: &Pair, port: u16| -> Result<bool> {
        let mut curl = Command::new("curl");
        curl.args(["-s", "-o", "/dev/null", "-m", "5", "--cacert"]).arg(&pair.certificate);
        curl.args(["--resolve", &format!("web.example:{port}:127.0.0.1")]);
        Ok(curl.arg(format!("https://web.example:{port}/")).status()?.success())
    };
    let mut wanted = Vec::new();
    let mut servers = Vec::new();
    for version in ["-tls1_2", "-tls1_3"] {
        for (name, pair, said) in &pairs {
            if (*name, version) == ("signer", "-tls1_2") {
                // The server itself does not use such a key with TLS 1.2.
                continue;
            }
            let server = openssl_without(pair, &["-www", version])?;
            let curl = ask_curl(pair, server.2)?;
            ensure!(curl == said.is_empty(), "curl takes {name}: {curl}");
            let file = pair.certificate.display();
            let check = format!(
                "{{http: {{url: \"https://127.0.0.1:{}/\", host: web.example, tls: {{ca_file: {file}}}}}, timeout: 900ms}}",
                server.2
            );
            let said = if said.is_empty() { "200 ok" } else { said };
            wanted.push((format!("{name}{version}"), check, curl, said.replace("ok", "OK")));
            servers.push(server);
        }
    }
    let wanted: Vec<(&str, String, bool, &str)> = wanted
        .iter()
        .map(|(name, check, passed, said)| (name.as_str(), check.clone(), *passed, said.as_str()))
        .collect();
    expect(&wanted)
}

/// As `openssl x509 -req` made them for decades: of version 1, with no names but the common one.
fn version_1(directory: &Directory) -> Result<Pair> {
    let path = |name: &str| directory.path().join(name);
    let (key, request, certificate) = (path("v1.key"), path("v1.csr"), path("v1.pem"));
    let mut make = Command::new("openssl");
    make.args(["req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=web.example", "-keyout"]);
    ensure!(make.arg(&key).arg("-out").arg(&request).output()?.status.success(), "no request");
    let mut sign = Command::new("openssl");
    sign.args(["x509", "-req", "-days", "30", "-in"]).arg(&request).arg("-signkey").arg(&key);
    ensure!(sign.arg("-out").arg(&certificate).output()?.status.success(), "no certificate");
    let shown =
        Command::new("openssl").args(["x509", "-noout", "-text", "-in"]).arg(&certificate).output()?;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    ensure!(shown.contains("Version: 1"), "it is of another version: {shown}");
    Ok(Pair { certificate, key })
}

/// `openssl s_server` with `pair` and these options, which says nothing of what comes in.
fn openssl(pair: &Pair, options: &[&str]) -> Result<(Server, Directory, u16)> {
    openssl_without(pair, &[&["-quiet"], options].concat())
}

fn openssl_without(pair: &Pair, options: &[&str]) -> Result<(Server, Directory, u16)> {
    let (directory, port) = (Directory::new()?, free_port()?);
    let mut command = Command::new("openssl");
    command.args(["s_server", "-accept", &format!("127.0.0.1:{port}"), "-cert"]);
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
