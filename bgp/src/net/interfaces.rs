//! Whether our end of a connection is still there, and what else its interface can be reached at.

use std::io;
use std::net::{IpAddr, SocketAddr};

use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::net::if_::{InterfaceFlags, if_nametoindex};

/// The global addresses on the interface that has `local`, without `local` itself; network addresses before host
/// routes, because a /32 or /128 is more likely a service address than one that the router can reach. On loopback
/// there are none: whatever is there, the router does not know it as a next hop. `None`: no interface has `local`.
///
/// # Errors
/// The kernel does not list the interfaces.
pub(super) fn beside(local: SocketAddr) -> io::Result<Option<Vec<IpAddr>>> {
    let all: Vec<InterfaceAddress> = getifaddrs()?.collect();
    let has_local = |entry: &&InterfaceAddress| ip(entry) == Some(local.ip()) && is_in_scope(entry, local);
    let Some(interface) = all.iter().find(has_local) else { return Ok(None) };
    if interface.flags.contains(InterfaceFlags::IFF_LOOPBACK) {
        return Ok(Some(Vec::new()));
    }
    let local = local.ip();
    let mut beside: Vec<(bool, IpAddr)> = all
        .iter()
        .filter(|entry| entry.interface_name == interface.interface_name)
        .filter_map(|entry| Some((is_host_route(entry), ip(entry)?)))
        .filter(|(_, address)| *address != local && is_global(*address))
        .collect();
    beside.sort_by_key(|(host_route, _)| *host_route);
    Ok(Some(beside.into_iter().map(|(_, address)| address).collect()))
}

/// The same link-local address may be on several interfaces.
fn is_in_scope(entry: &InterfaceAddress, local: SocketAddr) -> bool {
    match local {
        SocketAddr::V6(local) if local.scope_id() != 0 => {
            if_nametoindex(entry.interface_name.as_str()).is_ok_and(|index| index == local.scope_id())
        }
        SocketAddr::V4(_) | SocketAddr::V6(_) => true,
    }
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
