//! Addresses, routes, policy rules and listening sockets, from the kernel.

#![expect(clippy::wildcard_enum_match_arm, reason = "the enums of netlink and of errors grow")]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use netlink_packet_sock_diag::{AF_INET, AF_INET6};
use rtnetlink::packet_core::NLM_F_DUMP;
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteFlags, RouteMessage};
use rtnetlink::packet_route::rule::{RuleAttribute, RuleMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::sys::protocols::{NETLINK_ROUTE, NETLINK_SOCK_DIAG};
use vipcast_node::engine::{Binding, BindingFact, Kind, Links, Listing, Owner};
use vipcast_node::model::Config;
use vipcast_node::names::PeerName;

use crate::check::listening::{self, Listening};
use crate::check::netlink::ask;
use crate::check::target::Transport;
use crate::doctor::gathered::{Address, Network, Socket, Way};

/// An address that only the default route leads to: nobody has routes into 240.0.0.0/4 (RFC 1112 §4).
const NOWHERE: Ipv4Addr = Ipv4Addr::new(240, 0, 0, 1);

/// The way to each peer.
type Ways = BTreeMap<PeerName, Result<Way, String>>;

/// The network of the host, as far as the configuration concerns it. Blocks.
pub(super) fn read(config: &Config, listing: &Listing) -> io::Result<(Network, Ways)> {
    let links = &listing.links;
    let called = config.services.values().map(|service| service.interface.as_str());
    let aliases = called.filter_map(|name| {
        let real = links.name_of(links.index_of(name)?);
        (real != name).then(|| (name.to_owned(), real))
    });
    let network = Network {
        addresses: listing
            .bindings
            .iter()
            .filter_map(|(binding, fact)| address(links, binding, fact))
            .collect(),
        aliases: aliases.collect(),
        default_route: default_route(links)?,
        rules: rules()?,
    };
    let ways = config.peers.iter().filter_map(|(name, peer)| {
        let index = peer.interface.as_ref().and_then(|interface| links.index_of(interface));
        Some((name.clone(), way(links, peer.address.ip()?, index)))
    });
    Ok((network, ways.collect()))
}

fn address(links: &Links, binding: &Binding, fact: &BindingFact) -> Option<Address> {
    let (length, is_route) = match binding.kind {
        Kind::Address { length, .. } => (length, false),
        Kind::Route { length, .. } => (length, true),
    };
    let prefix = IpNet::new(binding.ip, length).ok()?;
    let is_ours = fact.owner == Owner::Us;
    Some(Address { prefix, interface: links.name_of(binding.index), is_ours, is_route })
}

/// The route that leads to an address, by this interface or any.
fn route(to: IpAddr, index: Option<u32>, flags: RouteFlags) -> io::Result<Option<RouteMessage>> {
    let mut message = RouteMessage::default();
    let (family, length) = if to.is_ipv4() { (AddressFamily::Inet, 32) } else { (AddressFamily::Inet6, 128) };
    message.header.address_family = family;
    message.header.destination_prefix_length = length;
    message.header.flags = flags;
    message.attributes = vec![RouteAttribute::Destination(to.into())];
    message.attributes.extend(index.map(RouteAttribute::Oif));
    let pick = |answer| if let RouteNetlinkMessage::NewRoute(route) = answer { Some(route) } else { None };
    let (found, _) = ask(NETLINK_ROUTE, RouteNetlinkMessage::GetRoute(message), 0, pick)?;
    Ok(found.into_iter().next())
}

fn way(links: &Links, to: IpAddr, index: Option<u32>) -> Result<Way, String> {
    let found =
        route(to, index, RouteFlags::empty()).map_err(|error| vipcast_bgp::net::words::io_error(&error))?;
    let attributes = found.map(|route| route.attributes).unwrap_or_default();
    let interface = interfaces(links, &attributes).into_iter().next();
    let gateway = attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(ip)) => Some(IpAddr::V4(*ip)),
        RouteAttribute::Gateway(RouteAddress::Inet6(ip)) => Some(IpAddr::V6(*ip)),
        _other => None,
    });
    interface
        .map(|interface| Way { interface, gateway })
        .ok_or_else(|| "the route has no interface".to_owned())
}

