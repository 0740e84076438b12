//! pathosd: one file of YAML, with routers, and VIPs with a check each. Its TOML is not read.

mod check;

use super::imported::{Imported, Item, Section};
use super::tree::{self, Map};
use super::yaml::{Yaml, list, map, milliseconds, text};
use super::{Source, words};

const UNKNOWN: &str = "pathosd does not know this key";

pub(super) fn read(files: &[Source], imported: &mut Imported) {
    for (number, file) in files.iter().enumerate() {
        let Some(document) = tree::parse(number, file, imported) else { continue };
        let mut root = document.root();
        if let Some((schema, place)) = root.written("schema").filter(|(schema, _)| *schema != "v1") {
            imported.lose(
                place,
                format!("schema: {schema}"),
                "only v1 is known, and the file is read as such",
            );
        }
        let router = read_router(root.map("router"), imported);
        root.lose("api", "commands use a socket; see `control`", imported);
        root.lose("logging", "the log goes to stderr, and to the journal; see `log`", imported);
        root.lose("otel", "vipcast has no OpenTelemetry", imported);
        let mut bgp = root.map("bgp");
        let common = read_bgp(&mut bgp, imported);
        for node in bgp.list("neighbors") {
            read_neighbor(document.map(node), &router, &common, imported);
        }
        bgp.finish(|_| UNKNOWN, imported);
        for node in root.list("vips") {
            read_vip(document.map(node), imported);
        }
        root.finish(|_| UNKNOWN, imported);
    }
    imported.ensure_peer("the files have no neighbors");
}

/// `router:`.
struct Router {
    asn: Option<String>,
    local_address: Option<String>,
}

fn read_router(mut router: Map<'_>, imported: &mut Imported) -> Router {
    if let Some(id) = router.text("router_id") {
        imported.top.set("router_id", text(id));
    }
    let read = Router {
        asn: router.text("asn").map(str::to_owned),
        local_address: router.text("local_address").map(str::to_owned),
    };
    router.finish(|_| UNKNOWN, imported);
    read
}

/// What `bgp:` says for every neighbor.
struct Common {
    hold_time: Option<u64>,
    graceful_restart: Option<bool>,
    never_listens: bool,
}

fn read_bgp(bgp: &mut Map<'_>, imported: &mut Imported) -> Common {
    let hold_time = bgp.written("hold_time").and_then(|(written, place)| {
        let read = words::go_duration(written);
        if read.is_none() {
            imported.lose(place, format!("hold_time: {written}"), "it is no duration");
        }
        read
    });
    bgp.lose("keepalive_time", "KEEPALIVEs are sent every third of the hold time", imported);
    bgp.lose("gobgp_api", "there is no GoBGP in vipcast", imported);
    let graceful_restart = bgp.switch("graceful_restart");
    let mut listen = Vec::new();
    if let Some(address) = bgp.text("listen_address") {
        listen.push(("addresses", list([text(address)])));
    }
    let port = bgp.text("listen_port");
    let never_listens = port == Some("-1");
    if let Some(port) = port.filter(|port| *port != "-1" && *port != "179") {
        listen.push(("port", text(port)));
    }
    if !listen.is_empty() && !never_listens {
        imported.top.set("listen", map(listen));
    }
    Common { hold_time, graceful_restart, never_listens }
}

