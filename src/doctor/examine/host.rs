//! The host: kernel, clock, state directory, other routing daemons.

use std::collections::BTreeSet;

use vipcast_node::model::{Authentication, Carrier, Config, ConnectMode, KeyPurpose};

use super::vips::MARKS_SINCE;
use crate::check::target::Transport;
use crate::doctor::finding::{Finding, Id, Place};
use crate::doctor::gathered::{Gathered, Socket, StateDir};
use crate::exporters;

/// The first kernel with TCP-AO.
const AO_SINCE: (u32, u32) = (6, 7);
/// The ports of BFD: over one hop (RFC 5881) and over several (RFC 5883).
const BFD: [u16; 2] = [3784, 4784];
/// The least free space of a state directory, in bytes.
const ROOM: u64 = 1 << 20;

pub(super) fn examine(gathered: &Gathered) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(gathered.state_dir.iter().filter_map(state_directory));
    found.extend(clock(gathered));
    if let Some(config) = gathered.valid() {
        found.extend(kernel(gathered, config));
        found.extend(routing_daemons(gathered, config));
        found.extend(taken_ports(gathered, config));
    }
    found
}

/// Whether another program has a port that is ours.
pub(super) fn has_taken_port(gathered: &Gathered) -> bool {
    gathered.valid().is_some_and(|config| !taken_ports(gathered, config).is_empty())
}

fn state_directory(dir: &StateDir) -> Option<Finding> {
    let place = Place::File(dir.path.clone());
    if dir.is_read_only {
        let fix = "mount it writable, or name another `state_dir`: drains do not survive a restart now";
        let line = format!("findmnt --target {}", dir.path);
        return Some(
            Finding::new(Id::StateDirectoryReadOnly, place, "it is mounted read-only", fix).line(line),
        );
    }
    if dir.free < ROOM || dir.lacks_inodes {
        let what = if dir.lacks_inodes {
            "its file system has no inode left".to_owned()
        } else {
            format!("its file system has {} KiB left", dir.free >> 10)
        };
        let fix = "make room there: drains do not survive a restart now";
        let line = format!("df -h {0}; df -i {0}", dir.path);
        return Some(Finding::new(Id::StateDirectoryFull, place, what, fix).line(line));
    }
    None
}

fn clock(gathered: &Gathered) -> Option<Finding> {
    gathered.is_synchronised.filter(|is_synchronised| !is_synchronised)?;
    let what = "its clock is not synchronised: certificates, ends of drains and times in logs may be wrong";
    let fix = "run an NTP client: chrony, or";
    let line = "timedatectl set-ntp true";
    Some(Finding::new(Id::ClockNotSynchronised, Place::Host, what, fix).line(line))
}

fn kernel(gathered: &Gathered, config: &Config) -> Vec<Finding> {
    let Some(kernel) = gathered.kernel else { return Vec::new() };
    let old = |since: (u32, u32), lost: &str| {
        let what = format!("Linux {}.{} is older than {}.{}: {lost}", kernel.0, kernel.1, since.0, since.1);
        Finding::new(Id::OldKernel, Place::Host, what, "upgrade the kernel, if this matters to you")
            .line("uname -r")
    };
    let has_addresses = config
        .services
        .values()
        .any(|service| service.vips.iter().any(|vip| service.carrier(vip) == Some(Carrier::Address)));
    let has_ao = config.peers.values().any(|peer| {
        let is_ao = matches!(peer.authentication, Some(Authentication::Ao(_)));
        is_ao || peer.key_source.as_ref().is_some_and(|source| !matches!(source.purpose, KeyPurpose::Md5))
    });
    let mut found = Vec::new();
    if has_addresses && kernel < MARKS_SINCE {
        let lost = "addresses cannot be marked as ours; after a crash, a note in the state directory has to tell them";
        found.push(old(MARKS_SINCE, lost));
    }
    if has_ao && kernel < AO_SINCE {
        found.push(old(AO_SINCE, "it has no TCP-AO, and peers with `tcp_ao` have no session"));
    }
    found
}

