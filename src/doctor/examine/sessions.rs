//! The sessions with the routers, and BFD beside them.

use std::collections::BTreeMap;

use vipcast_node::model::{self, Authentication, Config, KeyPlace, Reach};
use vipcast_node::names::PeerName;
use vipcast_node::vip::Vip;

use crate::control::api::{BfdState, Peer, PeerFault, SessionState, Status, Whose};
use crate::doctor::finding::{Finding, Id, Place};
use crate::doctor::gathered::{Gathered, Way};

/// A session that was never up may still be about to begin.
const BEGINS: u64 = 10_000;
/// More sessions than this, with less than [`STEADY`] each, are too many.
const FEW: u64 = 2;
/// In milliseconds.
const STEADY: u64 = 600_000;
/// A session that has lasted for this long no longer flaps, in milliseconds.
const CALM: u64 = 3_600_000;
/// A router sends a route back within this time, in milliseconds.
const REFLECTED: u64 = 10_000;

pub(super) fn examine(gathered: &Gathered) -> Vec<Finding> {
    match (gathered.status(), gathered.valid()) {
        (Some(status), config) => status
            .peers
            .iter()
            .flat_map(|(name, peer)| of_peer(gathered, config, status, name, peer))
            .collect(),
        (None, Some(config)) => {
            config.peers.iter().filter_map(|(name, peer)| without_daemon(gathered, name, peer)).collect()
        }
        (None, None) => Vec::new(),
    }
}

/// The findings about a session of a running daemon.
fn of_peer(
    gathered: &Gathered,
    config: Option<&Config>,
    status: &Status,
    name: &str,
    peer: &Peer,
) -> Vec<Finding> {
    let name = PeerName::from(name);
    let configured = config.and_then(|config| config.peers.get(&name));
    let mut found = Vec::new();
    if peer.state == SessionState::Established {
        found.extend(not_sendable(&name, peer));
        found.extend(not_accepted(status, &name, peer));
    } else if peer.last_error.is_some() || peer.since_ms > BEGINS {
        found.push(down(gathered, &name, configured, peer));
    }
    found.extend(flaps(status, &name, peer));
    found.extend(bfd(&name, peer));
    found
}

fn down(gathered: &Gathered, name: &PeerName, configured: Option<&model::Peer>, peer: &Peer) -> Finding {
    let what = match (&peer.last_error, &peer.telling_error) {
        (Some(now), Some(before)) => format!("{now}; before that: {before}"),
        (Some(error), None) => error.clone(),
        (None, _) => format!("no session, it is {} without an error", peer.state),
    };
    let fault = peer.fault.clone().unwrap_or(PeerFault::Unnamed);
    fault_of(gathered, name, configured, &fault, what, peer.hint.clone())
}

/// The finding about a peer, from an attempt to connect that was made because no daemon runs.
fn without_daemon(gathered: &Gathered, name: &PeerName, peer: &model::Peer) -> Option<Finding> {
    let tried = gathered.dials.get(name).and_then(Option::as_ref);
    match tried {
        Some((fault, what)) => Some(fault_of(gathered, name, Some(peer), fault, what.clone(), None)),
        None => {
            let way = gathered.ways.get(name)?;
            too_far(peer, way.as_ref().ok()?).map(|what| wrong_ttl(name, what))
        }
    }
}

