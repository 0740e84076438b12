//! What the configurations of all programs become before it is written down.

use super::Source;
use super::yaml::{Yaml, list, map, text};

/// A line of one of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// By the order of reading.
    pub(super) file: usize,
    /// From 1.
    pub(super) line: usize,
}

/// A directive that was not carried over.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Lost {
    pub(super) place: Place,
    /// The directive, as it is written.
    pub(super) what: String,
    pub(super) why: String,
}

/// A peer, a check or a service: its name, and its keys in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) keys: Vec<(String, Yaml)>,
    /// Comments above it.
    pub(super) notes: Vec<String>,
}

impl Item {
    pub(super) fn new(name: &str, place: Place) -> Self {
        Self { name: as_name(name), place, keys: Vec::new(), notes: Vec::new() }
    }

    /// Sets a key, or replaces its value.
    pub(super) fn set(&mut self, key: &str, value: Yaml) {
        match self.keys.iter_mut().find(|(there, _)| there == key) {
            Some((_, there)) => *there = value,
            None => self.keys.push((key.to_owned(), value)),
        }
    }

    pub(super) fn with(mut self, key: &str, value: Yaml) -> Self {
        self.set(key, value);
        self
    }

    pub(super) fn value(&self, key: &str) -> Option<&Yaml> {
        self.keys.iter().find(|(there, _)| there == key).map(|(_, value)| value)
    }

    /// Makes it a check that fails until the operator has replaced it.
    pub(super) fn fail(&mut self, why: &str) {
        self.set("exec", failing());
        self.note(format!("EDIT: this check fails until it is replaced: {why}"));
    }

    fn fails(&self) -> bool {
        self.value("exec") == Some(&failing())
    }

    pub(super) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }
}

/// A section with items by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Section {
    Peers,
    Checks,
    Services,
}

impl Section {
    pub(super) const ALL: [Self; 3] = [Self::Peers, Self::Checks, Self::Services];

    pub(super) const fn key(self) -> &'static str {
        match self {
            Self::Peers => "peers",
            Self::Checks => "checks",
            Self::Services => "services",
        }
    }
}

/// A configuration on its way from one program to the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Imported {
    /// The names of the files.
    pub(super) files: Vec<String>,
    /// Keys of the top level, besides the sections.
    pub(super) top: Item,
    pub(super) peers: Vec<Item>,
    pub(super) checks: Vec<Item>,
    pub(super) services: Vec<Item>,
    pub(super) lost: Vec<Lost>,
}

impl Imported {
    pub(super) fn new(files: &[Source]) -> Self {
        Self {
            files: files.iter().map(|file| file.name.clone()).collect(),
            top: Item::new("top", Place { file: 0, line: 1 }),
            peers: Vec::new(),
            checks: Vec::new(),
            services: Vec::new(),
            lost: Vec::new(),
        }
    }

    pub(super) fn section(&self, section: Section) -> &Vec<Item> {
        match section {
            Section::Peers => &self.peers,
            Section::Checks => &self.checks,
            Section::Services => &self.services,
        }
    }

    pub(super) fn section_mut(&mut self, section: Section) -> &mut Vec<Item> {
        match section {
            Section::Peers => &mut self.peers,
            Section::Checks => &mut self.checks,
            Section::Services => &mut self.services,
        }
    }

    /// Adds an item, under another name where its own is taken. Returns the name.
    pub(super) fn add(&mut self, section: Section, mut item: Item) -> String {
        let items = self.section_mut(section);
        let is_free = |name: &str| items.iter().all(|item| item.name != name);
        if !is_free(&item.name) {
            let numbered = (2..).map(|number| format!("{}-{number}", item.name)).find(|name| is_free(name));
            item.name = numbered.unwrap_or_default();
        }
        let name = item.name.clone();
        items.push(item);
        name
    }

    /// A directive is not carried over.
    pub(super) fn lose(&mut self, place: Place, what: impl Into<String>, why: impl Into<String>) {
        self.lost.push(Lost { place, what: what.into(), why: why.into() });
    }

    /// Adds a check that fails until the operator has replaced it. Returns its name.
    pub(super) fn add_failing_check(&mut self, name: &str, place: Place, why: &str) -> String {
        let mut item = Item::new(name, place);
        item.fail(why);
        self.add(Section::Checks, item)
    }

    /// A service whose check is to be replaced is not even announced demoted.
    pub(super) fn withdraw_behind_failing_checks(&mut self) {
        let failing: Vec<Yaml> =
            self.checks.iter().filter(|check| check.fails()).map(|check| text(&*check.name)).collect();
        let names = |service: &Item| match service.value("checks") {
            Some(Yaml::List(checks)) => checks.iter().any(|check| failing.contains(check)),
            Some(Yaml::Text(_) | Yaml::Number(_) | Yaml::Switch(_) | Yaml::Map(_)) | None => false,
        };
        for service in self.services.iter_mut().filter(|service| names(service)) {
            let before = service.keys.len();
            service.keys.retain(|(key, _)| key != "on_down" && key != "demoted");
            if service.keys.len() != before {
                service.note(
                    "EDIT: add `on_down: demote` when its check is replaced; until then it is not announced",
                );
            }
        }
    }

    /// Adds a router to be filled in, unless there is one: `why` the files do not name it.
    pub(super) fn ensure_peer(&mut self, why: &str) {
        if !self.peers.is_empty() {
            return;
        }
        let mut peer = Item::new("tor", Place { file: 0, line: 1 });
        peer.note(format!("EDIT: the addresses and AS numbers are examples; {why}"));
        peer.set("address", text("192.0.2.1"));
        peer.set("peer_as", Yaml::Number(65000));
        peer.set("local_as", Yaml::Number(65001));
        self.peers.push(peer);
    }

    /// Adds a router id to be filled in where no IPv4 peer tells one.
    pub(super) fn ensure_router_id(&mut self) {
        let is_ipv4 = |(key, value): &(String, Yaml)| match value {
            Yaml::Text(address) => key == "address" && address.parse::<std::net::Ipv4Addr>().is_ok(),
            Yaml::Number(_) | Yaml::Switch(_) | Yaml::List(_) | Yaml::Map(_) => false,
        };
        let is_told = self.peers.iter().any(|peer| peer.keys.iter().any(is_ipv4));
        if !is_told && self.top.keys.iter().all(|(key, _)| key != "router_id") {
            self.top.note("EDIT: the router id is an example; it is an IPv4 address of this host");
            self.top.keys.insert(0, ("router_id".to_owned(), text("192.0.2.10")));
        }
    }

    /// Moves an AS number that all peers have to the top level.
    pub(super) fn share_local_as(&mut self) {
        let local_as = |peer: &Item| peer.keys.iter().find(|(key, _)| key == "local_as").cloned();
        let Some(first) = self.peers.first().and_then(local_as) else { return };
        if self.peers.iter().all(|peer| local_as(peer).as_ref() == Some(&first)) {
            self.peers.iter_mut().for_each(|peer| peer.keys.retain(|(key, _)| key != "local_as"));
            self.top.keys.insert(0, first);
        }
    }
}

/// The `exec` of a check that fails.
fn failing() -> Yaml {
    map([("command", list([text("/bin/false")]))])
}

/// A name that a peer, check or service may have.
fn as_name(written: &str) -> String {
    const LONGEST: usize = 48;
    let fits = |c: char| if c.is_whitespace() || c.is_control() || c == '/' || c == '$' { '-' } else { c };
    let name: String = written.trim().chars().map(fits).take(LONGEST).collect();
    if name.is_empty() { "unnamed".to_owned() } else { name }
}
