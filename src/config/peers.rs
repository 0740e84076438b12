//! `peers:` and `peer_defaults:`.

pub(super) mod fields;
mod next_hop;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use vipcast_bgp::HoldTime;
use vipcast_bgp::wire::{Asn, Family, Role};
use vipcast_node::names::PeerName;

pub(super) use self::next_hop::next_hops;
use super::diagnostic::{Report, Span};
use super::host::{KeyOrNot, Need};
use super::model::{Bfd, ConnectMode, GracefulRestart, NextHops, Peer, Reach, RouterAddress};
use super::read::tree::Entry;
use super::read::{Field, Placed, Shared, Table, map_of, missing, short, value};
use super::{bfd, defaults, graceful_restart, keys, transport};

/// Reads every peer. `None` when one of them is wrong; `peer_defaults` is read in any case.
pub(super) fn read(
    entries: Option<&[Entry]>,
    defaults: Option<&Entry>,
    local_as: &Field<Asn>,
    report: &mut Report,
) -> Option<BTreeMap<PeerName, Peer>> {
    let shared = defaults.map(|entry| {
        let table =
            Table::open(&entry.value, &keys::PEER_DEFAULTS, "`peer_defaults`", entry.key_span, report);
        let shared = Shared::of(&entry.value, table.as_ref());
        if let Some(table) = table {
            // Its errors are reported here, and not again for every peer.
            Written::read(table, report);
        }
        shared
    });
    let mut seen: BTreeMap<(Option<IpAddr>, u16, Option<String>), Span> = BTreeMap::new();
    let mut keys: BTreeMap<IpAddr, (Span, KeyOrNot)> = BTreeMap::new();
    let peers: Vec<Option<(PeerName, Peer)>> = entries?
        .iter()
        .map(|entry| {
            let named = value::name(entry, "peer", report);
            let table = Table::open(&entry.value, &keys::PEER, "a peer", entry.key_span, report)?;
            let mut table = table.inheriting(shared.as_ref());
            let (at_address, table_span) = (table.field("address", report, fields::peer_address), table.span);
            // An `interface` in `peer_defaults` does not identify a router by its link.
            let on_link = !at_address.is_given() && table.says("interface");
            let (own_role, own_next_hops) = (table.says("role"), table.says("extended_next_hop"));
            let written = Written::read(table, report);
            let address = at_address.set().copied();
            if !at_address.is_given() && !on_link {
                const HINT: &str =
                    "the address of the router: `address: 192.0.2.1`; or the `interface` whose link it is on";
                missing(table_span, "address", HINT, report);
            }
            if own_next_hops {
                written.check(address, report);
            }
            let peer = written.resolve(address, on_link, entry, local_as, own_role, report)?;
            let at = address.map_or(entry.key_span, |address| address.span);
            // Every router may have fe80::1 on its end of a link.
            let ip = peer.address.ip();
            let link = peer.interface.clone().filter(|_| ip.is_none_or(value::is_link_local));
            let place = match (ip, &link) {
                (Some(ip), _) => format!("two peers have the address {ip} and port {}", peer.port),
                (None, link) => {
                    format!("two peers are the router on {}", link.as_deref().unwrap_or_default())
                }
            };
            if let Some(first) = seen.insert((ip, peer.port, link), at) {
                report
                    .error(at, place)
                    .also(first, "first given here")
                    .hint("one router is one peer, with one session for both address families");
                return None;
            }
            let key = match &peer.key_source {
                Some(source) => KeyOrNot::At(source.clone()),
                None => KeyOrNot::Written(peer.authentication.clone()),
            };
            if let Some(ip) = ip {
                let (first, other) = keys.entry(ip).or_insert_with(|| (at, key.clone()));
                if *other != key {
                    report.needs(at, Need::SameKey(ip, [key, other.clone()], *first));
                }
            }
            named.then(|| (PeerName::from(entry.key.as_str()), peer))
        })
        .collect();
    peers.into_iter().collect()
}

/// The entries under `peers:`; empty without peers.
pub(super) fn entries<'t>(top: &mut Table<'t>, report: &mut Report) -> Option<&'t [Entry]> {
    let entries = top.alias("peers", "neighbors", report, |node, key, report| {
        map_of(node, key, "a map of peers by name", report)
    });
    match entries {
        Field::Absent => Some(&[]),
        Field::Broken => None,
        Field::Set(entries) => Some(entries.value),
    }
}

