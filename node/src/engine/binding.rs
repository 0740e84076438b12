//! Bindings: the address on an interface, or the local route, that carries a VIP on this host. They come only from the
//! kernel.
//!
//! ```text
//!  Address   192.0.2.10/32 on lo             any program sees it: `ip addr`, bind(2), source address selection
//!  Route     local 192.0.2.0/24 dev lo       packets are delivered here; a whole prefix costs as much as one address
//! ```
//!
//! With either the kernel delivers packets to the VIP, so either is enough to announce it, and a service changes from
//! one to the other by having both for a moment. The kernel's own route for every address is part of the address, and
//! not a binding.

use std::cmp::Ordering;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::facts::{Asked, Facts};
use crate::model::{Carrier, Service};
use crate::vip::Vip;

/// The metric of our local routes. The kernel's own have none, and those of `ip route add` have none or 1024: a local
/// route of another program to a VIP stays beside ours.
pub const ROUTE_METRIC: u32 = 86;

/// An address or a local route that makes a VIP local. Its fields are those by which the kernel distinguishes two: the
/// same IP address may be on one interface twice, with different prefix lengths or far ends. An interface is identified
/// by its index, because its name may change, and belong to another interface a moment later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The address; of a wider prefix the first one.
    pub ip: IpAddr,
    /// The index of its interface.
    pub index: u32,
    /// Address or route.
    #[serde(flatten)]
    pub kind: Kind,
}

/// The kind of a [`Binding`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Kind {
    /// A route of type local in the table local.
    Route {
        /// The length of its prefix.
        length: u8,
        /// Its metric.
        metric: u32,
    },
    /// An address.
    Address {
        /// The prefix length.
        length: u8,
        /// The other end of a point-to-point address.
        far: Option<IpAddr>,
    },
}

impl Ord for Binding {
    /// The order field by field; numbers are compared faster than their bytes.
    fn cmp(&self, other: &Self) -> Ordering {
        let ip = match (self.ip, other.ip) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => ours.to_bits().cmp(&theirs.to_bits()),
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => ours.to_bits().cmp(&theirs.to_bits()),
            (IpAddr::V4(_), IpAddr::V6(_)) => Ordering::Less,
            (IpAddr::V6(_), IpAddr::V4(_)) => Ordering::Greater,
        };
        ip.then_with(|| (self.index, self.kind).cmp(&(other.index, other.kind)))
    }
}

impl PartialOrd for Binding {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Binding {
    /// The address as we put it on an interface: as a host address.
    pub fn host(ip: IpAddr, index: u32) -> Self {
        let length = if ip.is_ipv4() { 32 } else { 128 };
        Self { ip, index, kind: Kind::Address { length, far: None } }
    }

    /// The local route as we make it.
    pub fn route(vip: Vip, index: u32) -> Self {
        let length = vip.prefix().prefix_len();
        Self { ip: vip.ip(), index, kind: Kind::Route { length, metric: ROUTE_METRIC } }
    }

    /// Our binding of a VIP.
    pub fn ours(vip: Vip, carrier: Carrier, index: u32) -> Self {
        match carrier {
            Carrier::Address => Self::host(vip.ip(), index),
            Carrier::Route => Self::route(vip, index),
        }
    }

    /// The prefix that it makes local: one address, with any prefix length; or the whole prefix of a route.
    pub fn vip(&self) -> Vip {
        match self.kind {
            Kind::Address { .. } => self.ip.into(),
            // The kernel never has a prefix longer than the address.
            Kind::Route { length, .. } => IpNet::new(self.ip, length).map_or(self.ip.into(), Vip::from),
        }
    }

    /// Whether it is sufficient for `carrier`: an address is always sufficient, a route only for a route.
    fn serves(&self, carrier: Carrier) -> bool {
        match self.kind {
            Kind::Address { .. } => true,
            Kind::Route { .. } => carrier == Carrier::Route,
        }
    }

    /// The binding for messages, on the interface of this name.
    pub(super) fn place(&self, interface: String) -> Place {
        let route = matches!(self.kind, Kind::Route { .. }).then(|| self.vip());
        Place { ip: self.ip, interface, route }
    }

