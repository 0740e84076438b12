//! One check: what is asked, on which way, how often, and what is made of the answers.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use super::grpc::GrpcCheck;
use super::http::HttpCheck;
use super::pattern::Pattern;
use super::tls::TlsCheck;
use crate::config::defaults;

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
}

impl Check {
    /// A check of this kind, as it is where the configuration says nothing else.
    pub fn new(kind: CheckKind) -> Self {
        Self {
            kind,
            via: Via::default(),
            interval: defaults::INTERVAL,
            fast_interval: defaults::FAST_INTERVAL,
            timeout: defaults::TIMEOUT,
            rise: defaults::RISE_FALL,
            fall: defaults::RISE_FALL,
        }
    }
}

/// The kinds of check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckKind {
    /// `http:`, with an `http://` or `https://` URL.
    Http(HttpCheck),
    /// `tcp:`: a connection that is accepted, and what is said on it.
    Tcp(TcpCheck),
    /// `tls:`: a TLS handshake, and a certificate that is good.
    Tls(TlsCheck),
    /// `grpc:`: a service that says it is healthy.
    Grpc(GrpcCheck),
    /// `exec:`: a program that exits with 0.
    Exec(ExecCheck),
}

impl CheckKind {
    /// Whether the question goes over the network, so that it can be sent from an address and to a VIP.
    pub fn is_over_network(&self) -> bool {
        match self {
            Self::Http(_) | Self::Tcp(_) | Self::Tls(_) | Self::Grpc(_) => true,
            Self::Exec(_) => false,
        }
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
    /// Sent as soon as the connection is there.
    pub send: Option<String>,
    /// Must be in the first 64 KiB of the answer.
    pub expect: Option<Pattern>,
}

impl TcpCheck {
    /// A connection that has to be accepted, and nothing more.
    pub fn connecting(target: Target) -> Self {
        Self { target, send: None, expect: None }
    }
}

/// Where a probe goes: an address, or a name that is looked up at every probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Address or host name, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// `exec: {command: […]}` or `exec: {shell: "…"}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecCheck {
    /// Program and arguments; a `shell:` string is already wrapped as `/bin/sh -c …`.
    pub command: Vec<String>,
    /// Whom it runs as; `None`: as the daemon.
    pub user: Option<User>,
}

/// A user of this host, looked up when the configuration is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Login name.
    pub name: String,
    /// Numeric id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
}
