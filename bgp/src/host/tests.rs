use super::*;

/// A condition in a word.
fn condition(word: &str) -> Condition {
    let plain = Condition::default();
    match word {
        "" => plain,
        "host" => Condition { is_host_scope: true, ..plain },
        "tentative" => Condition { is_tentative: true, ..plain },
        "dadfailed" => Condition { is_duplicate: true, is_tentative: true, ..plain },
        "deprecated" => Condition { is_deprecated: true, ..plain },
        "temporary" => Condition { is_temporary: true, ..plain },
        far_end => Condition { far_end: Some(far_end.parse().unwrap()), ..plain },
    }
}

fn link(index: u32, name: &str) -> Change {
    let is_loopback = name == "lo";
    Change::Link { index, name: Some(name.to_owned()), is_loopback, is_up: true, link_layer: None }
}

/// `eth0 10.0.0.2/30 deprecated; lo 192.0.2.10/32`.
fn host(text: &str) -> Host {
    let mut host = Host::default();
    host.fold(link(1, "lo"));
    host.fold(link(2, "eth0"));
    host.fold(link(3, "eth1"));
    for line in text.split(';').map(str::trim).filter(|line| !line.is_empty()) {
        let mut words = line.split_whitespace();
        let index = match words.next().unwrap() {
            "lo" => 1,
            "eth0" => 2,
            "eth1" => 3,
            other => panic!("{other}"),
        };
        let (ip, length) = words.next().unwrap().split_once('/').unwrap();
        host.fold(Change::Address {
            index,
            ip: ip.parse().unwrap(),
            length: length.parse().unwrap(),
            condition: condition(words.next().unwrap_or("")),
        });
    }
    host
}

fn at(ip: &str) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), 179)
}

fn beside(host: &Host, local: &str, remote: &str, services: &[&str]) -> Option<Vec<String>> {
    let services = services.iter().map(|ip| ip.parse().unwrap()).collect();
    let found = host.beside(at(local), at(remote), &services)?;
    Some(found.iter().map(ToString::to_string).collect())
}

#[test]
fn a_next_hop_is_an_address_of_the_interface_that_the_router_can_reach_and_stays() {
    let cases: [(&str, &[&str], &[&str]); 15] = [
        // Addresses besides 10.0.0.2/30 on eth0; services; the candidates, the best first.
        ("eth0 fd00::2/64", &[], &["fd00::2"]),
        ("eth0 fd00::2/64", &["fd00::2"], &[]),
        ("eth0 2001:db8::10/128", &["2001:db8::10"], &[]),
        ("eth0 2001:db8::77/128", &[], &[]),
        ("eth0 fd00::2/64 tentative", &[], &[]),
        ("eth0 fd00::2/64 dadfailed", &[], &[]),
        ("eth0 fd00::2/64 host", &[], &[]),
        ("eth0 fe80::2/64", &[], &[]),
        ("eth0 fd00::2/64; eth0 fd00::1/64 deprecated", &[], &["fd00::2", "fd00::1"]),
        ("eth0 fd00::2/64; eth0 fd00::1/64 temporary", &[], &["fd00::2", "fd00::1"]),
        ("eth0 fd00::1/64 deprecated; eth0 fd00::2/64 temporary", &[], &["fd00::2", "fd00::1"]),
        ("eth1 fd00::2/64", &[], &[]),
        ("lo fd00::2/64", &[], &[]),
        ("eth0 fd00::2/127", &[], &["fd00::2"]),
        // The same address with two lengths, and one end of a point-to-point link.
        ("eth0 fd00::2/64; eth0 fd00::2/56; eth0 fd00:5::2/128 fd00:5::1", &[], &["fd00:5::2", "fd00::2"]),
    ];
    for (addresses, services, want) in cases {
        let host = host(&format!("eth0 10.0.0.2/30; {addresses}"));
        let mut found = beside(&host, "10.0.0.2", "10.0.0.1", services).unwrap();
        if want.contains(&"fd00:5::2") {
            found.sort();
        }
        assert_eq!(found, want, "{addresses}, services {services:?}");
    }
}

#[test]
fn ipv4_over_an_ipv6_session_is_picked_with_the_same_care() {
    let host = host(
        "eth0 fd00::2/64; eth0 192.0.2.10/32; eth0 169.254.0.2/16; eth0 10.0.0.3/24 temporary; \
         eth0 10.0.0.2/24; eth0 10.0.0.10/24",
    );
    assert_eq!(beside(&host, "fd00::2", "fd00::1", &["10.0.0.10"]).unwrap(), ["10.0.0.2", "10.0.0.3"]);
}

#[test]
fn a_session_that_ends_on_a_service_address_has_the_addresses_of_the_link_to_the_router() {
    let host = host("lo 192.0.2.10/32; eth0 10.0.0.2/30; eth1 10.0.1.2/30; eth1 10.9.0.2/16");
    let services = &["192.0.2.10"];
    let found = beside(&host, "192.0.2.10", "10.0.1.1", services).unwrap();
    assert_eq!(found, ["10.0.1.2", "10.9.0.2"], "the one on the router's subnet first");
    assert_eq!(beside(&host, "192.0.2.10", "172.16.0.1", services).unwrap(), [""; 0], "far away");
    // A session from a loopback address that is no service's has it for its own family, and nothing else.
    assert_eq!(beside(&host, "192.0.2.10", "10.0.1.1", &[]).unwrap(), [""; 0]);
}

#[test]
fn an_address_that_no_interface_has_is_told_from_one_without_company() {
    let mut host = host("eth0 10.0.0.2/30; eth1 fe80::2/64");
    assert_eq!(beside(&host, "10.0.0.2", "10.0.0.1", &[]), Some(Vec::new()));
    assert_eq!(beside(&host, "10.0.0.9", "10.0.0.1", &[]), None);
    let scoped =
        |index| SocketAddr::V6(std::net::SocketAddrV6::new("fe80::2".parse().unwrap(), 179, 0, index));
    assert!(host.beside(scoped(3), at("fe80::1"), &BTreeSet::new()).is_some());
    assert!(host.beside(scoped(2), at("fe80::1"), &BTreeSet::new()).is_none());
    host.fold(Change::LinkGone(2));
    assert_eq!(beside(&host, "10.0.0.2", "10.0.0.1", &[]), None);
}

#[test]
fn what_is_said_twice_is_no_change() {
    let mut host = host("eth0 10.0.0.2/30");
    let address = |length, condition| Change::Address {
        index: 2,
        ip: [10, 0, 0, 2].into(),
        length,
        condition: self::condition(condition),
    };
    let gone = |length| Change::AddressGone { index: 2, ip: [10, 0, 0, 2].into(), length };
    assert!(!host.fold(link(2, "eth0")));
    assert!(!host.fold(address(30, "")));
    assert!(host.fold(address(30, "deprecated")));
    assert!(host.fold(address(24, "")));
    assert!(!host.fold(gone(8)));
    assert!(host.fold(gone(30)), "one of two lengths");
    assert!(host.has([10, 0, 0, 2].into()));
    assert!(host.fold(gone(24)) && !host.has([10, 0, 0, 2].into()));
    assert!(host.fold(link(2, "uplink0")) && host.named("uplink0").is_some() && host.named("eth0").is_none());
    assert!(host.fold(Change::LinkGone(2)) && !host.fold(Change::LinkGone(2)));
}
