//! A host: a network namespace with loopback up, forwarding on, and addresses that are usable at once.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use ipnet::IpNet;

use crate::addressing::{self, Address, Route};
use crate::capture::Capture;
use crate::lab::{Scene, run, unpoisoned};
use crate::monitor::RouteMonitor;
use crate::process::Process;
use crate::{agent, remains, wait};

/// Set before the first interface exists, because interfaces copy `default`. The last two spread flows over equal
/// routes by port and not only by address.
const SYSCTLS: &[(&str, &str)] = &[
    ("net/ipv4/ip_forward", "1"),
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
    ("net/ipv4/icmp_ratelimit", "0"),
    ("net/ipv6/conf/all/forwarding", "1"),
    ("net/ipv6/conf/default/forwarding", "1"),
    ("net/ipv6/conf/all/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_dad", "0"),
    ("net/ipv6/conf/all/keep_addr_on_down", "1"),
    ("net/ipv6/conf/default/keep_addr_on_down", "1"),
    ("net/ipv4/fib_multipath_hash_policy", "1"),
    ("net/ipv6/fib_multipath_hash_policy", "1"),
];

/// Drops everything but loopback, ARP included: the host is dead, its links stay up. Two commands, so that it does
/// not matter whether it is isolated already.
const ISOLATE: &str = "\
table inet vipcast_lab { }
delete table inet vipcast_lab
table inet vipcast_lab {
  chain in { type filter hook prerouting priority -300; policy drop; iif lo accept; }
  chain out { type filter hook output priority -300; policy drop; oif lo accept; }
}
table arp vipcast_lab { }
delete table arp vipcast_lab
table arp vipcast_lab {
  chain in { type filter hook input priority 0; policy drop; }
  chain out { type filter hook output priority 0; policy drop; }
}
";

/// Creates the tables if need be, so that deleting them cannot fail.
const HEAL: &str = "\
table inet vipcast_lab { }
delete table inet vipcast_lab
table arp vipcast_lab { }
delete table arp vipcast_lab
";

/// Up or down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Toggle {
    /// Up.
    Up,
    /// Down.
    Down,
}

/// A host of the lab. A handle: clones are the same host.
#[derive(Debug, Clone)]
pub struct Host(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    namespace: String,
    interfaces: Mutex<BTreeSet<String>>,
    scene: Arc<Scene>,
}

impl Host {
    pub(crate) fn new(scene: &Arc<Scene>, name: &str) -> Result<Self> {
        let namespace = format!("{}-{name}", scene.prefix());
        run(Command::new("ip").args(["netns", "add", &namespace]))?;
        let host = Self(Arc::new(Inner {
            name: name.to_owned(),
            namespace,
            interfaces: Mutex::default(),
            scene: Arc::clone(scene),
        }));
        host.sysctls(SYSCTLS)?;
        host.set_link("lo", Toggle::Up)?;
        Ok(host)
    }

    /// The name that the test gave it.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The name of its namespace, for `ip netns exec` by hand while a test is held.
    pub fn namespace(&self) -> &str {
        &self.0.namespace
    }

