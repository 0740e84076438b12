//! One check: what is asked, on which way, how often, and what is made of the answers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::vip::Vip;
use bytes::Bytes;
use domain::base::iana::OptRcode;
use domain::base::{Name, Rtype};

use super::Pattern;
use super::dial::Dial;
use super::grpc::GrpcCheck;
use super::http::HttpCheck;
use super::judgement::{HoldDown, Limit};
use super::tls::TlsCheck;
use crate::defaults;
use crate::names::ServiceName;

/// One entry under `checks:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What is asked.
    pub kind: CheckKind,
    /// How a question to the network leaves this host.
    pub via: Via,
    /// Between two probes in the steady state, 10 ms to 365 days.
    pub interval: Duration,
    /// Between two probes while a result disagrees with the state. Never longer than `interval`.
    pub fast_interval: Duration,
    /// A probe that takes longer has failed. Never longer than `interval`.
    pub timeout: Duration,
    /// Successes in a row that raise the check, 1 to 1000.
    pub rise: NonZeroU32,
    /// Failures in a row that lower it, 1 to 1000.
    pub fall: NonZeroU32,
    /// Limits to latency and errors.
    pub limits: Vec<Limit>,
    /// Damping; `None`: it comes up as soon as it passes.
    pub hold_down: Option<HoldDown>,
}

impl Check {
    /// A check of this kind, as it is where the configuration says nothing else.
    pub fn new(kind: CheckKind) -> Self {
        Self {
            rise: kind.in_a_row(),
            fall: kind.in_a_row(),
            kind,
            via: Via::default(),
            interval: defaults::INTERVAL,
            fast_interval: defaults::FAST_INTERVAL,
            timeout: defaults::TIMEOUT,
            limits: Vec::new(),
            hold_down: None,
        }
    }
}

/// The kinds of check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckKind {
    /// `http:`, with an `http://` or `https://` URL.
    Http(Box<HttpCheck>),
    /// `tcp:`: a connection that is accepted, and what is said on it.
    Tcp(TcpCheck),
    /// `tls:`: a TLS handshake, and a certificate that is good.
    Tls(Box<TlsCheck>),
    /// `grpc:`: a service that says it is healthy.
    Grpc(Box<GrpcCheck>),
    /// `udp:`: a datagram that is answered.
    Udp(UdpCheck),
    /// `dns:`: a name server that knows an answer.
    Dns(Box<DnsCheck>),
    /// `icmp:`: echo requests that are answered.
    Icmp(IcmpCheck),
    /// `file:`: a file that is there, or not.
    File(Arc<FileCheck>),
    /// `exec:`: a program that exits with 0.
    Exec(ExecCheck),
    /// `listener:`: a socket on a port.
    Listener(ListenerCheck),
    /// `process:`: a process that is alive.
    Process(ProcessCheck),
    /// `interface:`: a link that is up.
    Interface(InterfaceCheck),
    /// `systemd:`: a unit that is active.
    Systemd(SystemdCheck),
}

impl CheckKind {
    /// Whether the question goes over the network, so that it can be sent from an address and to a VIP.
    pub fn is_over_network(&self) -> bool {
        match self {
            Self::Http(_)
            | Self::Tcp(_)
            | Self::Tls(_)
            | Self::Grpc(_)
            | Self::Udp(_)
            | Self::Dns(_)
            | Self::Icmp(_) => true,
            Self::File(_)
            | Self::Exec(_)
            | Self::Listener(_)
            | Self::Process(_)
            | Self::Interface(_)
            | Self::Systemd(_) => false,
        }
    }

    /// Whether we are told when the answer changes, and the answer is certain: one is enough, whichever way.
    pub fn is_event_driven(&self) -> bool {
        match self {
            Self::Http(_)
            | Self::Tcp(_)
            | Self::Tls(_)
            | Self::Grpc(_)
            | Self::Udp(_)
            | Self::Dns(_)
            | Self::Icmp(_)
            | Self::File(_)
            | Self::Exec(_) => false,
            Self::Listener(_) | Self::Process(_) | Self::Interface(_) | Self::Systemd(_) => true,
        }
    }

    /// How a connection begins; `None` where there is none.
    pub fn dial(&self) -> Option<&Dial> {
        match self {
            Self::Http(http) => Some(&http.dial),
            Self::Tcp(tcp) => Some(&tcp.dial),
            Self::Tls(tls) => Some(&tls.dial),
            Self::Grpc(grpc) => Some(&grpc.dial),
            Self::Udp(_)
            | Self::Dns(_)
            | Self::Icmp(_)
            | Self::File(_)
            | Self::Exec(_)
            | Self::Listener(_)
            | Self::Process(_)
            | Self::Interface(_)
            | Self::Systemd(_) => None,
        }
    }

    /// How many results in a row it takes, up or down, where the configuration says nothing.
    pub fn in_a_row(&self) -> NonZeroU32 {
        if self.is_event_driven() { NonZeroU32::MIN } else { defaults::RISE_FALL }
    }
}

/// `source_address:` and `source_interface:` of a check.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Via {
    /// Where packets come from; `None`: what the routing table says.
    pub source: Option<IpAddr>,
    /// The interface that they leave through (SO_BINDTODEVICE); `None`: what the routing table says.
    pub interface: Option<String>,
}

/// `tcp: host:port`, or `tcp: {address: …}`, with `send` and `expect`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpCheck {
    /// Whom we connect to.
    pub target: Target,
    /// How.
    pub dial: Dial,
    /// Sent as soon as the connection is there.
    pub send: Option<Vec<u8>>,
    /// Must be in the first 64 KiB of the answer.
    pub expect: Option<Pattern>,
}

