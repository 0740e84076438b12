//! `exabgp healthcheck`: a command line or a file of options for each service.

use std::collections::BTreeSet;

use super::routes::extended;
use crate::import::anycast_healthchecker::set_timeout;
use crate::import::imported::{Imported, Item, Place, Section};
use crate::import::nested::Statement;
use crate::import::yaml::{Yaml, list, map, milliseconds, text};
use crate::import::{Source, words};

/// Options without a value.
const SWITCHES: [(&str, Option<char>); 9] = [
    ("silent", Some('s')),
    ("no-syslog", None),
    ("debug", Some('d')),
    ("no-ack", Some('a')),
    ("sudo", None),
    ("deaggregate-networks", None),
    ("no-ip-setup", None),
    ("dynamic-ip-setup", None),
    ("withdraw-on-down", None),
];
const MORE_SWITCHES: [&str; 2] = ["label-exact-match", "debounce"];

/// Other letters.
const LETTERS: [(char, &str); 9] = [
    ('n', "name"),
    ('F', "config"),
    ('p', "pid"),
    ('i', "interval"),
    ('f', "fast-interval"),
    ('t', "timeout"),
    ('c', "command"),
    ('N', "next-hop"),
    ('S', "syslog-facility"),
];

/// Options with a value that have no place here, and why.
const OTHERWISE: [(&str, &str); 15] = [
    ("pid", "systemd knows the process"),
    ("syslog-facility", "the log goes to stderr, and to the journal"),
    ("disable", "`vipcast drain` takes a service out of traffic"),
    ("disabled-metric", "a drained service is announced with GRACEFUL_SHUTDOWN, and then withdrawn"),
    ("disabled-community", "a drained service is announced with GRACEFUL_SHUTDOWN, and then withdrawn"),
    ("disabled-as-path", "a drained service is announced with GRACEFUL_SHUTDOWN, and then withdrawn"),
    ("label", "VIPs are named in the configuration, not by the labels of addresses"),
    ("path-id", "vipcast sends one path for each VIP"),
    ("execute", "no program is run on a change of state"),
    ("up-execute", "no program is run on a change of state"),
    ("down-execute", "no program is run on a change of state"),
    ("disabled-execute", "no program is run on a change of state"),
    ("as-path", "see `as_path_prepend`; vipcast puts only its own AS number in front"),
    ("up-as-path", "see `as_path_prepend`; vipcast puts only its own AS number in front"),
    ("down-as-path", "see `as_path_prepend` of `demoted`; vipcast puts only its own AS number in front"),
];

/// What is meant to be a file for `--config`: lines `option = value`, and no block.
pub(super) fn is_config(text: &str) -> bool {
    let mut lines =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).peekable();
    lines.peek().is_some()
        && lines.all(|line| {
            let name = line.split('=').next().unwrap_or_default().trim();
            !name.is_empty()
                && !line.ends_with([';', '{', '}'])
                && name.chars().all(|c| c.is_ascii_lowercase() || c == '-')
        })
}

/// An option, and the line that it stands on.
struct Given {
    name: String,
    value: Option<String>,
    place: Place,
}

/// A process that runs `run`.
pub(super) fn read(process: &str, run: &Statement, files: &[Source], imported: &mut Imported) {
    let command = run.values().join(" ");
    let Some(words) = words::split(&command) else {
        return imported.lose(run.place, format!("run {command}"), "a quote in it has no end");
    };
    let Some(at) = words.iter().position(|word| {
        word == "healthcheck" || word.ends_with("/healthcheck") || word.ends_with("healthcheck.py")
    }) else {
        return imported.lose(
            run.place,
            format!("run {command}"),
            format!("the program of process {process} decides what it announces; describe its services"),
        );
    };
    let mut given = options(&words[at + 1..], run.place, imported);
    let config: Vec<String> = given
        .iter()
        .filter(|option| option.name == "config")
        .filter_map(|option| option.value.clone())
        .collect();
    given.retain(|option| option.name != "config");
    let mut is_whole = true;
    for path in config {
        let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        match files.iter().enumerate().find(|(_, file)| name(&file.name) == name(&path)) {
            // Options of the command line count before those of the file.
            Some((number, file)) => given.splice(0..0, file_options(number, &file.text)).for_each(drop),
            None => {
                is_whole = false;
                imported.lose(
                    run.place,
                    format!("--config {path}"),
                    "name that file as well, and it is read",
                );
            }
        }
    }
    Options { given, place: run.place, is_whole }.translate(process, imported);
}