fn routing_daemons(gathered: &Gathered, config: &Config) -> Option<Finding> {
    if gathered.routing_daemons.is_empty() || exporters::is_harmless(config) {
        return None;
    }
    let named: Vec<_> = gathered
        .routing_daemons
        .iter()
        .map(|other| format!("{} (process {})", other.name, other.pid))
        .collect();
    let what = format!(
        "{} on this host: a daemon that announces connected or loopback addresses also announces VIPs that are withheld",
        named.join(", ")
    );
    Some(
        Finding::new(Id::OtherRoutingDaemon, Place::Host, what, format!("{}:", exporters::HINT))
            .line("services: {NAME: {bind: announced}}"),
    )
}

fn taken_ports(gathered: &Gathered, config: &Config) -> Vec<Finding> {
    let listens = config.peers.values().any(|peer| peer.mode != ConnectMode::Active);
    let has_bfd = config.peers.values().any(|peer| peer.bfd.is_some());
    let ours = &config.listen.addresses;
    let is_in_our_way =
        |socket: &Socket| ours.is_empty() || ours.iter().any(|address| socket.listening.covers(*address));
    let is_wanted = |socket: &Socket| match socket.transport {
        Transport::Tcp => listens && socket.port == config.listen.port && is_in_our_way(socket),
        Transport::Udp => has_bfd && BFD.contains(&socket.port),
    };
    let others = gathered.sockets.iter().flatten().filter(|socket| is_wanted(socket)).filter_map(|socket| {
        let program = gathered.program(socket)?;
        let is_ours = gathered.running.contains(&program.pid)
            || gathered.process.as_ref().is_some_and(|process| process.pid == program.pid);
        (!is_ours).then(|| (socket.transport, socket.port, program.name.clone(), program.pid))
    });
    let others: BTreeSet<_> = others.collect();
    others
        .into_iter()
        .map(|(transport, port, name, pid)| {
            let (used, fix) = match transport {
                Transport::Tcp => {
                    ("BGP", "stop that program, give it another port, or make every peer `active: true`")
                }
                Transport::Udp => {
                    ("BFD", "stop that program; two programs cannot speak BFD in one network namespace")
                }
            };
            let what =
                format!("{name} (process {pid}) has {transport} port {port}, which vipcast needs for {used}");
            let flag = if transport == Transport::Tcp { 't' } else { 'u' };
            Finding::new(Id::PortTaken, Place::Host, what, fix).line(format!("ss -l{flag}np sport = :{port}"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use vipcast_bgp::secret::Secret;
    use vipcast_bgp::transport::{AoAlgorithm, AoKey};
    use vipcast_node::notice::OtherDaemon;

    use super::super::bench::{CONFIG, configured, healthy, program, short, socket, with_config};
    use super::*;

    #[test]
    fn a_state_directory_that_is_full_or_read_only_is_named() {
        let of = |change: fn(&mut StateDir)| {
            let mut gathered = healthy();
            change(gathered.state_dir.as_mut().unwrap());
            let found = examine(&gathered);
            short(&found).into_iter().map(|(id, at, what)| (id, at, what.to_owned())).collect::<Vec<_>>()
        };
        let at = || "/var/lib/vipcast".to_owned();
        let read_only = (Id::StateDirectoryReadOnly, at(), "it is mounted read-only".to_owned());
        assert_eq!(of(|dir| dir.is_read_only = true), [read_only]);
        let full = (Id::StateDirectoryFull, at(), "its file system has 4 KiB left".to_owned());
        assert_eq!(of(|dir| dir.free = 4096), [full]);
        let full = (Id::StateDirectoryFull, at(), "its file system has no inode left".to_owned());
        assert_eq!(of(|dir| dir.lacks_inodes = true), [full]);
        assert_eq!(of(|_| ()), []);
    }

    #[test]
    fn an_old_kernel_is_named_with_the_feature_that_it_lacks() {
        let found = |text: &str, kernel| {
            let found = examine(&Gathered { kernel: Some(kernel), ..with_config(text) });
            found.into_iter().map(|found| found.what).collect::<Vec<_>>()
        };
        let marks = "Linux 5.10 is older than 5.18: addresses cannot be marked as ours; after a crash, a note in the state \
                     directory has to tell them";
        assert_eq!(found(CONFIG, (5, 10)), [marks]);
        assert_eq!(found(CONFIG, (5, 18)), [""; 0]);
        assert_eq!(found(&CONFIG.replace("checks: [web]}", "checks: [web], bind: route}"), (5, 10)), [""; 0]);
        let signed = |kernel| {
            let mut config = configured(CONFIG);
            let secret = Secret::new(b"secret").unwrap();
            let key = AoKey { secret, send_id: 1, receive_id: 1, algorithm: AoAlgorithm::HmacSha1 };
            config.peers.get_mut("tor-a").unwrap().authentication = Some(Authentication::Ao(key));
            let gathered = Gathered { config: Some(Ok(config)), kernel: Some(kernel), ..healthy() };
            examine(&gathered).into_iter().map(|found| found.what).collect::<Vec<_>>()
        };
        let ao = "Linux 6.6 is older than 6.7: it has no TCP-AO, and peers with `tcp_ao` have no session";
        assert_eq!(signed((6, 6)), [ao]);
        assert_eq!(signed((6, 7)), [""; 0]);
    }

    #[test]
    fn a_clock_that_is_not_synchronised_is_named_and_an_unknown_one_is_not() {
        for (is_synchronised, count) in [(Some(false), 1), (Some(true), 0), (None, 0)] {
            assert_eq!(examine(&Gathered { is_synchronised, ..healthy() }).len(), count);
        }
    }

    #[test]
    fn another_routing_daemon_is_a_fault_only_while_vips_are_bound_always() {
        let bird = || vec![OtherDaemon { name: "bird".to_owned(), pid: 9 }];
        let found = examine(&Gathered { routing_daemons: bird(), ..healthy() });
        assert_eq!((found.len(), found[0].id), (1, Id::OtherRoutingDaemon));
        assert!(found[0].what.starts_with("bird (process 9) on this host: "), "{}", found[0].what);
        let off = CONFIG.replace("checks: [web]}", "checks: [web], bind: announced}");
        assert_eq!(examine(&Gathered { routing_daemons: bird(), ..with_config(&off) }), []);
    }

    #[test]
    fn a_port_of_another_program_is_named_and_our_own_is_not() {
        use Transport::{Tcp, Udp};
        let text = CONFIG.replacen("peer_as: 65000}", "peer_as: 65000, bfd: {interval: 100ms}}", 1);
        let with = |text: &str, name, pid| Gathered {
            sockets: Some(vec![socket(Tcp, 179, "0.0.0.0", 1), socket(Udp, 3784, "::", 2)]),
            programs: [(1, program(name, pid)), (2, program(name, pid))].into(),
            ..with_config(text)
        };
        let found = examine(&with(&text, "bgpd", 9));
        let words: Vec<_> = found.iter().map(|found| found.what.as_str()).collect();
        assert_eq!(
            words,
            [
                "bgpd (process 9) has tcp port 179, which vipcast needs for BGP",
                "bgpd (process 9) has udp port 3784, which vipcast needs for BFD"
            ]
        );
        assert!(has_taken_port(&with(&text, "bgpd", 9)));
        assert_eq!(examine(&with(CONFIG, "bgpd", 9)).len(), 1);
        assert_eq!(examine(&with(&text, "vipcast", 7)), []);
        let dials = CONFIG.replace("peer_as: 65000}", "peer_as: 65000, active: true}");
        assert_eq!(examine(&with(&dials, "bgpd", 9)), []);
    }
}
