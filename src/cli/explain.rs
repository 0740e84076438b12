//! `vipcast explain VIP`: the verdict and every fact behind it.

use clap::Args;
use ipnet::IpNet;

use super::output::{self, age, print, print_json, table};
use super::{ClientArgs, Failure, arguments, block_on};
use crate::control::api::{Check, Explanation, Forced, Heard, PeerView, Unforced, Verdict, VipState, Whose};
use crate::control::client::PATIENCE;
use crate::control::routes;

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// The VIP, for example 192.0.2.10
    #[arg(value_parser = arguments::vip)]
    vip: IpNet,
    #[command(flatten)]
    client: ClientArgs,
}

pub(super) fn explain(args: &ExplainArgs) -> Result<(), Failure> {
    let explanation = block_on(args.client.client(PATIENCE).call(&routes::EXPLAIN, &args.vip))??;
    if args.client.json { print_json(&explanation) } else { print(&render(&explanation)) }
}

fn render(explanation: &Explanation) -> String {
    let Explanation { vip: entry, observing, attributes, address, condition, checks, warning, peers, .. } =
        explanation;
    let why = entry.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    let reach = match &entry.state {
        VipState::Withheld => String::new(),
        VipState::Ready if *observing => " by a node that only observes".to_owned(),
        // The decision, and its result at the routers.
        VipState::Ready => format!(" to be {}, and at none of {} peers", entry.verdict, peers.len()),
        VipState::Announced | VipState::Demoted | VipState::Other(_) => {
            format!(" to {} of {} peers", entry.sent_to, peers.len())
        }
    };
    let state = match output::state(entry, *observing) {
        would if would.starts_with("would") => would,
        is => format!("is {is}"),
    };
    let mut text = format!("{} {state}{reach}{why}\n\n", entry.vip.short());
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
    if let Some(drain) = &explanation.drain {
        line("drain", &output::set(drain));
    }
    if let Some(Forced { set, to }) = &explanation.force {
        line("force", &format!("{to} {}", output::set(set)));
    }
    if let Some(Unforced { verdict, why }) = &explanation.unforced {
        let why = why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        line("without it", &format!("{verdict}{why}"));
    }
    if let Some(promotion) = &explanation.promotion {
        line("promoted", &output::set(promotion));
    }
    if let Some(warning) = warning {
        line("warning", warning);
    }
    line("healthy if", condition);
    let others: Vec<String> = entry.heard.iter().filter_map(|heard| other(heard, &entry.verdict)).collect();
    line("others", others.first().map_or("none seen by our peers", String::as_str));
    for other in others.iter().skip(1) {
        line("", other);
    }
    let mut check_table = table(&["CHECK", "STATE", "FOR", "LAST RESULT"]);
    for (name, check) in checks {
        let (state, said) = output::check(check);
        let when = last_time(check);
        check_table.add_row([name.clone(), state, check.since_ms.map(age).unwrap_or_default(), said + &when]);
    }
    let mut peer_table = table(&["PEER", "STATE", "ROUTE", "WHY"]);
    for (name, PeerView { state, sent, why, bfd }) in peers {
        let route = if *sent { "sent" } else { "not sent" };
        let state = bfd.as_ref().map_or_else(|| state.to_string(), |bfd| format!("{state}, BFD {bfd}"));
        peer_table.add_row([name.as_str(), &state, route, why.as_deref().unwrap_or_default()]);
    }
    let checks = if checks.is_empty() { String::new() } else { format!("\n{check_table}\n") };
    // A node that only observes has no peers.
    if *observing { text + &checks } else { format!("{text}{checks}\n{peer_table}") }
}

/// The other announcer of the VIP; `None` for our own route, reflected.
fn other(heard: &Heard, verdict: &Verdict) -> Option<String> {
    let Heard { peer, next_hop, origin_as, as_path, more_asns, communities, .. } = heard;
    let origin = origin_as.map_or_else(|| "our AS".to_owned(), |asn| format!("AS {asn}"));
    let who = match (&heard.whose, verdict) {
        (Whose::Ours, _) => return None,
        (Whose::Anothers, _) => origin,
        // It can be our own route only until the router has processed the withdrawal.
        (Whose::Unclear | Whose::Other(_), Verdict::Withheld) => format!("another node in {origin}"),
        (Whose::Unclear | Whose::Other(_), Verdict::Announced | Verdict::Demoted | Verdict::Other(_)) => {
            format!("our own route reflected, or another node in {origin}")
        }
    };
    let drains = communities.iter().any(|community| community == "graceful-shutdown");
    let drains = if drains { ", going away" } else { "" };
    let mut path: Vec<String> = as_path.iter().map(ToString::to_string).collect();
    if *more_asns > 0 {
        path.push(format!("and {more_asns} more"));
    }
    let path = if path.is_empty() { "empty".to_owned() } else { path.join(" ") };
    Some(format!("{who}{drains}, heard from {peer} (next hop {next_hop}, AS path {path})"))
}

/// `, in 3 ms, 400 ms ago`.
fn last_time(check: &Check) -> String {
    match (check.took_ms, check.ago_ms) {
        (Some(took), Some(ago)) => format!(", in {}, {} ago", age(took), age(ago)),
        (_, _) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_else_announces_a_vip_is_said_with_the_doubt_there_is() {
        let heard = Heard {
            peer: "tor-a".to_owned(),
            whose: Whose::Anothers,
            next_hop: "10.0.1.3".parse().unwrap(),
            as_path: vec![65000, 65002],
            more_asns: 0,
            origin_as: Some(65002),
            med: None,
            local_pref: None,
            communities: Vec::new(),
            more_communities: 0,
        };
        let heard_from = "heard from tor-a (next hop 10.0.1.3, AS path 65000 65002)";
        let said = |who: &str| Some(format!("{who}, {heard_from}"));
        assert_eq!(other(&heard, &Verdict::Announced), said("AS 65002"));
        let unclear = Heard { whose: Whose::Unclear, ..heard.clone() };
        assert_eq!(
            other(&unclear, &Verdict::Announced),
            said("our own route reflected, or another node in AS 65002")
        );
        assert_eq!(other(&unclear, &Verdict::Withheld), said("another node in AS 65002"));
        assert_eq!(other(&Heard { whose: Whose::Ours, ..heard.clone() }, &Verdict::Withheld), None);
        let internal = Heard { as_path: Vec::new(), origin_as: None, ..heard.clone() };
        assert_eq!(
            other(&internal, &Verdict::Demoted).as_deref(),
            Some("our AS, heard from tor-a (next hop 10.0.1.3, AS path empty)")
        );
        let leaving = Heard {
            communities: vec!["65002:1".to_owned(), "graceful-shutdown".to_owned()],
            more_asns: 7,
            ..heard
        };
        assert_eq!(
            other(&leaving, &Verdict::Announced).as_deref(),
            Some(
                "AS 65002, going away, heard from tor-a (next hop 10.0.1.3, AS path 65000 65002 and 7 more)"
            )
        );
    }
}
