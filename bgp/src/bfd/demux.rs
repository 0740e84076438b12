//! Finds the session of a packet (RFC 5880 §6.8.6, RFC 5881 §3, RFC 5883 §4).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU32;

use serde::Serialize;

use super::discard::Discard;
use super::iana::TTL;
use super::packet::Packet;

/// Whether a session runs over one link or over routers. The two have separate ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Hops {
    /// RFC 5881: on one link; packets arrive with a TTL of 255.
    Single,
    /// RFC 5883: over routers.
    Multi {
        /// Packets with a lower TTL come from too far away and are dropped: 254 is one router.
        min_ttl: u8,
    },
}

impl Hops {
    /// The least TTL or hop limit that a packet may arrive with.
    pub fn min_ttl(self) -> u8 {
        match self {
            Self::Single => TTL,
            Self::Multi { min_ttl } => min_ttl,
        }
    }

    /// Whether it is over routers.
    pub fn is_multi(self) -> bool {
        match self {
            Self::Single => false,
            Self::Multi { .. } => true,
        }
    }
}

/// The path of a session's incoming packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Path {
    /// The source address.
    pub remote: IpAddr,
    /// The destination address, if configured.
    pub local: Option<IpAddr>,
    /// The index of the interface, if configured.
    pub interface: Option<u32>,
    /// Single hop or multihop.
    pub hops: Hops,
}

/// The arrival of a packet: addresses, interface, TTL and port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// The source address.
    pub source: IpAddr,
    /// The destination address.
    pub destination: Option<IpAddr>,
    /// The index of the interface.
    pub interface: Option<u32>,
    /// Its TTL or hop limit.
    pub ttl: u8,
    /// Whether it came to the port of multihop sessions.
    pub multihop: bool,
}

/// Sessions by discriminator and by path; `K` is the key of a session.
#[derive(Debug, Clone, Default)]
pub struct Demux<K> {
    by_discriminator: BTreeMap<NonZeroU32, (K, Path)>,
    /// Sessions that a peer can reach without our discriminator.
    by_path: Vec<(K, Path)>,
}

impl<K: Copy + PartialEq> Demux<K> {
    /// No sessions.
    pub fn new() -> Self {
        Self { by_discriminator: BTreeMap::new(), by_path: Vec::new() }
    }

    /// Adds a session, or changes the path of one.
    pub fn insert(&mut self, discriminator: NonZeroU32, key: K, path: Path) {
        self.unlist(key);
        self.by_path.push((key, path));
        self.by_discriminator.insert(discriminator, (key, path));
    }

    /// From now on a peer reaches this session only by our discriminator: another session takes its path.
    pub fn unlist(&mut self, key: K) {
        self.by_path.retain(|(listed, _)| *listed != key);
    }

    /// Forgets a session.
    pub fn remove(&mut self, discriminator: NonZeroU32) {
        if let Some((key, _)) = self.by_discriminator.remove(&discriminator) {
            self.unlist(key);
        }
    }

    /// Whether a session has this discriminator.
    pub fn contains(&self, discriminator: NonZeroU32) -> bool {
        self.by_discriminator.contains_key(&discriminator)
    }

    /// The session of a packet.
    ///
    /// As in the RFC, the discriminator alone selects the session. Then the packet must have come by that session's
    /// path, so that a guessed discriminator is not enough.
    ///
    /// # Errors
    /// There is no session, or it must not get the packet.
    pub fn find(&self, packet: &Packet, arrival: &Arrival) -> Result<K, Discard> {
        let (key, path) = match packet.your_discriminator {
            Some(discriminator) => {
                let (key, path) =
                    self.by_discriminator.get(&discriminator).ok_or(Discard::UnknownDiscriminator)?;
                if path.hops.is_multi() != arrival.multihop {
                    return Err(Discard::WrongPort);
                }
                if path.remote != arrival.source {
                    return Err(Discard::WrongSource);
                }
                if !path.admits(arrival) {
                    return Err(Discard::WrongPath);
                }
                (*key, path)
            }
            None => self.with(arrival).ok_or(Discard::NoSession)?,
        };
        if arrival.ttl < path.hops.min_ttl() {
            return Err(Discard::Ttl);
        }
        Ok(key)
    }

    /// The session that a dropped packet was most likely for, to count the drop there.
    pub fn blame(&self, arrival: &Arrival) -> Option<K> {
        self.with(arrival).map(|(key, _)| key)
    }

    /// Of the sessions with this source, the one that matches the packet best.
    fn with(&self, arrival: &Arrival) -> Option<(K, &Path)> {
        let fits = |path: &Path| {
            path.remote == arrival.source && path.hops.is_multi() == arrival.multihop && path.admits(arrival)
        };
        let candidates = self.by_path.iter().filter(|(_, path)| fits(path));
        let best = candidates.max_by_key(|(_, path)| (path.interface.is_some(), path.local.is_some()));
        best.map(|(key, path)| (*key, path))
    }
}

impl Path {
    /// Whether the interface and our address match the configured ones.
    fn admits(&self, arrival: &Arrival) -> bool {
        let same = |wanted: Option<u32>, found: Option<u32>| wanted.is_none() || wanted == found;
        same(self.interface, arrival.interface) && (self.local.is_none() || self.local == arrival.destination)
    }
}
