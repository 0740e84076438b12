//! Sysctls of links: the reverse path filter, and ARP for VIPs.

use std::collections::BTreeSet;

use crate::doctor::finding::{Finding, Id, Place};
use crate::doctor::gathered::{Gathered, single};

/// `rp_filter`: strict.
const STRICT: u8 = 1;
/// The file for sysctls that last.
const SYSCTLS: &str = "/etc/sysctl.d/90-vipcast.conf";

pub(super) fn examine(gathered: &Gathered) -> Vec<Finding> {
    let mut found = reverse_path_filter(gathered);
    found.extend(arp(gathered));
    found
}

/// Strict filters on uplinks that the default route does not use. With a default route over several interfaces, the
/// kernel accepts packets on each of them.
fn reverse_path_filter(gathered: &Gathered) -> Vec<Finding> {
    let (Some(config), Some(network)) = (gathered.valid(), &gathered.network) else { return Vec::new() };
    let has_v4 = config.services.values().any(|service| service.vips.iter().any(|vip| vip.ip().is_ipv4()));
    if !has_v4 || network.default_route.is_empty() {
        return Vec::new();
    }
    let uplinks: BTreeSet<&str> =
        gathered.ways.values().flatten().map(|way| way.interface.as_str()).collect();
    let finding = |uplink: &&str| {
        let leaves = network.default_route.iter().cloned().collect::<Vec<_>>().join(", ");
        let what = format!(
            "net.ipv4.conf.{uplink}.rp_filter is {STRICT} (strict), and the default route leaves by {leaves}: packets for VIPs \
             that come in here are dropped"
        );
        let key = format!("net/ipv4/conf/{uplink}/rp_filter");
        let fix =
            "make the filter loose (2), now and at every boot; or let the default route use every uplink";
        Finding::new(Id::ReversePathFilter, Place::Interface((*uplink).to_owned()), what, fix)
            .line(format!("sysctl -w {key}=2"))
            .line(format!("echo {key}=2 >> {SYSCTLS}"))
    };
    let is_strict = |uplink: &&str| {
        gathered.sysctl(uplink, |sysctls| sysctls.rp_filter) == STRICT
            && !network.default_route.contains(*uplink)
            && **uplink != *"lo"
    };
    uplinks.iter().filter(|uplink| is_strict(uplink)).map(finding).collect()
}

/// VIPs in the subnet of a link, where the kernel answers ARP for every address of the host, whatever its interface.
/// IPv6 does so only for addresses of the link.
fn arp(gathered: &Gathered) -> Vec<Finding> {
    let (Some(config), Some(network)) = (gathered.valid(), &gathered.network) else { return Vec::new() };
    let mut found = Vec::new();
    for service in config.services.values() {
        let interface = network.name_of(&service.interface);
        let vips = service.vips.iter().filter(|vip| service.carrier(vip).is_some());
        for (vip, ip) in vips.filter_map(|vip| Some((vip, single(vip)?))).filter(|(_, ip)| ip.is_ipv4()) {
            let link = network.addresses.iter().find(|address| {
                let is_subnet = address.prefix.prefix_len() < address.prefix.max_prefix_len();
                let is_loopback = address.prefix.addr().is_loopback();
                !address.is_route
                    && is_subnet
                    && !is_loopback
                    && address.interface != interface
                    && address.prefix.contains(&ip)
            });
            let Some(link) = link else { continue };
            let name = link.interface.as_str();
            let ignore = gathered.sysctl(name, |sysctls| sysctls.arp_ignore);
            let announce = gathered.sysctl(name, |sysctls| sysctls.arp_announce);
            if ignore > 0 && announce > 1 {
                continue;
            }
            let what = format!(
                "it is in {} on {name}, where this host answers ARP for it (arp_ignore {ignore}, arp_announce {announce}): \
                 neighbors reach it past the routers, healthy or not",
                link.prefix.trunc()
            );
            let fix = "take a VIP outside the subnets of links; or keep it out of ARP, now and at every boot";
            found.push(
                Finding::new(Id::ArpAnswers, Place::Vip(*vip), what, fix)
                    .line(format!(
                        "sysctl -w net/ipv4/conf/{name}/arp_ignore=1 net/ipv4/conf/{name}/arp_announce=2"
                    ))
                    .line(format!("echo net/ipv4/conf/{name}/arp_ignore=1 >> {SYSCTLS}"))
                    .line(format!("echo net/ipv4/conf/{name}/arp_announce=2 >> {SYSCTLS}")),
            );
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::bench::{CONFIG, healthy, with_config};
    use super::*;
    use crate::doctor::gathered::Sysctls;

    fn with(interface: &str, sysctls: Sysctls, default_route: &[&str]) -> Gathered {
        let mut gathered = healthy();
        gathered.sysctls.insert(interface.to_owned(), sysctls);
        let network = gathered.network.as_mut().unwrap();
        network.default_route = default_route.iter().map(|&name| name.to_owned()).collect();
        gathered
    }

    #[test]
    fn a_strict_filter_is_a_fault_where_packets_may_leave_elsewhere() {
        let strict = Sysctls { rp_filter: 1, ..Sysctls::default() };
        let found = examine(&with("eth1", strict, &["eth0"]));
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].id, &found[0].place),
            (Id::ReversePathFilter, &Place::Interface("eth1".to_owned()))
        );
        assert_eq!(
            found[0].what,
            "net.ipv4.conf.eth1.rp_filter is 1 (strict), and the default route leaves by eth0: packets for VIPs that come in \
             here are dropped"
        );
        assert_eq!(found[0].lines[0], "sysctl -w net/ipv4/conf/eth1/rp_filter=2");
        let loose = Sysctls { rp_filter: 2, ..Sysctls::default() };
        for (interface, sysctls, route) in [
            ("eth1", strict, &["eth0", "eth1"][..]),
            ("eth0", strict, &["eth0"]),
            ("eth1", strict, &[]),
            ("eth1", loose, &["eth0"]),
        ] {
            assert_eq!(examine(&with(interface, sysctls, route)), []);
        }
        // `all` counts for each, and the greater one wins.
        assert_eq!(examine(&with("all", strict, &["eth0"])).len(), 1);
        let mut both = with("all", loose, &["eth0"]);
        both.sysctls.insert("eth1".to_owned(), strict);
        assert_eq!(examine(&both), []);
    }

    #[test]
    fn a_vip_in_the_subnet_of_a_link_is_kept_out_of_arp() {
        let inside = CONFIG.replace("192.0.2.10", "10.0.1.100");
        let found = examine(&with_config(&inside));
        assert_eq!((found.len(), found[0].id), (1, Id::ArpAnswers));
        assert_eq!(
            found[0].what,
            "it is in 10.0.1.0/24 on eth0, where this host answers ARP for it (arp_ignore 0, arp_announce 0): neighbors reach \
             it past the routers, healthy or not"
        );
        let quiet = |arp_ignore, arp_announce| {
            let sysctls = Sysctls { arp_ignore, arp_announce, ..Sysctls::default() };
            let mut gathered = with_config(&inside);
            gathered.sysctls.insert("all".to_owned(), sysctls);
            examine(&gathered).len()
        };
        assert_eq!([quiet(1, 2), quiet(2, 2), quiet(1, 0), quiet(0, 2)], [0, 0, 1, 1]);
        // On the link itself it is meant so.
        let on_link = inside.replace("checks: [web]}", "checks: [web], interface: eth0}");
        assert_eq!(examine(&with_config(&on_link)), []);
        assert_eq!(examine(&healthy()), []);
    }
}
