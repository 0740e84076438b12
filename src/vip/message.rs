//! Netlink messages: our requests, and the kernel's messages about interfaces, addresses and local routes (`route`).
//!
//! Only the needed attributes of a message are decoded, so that unknown or new attributes do no harm.

use std::net::IpAddr;

use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST};
use rtnetlink::packet_core::{NetlinkMessage, NlaBuffer, NlasIterator};
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressFlags, AddressMessage, AddressProtocol, AddressScope, CacheInfo,
};
use rtnetlink::packet_route::link::{LinkAttribute, LinkExtentMask, LinkMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use vipcast_node::engine::{AddressState, Asked, Binding, BindingFact, Kind, Link, Owner};

use super::route;

/// The protocol number (IFA_PROTO, rtm_protocol) that marks an address or a route of vipcast: ASCII `V`.
pub(super) const PROTOCOL: u8 = 86;
/// A lifetime without end.
const FOREVER: u32 = u32::MAX;

/// linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h.
mod kernel {
    pub(super) const RTM_NEWLINK: u16 = 16;
    pub(super) const RTM_DELLINK: u16 = 17;
    pub(super) const RTM_NEWADDR: u16 = 20;
    pub(super) const RTM_DELADDR: u16 = 21;
    pub(super) const RTM_NEWROUTE: u16 = 24;
    pub(super) const RTM_DELROUTE: u16 = 25;

    pub(super) const IFLA_IFNAME: u16 = 3;
    pub(super) const IFLA_PROP_LIST: u16 = 52;
    pub(super) const IFLA_ALT_IFNAME: u16 = 53;
    pub(super) const IFF_UP: u32 = 1;

    pub(super) const IFA_ADDRESS: u16 = 1;
    pub(super) const IFA_LOCAL: u16 = 2;
    pub(super) const IFA_FLAGS: u16 = 8;
    pub(super) const IFA_PROTO: u16 = 11;
    pub(super) const IFA_F_OPTIMISTIC: u32 = 0x04;
    pub(super) const IFA_F_DADFAILED: u32 = 0x08;
    pub(super) const IFA_F_TENTATIVE: u32 = 0x40;
}

/// A message of the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Notice {
    /// An interface was added or has changed (`Some`), or is gone.
    Link(u32, Option<Link>),
    /// An address or a local route was added or has changed.
    Added(Binding, BindingFact),
    /// An address or a local route is gone.
    Removed(Binding),
}

/// A host address that the host itself never picks as a source: IPv4 by its scope, IPv6 because it is deprecated from
/// the start. No duplicate address detection, because every node of the rack has this address on purpose.
fn ours(ip: IpAddr, index: u32, length: u8, far: Option<IpAddr>) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = if ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.prefix_len = length;
    message.header.index = index;
    message.header.scope = if ip.is_ipv4() { AddressScope::Host } else { AddressScope::Universe };
    message.attributes = vec![
        AddressAttribute::Local(ip),
        AddressAttribute::Address(far.unwrap_or(ip)),
        AddressAttribute::Protocol(AddressProtocol::Other(PROTOCOL)),
    ];
    if ip.is_ipv6() {
        let mut lifetime = CacheInfo::default();
        lifetime.ifa_preferred = 0;
        lifetime.ifa_valid = FOREVER;
        message.attributes.push(AddressAttribute::CacheInfo(lifetime));
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
    }
    message
}

/// The request to add or remove a binding.
pub(super) fn change(binding: &Binding, asked: Asked) -> NetlinkMessage<RouteNetlinkMessage> {
    let Binding { ip, index, kind } = *binding;
    let message = match (kind, asked) {
        (Kind::Address { length, far }, Asked::Bind) => {
            RouteNetlinkMessage::NewAddress(ours(ip, index, length, far))
        }
        (Kind::Address { length, far }, Asked::Unbind) => {
            RouteNetlinkMessage::DelAddress(ours(ip, index, length, far))
        }
        (Kind::Route { length, metric }, Asked::Bind) => {
            RouteNetlinkMessage::NewRoute(route::ours(ip, index, length, metric))
        }
        (Kind::Route { length, metric }, Asked::Unbind) => {
            RouteNetlinkMessage::DelRoute(route::ours(ip, index, length, metric))
        }
    };
    let flags = match asked {
        Asked::Bind => NLM_F_CREATE | NLM_F_EXCL,
        Asked::Unbind => 0,
    };
    let mut message = NetlinkMessage::from(message);
    message.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    message
}

