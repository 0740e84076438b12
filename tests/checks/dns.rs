//! `dns` against knot, which has the zones, and unbound, which asks it and verifies.
//!
//! ```text
//!   vipcast ──► unbound ──► knot    signed.example   signed, and unbound has its key
//!      │                    ▲       bogus.example    not signed, though unbound has a key for it: SERVFAIL
//!      └────────────────────┘       plain.example    not signed, and no key for it
//! ```

use std::fs;
use std::net::UdpSocket;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use vipcast_lab::trial;

use crate::server::{Directory, Server, expect, free_port, needs};

pub(crate) fn trials() -> Vec<Trial> {
    let needed = needs("knotd").and(needs("keymgr")).and(needs("unbound"));
    vec![trial("dns_against_knot_and_unbound", needed, against_knot_and_unbound)]
}

fn knot(directory: &Directory, port: u16) -> Result<Server> {
    let path = directory.path().display();
    for zone in ["signed", "plain", "bogus"] {
        let long = "x".repeat(200);
        let text = format!(
            "@ 60 SOA ns.{zone}.example. hostmaster.{zone}.example. 1 60 60 600 60\n@ 60 NS ns.{zone}.example.\nns 60 A \
             127.0.0.1\nwww 60 A 192.0.2.80\nwww 60 A 192.0.2.81\nweb 60 CNAME www\n"
        );
        let large = (0..10).map(|n| format!("large 60 TXT \"{n} {long}\"\n")).collect::<String>();
        directory.write(&format!("{zone}.example.zone"), &format!("{text}{large}"))?;
    }
    let config = directory.write(
        "knot.conf",
        &format!(
            "server:\n  rundir: {path}\n  listen: 127.0.0.1@{port}\ndatabase:\n  storage: {path}\nlog:\n  - target: \
             stderr\n    any: info\ntemplate:\n  - id: default\n    storage: {path}\n    zonefile-sync: -1\n    \
             zonefile-load: difference\n    journal-content: all\nzone:\n  - domain: signed.example\n    dnssec-signing: \
             on\n  - domain: plain.example\n  - domain: bogus.example\n"
        ),
    )?;
    let mut command = Command::new("/usr/sbin/knotd");
    command.arg("-c").arg(config);
    let log = directory.path().join("log");
    Server::start(command, directory)?.wait_until(|| {
        let log = fs::read_to_string(&log).unwrap_or_default();
        log.contains("successfully signed") && log.contains("server started")
    })
}

/// What unbound must know of the key of the signed zone.
fn trust_anchor(knot: &Directory) -> Result<String> {
    let config = knot.path().join("knot.conf");
    let output =
        Command::new("/usr/sbin/keymgr").arg("-c").arg(config).args(["signed.example", "ds"]).output()?;
    let text = String::from_utf8(output.stdout)?;
    let anchor = text.lines().next().context("keymgr knows no key")?;
    ensure!(anchor.starts_with("signed.example. DS "), "{anchor}");
    Ok(anchor.to_owned())
}

fn unbound(directory: &Directory, port: u16, knot: u16, anchor: &str) -> Result<Server> {
    let path = directory.path().display();
    let stubs: String = ["signed", "plain", "bogus"]
        .iter()
        .map(|zone| format!("stub-zone:\n  name: {zone}.example\n  stub-addr: 127.0.0.1@{knot}\n"))
        .collect();
    let bogus = anchor.replace("signed.example.", "bogus.example.");
    let config = directory.write(
        "unbound.conf",
        &format!(
            "server:\n  interface: 127.0.0.1@{port}\n  directory: \"{path}\"\n  pidfile: \"\"\n  username: \"\"\n  chroot: \
             \"\"\n  use-syslog: no\n  do-daemonize: no\n  do-not-query-localhost: no\n  module-config: \"validator \
             iterator\"\n  trust-anchor: \"{anchor}\"\n  trust-anchor: \"{bogus}\"\n  access-control: 127.0.0.1/32 \
             allow\n  access-control: 127.0.0.2/32 refuse\n  local-zone: \"example\" static\n  local-zone: \
             \"signed.example\" transparent\n  local-zone: \"plain.example\" transparent\n  local-zone: \"bogus.example\" \
             transparent\n{stubs}remote-control:\n  control-enable: no\n"
        ),
    )?;
    let mut command = Command::new("/usr/sbin/unbound");
    command.arg("-d").arg("-c").arg(config);
    Server::start(command, directory)?.listening_on(port)
}