/// The interfaces of the default route of IPv4.
fn default_route(links: &Links) -> io::Result<BTreeSet<String>> {
    match route(NOWHERE.into(), None, RouteFlags::FibMatch) {
        Ok(Some(found)) if found.header.destination_prefix_length == 0 => {
            Ok(interfaces(links, &found.attributes))
        }
        Ok(_) => Ok(BTreeSet::new()),
        Err(error) => match error.kind() {
            // The kernel before 4.13 does not know the question.
            io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::InvalidInput => Ok(BTreeSet::new()),
            _other => Err(error),
        },
    }
}

fn interfaces(links: &Links, attributes: &[RouteAttribute]) -> BTreeSet<String> {
    let mut indices = BTreeSet::new();
    for attribute in attributes {
        match attribute {
            RouteAttribute::Oif(index) => {
                indices.insert(*index);
            }
            RouteAttribute::MultiPath(hops) => indices.extend(hops.iter().map(|hop| hop.interface_index)),
            _other => {}
        }
    }
    indices.into_iter().map(|index| links.name_of(index)).collect()
}

/// The sources of policy rules.
fn rules() -> io::Result<BTreeSet<IpNet>> {
    let mut sources = BTreeSet::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut message = RuleMessage::default();
        message.header.family = family;
        let pick =
            |answer| if let RouteNetlinkMessage::NewRule(rule) = answer { source(&rule) } else { None };
        match ask(NETLINK_ROUTE, RouteNetlinkMessage::GetRule(message), NLM_F_DUMP, pick) {
            Ok((found, _)) => sources.extend(found),
            // A kernel without policy routing.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sources)
}

fn source(rule: &RuleMessage) -> Option<IpNet> {
    let source = rule.attributes.iter().find_map(|attribute| match attribute {
        RuleAttribute::Source(ip) => Some(*ip),
        _other => None,
    });
    IpNet::new(source?, rule.header.src_len).ok()
}

/// All listening sockets. Blocks.
pub(super) fn sockets() -> io::Result<Vec<Socket>> {
    let mut sockets = Vec::new();
    for transport in [Transport::Tcp, Transport::Udp] {
        for family in [AF_INET, AF_INET6] {
            let pick = |message| {
                let socket = listening::answer(message)?;
                let port = socket.header.socket_id.source_port;
                Some(Socket {
                    transport,
                    port,
                    listening: Listening::of(&socket),
                    inode: socket.header.inode,
                })
            };
            let (found, _) =
                ask(NETLINK_SOCK_DIAG, listening::request(transport, family, None), NLM_F_DUMP, pick)?;
            sockets.extend(found);
        }
    }
    Ok(sockets)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn the_kernel_tells_addresses_ways_rules_and_sockets() {
        let listing = crate::vip::listing().unwrap();
        let config = crate::config::parse(
            "t",
            "local_as: 1\npeers: {us: {address: 127.0.0.1, peer_as: 2}}\nservices: {}\n",
        );
        let (network, ways) = read(&config.unwrap().config, &listing).unwrap();
        let lo = network.addresses.iter().find(|address| address.prefix.addr().is_loopback()).unwrap();
        assert_eq!((lo.interface.as_str(), lo.is_ours, lo.is_route), ("lo", false, false));
        assert_eq!(ways["us"], Ok(Way { interface: "lo".to_owned(), gateway: None }));
        let (tcp, udp) = (TcpListener::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("[::1]:0").unwrap());
        let sockets = sockets().unwrap();
        let has = |transport, at: std::net::SocketAddr| {
            sockets.iter().any(|socket| {
                (socket.transport, socket.port, socket.listening.address) == (transport, at.port(), at.ip())
            })
        };
        assert!(
            has(Transport::Tcp, tcp.local_addr().unwrap()) && has(Transport::Udp, udp.local_addr().unwrap())
        );
    }
}