    /// A command that will run inside the namespace. The process it starts *is* the program: same pid, no wrapper.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.namespace())).arg("--").arg(program);
        command
    }

    /// Starts a command made by [`Host::command`] in the background. Its output goes to `<host>-<name>.log` in the
    /// directory of the lab. It dies when the returned [`Process`] or the lab is dropped, or this process dies.
    ///
    /// # Errors
    /// When it cannot be started. A program that is missing shows only in the log, because `nsenter` starts it.
    pub fn spawn(&self, name: &str, command: Command) -> Result<Process> {
        let process = Process::spawn(&self.0.scene, &format!("{}-{name}", self.name()), command)?;
        // Until it is inside, nobody could find it by its namespace.
        wait::until(format!("{} to enter its namespace", process.name()), Duration::from_secs(10), || {
            let arrived = remains::is_inside(process.pid(), self.namespace()) || !process.is_running();
            ensure!(arrived, "it is elsewhere; was the command made by Host::command?");
            Ok(())
        })?;
        Ok(process)
    }

    /// Whether the host can reach an address: somebody there answers a TCP segment, if only with a reset.
    ///
    /// # Errors
    /// When there is no answer within a second; a segment that is lost is not sent again before that.
    pub fn reaches(&self, address: IpAddr) -> Result<()> {
        let agent = agent::path()?;
        let address = address.to_string();
        self.run([agent.as_os_str(), OsStr::new("reach"), OsStr::new(&address)]).map(drop)
    }

    /// Runs a program to its end, for ten seconds at most, and returns its standard output.
    ///
    /// # Errors
    /// When it fails; the message holds its standard error.
    pub fn run<I: IntoIterator<Item: AsRef<OsStr>>>(&self, arguments: I) -> Result<String> {
        run(self.command("timeout").args(["-k", "1", "10"]).args(arguments))
            .with_context(|| format!("on host {}", self.name()))
    }

    /// Writes a file into the directory of the lab as `<host>-<name>`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_file(&self, name: &str, contents: &str) -> Result<PathBuf> {
        let path = self.0.scene.directory().join(format!("{}-{name}", self.name()));
        fs::write(&path, contents).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// All addresses of all interfaces.
    ///
    /// # Errors
    /// When `ip` fails or answers something unknown.
    pub fn addresses(&self) -> Result<Vec<Address>> {
        addressing::addresses(&self.run(["ip", "-j", "address"])?)
    }

    /// The routes of the main table to exactly this prefix, with all their next hops.
    ///
    /// # Errors
    /// When `ip` fails or answers something unknown.
    pub fn routes(&self, prefix: IpNet) -> Result<Vec<Route>> {
        let family = if prefix.addr().is_ipv4() { "-4" } else { "-6" };
        addressing::routes(
            &self.run(["ip", family, "-j", "route", "show", "exact", &prefix.to_string()])?,
            prefix,
        )
    }

    /// Adds an address; an IPv6 one is usable at once.
    ///
    /// # Errors
    /// When `ip` fails, for example because the address is there already.
    pub fn add_address(&self, interface: &str, address: IpNet) -> Result<()> {
        let address = address.to_string();
        let mut add = vec!["address", "add", &address, "dev", interface];
        if address.contains(':') {
            add.push("nodad");
        }
        self.ip(&add)
    }

    /// Removes an address.
    ///
    /// # Errors
    /// When `ip` fails, for example because the address is not there.
    pub fn remove_address(&self, interface: &str, address: IpNet) -> Result<()> {
        self.ip(&["address", "delete", &address.to_string(), "dev", interface])
    }

    /// Sets an interface up or down. The other end of its link loses its carrier when it goes down.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn set_link(&self, interface: &str, toggle: Toggle) -> Result<()> {
        let word = match toggle {
            Toggle::Up => "up",
            Toggle::Down => "down",
        };
        self.ip(&["link", "set", interface, word])
    }

    /// Adds a static route, `ip route add` style: `route(&["default", "via", "10.0.1.1"])`.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn route(&self, arguments: &[&str]) -> Result<()> {
        self.ip(&[&["route", "add"], arguments].concat())
    }

    /// Writes below `/proc/sys`: `sysctl("net/ipv4/ip_nonlocal_bind", "1")`.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        self.sysctls(&[(key, value)])
    }

    /// Makes the host dead to the others while its links stay up: drops every packet in and out, ARP included.
    ///
    /// # Errors
    /// When `nft` fails.
    pub fn isolate(&self) -> Result<()> {
        self.nft(ISOLATE)
    }

    /// Ends [`Host::isolate`].
    ///
    /// # Errors
    /// When `nft` fails.
    pub fn heal(&self) -> Result<()> {
        self.nft(HEAL)
    }

    /// Loads an nftables script.
    ///
    /// # Errors
    /// When `nft` fails.
    pub fn nft(&self, script: &str) -> Result<()> {
        let path = self.write_file("nft.conf", script)?;
        self.run([OsStr::new("nft"), OsStr::new("-f"), path.as_os_str()]).map(drop)
    }

    /// Captures what passes an interface (`any` for all) with a `tcpdump` filter such as `tcp port 179`.
    /// Packets from the moment this returns are in it.
    ///
    /// # Errors
    /// When `tcpdump` cannot start.
    pub fn capture(&self, interface: &str, filter: &str) -> Result<Capture> {
        Capture::start(self, interface, filter)
    }

    /// Writes down each change of its IPv4 routes, from now on.
    ///
    /// # Errors
    /// When `ip` cannot start.
    pub fn monitor_routes(&self) -> Result<RouteMonitor> {
        RouteMonitor::start(self)
    }

    /// The pids of all processes in the namespace.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn pids(&self) -> Result<Vec<i32>> {
        remains::processes(self.namespace())
    }

    /// Addresses, routes and TCP sockets.
    pub fn dump(&self) -> String {
        let commands: [&[&str]; 5] = [
            &["ip", "-brief", "address"],
            &["ip", "route", "show", "table", "all"],
            &["ip", "-6", "route"],
            &["ip", "-statistics", "-brief", "link"],
            &["ss", "-tnp", "-a"],
        ];
        let mut text = format!("=== host {} (namespace {}) ===\n", self.name(), self.namespace());
        for command in commands {
            let output = self.run(command).unwrap_or_else(|error| format!("{error:#}\n"));
            text.push_str(&format!("--- {}\n{output}", command.join(" ")));
        }
        text
    }

    /// Reserves a name for an interface towards another host.
    pub(crate) fn next_interface(&self, other: &str) -> String {
        let mut taken = unpoisoned(&self.0.interfaces);
        let names = (1..).map(|count| {
            let suffix = if count == 1 { String::new() } else { format!("-{count}") };
            let room = 15 - suffix.len();
            let stem: String = format!("to-{other}").chars().take(room).collect();
            stem + &suffix
        });
        let free =
            names.into_iter().find(|name| !taken.contains(name)).expect("there is always a next number");
        taken.insert(free.clone());
        free
    }

    pub(crate) fn scene(&self) -> &Arc<Scene> {
        &self.0.scene
    }

    fn ip(&self, arguments: &[&str]) -> Result<()> {
        run(Command::new("ip").args(["-n", self.namespace()]).args(arguments)).map(drop)
    }

    fn sysctls(&self, settings: &[(&str, &str)]) -> Result<()> {
        let script: Vec<String> =
            settings.iter().map(|(key, value)| format!("echo {value} > /proc/sys/{key}")).collect();
        self.run(["sh", "-ec", &script.join("\n")]).map(drop)
    }
}

/// `10.0.0.1` becomes `10.0.0.1/32`, `fd00::1` becomes `fd00::1/128`.
///
/// # Errors
/// When it is neither an address nor a prefix.
pub fn prefix(text: &str) -> Result<IpNet> {
    let parsed = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    parsed.ok_or_else(|| anyhow!("{text:?} is neither an address nor a prefix"))
}