    /// The first possible binding of `ip`, in the order of bindings.
    pub fn first(ip: IpAddr) -> Self {
        Self { ip, index: 0, kind: Kind::Route { length: 0, metric: 0 } }
    }
}

/// The facts about a present binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BindingFact {
    /// The program that added it.
    pub owner: Owner,
    /// Whether the kernel allows its use.
    pub state: AddressState,
}

impl From<Owner> for BindingFact {
    fn from(owner: Owner) -> Self {
        Self { owner, state: AddressState::Usable }
    }
}

/// The program that added a binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// We, or a predecessor that crashed: the binding carries our protocol number (IFA_PROTO, rtm_protocol), and only
    /// one daemon runs in a network namespace.
    Us,
    /// Another program. Used if it is a VIP, never removed.
    Other,
}

/// The state of an address by its flags. Deprecated is usable: the host only prefers other source addresses, which is
/// right for a VIP. Optimistic is also usable (RFC 4429).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressState {
    /// The kernel answers for it.
    Usable,
    /// Duplicate address detection is running (RFC 4862).
    Tentative,
    /// Duplicate address detection has found another host with it.
    Duplicate,
}

/// The reason why an address on the host is unusable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unusable {
    /// Duplicate address detection has not ended.
    Tentative,
    /// Duplicate address detection has failed.
    Duplicate,
    /// The interface is administratively down. A missing carrier does not matter: packets that come in by another
    /// interface are delivered.
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

/// A binding and the name of its interface, for messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The address; of a wider prefix the first one.
    pub ip: IpAddr,
    /// The interface's name.
    pub interface: String,
    /// The prefix of a local route; `None`: it is an address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<Vip>,
}

/// The desired binding of a VIP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// Address or route.
    pub carrier: Carrier,
    /// The name of its interface.
    pub interface: &'a str,
}

impl<'a> Wanted<'a> {
    /// The desired binding of a service's VIP; `None`: it is announced and never bound.
    pub fn by(service: &'a Service, vip: &Vip) -> Option<Self> {
        service.carrier(vip).map(|carrier| Self { carrier, interface: &service.interface })
    }

    /// The binding with the current index of the interface; `None`: there is no such interface.
    pub(super) fn of(self, vip: Vip, facts: &Facts) -> Option<Binding> {
        Some(Binding::ours(vip, self.carrier, facts.links.index_of(self.interface)?))
    }
}

impl Facts {
    /// Whether `vip` is on this host and usable, and is not about to go; on any interface, added by any program.
    pub fn is_bound(&self, vip: Vip) -> bool {
        self.lasting(vip).any(|(binding, held)| self.unusable(binding, held).is_none())
    }

    /// The reason why a present binding is unusable.
    pub fn unusable(&self, binding: &Binding, held: &BindingFact) -> Option<Unusable> {
        match held.state {
            AddressState::Tentative => Some(Unusable::Tentative),
            AddressState::Duplicate => Some(Unusable::Duplicate),
            AddressState::Usable => {
                let up = self.links.get(binding.index).is_some_and(|link| link.up);
                (!up).then_some(Unusable::InterfaceDown)
            }
        }
    }

    /// Whether `vip` has no binding on this host, and none is being added.
    pub(super) fn is_absent(&self, vip: Vip) -> bool {
        !self.is_asked(vip) && self.holders(vip).next().is_none()
    }

    /// Whether a request to the kernel about `vip` is unanswered.
    pub(super) fn is_asked(&self, vip: Vip) -> bool {
        let of_ip = self.asked.range(Binding::first(vip.ip())..);
        of_ip.take_while(|(asked, _)| asked.ip == vip.ip()).any(|(asked, _)| asked.vip() == vip)
    }

    /// The bindings of `vip` that are not about to go.
    pub(super) fn lasting(&self, vip: Vip) -> impl Iterator<Item = (&Binding, &BindingFact)> {
        self.holders(vip).filter(|(binding, _)| self.asked.get(*binding) != Some(&Asked::Unbind))
    }

    /// The bindings of `vip`.
    pub fn holders(&self, vip: Vip) -> impl Iterator<Item = (&Binding, &BindingFact)> {
        self.bindings.of(vip)
    }

