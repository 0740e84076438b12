//! Netlink messages of local routes: our requests, and the kernel's messages.
//!
//! With a route of type local in the table local the host answers for the whole prefix, even if no interface has the
//! address. The kernel makes one for every address; those are ignored here, because the address itself is reported.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::route::{RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType};
use socket2::SockFilter;
use vipcast_node::engine::{Binding, BindingFact, Kind, Owner};

use super::message::{PROTOCOL, attributes, ip, u32_of};

/// linux/rtnetlink.h.
mod kernel {
    pub(super) const RTM_NEWROUTE: u16 = 24;
    pub(super) const RTM_DELROUTE: u16 = 25;

    pub(super) const RT_TABLE_LOCAL: u8 = 255;
    pub(super) const RTN_LOCAL: u8 = 2;
    pub(super) const RTPROT_KERNEL: u8 = 2;
    pub(super) const RTM_F_CLONED: u32 = 0x200;

    pub(super) const RTA_DST: u16 = 1;
    pub(super) const RTA_OIF: u16 = 4;
    pub(super) const RTA_PRIORITY: u16 = 6;

    pub(super) const AF_INET: u8 = 2;
    pub(super) const AF_INET6: u8 = 10;
}

/// A local route without a preferred source: packets are sent from a VIP only if a program binds to it or answers.
pub(super) fn ours(ip: IpAddr, index: u32, length: u8, metric: u32) -> RouteMessage {
    let mut message = of(if ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 });
    message.header.destination_prefix_length = length;
    message.header.protocol = RouteProtocol::Other(PROTOCOL);
    message.header.scope = if ip.is_ipv4() { RouteScope::Host } else { RouteScope::Universe };
    message.attributes = vec![
        RouteAttribute::Destination(ip.into()),
        RouteAttribute::Oif(index),
        RouteAttribute::Priority(metric),
    ];
    message
}

/// The requests for all local routes, one for each family. Kernels before 4.20 answer with all routes.
pub(super) fn all() -> [RouteMessage; 2] {
    [AddressFamily::Inet, AddressFamily::Inet6].map(of)
}

fn of(family: AddressFamily) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family;
    message.header.table = kernel::RT_TABLE_LOCAL;
    message.header.kind = RouteType::Local;
    message
}

/// `struct rtmsg` and its attributes; `None`: another kind of route, or one that belongs to an address.
pub(super) fn read(body: &[u8]) -> Option<(Binding, BindingFact)> {
    let (&[family, length, _, _, table, protocol, _scope, kind, f0, f1, f2, f3], rest) =
        body.split_first_chunk()?;
    let cloned = u32::from_ne_bytes([f0, f1, f2, f3]) & kernel::RTM_F_CLONED != 0;
    if (table, kind) != (kernel::RT_TABLE_LOCAL, kernel::RTN_LOCAL)
        || protocol == kernel::RTPROT_KERNEL
        || cloned
    {
        return None;
    }
    // The default route has no destination attribute.
    let mut destination = match family {
        kernel::AF_INET => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        kernel::AF_INET6 => Ipv6Addr::UNSPECIFIED.into(),
        _other => return None,
    };
    let (mut index, mut metric) = (None, 0);
    for attribute in attributes(rest) {
        match attribute.kind() {
            kernel::RTA_DST => destination = ip(attribute.value())?,
            kernel::RTA_OIF => index = u32_of(attribute.value()),
            kernel::RTA_PRIORITY => metric = u32_of(attribute.value())?,
            _other => {}
        }
    }
    let owner = if protocol == PROTOCOL { Owner::Us } else { Owner::Other };
    Some((Binding { ip: destination, index: index?, kind: Kind::Route { length, metric } }, owner.into()))
}

/// A packet filter for the socket of route notifications: a routing daemon may have a million routes, and change
/// thousands at once. Messages that [`read`] ignores are not even queued.
pub(super) fn filter() -> [SockFilter; 11] {
    /// Offsets: `nlmsg_type`; `rtm_table`, `rtm_protocol` and `rtm_type` behind struct nlmsghdr.
    const TYPE: u32 = 4;
    const RTM: u32 = 16;
    /// `ldh [k]`, `ldb [k]`, `jeq #k`, `ret #k` of the classic packet filter.
    const LOAD_TWO: u16 = 0x28;
    const LOAD_ONE: u16 = 0x30;
    const IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    // The filter loads in network order, and netlink has the host's order.
    let kind = |kind: u16| u32::from(kind.to_be());
    [
        SockFilter::new(LOAD_TWO, 0, 0, TYPE),
        SockFilter::new(IF_EQUAL, 1, 0, kind(kernel::RTM_NEWROUTE)),
        SockFilter::new(IF_EQUAL, 0, 6, kind(kernel::RTM_DELROUTE)),
        SockFilter::new(LOAD_ONE, 0, 0, RTM + 4),
        SockFilter::new(IF_EQUAL, 0, 5, kernel::RT_TABLE_LOCAL.into()),
        SockFilter::new(LOAD_ONE, 0, 0, RTM + 7),
        SockFilter::new(IF_EQUAL, 0, 3, kernel::RTN_LOCAL.into()),
        SockFilter::new(LOAD_ONE, 0, 0, RTM + 5),
        SockFilter::new(IF_EQUAL, 1, 0, kernel::RTPROT_KERNEL.into()),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

#[cfg(test)]
mod tests {
    use rtnetlink::packet_core::Emitable;

    use super::*;

    fn bytes(message: &RouteMessage) -> Vec<u8> {
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        bytes
    }

    #[test]
    fn what_we_make_we_recognise_and_what_the_kernel_makes_of_an_address_is_none() {
        for vip in ["192.0.2.10", "192.0.2.0/24", "2001:db8::10", "2001:db8::/64"] {
            let binding = Binding::route(vip.parse().unwrap(), 1);
            let Kind::Route { length, metric } = binding.kind else { unreachable!("it is a route") };
            let mut message = ours(binding.ip, 1, length, metric);
            assert_eq!(read(&bytes(&message)), Some((binding, Owner::Us.into())));
            message.header.protocol = RouteProtocol::Static;
            assert_eq!(read(&bytes(&message)), Some((binding, Owner::Other.into())));
            message.attributes.retain(|attribute| !matches!(attribute, RouteAttribute::Priority(_)));
            let plain = Binding { kind: Kind::Route { length, metric: 0 }, ..binding };
            assert_eq!(read(&bytes(&message)), Some((plain, Owner::Other.into())));
            message.header.protocol = RouteProtocol::Kernel;
            assert_eq!(read(&bytes(&message)), None);
        }
    }

    #[test]
    fn another_table_another_type_and_a_cached_route_are_no_local_routes() {
        let local = ours("192.0.2.10".parse().unwrap(), 1, 32, 86);
        assert!(read(&bytes(&local)).is_some());
        let mut main = local.clone();
        main.header.table = 254;
        let mut unicast = local.clone();
        unicast.header.kind = RouteType::Unicast;
        let mut body = bytes(&local);
        body[8..12].copy_from_slice(&kernel::RTM_F_CLONED.to_ne_bytes());
        assert_eq!([bytes(&main), bytes(&unicast), body].map(|body| read(&body)), [None; 3]);
    }

    #[test]
    fn a_route_to_everything_names_no_destination() {
        let mut message = ours("0.0.0.0".parse().unwrap(), 1, 0, 86);
        message.attributes.remove(0);
        let everything = Binding::route("0.0.0.0/0".parse().unwrap(), 1);
        assert_eq!(read(&bytes(&message)), Some((everything, Owner::Us.into())));
    }
}