impl TcpCheck {
    /// A connection that has to be accepted, and nothing more.
    pub fn connecting(target: Target) -> Self {
        Self { target, dial: Dial::PLAIN, send: None, expect: None }
    }
}

/// `udp: {address: …, send: …}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UdpCheck {
    /// Whom we ask.
    pub target: Target,
    /// What we send, 1 to 65507 bytes.
    pub send: Vec<u8>,
    /// What the answer must hold; `None`: any answer will do.
    pub expect: Option<Pattern>,
}

/// `dns: {server: …, name: …}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsCheck {
    /// Whom we ask.
    pub server: Target,
    /// What we ask for.
    pub name: Name<Bytes>,
    /// Which records of it.
    pub record_type: Rtype,
    /// How the question travels.
    pub transport: DnsTransport,
    /// The response codes that pass; never none.
    pub rcodes: Vec<OptRcode>,
    /// The values that must be among the answers, as in a zone file; with none there must be no answers. `None`: any.
    pub answers: Option<Vec<String>>,
    /// Whether the server must have verified the answer (the AD bit).
    pub authenticated: bool,
    /// Whether the server is to ask others (the RD bit).
    pub recursion: bool,
    /// Whether the question has EDNS (RFC 6891), unless the server complains of it.
    pub edns: bool,
}

/// `transport:` of a dns check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DnsTransport {
    /// Over UDP, and over TCP when the answer is cut.
    Udp,
    /// Over TCP at once.
    Tcp,
}

/// `icmp: host`, or `icmp: {host: …}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IcmpCheck {
    /// Address or host name, without brackets.
    pub host: String,
    /// Requests of each probe, 1 to 100.
    pub count: u16,
    /// How many of them may be lost, in per cent, 0 to 99.
    pub loss: u8,
    /// Bytes of data in each, 8 to 9000.
    pub size: u16,
    /// Between two of them, 1 ms or more.
    pub spacing: Duration,
}

impl IcmpCheck {
    /// Whether more are lost than may be.
    pub fn is_too_much(&self, lost: u16) -> bool {
        u32::from(lost) * 100 > u32::from(self.loss) * u32::from(self.count)
    }
}

impl Default for IcmpCheck {
    fn default() -> Self {
        Self {
            host: String::new(),
            count: defaults::ICMP_COUNT,
            loss: defaults::ICMP_LOSS,
            size: defaults::ICMP_SIZE,
            spacing: defaults::ICMP_SPACING,
        }
    }
}

/// `file: /path`, or `file: {path: …}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileCheck {
    /// Which file; absolute.
    pub path: PathBuf,
    /// What must be so.
    pub wanted: FileWanted,
}

/// What must be so with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileWanted {
    /// Nothing has this name.
    Absent,
    /// It is there, and a file.
    Present {
        /// How long ago it may have been changed, at most.
        max_age: Option<Duration>,
        /// What it must hold.
        contains: Option<Pattern>,
    },
}

/// Where a probe goes: an address, or a name that is looked up at every probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Address or host name, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl Target {
    /// What went wrong with one of the addresses: where a name has several, with the address.
    pub fn named(&self, address: IpAddr, cause: String) -> String {
        match self.host.parse::<IpAddr>() {
            Ok(_) => cause,
            Err(_) => format!("{address}: {cause}"),
        }
    }
}

/// `exec: {command: […]}` or `exec: {shell: "…"}`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExecCheck {
    /// Program and arguments; a `shell:` string is already wrapped as `/bin/sh -c …`.
    pub command: Vec<String>,
    /// Whom it runs as, a name that is looked up when it runs; `None`: as the daemon.
    pub user: Option<String>,
    /// Its group; `None`: the primary group of the user, or that of the daemon.
    pub group: Option<String>,
    /// Where it runs; absolute. `None`: where the daemon does.
    pub directory: Option<PathBuf>,
    /// What it finds in its environment beside what is always there.
    pub environment: Environment,
    /// The services that name the check.
    pub services: BTreeSet<ServiceName>,
    /// Their VIPs.
    pub vips: BTreeSet<Vip>,
}

/// `environment:` of an exec check. Values may be secrets, and are not shown.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Environment(pub BTreeMap<String, String>);

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// `listener: {tcp: 8080}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerCheck {
    /// TCP or UDP.
    pub transport: Transport,
    /// The port.
    pub port: u16,
    /// The address that has to be listened on, by itself or by a wildcard; `None`: any.
    pub address: Option<IpAddr>,
}

/// A protocol with ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// `process: {pid_file: …}` or `process: {pid: 1234}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessCheck {
    /// Which one.
    pub process: WhichProcess,
    /// What its command or its program has to be called; `None`: anything.
    pub name: Option<String>,
}

/// Where the id of a process is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WhichProcess {
    /// The first line of a file, read at every probe.
    File(PathBuf),
    /// This one.
    Pid(NonZeroU32),
}

/// `interface: eth0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceCheck {
    /// Its name, or an alternative one: at most 127 bytes.
    pub name: String,
}

/// `systemd: nginx.service`, or `systemd: {unit: …}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemdCheck {
    /// The unit, with its suffix.
    pub unit: String,
    /// The socket of the bus, or of systemd itself; `None`: `/run/systemd/private` for root where it is there, else the
    /// bus of the system.
    pub bus: Option<PathBuf>,
}
