//! The owner of a check: the service whose look-ups it makes, and the VIPs that it must not probe while they are on
//! another node.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use vipcast_node::model::{BindPolicy, Service};
use vipcast_node::names::{CheckName, ServiceName};
use vipcast_node::table::Table;
use vipcast_node::vip::Vip;

use crate::vip::Here;

/// Of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    /// The first of the services that name it.
    pub(super) service: ServiceName,
    /// VIPs of all of them that are on this host only while they are announced.
    coming: Arc<BTreeSet<IpAddr>>,
}

impl Owner {
    /// A check that no service names is its own.
    pub(super) fn nobody(check: &CheckName) -> Self {
        Self { service: ServiceName::from(check.as_str()), coming: Arc::default() }
    }

    /// Whether another node would answer at `address` in the place of the service here.
    pub(super) fn is_elsewhere(&self, address: IpAddr, here: &Here) -> bool {
        let address = address.to_canonical();
        self.coming.contains(&address) && !here.has(address)
    }
}

/// Of every check. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Owners(Arc<RwLock<Table<CheckName, Owner>>>);

impl Owners {
    /// Follows the services of a configuration.
    pub(super) fn set(&self, owners: Table<CheckName, Owner>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = owners;
    }

    pub(super) fn of(&self, check: &CheckName) -> Owner {
        let owners = self.0.read().unwrap_or_else(PoisonError::into_inner);
        owners.get(check).cloned().unwrap_or_else(|| Owner::nobody(check))
    }
}

/// What follows from the services for the checks that they name.
pub(super) fn owners(services: &Table<ServiceName, Service>) -> Table<CheckName, Owner> {
    let mut owners: Table<CheckName, Owner> = Table::default();
    for (name, service) in services {
        let vips = service.vips.iter().filter(|vip| vip.is_host());
        let coming: Arc<BTreeSet<IpAddr>> = match service.bind {
            BindPolicy::Announced => Arc::new(vips.map(Vip::ip).collect()),
            BindPolicy::Always | BindPolicy::Route => Arc::default(),
        };
        for check in service.checks.checks(None) {
            match owners.get_mut(check) {
                None => {
                    let owner = Owner { service: name.clone(), coming: Arc::clone(&coming) };
                    owners.insert(check.clone(), owner);
                }
                Some(owner) if !coming.is_empty() => {
                    owner.coming = Arc::new(owner.coming.union(&coming).copied().collect());
                }
                Some(_) => {}
            }
        }
    }
    owners
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn a_check_is_of_the_first_service_that_names_it_and_asks_no_vip_of_any_that_is_elsewhere() {
        let text = "local_as: 65001
peers: {tor: {address: 192.0.2.1, peer_as: 65000}}
checks: {both: {tcp: \"web.example:80\"}, one: {tcp: \"web.example:80\"}}
services:
  a: {vips: [198.51.100.1], checks: [both]}
  b: {vips: [198.51.100.2, 198.18.0.0/24], checks: [both, one], bind: announced}
";
        let owners = owners(&config::parse("vipcast.yaml", text).unwrap().config.services);
        let both = &owners[&CheckName::from("both")];
        assert_eq!(both.service.as_str(), "a");
        assert_eq!(owners[&CheckName::from("one")].service.as_str(), "b");
        let elsewhere =
            |owner: &Owner, address: &str| owner.is_elsewhere(address.parse().unwrap(), &Here::default());
        assert!(elsewhere(both, "198.51.100.2") && elsewhere(both, "::ffff:198.51.100.2"));
        assert!(!elsewhere(both, "198.51.100.1"), "it is bound from the start");
        assert!(!elsewhere(both, "192.0.2.9"), "no VIP of ours");
        let here = Here::of(&["198.51.100.2"]);
        assert!(!both.is_elsewhere("198.51.100.2".parse().unwrap(), &here));
        let anything_binds =
            Owner { service: "a".into(), coming: Arc::new(["127.0.0.1".parse().unwrap()].into()) };
        assert!(
            elsewhere(&anything_binds, "127.0.0.1"),
            "what the kernel tells counts, not what can be bound"
        );
    }
}
