//! anycast-healthchecker: a section of an INI file for each service. The sessions are BIRD's, so the routers are to be filled
//! in.

use std::collections::BTreeMap;

use super::Source;
use super::imported::{Imported, Item, Place, Section};
use super::ini::{self, DEFAULT, Entry};
use super::words;
use super::yaml::{list, milliseconds, text};

/// Keys of `[daemon]` that are about BIRD's files.
const ABOUT_BIRD: [&str; 14] = [
    "bird_conf",
    "bird6_conf",
    "bird_variable",
    "bird6_variable",
    "bird_reconfigure_cmd",
    "bird6_reconfigure_cmd",
    "bird_reconfigure_timeout",
    "bird6_reconfigure_timeout",
    "dummy_ip_prefix",
    "dummy_ip6_prefix",
    "bird_keep_changes",
    "bird6_keep_changes",
    "bird_changes_counter",
    "bird6_changes_counter",
];

pub(super) fn read(files: &[Source], imported: &mut Imported) {
    let mut sections = Vec::new();
    for (number, file) in files.iter().enumerate() {
        sections.extend(ini::parse(number, &file.text, imported));
    }
    let mut defaults: BTreeMap<String, Entry> = BTreeMap::new();
    for section in sections.iter().filter(|section| section.name == DEFAULT) {
        defaults.extend(section.entries.clone());
    }
    let mut used: Vec<String> = Vec::new();
    let mut families = Families { ipv4: true, ipv6: false };
    for section in sections.iter().filter(|section| section.name == "daemon") {
        families = read_daemon(&section.entries, &defaults, imported);
    }
    for section in sections.iter().filter(|section| section.name != DEFAULT && section.name != "daemon") {
        let mut keys = defaults.clone();
        keys.extend(section.entries.clone());
        let mut service = Reader {
            name: &section.name,
            place: section.place,
            own: &section.entries,
            keys,
            used: &mut used,
        };
        service.read(families, imported);
    }
    for (key, entry) in &defaults {
        if !used.contains(key) && !used.contains(&format!("%({key})s")) {
            imported.lose(entry.place, format!("{key} = {}", entry.value), "no service uses it");
        }
    }
    imported.ensure_peer("BIRD has the sessions, so see `protocol bgp` in its configuration");
}

/// The families that the daemon announces.
#[derive(Debug, Clone, Copy)]
struct Families {
    ipv4: bool,
    ipv6: bool,
}

fn read_daemon(
    own: &BTreeMap<String, Entry>,
    defaults: &BTreeMap<String, Entry>,
    imported: &mut Imported,
) -> Families {
    let on = |key: &str, otherwise: bool| {
        own.get(key).or_else(|| defaults.get(key)).map_or(otherwise, |entry| is_on(&entry.value))
    };
    for (key, entry) in own {
        let why = match key.as_str() {
            "ipv4" | "ipv6" => continue,
            key if ABOUT_BIRD.contains(&key) => "vipcast speaks BGP itself",
            "purge_ip_prefixes" => "vipcast announces only what it has decided itself",
            "pidfile" => "systemd knows the process",
            key if key.starts_with("log") || key.starts_with("json") || key == "stderr_file" => {
                "the log goes to stderr, and to the journal; see `log`"
            }
            key if key.starts_with("prometheus") => "the numbers are in `vipcast status --json`",
            "splay_startup" => "probes are spread by themselves",
            _ => "this key is unknown",
        };
        imported.lose(entry.place, format!("{key} = {}", entry.value), why);
    }
    Families { ipv4: on("ipv4", true), ipv6: on("ipv6", false) }
}

fn is_on(text: &str) -> bool {
    matches!(text.trim().to_lowercase().as_str(), "1" | "yes" | "true" | "on")
}

/// A section of a service.
struct Reader<'a> {
    name: &'a str,
    place: Place,
    own: &'a BTreeMap<String, Entry>,
    keys: BTreeMap<String, Entry>,
    used: &'a mut Vec<String>,
}