fn read_neighbor(mut neighbor: Map<'_>, router: &Router, common: &Common, imported: &mut Imported) {
    let mut peer = Item::new(neighbor.text("name").unwrap_or("unnamed"), neighbor.place);
    if let Some(address) = neighbor.text("address") {
        peer.set("address", text(address));
    }
    if let Some(asn) = neighbor.text("peer_asn") {
        peer.set("peer_as", text(asn));
    }
    if let Some(asn) = &router.asn {
        peer.set("local_as", text(asn.clone()));
    }
    if let Some(port) = neighbor.text("port").filter(|port| *port != "179") {
        peer.set("port", text(port));
    }
    let source = neighbor.text("local_address").map(str::to_owned).or_else(|| router.local_address.clone());
    if let Some(source) = source {
        peer.set("source_address", text(source));
    }
    if let Some(hold_time) = common.hold_time {
        peer.set("hold_time", milliseconds(hold_time));
    }
    if neighbor.switch("passive") == Some(true) {
        peer.set("passive", Yaml::Switch(true));
    } else if common.never_listens {
        peer.set("active", Yaml::Switch(true));
    }
    let ttl = neighbor.text("multihop_ttl").filter(|ttl| *ttl != "0");
    if neighbor.switch("enable_multihop") == Some(true) {
        peer.set("multihop", ttl.map_or(Yaml::Number(255), text));
    } else if let Some(ttl) = ttl {
        imported.lose(peer.place, format!("multihop_ttl: {ttl}"), "enable_multihop is not true");
    }
    match common.graceful_restart {
        Some(true) => peer.set("graceful_restart", Yaml::Switch(true)),
        Some(false) => {}
        None => peer.note(
            "pathosd has graceful restart unless it is switched off, and here it is off: with it, a router sends to a \
             dead host for the restart time",
        ),
    }
    read_bfd(neighbor.map("bfd"), &mut peer, imported);
    match neighbor.written("required") {
        Some((required, place)) if required.eq_ignore_ascii_case("true") => {
            let why = "every router gets the routes, whatever the state of the others";
            imported.lose(place, format!("required: {required}"), why);
        }
        Some(_) | None => {}
    }
    neighbor.finish(|_| UNKNOWN, imported);
    imported.add(Section::Peers, peer);
}

fn read_bfd(mut bfd: Map<'_>, peer: &mut Item, imported: &mut Imported) {
    if bfd.is_empty() {
        return;
    }
    let place = bfd.place;
    let is_on = bfd.switch("enabled") == Some(true);
    let microseconds =
        |text: Option<&str>| text.and_then(|text| text.parse::<u64>().ok()).filter(|us| *us > 0);
    let transmit = microseconds(bfd.text("desired_minimum_tx_interval"));
    let receive = microseconds(bfd.text("required_minimum_receive"));
    let multiplier = bfd.text("detection_multiplier").filter(|multiplier| *multiplier != "0");
    bfd.lose("port", "the port is that of RFC 5881, or with multihop of RFC 5883", imported);
    bfd.finish(|_| UNKNOWN, imported);
    if !is_on {
        return imported.lose(place, "bfd", "it is not enabled");
    }
    let mut keys = Vec::new();
    // One interval serves both directions; the slower is what both can do.
    if let Some(interval) = transmit.max(receive) {
        keys.push(("interval", text(format!("{}ms", interval.div_ceil(1000)))));
    }
    keys.extend(multiplier.map(|multiplier| ("multiplier", text(multiplier))));
    peer.set("bfd", if keys.is_empty() { Yaml::Switch(true) } else { map(keys) });
}

fn read_vip(mut vip: Map<'_>, imported: &mut Imported) {
    let mut service = Item::new(vip.text("name").unwrap_or("unnamed"), vip.place);
    let prefix = vip.text("prefix").unwrap_or_default();
    service.set("vips", list([text(prefix)]));
    let checks = check::read(&service.name, prefix, vip.map("check"), imported);
    service.set("checks", list(checks.into_iter().map(text)));
    let mut policy = vip.map("policy");
    let mut lower = policy.map("lower_priority");
    let prepend = lower.text("as_path_prepend").map_or(Yaml::Number(6), text);
    let communities = lower.texts("communities");
    lower.finish(|_| UNKNOWN, imported);
    let action = policy.written("fail_action");
    if action.is_none_or(|(action, _)| action == "lower_priority") {
        service.set("on_down", text("demote"));
        let mut demoted = vec![("as_path_prepend", prepend)];
        if !communities.is_empty() {
            demoted.push(("communities", list(communities.into_iter().map(text))));
        }
        service.set("demoted", map(demoted));
    } else if let Some((action, place)) = action.filter(|(action, _)| *action != "withdraw") {
        imported.lose(place, format!("fail_action: {action}"), "it is unknown; the VIP is withdrawn");
    }
    policy.lose("lower_priority_file", "`vipcast drain` takes a service out of traffic", imported);
    policy.finish(|_| UNKNOWN, imported);
    vip.finish(|_| UNKNOWN, imported);
    imported.add(Section::Services, service);
}
