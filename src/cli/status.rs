//! `vipcast status`: peers, checks and VIPs as tables.

use clap::Args;

use super::output::{self, age, causes, print, print_json, table};
use super::{ClientArgs, Failure, block_on, screen};
use crate::control::api::{Bfd, BfdState, Forced, HandOver, SessionState, Status, VipState};
use crate::control::client::PATIENCE;
use crate::control::routes;

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// Show it anew every second, until Ctrl-C
    #[arg(long, conflicts_with = "json")]
    watch: bool,
    #[command(flatten)]
    client: ClientArgs,
}

pub(super) fn status(args: &StatusArgs) -> Result<(), Failure> {
    let client = args.client.client(PATIENCE);
    if args.watch {
        let look = async || match client.call(&routes::STATUS, &()).await {
            Ok(status) => render(&status),
            Err(error) => format!("error: {}\n", output::chain(causes(&error))),
        };
        return block_on(screen::watch(look))?;
    }
    let status = block_on(client.call(&routes::STATUS, &()))??;
    if args.client.json { print_json(&status) } else { print(&render(&status)) }
}

/// The column behind the state of the session.
const BFD_COLUMN: usize = 4;

/// The fault of a BFD session that is not up, or about to go down.
fn bfd_note(bfd: &Bfd) -> Option<String> {
    let down = (bfd.state != BfdState::Up).then(|| {
        let change = bfd.last_change.clone();
        change.unwrap_or_else(|| "no packet from the router yet; is it configured there?".to_owned())
    });
    bfd.error.clone().or(down).map(|what| format!("BFD: {what}"))
}

