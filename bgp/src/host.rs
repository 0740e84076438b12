//! The links and addresses of this host, from the kernel, and the addresses that a router can use as a next hop.
//!
//! ```text
//!  kernel ── Change ──► Host ── beside(session) ──► candidates, best first
//! ```
//!
//! A next hop is an address that a router can reach as long as the host lives. So a candidate is on the interface of
//! the session and has a subnet (a /32 or /128 is a service address or floats between hosts), is not of scope host, has
//! passed duplicate address detection, and is no service address. Stable addresses come before temporary ones (RFC
//! 8981), deprecated ones come last.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;

use crate::time::Instant;

/// The links and addresses of a host. A copy is cheap: interfaces are shared until they change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Host {
    interfaces: BTreeMap<u32, Arc<Interface>>,
    /// All changes before this moment are included; `None`: nothing was read yet.
    pub(crate) complete_at: Option<Instant>,
}

/// A link and its addresses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Interface {
    /// Its current name.
    pub name: String,
    /// Whether it is a loopback interface.
    pub is_loopback: bool,
    /// Whether it is administratively up.
    pub is_up: bool,
    /// Its link-layer address, if that is an Ethernet address.
    pub link_layer: Option<[u8; 6]>,
    addresses: BTreeMap<(IpAddr, u8), Condition>,
}

/// The kernel's flags of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Condition {
    /// The other end of a point-to-point link; the prefix length belongs to it.
    pub far_end: Option<IpAddr>,
    /// Of scope host: no other host can reach it.
    pub is_host_scope: bool,
    /// Duplicate address detection is running.
    pub is_tentative: bool,
    /// Duplicate address detection failed: another host has the address.
    pub is_duplicate: bool,
    /// Not for new connections (RFC 4862 §5.5.4).
    pub is_deprecated: bool,
    /// A privacy address of IPv6, or one of IPv4 that is not the first of its subnet.
    pub is_temporary: bool,
}

/// One message from the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A link was added or has changed.
    Link {
        /// Its index.
        index: u32,
        /// Its name; `None`: not in the message.
        name: Option<String>,
        /// Whether it is a loopback interface.
        is_loopback: bool,
        /// Whether it is administratively up.
        is_up: bool,
        /// Its Ethernet address.
        link_layer: Option<[u8; 6]>,
    },
    /// A link is gone, and its addresses with it.
    LinkGone(u32),
    /// An address was added or has changed.
    Address {
        /// The link.
        index: u32,
        /// The address.
        ip: IpAddr,
        /// The length of its prefix.
        length: u8,
        /// Its flags.
        condition: Condition,
    },
    /// An address is gone.
    AddressGone {
        /// The link.
        index: u32,
        /// The address.
        ip: IpAddr,
        /// The length of its prefix.
        length: u8,
    },
}

impl Host {
    /// Applies one message; returns whether anything changed.
    pub fn fold(&mut self, change: Change) -> bool {
        match change {
            Change::Link { index, name, is_loopback, is_up, link_layer } => {
                let before = self.interfaces.get(&index);
                let name = name.or_else(|| before.map(|link| link.name.clone())).unwrap_or_default();
                let told = |link: &Arc<Interface>| {
                    link.name == name
                        && link.is_loopback == is_loopback
                        && link.is_up == is_up
                        && link.link_layer == link_layer
                };
                if before.is_some_and(told) {
                    return false;
                }
                let link = self.interface(index);
                (link.name, link.is_loopback, link.is_up, link.link_layer) =
                    (name, is_loopback, is_up, link_layer);
                true
            }
            Change::LinkGone(index) => self.interfaces.remove(&index).is_some(),
            Change::Address { index, ip, length, condition } => {
                let before = self.interfaces.get(&index).and_then(|link| link.addresses.get(&(ip, length)));
                if before == Some(&condition) {
                    return false;
                }
                self.interface(index).addresses.insert((ip, length), condition);
                true
            }
            Change::AddressGone { index, ip, length } => {
                let known = |link: &Arc<Interface>| link.addresses.contains_key(&(ip, length));
                if !self.interfaces.get(&index).is_some_and(known) {
                    return false;
                }
                self.interface(index).addresses.remove(&(ip, length));
                true
            }
        }
    }

    /// The interfaces by index.
    pub fn interfaces(&self) -> impl Iterator<Item = (u32, &Interface)> {
        self.interfaces.iter().map(|(index, link)| (*index, &**link))
    }

