//! A router on a machine of its own: FRR and busybox, with one network card. What it says, changes of its kernel's routes and marks
//! of others are in one file, in the order in which they came.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use vipcast_lab::{Host, find_program};

use crate::initrd::{self, Contents};
use crate::machine::{self, Agent, Machine, tail};
use crate::site::{AGENT, SOON};
use crate::supplies::{SUITE, Supplies};

/// The end of its network card on the host outside.
pub(crate) const PORT: &str = "tor";
/// Its addresses, one in each network of the wire.
pub(crate) const ADDRESSES: [&str; 3] = ["10.0.2.1", "10.0.8.1", "10.0.9.1"];
/// Whoever connects to it leaves a [`MARK`] in the log.
pub(crate) const MARKS: u16 = 9;
const MARK: &str = "a service was stopped";

const DAEMONS: [&str; 3] = ["/usr/lib/frr/zebra", "/usr/lib/frr/bfdd", "/usr/lib/frr/bgpd"];
/// `vtysh` asks it whether its user may.
const PAM: &str = "/lib/x86_64-linux-gnu/security/pam_permit.so";
const MODULES: [&str; 8] = [
    "virtio",
    "virtio_ring",
    "virtio_pci",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "failover",
    "net_failover",
    "virtio_net",
];

const INIT: &str = r#"#!/bin/busybox sh
/bin/busybox --install -s /bin 2>/dev/null
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
for round in 1 2 3; do
    for module in /modules/*.ko; do insmod $module 2>/dev/null; done
done
sysctl -q -w net.ipv4.ip_forward=1 net.ipv4.fib_multipath_hash_policy=1 net.ipv4.icmp_ratelimit=0
# The next hop is on the same wire as who asks.
for place in all default eth0; do sysctl -q -w net.ipv4.conf.$place.send_redirects=0; done
ip link set lo up
ip link set eth0 up
for address in ADDRESSES; do ip address add $address/24 dev eth0; done

mkdir -p /run/frr /etc/frr /etc/pam.d /var/tmp/frr
chown 100:100 /run/frr /var/tmp/frr
printf 'root:x:0:0::/:/bin/sh\nfrr:x:100:100::/:/bin/sh\n' >/etc/passwd
printf 'root:x:0:\nfrr:x:100:\nfrrvty:x:101:frr,root\n' >/etc/group
printf 'auth sufficient pam_permit.so\naccount sufficient pam_permit.so\n' >/etc/pam.d/frr
touch /etc/frr/vtysh.conf

common='frr version 8.4
frr defaults datacenter
log file /run/frr/log debugging
log timestamp precision 6'
echo "$common" >/etc/zebra.conf
echo "$common
BFD" >/etc/bfdd.conf
echo "$common
BGP" >/etc/bgpd.conf
for name in zebra bfdd bgpd; do
    $name -d --vty_socket /run/frr --socket /run/frr/zserv.api --config_file /etc/$name.conf \
        --pid_file /run/frr/$name.pid --vty_addr 127.0.0.1 --vty_port 0
done
ip -timestamp -oneline monitor route >>/run/frr/log &
printf '#!/bin/sh\necho MARK >>/run/frr/log\n' >/bin/mark
printf 'AGENT' >/bin/agent
chmod 755 /bin/mark /bin/agent
nc -ll -p MARKS -e /bin/mark &
exec /bin/agent
"#;

#[derive(Debug)]
pub(crate) struct Router {
    _machine: Machine,
    agent: Agent,
}

/// What tells one session from another, and BFD's from another.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Session {
    /// How many were established since the start, and dropped.
    established: [u64; 2],
    /// When it was established, in seconds since the epoch.
    since: u64,
    /// How often BFD went up and down.
    bfd: [u64; 2],
}

impl Router {
    /// `bgp` and `bfd` are lines of their daemons' configurations.
    pub(crate) fn boot(supplies: &Supplies, wire: &Host, bgp: &str, bfd: &str) -> Result<Self> {
        let began = Instant::now();
        let kernel = supplies.kernel(SUITE)?;
        let directory = supplies.directory().join("router");
        fs::create_dir_all(&directory).context("cannot make a directory for the router")?;
        let mut programs: Vec<PathBuf> = DAEMONS.iter().map(PathBuf::from).collect();
        for name in ["vtysh", "ip"] {
            programs.push(find_program(name).with_context(|| format!("{name} is missing"))?);
        }
        let init = INIT
            .replace("ADDRESSES", &ADDRESSES.join(" "))
            .replace("BFD", bfd)
            .replace("BGP", bgp)
            .replace("MARKS", &MARKS.to_string())
            .replace("MARK", MARK)
            .replace("printf 'AGENT' >/bin/agent", &format!("cat >/bin/agent <<'END'\n{AGENT}END"));
        let contents = Contents { modules: &MODULES, programs: &programs, files: &[PAM], init: &init };
        let initrd = initrd::make(&directory, &kernel, &contents)?;
        let arguments = [&Agent::port(&directory)[..], &machine::network(PORT, 2)].concat();
        let machine = Machine::start(Some(wire), &directory, &kernel, &initrd, &arguments)?;
        let mut agent = Agent::connect(&directory)?;
        agent.wait_ready().with_context(|| format!("the console: {}", tail(&machine.console())))?;
        agent.until("FRR to run", "vtysh --vty_socket /run/frr -c 'show bgp summary'", SOON)?;
        println!("router: booted in {:?}", began.elapsed());
        Ok(Self { _machine: machine, agent })
    }

    /// Nothing when there is no session, or BFD is not up.
    pub(crate) fn session(&mut self, neighbor: IpAddr) -> Result<Session> {
        let neighbor = neighbor.to_string();
        let bgp = &self.json(&format!("show bgp neighbors {neighbor} json"))?[&neighbor];
        ensure!(bgp["bgpState"] == "Established", "no session: {}", bgp["bgpState"]);
        let peers = self.json("show bfd peers json")?;
        let of = |answer: &Value| {
            let mut peers = answer.as_array().into_iter().flatten();
            let found = peers.find(|peer| peer["peer"].as_str() == Some(&neighbor)).cloned();
            found.with_context(|| format!("no BFD with {neighbor}: {answer}"))
        };
        ensure!(of(&peers)?["status"] == "up", "BFD is not up: {peers}");
        let counters = of(&self.json("show bfd peers counters json")?)?;
        let number = |of: &Value, key: &str| of[key].as_u64().with_context(|| format!("no {key}: {of}"));
        Ok(Session {
            established: [number(bgp, "connectionsEstablished")?, number(bgp, "connectionsDropped")?],
            since: number(bgp, "bgpTimerUpEstablishedEpoch")?,
            bfd: [number(&counters, "session-up")?, number(&counters, "session-down")?],
        })
    }

    /// The next hops that the kernel uses for an address.
    pub(crate) fn next_hops(&mut self, vip: &str) -> Result<Vec<String>> {
        let said = self.agent.shell(&format!("ip route show {vip}"))?;
        let mut words = said.split_whitespace();
        let mut hops = Vec::new();
        while words.any(|word| word == "via") {
            hops.extend(words.next().map(str::to_owned));
        }
        Ok(hops)
    }

    /// How many lines the log has.
    pub(crate) fn log_length(&mut self) -> Result<usize> {
        Ok(self.agent.shell("wc -l </run/frr/log")?.trim().parse()?)
    }

    /// The lines of the log after so many.
    pub(crate) fn log_since(&mut self, length: usize) -> Result<Vec<String>> {
        let said = self.agent.shell(&format!("tail -n +{} /run/frr/log", length + 1))?;
        Ok(said.lines().map(str::to_owned).collect())
    }

    pub(crate) fn is_mark(line: &str) -> bool {
        line == MARK
    }

    fn json(&mut self, command: &str) -> Result<Value> {
        let text = self.agent.shell(&format!("vtysh --vty_socket /run/frr -c '{command}' 2>/dev/null"))?;
        serde_json::from_str(&text).with_context(|| format!("{command:?} printed no JSON: {text}"))
    }
}

/// Why there can be none here.
pub(crate) fn available() -> Result<(), String> {
    let needed = DAEMONS.iter().chain([&PAM]).find(|file| !Path::new(file).exists());
    match needed {
        Some(file) => Err(format!("{file} is missing (Debian packages frr and libpam-modules)")),
        None => {
            find_program("vtysh").map(drop).ok_or_else(|| "vtysh is missing (Debian package frr)".to_owned())
        }
    }
}
