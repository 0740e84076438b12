//! `vipcast status`: peers, checks and VIPs as tables.

use super::output::{age, print, print_json, table, vip};
use super::{ClientArgs, Failure, block_on};
use crate::control::api::{Bfd, Status};
use crate::control::client;

pub(super) fn status(args: &ClientArgs) -> Result<(), Failure> {
    let status: Status = block_on(client::get(&args.socket, "/v1/status"))??;
    if args.json { print_json(&status) } else { print(&render(&status)) }
}

/// Behind the state of the session.
const BFD_COLUMN: usize = 4;

/// What is wrong with a BFD session that is not up, or will soon not be.
fn bfd_note(bfd: &Bfd) -> Option<String> {
    let down = (bfd.state != "Up").then(|| {
        let change = bfd.last_change.clone();
        change.unwrap_or_else(|| "no BFD packet from the router yet; is BFD configured there?".to_owned())
    });
    bfd.error.clone().or(down).map(|what| format!("BFD: {what}"))
}

fn render(status: &Status) -> String {
    let Status { version, router_id, config, .. } = status;
    let mut text =
        format!("vipcast {version}, router id {router_id}, up {}, {config}\n", age(status.uptime_ms));
    if let Some(phase) = &status.shutdown {
        text += &format!("shutting down: {phase}\n");
    }
    if status.restarting {
        text += "restarting: routers keep what they have until every VIP is decided and every peer told\n";
    }
    let mut headings = vec!["PEER", "ADDRESS", "AS", "STATE", "FOR", "SENT", "NOTE"];
    let with_bfd = status.peers.values().any(|peer| peer.bfd.is_some());
    if with_bfd {
        headings.insert(BFD_COLUMN, "BFD");
    }
    let mut peers = table(&headings);
    for (name, peer) in &status.peers {
        let established = peer.state == "Established";
        let bfd_note = || peer.bfd.as_ref().and_then(bfd_note).unwrap_or_default();
        let note = match (established, peer.withheld.len()) {
            (false, _) => peer.last_error.clone().unwrap_or_default(),
            (true, 0) => bfd_note(),
            (true, withheld) => format!("{withheld} cannot be sent, see explain"),
        };
        let mut row = vec![
            name.clone(),
            peer.address.to_string(),
            peer.peer_as.to_string(),
            peer.state.clone(),
            age(peer.since_ms),
            peer.advertised.to_string(),
            note,
        ];
        if with_bfd {
            let bfd = peer.bfd.as_ref().map_or_else(|| "-".to_owned(), |bfd| bfd.state.clone());
            row.insert(BFD_COLUMN, bfd);
        }
        peers.add_row(row);
    }
    let mut checks = table(&["CHECK", "STATE", "FOR", "LAST RESULT"]);
    for (name, check) in &status.checks {
        checks.add_row([
            name.clone(),
            check.state.clone(),
            check.since_ms.map(age).unwrap_or_default(),
            check.detail.clone().unwrap_or_else(|| "none yet".to_owned()),
        ]);
    }
    let mut vips = table(&["VIP", "SERVICE", "VERDICT", "FOR", "PEERS", "WHY"]);
    for entry in &status.vips {
        vips.add_row([
            vip(&entry.vip),
            entry.service.clone(),
            entry.verdict.clone(),
            age(entry.since_ms),
            format!("{}/{}", entry.sent_to, status.peers.len()),
            entry.why.clone().unwrap_or_default(),
        ]);
    }
    format!("{text}\n{peers}\n\n{checks}\n\n{vips}")
}
