//! keepalived: VRRP instances become services that are announced over BGP, and the scripts that they track their checks.
//! Virtual servers (LVS) and what belongs to VRRP alone have no place here.

mod syntax;

use std::collections::BTreeMap;

use super::anycast_healthchecker::set_timeout;
use super::imported::{Imported, Item, Section};
use super::nested::Statement;
use super::yaml::{Yaml, list, map, milliseconds, text};
use super::{Source, words};

const NO_VRRP: &str = "vipcast announces over BGP, and has no VRRP";
const NO_LVS: &str = "vipcast is no load balancer; the service behind it needs a check of its own";
const NO_PROGRAM: &str = "no program is run on a change of state";

pub(super) fn read(files: &[Source], imported: &mut Imported) {
    let mut statements = Vec::new();
    let mut macros = BTreeMap::new();
    for (number, file) in files.iter().enumerate() {
        statements.extend(syntax::parse(number, &file.text, &mut macros, imported));
    }
    let mut trackers: BTreeMap<String, Tracker> = BTreeMap::new();
    for statement in &statements {
        match statement.name() {
            "vrrp_script" => {
                trackers.insert(statement.value().to_owned(), script(statement, imported));
            }
            "vrrp_track_process" | "track_process" => {
                trackers.insert(statement.value().to_owned(), process(statement, imported));
            }
            _ => {}
        }
    }
    for statement in &statements {
        match statement.name() {
            "vrrp_script" | "vrrp_track_process" | "track_process" => {}
            "vrrp_instance" => instance(statement, &mut trackers, imported),
            "include" => include(statement, files, imported),
            "vrrp_sync_group" => {
                statement.lose_each(
                    "services stand for themselves; give them the same checks to fail together",
                    imported,
                );
            }
            "virtual_server" | "virtual_server_group" | "SSL" => statement.lose_each(NO_LVS, imported),
            "global_defs" | "global_def" => {
                statement.lose_each("it is about the daemon keepalived, not about its services", imported);
            }
            "static_ipaddress" | "static_routes" | "static_rules" => {
                statement.lose_each(
                    "vipcast binds VIPs only; the network configuration of the host has the rest",
                    imported,
                );
            }
            "bfd_instance" => statement.lose_each("see `bfd` of a peer", imported),
            // The line was lost when it was read.
            name if name.starts_with('@') => {
                statement
                    .statements()
                    .iter()
                    .for_each(|inner| inner.lose_each("it belongs to the line above", imported));
            }
            _ => statement.lose_each("keepalived does not know this at the top level", imported),
        }
    }
    for (name, tracker) in &trackers {
        if !tracker.is_used {
            imported.lose(tracker.item.place, name.as_str(), "no instance tracks it");
        }
    }
    imported.ensure_peer("keepalived has no BGP, so the routers need a configuration: `vipcast recipe`");
}

fn include(statement: &Statement, files: &[Source], imported: &mut Imported) {
    let path = statement.value();
    let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    if !files.iter().any(|file| name(&file.name) == name(path)) {
        statement.lose("name the included files as well, and they are read", imported);
    }
}

/// What an instance may track.
struct Tracker {
    item: Item,
    /// What a failure adds to the priority; zero is a fault.
    weight: i64,
    is_used: bool,
    /// The name of the check, once there is one.
    check: Option<String>,
}

fn script(statement: &Statement, imported: &mut Imported) -> Tracker {
    let mut item = Item::new(statement.value(), statement.place);
    let (mut interval, mut timeout, mut rise, mut fall, mut weight) = (1000, None, 1_u64, 1_u64, 0);
    let mut exec = Vec::new();
    for key in statement.statements() {
        let number = key.value().parse::<u64>().ok();
        match key.name() {
            "script" => {
                let command = match key.values() {
                    [one] => one.clone(),
                    several => several.join(" "),
                };
                match words::split(&command).filter(|words| !words.is_empty()) {
                    Some(words) => exec.insert(0, ("command", list(words.into_iter().map(text)))),
                    None => key.lose("it is empty, or a quote in it has no end", imported),
                }
            }
            "interval" => match words::seconds(key.value()).filter(|ms| *ms > 0) {
                Some(ms) => interval = ms,
                None => key.lose("it is no time; the default is 1 s", imported),
            },
            "timeout" => match words::seconds(key.value()).filter(|ms| *ms > 0) {
                Some(ms) => timeout = Some(ms),
                None => key.lose("it is no time; the default is the interval", imported),
            },
            "rise" => rise = number.unwrap_or(1),
            "fall" => fall = number.unwrap_or(1),
            "weight" => {
                weight = key.value().parse().unwrap_or(0);
                if key.values().iter().any(|word| word == "reverse") {
                    key.lose("a check that must fail is one of `exec` with `!` in a shell line", imported);
                }
            }
            "user" => {
                exec.push(("user", text(key.value())));
                exec.extend(key.words.get(2).map(|group| ("group", text(group.as_str()))));
            }
            "init_fail" => key.lose("a check that has not answered yet is not up", imported),
            _ => key.lose_each("keepalived does not know this here", imported),
        }
    }
    match exec.first() {
        Some(("command", _)) => item.set("exec", map(exec)),
        Some(_) | None => item.fail("its script cannot be read"),
    }
    item.set("interval", milliseconds(interval));
    item.set("fast_interval", milliseconds(interval));
    set_timeout(&mut item, interval, timeout.unwrap_or(interval));
    item.set("rise", Yaml::Number(rise));
    item.set("fall", Yaml::Number(fall));
    Tracker { item, weight, is_used: false, check: None }
}

