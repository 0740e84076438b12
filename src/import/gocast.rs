//! GoCast: one file of YAML, with one router and a list of apps.

use super::imported::{Imported, Item, Place, Section};
use super::tree::{self, Map};
use super::yaml::{Yaml, list, map, milliseconds, text};
use super::{Source, words};

/// GoCast knows no other.
const INTERVAL: u64 = 10_000;

pub(super) fn read(files: &[Source], imported: &mut Imported) {
    for (number, file) in files.iter().enumerate() {
        let Some(document) = tree::parse(number, file, imported) else { continue };
        let mut root = document.root();
        let interval = read_agent(root.map("agent"), imported);
        let communities = read_bgp(root.map("bgp"), imported);
        for node in root.list("apps") {
            let mut app = document.map(node);
            if app.is_empty() {
                imported.lose(app.place, tree::scalar(node).unwrap_or("apps"), "this is no app");
                continue;
            }
            read_app(&mut app, interval, &communities, imported);
            app.finish(|_| "GoCast does not know this key", imported);
        }
        root.finish(|_| "GoCast does not know this key", imported);
    }
    imported.ensure_peer("GoCast takes the default gateway where no peer_ip is given");
}

fn read_agent(mut agent: Map<'_>, imported: &mut Imported) -> u64 {
    let interval = match agent.written("monitor_interval") {
        Some((written, place)) => words::go_duration(written).unwrap_or_else(|| {
            imported.lose(place, format!("monitor_interval: {written}"), "it is no duration; 10 s are taken");
            INTERVAL
        }),
        None => INTERVAL,
    };
    agent.lose("listen_addr", "services are described in the configuration; commands use a socket", imported);
    agent.lose("cleanup_timer", "a service stays until it is removed from the configuration", imported);
    for key in ["consul_addr", "consul_query_interval", "consul_token"] {
        agent.lose(
            key,
            "vipcast does not ask consul; consul-template can write files of services.d",
            imported,
        );
    }
    agent.finish(|_| "GoCast does not know this key", imported);
    interval
}

/// Adds the peer. Returns the communities of every route.
fn read_bgp(mut bgp: Map<'_>, imported: &mut Imported) -> Vec<String> {
    let mut peer = Item::new("tor", bgp.place);
    if let Some((address, place)) = bgp.written("peer_ip") {
        peer.place = place;
        peer.set("address", text(address));
        peer.note("GoCast takes multihop 255 for a router that is not on the link: then add `multihop: 255`");
    } else {
        peer.note(
            "EDIT: the address is an example; GoCast takes the default gateway, as no peer_ip is given",
        );
        peer.set("address", text("192.0.2.1"));
    }
    // The parser has peer_as, the example of its README remote_as.
    let documented = bgp.written("remote_as");
    match bgp.written("peer_as").or(documented) {
        Some((asn, _)) => peer.set("peer_as", text(asn)),
        None => {
            peer.note("EDIT: the AS number of the router is an example; there is no peer_as");
            peer.set("peer_as", Yaml::Number(65000));
        }
    }
    match bgp.written("local_as") {
        Some((asn, _)) => peer.set("local_as", text(asn)),
        None => {
            peer.note("EDIT: our AS number is an example; there is no local_as");
            peer.set("local_as", Yaml::Number(65001));
        }
    }
    if let Some(address) = bgp.text("local_ip") {
        peer.set("source_address", text(address));
    }
    let communities = bgp.texts("communities").into_iter().map(str::to_owned).collect();
    match bgp.written("origin") {
        Some((origin, _)) if origin.eq_ignore_ascii_case("igp") => {}
        Some((origin, place)) => {
            imported.lose(place, format!("origin: {origin}"), "the origin of every route is IGP");
        }
        None => {}
    }
    bgp.finish(|_| "GoCast does not know this key", imported);
    imported.add(Section::Peers, peer);
    communities
}

fn read_app(app: &mut Map<'_>, interval: u64, communities: &[String], imported: &mut Imported) {
    let place = app.place;
    let name = app.text("name").unwrap_or("unnamed");
    app.lose("nats", "vipcast has no NAT; nftables can translate the port", imported);
    let mut service = Item::new(name, place);
    let Some((vip, of_vip)) = app.written("vip") else {
        return imported.lose(place, format!("name: {name}"), "the app has no vip");
    };
    // GoCast announces the network of the address.
    let network = vip.parse::<ipnet::IpNet>().map(|network| network.trunc());
    let Ok(network) = network else {
        return imported.lose(
            of_vip,
            format!("vip: {vip}"),
            "it is no prefix, so GoCast does not take the app",
        );
    };
    service.set("vips", list([text(network.to_string())]));
    let mut checks = Vec::new();
    for monitor in app.texts("monitors") {
        checks.push(text(check(name, monitor, interval, place, imported)));
    }
    if checks.is_empty() {
        service.note("it has no monitors, and is announced always");
    }
    service.set("checks", list(checks));
    let mut config = app.map("vip_config");
    let mut all: Vec<Yaml> = communities.iter().map(|community| text(community.clone())).collect();
    all.extend(config.texts("bgp_communities").into_iter().map(text));
    config.finish(|_| "GoCast does not know this key", imported);
    if !all.is_empty() {
        service.set("announce", map([("communities", list(all))]));
    }
    imported.add(Section::Services, service);
}

/// Adds the check of a monitor. Returns its name.
fn check(app: &str, monitor: &str, interval: u64, place: Place, imported: &mut Imported) -> String {
    let parts: Vec<&str> = monitor.split(':').collect();
    let mut item = Item::new(app, place);
    match parts.as_slice() {
        ["port", protocol @ ("tcp" | "udp"), port] => {
            // Both ask whether anything has the port; the kernel tells vipcast of a change.
            item.set("listener", map([(*protocol, text(*port))]));
        }
        ["exec", command] => {
            let command = list([text("/bin/bash"), text("-c"), text(*command)]);
            item.set("exec", map([("command", command)]));
            item.set("interval", milliseconds(interval));
            item.set("fast_interval", milliseconds(interval));
            item.set("timeout", milliseconds(interval));
            item.set("rise", Yaml::Number(1));
            item.set("fall", Yaml::Number(1));
            item.note("GoCast lets a command run for ever; here it fails after the interval");
        }
        ["exec", ..] => {
            imported.lose(place, monitor, "GoCast does not take a command with a colon in it");
            return imported.add_failing_check(
                app,
                place,
                "GoCast does not take a command with a colon in it",
            );
        }
        ["consul"] => {
            let why = "the health of the service in consul; ask the service itself";
            imported.lose(place, monitor, why);
            return imported.add_failing_check(app, place, why);
        }
        _ => {
            imported.lose(place, monitor, "this is no monitor");
            return imported.add_failing_check(app, place, "its monitor is unknown");
        }
    }
    imported.add(Section::Checks, item)
}
