//! From the trees of all files to one [`Config`]: joins the sections, follows names, and refuses duplicates.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use super::diagnostic::{FileId, Report, Span};
use super::model::Config;
use super::read::tree::{Entry, Node, Value};
use super::read::{Field, Table, map_of, short, value};
use super::services::{ReadChecks, ServiceContext, Use};
use super::{checks, global, hooks, keys, peers, sense, services};

/// A file and its tree.
pub(super) struct Document {
    pub(super) file: FileId,
    pub(super) root: Node,
}

/// Makes the configuration of the main file and the files of `services.d`. `None` when something is wrong, which was
/// reported; so were warnings, in any case.
pub(super) fn resolve(main: &Document, drop_ins: &[Document], report: &mut Report) -> Option<Config> {
    let whole = Span { file: main.file, start: 0, end: 0 };
    let mut top = Table::open(&main.root, &keys::TOP, "a configuration", whole, report)?;
    let local_as = top.field("local_as", report, value::asn);
    let global = global::read(&mut top, report);
    let hooks = top.field("hooks", report, hooks::read).or_else(hooks::Hooks::default);
    let peer_entries = peers::entries(&mut top, report);
    let peer_defaults = top.entry("peer_defaults");
    let mut check_entries = Merged::new("check");
    let mut service_entries = Merged::new("service");
    check_entries.take(&mut top, "checks", "a map of checks by name", report);
    service_entries.take(&mut top, "services", "a map of services by name", report);
    top.finish(report);
    for document in drop_ins {
        let whole = Span { file: document.file, start: 0, end: 0 };
        if document.root.value == Value::Null {
            report.file_warning(document.file, "the file is empty").hint("remove it, or fill it in");
            continue;
        }
        let opened =
            Table::open(&document.root, &keys::DROP_IN, "a file with `services` and `checks`", whole, report);
        let Some(mut table) = opened else {
            service_entries.broken = true;
            continue;
        };
        check_entries.take(&mut table, "checks", "a map of checks by name", report);
        service_entries.take(&mut table, "services", "a map of services by name", report);
        table.finish(report);
    }

    let peers = peers::read(peer_entries, peer_defaults, &local_as, report);
    let checks = checks::read(&check_entries.list, report);
    let addresses = session_addresses(peer_entries.unwrap_or_default(), peer_defaults);
    let around = ServiceContext {
        interface: global.as_ref().map(|global| global.interface.as_str()),
        sessions: &addresses,
    };
    let mut named =
        ReadChecks::new(check_entries.list.iter().map(|entry| (entry.key.as_str(), entry.key_span)));
    let mut services = services::read(&service_entries.list, &around, &mut named, report);
    if services.is_some() && !service_entries.broken {
        named.finish(report);
    }
    if service_entries.list.is_empty() && !service_entries.broken {
        report
            .file_warning(main.file, "there are no services: nothing will be announced")
            .hint("describe them under `services:`, or in files in services.d beside this one");
    }
    let checks = match (checks, &mut services) {
        (Some(checks), Some(services)) => {
            let mut checks = services::expand(services, &service_entries.list, checks, report);
            checks::tell(&mut checks, services);
            services::look_at_targets(services, &checks, &service_entries.list, report);
            checks
        }
        (_, _) => BTreeMap::new(),
    };
    let hooks = hooks.map(|hooks| {
        let known = service_entries.list.iter().map(|entry| entry.key.as_str());
        // A file that could not be read may define others.
        if service_entries.broken { BTreeMap::new() } else { hooks.finish(known, report) }
    });
    if let (Some(peers), Some(services)) = (&peers, &services) {
        let peers = (peers, peer_entries.unwrap_or_default());
        sense::look(peers, (services, &service_entries.list), &checks, report);
    }
    let has_peers = peers.as_ref().is_none_or(|peers| !peers.is_empty());
    if !has_peers {
        peers::look_for_media(&service_entries.list, report);
    }
    if let (Some(peers), Some(global)) = (&peers, &global)
        && global.router_id.is_none()
        && has_peers
        && !peers.values().any(|peer| peer.address.ip().is_some_and(|ip| ip.is_ipv4()))
    {
        report
            .file_error(main.file, "`router_id` is missing: no peer has an IPv4 address that would tell it")
            .hint("an IPv4 address of this host that no other router has for its id: `router_id: 10.0.0.2`");
    }

    // All findings are reported; a configuration with an error is not made.
    if report.has_errors() {
        return None;
    }
    let global = global?;
    Some(Config {
        state_dir: global.state_dir,
        drain_file: global.drain_file,
        control: global.control,
        api: global.api,
        metrics: global.metrics,
        event_file: global.event_file,
        hooks: hooks?,
        log: global.log,
        shutdown: global.shutdown,
        router_id: global.router_id,
        listen: global.listen,
        interface: global.interface,
        peers: peers?,
        checks: checks.into_iter().map(|(name, check)| (name, Arc::new(check))).collect(),
        services: services?.into_iter().collect(),
    })
}

