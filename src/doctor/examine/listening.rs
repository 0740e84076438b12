//! Programs behind VIPs. No configuration says which port a service has; the checks that ask this host tell it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use vipcast_node::model::{Config, Service};
use vipcast_node::vip::Vip;

use crate::check::kind::{Reach, definition};
use crate::check::target::Transport;
use crate::control::api::VipState;
use crate::doctor::finding::{Finding, Id, Place};
use crate::doctor::gathered::{Gathered, Socket, single};

type Ports = BTreeSet<(Transport, u16)>;

pub(super) fn examine(gathered: &Gathered) -> Vec<Finding> {
    let (Some(config), Some(sockets)) = (gathered.valid(), &gathered.sockets) else { return Vec::new() };
    if gathered.has_ipvs {
        return Vec::new();
    }
    let addresses = gathered.network.iter().flat_map(|network| &network.addresses);
    let here: BTreeSet<IpAddr> =
        addresses.filter(|address| !address.is_route).map(|address| address.prefix.addr()).collect();
    let mut found = Vec::new();
    for service in config.services.values() {
        for vip in &service.vips {
            let Some(ip) = single(vip) else { continue };
            let ports = ports(&here, config, service, vip);
            let is_served = |socket: &&Socket| {
                ports.contains(&(socket.transport, socket.port)) && socket.listening.covers(ip)
            };
            if ports.is_empty() || sockets.iter().any(|socket| is_served(&socket)) {
                continue;
            }
            found.extend(unserved(gathered, sockets, *vip, ip, &ports));
        }
    }
    found
}

/// The ports of this host, with these addresses, that the checks of a VIP ask.
fn ports(here: &BTreeSet<IpAddr>, config: &Config, service: &Service, vip: &Vip) -> Ports {
    let is_here = |host: &str| match host.parse::<IpAddr>() {
        Ok(ip) => ip.is_loopback() || ip == vip.ip() || here.contains(&ip),
        Err(_) => host == "localhost",
    };
    let checks = service.checks.checks(Some(vip)).into_iter().filter_map(|name| config.checks.get(name));
    checks
        .filter_map(|check| {
            let definition = definition(check);
            let asks_here = match definition.reach() {
                Reach::Local => true,
                Reach::Network(host) => is_here(host),
                Reach::Socket => false,
            };
            definition.port().filter(|_| asks_here)
        })
        .collect()
}

