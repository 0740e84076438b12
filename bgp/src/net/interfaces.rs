//! What else an interface can be reached at.

use std::io;
use std::net::IpAddr;

use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::net::if_::InterfaceFlags;

/// The global addresses on the interface that has `local`, without `local` itself; network addresses before host
/// routes, because a /32 or /128 is more likely a service address than one that the router can reach. On loopback
/// there are none: whatever is there, the router does not know it as a next hop.
///
/// # Errors
/// The kernel does not list the interfaces.
pub(super) fn beside(local: IpAddr) -> io::Result<Vec<IpAddr>> {
    let all: Vec<InterfaceAddress> = getifaddrs()?.collect();
    let Some(interface) = all.iter().find(|entry| ip(entry) == Some(local)) else { return Ok(Vec::new()) };
    if interface.flags.contains(InterfaceFlags::IFF_LOOPBACK) {
        return Ok(Vec::new());
    }
    let mut beside: Vec<(bool, IpAddr)> = all
        .iter()
        .filter(|entry| entry.interface_name == interface.interface_name)
        .filter_map(|entry| Some((is_host_route(entry), ip(entry)?)))
        .filter(|(_, address)| *address != local && is_global(*address))
        .collect();
    beside.sort_by_key(|(host_route, _)| *host_route);
    Ok(beside.into_iter().map(|(_, address)| address).collect())
}

fn ip(entry: &InterfaceAddress) -> Option<IpAddr> {
    let address = entry.address.as_ref()?;
    address
        .as_sockaddr_in()
        .map(|v4| IpAddr::V4(v4.ip()))
        .or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
}

fn is_host_route(entry: &InterfaceAddress) -> bool {
    entry.netmask.as_ref().is_some_and(|mask| {
        mask.as_sockaddr_in().is_some_and(|v4| v4.ip().is_broadcast())
            || mask.as_sockaddr_in6().is_some_and(|v6| v6.ip().to_bits() == u128::MAX)
    })
}

fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_link_local() && !v4.is_loopback(),
        IpAddr::V6(v6) => !v6.is_unicast_link_local() && !v6.is_loopback(),
    }
}
