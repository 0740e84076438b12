//! Addresses and interfaces that other programs change, in any order and number: only the kernel's reports are facts. A
//! VIP is announced only while it is present and usable, and all our addresses are gone at the end.

use std::fs;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use libtest_mimic::Trial;
use vipcast_lab::wait::holds;
use vipcast_lab::{Host, Lab, Signal, Speaker, Subnet};

use crate::flushes::config as many;
use crate::load::{beside, options, peer};
use crate::node::{Node, VIPCAST, address};
use crate::{SOON, trial};

const VIP: &str = "192.0.2.10";
const V6: &str = "2001:db8::10";

type Test = fn(&Lab) -> Result<()>;

pub(crate) fn trials() -> Vec<Trial> {
    let tests: [(&str, Test); 8] = [
        ("i3_a_second_daemon_is_refused_and_takes_nothing", second_daemon),
        ("i1_a_start_in_a_burst_of_foreign_addresses_binds_and_announces_everything", start_in_a_burst),
        ("i1_a_vip_that_is_removed_in_a_burst_of_foreign_addresses_is_put_back", removed_in_a_burst),
        ("i1_a_vip_outlives_the_name_of_its_interface_and_follows_it", renamed),
        ("i3_the_same_address_with_another_length_is_another_address", another_length),
        ("i1_a_duplicate_ipv6_address_is_withheld_until_it_is_none", duplicate),
        ("ipv6_that_is_disabled_is_named_by_its_sysctl", disabled),
        ("an_interface_is_known_by_its_altname", altname),
    ];
    tests.map(|(name, test)| trial(name, &[], test)).into()
}

fn config(service: &str) -> String {
    format!(
        "local_as: 64999\nrouter_id: 10.0.0.99\npeers:\n{}services:\n  web: {{{service}, checks: []}}\n\
         shutdown: {{drain_time: 0s, unbind_delay: 0s}}\n",
        peer(1)
    )
}

/// A host with a peer that only counts.
struct Site<'a> {
    lab: &'a Lab,
    edge: Host,
    _peer: Speaker,
}

impl<'a> Site<'a> {
    fn new(lab: &'a Lab) -> Result<Self> {
        let edge = lab.host("edge")?;
        let peer = Speaker::start(&beside(lab, &edge, 1)?, &options(1))?;
        Ok(Self { lab, edge, _peer: peer })
    }

    fn ip(&self, arguments: &str) -> Result<String> {
        self.edge.run(std::iter::once("ip").chain(arguments.split(' ')))
    }

    /// Waits until the peer has that many routes.
    fn wait_announced(&self, node: &Node, count: usize) -> Result<()> {
        self.lab.until(format_args!("{count} routes to be announced"), SOON, || {
            let announced = node.status()?.peers["peer-1"].advertised;
            ensure!(announced == count, "{announced}: {:?}", node.status()?.vips.first());
            Ok(())
        })
    }

    fn wait_why(&self, node: &Node, vip: &str, wanted: &str) -> Result<()> {
        self.lab.until(format_args!("the reason to be {wanted:?}"), SOON, || {
            let why = node.explain(vip.parse()?)?.vip.why.unwrap_or_default();
            ensure!(why == wanted, "{why:?}");
            Ok(())
        })
    }

    /// Everything under 198.18.0.0/16 that is on the host.
    fn bound(&self) -> Result<usize> {
        let range: IpNet = "198.18.0.0/16".parse()?;
        Ok(self.edge.addresses()?.iter().filter(|there| range.contains(&there.address.addr())).count())
    }

    /// The commands that add (or delete) so many addresses of somebody else's.
    fn burst(&self, name: &str, action: &str, count: u32) -> Result<String> {
        let line = |number: u32| {
            let ip = Ipv4Addr::from(u32::from(Ipv4Addr::new(172, 16, 0, 1)) + number);
            format!("address {action} {ip}/32 dev svc0\n")
        };
        let path = self.edge.write_file(name, &(0..count).map(line).collect::<String>())?;
        Ok(path.to_string_lossy().into_owned())
    }

    fn svc(&self) -> Result<()> {
        self.ip("link add svc0 type veth peer name svc1")?;
        self.ip("link set svc0 up").and_then(|_| self.ip("link set svc1 up")).map(drop)
    }

    fn stop(&self, node: &Node) -> Result<()> {
        node.process.kill(Signal::SIGTERM)?;
        let status = node.process.wait_exit(SOON)?;
        ensure!(status.success(), "vipcast ended with {status}");
        Ok(())
    }
}