fn file_options(file: usize, text: &str) -> Vec<Given> {
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let option = |(line, written): (usize, &str)| {
        let (name, value) = match written.split_once('=') {
            Some((name, value)) => (name, Some(value.trim().to_owned())),
            None => (written, None),
        };
        Given { name: long(name.trim()), value, place: Place { file, line } }
    };
    lines.map(option).collect()
}

/// One name for an option with several.
fn long(name: &str) -> String {
    match name {
        "cmd" => "command".to_owned(),
        "fast" => "fast-interval".to_owned(),
        name => name.to_owned(),
    }
}

fn is_switch(name: &str) -> bool {
    SWITCHES.iter().any(|(switch, _)| *switch == name) || MORE_SWITCHES.contains(&name)
}

fn options(words: &[String], place: Place, imported: &mut Imported) -> Vec<Given> {
    let mut given = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let (name, mut value) = if let Some(option) = word.strip_prefix("--") {
            match option.split_once('=') {
                Some((name, value)) => (long(name), Some(value.to_owned())),
                None => (long(option), None),
            }
        } else if word == "-sF" {
            ("syslog-facility".to_owned(), None)
        } else if let Some(letter) = word.strip_prefix('-').and_then(|letters| letters.chars().next()) {
            let switch = SWITCHES.iter().find(|(_, short)| *short == Some(letter)).map(|(name, _)| *name);
            let other = LETTERS.iter().find(|(short, _)| *short == letter).map(|(_, name)| *name);
            let Some(name) = switch.or(other) else {
                imported.lose(place, word, "healthcheck does not know this option");
                continue;
            };
            (
                name.to_owned(),
                Some(word[1 + letter.len_utf8()..].to_owned()).filter(|value| !value.is_empty()),
            )
        } else {
            imported.lose(place, word, "this belongs to no option");
            continue;
        };
        if value.is_none() && !is_switch(&name) {
            value = words.next().cloned();
        }
        given.push(Given { name, value, place });
    }
    given
}

struct Options {
    given: Vec<Given>,
    place: Place,
    /// Whether every file with options was read.
    is_whole: bool,
}

impl Options {
    /// Takes an option; the last one counts.
    fn take(&mut self, name: &str) -> Option<String> {
        let mut last = None;
        self.given.retain_mut(|option| {
            let is_it = option.name == name;
            if is_it {
                last = Some(option.value.take().unwrap_or_default());
            }
            !is_it
        });
        last
    }

    fn all(&mut self, name: &str) -> Vec<String> {
        let mut values = Vec::new();
        self.given.retain_mut(|option| {
            let is_it = option.name == name;
            if is_it {
                values.extend(option.value.take());
            }
            !is_it
        });
        values
    }

    fn time(&mut self, name: &str, otherwise: u64, imported: &mut Imported) -> u64 {
        let place = self.place;
        let Some(written) = self.take(name) else { return otherwise };
        match words::seconds(&written) {
            Some(ms) if ms > 0 => ms,
            Some(_) | None => {
                let why = format!("it is no time to wait; the default is {} s", otherwise / 1000);
                imported.lose(place, format!("--{name} {written}"), why);
                otherwise
            }
        }
    }

    fn number(&mut self, name: &str, otherwise: i64, imported: &mut Imported) -> i64 {
        let place = self.place;
        let Some(written) = self.take(name) else { return otherwise };
        written.parse().unwrap_or_else(|_| {
            imported.lose(
                place,
                format!("--{name} {written}"),
                format!("it is no number; the default is {otherwise}"),
            );
            otherwise
        })
    }