/// A process by its name, which a program of procps looks for.
fn process(statement: &Statement, imported: &mut Imported) -> Tracker {
    let mut item = Item::new(statement.value(), statement.place);
    let mut weight = 0;
    let mut name = None;
    for key in statement.statements() {
        match key.name() {
            "process" => {
                name = Some(key.value().to_owned());
                if key.words.len() > 2 {
                    key.lose("only the name of the program is looked for, not its arguments", imported);
                }
            }
            "weight" => weight = key.value().parse().unwrap_or(0),
            "quorum" if key.value() == "1" => {}
            _ => key.lose_each("the check asks whether a process of this name is there", imported),
        }
    }
    match name.filter(|name| !name.is_empty()) {
        Some(name) => {
            // What the kernel calls it is its file, cut to 15 bytes.
            let file = name.rsplit('/').next().unwrap_or_default();
            let comm: String = file.chars().take(15).collect();
            item.set("exec", map([("command", list(["/usr/bin/pgrep", "-x", &comm].map(text)))]));
            item.note("with a pid file, `process: {pid_file: …}` sees the end of the process at once");
        }
        None => item.fail("its process has no name"),
    }
    Tracker { item, weight, is_used: false, check: None }
}

fn instance(instance: &Statement, trackers: &mut BTreeMap<String, Tracker>, imported: &mut Imported) {
    let mut service = Item::new(instance.value(), instance.place);
    let mut vips = Vec::new();
    let mut checks = Vec::new();
    let mut weights = Vec::new();
    let is_backup = instance.statements().iter().all(|key| key.name() != "state" || key.value() != "MASTER");
    let (mut is_nopreempt, mut preempt_delay) = (false, None);
    for key in instance.statements() {
        match key.name() {
            "virtual_ipaddress" | "virtual_ipaddress_excluded" => {
                for line in key.statements() {
                    vips.extend(address(line, imported).map(text));
                }
            }
            "state" => {}
            "nopreempt" => {
                is_nopreempt = true;
                if is_backup {
                    key.lose(
                        "a standby has nothing to take back; with `role: active` it is `preempt: false`",
                        imported,
                    );
                }
            }
            "preempt" => is_nopreempt = false,
            "preempt_delay" => preempt_delay = words::seconds(key.value()).filter(|ms| *ms > 0),
            "track_script" | "track_process" => {
                for line in key.statements() {
                    match trackers.get_mut(line.name()) {
                        Some(tracker) => {
                            let named = line.words.iter().position(|word| word == "weight");
                            let own = named.and_then(|at| line.word(at + 1).parse().ok());
                            weights.push(own.unwrap_or(tracker.weight));
                            tracker.is_used = true;
                            let item = &tracker.item;
                            let add = || imported.add(Section::Checks, item.clone());
                            checks.push(tracker.check.get_or_insert_with(add).clone());
                        }
                        None => {
                            line.lose(
                                "it is not defined; the check here fails until it is replaced",
                                imported,
                            );
                            weights.push(0);
                            checks.push(imported.add_failing_check(
                                line.name(),
                                line.place,
                                "it is not defined",
                            ));
                        }
                    }
                }
            }
            "track_interface" => {
                for line in key.statements() {
                    if line.words.len() > 1 {
                        line.lose("a check of an interface has no weight", imported);
                    }
                    let name = format!("interface-{}", line.name());
                    let check = imported
                        .checks
                        .iter()
                        .find(|check| check.name == name)
                        .map(|check| check.name.clone());
                    checks.push(check.unwrap_or_else(|| {
                        let item = Item::new(&name, line.place).with("interface", text(line.name()));
                        imported.add(Section::Checks, item)
                    }));
                    weights.push(0);
                }
            }
            "notify"
            | "notify_master"
            | "notify_backup"
            | "notify_fault"
            | "notify_stop"
            | "smtp_alert"
            | "notify_deleted"
            | "notify_master_rx_lower_pri" => key.lose(NO_PROGRAM, imported),
            "virtual_routes" | "virtual_rules" => {
                key.lose_each("vipcast binds VIPs only; routes and rules stay with the host", imported);
            }
            "track_file" => key.lose_each("a `file` check looks at a file", imported),
            "track_bfd" => key.lose_each("see `bfd` of a peer", imported),
            "interface" => key.lose("VIPs are on lo, and routers learn them over BGP", imported),
            _ => key.lose_each(NO_VRRP, imported),
        }
    }
    if vips.is_empty() {
        return instance.lose("the instance has no virtual_ipaddress", imported);
    }
    service.set("vips", list(vips));
    if checks.is_empty() {
        service.note("it tracks nothing, and is announced always");
    }
    service.set("checks", list(checks.into_iter().map(text)));
    // Without a fault, a script that fails moves the VIP only to a node that is better.
    if !weights.is_empty() && weights.iter().all(|weight| *weight != 0) {
        service.set("on_down", text("demote"));
    } else if weights.iter().any(|weight| *weight != 0) {
        service.note("a check with a weight withdraws the VIPs here, as one without does");
    }
    if is_backup {
        service.set("role", text("standby"));
        service.note("state BACKUP: traffic comes here while no other node announces it plainly");
    } else if is_nopreempt {
        service.set("preempt", Yaml::Switch(false));
    } else if let Some(delay) = preempt_delay {
        service.set("preempt", milliseconds(delay));
    }
    imported.add(Section::Services, service);
}

/// A line `192.0.2.1/24 dev eth0 label eth0:1`: the address alone, as a host route.
fn address(line: &Statement, imported: &mut Imported) -> Option<String> {
    let written = line.name();
    let address = written.split('/').next().unwrap_or_default();
    if address.parse::<std::net::IpAddr>().is_err() {
        line.lose("it is no address", imported);
        return None;
    }
    if line.words.len() > 1 {
        line.lose("the VIP is on lo, without a network of its own", imported);
    }
    Some(address.to_owned())
}
