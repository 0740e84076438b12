//! The two ends of a connection, and the next hops that follow from them.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

use crate::route::NextHops;

/// The two ends of a TCP connection, and the host's addresses beside the local one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Endpoints {
    /// Our address and port (`getsockname`).
    pub local: SocketAddr,
    /// The peer's address and port.
    pub remote: SocketAddr,
    /// Our other addresses on the session's interface that a router can reach, best first. The first one of a family
    /// without a next hop becomes the next hop of that family.
    pub interface_addresses: Vec<IpAddr>,
    /// The local address is a service address that is announced here, and goes with its service: no next hop.
    pub local_is_service: bool,
}

impl Endpoints {
    /// The possible next hops of our routes: the addresses of the interface, and the configured ones.
    pub(crate) fn ours(&self, configured: NextHops) -> BTreeSet<IpAddr> {
        let configured = [configured.v4.map(IpAddr::V4), configured.v6.map(IpAddr::V6)];
        self.addresses().chain(configured.into_iter().flatten()).collect()
    }

    /// Our own addresses: the local address unless it is a service's, and the others of its interface.
    fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let local = (!self.local_is_service).then(|| self.local.ip());
        local.into_iter().chain(self.interface_addresses.iter().copied())
    }

    /// Next hops: our own address for its family, else an address of the same interface. A link-local address alone is
    /// no next hop: it may only stand behind a global one (RFC 2545 §3).
    pub fn next_hops(&self) -> NextHops {
        self.addresses().filter(|address| !is_link_local(*address) && !address.is_unspecified()).collect()
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}