    fn translate(mut self, process: &str, imported: &mut Imported) {
        let name = self.take("name").filter(|name| !name.is_empty()).unwrap_or_else(|| process.to_owned());
        let check = self.check(&name, imported);
        let mut ips = self.ips(imported);
        let interfaces: Vec<(String, String)> = self
            .all("ip-ifname")
            .into_iter()
            .filter_map(|pair| {
                pair.split_once('%').map(|(ip, interface)| (ip.to_owned(), interface.to_owned()))
            })
            .collect();
        let start = usize::try_from(self.number("start-ip", 0, imported)).unwrap_or_default();
        if !ips.is_empty() {
            let by = start % ips.len();
            ips.rotate_left(by);
        }
        let up = self.number("up-metric", 100, imported);
        let down = self.number("down-metric", 1000, imported);
        let increase = self.number("increase", 1, imported);
        let withdraws = self.take("withdraw-on-down").is_some();
        let mut template = Item::new(&name, self.place);
        let mut announce = self.attributes();
        announce.retain(|(_, value)| *value != text(""));
        self.binding(&mut template);
        self.lose_the_rest(imported);
        if ips.is_empty() {
            let check = check.unwrap_or_default();
            let why = format!(
                "without `--ip`, its VIPs are the addresses of lo: write a service with them and `checks: [{check}]`"
            );
            return imported.lose(self.place, format!("healthcheck of process {process}"), why);
        }
        // Each further VIP has a higher metric, so each is a service of its own.
        let groups: Vec<Vec<String>> = match increase {
            0 => vec![ips],
            _ => ips.into_iter().map(|ip| vec![ip]).collect(),
        };
        let several = groups.len() > 1;
        if check.is_none() {
            template.note("without a command it is announced always");
        }
        for (number, vips) in groups.into_iter().enumerate() {
            let more = increase.saturating_mul(i64::try_from(number).unwrap_or_default());
            let metric = |base: i64| u64::try_from(base.saturating_add(more)).unwrap_or_default();
            let mut service = template.clone();
            if several {
                service.name = format!("{}-{}", template.name, number + 1);
            }
            let interface =
                interfaces.iter().find(|(ip, _)| vips.contains(ip)).map(|(_, interface)| interface);
            let is_whole = vips.iter().any(|vip| is_network(vip));
            service.set("vips", list(vips.into_iter().map(text)));
            service.set("checks", list(check.clone().map(text)));
            let mut attributes = vec![("med", Yaml::Number(metric(up)))];
            attributes.extend(announce.clone());
            service.set("announce", map(attributes));
            if !withdraws {
                service.set("on_down", text("demote"));
                let mut demoted =
                    vec![("med", Yaml::Number(metric(down))), ("as_path_prepend", Yaml::Number(0))];
                demoted.extend(announce.clone());
                service.set("demoted", map(demoted));
            }
            if is_whole {
                service.set("bind", text("route"));
                service.note("healthcheck sets up each address of a network; here a local route does");
            } else if let Some(interface) = interface {
                service.set("interface", text(interface.clone()));
            }
            imported.add(Section::Services, service);
        }
    }

    /// Adds the check. Returns its name; without a command the healthcheck takes everything for healthy.
    fn check(&mut self, name: &str, imported: &mut Imported) -> Option<String> {
        let place = self.place;
        let interval = self.time("interval", 5000, imported);
        let fast = self.time("fast-interval", 1000, imported);
        let timeout = self.time("timeout", 5000, imported);
        let rise = self.number("rise", 3, imported);
        let fall = self.number("fall", 3, imported);
        let (user, group) = (self.take("user"), self.take("group"));
        let command = self.take("command").filter(|command| !command.trim().is_empty());
        let Some(command) = command else {
            let why = "the options are in a file that was not named";
            return (!self.is_whole).then(|| imported.add_failing_check(name, place, why));
        };
        let mut exec = vec![("shell", text(command))];
        exec.extend(user.map(|user| ("user", text(user))));
        exec.extend(group.map(|group| ("group", text(group))));
        let mut item = Item::new(name, place).with("exec", map(exec));
        item.set("interval", milliseconds(interval));
        item.set("fast_interval", milliseconds(fast.min(interval)));
        set_timeout(&mut item, interval, timeout);
        item.set("rise", Yaml::Number(u64::try_from(rise).unwrap_or(1)));
        item.set("fall", Yaml::Number(u64::try_from(fall).unwrap_or(1)));
        Some(imported.add(Section::Checks, item))
    }

