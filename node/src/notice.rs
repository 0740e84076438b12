//! What ports notice and the node only passes on: worth telling, and no reason to decide anything.

use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

use crate::names::{CheckName, PeerName};
use crate::vip::Vip;

/// Something that a port has noticed about what a node is for: its VIPs, checks, peers and addresses.
///
/// What a port has to say of itself alone (a file, a thread, a socket) is no notice: the port logs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// Noticed by the BGP speaker.
    Speaker(vipcast_bgp::Notice),
    /// Peers cannot connect to an address yet. It is tried again.
    Deaf {
        /// The address.
        address: SocketAddr,
        /// Why, in the words of the system.
        error: String,
        /// What to look at.
        hint: Option<String>,
    },
    /// Our BGP identifier is not known yet, and no session begins before it is.
    NoIdentity {
        /// The peer whose side of this host it is taken from.
        towards: Option<IpAddr>,
        /// Why, in words.
        error: String,
    },
    /// Routers cannot be looked for on a link yet. It is tried again.
    LinkUnheard {
        /// The link.
        interface: String,
        /// Why, in the words of the system.
        error: String,
    },
    /// BFD runs.
    BfdStarted {
        /// At this priority, in words.
        priority: String,
    },
    /// BFD cannot run: strict peers stay down, and hold timers alone watch the others.
    BfdNotStarted {
        /// Why, in the words of the system.
        error: String,
    },
    /// BFD has not ended in time: routers may take the end for a failure.
    BfdHangs,
    /// The kernel has not listed the host's addresses yet, and nothing is bound before it has.
    AddressesUnlisted,
    /// A check has panicked, which is a bug, and begins anew.
    CheckPanicked {
        /// The check.
        check: CheckName,
        /// The panic, in words.
        error: String,
    },
    /// A drain that an operator had set before the start cannot be understood, and is not in force.
    DrainForgotten {
        /// The service, as the file names it.
        service: String,
        /// Why, in words.
        error: String,
    },
    /// Routing daemons run on this host, and may announce VIPs that are withheld here.
    OtherDaemons(Vec<OtherDaemon>),
    /// A router has a path to a VIP that is withheld here, by way of this host: another daemon announces it.
    AnnouncedElsewhere {
        /// The VIP.
        vip: Vip,
        /// The router.
        peer: PeerName,
        /// The next hop of the path, an address of this host.
        next_hop: IpAddr,
    },
}

/// A process that may announce what is on the host's interfaces.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct OtherDaemon {
    /// The name of its program.
    pub name: String,
    /// The process.
    pub pid: u32,
}
