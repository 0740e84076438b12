//! The recipes of `docs/tor-recipes.md`: a router and two nodes on one segment, each configured with a block of the page.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result, ensure};
use ipnet::{IpNet, Ipv4Net};
use vipcast_lab::{Host, Lab, Process, Signal};

use crate::engine::{contained, has_next_hops};
use crate::{SOON, root};

const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const NODES: [&str; 2] = ["192.0.2.10", "192.0.2.11"];
const VIP: &str = "198.51.100.10";

pub(crate) fn frr() -> Result<()> {
    const START: &str = "install -o frr -g frr \"$1\" /etc/frr/frr.conf; echo bgpd=yes > /etc/frr/daemons; \
        chown frr /etc/frr/daemons; /usr/lib/frr/frrinit.sh start; exec sleep infinity";
    run("frr", START, |router, _, nodes| has_next_hops(router, vip()?, nodes))
}

pub(crate) fn bird() -> Result<()> {
    run("bird", "exec bird -f -c \"$1\" -s /run/bird.ctl", |router, _, nodes| {
        has_next_hops(router, vip()?, nodes)
    })
}

/// Its routes stay in its own table.
pub(crate) fn gobgp() -> Result<()> {
    let start = "exec gobgpd -t toml -f \"$1\" --pprof-disable --api-hosts 127.0.0.1:50051";
    run("gobgp", start, |router, _, nodes| has_paths(&router.run(["gobgp", "global", "rib", VIP])?, nodes))
}

/// Its routes stay in its own table on Linux.
pub(crate) fn openbgpd() -> Result<()> {
    let start = "mkdir /run/openbgpd; exec /usr/sbin/bgpd -d -f \"$1\"";
    run("openbgpd", start, |router, process, nodes| {
        let socket = format!("/proc/{}/root/run/openbgpd/bgpd.sock.0", process.pid());
        has_paths(&router.run(["bgpctl", "-s", &socket, "show", "rib", VIP])?, nodes)
    })
}

fn vip() -> Result<IpNet> {
    Ok(format!("{VIP}/32").parse()?)
}

/// Whether a table that a router printed has a path through each of these nodes and no other.
fn has_paths(table: &str, nodes: &[&str]) -> Result<()> {
    let through: Vec<&str> =
        NODES.into_iter().filter(|node| table.split_whitespace().any(|word| word == *node)).collect();
    ensure!(through == nodes, "{table}");
    Ok(())
}

/// Builds the rack, and asks `knows` whether the router has the VIP through these nodes. `start` is what starts the
/// router, with the file of its configuration as `$1`.
fn run(router: &str, start: &str, knows: impl Fn(&Host, &Process, &[&str]) -> Result<()>) -> Result<()> {
    Lab::run(&format!("recipe for {router}"), |lab| {
        let page =
            fs::read_to_string(root().join("docs/tor-recipes.md")).context("cannot read the recipes")?;
        let switch = lab.host("switch")?;
        switch.run(["ip", "link", "add", "bridge", "up", "type", "bridge"])?;
        let plug = |name: &str, address: Ipv4Addr| -> Result<Host> {
            let host = lab.host(name)?;
            let address = IpNet::from(Ipv4Net::new(address, 24)?);
            let link = lab.link_addresses((&host, &[address]), (&switch, &[]))?;
            switch.run(["ip", "link", "set", &link.end(&switch).interface, "master", "bridge"])?;
            Ok(host)
        };

        let tor = plug("tor", ROUTER)?;
        let config = tor.write_file("router.conf", block(&page, router)?)?;
        // OpenBGPD refuses a file that others may read, and the others read theirs as root.
        fs::set_permissions(&config, fs::Permissions::from_mode(0o600))?;
        let mut command = contained(&tor, "tor")?;
        command.args(["sh", "-euc", start, "start"]).arg(config);
        let process = tor.spawn(router, command)?;

        let mut daemons = Vec::new();
        let mut services = Vec::new();
        for (number, address) in NODES.into_iter().enumerate() {
            let node = plug(&format!("node{number}"), address.parse()?)?;
            services.push(serve(&node)?);
            let config = node.write_file("vipcast.yaml", block(&page, "yaml")?)?;
            let mut command = contained(&node, node.name())?;
            command.arg(env!("CARGO_BIN_EXE_vipcast")).args(["run", "--config"]).arg(config);
            daemons.push(node.spawn("vipcast", command)?);
        }

        lab.until(format!("{router} to have both paths"), SOON, || knows(&tor, &process, &NODES))?;
        services[0].kill(Signal::SIGKILL)?;
        lab.until(format!("{router} to have one path"), SOON, || knows(&tor, &process, &NODES[1..]))?;
        daemons[1].kill(Signal::SIGKILL)?;
        lab.until(format!("{router} to have no path"), SOON, || knows(&tor, &process, &[]))
    })
}

/// The web server that the node's configuration asks.
pub(crate) fn serve(node: &Host) -> Result<Process> {
    let mut command = contained(node, node.name())?;
    let start = "mkdir /run/www; echo ok > /run/www/healthz; exec busybox httpd -f -p 8080 -h /run/www";
    command.args(["sh", "-euc", start]);
    node.spawn("web", command)
}

/// The first block of the page in this language.
pub(crate) fn block<'p>(page: &'p str, language: &str) -> Result<&'p str> {
    let (_, rest) =
        page.split_once(&format!("```{language}\n")).with_context(|| format!("no block of {language}"))?;
    Ok(rest.split_once("```").context("a block has no end")?.0)
}
