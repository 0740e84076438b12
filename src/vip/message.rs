//! Our addresses as netlink messages, and what such a message says.

use std::net::IpAddr;

use nix::errno::Errno;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressFlags, AddressMessage, AddressProtocol, AddressScope, CacheInfo,
};

use crate::engine::Owner;

/// The address protocol (IFA_PROTO) that marks an address as put there by vipcast: ASCII `V`.
const PROTOCOL: AddressProtocol = AddressProtocol::Other(86);
/// A lifetime without end.
const FOREVER: u32 = u32::MAX;

pub(super) fn host_length(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

/// A host address that the host itself never picks as a source: IPv4 by its scope, IPv6 because it is deprecated from
/// the start. No duplicate address detection: every node of the rack has this address, and that is the point.
pub(super) fn ours(index: u32, ip: IpAddr) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = if ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.prefix_len = host_length(ip);
    message.header.index = index;
    message.header.scope = if ip.is_ipv4() { AddressScope::Host } else { AddressScope::Universe };
    message.attributes = vec![
        AddressAttribute::Local(ip),
        AddressAttribute::Address(ip),
        AddressAttribute::Protocol(PROTOCOL),
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

/// The address that a message is about, and whose it is.
pub(super) fn parse(message: &AddressMessage) -> Option<(IpAddr, Owner)> {
    let (mut local, mut address, mut owner) = (None, None, Owner::Other);
    for attribute in &message.attributes {
        match attribute {
            // On IPv4 this is the host's own; `Address` would be the far end of a point-to-point link.
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Address(ip) => address = Some(*ip),
            AddressAttribute::Protocol(protocol) if *protocol == PROTOCOL => owner = Owner::Us,
            _other => {}
        }
    }
    Some((local.or(address)?, owner))
}

/// The kernel's error number, if it was the kernel who refused.
pub(super) fn errno(error: &rtnetlink::Error) -> Option<Errno> {
    match error {
        rtnetlink::Error::NetlinkError(message) => Some(Errno::from_raw(-message.raw_code())),
        _other => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_we_make_we_recognise_and_nothing_else() {
        for ip in ["192.0.2.10", "2001:db8::10"] {
            let ip: IpAddr = ip.parse().unwrap();
            let mut message = ours(1, ip);
            assert_eq!(parse(&message), Some((ip, Owner::Us)));
            message.attributes.retain(|attribute| !matches!(attribute, AddressAttribute::Protocol(_)));
            assert_eq!(parse(&message), Some((ip, Owner::Other)));
            message.attributes.clear();
            assert_eq!(parse(&message), None);
        }
    }

    #[test]
    fn the_host_never_picks_a_vip_as_its_source() {
        assert_eq!(ours(1, "192.0.2.10".parse().unwrap()).header.scope, AddressScope::Host);
        let v6 = ours(1, "2001:db8::10".parse().unwrap());
        let preferred = v6.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::CacheInfo(lifetime) => Some((lifetime.ifa_preferred, lifetime.ifa_valid)),
            _other => None,
        });
        assert_eq!(preferred, Some((0, u32::MAX)));
        assert!(v6.attributes.contains(&AddressAttribute::Flags(AddressFlags::Nodad)));
    }
}