/// The requests for all interfaces, all addresses and all local routes.
pub(super) fn listings() -> [NetlinkMessage<RouteNetlinkMessage>; 4] {
    let mut links = LinkMessage::default();
    links.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    let [v4, v6] = route::all().map(RouteNetlinkMessage::GetRoute);
    let addresses = RouteNetlinkMessage::GetAddress(AddressMessage::default());
    [RouteNetlinkMessage::GetLink(links), addresses, v4, v6].map(|question| {
        let mut message = NetlinkMessage::from(question);
        message.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        message
    })
}

/// Decodes a message of this type; `None` if it is about something else.
pub(super) fn read(kind: u16, body: &[u8]) -> Option<Notice> {
    match kind {
        kernel::RTM_NEWADDR => {
            let (address, fact) = address(body)?;
            Some(Notice::Added(address, fact))
        }
        kernel::RTM_DELADDR => Some(Notice::Removed(address(body)?.0)),
        kernel::RTM_NEWROUTE => {
            let (binding, fact) = route::read(body)?;
            Some(Notice::Added(binding, fact))
        }
        kernel::RTM_DELROUTE => Some(Notice::Removed(route::read(body)?.0)),
        kernel::RTM_NEWLINK => link(body, true),
        kernel::RTM_DELLINK => link(body, false),
        _other => None,
    }
}

/// `struct ifaddrmsg` and its attributes.
fn address(body: &[u8]) -> Option<(Binding, BindingFact)> {
    let (&[_family, length, flags, _scope, i0, i1, i2, i3], rest) = body.split_first_chunk()?;
    let index = u32::from_ne_bytes([i0, i1, i2, i3]);
    let (mut local, mut address, mut protocol, mut flags) = (None, None, 0, u32::from(flags));
    for attribute in attributes(rest) {
        match attribute.kind() {
            kernel::IFA_LOCAL => local = ip(attribute.value()),
            kernel::IFA_ADDRESS => address = ip(attribute.value()),
            // All flags; the header has room for eight.
            kernel::IFA_FLAGS => flags = u32_of(attribute.value())?,
            kernel::IFA_PROTO => protocol = *attribute.value().first()?,
            _other => {}
        }
    }
    // For IPv4, and for IPv6 with a far end, IFA_ADDRESS is the far end.
    let ip = local.or(address)?;
    let far = address.filter(|address| *address != ip);
    let owner = if protocol == PROTOCOL { Owner::Us } else { Owner::Other };
    let tentative = flags & (kernel::IFA_F_TENTATIVE | kernel::IFA_F_OPTIMISTIC);
    let state = if flags & kernel::IFA_F_DADFAILED != 0 {
        AddressState::Duplicate
    } else if tentative == kernel::IFA_F_TENTATIVE {
        AddressState::Tentative
    } else {
        AddressState::Usable
    };
    Some((Binding { ip, index, kind: Kind::Address { length, far } }, BindingFact { owner, state }))
}

/// `struct ifinfomsg` and its attributes.
fn link(body: &[u8], is_there: bool) -> Option<Notice> {
    let (&[family, _, _, _, i0, i1, i2, i3, f0, f1, f2, f3, _, _, _, _], rest) = body.split_first_chunk()?;
    // A bridge reports its ports with messages of its own family: a port that leaves the bridge is not a removed
    // interface.
    if family != 0 {
        return None;
    }
    let index = u32::from_ne_bytes([i0, i1, i2, i3]);
    if !is_there {
        return Some(Notice::Link(index, None));
    }
    let up = u32::from_ne_bytes([f0, f1, f2, f3]) & kernel::IFF_UP != 0;
    let mut link = Link { name: String::new(), altnames: std::collections::BTreeSet::new(), up };
    for attribute in attributes(rest) {
        match attribute.kind() {
            kernel::IFLA_IFNAME => link.name = text(attribute.value()),
            kernel::IFLA_PROP_LIST => {
                let names = attributes(attribute.value()).filter(|a| a.kind() == kernel::IFLA_ALT_IFNAME);
                link.altnames.extend(names.map(|name| text(name.value())));
            }
            _other => {}
        }
    }
    Some(Notice::Link(index, Some(link)))
}

/// The complete attributes.
pub(super) fn attributes(bytes: &[u8]) -> impl Iterator<Item = NlaBuffer<&[u8]>> {
    NlasIterator::new(bytes).map_while(Result::ok)
}

pub(super) fn ip(value: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(value).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(value).map(IpAddr::from)).ok()
}

pub(super) fn u32_of(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_ne_bytes)
}