fn render(status: &Status) -> String {
    let Status { version, router_id, config, .. } = status;
    let router_id = router_id.map_or_else(|| "unknown".to_owned(), |router_id| router_id.to_string());
    let mut text =
        format!("vipcast {version}, router id {router_id}, up {}, {config}\n", age(status.uptime_ms));
    if status.observing {
        let count = |state: VipState| status.vips.iter().filter(|vip| vip.state == state).count();
        text += &format!(
            "only observing: nothing is bound or announced; it would announce {} of {} VIPs\n",
            count(VipState::Ready),
            status.vips.len()
        );
    }
    text.extend(status.warnings.iter().map(|warning| format!("warning: {warning}\n")));
    if let Some(phase) = &status.shutdown {
        text += &format!("shutting down: {phase}\n");
    }
    if let Some(over) = &status.hand_over {
        let HandOver { at, from, to, pause_ms, .. } = over;
        text += &format!("upgraded from {from} to {to} at {at}, paused {pause_ms} ms\n");
    }
    if status.restarting {
        text += "restarting: routers keep our routes until every VIP is decided\n";
    }
    if let Some(drain) = &status.drained {
        text += &format!("every service is drained {}\n", output::set(drain));
    }
    for drain in status.cordons.values() {
        text += &format!("every service is drained {}\n", output::set(drain));
    }
    for (service, drain) in &status.waiting_drains {
        text += &format!("{service} is not configured, and drained {}\n", output::set(drain));
    }
    if let Some(Forced { set, to }) = &status.forced {
        text += &format!("every service is forced {to} {}\n", output::set(set));
    }
    for (service, Forced { set, to }) in &status.forces {
        let configured = status.vips.iter().any(|vip| vip.service == *service);
        let is = if configured { "is" } else { "is not configured, and" };
        text += &format!("{service} {is} forced {to} {}\n", output::set(set));
    }
    for (peer, drain) in &status.waiting_peer_drains {
        text += &format!("peer {peer} is not configured, and drained {}\n", output::set(drain));
    }
    for (service, promotion) in &status.promotions {
        text +=
            &format!("{service} takes over as soon as it is healthy, promoted {}\n", output::set(promotion));
    }
    if let Some(unsaved) = &status.unsaved {
        text += &format!("not saved, and lost with a restart: {unsaved}\n");
    }
    let mut headings = vec!["PEER", "ADDRESS", "AS", "STATE", "FOR", "SENT"];
    let with_bfd = status.peers.values().any(|peer| peer.bfd.is_some());
    if with_bfd {
        headings.insert(BFD_COLUMN, "BFD");
    }
    let mut peers = table(&headings);
    // Below the table, because an IPv6 address leaves no room in it.
    let mut notes = String::new();
    for (name, peer) in &status.peers {
        let established = peer.state == SessionState::Established;
        let bfd_note = || peer.bfd.as_ref().and_then(bfd_note);
        let note = match (established, peer.withheld.len()) {
            (false, _) => peer.last_error.clone(),
            (true, 0) => bfd_note(),
            (true, withheld) => Some(format!("{withheld} cannot be sent, see explain")),
        };
        notes.extend(note.map(|note| format!("{name}: {note}\n")));
        if let Some(drain) = &peer.drain {
            let left = peer.leaving_ms.map(|left| format!(", withdrawn in {}", age(left)));
            notes += &format!("{name}: drained {}{}\n", output::set(drain), left.unwrap_or_default());
        }
        if let (Some(telling), Some(ago)) = (&peer.telling_error, peer.telling_ms) {
            notes += &format!("  before that, {} ago: {telling}\n", age(ago));
        }
        notes.extend(peer.reduced_offer.as_ref().map(|offer| format!("{name}: {offer}\n")));
        notes.extend(peer.unacknowledged.as_ref().map(|what| format!("{name}: {what}\n")));
        notes.extend(peer.hint.as_ref().map(|hint| format!("  hint: {hint}\n")));
        let mut row = vec![
            name.clone(),
            peer.address.map_or_else(|| peer.interface.clone().unwrap_or_default(), |ip| ip.to_string()),
            peer.peer_as.map_or_else(|| "external".to_owned(), |asn| asn.to_string()),
            peer.state.to_string(),
            age(peer.since_ms),
            peer.advertised.to_string(),
        ];
        if with_bfd {
            let bfd = peer.bfd.as_ref().map_or_else(|| "-".to_owned(), |bfd| bfd.state.to_string());
            row.insert(BFD_COLUMN, bfd);
        }
        peers.add_row(row);
    }
    let mut checks = table(&["CHECK", "STATE", "FOR", "LAST RESULT"]);
    for (name, check) in &status.checks {
        let (state, said) = output::check(check);
        checks.add_row([name.clone(), state, check.since_ms.map(age).unwrap_or_default(), said]);
    }
    let mut vips = table(&["VIP", "SERVICE", "STATE", "FOR", "PEERS", "WHY"]);
    for entry in &status.vips {
        vips.add_row([
            entry.vip.short(),
            entry.service.clone(),
            output::state(entry, status.observing),
            age(entry.since_ms),
            format!("{}/{}", entry.sent_to, status.peers.len()),
            output::why(entry),
        ]);
    }
    if status.observing {
        return format!("{text}\n{checks}\n\n{vips}");
    }
    format!("{text}\n{peers}\n{notes}\n{checks}\n\n{vips}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::control::api::{Check, Peer, Probes};

    fn peer(state: &str, bfd: Option<Bfd>) -> Peer {
        Peer {
            address: Some("2001:db8:0:1::1".parse().unwrap()),
            interface: None,
            peer_as: Some(65000),
            state: state.into(),
            since_ms: 3_661_000,
            hold_time: Some(9),
            families: vec!["ipv4-unicast".to_owned()],
            local_address: None,
            sessions: 1,
            advertised: 12,
            updates_sent: 3,
            received: 0,
            restart_time: None,
            bfd,
            fault: None,
            last_error: Some("peer sent Cease / Administrative Shutdown: \"maintenance\"".to_owned()),
            telling_error: None,
            telling_ms: None,
            reduced_offer: None,
            unacknowledged: None,
            hint: None,
            drain: None,
            leaving_ms: None,
            withheld: BTreeMap::new(),
        }
    }

    fn bfd(state: &str, last_change: Option<&str>) -> Bfd {
        Bfd {
            state: state.into(),
            since_ms: 100,
            transmit_us: Some(50_000),
            detection_us: Some(150_000),
            last_change: last_change.map(str::to_owned),
            downs: 1,
            late_wakeups: 0,
            error: None,
        }
    }

    fn check(state: &str, degraded: Option<&str>, held_ms: Option<u64>) -> Check {
        Check {
            state: state.into(),
            since_ms: Some(12_000),
            degraded: degraded.map(str::to_owned),
            held_ms,
            detail: Some("200 OK".to_owned()),
            took_ms: Some(1),
            ago_ms: Some(500),
        }
    }

    #[test]
    fn bfd_has_a_column_where_there_is_any_and_says_what_is_wrong() {
        let status = Status {
            version: "1.2.3".to_owned(),
            observing: false,
            router_id: Some([10, 0, 0, 2].into()),
            warnings: Vec::new(),
            uptime_ms: 3_661_000,
            config: "/etc/vipcast/vipcast.yaml".to_owned(),
            shutdown: None,
            hand_over: Some(HandOver {
                at: "2026-11-27T12:00:00Z".to_owned(),
                from: "0.1.0 (abc)".to_owned(),
                to: "0.2.0 (def)".to_owned(),
                pause_ms: 14,
                count: 2,
            }),
            not_upgraded: None,
            restarting: true,
            peers: BTreeMap::from([
                ("tor-a".to_owned(), peer("Established", Some(bfd("Up", Some("Down to Up; it is Init"))))),
                ("tor-b".to_owned(), peer("Established", Some(bfd("Down", None)))),
                (
                    "tor-c".to_owned(),
                    peer("Idle", Some(bfd("Down", Some("Up to Down: Control Detection Time Expired")))),
                ),
                ("tor-d".to_owned(), peer("Established", None)),
                ("tor-e".to_owned(), Peer { hint: Some("is it up?".to_owned()), ..peer("Idle", None) }),
            ]),
            checks: BTreeMap::from([
                ("fast".to_owned(), check("up", None, None)),
                ("slow".to_owned(), check("up", Some("p95 latency 312 ms, limit 200 ms"), None)),
                ("flapping".to_owned(), check("rising", None, Some(83_000))),
            ]),
            probes: Probes { started: 3, late_p50_us: 250, late_p99_us: 250 },
            vips: Vec::new(),
            drained: None,
            cordons: BTreeMap::new(),
            waiting_drains: BTreeMap::new(),
            forced: None,
            forces: BTreeMap::new(),
            promotions: BTreeMap::new(),
            waiting_peer_drains: BTreeMap::new(),
            unsaved: None,
        };
        let text = render(&status);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "wider than a terminal:\n{text}");
        insta::assert_snapshot!(text);
    }
}
