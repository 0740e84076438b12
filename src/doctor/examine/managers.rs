//! Network managers that remove addresses, routes and rules that are not theirs.

use std::collections::BTreeSet;

use vipcast_node::model::{Carrier, Config};

use crate::doctor::finding::{Finding, Id, Place};
use crate::doctor::gathered::{Gathered, Network, Networkd};

pub(super) fn examine(gathered: &Gathered) -> Vec<Finding> {
    let (Some(config), Some(network)) = (gathered.valid(), &gathered.network) else { return Vec::new() };
    let mut found = Vec::new();
    if let Some(networkd) = &gathered.managers.networkd {
        found.extend(addresses(config, network, networkd));
        found.extend(routes(config, network, networkd));
        found.extend(rules(config, network, networkd));
    }
    let managed = &gathered.managers.network_manager;
    let interfaces = carriers(config, network, |_| true);
    found.extend(interfaces.intersection(managed).map(|interface| network_manager(interface)));
    found
}

/// The interfaces that carry VIPs in such a way.
fn carriers(config: &Config, network: &Network, is_wanted: impl Fn(Carrier) -> bool) -> BTreeSet<String> {
    let carries = |service: &&vipcast_node::model::Service| {
        service.vips.iter().filter_map(|vip| service.carrier(vip)).any(&is_wanted)
    };
    let names = config.services.values().filter(|service| carries(service));
    names.map(|service| network.name_of(&service.interface).to_owned()).collect()
}

fn addresses(config: &Config, network: &Network, networkd: &Networkd) -> Vec<Finding> {
    let carriers = carriers(config, network, |carrier| carrier == Carrier::Address);
    let managed = networkd.interfaces.iter().filter(|(name, file)| carriers.contains(*name) && !file.keeps);
    managed
        .map(|(interface, file)| {
            let what = format!(
                "systemd-networkd manages it with {}: when networkd restarts or is told to reconfigure, it removes the VIPs",
                file.path
            );
            let fix = "write these lines into a drop-in of that file and reload networkd, or let it not match this interface";
            Finding::new(Id::NetworkdRemovesAddresses, Place::Interface(interface.clone()), what, fix)
                .line(format!("# /etc/systemd/network/{}.d/vipcast.conf", file.name()))
                .line("[Network]")
                .line("KeepConfiguration=static")
                .line("networkctl reload")
        })
        .collect()
}

fn routes(config: &Config, network: &Network, networkd: &Networkd) -> Vec<Finding> {
    let carriers = carriers(config, network, |carrier| carrier == Carrier::Route);
    let managed = networkd.interfaces.iter().filter(|(name, file)| carriers.contains(*name) && !file.keeps);
    let managed = managed.filter(|_| networkd.manages_routes);
    managed
        .map(|(interface, file)| {
            let what = format!(
                "systemd-networkd manages it with {}, and removes local routes (`bind: route`) that are not its own",
                file.path
            );
            foreign(Id::NetworkdRemovesRoutes, Place::Interface(interface.clone()), what, "ManageForeignRoutes=no")
        })
        .collect()
}

fn rules(config: &Config, network: &Network, networkd: &Networkd) -> Vec<Finding> {
    let vips = || config.services.values().flat_map(|service| &service.vips);
    let lost = network.rules.iter().filter(|source| {
        networkd.manages_rules && vips().any(|vip| source.prefix_len() > 0 && source.contains(&vip.ip()))
    });
    lost.map(|source| {
        let what = format!("systemd-networkd removes the policy rule `from {source}` at its next start");
        let id = Id::NetworkdRemovesRules;
        foreign(id, Place::Host, what, "ManageForeignRoutingPolicyRules=no")
    })
    .collect()
}

fn foreign(id: Id, place: Place, what: String, setting: &str) -> Finding {
    Finding::new(id, place, what, "write this file, and restart networkd")
        .line("# /etc/systemd/networkd.conf.d/vipcast.conf")
        .line("[Network]")
        .line(setting)
        .line("systemctl restart systemd-networkd")
}

