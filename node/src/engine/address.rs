//! The host's interfaces and addresses, as far as decisions need them: what the kernel has said, and nothing else.
//!
//! An interface is known by its index: its name may change, and be another interface's a moment later. An address is known
//! by everything that the kernel tells two addresses apart by: the same IP address may be on one interface twice, with
//! different prefix lengths or far ends.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::facts::{Asked, Facts};

/// An address on an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// The index of its interface.
    pub index: u32,
    /// The prefix length.
    pub length: u8,
    /// The other end of a point-to-point address.
    pub far: Option<IpAddr>,
}

impl Ord for Address {
    /// As they would be ordered field by field; numbers are compared faster than the bytes of them.
    fn cmp(&self, other: &Self) -> Ordering {
        let ip = match (self.ip, other.ip) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => ours.to_bits().cmp(&theirs.to_bits()),
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => ours.to_bits().cmp(&theirs.to_bits()),
            (IpAddr::V4(_), IpAddr::V6(_)) => Ordering::Less,
            (IpAddr::V6(_), IpAddr::V4(_)) => Ordering::Greater,
        };
        let rest = || (self.index, self.length, self.far).cmp(&(other.index, other.length, other.far));
        ip.then_with(rest)
    }
}

impl PartialOrd for Address {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Address {
    /// The address as we put it on an interface: as a host address.
    pub fn host(ip: IpAddr, index: u32) -> Self {
        Self { ip, index, length: if ip.is_ipv4() { 32 } else { 128 }, far: None }
    }

    /// The first in order of all that may be `ip`.
    fn first(ip: IpAddr) -> Self {
        Self { ip, index: 0, length: 0, far: None }
    }
}

/// What is known of an address that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressFact {
    /// Who put it there.
    pub owner: Owner,
    /// Whether the kernel lets anybody use it.
    pub state: AddressState,
}

impl From<Owner> for AddressFact {
    fn from(owner: Owner) -> Self {
        Self { owner, state: AddressState::Usable }
    }
}

/// Who put an address on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// We, or a predecessor that crashed: it carries our address protocol (IFA_PROTO), and one daemon runs in a network
    /// namespace.
    Us,
    /// Someone else. Used if it is a VIP, never touched.
    Other,
}

/// What the flags of an address say. Deprecated is usable: the host only prefers other sources, which for a VIP is the
/// point. So is optimistic (RFC 4429).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressState {
    /// The kernel answers for it.
    Usable,
    /// Duplicate address detection is under way (RFC 4862).
    Tentative,
    /// Duplicate address detection has found another host with it.
    Duplicate,
}

/// Why an address that is on the host is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unusable {
    /// Duplicate address detection has not ended.
    Tentative,
    /// Duplicate address detection has failed.
    Duplicate,
    /// The interface is administratively down. One without a carrier is not: what comes in elsewhere is delivered.
    InterfaceDown,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tentative => "duplicate address detection has not ended",
            Self::Duplicate => "duplicate address detection failed",
            Self::InterfaceDown => "the interface is down",
        })
    }
}

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// Its alternative names (`ip link property add … altname`).
    pub altnames: BTreeSet<String>,
    /// Whether it is administratively up.
    pub up: bool,
}

impl Link {
    /// Everything that it is called.
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.name).chain(&self.altnames)
    }
}

/// The interfaces of the host, found by index and by every name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Links {
    links: BTreeMap<u32, Link>,
    indices: BTreeMap<String, u32>,
}

impl Links {
    /// The interface with this index.
    pub fn get(&self, index: u32) -> Option<&Link> {
        self.links.get(&index)
    }

    /// The index of the interface that has this name now.
    pub fn index_of(&self, name: &str) -> Option<u32> {
        self.indices.get(name).copied()
    }

    /// The name of an interface; one that is not known is shown by its index.
    pub fn name_of(&self, index: u32) -> String {
        self.get(index).map_or_else(|| format!("#{index}"), |link| link.name.clone())
    }

    /// Notes an interface as it is now, and returns it as it was.
    pub fn insert(&mut self, index: u32, link: Link) -> Option<Link> {
        let before = self.remove(index);
        self.indices.extend(link.names().map(|name| (name.clone(), index)));
        self.links.insert(index, link);
        before
    }

    /// Forgets an interface that is gone.
    pub fn remove(&mut self, index: u32) -> Option<Link> {
        let gone = self.links.remove(&index)?;
        for name in gone.names() {
            // Another interface may have its name already.
            if self.index_of(name) == Some(index) {
                self.indices.remove(name);
            }
        }
        Some(gone)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Link)> {
        self.links.iter().map(|(index, link)| (*index, link))
    }
}

impl FromIterator<(u32, Link)> for Links {
    fn from_iter<I: IntoIterator<Item = (u32, Link)>>(links: I) -> Self {
        let mut all = Self::default();
        for (index, link) in links {
            all.insert(index, link);
        }
        all
    }
}

/// Everything that the kernel lists.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    /// Its interfaces.
    pub links: Links,
    /// Its addresses.
    pub addresses: BTreeMap<Address, AddressFact>,
}

