//! The inputs and outputs of an instance.

use std::fmt;
use std::net::IpAddr;

use serde::Serialize;

use crate::advertisement::{Advertisement, Packet};
use crate::checksum::Coverage;
use crate::config::Config;
use crate::discard::Discard;
use crate::endpoints::Endpoints;
use crate::values::Priority;
use vipcast_machine::Instant;

/// An input of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Take part (RFC 9568 §6.4.1, Startup).
    Start,
    /// A packet, decoded.
    Received {
        /// The packet.
        packet: Packet,
        /// The kernel's receive time; a time after `now` is taken as `now`.
        at: Instant,
    },
    /// The deadline has passed, and every packet that came before now was handed in.
    Tick,
    /// The priority that checks give: an Active Router tells it at once, and yields when another answers with a higher one.
    Priority(Priority),
    /// Whether this node can serve the addresses at all. With `true` the instance releases them and is silent until `false`.
    Fault(bool),
    /// Replace the configuration, its priority included.
    Configure(Config),
    /// Release the addresses and take no part (RFC 9568 §6.4, Shutdown).
    Stop,
}

/// An output of an instance, to be carried out in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send this.
    Transmit(Transmission),
    /// The state has changed: bind the addresses on the way to Active, remove them on the way from it.
    Transition(Transition),
    /// Send gratuitous ARP or unsolicited Neighbor Advertisements for every address.
    Announce(Occasion),
    /// A likely mistake, at most once a minute for each kind.
    Notice(Notice),
    /// The packet was dropped, and counted.
    Discarded(Discard),
}

/// An advertisement, and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmission {
    /// The advertisement.
    pub advertisement: Advertisement,
    /// The group, or every peer: [`Link::destinations`](crate::Link::destinations).
    pub destinations: Vec<Endpoints>,
    /// What its checksum covers with version 3 over IPv4.
    pub checksum: Coverage,
}

impl Transmission {
    /// The payloads of the IP packets, each with its addresses.
    pub fn packets(&self) -> impl Iterator<Item = (Endpoints, Vec<u8>)> + '_ {
        let encode = |endpoints| (endpoints, self.advertisement.encode(&endpoints, self.checksum));
        self.destinations.iter().copied().map(encode)
    }
}

/// The states of an instance (RFC 9568 §6.4), and keepalived's FAULT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It takes no part.
    Initialize,
    /// It would take part, and cannot serve the addresses.
    Fault,
    /// Another router has the addresses, or none yet.
    Backup,
    /// This router has the addresses.
    Active,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Initialize => "Initialize",
            Self::Fault => "Fault",
            Self::Backup => "Backup",
            Self::Active => "Active",
        })
    }
}

/// A change of state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Transition {
    /// The old state.
    pub from: State,
    /// The new state.
    pub to: State,
    /// The cause.
    pub cause: Cause,
    /// The time of the change.
    #[serde(skip)]
    pub at: Instant,
}

/// The cause of a change of state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The instance was started, or its configuration made another router of it.
    Started,
    /// The instance was stopped, or its configuration made another router of it.
    Stopped,
    /// This node cannot serve the addresses.
    Fault,
    /// This node can serve the addresses again.
    Recovered,
    /// No Active Router was heard for Active_Down_Interval.
    Silence,
    /// The Active Router has stopped, and told so with priority 0.
    Released {
        /// The router that stopped.
        source: IpAddr,
    },
    /// The Active Router has a lower priority.
    Preempts {
        /// The router with the lower priority.
        source: IpAddr,
    },
    /// Another Active Router has a higher priority, or the same and a higher address.
    Yields {
        /// The other router.
        source: IpAddr,
        /// Its priority.
        priority: Priority,
    },
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started => f.write_str("started"),
            Self::Stopped => f.write_str("stopped"),
            Self::Fault => f.write_str("this node cannot serve the addresses"),
            Self::Recovered => f.write_str("this node can serve the addresses again"),
            Self::Silence => f.write_str("no Active Router is heard"),
            Self::Released { source } => write!(f, "{source} has stopped"),
            Self::Preempts { source } => write!(f, "{source} has a lower priority"),
            Self::Yields { source, priority } => write!(f, "{source} is Active with priority {priority}"),
        }
    }
}

/// `Backup to Active: 10.0.0.1 has stopped`
impl fmt::Display for Transition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}: {}", self.from, self.to, self.cause)
    }
}

/// Why addresses are announced on the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Occasion {
    /// This router became Active.
    Takeover,
    /// Once more, a little later.
    Again,
    /// At the configured interval.
    Refresh,
    /// Another router is Active with a lower priority: hosts may have learned its MAC.
    LowerRouter,
    /// A router of lower priority that was Active has ended: hosts may still have its MAC.
    LowerRouterEnded,
    /// The addresses have changed.
    Configured,
}

/// A likely mistake in the configuration of the routers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// The other router names other addresses. Its advertisements count all the same: two Active Routers would be worse.
    OtherAddresses {
        /// The other router.
        source: IpAddr,
    },
    /// The other router's checksum covers something else than ours, and perhaps it drops our packets.
    OtherChecksum {
        /// The other router.
        source: IpAddr,
        /// What its checksum covers.
        coverage: Coverage,
    },
    /// Another router owns the addresses as well. Neither will yield.
    SecondOwner {
        /// The other router.
        source: IpAddr,
    },
    /// A router of lower priority is Active beside us: it does not hear us, or has heard us only now.
    LowerRouter {
        /// The other router.
        source: IpAddr,
        /// Its priority.
        priority: Priority,
    },
}

impl Notice {
    /// The number of kinds.
    pub(crate) const KINDS: usize = 4;

    /// The number of its kind.
    pub(crate) fn kind(&self) -> usize {
        match self {
            Self::OtherAddresses { .. } => 0,
            Self::OtherChecksum { .. } => 1,
            Self::SecondOwner { .. } => 2,
            Self::LowerRouter { .. } => 3,
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherAddresses { source } => write!(f, "{source} names other addresses than we do"),
            Self::OtherChecksum { source, coverage: Coverage::Message } => {
                write!(f, "the checksum of {source} covers no pseudo-header, and ours does")
            }
            Self::OtherChecksum { source, coverage: Coverage::PseudoHeader } => {
                write!(f, "the checksum of {source} covers a pseudo-header, and ours does not")
            }
            Self::SecondOwner { source } => write!(f, "{source} has priority 255, as we do"),
            Self::LowerRouter { source, priority } => {
                write!(f, "{source} is Active with priority {priority} beside us")
            }
        }
    }
}
