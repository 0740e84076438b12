//! ExaBGP: neighbors, routes that stand in the file, and processes, of which only its own `healthcheck` says in words what
//! it announces.

mod healthcheck;
mod routes;
mod syntax;

use std::collections::BTreeMap;

use super::Source;
use super::imported::{Imported, Item, Section};
use super::nested::Statement;
use super::yaml::{Yaml, list, text};

/// What ExaBGP needs and vipcast does in another way, with the reason.
const OTHERWISE: [(&str, &str); 17] = [
    ("api", "services are described in the configuration"),
    ("description", "a name says it"),
    ("host-name", "vipcast sends no hostname capability"),
    ("domain-name", "vipcast sends no hostname capability"),
    ("group-updates", "UPDATEs hold as many routes as they can"),
    ("adj-rib-in", "routes of the router are counted and dropped"),
    ("adj-rib-out", "routes are sent again when the router asks for them"),
    ("auto-flush", "routes are sent at once"),
    ("manual-eor", "vipcast sends End-of-RIB itself"),
    ("rate-limit", "routes are sent at once"),
    ("md5-ip", "the address of the session has the key"),
    ("local-link-local", "vipcast finds the link-local address itself"),
    ("add-path", "vipcast sends one path for each VIP"),
    ("nexthop", "RFC 8950 is negotiated by itself; see `extended_next_hop`"),
    ("flow", "vipcast announces VIPs, no flow specifications"),
    ("l2vpn", "vipcast announces VIPs, no VPLS"),
    ("operational", "vipcast has no operational messages"),
];

pub(super) fn read(files: &[Source], imported: &mut Imported) {
    let mut statements = Vec::new();
    for (number, file) in files.iter().enumerate() {
        // A file for `healthcheck --config` is read with the process that names it.
        if !healthcheck::is_config(&file.text) {
            statements.extend(syntax::parse(number, &file.text, imported));
        }
    }
    let mut templates: BTreeMap<String, Vec<Statement>> = BTreeMap::new();
    for template in statements.iter().filter(|statement| statement.name() == "template") {
        for neighbor in template.statements() {
            templates.insert(neighbor.value().to_owned(), neighbor.statements().to_vec());
        }
    }
    for statement in &statements {
        match statement.name() {
            "template" => {}
            "neighbor" => read_neighbor(statement, &[], &templates, imported),
            "group" => read_group(statement, &templates, imported),
            "process" => read_process(statement, files, imported),
            _ => statement.lose_each("ExaBGP does not know this at the top level", imported),
        }
    }
    imported.ensure_peer("the files have no neighbor");
}

/// A group of version 3: what stands beside its neighbors holds for each of them.
fn read_group(group: &Statement, templates: &BTreeMap<String, Vec<Statement>>, imported: &mut Imported) {
    let is_own = |statement: &&Statement| matches!(statement.name(), "neighbor" | "process");
    let shared: Vec<Statement> =
        group.statements().iter().filter(|statement| !is_own(statement)).cloned().collect();
    for statement in group.statements().iter().filter(is_own) {
        match statement.name() {
            "neighbor" => read_neighbor(statement, &shared, templates, imported),
            _ => read_process(statement, &[], imported),
        }
    }
}

fn read_neighbor(
    neighbor: &Statement,
    shared: &[Statement],
    templates: &BTreeMap<String, Vec<Statement>>,
    imported: &mut Imported,
) {
    let mut statements = shared.to_vec();
    for inherit in neighbor.statements().iter().filter(|statement| statement.name() == "inherit") {
        for name in inherit.values() {
            match templates.get(name) {
                Some(template) => statements.extend(template.iter().cloned()),
                None if matches!(name.as_str(), "[" | "]" | ",") => {}
                None => inherit.lose("there is no such template", imported),
            }
        }
    }
    statements
        .extend(neighbor.statements().iter().filter(|statement| statement.name() != "inherit").cloned());

    let mut peer = Item::new(neighbor.value(), neighbor.place);
    peer.set("address", text(neighbor.value()));
    let mut is_base64 = false;
    for statement in &statements {
        is_base64 |= statement.name() == "md5-base64" && is_on(statement.value());
    }
    for statement in &statements {
        read_key(statement, &mut peer, is_base64, imported);
    }
    if neighbor.value().parse::<std::net::IpAddr>().is_err() {
        return neighbor.lose("a peer has one address; vipcast accepts no other", imported);
    }
    imported.add(Section::Peers, peer);
}

fn is_on(value: &str) -> bool {
    matches!(value, "" | "true" | "enable" | "enabled" | "yes" | "on")
}

