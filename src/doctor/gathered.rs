//! The facts of an examination: plain data. `None` is a fact that could not be had, or does not apply.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use vipcast_node::model::Config;
use vipcast_node::names::PeerName;
use vipcast_node::notice::OtherDaemon;

use crate::check::listening::Listening;
use crate::check::target::Transport;
use crate::control::api::{PeerFault, Status};
pub use crate::logind::asked::Logind;

/// All facts.
#[derive(Debug, Default)]
pub struct Gathered {
    /// The path of the configuration.
    pub config_path: PathBuf,
    /// The configuration; `Err`: its faults, in a line.
    pub config: Option<Result<Config, String>>,
    /// The control socket.
    pub socket: PathBuf,
    /// The answer of the daemon.
    pub daemon: Option<Daemon>,
    /// The process behind the control socket.
    pub process: Option<Process>,
    /// Processes of `vipcast run` in this network namespace.
    pub running: Vec<u32>,
    /// Other routing daemons in this network namespace.
    pub routing_daemons: Vec<OtherDaemon>,
    /// Major and minor version of the kernel.
    pub kernel: Option<(u32, u32)>,
    /// The network of the host.
    pub network: Option<Network>,
    /// The way to each peer; `Err`: the kernel's reason for none.
    pub ways: BTreeMap<PeerName, Result<Way, String>>,
    /// The fault of an attempt to connect to each peer, made only while no daemon runs.
    pub dials: BTreeMap<PeerName, Option<(PeerFault, String)>>,
    /// The listening sockets.
    pub sockets: Option<Vec<Socket>>,
    /// The programs behind sockets, by inode, as far as this user may see them.
    pub programs: BTreeMap<u32, Program>,
    /// Whether the kernel balances load itself (IPVS): no socket listens on such a VIP.
    pub has_ipvs: bool,
    /// Sysctls of IPv4 by interface; `all` counts for every interface.
    pub sysctls: BTreeMap<String, Sysctls>,
    /// The lowest port that needs no capability.
    pub first_free_port: Option<u16>,
    /// Whether every group may ping without a capability.
    pub pings_are_free: bool,
    /// Network managers.
    pub managers: Managers,
    /// Whether the clock is synchronised.
    pub is_synchronised: Option<bool>,
    /// The state directory, if it exists.
    pub state_dir: Option<StateDir>,
    /// logind, if this host has one.
    pub logind: Option<Logind>,
    /// The facts that could not be had: of what, and why.
    pub failed: Vec<(&'static str, String)>,
}

/// The answer of the daemon to a query of its status.
#[derive(Debug)]
pub enum Daemon {
    /// It answers.
    Answers(Box<Status>),
    /// There is no socket, or nobody listens on it.
    Absent,
    /// This user may not use the socket.
    Forbidden,
    /// It does not answer in time.
    Silent,
    /// It answers, and the answer is not one of this version.
    Incomprehensible,
    /// Another error.
    Fails(String),
}

/// A process of the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Its effective capabilities, a bit each.
    pub capabilities: u64,
    /// The number of files that it may open.
    pub descriptors: Option<u64>,
    /// Whether the thread of BFD has real-time priority; `None` without that thread.
    pub is_bfd_real_time: Option<bool>,
}

/// Addresses and routes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Network {
    /// The addresses, and the local routes that are not those of addresses.
    pub addresses: Vec<Address>,
    /// The interfaces that the configuration calls by another name (`altname`), by that name.
    pub aliases: BTreeMap<String, String>,
    /// Interfaces of the default route of IPv4; empty: there is none.
    pub default_route: BTreeSet<String>,
    /// The sources of policy rules of other programs than the kernel.
    pub rules: BTreeSet<IpNet>,
}

/// An address or a local route of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The address with its prefix.
    pub prefix: IpNet,
    /// Its interface.
    pub interface: String,
    /// Whether it is marked as one of vipcast.
    pub is_ours: bool,
    /// Whether it is a local route.
    pub is_route: bool,
}

/// The kernel's way to an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// The interface.
    pub interface: String,
    /// The next hop; `None`: the address is on the link.
    pub gateway: Option<IpAddr>,
}

/// A listening socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket {
    /// Its protocol.
    pub(crate) transport: Transport,
    /// Its port.
    pub(crate) port: u16,
    /// Its address.
    pub(crate) listening: Listening,
    /// Its inode.
    pub(crate) inode: u32,
}

/// A process with a socket; of several, the one that started first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Its name.
    pub name: String,
    /// Its id.
    pub pid: u32,
}

/// Sysctls of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sysctls {
    /// `rp_filter`.
    pub rp_filter: u8,
    /// `arp_ignore`.
    pub arp_ignore: u8,
    /// `arp_announce`.
    pub arp_announce: u8,
}

/// Network managers of this host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Managers {
    /// systemd-networkd, if it runs.
    pub networkd: Option<Networkd>,
    /// The interfaces that NetworkManager manages; empty if it does not run.
    pub network_manager: BTreeSet<String>,
}

/// systemd-networkd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Networkd {
    /// The interfaces that it manages.
    pub interfaces: BTreeMap<String, NetworkFile>,
    /// `ManageForeignRoutes`.
    pub manages_routes: bool,
    /// `ManageForeignRoutingPolicyRules`.
    pub manages_rules: bool,
}

/// The `.network` file of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkFile {
    /// Its path.
    pub path: String,
    /// Whether `KeepConfiguration` keeps addresses of other programs.
    pub keeps: bool,
}

/// The file system of the state directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateDir {
    /// The path.
    pub path: String,
    /// Bytes that are free.
    pub free: u64,
    /// Whether it has no inode left.
    pub lacks_inodes: bool,
    /// Whether it is mounted read-only.
    pub is_read_only: bool,
}

impl Gathered {
    /// The valid configuration.
    pub fn valid(&self) -> Option<&Config> {
        self.config.as_ref()?.as_ref().ok()
    }

    /// The status of a daemon that answers.
    pub fn status(&self) -> Option<&Status> {
        match self.daemon.as_ref()? {
            Daemon::Answers(status) => Some(status),
            Daemon::Absent
            | Daemon::Forbidden
            | Daemon::Silent
            | Daemon::Incomprehensible
            | Daemon::Fails(_) => None,
        }
    }

    /// A sysctl of an interface: the greater of its own and that of all.
    pub fn sysctl(&self, interface: &str, value: impl Fn(&Sysctls) -> u8) -> u8 {
        let of = |name: &str| self.sysctls.get(name).map(&value).unwrap_or_default();
        of(interface).max(of("all"))
    }

    /// The program behind a socket.
    pub(crate) fn program(&self, socket: &Socket) -> Option<&Program> {
        self.programs.get(&socket.inode)
    }
}

impl Process {
    /// Whether it has a capability, by its number in linux/capability.h.
    pub fn may(&self, capability: u32) -> bool {
        self.capabilities & (1 << capability) != 0
    }
}

impl Network {
    /// The kernel's name of an interface.
    pub fn name_of<'a>(&'a self, interface: &'a str) -> &'a str {
        self.aliases.get(interface).map_or(interface, String::as_str)
    }
}

impl NetworkFile {
    /// The name of the file, without its directory.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

/// An address that a VIP is reached at: `None` for a wider prefix.
pub fn single(vip: &vipcast_node::vip::Vip) -> Option<IpAddr> {
    vip.is_host().then(|| vip.ip())
}
