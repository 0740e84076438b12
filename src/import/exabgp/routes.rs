//! Routes that stand in the configuration: announced always, so services without checks.

use crate::import::imported::{Imported, Item, Section};
use crate::import::nested::Statement;
use crate::import::yaml::{Yaml, list, map, text};

/// `static { … }` or `announce { ipv4 { … } }`.
pub(super) fn read(block: &Statement, imported: &mut Imported) {
    for statement in block.statements() {
        match (statement.name(), &statement.block) {
            ("route", _) => route(statement, 1, imported),
            ("ipv4" | "ipv6", Some(inner)) => {
                for statement in inner {
                    match statement.name() {
                        "unicast" => route(statement, 1, imported),
                        _ => statement.lose_each("vipcast announces unicast routes", imported),
                    }
                }
            }
            ("ipv4" | "ipv6", None) if statement.value() == "unicast" => route(statement, 2, imported),
            _ => statement.lose_each("vipcast announces unicast routes", imported),
        }
    }
}

/// A route: its prefix at `at`, and attributes as words, or as statements of a block.
fn route(route: &Statement, at: usize, imported: &mut Imported) {
    let prefix = route.word(at).to_owned();
    let mut service = Item::new(&format!("route-{prefix}"), route.place);
    service.set("vips", list([text(prefix)]));
    service.set("checks", list([]));
    service.note("a route of the file, which is announced always");
    let mut announce = Vec::new();
    let rest = route.words.get(at + 1..).unwrap_or_default();
    for attribute in
        attributes(rest).into_iter().chain(route.statements().iter().map(|inner| inner.words.clone()))
    {
        read_attribute(route, &attribute, &mut announce, imported);
    }
    if !announce.is_empty() {
        service.set("announce", map(announce));
    }
    let is_watched =
        |words: &[String]| words.iter().any(|word| matches!(word.as_str(), "watchdog" | "withdraw"));
    if is_watched(rest) || route.statements().iter().any(|inner| is_watched(&inner.words)) {
        let why = "a process says when the route is announced";
        let check = imported.add_failing_check(&service.name, route.place, why);
        service.notes.clear();
        service.set("checks", list([text(check)]));
    }
    let same = imported.services.iter_mut().find(|other| {
        other.keys.iter().zip(&service.keys).all(|((a, x), (b, y))| a == b && (a == "vips" || x == y))
            && other.keys.len() == service.keys.len()
            && other.notes == service.notes
    });
    // Routes with the same attributes are one service.
    match (same, service.keys.first()) {
        (Some(other), Some((_, Yaml::List(vips)))) => {
            if let Some((_, Yaml::List(all))) = other.keys.first_mut() {
                all.extend(vips.iter().filter(|vip| !all.contains(vip)).cloned().collect::<Vec<_>>());
            }
        }
        _ => {
            imported.add(Section::Services, service);
        }
    }
}

const ATTRIBUTES: [&str; 21] = [
    "next-hop",
    "med",
    "local-preference",
    "community",
    "large-community",
    "extended-community",
    "as-path",
    "origin",
    "path-information",
    "label",
    "rd",
    "aggregator",
    "atomic-aggregate",
    "originator-id",
    "cluster-list",
    "split",
    "watchdog",
    "withdraw",
    "name",
    "aigp",
    "attribute",
];

/// Words in a row, each attribute with its values.
fn attributes(words: &[String]) -> Vec<Vec<String>> {
    let mut attributes: Vec<Vec<String>> = Vec::new();
    for word in words {
        match attributes.last_mut() {
            Some(last) if !ATTRIBUTES.contains(&word.as_str()) => last.push(word.clone()),
            Some(_) | None => attributes.push(vec![word.clone()]),
        }
    }
    attributes
}

fn read_attribute(
    route: &Statement,
    attribute: &[String],
    announce: &mut Vec<(&'static str, Yaml)>,
    imported: &mut Imported,
) {
    let name = attribute.first().map_or("", String::as_str);
    let is_sign = |word: &&String| matches!(word.as_str(), "[" | "]" | "(" | ")" | ",");
    let values: Vec<&String> = attribute.iter().skip(1).filter(|word| !is_sign(word)).collect();
    let first = values.first().map_or("", |value| value.as_str());
    let mut lose = |why: &str| imported.lose(route.place, attribute.join(" "), why);
    let texts = || list(values.iter().map(|value| text(value.as_str())));
    match name {
        "next-hop" if first == "self" => {}
        "next-hop" => announce.push(("next_hop", text(first))),
        "med" => announce.push(("med", text(first))),
        "local-preference" => announce.push(("local_pref", text(first))),
        "community" => announce.push(("communities", texts())),
        "large-community" => announce.push(("large_communities", texts())),
        "extended-community" => {
            let words = values.iter().map(|value| text(extended(value)));
            announce.push(("extended_communities", list(words)));
        }
        "origin" if first.eq_ignore_ascii_case("igp") => {}
        "origin" => lose("the origin of every route is IGP"),
        "as-path" => lose("see `as_path_prepend`; vipcast puts only its own AS number in front"),
        "name" => {}
        "split" => lose("each prefix is a VIP of its own"),
        "watchdog" | "withdraw" => lose("a check decides whether a route is announced"),
        _ => lose("vipcast does not send this attribute"),
    }
}

/// `target:65000:1` and `origin:65000:1` in our words.
pub(super) fn extended(community: &str) -> String {
    if let Some(rest) = community.strip_prefix("target:") {
        format!("rt:{rest}")
    } else if let Some(rest) = community.strip_prefix("origin:") {
        format!("soo:{rest}")
    } else {
        community.trim_start_matches("0x").to_owned()
    }
}