fn fault_of(
    gathered: &Gathered,
    name: &PeerName,
    configured: Option<&model::Peer>,
    fault: &PeerFault,
    what: String,
    hint: Option<String>,
) -> Finding {
    let way = gathered.ways.get(name);
    if let (Some(peer), Some(Ok(way)), PeerFault::NoRoute | PeerFault::NoAnswer | PeerFault::Refused) =
        (configured, way, fault)
        && let Some(far) = too_far(peer, way)
    {
        return wrong_ttl(name, format!("{what}; {far}"));
    }
    let address = configured.and_then(|peer| peer.address.ip());
    let shown = address.map_or_else(|| "ROUTER".to_owned(), |ip| ip.to_string());
    let port = configured.map_or(179, |peer| peer.port);
    let finding = |id, fix: &str| Finding::new(id, Place::Peer(name.clone()), &what, fix);
    match fault {
        PeerFault::NoRoute => match way {
            Some(Ok(Way { interface, gateway })) => {
                let next = gateway.map_or_else(|| shown.clone(), |gateway| gateway.to_string());
                let fix = format!(
                    "the way leads to {next} on {interface}, and nobody answers there: look at the cable, the VLAN and \
                     the router's address"
                );
                finding(Id::NoRoute, &fix).line(format!("ip neighbour show {next} dev {interface}"))
            }
            Some(Err(_)) | None => finding(
                Id::NoRoute,
                "give this host an address on the router's link, or a route to the router",
            )
            .line(format!("ip route get {shown}")),
        },
        PeerFault::Refused => finding(
            Id::ConnectionRefused,
            "the router is there, and BGP does not listen for us: start it, with our address as a neighbor; a packet \
             filter that rejects looks the same",
        )
        .line("vtysh -c 'show bgp summary'    # on the router, if it is FRR"),
        PeerFault::NoAnswer => finding(
            Id::NoAnswer,
            &format!(
                "packets to or from TCP port {port} are dropped: by a packet filter on either side, or because the \
                 router wants a password (`password_file`) or TTL security (`ttl_security`)"
            ),
        )
        .line("nft list ruleset | grep -n -e 'dport' -e drop")
        .line(format!("tcpdump -ni any host {shown} and tcp port {port}")),
        PeerFault::WrongKey => wrong_password(name, configured, what.clone()),
        PeerFault::LowTtl => wrong_ttl(name, what.clone()),
        PeerFault::WrongAs => {
            let fix = hint.unwrap_or_else(|| {
                "compare `local_as` and `peer_as` here with the router's AS and its `remote-as` for us".to_owned()
            });
            finding(Id::WrongAs, &fix)
        }
        PeerFault::Unnamed | PeerFault::Other(_) => {
            let fix = hint.unwrap_or_else(|| {
                "docs/troubleshooting.md has the words of this error, under \"No session\"".to_owned()
            });
            finding(Id::SessionDown, &fix).line("vipcast status")
        }
    }
}

fn wrong_password(name: &PeerName, configured: Option<&model::Peer>, what: String) -> Finding {
    let place = Place::Peer(name.clone());
    let source = configured.and_then(|peer| peer.key_source.as_ref());
    let has_key = configured.is_some_and(|peer| peer.authentication.is_some()) || source.is_some();
    let is_ao =
        matches!(configured.and_then(|peer| peer.authentication.as_ref()), Some(Authentication::Ao(_)));
    let fix = match (has_key, is_ao) {
        (false, _) => "write the router's password here, and reload",
        (true, false) => "write the same password on both sides, and reload; FRR: `neighbor … password …`",
        (true, true) => "compare key, ids and algorithm on both sides, and reload",
    };
    let finding = Finding::new(Id::WrongPassword, place, what, fix);
    match source.map(|source| &source.place) {
        Some(KeyPlace::File(path)) => finding.line(path.display().to_string()),
        Some(KeyPlace::Credential(name)) => finding.line(format!("the systemd credential {name}")),
        None => finding.line(format!("peers: {{{name}: {{password_file: /etc/vipcast/{name}.key}}}}")),
    }
}

/// The reason why a router is too far away for its peer, if it is.
fn too_far(peer: &model::Peer, way: &Way) -> Option<String> {
    let gateway = way.gateway?;
    let address = peer.address.ip()?;
    let limit = match peer.reach {
        Reach::ByPeering if !peer.is_internal() => "an eBGP session without `multihop`",
        Reach::TtlSecurity(hops) if hops.get() == 1 => "`ttl_security: 1`",
        Reach::Multihop(hops) if hops.get() == 1 => "`multihop: 1`",
        Reach::ByPeering | Reach::TtlSecurity(_) | Reach::Multihop(_) => return None,
    };
    Some(format!("{address} is not on the link but behind {gateway}, and {limit} stays on it"))
}

fn wrong_ttl(name: &PeerName, what: String) -> Finding {
    let fix = "count the hops, and write the same kind on both sides: `multihop` or `ttl_security`";
    Finding::new(Id::WrongTtl, Place::Peer(name.clone()), what, fix)
        .line(format!("peers: {{{name}: {{multihop: 2}}}}    # or: ttl_security: 1"))
}

