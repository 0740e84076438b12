//! Default values, for programs that make a configuration without a file.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use vipcast_bgp::wire::{Asn, Family};
use vipcast_bgp::{ConnectMode, NextHops};

use super::{
    Announce, BindPolicy, Condition, Config, Control, Listen, Log, LogFormat, LogLevel, OnDegraded, OnDown,
    Peer, Preempt, Reach, Role, RouterAddress, Service, Shutdown,
};
use crate::defaults;
use crate::names::{PeerName, ServiceName};
use crate::table::Table;
use crate::vip::Vip;

impl Config {
    /// A configuration with these peers and services. The caller adds the checks that the services name.
    pub fn new(
        peers: impl IntoIterator<Item = (PeerName, Peer)>,
        services: impl IntoIterator<Item = (ServiceName, Service)>,
    ) -> Self {
        Self {
            state_dir: defaults::STATE_DIR.into(),
            drain_file: None,
            control: Control { socket: defaults::CONTROL_SOCKET.into(), group: None },
            api: None,
            metrics: None,
            event_file: None,
            hooks: BTreeMap::new(),
            log: Log { level: LogLevel::Info, format: LogFormat::Plain },
            shutdown: Shutdown {
                drain_time: defaults::DRAIN_TIME,
                unbind_delay: defaults::UNBIND_DELAY,
                keep_addresses: false,
                inhibit: true,
            },
            router_id: None,
            listen: Listen { addresses: Vec::new(), port: defaults::BGP_PORT },
            interface: defaults::INTERFACE.to_owned(),
            peers: peers.into_iter().collect(),
            checks: Table::default(),
            services: services.into_iter().collect(),
        }
    }
}

impl Peer {
    /// A router at this address. `peer_as` equal to `local_as` is iBGP.
    pub fn new(address: IpAddr, local_as: Asn, peer_as: Asn) -> Self {
        Self {
            address: RouterAddress::Known(address),
            port: defaults::BGP_PORT,
            local_as,
            peer_as: Some(peer_as),
            hold_time: defaults::HOLD_TIME,
            connect_retry: defaults::CONNECT_RETRY,
            mode: ConnectMode::Both,
            families: BTreeSet::from([Family::IPV4_UNICAST, Family::IPV6_UNICAST]),
            source_address: None,
            interface: None,
            reach: Reach::default(),
            authentication: None,
            key_source: None,
            tcp_mss: None,
            role: None,
            require_role: false,
            next_hop: NextHops::default(),
            med: None,
            extended_next_hop: address.is_ipv6(),
            graceful_restart: None,
            bfd: None,
        }
    }
}

impl Service {
    /// A service with these VIPs that is healthy when `checks` hold.
    pub fn new(vips: impl IntoIterator<Item = Vip>, checks: Condition) -> Self {
        Self {
            vips: vips.into_iter().collect(),
            checks,
            announce: Announce::default(),
            demoted: Announce { as_path_prepend: defaults::DEMOTE_PREPEND, ..Announce::default() },
            on_down: OnDown::Withdraw,
            on_degraded: OnDegraded::Demote,
            warm_up: None,
            role: Role::Active(Preempt::AtOnce),
            bind: BindPolicy::Always,
            interface: defaults::INTERFACE.to_owned(),
        }
    }
}