/// A statement of a neighbor.
fn read_key(statement: &Statement, peer: &mut Item, is_base64: bool, imported: &mut Imported) {
    let value = statement.value();
    let number = value.parse::<u64>().ok();
    match statement.name() {
        "router-id" => imported.top.set("router_id", text(value)),
        "local-address" if value == "auto" => {}
        "local-address" => peer.set("source_address", text(value)),
        "peer-as" if value == "auto" => {
            peer.set("peer_as", text("external"));
            peer.note(
                "EDIT: `peer-as auto` takes any AS number; `external` any except ours, so write it for iBGP",
            );
        }
        "local-as" if value == "auto" => {
            peer.set("local_as", Yaml::Number(65001));
            peer.note("EDIT: `local-as auto` takes the AS number of the router; this one is an example");
        }
        "local-as" => peer.set("local_as", text(value)),
        "peer-as" => peer.set("peer_as", text(value)),
        "peer-address" => peer.set("address", text(value)),
        "hold-time" => match number {
            Some(0) => statement
                .lose("without a hold time a dead router is only found with `bfd: {strict: true}`", imported),
            Some(seconds) => peer.set("hold_time", text(format!("{seconds}s"))),
            None => statement.lose("it is no number", imported),
        },
        "passive" if is_on(value) => peer.set("passive", Yaml::Switch(true)),
        "passive" => {}
        "md5-password" if is_base64 => {
            statement.lose("write the password as it is, to a `password_file`", imported)
        }
        "md5-password" => {
            peer.set("password", text(value));
            peer.note("the file holds a password: `chmod o-rw` it, or use `password_file`");
        }
        "md5-base64" => {}
        "connect" => match number {
            Some(179) => {}
            Some(port) => peer.set("port", Yaml::Number(port)),
            None => statement.lose("it is no port", imported),
        },
        "listen" => match number {
            Some(179) => {}
            Some(port) => imported.top.set("listen", super::yaml::map([("port", Yaml::Number(port))])),
            None => statement.lose("it is no port", imported),
        },
        "source-interface" => peer.set("interface", text(value)),
        "outgoing-ttl" => match number {
            Some(255) if peer.keys.iter().any(|(key, _)| key == "ttl_security") => {}
            Some(ttl) => peer.set("multihop", Yaml::Number(ttl)),
            None => statement.lose("it is no TTL", imported),
        },
        "incoming-ttl" | "ttl-security" => match number {
            // The least TTL that packets of the router may have.
            Some(ttl @ 1..=255) => {
                if peer.value("multihop").is_some_and(|ttl| *ttl != Yaml::Number(255)) {
                    statement.lose("with `ttl_security` packets are sent with TTL 255", imported);
                }
                peer.keys.retain(|(key, _)| key != "multihop");
                peer.set("ttl_security", Yaml::Number(256 - ttl));
            }
            Some(_) | None if is_on(value) => peer.set("ttl_security", Yaml::Number(1)),
            Some(_) | None => statement.lose("it is no TTL", imported),
        },
        "graceful-restart" => graceful_restart(statement, peer, imported),
        "capability" => {
            for capability in statement.statements() {
                match capability.name() {
                    "graceful-restart" => graceful_restart(capability, peer, imported),
                    "asn4" | "route-refresh" if is_on(capability.value()) => {}
                    "add-path" if matches!(capability.value(), "disable" | "false" | "receive") => {}
                    "add-path" => capability.lose("vipcast sends one path for each VIP", imported),
                    "nexthop" | "extended-message" | "multi-session" | "operational" | "aigp"
                    | "software-version" | "link-local-nexthop" => {
                        capability.lose("vipcast offers the capabilities that it needs itself", imported);
                    }
                    _ => capability.lose("this capability is unknown", imported),
                }
            }
        }
        "family" => family(statement, peer, imported),
        "tcp-ao" => statement.lose_each("see `tcp_ao`; the key goes to a file of its own", imported),
        "static" | "announce" => routes::read(statement, imported),
        name => match OTHERWISE.iter().find(|(other, _)| *other == name) {
            // The process that it names is read where it stands.
            Some((_, why)) => statement.lose_each(why, imported),
            None => statement.lose_each("ExaBGP does not know this under a neighbor", imported),
        },
    }
}

fn graceful_restart(statement: &Statement, peer: &mut Item, imported: &mut Imported) {
    match statement.value() {
        "disable" | "disabled" | "false" | "0" => {}
        value if value.parse::<u64>().is_ok_and(|seconds| seconds > 0) => {
            let time = super::yaml::map([("restart_time", text(format!("{value}s")))]);
            peer.set("graceful_restart", time);
        }
        value if is_on(value) => peer.set("graceful_restart", Yaml::Switch(true)),
        _ => statement.lose("it is no time in seconds", imported),
    }
}

fn family(statement: &Statement, peer: &mut Item, imported: &mut Imported) {
    let mut families = Vec::new();
    for family in statement.statements() {
        match (family.name(), family.value()) {
            ("ipv4", "unicast") => families.push(text("ipv4")),
            ("ipv6", "unicast") => families.push(text("ipv6")),
            ("all" | "minimal", _) => {}
            _ => family.lose("vipcast announces IPv4 and IPv6 unicast routes", imported),
        }
    }
    families.dedup();
    if !families.is_empty() {
        peer.set("families", list(families));
    }
}

fn read_process(process: &Statement, files: &[Source], imported: &mut Imported) {
    let Some(run) = process.statements().iter().find(|statement| statement.name() == "run") else {
        return process.lose_each("the process runs nothing", imported);
    };
    for statement in process.statements() {
        match statement.name() {
            "run" => {}
            "encoder" | "respawn" => statement.lose("vipcast runs checks, not processes", imported),
            _ => statement.lose_each("what it is told is not used here", imported),
        }
    }
    healthcheck::read(process.value(), run, files, imported);
}