/// Reports the services that nothing can announce.
pub(super) fn look_for_media(services: &[&Entry], report: &mut Report) {
    for entry in services {
        report
            .error(
                entry.key_span,
                format!(
                    "`{}` cannot be announced: there are no peers, and it has no other medium",
                    short(&entry.key)
                ),
            )
            .hint("name the routers to talk to: `peers: {tor-a: {address: 192.0.2.1, peer_as: 65000}}`");
    }
}

/// The keys of a peer, and of `peer_defaults`. Keys that exclude each other are one field.
#[derive(Debug)]
struct Written {
    port: Field<u16>,
    peer_as: Field<fields::PeerAs>,
    local_as: Field<Asn>,
    hold_time: Field<HoldTime>,
    connect_retry: Field<Duration>,
    mode: Field<ConnectMode>,
    families: Field<BTreeSet<Family>>,
    source_address: Field<IpAddr>,
    key: Field<KeyOrNot>,
    reach: Field<Reach>,
    interface: Field<String>,
    tcp_mss: Field<u16>,
    role: Field<Role>,
    require_role: Field<bool>,
    next_hop: Field<NextHops>,
    med: Field<u32>,
    extended_next_hop: Field<bool>,
    /// `Some(None)`: switched off, even if `peer_defaults` switch it on.
    graceful_restart: Field<Option<GracefulRestart>>,
    bfd: Field<Option<Bfd>>,
}

impl Written {
    fn read(mut table: Table<'_>, report: &mut Report) -> Self {
        let written = Self {
            port: table.number("port", value::PORT, report),
            peer_as: table.alias("peer_as", "remote_as", report, fields::peer_as),
            local_as: table.field("local_as", report, value::asn),
            hold_time: table.field("hold_time", report, fields::hold_time),
            connect_retry: table.field("connect_retry", report, fields::connect_retry),
            mode: table.group(&["passive", "active"], report, fields::mode),
            families: table.field("families", report, fields::families),
            source_address: table.field("source_address", report, fields::source_address),
            key: table.group(&transport::KEYS, report, transport::session_key),
            reach: table.group(&["ttl_security", "multihop"], report, transport::reach),
            interface: table.field("interface", report, value::interface),
            tcp_mss: table.number("tcp_mss", "a segment size in bytes", report),
            role: table.field("role", report, fields::role),
            require_role: table.field("require_role", report, value::boolean),
            next_hop: table.field("next_hop", report, next_hops),
            med: table.number("med", "a number", report),
            extended_next_hop: table.field("extended_next_hop", report, value::boolean),
            graceful_restart: table.field("graceful_restart", report, graceful_restart::graceful_restart),
            bfd: table.field("bfd", report, bfd::bfd),
        };
        table.finish(report);
        written
    }

    /// The peer's own keys must make sense for it; those of `peer_defaults` apply to the peers for which they make
    /// sense.
    fn check(&self, address: Option<Placed<IpAddr>>, report: &mut Report) {
        if let Some(Placed { value: true, span }) = self.extended_next_hop.set()
            && let Some(address) = address.filter(|address| address.value.is_ipv4())
        {
            report
                .error(*span, "only a session over IPv6 can have IPv6 next hops for IPv4 routes")
                .also(address.span, "this session is over IPv4")
                .hint("leave it out here; it is on wherever the address of the peer is an IPv6 one");
        }
    }