fn against_knot_and_unbound() -> Result<()> {
    let (zones, resolver) = (Directory::new()?, Directory::new()?);
    let (zones_port, port) = (free_port()?, free_port()?);
    let nobody = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port();
    let _knot = knot(&zones, zones_port)?;
    let _unbound = unbound(&resolver, port, zones_port, &trust_anchor(&zones)?)?;
    let asking = |port: u16, rest: &str| {
        format!("{{dns: {{server: \"127.0.0.1:{port}\", {rest}}}, interval: 10s, timeout: 8s}}")
    };
    let dns = |rest: &str| asking(port, rest);
    let zone = |rest: &str| asking(zones_port, rest);
    let refused = format!(
        "{{dns: {{server: \"127.0.0.1:{port}\", name: www.plain.example}}, source_address: 127.0.0.2}}"
    );
    let www = "answers: [192.0.2.80, 192.0.2.81]";
    expect(&[
        ("tcp", dns("name: ns.plain.example, transport: tcp"), true, "NOERROR: 127.0.0.1"),
        ("ns", dns("name: ns.plain.example"), true, "NOERROR: 127.0.0.1"),
        (
            "wrong",
            dns("name: ns.plain.example, answers: [192.0.2.9]"),
            false,
            "answers 127.0.0.1, wanted 192.0.2.9",
        ),
        ("empty", dns("name: ns.plain.example, type: AAAA"), false, "the answer is empty (NODATA)"),
        ("empty_wanted", dns("name: ns.plain.example, type: AAAA, answers: []"), true, "NOERROR, no answers"),
        ("missing", dns("name: no.plain.example"), false, "NXDOMAIN, wanted NOERROR"),
        ("missing_wanted", dns("name: no.plain.example, rcode: NXDOMAIN"), true, "NXDOMAIN"),
        ("bogus", dns("name: ns.bogus.example"), false, "SERVFAIL, wanted NOERROR"),
        (
            "verified",
            dns("name: ns.signed.example, authenticated: true"),
            true,
            "NOERROR, authenticated: 127.0.0.1",
        ),
        (
            "unverified",
            dns("name: ns.plain.example, authenticated: true"),
            false,
            "NOERROR, but not authenticated: the answer has no AD bit",
        ),
        ("refused", refused, false, "REFUSED, wanted NOERROR"),
        ("nobody", asking(nobody, "name: a.example"), false, "port unreachable"),
        (
            "nobody_tcp",
            asking(nobody, "name: a.example, transport: tcp"),
            false,
            "over TCP: connection refused",
        ),
        (
            "soa",
            zone("name: plain.example, type: SOA, recursion: false"),
            true,
            "NOERROR: ns.plain.example. hostmaster.plain.example. 1 60 60 600 60",
        ),
        ("not_ours", zone("name: www.example.net"), false, "REFUSED, wanted NOERROR"),
    ])?;
    // What is more than one value comes in whatever order the server likes.
    let asked = crate::server::ask([
        ("alias", dns(&format!("name: web.signed.example, authenticated: true, {www}"))),
        ("large", zone("name: large.plain.example, type: TXT")),
    ])?;
    for (name, begins) in [("alias", "NOERROR, authenticated: 192.0.2.8"), ("large", "NOERROR: ")] {
        ensure!(asked[name].passed && asked[name].detail.starts_with(begins), "{name}: {:?}", asked[name]);
    }
    // More than 1232 bytes do not fit, so it came over TCP; six of the ten are shown, as far as a line goes.
    let (_, text) = asked["large"].detail.split_at("NOERROR: ".len());
    ensure!(text.contains(&"x".repeat(150)), "{text}");
    Ok(())
}
