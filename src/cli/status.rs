//! `vipcast status`: peers, checks and VIPs as tables.

use super::output::{age, print, print_json, table, vip};
use super::{ClientArgs, Failure, block_on};
use crate::control::api::Status;
use crate::control::client;

pub(super) fn status(args: &ClientArgs) -> Result<(), Failure> {
    let status: Status = block_on(client::get(&args.socket, "/v1/status"))??;
    if args.json { print_json(&status) } else { print(&render(&status)) }
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
    let mut peers = table(&["PEER", "ADDRESS", "AS", "STATE", "FOR", "SENT", "NOTE"]);
    for (name, peer) in &status.peers {
        let established = peer.state == "Established";
        let note = match (established, peer.withheld.len()) {
            (false, _) => peer.last_error.clone().unwrap_or_default(),
            (true, 0) => String::new(),
            (true, withheld) => format!("{withheld} cannot be sent, see explain"),
        };
        peers.add_row([
            name.clone(),
            peer.address.to_string(),
            peer.peer_as.to_string(),
            peer.state.clone(),
            age(peer.since_ms),
            peer.advertised.to_string(),
            note,
        ]);
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