    fn resolve(
        self,
        address: Option<Placed<IpAddr>>,
        on_link: bool,
        entry: &Entry,
        local_as: &Field<Asn>,
        own_role: bool,
        report: &mut Report,
    ) -> Option<Peer> {
        let name = short(&entry.key);
        if !self.peer_as.is_given() {
            report
                .error(entry.key_span, format!("`peer_as` of `{name}` is missing"))
                .hint("the AS number of the router: `peer_as: 65000`; or `external`, any but ours");
        }
        if on_link
            && let Some(source) = self.source_address.set()
            && !is_ipv6_link_local(source.value)
        {
            report
                .error(source.span, "a router that is known by its link is reached from a link-local address")
                .hint("leave `source_address` out, or give the router an `address`");
            return None;
        }
        let local_as = self.local_as.or_field(local_as.clone());
        if !local_as.is_given() {
            report
                .error(entry.key_span, format!("`local_as` of `{name}` is missing"))
                .hint("give our own AS number once at the top level (`local_as: 65001`), or to each peer");
        }
        if let Some(source) = self.source_address.set()
            && let Some(address) = address
            && source.value.is_ipv4() != address.value.is_ipv4()
        {
            report
                .error(
                    source.span,
                    format!("an {} source cannot reach {}", family_word(source.value), address.value),
                )
                .also(address.span, format!("an {} address", family_word(address.value)))
                .hint("`source_address` and `address` must be of the same family");
        }
        let scoped = [address.as_ref(), self.source_address.set()].into_iter().flatten();
        for Placed { value, span } in scoped.filter(|address| value::is_link_local(address.value)) {
            if value.is_ipv6() && !self.interface.is_given() {
                report
                    .error(*span, format!("{value} is a link-local address, which needs an interface"))
                    .hint("write the interface of the link beside it: `interface: eth0`");
                return None;
            }
        }
        let over_routers = self.reach.set().is_some_and(|reach| match reach.value {
            Reach::ByPeering => false,
            Reach::Multihop(hops) | Reach::TtlSecurity(hops) => hops.get() > 1,
        });
        if on_link && over_routers {
            let diagnostic = report
                .error(entry.key_span, format!("`{name}` is known by its link, which no router is beyond"));
            diagnostic.hint("give the router an `address`, or leave `multihop` and `ttl_security` out");
            return None;
        }
        if let Some(Placed { value: Some(Bfd { min_ttl: Some(_), .. }), span }) = self.bfd.set()
            && !over_routers
        {
            report
                .error(*span, "`min_ttl` of `bfd` is for a router that is not on the link")
                .hint("leave it out: packets from the link have TTL 255; or set `multihop`");
            return None;
        }
        let awaits_bfd = || self.bfd.set().is_some_and(|bfd| bfd.value.is_some_and(|bfd| bfd.strict));
        if let Some(Placed { value: HoldTime::NONE, span }) = self.hold_time.set()
            && !awaits_bfd()
        {
            report
                .error(*span, "with a hold time of 0 a dead router would not be noticed")
                .hint("the least is 3s; 0 requires `bfd: {strict: true}`");
            return None;
        }
        let (authentication, key_source) = match self.key.optional()? {
            Some(KeyOrNot::Written(key)) => (key, None),
            Some(KeyOrNot::At(source)) => (None, Some(source)),
            None => (None, None),
        };
        if let Some(Placed { value: true, span }) = self.require_role.set()
            && !self.role.is_given()
        {
            report
                .error(*span, format!("`require_role` of `{name}` needs a role of our own"))
                .hint("write what we are towards the router: `role: customer`");
            return None;
        }
        let local_as = local_as.set()?.value;
        let peer_as = match self.peer_as.set()?.value {
            fields::PeerAs::Number(asn) => Some(asn),
            fields::PeerAs::Internal => Some(local_as),
            fields::PeerAs::External => None,
        };
        // A key of `peer_defaults` is for peers of other ASes.
        let is_internal = peer_as == Some(local_as);
        if let (Some(Placed { span, .. }), true, true) = (self.role.set(), is_internal, own_role) {
            report
                .error(*span, "a BGP role is for routers of other ASes (RFC 9234)")
                .hint("leave `role` out: `local_as` and `peer_as` are the same here");
            return None;
        }
        let over_ipv6 = on_link || address.is_some_and(|address| address.value.is_ipv6());
        Some(Peer {
            address: if on_link { RouterAddress::OnLink(None) } else { RouterAddress::Known(address?.value) },
            port: self.port.or(defaults::BGP_PORT)?,
            local_as,
            peer_as,
            hold_time: self.hold_time.or(defaults::HOLD_TIME)?,
            connect_retry: self.connect_retry.or(defaults::CONNECT_RETRY)?,
            mode: self.mode.or(ConnectMode::Both)?,
            families: self.families.or(BTreeSet::from([Family::IPV4_UNICAST, Family::IPV6_UNICAST]))?,
            source_address: self.source_address.optional()?,
            interface: self.interface.optional()?,
            reach: self.reach.or(Reach::default())?,
            authentication,
            key_source,
            tcp_mss: self.tcp_mss.optional()?,
            role: self.role.optional()?.filter(|_| !is_internal),
            require_role: self.require_role.or(false)? && !is_internal,
            next_hop: self.next_hop.or(NextHops::default())?,
            med: self.med.optional()?,
            extended_next_hop: self.extended_next_hop.or(true)? && over_ipv6,
            graceful_restart: self.graceful_restart.or(None)?,
            bfd: self.bfd.or(None)?,
        })
    }
}

fn is_ipv6_link_local(address: IpAddr) -> bool {
    address.is_ipv6() && value::is_link_local(address)
}

fn family_word(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}