fn network_manager(interface: &str) -> Finding {
    let what = "NetworkManager manages it, and removes the VIPs when it activates a connection there";
    let fix = "write this file, and reload NetworkManager";
    Finding::new(Id::NetworkManagerManages, Place::Interface(interface.to_owned()), what, fix)
        .line("# /etc/NetworkManager/conf.d/vipcast.conf")
        .line("[keyfile]")
        .line(format!("unmanaged-devices=interface-name:{interface}"))
        .line("nmcli general reload")
}

#[cfg(test)]
mod tests {
    use super::super::bench::{CONFIG, healthy, with_config};
    use super::*;
    use crate::doctor::gathered::{Managers, NetworkFile};

    fn networkd(interface: &str, keeps: bool) -> Managers {
        let path = "/etc/systemd/network/10-lo.network".to_owned();
        let interfaces = [(interface.to_owned(), NetworkFile { path, keeps })].into();
        let networkd = Networkd { interfaces, manages_routes: true, manages_rules: true };
        Managers { networkd: Some(networkd), network_manager: BTreeSet::new() }
    }

    fn ids(gathered: &Gathered) -> Vec<Id> {
        examine(gathered).iter().map(|found| found.id).collect()
    }

    #[test]
    fn networkd_is_told_to_keep_addresses_of_interfaces_with_vips() {
        let found = examine(&Gathered { managers: networkd("lo", false), ..healthy() });
        assert_eq!((found.len(), found[0].id), (1, Id::NetworkdRemovesAddresses));
        assert_eq!(found[0].place, Place::Interface("lo".to_owned()));
        assert_eq!(
            found[0].lines,
            [
                "# /etc/systemd/network/10-lo.network.d/vipcast.conf",
                "[Network]",
                "KeepConfiguration=static",
                "networkctl reload"
            ]
        );
        for harmless in [networkd("lo", true), networkd("eth0", false), Managers::default()] {
            assert_eq!(ids(&Gathered { managers: harmless, ..healthy() }), []);
        }
    }

    #[test]
    fn networkd_is_told_to_leave_routes_and_rules_alone() {
        let routed = CONFIG.replace("checks: [web]}", "checks: [web], bind: route}");
        let mut gathered = Gathered { managers: networkd("lo", false), ..with_config(&routed) };
        assert_eq!(ids(&gathered), [Id::NetworkdRemovesRoutes]);
        gathered.managers.networkd.as_mut().unwrap().manages_routes = false;
        assert_eq!(ids(&gathered), []);
        let rules = &mut gathered.network.as_mut().unwrap().rules;
        for source in ["0.0.0.0/0", "192.0.2.0/24", "10.0.0.0/8"] {
            rules.insert(source.parse().unwrap());
        }
        let found = examine(&gathered);
        assert_eq!((found.len(), found[0].id), (1, Id::NetworkdRemovesRules));
        assert_eq!(
            found[0].what,
            "systemd-networkd removes the policy rule `from 192.0.2.0/24` at its next start"
        );
        assert_eq!(found[0].lines[2], "ManageForeignRoutingPolicyRules=no");
        gathered.managers.networkd.as_mut().unwrap().manages_rules = false;
        assert_eq!(ids(&gathered), []);
    }

    #[test]
    fn network_manager_is_told_to_leave_the_interface_alone() {
        let with =
            |interface: &str| Managers { networkd: None, network_manager: [interface.to_owned()].into() };
        let found = examine(&Gathered { managers: with("lo"), ..healthy() });
        assert_eq!((found.len(), found[0].id), (1, Id::NetworkManagerManages));
        assert_eq!(found[0].lines[2], "unmanaged-devices=interface-name:lo");
        assert_eq!(ids(&Gathered { managers: with("eth0"), ..healthy() }), []);
    }
}
