//! The frozen form of the BFD driver: its sessions with their sockets, and the receiving sockets.
//!
//! A socket is a number of the caller's table of descriptors.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::bfd::Config;
#[cfg(feature = "net")]
use super::{Error, count};
use crate::bfd;
#[cfg(feature = "net")]
use crate::bfd::{Discard, Discards};
use crate::time::Instant;

/// A frozen driver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BfdThread {
    /// Version 1.
    V1(V1),
}

/// Version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct V1 {
    /// The sessions.
    pub sessions: Vec<Session>,
    /// The receiving sockets.
    pub receivers: Vec<Receiver>,
    /// The state of the generator of discriminators and ports.
    pub random: u64,
    /// Packets that were dropped and belong to no session.
    pub discarded: Discarded,
    /// The greatest delay behind a deadline, in nanoseconds.
    pub worst_wakeup: u64,
    /// When the receiving sockets were last empty. No packet in them is older.
    pub emptied: Instant,
}

/// One session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// The caller's name of it.
    pub name: String,
    /// The other end.
    pub remote: IpAddr,
    /// Our configured address.
    pub local: Option<IpAddr>,
    /// The configured interface.
    pub interface: Option<String>,
    /// Single hop or multihop.
    pub hops: Hops,
    /// The configuration that the caller wants. The machine's differs while the timers are slow for a pause.
    pub wanted: Config,
    /// The machine.
    pub machine: super::Session,
    /// No longer wanted: it sends AdminDown.
    pub leaving: bool,
    /// The source port.
    pub port: u16,
    /// The sending socket, if it is open.
    pub socket: Option<u32>,
    /// The index of the interface when the socket was opened.
    pub index: Option<u32>,
    /// Whether the socket was once open with this port.
    pub proven: bool,
    /// The number of packets that the kernel refused to send.
    pub errors: u64,
    /// The error of the last one, in words.
    pub error: Option<String>,
    /// Dropped packets from its remote address.
    pub discarded: Discarded,
}

/// Single hop or multihop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Hops {
    /// On one link.
    Single,
    /// Over routers.
    Multi {
        /// The least TTL.
        min_ttl: u8,
    },
}

/// A receiving socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receiver {
    /// Its family.
    pub ipv6: bool,
    /// Its port.
    pub multihop: bool,
    /// Whether a session needs it.
    pub wanted: bool,
    /// The socket, if it is open.
    pub socket: Option<u32>,
}

/// Dropped packets: the name of each reason that occurred, and the number.
pub type Discarded = Vec<(String, u64)>;

impl From<bfd::Hops> for Hops {
    fn from(hops: bfd::Hops) -> Self {
        match hops {
            bfd::Hops::Single => Self::Single,
            bfd::Hops::Multi { min_ttl } => Self::Multi { min_ttl },
        }
    }
}

impl From<Hops> for bfd::Hops {
    fn from(hops: Hops) -> Self {
        match hops {
            Hops::Single => Self::Single,
            Hops::Multi { min_ttl } => Self::Multi { min_ttl },
        }
    }
}

impl From<bfd::SessionConfig> for Config {
    fn from(config: bfd::SessionConfig) -> Self {
        let bfd::SessionConfig { desired_min_tx, required_min_rx, multiplier, admin_down } = config;
        Self {
            desired_min_tx: desired_min_tx.into(),
            required_min_rx: required_min_rx.into(),
            multiplier,
            admin_down,
        }
    }
}

impl From<Config> for bfd::SessionConfig {
    fn from(config: Config) -> Self {
        let Config { desired_min_tx, required_min_rx, multiplier, admin_down } = config;
        Self {
            desired_min_tx: desired_min_tx.into(),
            required_min_rx: required_min_rx.into(),
            multiplier,
            admin_down,
        }
    }
}

/// The frozen form of the numbers of dropped packets.
#[cfg(feature = "net")]
pub(crate) fn freeze_discards(discards: &Discards) -> Discarded {
    discards.iter().map(|(reason, number)| (reason.name().to_owned(), number)).collect()
}

/// The numbers that were frozen.
#[cfg(feature = "net")]
pub(crate) fn thaw_discards(frozen: &Discarded) -> Result<Discards, Error> {
    let mut discards = Discards::default();
    for (name, number) in frozen {
        let reason = Discard::ALL.into_iter().find(|reason| reason.name() == name);
        discards.set(reason.ok_or(Error::Range("discarded"))?, count(*number, "discarded")?);
    }
    Ok(discards)
}