/// Its own state directory, socket and peers make no difference: the network namespace is what counts.
fn second_daemon(lab: &Lab) -> Result<()> {
    let site = Site::new(lab)?;
    let node = Node::start(lab, &site.edge, &many(0..50))?;
    site.wait_announced(&node, 50)?;
    let directory = lab.directory().join("second");
    fs::create_dir_all(&directory)?;
    let second = format!(
        "state_dir: {0}/state\ncontrol: {{socket: {0}/control.sock}}\n{1}",
        directory.display(),
        config("vips: [203.0.113.1]")
    );
    let path = site.edge.write_file("second.yaml", &second)?;
    for _ in 0..3 {
        let mut command = site.edge.command(VIPCAST.as_str());
        command.args(["run", "--config"]).arg(&path);
        let process = site.edge.spawn("second", command)?;
        let status = process.wait_exit(SOON)?;
        ensure!(status.code() == Some(1), "{status}");
        let said = process.log();
        let wanted =
            format!("another vipcast (process {}) runs in this network namespace", node.process.pid());
        ensure!(said.contains(&wanted), "{said}");
        ensure!(site.bound()? == 50, "{} of 50 VIPs are left", site.bound()?);
    }
    let log = node.process.log();
    ensure!(!log.contains("address vanished") && !log.contains("VIP withdrawn"), "{log}");

    // Of one that is dead it is the heir, with whatever state directory.
    node.process.kill(Signal::SIGKILL)?;
    node.process.wait_exit(SOON)?;
    ensure!(site.bound()? == 50, "it has just crashed");
    let mut command = site.edge.command(VIPCAST.as_str());
    command.args(["run", "--config"]).arg(&path);
    let heir = site.edge.spawn("heir", command)?;
    lab.until("what is configured no longer to go", SOON, || {
        ensure!(site.bound()? == 0, "{}: {}", site.bound()?, heir.log());
        Ok(())
    })?;
    heir.kill(Signal::SIGTERM)?;
    ensure!(heir.wait_exit(SOON)?.success(), "{}", heir.log());
    Ok(())
}

fn start_in_a_burst(lab: &Lab) -> Result<()> {
    let site = Site::new(lab)?;
    site.svc()?;
    let burst = site.burst("burst", "add", 8000)?;
    let mut command = site.edge.command("ip");
    command.args(["-batch", &burst]);
    let burst = site.edge.spawn("burst", command)?;
    let node = Node::start(lab, &site.edge, &many(0..100))?;
    site.wait_announced(&node, 100)?;
    ensure!(site.bound()? == 100, "{}", site.bound()?);
    ensure!(burst.wait_exit(SOON)?.success(), "{}", burst.log());
    site.stop(&node)?;
    ensure!(site.bound()? == 0, "{} were left behind", site.bound()?);
    Ok(())
}

fn removed_in_a_burst(lab: &Lab) -> Result<()> {
    let site = Site::new(lab)?;
    site.svc()?;
    let node = Node::start(lab, &site.edge, &many(0..20))?;
    site.wait_announced(&node, 20)?;
    let (add, delete) = (site.burst("add", "add", 8000)?, site.burst("delete", "delete", 8000)?);
    for batch in [add, delete] {
        let mut command = site.edge.command("ip");
        command.args(["-batch", &batch]);
        let burst = site.edge.spawn("burst", command)?;
        site.ip("address delete 198.18.0.3/32 dev lo")?;
        site.ip("address flush dev lo to 198.18.0.8/29")?;
        ensure!(burst.wait_exit(SOON)?.success(), "{}", burst.log());
        site.wait_announced(&node, 20)?;
        ensure!(site.bound()? == 20, "{} of 20 are there", site.bound()?);
    }
    // And later nothing is missed either.
    site.ip("address delete 198.18.0.5/32 dev lo")?;
    lab.until("it to be back", SOON, || {
        ensure!(site.bound()? == 20, "{}", site.bound()?);
        Ok(())
    })?;
    site.stop(&node)?;
    ensure!(site.bound()? == 0, "{} were left behind", site.bound()?);
    Ok(())
}

fn renamed(lab: &Lab) -> Result<()> {
    let site = Site::new(lab)?;
    site.svc()?;
    let node = Node::start(lab, &site.edge, &config(&format!("vips: [{VIP}], interface: svc0")))?;
    site.wait_announced(&node, 1)?;
    for step in ["link set svc0 down", "link set svc0 name other", "link set other up"] {
        site.ip(step)?;
    }
    site.wait_announced(&node, 1)?;
    holds("it to be announced and there", Duration::from_secs(2), || {
        ensure!(node.status()?.peers["peer-1"].advertised == 1, "withdrawn");
        ensure!(node.address(VIP.parse()?)? == Some(true), "it was removed");
        Ok(())
    })?;
    // Another interface gets the name: it moves there.
    site.ip("link set svc1 down").and_then(|_| site.ip("link set svc1 name svc0"))?;
    site.ip("link set svc0 up")?;
    lab.until("it to be on the interface of that name alone", SOON, || {
        let all = site.edge.addresses()?;
        let on: Vec<&str> = (all.iter())
            .filter(|there| there.address.addr().to_string() == VIP)
            .map(|there| there.interface.as_str())
            .collect();
        ensure!(on == ["svc0"], "{on:?}");
        Ok(())
    })?;
    site.wait_announced(&node, 1)?;
    // Both go, and it says why; made anew, it is back.
    site.ip("link delete svc0")?;
    site.wait_why(&node, VIP, "it is not bound on this host: there is no interface \"svc0\"")?;
    site.wait_announced(&node, 0)?;
    site.svc()?;
    site.wait_announced(&node, 1)?;
    site.stop(&node)?;
    ensure!(address(&site.edge, VIP.parse()?)?.is_none(), "left behind");
    Ok(())
}

