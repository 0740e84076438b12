//! The addresses of this host for the checks, from the kernel's last message. A successful bind of a socket proves
//! nothing (`net.ipv4.ip_nonlocal_bind`).

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use vipcast_node::engine::{AddressState, Binding, Listing};

use super::message::Notice;
use super::view::apply;

/// Clones share the same state. Empty until the kernel has listed its addresses.
#[derive(Debug, Clone, Default)]
pub struct Here(Arc<RwLock<Listing>>);

impl Here {
    /// Whether a packet to `ip` stays on this host: an interface that is up has it, and the kernel answers for it.
    pub fn has(&self, ip: IpAddr) -> bool {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let of_ip = known.bindings.range(Binding::first(ip)..).take_while(|(binding, _)| binding.ip == ip);
        let usable = of_ip.filter(|(_, fact)| fact.state == AddressState::Usable);
        // An unknown interface counts as up.
        usable.into_iter().any(|(address, _)| known.links.get(address.index).is_none_or(|link| link.up))
    }

    /// Replaces the listing.
    pub(super) fn listed(&self, listing: &Listing) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).clone_from(listing);
    }

    /// Applies a change.
    pub(super) fn heard(&self, notice: Notice) {
        apply(&mut self.0.write().unwrap_or_else(PoisonError::into_inner), notice);
    }

    /// A snapshot of this host, which is not updated. May block.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn now() -> io::Result<Self> {
        let here = Self::default();
        for interface in nix::ifaddrs::getifaddrs()? {
            let address = interface.address.as_ref();
            let v4 = address.and_then(|it| it.as_sockaddr_in()).map(|it| IpAddr::V4(it.ip()));
            let v6 = || address.and_then(|it| it.as_sockaddr_in6()).map(|it| IpAddr::V6(it.ip()));
            let is_up = interface.flags.contains(nix::net::if_::InterfaceFlags::IFF_UP);
            if let Some(ip) = v4.or_else(v6).filter(|_| is_up) {
                here.add(ip);
            }
        }
        Ok(here)
    }

    fn add(&self, ip: IpAddr) {
        use vipcast_node::engine::{BindingFact, Owner};

        let fact = BindingFact { owner: Owner::Other, state: AddressState::Usable };
        self.heard(Notice::Added(Binding::host(ip, 0), fact));
    }

    /// A host with exactly these addresses.
    #[cfg(test)]
    pub(crate) fn of(addresses: &[&str]) -> Self {
        let here = Self::default();
        for ip in addresses {
            here.add(ip.parse().unwrap());
        }
        here
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use vipcast_node::engine::{BindingFact, Link, Owner};

    #[test]
    fn i1_an_address_is_here_when_the_kernel_answers_for_it_on_an_interface_that_is_up() {
        let ip: IpAddr = "2001:db8::1".parse().unwrap();
        let here = Here::default();
        let link = |up| Link { name: "lo".to_owned(), altnames: BTreeSet::new(), up };
        let fact = |state| BindingFact { owner: Owner::Us, state };
        let added = |state| Notice::Added(Binding::host(ip, 7), fact(state));
        assert!(!here.has(ip));
        here.heard(Notice::Link(7, Some(link(true))));
        here.heard(added(AddressState::Tentative));
        assert!(!here.has(ip));
        here.heard(added(AddressState::Usable));
        assert!(here.has(ip) && !here.has("2001:db8::2".parse().unwrap()));
        here.heard(Notice::Link(7, Some(link(false))));
        assert!(!here.has(ip));
        here.heard(Notice::Link(7, Some(link(true))));
        here.heard(Notice::Removed(Binding::host(ip, 7)));
        assert!(!here.has(ip));
        here.heard(added(AddressState::Usable));
        here.listed(&Listing::default());
        assert!(!here.has(ip));
    }

    #[test]
    fn every_host_has_its_loopback_address() {
        let here = Here::now().unwrap();
        assert!(here.has("127.0.0.1".parse().unwrap()) && !here.has("192.0.2.1".parse().unwrap()));
    }
}