fn flaps(status: &Status, name: &PeerName, peer: &Peer) -> Option<Finding> {
    let each = status.uptime_ms.checked_div(peer.sessions)?;
    let is_calm = peer.state == SessionState::Established && peer.since_ms >= CALM;
    if peer.sessions <= FEW || each >= STEADY || is_calm {
        return None;
    }
    let last = peer.last_error.as_ref().map(|error| format!("; the last end: {error}")).unwrap_or_default();
    let what = format!("{} sessions in {} minutes{last}", peer.sessions, status.uptime_ms.div_ceil(60_000));
    let fix = "look at the reason of each end in the log, here and on the router";
    let place = Place::Peer(name.clone());
    Some(Finding::new(Id::SessionFlaps, place, what, fix).line("journalctl -u vipcast | grep 'session'"))
}

fn bfd(name: &PeerName, peer: &Peer) -> Option<Finding> {
    let bfd = peer.bfd.as_ref().filter(|bfd| bfd.state != BfdState::Up)?;
    // With a session that is down for a reason of its own, BFD is down for the same.
    let is_cause = match peer.fault {
        None | Some(PeerFault::Unnamed) => true,
        Some(_) => false,
    };
    let begins = bfd.since_ms <= BEGINS && bfd.error.is_none();
    if begins || !(is_cause || peer.state == SessionState::Established) {
        return None;
    }
    let why = bfd.error.clone().or_else(|| bfd.last_change.clone());
    let what = format!(
        "BFD is {}: {}",
        bfd.state,
        why.unwrap_or_else(|| "no packet from the router yet".to_owned())
    );
    let fix =
        "turn BFD on for us on the router, and let UDP port 3784 (4784 over routers) pass in packet filters";
    let place = Place::Peer(name.clone());
    Some(Finding::new(Id::BfdDown, place, what, fix).line("neighbor … bfd    # on the router, if it is FRR"))
}

/// The VIPs that a session cannot carry, by reason.
fn not_sendable(name: &PeerName, peer: &Peer) -> Vec<Finding> {
    let mut by_reason: BTreeMap<&str, Vec<&Vip>> = BTreeMap::new();
    for (vip, why) in &peer.withheld {
        by_reason.entry(why).or_default().push(vip);
    }
    by_reason
        .into_iter()
        .map(|(why, vips)| {
            let what = format!("{} cannot be sent: {why}", some(&vips));
            let fix =
                "activate the address family on both sides, or give the session's interface an address of it";
            Finding::new(Id::NotSendable, Place::Peer(name.clone()), what, fix)
                .line(format!("peers: {{{name}: {{families: [ipv4, ipv6], next_hop: ADDRESS}}}}"))
        })
        .collect()
}

/// A router that sends some of our routes back shows which of them it uses: those that it has sent to us, and no others.
/// Most routers send nothing back, and then nothing can be known from here.
fn not_accepted(status: &Status, name: &PeerName, peer: &Peer) -> Option<Finding> {
    let is_sent = |vip: &&crate::control::api::Vip| {
        vip.sent_to > 0 && vip.since_ms > REFLECTED && !vip.not_at.contains_key(name.as_str())
    };
    let sent = || status.vips.iter().filter(is_sent);
    let heard = |vip: &crate::control::api::Vip| vip.heard.iter().any(|heard| heard.peer == name.as_str());
    let reflected = |vip: &crate::control::api::Vip| {
        vip.heard.iter().any(|heard| heard.peer == name.as_str() && heard.whose == Whose::Ours)
    };
    let is_v4 = |vip: &crate::control::api::Vip| vip.vip.ip().is_ipv4();
    let missing: Vec<&Vip> = sent()
        .filter(|vip| !heard(vip) && sent().any(|other| reflected(other) && is_v4(other) == is_v4(vip)))
        .map(|vip| &vip.vip)
        .collect();
    if missing.is_empty() || peer.since_ms <= REFLECTED {
        return None;
    }
    let what = format!(
        "it sends our other routes back, but not {}: it probably does not accept {}",
        some(&missing),
        if missing.len() == 1 { "it" } else { "them" }
    );
    let fix =
        "let the router's import policy accept the VIP; without a policy, RFC 8212 accepts nothing from eBGP";
    let vip = missing.first().map(|vip| vip.short()).unwrap_or_default();
    Some(
        Finding::new(Id::NotAccepted, Place::Peer(name.clone()), what, fix)
            .line(format!("vtysh -c 'show bgp {vip}'    # on the router, if it is FRR")),
    )
}