    /// The interface of this name and its index.
    pub fn named(&self, name: &str) -> Option<(u32, &Interface)> {
        self.interfaces().find(|(_, link)| link.name == name)
    }

    /// Whether some interface has `ip`.
    pub fn has(&self, ip: IpAddr) -> bool {
        self.interfaces.values().any(|link| link.has(ip))
    }

    /// The addresses that a router can reach besides `local`, our end of a session with `remote`: those of the
    /// session's interface, the best first, without `services`. Empty for a loopback interface: a router cannot use its
    /// addresses as next hops. `None`: no interface has `local`.
    ///
    /// A service address as `local` does not identify the interface; then it is the interface whose subnet contains the
    /// router.
    pub fn beside(
        &self,
        local: SocketAddr,
        remote: SocketAddr,
        services: &BTreeSet<IpAddr>,
    ) -> Option<Vec<IpAddr>> {
        let mut link = self.holder(local)?;
        if services.contains(&local.ip()) {
            let on_link = |link: &&Interface| !link.is_loopback && link.reaches(remote.ip());
            link = self.interfaces.values().map(Arc::as_ref).find(on_link).unwrap_or(link);
        }
        if link.is_loopback || !link.is_up {
            return Some(Vec::new());
        }
        let mut candidates: Vec<_> = link
            .addresses
            .iter()
            .filter(|((ip, length), condition)| {
                *ip != local.ip()
                    && is_global(*ip)
                    && condition.is_usable()
                    && condition.subnet(*ip, *length).is_some()
                    && !services.contains(ip)
            })
            .map(|((ip, length), condition)| {
                let subnet = condition.subnet(*ip, *length);
                let is_near = subnet.is_some_and(|subnet| subnet.contains(&remote.ip()));
                (!is_near, condition.is_deprecated, condition.is_temporary, *ip)
            })
            .collect();
        candidates.sort_unstable();
        // One address may have several prefix lengths.
        let mut seen = BTreeSet::new();
        Some(candidates.into_iter().map(|(.., ip)| ip).filter(|ip| seen.insert(*ip)).collect())
    }

    fn holder(&self, local: SocketAddr) -> Option<&Interface> {
        let scope = match local {
            SocketAddr::V6(local) if local.scope_id() != 0 => Some(local.scope_id()),
            SocketAddr::V4(_) | SocketAddr::V6(_) => None,
        };
        // The same link-local address may be on several interfaces.
        let in_scope = |(index, link): &(u32, &Interface)| {
            scope.is_none_or(|scope| scope == *index) && link.has(local.ip())
        };
        // The address is also on loopback: the session leaves by the other interface.
        let holders = self.interfaces().filter(in_scope).map(|(_, link)| link);
        holders.min_by_key(|link| link.is_loopback)
    }

    fn interface(&mut self, index: u32) -> &mut Interface {
        Arc::make_mut(self.interfaces.entry(index).or_default())
    }
}

impl Interface {
    /// Its addresses.
    pub fn addresses(&self) -> impl Iterator<Item = (IpAddr, u8, &Condition)> {
        self.addresses.iter().map(|((ip, length), condition)| (*ip, *length, condition))
    }

    fn has(&self, ip: IpAddr) -> bool {
        self.addresses.range((ip, 0)..=(ip, u8::MAX)).next().is_some()
    }

    fn reaches(&self, remote: IpAddr) -> bool {
        self.addresses().any(|(ip, length, condition)| {
            condition.subnet(ip, length).is_some_and(|subnet| subnet.contains(&remote))
        })
    }
}

impl Condition {
    /// Whether other hosts can reach it.
    pub fn is_usable(&self) -> bool {
        !self.is_host_scope && !self.is_tentative && !self.is_duplicate
    }

    /// The subnet of the address; `None` for a /32 or /128, which other hosts on the link do not know.
    fn subnet(&self, ip: IpAddr, length: u8) -> Option<IpNet> {
        let host = if ip.is_ipv4() { 32 } else { 128 };
        match self.far_end {
            Some(far_end) => IpNet::new(far_end, length).ok(),
            None if length == host => None,
            None => IpNet::new(ip, length).ok(),
        }
    }
}

fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_link_local() && !v4.is_loopback() && !v4.is_unspecified(),
        IpAddr::V6(v6) => !v6.is_unicast_link_local() && !v6.is_loopback() && !v6.is_unspecified(),
    }
}

#[cfg(test)]
mod tests;
