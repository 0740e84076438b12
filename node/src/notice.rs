//! Notices of ports: the node only records them; no decision depends on them.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde::Serialize;

use crate::names::{CheckName, PeerName};
use crate::vip::Vip;

/// A notice of a port about VIPs, checks, peers or addresses.
///
/// Troubles of the port itself (a file, a thread, a socket) are no notices: the port logs them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// This daemon only observes.
    Observing {
        /// Its control socket.
        socket: PathBuf,
    },
    /// A notice of the BGP speaker.
    Speaker(vipcast_bgp::Notice),
    /// Peers cannot connect to an address yet. The port tries again.
    Deaf {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        error: String,
        /// A hint for the operator.
        hint: Option<String>,
    },
    /// Our BGP identifier is not known yet, and no session begins without it.
    NoIdentity {
        /// The peer whose route gives our identifier.
        towards: Option<IpAddr>,
        /// The reason, in words.
        error: String,
    },
    /// The port cannot listen for routers on a link yet. It tries again.
    LinkUnheard {
        /// The link.
        interface: String,
        /// The system's error.
        error: String,
    },
    /// BFD runs.
    BfdStarted {
        /// At this priority, in words.
        priority: String,
    },
    /// BFD cannot run: strict peers stay down, and only hold timers watch the others.
    BfdNotStarted {
        /// The system's error.
        error: String,
    },
    /// BFD has not ended in time: routers may take its end for a failure.
    BfdHangs,
    /// The kernel has not listed the host's addresses yet, and no VIP is bound before.
    AddressesUnlisted,
    /// A check has panicked, which is a bug, and begins anew.
    CheckPanicked {
        /// The check.
        check: CheckName,
        /// The panic, in words.
        error: String,
    },
    /// A saved drain is unreadable, and is not in force.
    OverrideForgotten {
        /// The override, in words.
        what: String,
        /// The reason, in words.
        error: String,
    },
    /// Routing daemons run on this host, and may announce VIPs that are withheld here.
    OtherDaemons(Vec<OtherDaemon>),
    /// A router has a path by this host to a VIP that is withheld here: another daemon announces it.
    AnnouncedElsewhere {
        /// The VIP.
        vip: Vip,
        /// The router.
        peer: PeerName,
        /// The next hop of the path, an address of this host.
        next_hop: IpAddr,
    },
}

/// A process that may announce the host's addresses.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct OtherDaemon {
    /// The name of its program.
    pub name: String,
    /// The process.
    pub pid: u32,
}