/// `192.0.2.10, 192.0.2.11 and 3 more`.
fn some(vips: &[&Vip]) -> String {
    const NAMED: usize = 3;
    let named: Vec<_> = vips.iter().take(NAMED).map(|vip| vip.short()).collect();
    match vips.len() - named.len() {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::bench::{CONFIG, healthy, short, with_config, with_status};
    use super::*;
    use crate::doctor::gathered::Daemon;

    /// A node whose session with `tor-a` is down for this reason.
    fn broken(fault: &str, error: &str, hint: Option<&str>) -> Gathered {
        with_status(|status| {
            let peer = &mut status["peers"]["tor-a"];
            peer["state"] = json!("Connect");
            peer["fault"] = json!(fault);
            peer["last_error"] = json!(error);
            peer["hint"] = json!(hint);
        })
    }

    fn only(gathered: &Gathered) -> Finding {
        let mut found = examine(gathered);
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }

    #[test]
    fn each_fault_of_a_session_has_its_finding() {
        let table = [
            ("no_route", Id::NoRoute),
            ("refused", Id::ConnectionRefused),
            ("no_answer", Id::NoAnswer),
            ("wrong_key", Id::WrongPassword),
            ("low_ttl", Id::WrongTtl),
            ("wrong_as", Id::WrongAs),
            ("other", Id::SessionDown),
            ("of a later version", Id::SessionDown),
        ];
        for (fault, id) in table {
            let found = only(&broken(fault, "cannot connect", None));
            assert_eq!(
                (found.id, found.place, found.what.as_str()),
                (id, Place::Peer("tor-a".into()), "cannot connect")
            );
            assert!(!found.fix.is_empty());
        }
    }

    #[test]
    fn the_fix_follows_what_is_known_about_the_peer() {
        let found = only(&broken("no_route", "no route to host", None));
        assert_eq!(found.lines, ["ip neighbour show 10.0.1.1 dev eth0"]);
        let lost = Gathered {
            ways: [("tor-a".into(), Err("network is unreachable".to_owned()))].into(),
            ..broken("no_route", "network is unreachable", None)
        };
        assert_eq!(only(&lost).lines, ["ip route get 10.0.1.1"]);
        let far = Way { interface: "eth0".to_owned(), gateway: Some([10, 0, 9, 1].into()) };
        let far = Gathered {
            ways: [("tor-a".into(), Ok(far))].into(),
            ..broken("no_route", "no route to host", None)
        };
        let found = only(&far);
        assert_eq!(found.id, Id::WrongTtl);
        assert_eq!(
            found.what,
            "no route to host; 10.0.1.1 is not on the link but behind 10.0.9.1, and an eBGP session without `multihop` stays \
             on it"
        );
        let found = only(&broken("wrong_as", "peer sent …", Some("the router is AS 65009")));
        assert_eq!(found.fix, "the router is AS 65009");
        let found = only(&broken("wrong_key", "the other side has a password", None));
        assert_eq!(found.lines, ["peers: {tor-a: {password_file: /etc/vipcast/tor-a.key}}"]);
    }

    #[test]
    fn a_session_that_begins_is_no_fault_and_one_without_an_error_becomes_one() {
        let begins = |since: u64| {
            with_status(|status| {
                status["peers"]["tor-b"]["state"] = json!("Active");
                status["peers"]["tor-b"]["since_ms"] = json!(since);
            })
        };
        assert_eq!(examine(&begins(BEGINS)), []);
        assert_eq!(only(&begins(BEGINS + 1)).what, "no session, it is Active without an error");
    }

    #[test]
    fn without_a_daemon_the_attempt_to_connect_tells() {
        let refused = Some((PeerFault::Refused, "connection refused".to_owned()));
        let gathered = Gathered {
            daemon: Some(Daemon::Absent),
            dials: [("tor-a".into(), refused), ("tor-b".into(), None)].into(),
            ..with_config(CONFIG)
        };
        let found = examine(&gathered);
        let tor = "peer tor-a".to_owned();
        assert_eq!(short(&found), [(Id::ConnectionRefused, tor, "connection refused")]);
        let far = Way { interface: "eth0".to_owned(), gateway: Some([10, 0, 9, 1].into()) };
        let passive =
            Gathered { daemon: Some(Daemon::Absent), ways: [("tor-b".into(), Ok(far))].into(), ..healthy() };
        assert_eq!(only(&passive).id, Id::WrongTtl);
    }

    #[test]
    fn a_session_that_comes_and_goes_is_named_until_it_is_calm() {
        let flapping = |sessions: u64, since: u64| {
            with_status(|status| {
                status["peers"]["tor-a"]["sessions"] = json!(sessions);
                status["peers"]["tor-a"]["since_ms"] = json!(since);
                status["peers"]["tor-a"]["last_error"] = json!("Hold Timer Expired");
                status["uptime_ms"] = json!(3_600_000);
            })
        };
        let found = only(&flapping(12, 60_000));
        assert_eq!(found.what, "12 sessions in 60 minutes; the last end: Hold Timer Expired");
        assert_eq!(found.id, Id::SessionFlaps);
        assert_eq!(examine(&flapping(2, 60_000)), []);
        assert_eq!(examine(&flapping(6, 60_000)), []);
        assert_eq!(examine(&flapping(12, CALM)), []);
    }

    #[test]
    fn bfd_that_is_down_is_named_unless_the_session_has_a_reason_of_its_own() {
        let bfd = |since: u64| {
            json!({"state": "Down", "since_ms": since, "transmit_us": null, "detection_us": null, "last_change": null,
                   "downs": 0, "late_wakeups": 0, "error": null})
        };
        let with = |change: &dyn Fn(&mut Value)| with_status(|status| change(&mut status["peers"]["tor-a"]));
        let found = only(&with(&|peer| peer["bfd"] = bfd(60_000)));
        assert_eq!(
            (found.id, found.what.as_str()),
            (Id::BfdDown, "BFD is Down: no packet from the router yet")
        );
        assert_eq!(examine(&with(&|peer| peer["bfd"] = bfd(1_000))), []);
        let refused = with(&|peer| {
            peer["bfd"] = bfd(60_000);
            peer["state"] = json!("Connect");
            peer["fault"] = json!("refused");
            peer["last_error"] = json!("connection refused");
        });
        assert_eq!(only(&refused).id, Id::ConnectionRefused);
    }

    #[test]
    fn a_route_that_cannot_be_sent_is_named_with_its_reason() {
        let gathered = with_status(|status| {
            let why = "no next hop of this family on the session's interface; set next_hop";
            let vips = ["2001:db8::10/128", "2001:db8::11/128", "2001:db8::12/128", "2001:db8::13/128"];
            for vip in vips {
                status["peers"]["tor-a"]["withheld"][vip] = json!(why);
            }
        });
        let found = only(&gathered);
        assert_eq!(found.id, Id::NotSendable);
        assert_eq!(
            found.what,
            "2001:db8::10, 2001:db8::11, 2001:db8::12 and 1 more cannot be sent: no next hop of this family on the session's \
             interface; set next_hop"
        );
    }

    #[test]
    fn a_router_that_sends_back_all_but_one_does_not_accept_that_one() {
        let heard = |whose: &str| {
            json!([{"peer": "tor-a", "whose": whose, "next_hop": "10.0.1.2", "as_path": [65000, 65001], "more_asns": 0,
                    "origin_as": 65001, "med": null, "local_pref": null, "communities": [], "more_communities": 0}])
        };
        let with = |first: Value, second: Value| {
            with_status(|status| {
                let mut other = status["vips"][0].clone();
                other["vip"] = json!("192.0.2.11/32");
                other["heard"] = second;
                status["vips"][0]["heard"] = first;
                status["vips"].as_array_mut().unwrap().push(other);
            })
        };
        let found = only(&with(heard("ours"), json!([])));
        assert_eq!(found.id, Id::NotAccepted);
        assert_eq!(
            found.what,
            "it sends our other routes back, but not 192.0.2.11: it probably does not accept it"
        );
        // Another node's path, or none at all, proves nothing.
        for (first, second) in
            [(heard("ours"), heard("other")), (heard("unclear"), json!([])), (json!([]), json!([]))]
        {
            assert_eq!(examine(&with(first, second)), []);
        }
    }
}
