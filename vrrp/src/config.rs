//! The configuration of an instance.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;
use thiserror::Error;

use crate::advertisement::Form;
use crate::checksum::Coverage;
use crate::endpoints::Endpoints;
use crate::iana::{self, GROUP_V4, GROUP_V6};
use crate::values::{Priority, Vrid};

/// The configuration of an instance; all of it may change while the instance runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The virtual router.
    pub vrid: Vrid,
    /// The priority until [`crate::Input::Priority`] gives another.
    pub priority: Priority,
    /// Whether a Backup Router takes over from an Active Router of lower priority. An owner always does.
    pub preempt: Preempt,
    /// What our checksum covers with version 3 over IPv4. Both are accepted.
    pub checksum: Coverage,
    /// The least TTL or hop limit of a received packet: 255, unless peers are behind routers. It is here for the driver.
    pub least_ttl: u8,
    /// When addresses are announced again.
    pub announcements: Announcements,
    /// Version, interval and addresses, from whom and to whom.
    pub link: Link,
}

/// The contents of our advertisements, their source and their receivers, all of one address family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    form: Form,
    source: IpAddr,
    peers: BTreeSet<IpAddr>,
}

/// Whether a Backup Router takes over from an Active Router of lower priority (RFC 9568 §6.1, Preempt_Mode).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Preempt {
    /// It waits until the other is gone.
    Never,
    /// It does, this long after it first heard an Active Router of lower priority. Zero is the RFC's Preempt_Mode.
    After(Duration),
}

/// When gratuitous ARP or unsolicited Neighbor Advertisements are sent for addresses that are ours already. One that is lost
/// leaves hosts with the old MAC until their own entry expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Announcements {
    /// Once more this long after the first, for switches and hosts that came up at the same time.
    pub again_after: Option<Duration>,
    /// And at this interval from then on.
    pub refresh: Option<Duration>,
}

impl Default for Announcements {
    /// Again after 5 s, as keepalived does, and every 60 s.
    fn default() -> Self {
        Self { again_after: Some(Duration::from_secs(5)), refresh: Some(Duration::from_secs(60)) }
    }
}

/// Addresses of both families in one instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// The source.
    #[error("the source address {0} is not of the family of the virtual router's addresses")]
    Source(IpAddr),
    /// A unicast peer.
    #[error("the peer {0} is not of the family of the virtual router's addresses")]
    Peer(IpAddr),
    /// A peer that is the source.
    #[error("the peer {0} is our own source address")]
    OwnAddress(IpAddr),
}

impl Config {
    /// Priority 100, preempting at once.
    pub fn new(vrid: Vrid, link: Link) -> Self {
        Self {
            vrid,
            priority: Priority::DEFAULT,
            preempt: Preempt::After(Duration::ZERO),
            checksum: Coverage::default(),
            least_ttl: iana::TTL,
            announcements: Announcements::default(),
            link,
        }
    }

    /// Whether an instance with `other` goes on: it is the same virtual router, as the same router, in the same language.
    pub(crate) fn same_router(&self, other: &Self) -> bool {
        self.vrid == other.vrid
            && self.link.source == other.link.source
            && self.link.form.version() == other.link.form.version()
            && self.link.form.is_v6() == other.link.form.is_v6()
    }
}

impl Link {
    /// Over multicast. `source` is the primary address of the interface, or its link-local one over IPv6: advertisements come
    /// from it, and among equal priorities the higher one wins.
    ///
    /// # Errors
    /// If `source` is of another family than the addresses.
    pub fn new(form: Form, source: IpAddr) -> Result<Self, ConfigError> {
        if source.is_ipv6() != form.is_v6() {
            return Err(ConfigError::Source(source));
        }
        Ok(Self { form, source, peers: BTreeSet::new() })
    }

    /// The same with unicast peers instead of multicast.
    ///
    /// # Errors
    /// If one is of another family, or is the source.
    pub fn with_peers(self, peers: impl IntoIterator<Item = IpAddr>) -> Result<Self, ConfigError> {
        let peers: BTreeSet<_> = peers.into_iter().collect();
        for &peer in &peers {
            if peer.is_ipv6() != self.form.is_v6() {
                return Err(ConfigError::Peer(peer));
            }
            if peer == self.source {
                return Err(ConfigError::OwnAddress(peer));
            }
        }
        Ok(Self { peers, ..self })
    }

    /// Version, interval, addresses and authentication.
    pub fn form(&self) -> &Form {
        &self.form
    }

    /// The source of our advertisements.
    pub fn source(&self) -> IpAddr {
        self.source
    }

    /// The unicast peers; none with multicast.
    pub fn peers(&self) -> &BTreeSet<IpAddr> {
        &self.peers
    }

    /// Where each advertisement goes: to every peer, or to the group.
    pub fn destinations(&self) -> Vec<Endpoints> {
        let group = if self.form.is_v6() { IpAddr::V6(GROUP_V6) } else { IpAddr::V4(GROUP_V4) };
        let to = |destination| Endpoints::new(self.source, destination);
        if self.peers.is_empty() {
            return to(group).into_iter().collect();
        }
        self.peers.iter().copied().filter_map(to).collect()
    }
}
