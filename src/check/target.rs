//! The target of a probe, and the begin of its connection.

use std::fmt;
use std::net::IpAddr;

/// Where a probe goes: an address, or a name that is looked up at every probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// Address or host name, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl Target {
    /// What went wrong with one of the addresses: where a name has several, with the address.
    pub(crate) fn named(&self, address: IpAddr, cause: String) -> String {
        match self.host.parse::<IpAddr>() {
            Ok(_) => cause,
            Err(_) => format!("{address}: {cause}"),
        }
    }
}

/// A protocol with ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Transport {
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

/// `unix:` and `proxy_protocol:` of a check.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Dial {
    /// The socket on this host that is asked instead of an address: an absolute path, or `@name` for an abstract one.
    pub unix: Option<String>,
    /// What is said before everything else.
    pub proxy: Option<ProxyProtocol>,
}

impl Dial {
    /// A connection with nothing special.
    pub(crate) const PLAIN: Self = Self { unix: None, proxy: None };
}

/// Versions of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProxyProtocol {
    /// One line of text.
    V1,
    /// Binary.
    V2,
}
