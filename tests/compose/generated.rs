//! `vipcast recipe`: the printed configuration of a router, loaded as it is with the password filled in. The router accepts
//! exactly the VIPs, of both families and of any length.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use anyhow::{Result, ensure};
use vipcast_lab::{Host, Lab, Process};

use crate::SOON;
use crate::engine::{contained, has_next_hops};

const PASSWORD: &str = "correct-horse";
const VIPS: [&str; 4] = ["198.51.100.10/32", "203.0.113.0/25", "2001:db8::10/128", "2001:db8:5::/64"];
/// Announced by the node, and not in the configuration that the recipe was made from.
const STRANGERS: [&str; 3] = ["198.51.100.66/32", "203.0.113.0/24", "2001:db8::66/128"];

/// What else the session has.
#[derive(Debug, Clone, Copy)]
struct Link {
    bfd: bool,
    ttl_security: bool,
}

/// The node's configuration, with these VIPs.
fn config(vips: &[&str], Link { bfd, ttl_security }: Link) -> String {
    let vips: Vec<String> = vips.iter().map(|vip| format!("\"{vip}\"")).collect();
    format!(
        "local_as: 65001
peers:
  tor:
    address: 192.0.2.1
    source_address: 192.0.2.10
    peer_as: 65000
    password: {PASSWORD}
    {}: 1
    connect_retry: 500ms
    bfd: {bfd}
services:
  web: {{vips: [{}], checks: []}}
",
        if ttl_security { "ttl_security" } else { "multihop" },
        vips.join(", ")
    )
}

/// Starts FRR with the configuration `$1`.
pub(crate) const START_FRR: &str = "install -o frr -g frr \"$1\" /etc/frr/frr.conf; printf 'bgpd=yes\\nbfdd=yes\\n' > /etc/frr/daemons; \
    chown frr /etc/frr/daemons; /usr/lib/frr/frrinit.sh start; exec sleep infinity";

pub(crate) fn frr() -> Result<()> {
    // With both, its BFD session stays down, as the recipe says.
    run("frr", START_FRR, Link { bfd: true, ttl_security: false }, |router, _| in_kernel(router))
}

pub(crate) fn bird() -> Result<()> {
    let link = Link { bfd: true, ttl_security: true };
    run("bird", "exec bird -f -c \"$1\" -s /run/bird.ctl", link, |router, _| in_kernel(router))
}

/// Its routes stay in its own table.
pub(crate) fn gobgp() -> Result<()> {
    let start = "exec gobgpd -t toml -f \"$1\" --pprof-disable --api-hosts 127.0.0.1:50051";
    run("gobgp", start, Link { bfd: false, ttl_security: true }, |router, _| {
        let table = |family| router.run(["gobgp", "global", "rib", "-a", family]);
        in_table(&(table("ipv4")? + &table("ipv6")?))
    })
}

/// Its routes stay in its own table on Linux.
pub(crate) fn openbgpd() -> Result<()> {
    let start = "mkdir /run/openbgpd; exec /usr/sbin/bgpd -d -f \"$1\"";
    run("openbgpd", start, Link { bfd: false, ttl_security: true }, |router, process| {
        let socket = format!("/proc/{}/root/run/openbgpd/bgpd.sock.0", process.pid());
        in_table(&router.run(["bgpctl", "-s", &socket, "show", "rib"])?)
    })
}

/// Whether the router's kernel has a route to each VIP, and to nothing else.
fn in_kernel(router: &Host) -> Result<()> {
    for vip in VIPS {
        let hop = if vip.contains(':') { "2001:db8:0:1::10" } else { "192.0.2.10" };
        has_next_hops(router, vip.parse()?, &[hop])?;
    }
    STRANGERS.iter().try_for_each(|stranger| has_next_hops(router, stranger.parse()?, &[]))
}

/// The same in a printed table.
fn in_table(table: &str) -> Result<()> {
    let has = |prefix: &&str| table.split_whitespace().any(|word| word == *prefix);
    ensure!(VIPS.iter().all(has), "a VIP is not accepted:\n{table}");
    ensure!(!STRANGERS.iter().any(has), "a stranger is accepted:\n{table}");
    Ok(())
}

fn run(kind: &str, start: &str, link: Link, knows: impl Fn(&Host, &Process) -> Result<()>) -> Result<()> {
    Lab::run(&format!("generated recipe for {kind}"), |lab| {
        let (tor, node) = (lab.host("tor")?, lab.host("node")?);
        let ours = ["192.0.2.1/24".parse()?, "2001:db8:0:1::1/64".parse()?];
        let theirs = ["192.0.2.10/24".parse()?, "2001:db8:0:1::10/64".parse()?];
        lab.link_addresses((&tor, &ours), (&node, &theirs))?;

        let told = node.write_file("told.yaml", &config(&VIPS, link))?;
        let printed =
            Command::new(env!("CARGO_BIN_EXE_vipcast")).args(["recipe", kind]).arg(&told).output()?;
        ensure!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
        let recipe = String::from_utf8(printed.stdout)?.replace("PASSWORD", PASSWORD);
        let file = tor.write_file("router.conf", &recipe)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
        let mut command = contained(&tor, "tor")?;
        command.args(["sh", "-euc", start, "start"]).arg(&file);
        let router = tor.spawn(kind, command)?;

        let all = [VIPS.as_slice(), STRANGERS.as_slice()].concat();
        let file = node.write_file("vipcast.yaml", &config(&all, link))?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
        let mut command = contained(&node, "node")?;
        command.arg(env!("CARGO_BIN_EXE_vipcast")).args(["run", "--config"]).arg(&file);
        let daemon = node.spawn("vipcast", command)?;

        let socket = format!("/proc/{}/root/run/vipcast/control.sock", daemon.pid());
        let status = || -> Result<serde_json::Value> {
            let mut command = Command::new(env!("CARGO_BIN_EXE_vipcast"));
            let output = command.args(["status", "--json", "--socket", &socket]).output()?;
            ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            Ok(serde_json::from_slice(&output.stdout)?)
        };
        lab.until(format!("the session with {kind}, and everything sent"), SOON, || {
            let peer = status()?["peers"]["tor"].clone();
            ensure!(peer["state"] == "Established" && peer["advertised"] == all.len(), "{peer}");
            ensure!(!link.bfd || peer["bfd"]["state"] == "Up", "{peer}");
            Ok(())
        })?;
        lab.until(format!("{kind} to have the VIPs and nothing else"), SOON, || knows(&tor, &router))?;
        // Nothing comes from the router, not even what it has of us.
        let address: IpAddr = "192.0.2.1".parse()?;
        let peer = status()?["peers"]["tor"].clone();
        ensure!(peer["received"] == 0, "{address} sends: {peer}");
        Ok(())
    })
}