fn another_length(lab: &Lab) -> Result<()> {
    let site = Site::new(lab)?;
    let node = Node::start(lab, &site.edge, &config(&format!("vips: [{VIP}]")))?;
    site.wait_announced(&node, 1)?;
    for other in [format!("{VIP}/24"), format!("{VIP} peer 10.9.9.9/32")] {
        site.ip(&format!("address add {other} dev lo"))?;
        site.ip(&format!("address delete {other} dev lo"))?;
        holds("it to be announced and there", Duration::from_millis(1500), || {
            ensure!(node.status()?.peers["peer-1"].advertised == 1, "withdrawn");
            ensure!(node.address(VIP.parse()?)? == Some(true), "it is gone");
            Ok(())
        })?;
    }
    // One that stays is not ours to remove.
    site.ip(&format!("address add {VIP}/24 dev lo"))?;
    site.stop(&node)?;
    let left: Vec<String> = site
        .edge
        .addresses()?
        .iter()
        .map(|there| there.address.to_string())
        .filter(|a| a.starts_with(VIP))
        .collect();
    ensure!(left == [format!("{VIP}/24")], "{left:?}");
    ensure!(!node.process.log().contains("exists"), "{}", node.process.log());
    Ok(())
}

fn duplicate(lab: &Lab) -> Result<()> {
    let (edge, twin) = (lab.host("edge")?, lab.host("twin")?);
    let _peer = Speaker::start(&beside(lab, &edge, 1)?, &options(1))?;
    let link = lab.link(&edge, &twin, Subnet::none())?;
    let (here, there) = (&link.end(&edge).interface, &link.end(&twin).interface);
    let duplicate: IpNet = format!("{V6}/128").parse()?;
    twin.add_address(there, duplicate)?;
    edge.sysctl("net/ipv6/conf/all/accept_dad", "1")?;
    edge.sysctl(&format!("net/ipv6/conf/{here}/accept_dad"), "1")?;
    edge.run(["ip", "address", "add", &duplicate.to_string(), "dev", here])?;
    lab.until("the kernel to find the duplicate", SOON, || {
        let shown = edge.run(["ip", "-6", "address", "show", "dev", here])?;
        ensure!(shown.contains("dadfailed"), "{shown}");
        Ok(())
    })?;
    let node = Node::start(lab, &edge, &config(&format!("vips: [\"{V6}\"], interface: {here}")))?;
    let wanted = format!("the address is on {here} but unusable: duplicate address detection failed");
    lab.until("the reason", SOON, || {
        let why = node.explain(V6.parse()?)?.vip.why.unwrap_or_default();
        ensure!(why == wanted, "{why:?}");
        Ok(())
    })?;
    twin.remove_address(there, duplicate)?;
    edge.run(["ip", "address", "delete", &duplicate.to_string(), "dev", here])?;
    node.wait_verdict(lab, V6.parse()?, "announced", SOON)
}

fn disabled(lab: &Lab) -> Result<()> {
    let site = Site::new(lab)?;
    site.edge.sysctl("net/ipv6/conf/lo/disable_ipv6", "1")?;
    let node = Node::start(lab, &site.edge, &config(&format!("vips: [\"{V6}\"]")))?;
    let sysctl = "IPv6 is disabled there: net.ipv6.conf.lo.disable_ipv6 is 1";
    site.wait_why(&node, V6, &format!("it is not bound on this host: {sysctl}"))?;
    site.edge.sysctl("net/ipv6/conf/lo/disable_ipv6", "0")?;
    node.wait_verdict(lab, V6.parse()?, "announced", SOON)
}

fn altname(lab: &Lab) -> Result<()> {
    let site = Site::new(lab)?;
    site.svc()?;
    let long = "n".repeat(127);
    site.ip(&format!("link property add dev svc0 altname {long}"))?;
    let node = Node::start(lab, &site.edge, &config(&format!("vips: [{VIP}], interface: {long}")))?;
    site.wait_announced(&node, 1)?;
    let shown = node.explain(VIP.parse()?)?.address;
    ensure!(shown == format!("on {long}, by vipcast"), "{shown}");
    let bound = site.edge.addresses()?;
    let bound = bound.iter().find(|there| there.address.addr().to_string() == VIP).context("not there")?;
    ensure!(bound.interface == "svc0", "{bound:?}");
    Ok(())
}