fn text(value: &[u8]) -> String {
    let text = value.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

#[cfg(test)]
mod tests {
    use rtnetlink::packet_core::Emitable;
    use rtnetlink::packet_route::link::{LinkFlags, Prop};

    use super::*;

    fn bytes(message: &impl Emitable) -> Vec<u8> {
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        bytes
    }

    fn vip(ip: &str) -> Binding {
        Binding::host(ip.parse().unwrap(), 1)
    }

    fn of(binding: &Binding) -> AddressMessage {
        let Kind::Address { length, far } = binding.kind else { unreachable!("it is an address") };
        ours(binding.ip, binding.index, length, far)
    }

    #[test]
    fn what_we_make_we_recognise_and_nothing_else() {
        for address in ["192.0.2.10", "2001:db8::10"].map(vip) {
            let mut message = of(&address);
            let said = |message: &AddressMessage| read(kernel::RTM_NEWADDR, &bytes(message));
            assert_eq!(said(&message), Some(Notice::Added(address, Owner::Us.into())));
            message.attributes.retain(|attribute| !matches!(attribute, AddressAttribute::Protocol(_)));
            assert_eq!(said(&message), Some(Notice::Added(address, Owner::Other.into())));
            message.attributes.clear();
            assert_eq!(said(&message), None);
        }
    }

    #[test]
    fn addresses_differ_by_prefix_length_and_far_end() {
        let mut message = of(&vip("192.0.2.10"));
        message.header.prefix_len = 24;
        let wider = Binding { kind: Kind::Address { length: 24, far: None }, ..vip("192.0.2.10") };
        assert_eq!(read(kernel::RTM_DELADDR, &bytes(&message)), Some(Notice::Removed(wider)));
        let far = Kind::Address { length: 32, far: Some("10.9.9.9".parse().unwrap()) };
        let far = Binding { kind: far, ..vip("192.0.2.10") };
        assert_eq!(read(kernel::RTM_DELADDR, &bytes(&of(&far))), Some(Notice::Removed(far)));
    }

    #[test]
    fn flags_say_whether_an_address_can_be_used() {
        let table = [
            (AddressFlags::empty(), AddressState::Usable),
            (AddressFlags::Permanent | AddressFlags::Deprecated, AddressState::Usable),
            (AddressFlags::Tentative, AddressState::Tentative),
            (AddressFlags::Tentative | AddressFlags::Optimistic, AddressState::Usable),
            (AddressFlags::Tentative | AddressFlags::Dadfailed, AddressState::Duplicate),
            (AddressFlags::Permanent | AddressFlags::Dadfailed, AddressState::Duplicate),
        ];
        for (flags, state) in table {
            let mut message = of(&vip("2001:db8::10"));
            message.attributes.push(AddressAttribute::Flags(flags));
            let fact = BindingFact { owner: Owner::Us, state };
            let said = read(kernel::RTM_NEWADDR, &bytes(&message));
            assert_eq!(said, Some(Notice::Added(vip("2001:db8::10"), fact)), "{flags:?}");
        }
    }

    #[test]
    fn the_host_never_picks_a_vip_as_its_source() {
        assert_eq!(of(&vip("192.0.2.10")).header.scope, AddressScope::Host);
        let v6 = of(&vip("2001:db8::10"));
        let preferred = v6.attributes.iter().find_map(|attribute| {
            let AddressAttribute::CacheInfo(lifetime) = attribute else { return None };
            Some((lifetime.ifa_preferred, lifetime.ifa_valid))
        });
        assert_eq!(preferred, Some((0, u32::MAX)));
        assert!(v6.attributes.contains(&AddressAttribute::Flags(AddressFlags::Nodad)));
    }

    #[test]
    fn an_interface_has_a_name_and_others_and_a_port_that_leaves_its_bridge_is_not_gone() {
        let mut message = LinkMessage::default();
        message.header.index = 7;
        message.header.flags = LinkFlags::Up;
        let long = "a".repeat(127);
        message.attributes = vec![
            LinkAttribute::IfName("eth0".to_owned()),
            LinkAttribute::PropList(vec![
                Prop::AltIfName("enp1s0".to_owned()),
                Prop::AltIfName(long.clone()),
            ]),
        ];
        let altnames = ["enp1s0".to_owned(), long].into();
        let link = Link { name: "eth0".to_owned(), altnames, up: true };
        assert_eq!(read(kernel::RTM_NEWLINK, &bytes(&message)), Some(Notice::Link(7, Some(link))));
        assert_eq!(read(kernel::RTM_DELLINK, &bytes(&message)), Some(Notice::Link(7, None)));
        message.header.interface_family = AddressFamily::Bridge;
        assert_eq!(read(kernel::RTM_DELLINK, &bytes(&message)), None);
    }
}