/// The entries of one kind from all files.
struct Merged<'t> {
    what: &'static str,
    list: Vec<&'t Entry>,
    seen: HashMap<&'t str, Span>,
    /// Whether entries may be missing because something could not be read.
    broken: bool,
}

impl<'t> Merged<'t> {
    fn new(what: &'static str) -> Self {
        Self { what, list: Vec::new(), seen: HashMap::new(), broken: false }
    }

    /// Adds the entries under `key` of one file.
    fn take(&mut self, table: &mut Table<'t>, key: &'static str, expected: &str, report: &mut Report) {
        let entries = match table.field(key, report, |node, key, report| map_of(node, key, expected, report))
        {
            Field::Absent => return,
            Field::Broken => {
                self.broken = true;
                return;
            }
            Field::Set(entries) => entries.value,
        };
        for entry in entries {
            if let Some(first) = self.seen.get(entry.key.as_str()) {
                report
                    .error(
                        entry.key_span,
                        format!("a second {} has the name `{}`", self.what, short(&entry.key)),
                    )
                    .also(*first, "the first is here")
                    .hint("rename or remove one of them");
            } else {
                self.seen.insert(&entry.key, entry.key_span);
                self.list.push(entry);
            }
        }
    }
}

/// The addresses that sessions need. Errors are not reported here: the addresses are read elsewhere too.
fn session_addresses(peers: &[Entry], defaults: Option<&Entry>) -> BTreeMap<IpAddr, (Use, Span)> {
    let mut found = BTreeMap::new();
    for entry in defaults.into_iter().chain(peers) {
        let Value::Map(keys) = &entry.value.value else { continue };
        for key in keys {
            let what = match key.key.as_str() {
                "address" => Use::Peer,
                "source_address" => Use::Source,
                "next_hop" => Use::NextHop,
                _ => continue,
            };
            let written: Vec<&Node> = match &key.value.value {
                Value::Map(families) => families.iter().map(|family| &family.value).collect(),
                Value::Scalar(_) | Value::Null | Value::List(_) => vec![&key.value],
            };
            for node in written {
                if let Value::Scalar(text) = &node.value
                    && let Ok(ip) = text.parse()
                {
                    found.insert(ip, (what, node.span));
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nix::time::{ClockId, clock_gettime};

    use crate::config::{Severity, parse};

    #[test]
    fn a_thousand_dangling_names_among_thousands_of_services_do_not_take_for_ever() {
        let mut text =
            String::from("local_as: 65001\npeers: {tor: {address: 192.0.2.1, peer_as: 65000}}\nchecks:\n");
        for n in 0..4000 {
            text.push_str(&format!("  a-check-of-service-{n}: {{tcp: \"127.0.0.1:80\"}}\n"));
        }
        text.push_str("services:\n");
        for n in 0..4000 {
            let (high, low) = (n / 250, n % 250);
            text.push_str(&format!(
                "  service-{n}: {{vips: [198.18.{high}.{low}], checks: [the-check-of-service-{n}]}}\n"
            ));
        }
        // The processor time of this thread, which other programs do not make longer.
        let spent = || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).expect("a clock");
        let begun = spent();
        let found = parse("test.yaml", &text).expect_err("no name is right");
        assert_eq!(found.count(Severity::Error), 4000);
        let took = spent() - begun;
        assert!(took < Duration::from_secs(20), "it took {took:?}");
    }
}
