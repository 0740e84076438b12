//! `grpc` against etcd, which has the health service of gRPC's own Go library, and against nginx, which has none.

use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use vipcast_lab::trial;

use crate::pki::{Authority, DAY};
use crate::server::{Directory, Server, ask, expect, free_port, needs};

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("grpc_against_etcd", needs("etcd").and(needs("nginx")), against_etcd)]
}

/// etcd with one member, itself; `scheme` is that of its clients.
fn etcd(scheme: &str, options: &[&str]) -> Result<(Server, Directory, u16)> {
    let (directory, port, peers) = (Directory::new()?, free_port()?, free_port()?);
    let (client, peer) = (format!("{scheme}://127.0.0.1:{port}"), format!("http://127.0.0.1:{peers}"));
    let mut command = Command::new("etcd");
    command.args(["--name", "one", "--initial-cluster", &format!("one={peer}")]);
    command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
    command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer, "--data-dir"]);
    command.arg(directory.path().join("data")).args(options);
    // It listens long before it answers.
    let log = directory.path().join("log");
    let serves = || fs::read_to_string(&log).is_ok_and(|log| log.contains("ready to serve client requests"));
    let server = Server::start(command, &directory)?.wait_until(serves)?;
    Ok((server, directory, port))
}

fn against_etcd() -> Result<()> {
    let directory = Directory::new()?;
    let authority = Authority::new(&directory, "ours")?;
    let long = authority.issue("127.0.0.1", Some(90 * DAY))?;
    let client = authority.issue("node-a", Some(30 * DAY))?;
    let [ca, certificate, key, our_certificate, our_key] =
        [&authority.file, &long.certificate, &long.key, &client.certificate, &client.key]
            .map(|path| path.display().to_string());
    let plain = etcd("http", &[])?;
    let secured = etcd(
        "https",
        &["--cert-file", &certificate, "--key-file", &key, "--client-cert-auth", "--trusted-ca-file", &ca],
    )?;
    let web = free_port()?;
    let nowhere = Directory::new()?;
    let servers = format!("server {{ listen 127.0.0.1:{web} http2; return 404; }}\n");
    let _nginx = crate::http::nginx(&nowhere, &servers, web)?;
    let nobody = free_port()?;

    let grpc =
        |port: u16, more: &str| format!("{{grpc: {{address: \"127.0.0.1:{port}\"{more}}}, timeout: 900ms}}");
    let known = format!("client_cert_file: {our_certificate}, client_key_file: {our_key}");
    expect(&[
        ("serving", grpc(plain.2, ""), true, "SERVING"),
        (
            "unknown",
            grpc(plain.2, ", service: shop.Orders"),
            false,
            "the server does not know the service \"shop.Orders\": unknown service",
        ),
        ("tls", grpc(secured.2, &format!(", tls: {{ca_file: {ca}, {known}}}")), true, "SERVING"),
        (
            "distrusted",
            grpc(secured.2, ", tls: true"),
            false,
            "certificate not signed by a trusted authority",
        ),
        ("web", grpc(web, ""), false, "404 Not Found, wanted an answer of gRPC"),
        ("refused", grpc(nobody, ""), false, "connection refused"),
    ])?;
    // Neither speaks TLS, and how they say so is up to them.
    let [closing, silent] = [plain.2, web].map(|port| grpc(port, ", tls: true"));
    for (name, probed) in ask([("closing", closing), ("silent", silent)])? {
        ensure!(!probed.passed && probed.detail.contains("TLS"), "{name}: {probed:?}");
    }
    // It closes right behind its alert, which may be lost on the way.
    let unnamed = &ask([("unnamed", grpc(secured.2, &format!(", tls: {{ca_file: {ca}}}")))])?["unnamed"];
    ensure!(!unnamed.passed && unnamed.detail.contains("client certificate"), "{unnamed:?}");
    Ok(())
}