impl Reader<'_> {
    /// The value of a key, filled in.
    fn take(&mut self, key: &str, imported: &mut Imported) -> Option<String> {
        let entry = self.keys.get(key)?.clone();
        self.used.push(key.to_owned());
        for part in entry.value.split("%(").skip(1) {
            self.used.extend(part.split_once(")s").map(|(name, _)| name.to_lowercase()));
        }
        let filled = ini::filled(&entry.value, &self.keys);
        if filled.is_none() {
            imported.lose(entry.place, format!("{key} = {}", entry.value), "a key in `%(…)s` is not there");
        }
        filled
    }

    fn read(&mut self, families: Families, imported: &mut Imported) {
        let command = self.take("check_cmd", imported);
        let interval = self.number("check_interval", 10_000, imported);
        let timeout = self.number("check_timeout", 2000, imported);
        let fall = self.take("check_fail", imported).and_then(|text| text.parse().ok()).unwrap_or(2);
        let rise = self.take("check_rise", imported).and_then(|text| text.parse().ok()).unwrap_or(2);
        let disabled = self.take("check_disabled", imported).is_none_or(|text| is_on(&text));
        let on_disabled = self.take("on_disabled", imported).unwrap_or_else(|| "withdraw".to_owned());
        let prefix = self.take("ip_prefix", imported);
        let interface = self.take("interface", imported);
        self.lose_the_rest(imported);

        let whole = format!("[{}]", self.name);
        let Some(prefix) = prefix else {
            return imported.lose(self.place, whole, "the service has no ip_prefix");
        };
        let is_ipv6 = prefix.contains(':');
        if (is_ipv6 && !families.ipv6) || (!is_ipv6 && !families.ipv4) {
            let family = if is_ipv6 { "ipv6" } else { "ipv4" };
            return imported.lose(
                self.place,
                whole,
                format!("the daemon has {family} switched off, so it is not announced"),
            );
        }
        if disabled && on_disabled != "advertise" {
            let why = "its check is disabled and it is withdrawn; set `check_disabled = false` to import it";
            return imported.lose(self.place, whole, why);
        }
        let mut service = Item::new(self.name, self.place).with("vips", list([text(prefix)]));
        let checks = if disabled {
            service.note("its check is disabled, and it is announced always");
            None
        } else {
            Some(self.check(command, interval, timeout, (rise, fall), imported))
        };
        service.set("checks", list(checks.map(text)));
        if let Some(interface) = interface.filter(|interface| interface != "lo") {
            service.set("interface", text(interface));
        }
        imported.add(Section::Services, service);
    }

    /// Adds the check. Returns its name.
    fn check(
        &self,
        command: Option<String>,
        interval: u64,
        timeout: u64,
        (rise, fall): (u64, u64),
        imported: &mut Imported,
    ) -> String {
        // The program splits the command itself: no shell.
        let command = command.and_then(|command| words::split(&command)).filter(|words| !words.is_empty());
        let Some(command) = command else {
            let why = "there is no check_cmd, or a quote in it has no end";
            return imported.add_failing_check(self.name, self.place, why);
        };
        let mut check = Item::new(self.name, self.place);
        check.set("exec", super::yaml::map([("command", list(command.into_iter().map(text)))]));
        check.set("interval", milliseconds(interval));
        set_timeout(&mut check, interval, timeout);
        check.set("rise", super::yaml::Yaml::Number(rise));
        check.set("fall", super::yaml::Yaml::Number(fall));
        // It has no other interval while the state is in doubt.
        check.set("fast_interval", milliseconds(interval));
        imported.add(Section::Checks, check)
    }

    fn number(&mut self, key: &str, otherwise: u64, imported: &mut Imported) -> u64 {
        let Some(written) = self.take(key, imported) else { return otherwise };
        words::seconds(&written).unwrap_or_else(|| {
            let place = self.keys.get(key).map_or(self.place, |entry| entry.place);
            imported.lose(
                place,
                format!("{key} = {written}"),
                format!("it is no number; the default is {} s", otherwise / 1000),
            );
            otherwise
        })
    }

    fn lose_the_rest(&self, imported: &mut Imported) {
        const TAKEN: [&str; 9] = [
            "check_cmd",
            "check_interval",
            "check_timeout",
            "check_fail",
            "check_rise",
            "check_disabled",
            "on_disabled",
            "ip_prefix",
            "interface",
        ];
        for (key, entry) in self.own {
            if TAKEN.contains(&key.as_str()) || self.used.contains(key) {
                continue;
            }
            let why = match key.as_str() {
                "ip_check_disabled" => "vipcast binds the VIP itself, and an address that is there stays",
                "custom_bird_reconfigure_cmd" | "custom_bird_reconfigure_cmd_timeout" => {
                    "vipcast speaks BGP itself; a program that it did besides has to be called in another way"
                }
                _ => "this key is unknown",
            };
            imported.lose(entry.place, format!("{key} = {}", entry.value), why);
        }
    }
}

/// A time-out, which is not longer than the interval here.
pub(super) fn set_timeout(check: &mut Item, interval: u64, timeout: u64) {
    if timeout > interval {
        check.note(format!(
            "the time-out was {}, longer than the interval, which is the most here",
            milliseconds(timeout).flow()
        ));
    }
    check.set("timeout", milliseconds(timeout.min(interval)));
}
