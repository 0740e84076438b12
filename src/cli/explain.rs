//! `vipcast explain VIP`: the verdict and every fact behind it.

use clap::Args;

use super::output::{age, print, print_json, table, vip};
use super::{ClientArgs, Failure, block_on};
use crate::control::api::{Check, Explanation, PeerView};
use crate::control::client::{self, ClientError};
use crate::control::server::parse_vip;

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// The VIP, like 192.0.2.10
    vip: String,
    #[command(flatten)]
    client: ClientArgs,
}

pub(super) fn explain(args: &ExplainArgs) -> Result<(), Failure> {
    let prefix = parse_vip(&args.vip).map_err(ClientError::Refused)?;
    let path = format!("/v1/explain/{prefix}");
    let explanation: Explanation = block_on(client::get(&args.client.socket, &path))??;
    if args.client.json { print_json(&explanation) } else { print(&render(&explanation)) }
}

fn render(explanation: &Explanation) -> String {
    let Explanation { vip: entry, attributes, address, condition, checks, drain, peers } = explanation;
    let why = entry.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    let reach = if entry.verdict == "withheld" {
        String::new()
    } else {
        format!(" to {} of {} peers", entry.sent_to, peers.len())
    };
    let mut text = format!("{} is {}{reach}{why}\n\n", vip(&entry.vip), entry.verdict);
    let mut line = |name: &str, value: &str| text += &format!("{name:<11}{value}\n");
    line("service", &entry.service);
    line("for", &age(entry.since_ms));
    line("address", address);
    if let Some(attributes) = attributes {
        let mut parts = Vec::new();
        parts.extend(attributes.med.map(|med| format!("MED {med}")));
        parts.extend(attributes.local_pref.map(|preference| format!("LOCAL_PREF {preference} (iBGP)")));
        if attributes.as_path_prepend > 0 {
            parts.push(format!("AS path prepended {} times", attributes.as_path_prepend));
        }
        parts.extend(
            attributes.link_bandwidth.map(|rate| format!("link bandwidth {} Mbit/s", rate * 8 / 1_000_000)),
        );
        if !attributes.communities.is_empty() {
            parts.push(format!("communities {}", attributes.communities.join(" ")));
        }
        line(
            "route",
            if parts.is_empty() { "no MED, no communities".to_owned() } else { parts.join(", ") }.as_str(),
        );
    }
    if let Some(drain) = drain {
        let until = drain.until.as_ref().map(|until| format!(", until {until}")).unwrap_or_default();
        let reason = drain.reason.as_ref().map(|reason| format!(", {reason}")).unwrap_or_default();
        line("drain", &format!("by {} since {}{until}{reason}", drain.by, drain.since));
    }
    line("healthy if", condition);
    let mut check_table = table(&["CHECK", "STATE", "FOR", "LAST RESULT"]);
    for (name, check) in checks {
        check_table.add_row([
            name.clone(),
            check.state.clone(),
            check.since_ms.map(age).unwrap_or_default(),
            last_result(check),
        ]);
    }
    let mut peer_table = table(&["PEER", "STATE", "ROUTE", "WHY"]);
    for (name, PeerView { state, sent, why }) in peers {
        let route = if *sent { "sent" } else { "not sent" };
        peer_table.add_row([name.as_str(), state, route, why.as_deref().unwrap_or_default()]);
    }
    let checks = if checks.is_empty() { String::new() } else { format!("\n{check_table}\n") };
    format!("{text}{checks}\n{peer_table}")
}

fn last_result(check: &Check) -> String {
    let Check { detail, took_ms, ago_ms, .. } = check;
    match (detail, took_ms, ago_ms) {
        (Some(detail), Some(took), Some(ago)) => format!("{detail}, in {}, {} ago", age(*took), age(*ago)),
        (detail, _, _) => detail.clone().unwrap_or_else(|| "none yet".to_owned()),
    }
}