    /// The VIPs in the order of their metrics.
    fn ips(&mut self, imported: &mut Imported) -> Vec<String> {
        const MOST: u32 = 10;
        let ips = self.all("ip");
        if self.take("deaggregate-networks").is_none() {
            return ips;
        }
        let mut each = Vec::new();
        for ip in ips {
            match ip.parse::<ipnet::IpNet>() {
                Ok(net) if u32::from(net.max_prefix_len() - net.prefix_len()) <= MOST => {
                    let inside = net.trunc().subnets(net.max_prefix_len()).ok();
                    each.extend(inside.into_iter().flatten().map(|ip| ip.addr().to_string()));
                }
                Ok(_) => imported.lose(
                    self.place,
                    format!("--ip {ip}"),
                    "it has too many addresses for a VIP each",
                ),
                Err(_) => each.push(ip),
            }
        }
        let mut seen = BTreeSet::new();
        each.retain(|ip| seen.insert(ip.clone()));
        each
    }

    fn attributes(&mut self) -> Vec<(&'static str, Yaml)> {
        let mut announce = Vec::new();
        let words = |text: String| text.replace(['[', ']', ','], " ");
        let each = |written: &str| written.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        if let Some(preference) =
            self.take("local-preference").filter(|preference| !preference.starts_with('-'))
        {
            announce.push(("local_pref", text(preference)));
        }
        if let Some(next_hop) = self.take("next-hop") {
            announce.push(("next_hop", text(next_hop)));
        }
        if let Some(written) = self.take("community").map(words) {
            announce.push(("communities", list(each(&written).into_iter().map(text))));
        }
        if let Some(written) = self.take("extended-community").map(words) {
            let communities = each(&written).into_iter().map(|community| text(extended(&community)));
            announce.push(("extended_communities", list(communities)));
        }
        if let Some(written) = self.take("large-community").map(words) {
            announce.push(("large_communities", list(each(&written).into_iter().map(text))));
        }
        announce
    }

    fn binding(&mut self, service: &mut Item) {
        if self.take("no-ip-setup").is_some() {
            service.note("vipcast binds the VIPs itself; an address that is there already is used and left");
        }
        if self.take("dynamic-ip-setup").is_some() {
            service.set("bind", text("announced"));
        }
    }

    fn lose_the_rest(&mut self, imported: &mut Imported) {
        for option in std::mem::take(&mut self.given) {
            let Given { name, value, place } = option;
            let why = match name.as_str() {
                "silent" | "no-syslog" | "debug" => "the log goes to stderr, and to the journal; see `log`",
                "no-ack" | "debounce" => "routes are sent on a change only",
                "sudo" => "vipcast has the capability itself",
                "label-exact-match" => "VIPs are named in the configuration, not by the labels of addresses",
                "neighbor" if value.as_deref() == Some("*") => continue,
                "neighbor" => "a service is announced to every peer",
                name => OTHERWISE
                    .iter()
                    .find(|(other, _)| *other == name)
                    .map_or("healthcheck does not know this option", |(_, why)| why),
            };
            imported.lose(place, format!("--{name} {}", value.unwrap_or_default()).trim_end(), why);
        }
    }
}

fn is_network(ip: &str) -> bool {
    ip.parse::<ipnet::IpNet>().is_ok_and(|net| net.prefix_len() < net.max_prefix_len())
}