/// An address and the name of its interface, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The address.
    pub ip: IpAddr,
    /// The interface's name.
    pub interface: String,
}

impl Facts {
    /// Whether `ip` is on this host and usable, on whichever interface and whoever put it there, and is not about to go.
    pub fn is_bound(&self, ip: IpAddr) -> bool {
        self.lasting(ip).any(|(address, held)| self.unusable(address, held).is_none())
    }

    /// Why an address that is there is of no use.
    pub fn unusable(&self, address: &Address, held: &AddressFact) -> Option<Unusable> {
        match held.state {
            AddressState::Tentative => Some(Unusable::Tentative),
            AddressState::Duplicate => Some(Unusable::Duplicate),
            AddressState::Usable => {
                let up = self.links.get(address.index).is_some_and(|link| link.up);
                (!up).then_some(Unusable::InterfaceDown)
            }
        }
    }

    /// Whether `ip` is nowhere on this host, nor on its way there.
    pub(super) fn is_absent(&self, ip: IpAddr) -> bool {
        !self.is_asked(ip) && self.holders(ip).next().is_none()
    }

    /// Whether the kernel owes an answer about `ip`.
    pub(super) fn is_asked(&self, ip: IpAddr) -> bool {
        let asked = self.asked.range(Address::first(ip)..).next();
        asked.is_some_and(|(address, _)| address.ip == ip)
    }

    /// Where `ip` is bound and not about to go, and by whom.
    pub(super) fn lasting(&self, ip: IpAddr) -> impl Iterator<Item = (&Address, &AddressFact)> {
        self.holders(ip).filter(|(address, _)| self.asked.get(*address) != Some(&Asked::Unbind))
    }

    /// Where `ip` is bound, and by whom.
    pub fn holders(&self, ip: IpAddr) -> impl Iterator<Item = (&Address, &AddressFact)> {
        self.addresses.range(Address::first(ip)..).take_while(move |(address, _)| address.ip == ip)
    }

    /// The addresses that are ours to remove.
    pub fn ours(&self) -> impl Iterator<Item = &Address> {
        self.addresses.iter().filter(|(_, held)| held.owner == Owner::Us).map(|(address, _)| address)
    }

    /// Those of them that are `ip`.
    pub(super) fn ours_of(&self, ip: IpAddr) -> impl Iterator<Item = &Address> {
        self.holders(ip).filter(|(_, held)| held.owner == Owner::Us).map(|(address, _)| address)
    }

    /// Whether no address of ours is on the host, nor on its way there.
    pub(super) fn is_clean(&self) -> bool {
        self.addresses_known && self.asked.is_empty() && self.ours().next().is_none()
    }

    /// Whether `ip` needs no binding on `interface`: it is there, ours or not, or someone else's serves elsewhere.
    pub(super) fn is_there(&self, ip: IpAddr, interface: &str) -> bool {
        let index = self.links.index_of(interface);
        self.lasting(ip).any(|(address, held)| match held.owner {
            Owner::Us => index.is_some_and(|index| *address == Address::host(ip, index)),
            Owner::Other => Some(address.index) == index || self.unusable(address, held).is_none(),
        })
    }

    /// Why `ip` cannot be put on `interface`, if something is known to be in its way.
    pub fn obstacle(&self, ip: IpAddr, interface: &str) -> Option<String> {
        match self.links.index_of(interface) {
            None if self.addresses_known => Some(format!("there is no interface {interface:?}")),
            None => None,
            Some(index) => self.address_errors.get(&Address::host(ip, index)).map(|(error, _)| error.clone()),
        }
    }

    /// The name to show for the interface of an address: `wanted`, if it is called that among others.
    pub fn shown_name(&self, address: &Address, wanted: &str) -> String {
        if self.links.index_of(wanted) == Some(address.index) {
            wanted.to_owned()
        } else {
            self.links.name_of(address.index)
        }
    }

    /// An address for people.
    pub fn place(&self, address: &Address) -> Place {
        Place { ip: address.ip, interface: self.links.name_of(address.index) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: &str, altnames: &[&str]) -> Link {
        let altnames = altnames.iter().map(|name| (*name).to_owned()).collect();
        Link { name: name.to_owned(), altnames, up: true }
    }

    #[test]
    fn an_interface_is_found_by_the_names_that_it_has_now() {
        let mut links = Links::default();
        links.insert(2, link("eth0", &["enp1s0"]));
        assert_eq!((links.index_of("eth0"), links.index_of("enp1s0")), (Some(2), Some(2)));
        // The kernel says of two interfaces that change places only what each is called in the end.
        links.insert(3, link("eth0", &[]));
        links.insert(2, link("eth1", &["enp1s0"]));
        assert_eq!((links.index_of("eth0"), links.index_of("eth1")), (Some(3), Some(2)));
        links.insert(2, link("eth1", &[]));
        assert_eq!(links.index_of("enp1s0"), None);
        links.remove(3);
        assert_eq!(
            (links.index_of("eth0"), links.name_of(3), links.name_of(2)),
            (None, "#3".into(), "eth1".into())
        );
    }
}