/// A VIP on whose ports no socket listens.
fn unserved(gathered: &Gathered, sockets: &[Socket], vip: Vip, ip: IpAddr, ports: &Ports) -> Option<Finding> {
    let elsewhere: Vec<&Socket> =
        sockets.iter().filter(|socket| ports.contains(&(socket.transport, socket.port))).collect();
    let owners: BTreeMap<&str, u32> = elsewhere
        .iter()
        .filter_map(|socket| gathered.program(socket))
        .map(|program| (program.name.as_str(), program.pid))
        .collect();
    // The port is only that of its health; the same program, or a program made for the VIP, serves it on another one.
    let serves = |socket: &Socket| {
        let is_owner = gathered.program(socket).is_some_and(|of| owners.contains_key(of.name.as_str()));
        let is_for_vip = socket.listening.address.to_canonical() == ip;
        socket.listening.covers(ip) && (is_owner || is_for_vip)
    };
    if sockets.iter().any(serves) {
        return None;
    }
    let named: Vec<String> =
        ports.iter().map(|(transport, port)| format!("{transport} {}", SocketAddr::new(ip, *port))).collect();
    let at = gathered.status().and_then(|status| status.vips.iter().find(|known| known.vip == vip));
    let is_announced = at.is_some_and(|vip| match vip.state {
        VipState::Announced | VipState::Demoted => true,
        VipState::Withheld | VipState::Ready | VipState::Other(_) => false,
    });
    let lost = if is_announced { "; it is announced, and its clients are refused" } else { "" };
    let nobody = format!("no program listens on {}", named.join(" or "));
    if elsewhere.is_empty() {
        let fix = "start the service; a check should notice that: `listener`, or one that asks the VIP (`host: vip`)";
        return Some(
            Finding::new(Id::NobodyListens, Place::Vip(vip), format!("{nobody}{lost}"), fix)
                .line("ss -ltunp"),
        );
    }
    let places: BTreeSet<String> = elsewhere
        .iter()
        .map(|socket| SocketAddr::new(socket.listening.address, socket.port).to_string())
        .collect();
    let places = places.into_iter().collect::<Vec<_>>().join(", ");
    let who = owners.iter().next().map(|(name, pid)| format!("{name} (process {pid}) listens on "));
    let what = format!("{nobody}: {}{places} alone{lost}", who.unwrap_or_default());
    let is_loopback = elsewhere.iter().all(|socket| socket.listening.address.to_canonical().is_loopback());
    let id = if is_loopback { Id::OnlyLoopback } else { Id::NobodyListens };
    let every = if ip.is_ipv4() { "0.0.0.0" } else { "[::]" };
    let fix = format!("let the service listen on the VIP, or on every address ({every})");
    Some(Finding::new(id, Place::Vip(vip), what, fix).line("ss -ltunp"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::bench::{CONFIG, healthy, program, short, socket, with_config, with_status};
    use super::*;

    fn with(sockets: Vec<Socket>, programs: &[(u32, &str)]) -> Gathered {
        let programs = programs.iter().map(|(inode, name)| (*inode, program(name, 20))).collect();
        Gathered { sockets: Some(sockets), programs, ..healthy() }
    }

    #[test]
    fn a_port_without_a_listener_and_one_on_loopback_alone_are_told_apart() {
        use Transport::Tcp;
        let found = examine(&with(vec![socket(Tcp, 22, "0.0.0.0", 9)], &[]));
        let what = "no program listens on tcp 192.0.2.10:8080; it is announced, and its clients are refused";
        assert_eq!(short(&found), [(Id::NobodyListens, "VIP 192.0.2.10".to_owned(), what)]);
        let found = examine(&with(vec![socket(Tcp, 8080, "127.0.0.1", 1)], &[(1, "nginx")]));
        let what = "no program listens on tcp 192.0.2.10:8080: nginx (process 20) listens on 127.0.0.1:8080 alone; it is \
                    announced, and its clients are refused";
        assert_eq!(short(&found), [(Id::OnlyLoopback, "VIP 192.0.2.10".to_owned(), what)]);
        let found = examine(&with(vec![socket(Tcp, 8080, "10.0.1.2", 1)], &[]));
        assert_eq!(found[0].id, Id::NobodyListens);
        assert!(found[0].what.contains(": 10.0.1.2:8080 alone;"), "{}", found[0].what);
        // A wildcard of the other family does not help.
        let v6 = Listening6::only();
        assert_eq!(examine(&with(vec![v6], &[])).len(), 1);
    }

    struct Listening6;

    impl Listening6 {
        fn only() -> Socket {
            let mut socket = socket(Transport::Tcp, 8080, "::", 1);
            socket.listening.only_v6 = true;
            socket
        }
    }

    #[test]
    fn a_service_with_a_port_of_its_own_for_its_health_is_no_fault() {
        use Transport::Tcp;
        let health = || socket(Tcp, 8080, "127.0.0.1", 1);
        let same = with(vec![health(), socket(Tcp, 443, "0.0.0.0", 2)], &[(1, "nginx"), (2, "nginx")]);
        assert_eq!(examine(&same), []);
        let for_vip = with(vec![health(), socket(Tcp, 443, "192.0.2.10", 2)], &[]);
        assert_eq!(examine(&for_vip), []);
        let another = with(vec![health(), socket(Tcp, 22, "0.0.0.0", 2)], &[(1, "nginx"), (2, "sshd")]);
        assert_eq!(examine(&another)[0].id, Id::OnlyLoopback);
        assert_eq!(examine(&Gathered { has_ipvs: true, ..with(vec![], &[]) }), []);
    }

    #[test]
    fn only_checks_that_ask_this_host_tell_a_port() {
        let ask = |check: &str| {
            let text = CONFIG.replace("http: {url: \"http://127.0.0.1:8080/\"}", check);
            let gathered = Gathered { sockets: Some(Vec::new()), ..with_config(&text) };
            examine(&gathered).into_iter().map(|found| found.what).collect::<Vec<_>>()
        };
        let lost = "; it is announced, and its clients are refused";
        let on = |port: &str| vec![format!("no program listens on {port}{lost}")];
        assert_eq!(ask("tcp: \"localhost:25\""), on("tcp 192.0.2.10:25"));
        assert_eq!(ask("tcp: \"192.0.2.10:25\""), on("tcp 192.0.2.10:25"));
        assert_eq!(ask("listener: {udp: 53}"), on("udp 192.0.2.10:53"));
        assert_eq!(ask("dns: {server: 127.0.0.1, name: example.net}"), on("udp 192.0.2.10:53"));
        for elsewhere in ["tcp: \"10.9.9.9:25\"", "file: /run/healthy", "exec: {command: [/bin/true]}"] {
            assert_eq!(ask(elsewhere), [""; 0], "{elsewhere}");
        }
    }

    #[test]
    fn a_withheld_vip_loses_no_client() {
        let gathered = with_status(|status| status["vips"][0]["state"] = json!("withheld"));
        let found = examine(&Gathered { sockets: Some(Vec::new()), ..gathered });
        assert_eq!(found[0].what, "no program listens on tcp 192.0.2.10:8080");
    }
}
