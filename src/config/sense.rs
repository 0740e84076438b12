//! Warnings about valid keys that are probably not meant: attributes that are sent to no peer, keys without effect.

use std::collections::BTreeMap;

use vipcast_bgp::wire::Family;
use vipcast_node::names::{CheckName, PeerName, ServiceName};

use super::diagnostic::{Report, Span};
use super::model::{Check, Consequence, OnDegraded, OnDown, Peer, Preempt, Role, Service};
use super::read::short;
use super::read::tree::{Entry, Value};

/// Warns about attributes that are sent to no peer, and about keys without effect.
pub(super) fn look(
    (peers, peer_entries): (&BTreeMap<PeerName, Peer>, &[Entry]),
    (services, service_entries): (&BTreeMap<ServiceName, Service>, &[&Entry]),
    checks: &BTreeMap<CheckName, Check>,
    report: &mut Report,
) {
    for entry in peer_entries {
        if let Some(peer) = peers.get(entry.key.as_str()) {
            look_at_peer(peer, entry, report);
        }
    }
    for entry in service_entries {
        if let Some(service) = services.get(entry.key.as_str()) {
            if !peers.is_empty() {
                look_at_reach(peers, service, entry, report);
            }
            look_at_demoted(service, checks, entry, report);
        }
    }
}

/// A key of an entry, or the entry's name if the key is inherited (`peer_defaults`).
fn place(entry: &Entry, key: &str) -> Span {
    written(entry, key).unwrap_or(entry.key_span)
}

fn written(entry: &Entry, key: &str) -> Option<Span> {
    let Value::Map(keys) = &entry.value.value else { return None };
    keys.iter().find(|written| written.key == key).map(|written| written.key_span)
}

fn look_at_peer(peer: &Peer, entry: &Entry, report: &mut Report) {
    if peer.bfd.is_some() && peer.graceful_restart.is_some() {
        report
            .warning(
                place(entry, "graceful_restart"),
                format!("`{}` has BFD and graceful restart, which exclude each other", short(&entry.key)),
            )
            .hint(
                "while BFD is up, `vipcast restart --graceful` is refused: the router would take the restart for a \
                 failure; keep one of the two",
            );
    }
}

/// Warns about attributes that are sent to no peer.
fn look_at_reach(peers: &BTreeMap<PeerName, Peer>, service: &Service, entry: &Entry, report: &mut Report) {
    let name = short(&entry.key);
    for (word, family, used) in [
        ("IPv4", Family::IPV4_UNICAST, service.vips.iter().any(|vip| vip.ip().is_ipv4())),
        ("IPv6", Family::IPV6_UNICAST, service.vips.iter().any(|vip| vip.ip().is_ipv6())),
    ] {
        if used && !peers.values().any(|peer| peer.families.contains(&family)) {
            report
                .warning(entry.key_span, format!("`{name}` has {word} VIPs, but no peer carries {word}"))
                .hint(format!("add `{}` to the `families` of a peer", word.to_lowercase()));
        }
    }
    let internal = |peer: &Peer| peer.is_internal();
    let preferred = service.announce.local_pref.is_some() || service.demoted.local_pref.is_some();
    if preferred && !peers.values().any(internal) {
        report
            .warning(entry.key_span, format!("`{name}` has a `local_pref`, but every peer is in another AS"))
            .hint("LOCAL_PREF stays within an AS; use `med`, `as_path_prepend` or a community");
    }
    if service.announce.as_path_prepend > 0 && peers.values().all(internal) {
        report
            .warning(
                place(entry, "announce"),
                format!("`{name}` has an `as_path_prepend`, but every peer is in our AS"),
            )
            .hint("within an AS there is no path to prepend to; use `local_pref` or `med`");
    }
}

/// Warns about a `demoted` that never applies.
fn look_at_demoted(
    service: &Service,
    checks: &BTreeMap<CheckName, Check>,
    entry: &Entry,
    report: &mut Report,
) {
    let Some(place) = written(entry, "demoted") else { return };
    let named = service.checks.checks(None);
    let degrades = named
        .iter()
        .filter_map(|name| checks.get(*name))
        .any(|check| check.limits.iter().any(|limit| limit.then == Consequence::Degraded));
    let applies = service.on_down == OnDown::Demote
        || (degrades && service.on_degraded == OnDegraded::Demote)
        || service.warm_up.is_some()
        || service.role != Role::Active(Preempt::AtOnce);
    if !applies {
        report
            .warning(place, format!("`{}` is never demoted, so `demoted` has no effect", short(&entry.key)))
            .hint(
                "add `on_down: demote`, `warm_up`, `role: standby`, `preempt`, or a `latency` or `errors` to one of its checks",
            );
    }
}
