//! Missing things of the host: a silent resolver, users and keys that come later. Only checks and peers that need them
//! fail.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use vipcast::control::api::{CheckState, Verdict};
use vipcast_lab::{EchoServer, Lab, Subnet};

use crate::node::Node;
use crate::{SOON, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("i4_names_that_hang_touch_only_the_services_that_ask_for_them", &[], names_that_hang),
        trial("what_is_missing_at_the_start_stops_only_what_needs_it", &[], missing),
    ]
}

/// A resolver that is asked and never answers, for one program only.
const SILENT_RESOLVER: &[&str] = &[
    "unshare",
    "-m",
    "sh",
    "-c",
    "mount -t tmpfs none /mnt && echo nameserver 10.0.1.1 > /mnt/resolv.conf && \
     mount --bind /mnt/resolv.conf /etc/resolv.conf && exec \"$@\"",
    "sh",
];

fn names_that_hang(lab: &Lab) -> Result<()> {
    let edge = lab.host("edge")?;
    let resolver = lab.host("resolver")?;
    lab.link(&resolver, &edge, Subnet::dual(1))?;
    resolver.nft("table inet silent { chain in { type filter hook input priority 0; udp dport 53 drop; tcp dport 53 drop; }; }")?;
    let _service = EchoServer::start(&edge, "near", "[::]:7".parse()?, Some("[::]:8080".parse()?))?;
    let far: String = (0..20)
        .map(|n| format!("  far-{n}: {{http: {{url: \"http://host-{n}.example.com/\"}}}}\n"))
        .collect();
    let names = (0..20).map(|n| format!("far-{n}")).collect::<Vec<_>>().join(", ");
    let config = format!(
        "local_as: 65001
router_id: 10.0.0.2
peers: {{tor: {{address: 192.0.2.9, peer_as: 65000}}}}
checks:
{far}  near: {{http: {{url: \"http://localhost:8080/healthz\"}}}}
services:
  bad: {{vips: [198.51.100.1], checks: [{names}]}}
  good: {{vips: [198.51.100.2], checks: [near]}}
"
    );
    let node = Node::start_by(SILENT_RESOLVER, lab, &edge, &config)?;
    let (bad, good): (IpAddr, IpAddr) = ("198.51.100.1".parse()?, "198.51.100.2".parse()?);
    lab.until("all twenty names to hang", SOON, || {
        let checks = node.status()?.checks;
        let hang =
            |name: &str, said: &str| name.starts_with("far-") && said.contains("no answer within 500 ms");
        let hanging =
            checks.iter().filter(|(name, check)| hang(name, check.detail.as_deref().unwrap_or_default()));
        ensure!(hanging.count() == 20, "{checks:?}");
        Ok(())
    })?;
    node.wait_verdict(lab, good, "announced", SOON)?;
    vipcast_lab::wait::holds("the other service to be announced", std::time::Duration::from_secs(5), || {
        let near = node.status()?.checks.remove("near");
        ensure!(near.as_ref().is_some_and(|near| near.state == CheckState::Up), "{near:?}");
        Ok(())
    })?;
    ensure!(node.explain(bad)?.vip.verdict != Verdict::Announced);
    Ok(())
}

fn missing(lab: &Lab) -> Result<()> {
    let edge = lab.host("edge")?;
    let key = lab.directory().join("tor.key");
    let config = format!(
        "local_as: 65001
router_id: 10.0.0.2
peers:
  bare: {{address: 192.0.2.8, peer_as: 65000}}
  signed: {{address: 192.0.2.9, peer_as: 65000, password_file: {}}}
checks:
  here: {{file: /proc/version}}
  user: {{exec: {{command: [/bin/true], user: no-such-user}}}}
  authority: {{tls: {{address: \"127.0.0.1:443\", ca_file: /no/such/ca.pem}}}}
services:
  here: {{vips: [198.51.100.1], checks: [here]}}
  user: {{vips: [198.51.100.2], checks: [user]}}
",
        key.display()
    );
    let node = Node::start(lab, &edge, &config)?;
    node.wait_verdict(lab, "198.51.100.1".parse()?, "announced", SOON)?;
    lab.until("the check to say that its user is missing", SOON, || {
        let said = node.status()?.checks.remove("user").and_then(|check| check.detail);
        ensure!(said.as_deref() == Some("user \"no-such-user\" does not exist (yet)"), "{said:?}");
        Ok(())
    })?;
    let why = || -> Result<Option<String>> {
        Ok(node.status()?.peers.remove("signed").and_then(|peer| peer.last_error))
    };
    lab.until("the peer to wait for its key", SOON, || {
        let wanted =
            format!("no session without its key: cannot read `{}`: no such file or directory", key.display());
        let why = why()?;
        ensure!(why.as_deref() == Some(&wanted), "{why:?}");
        Ok(())
    })?;
    let refused = node.cli(&["reload"]).err().map(|error| format!("{error:#}")).unwrap_or_default();
    ensure!(refused.contains("there is no user `no-such-user` on this host"), "{refused}");
    fs::write(&key, "secret\n")?;
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600))?;
    lab.until("the peer to run with its key", SOON, || {
        let why = why()?;
        ensure!(why.as_deref().is_none_or(|why| !why.contains("without its key")), "{why:?}");
        Ok(())
    })
}