    /// Our own bindings.
    pub fn ours(&self) -> impl Iterator<Item = &Binding> {
        self.bindings.iter().filter(|(_, held)| held.owner == Owner::Us).map(|(binding, _)| binding)
    }

    /// Our own bindings of `vip`.
    pub(super) fn ours_of(&self, vip: Vip) -> impl Iterator<Item = &Binding> {
        self.holders(vip).filter(|(_, held)| held.owner == Owner::Us).map(|(binding, _)| binding)
    }

    /// Whether none of our bindings is on the host, or being added.
    pub(super) fn is_clean(&self) -> bool {
        self.is_listed && self.asked.is_empty() && self.ours().next().is_none()
    }

    /// Whether the desired binding of `vip` is present, or another program's binding is sufficient.
    pub(super) fn is_there(&self, vip: Vip, wanted: Wanted<'_>) -> bool {
        let ours = wanted.of(vip, self);
        let index = ours.map(|ours| ours.index);
        self.lasting(vip).any(|(binding, held)| match held.owner {
            Owner::Us => ours == Some(*binding),
            Owner::Other => {
                binding.serves(wanted.carrier)
                    && (index == Some(binding.index) || self.unusable(binding, held).is_none())
            }
        })
    }

    /// The known reason why `vip` cannot be bound as desired.
    pub fn obstacle(&self, vip: Vip, wanted: Wanted<'_>) -> Option<String> {
        match wanted.of(vip, self) {
            None if self.is_listed => Some(format!("there is no interface {:?}", wanted.interface)),
            None => None,
            Some(ours) => self.binding_errors.get(&ours).map(|(error, _)| error.clone()),
        }
    }

    /// The displayed name of a binding's interface: `wanted`, if that is one of its names.
    pub fn shown_name(&self, binding: &Binding, wanted: &str) -> String {
        if self.links.index_of(wanted) == Some(binding.index) {
            wanted.to_owned()
        } else {
            self.links.name_of(binding.index)
        }
    }

    /// A binding for messages.
    pub fn place(&self, binding: &Binding) -> Place {
        binding.place(self.links.name_of(binding.index))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Bindings;
    use super::*;

    #[test]
    fn a_prefix_and_its_first_address_are_two_vips_and_an_address_is_one_whatever_its_length() {
        let (host, wide): (Vip, Vip) = ("192.0.2.0".parse().unwrap(), "192.0.2.0/24".parse().unwrap());
        let address =
            Binding { kind: Kind::Address { length: 24, far: None }, ..Binding::host(host.ip(), 2) };
        let all = [Binding::route(wide, 1), Binding::route(host, 1), Binding::host(host.ip(), 1), address];
        assert_eq!(all.map(|binding| binding.vip()), [wide, host, host, host]);
        let mut bindings = Bindings::from(all.map(|binding| (binding, Owner::Us.into())));
        let found = |bindings: &Bindings, vip| bindings.of(vip).map(|(known, _)| *known).collect::<Vec<_>>();
        assert_eq!((found(&bindings, wide), found(&bindings, host)), (vec![all[0]], all[1..].to_vec()));
        assert_eq!(bindings.remove(&all[2]), Some(Owner::Us.into()));
        assert_eq!((bindings.remove(&all[2]), bindings.get(&all[2])), (None, None));
        assert_eq!(found(&bindings, host), [all[1], all[3]]);
        assert!([all[0], all[1], all[3]].iter().all(|binding| bindings.remove(binding).is_some()));
        assert_eq!(bindings, Bindings::default());
        assert!(all.iter().all(|binding| *binding > Binding::first(host.ip())));
    }

    #[test]
    fn a_note_of_addresses_is_read_as_it_was_ever_written() {
        let written = r#"{"ip":"192.0.2.10","index":1,"length":32,"far":null}"#;
        let address = Binding::host("192.0.2.10".parse().unwrap(), 1);
        assert_eq!(serde_json::to_string(&address).unwrap(), written);
        let route = Binding::route("2001:db8::/64".parse().unwrap(), 1);
        for binding in [address, route] {
            let json = serde_json::to_string(&binding).unwrap();
            assert_eq!(serde_json::from_str::<Binding>(&json).unwrap(), binding, "{json}");
        }
    }
}
